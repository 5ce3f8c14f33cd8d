"""``user_config.yaml`` of ST's zoo to an experiment of this project, the commands to type, and a word on every key."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import yaml

from aed.base.console import PlainConsole, printable
from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.run.zoo.check import check_experiment
from aed.run.zoo.data import map_data
from aed.run.zoo.document import read_document
from aed.run.zoo.draft import Draft, Note
from aed.run.zoo.frontend import map_front_end
from aed.run.zoo.keys import KINDS
from aed.run.zoo.modes import commands, map_mode
from aed.run.zoo.optimizers import map_callbacks, map_optimizer
from aed.run.zoo.tools import map_logging, map_quantization
from aed.run.zoo.training import map_augmentation, map_net, map_training

_END = "_aed"
"""Of the name of an experiment."""


@dataclass(frozen=True)
class Migration:
    """What a document becomes.

    Args:
        path: Of the experiment's file.
        text: Content of the file.
        tree: The same as keys and values.
        commands: To type, in order.
        notes: What becomes of each key, in the order of the document.
        generation: Of the zoo.
    """

    path: Path
    text: str
    tree: dict[str, Any]
    commands: list[str]
    notes: list[Note]
    generation: str


def migrate(files: list[str], folder: str | None = None, exact: bool = False, notes: bool = True) -> list[Migration]:
    """Writes an experiment for each configuration of ST's zoo, and says what became of every key.

    Args:
        files: ``user_config.yaml`` of the zoo of 2023, of version 2, 3 or 4.
        folder: Where the experiments are written, as ``<name>_aed.yaml``; default: beside each file.
        exact: Keep the zoo's ways where there are better ones: its trimming of silence, float samples, random splits.
        notes: Whether every key is listed; false: the commands alone.

    Raises:
        AedError: A file is none of the zoo's, says something that cannot be or by an unknown key, or another file is
            in the way; nothing is written then.
    """
    made = [migration(Path(file), folder, exact) for file in files]
    paths = [own.path for own in made]
    if doubled := sorted({str(path) for path in paths if paths.count(path) > 1}):
        raise AedError(f"{doubled[0]}: several files would become this one; give them one by one, each with its folder")
    for own in made:
        _check_free(own)
    console = PlainConsole(width=10_000)
    for own in made:
        own.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(own.path, partial(_write, own.text))
        console.print(_report(own, notes), end="")
    return made


def migration(path: Path, folder: str | None = None, exact: bool = False) -> Migration:
    """What a configuration of the zoo becomes; nothing is written.

    Args:
        path: Of the configuration.
        folder: As of :func:`migrate`.
        exact: As of :func:`migrate`.

    Raises:
        AedError: As :func:`migrate`.
    """
    document = read_document(path)
    draft = Draft(document, exact)
    for step in (map_net, map_data, map_front_end, map_augmentation, map_training, map_optimizer, map_callbacks):
        step(draft)
    map_quantization(draft)
    map_logging(draft)
    mode = map_mode(draft)
    draft.finish()
    written = Path(folder or path.parent) / f"{path.stem}{_END}.yaml"
    words = commands(draft, mode, str(path), str(written))
    tree = _tree(draft)
    try:
        check_experiment(tree)
    except AedError as error:
        raise AedError(f"{path}: its experiment cannot run: {error}") from error
    head = ["# @package _global_", f"# {printable(path.name)} of ST's zoo ({document.generation}), by aed migrate"]
    head += [f"#   {printable(word)}" for word in words]
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=150)
    notes = [draft.notes[key] for key in document.leaves]
    return Migration(written, "\n".join([*head, "", body]), tree, words, notes, document.generation)


def _tree(draft: Draft) -> dict[str, Any]:
    """Defaults and nested values of an experiment's file; ``${NAME}``, of the environment, as OmegaConf has it."""
    tree: dict[str, Any] = {"defaults": [{f"override /{group}": name} for group, name in sorted(draft.groups.items())]}
    for key, value in sorted(draft.values.items()):
        *sections, last = key.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = _referring(value)
    return tree


def _referring(value: Any) -> Any:
    if isinstance(value, list):
        return [_referring(item) for item in value]
    return value.replace("${", "${oc.env:") if isinstance(value, str) else value


def _write(text: str, file: IO[bytes]) -> None:
    file.write(text.encode())


def _check_free(own: Migration) -> None:
    if own.path.exists() and own.path.read_bytes() != own.text.encode():
        raise AedError(f"{own.path}: is there already, with other content; rename it, or give folder=...")


def _report(own: Migration, notes: bool) -> str:
    """The list of keys by what becomes of them, and the commands."""
    lines = [f"{own.path}: experiment of {own.path.stem.removesuffix(_END)}.yaml, ST's zoo {own.generation}"]
    for kind, title in KINDS.items() if notes else ():
        of_kind = [note for note in own.notes if note.kind == kind]
        width = max((len(note.path) for note in of_kind), default=0)
        lines += [f"\n{title} ({len(of_kind)})"] if of_kind else []
        lines += [f"  {note.path:<{width}}  {_short(note.value)} -> {note.text}" for note in of_kind]
    return "\n".join([*lines, "\nType", *(f"  {word}" for word in own.commands), "", ""])


def _short(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:37]}..."
