"""Help of the verbs and their keys, as text and as Markdown; imports nothing but the standard library.

The doors' docstrings say what a verb is for, with examples. ``keys.json``, which :mod:`aed.run.reference` writes, has
an entry for each key of each verb:

- ``key``, ``type``, ``meaning``; ``default`` as one types it, where there is one; ``choices``.
- ``with``: the options of a group, ``data=folder``, that bring the key, where not all do.
- ``options`` (of a group of files or classes): name -> description.
- ``defaults``: option of a group -> the default that it brings instead.
- ``file``: what gives it another default than the signature; ``experiments``: name -> value that it has there.
- ``library``: whose class it is a parameter of, where it is not ours.
"""

import ast
import functools
import inspect
import io
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aed.base.paths import CONFIG_DIR
from aed.settings.command_line import choose, given

KEYS = Path(__file__).with_name("keys.json")
_DOORS = Path(__file__).parents[1]
_ORDER = (
    "data",
    "train",
    "compare",
    "evaluate",
    "predict",
    "detect",
    "listen",
    "record",
    "soundscapes",
    "report",
    "benchmark",
    "deploy",
    "models",
    "import_model",
    "migrate",
    "doctor",
    "cli",
    "help",
)
"""The way from recordings to a board; further verbs come after it."""

USUAL = {
    "train": (
        "data.clips.root",
        "data.class_names",
        "data.split",
        "data.test_fold",
        "data.val_fold",
        "data.test_fraction",
        "data.val_fraction",
        "data.batch_size",
        "model.pretrained",
        "model.fine_tune",
        "model.net.embedding_size",
        "model.net.dropout",
        "model.augment.mixup",
        "model.optimizer.lr",
        "trainer.max_epochs",
        "seed",
        "stages",
        "ckpt_path",
        "quantization.calibration",
        "quantization.max_drop",
        "decision.unknown",
        "budget.board",
        "deploy.target",
        "hydra.run.dir",
    )
}
"""Verb -> the keys that its page shows before the others."""

_CHOSEN, _USUAL = "Choices of files and classes", "Most used keys"

_OPTIONS = (
    ("-m", "A run for each combination of values separated by commas: seed=0,1,2"),
    ("--cfg job", "Print the composed configuration instead of running"),
    ("--hydra-help", "Options of Hydra, which reads the keys"),
)
"""Of each verb that has keys; ``-m`` where its usage has it."""


@dataclass(frozen=True)
class Door:
    """Docstring of a verb's door.

    Args:
        summary: First line.
        text: Further paragraphs.
        usage: Lines that show the command.
        examples: Commands and what each does.
    """

    summary: str
    text: str
    usage: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for the page of its verb."""
    return not {"--help", "-h"}.isdisjoint(arguments)


def show(text: str) -> None:
    """Prints a page, also where the reader of a pipe ends early or the output's encoding lacks a character."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def page_asked_for(verb: str, words: Sequence[str]) -> str:
    """The page of a verb, with the keys of the libraries where ``all`` is among the words."""
    return page(verb, is_full="all" in words)


def verbs() -> list[str]:
    """The names of all verbs."""
    names = {path.stem for path in _DOORS.glob("*.py") if not path.stem.startswith("_")}
    return [*(name for name in _ORDER if name in names), *sorted(names.difference(_ORDER))]


def door(verb: str) -> Door:
    """What the docstring of a verb's door says."""
    source = (_DOORS / f"{verb}.py").read_text(encoding="utf-8")
    first, *blocks = inspect.cleandoc(ast.get_docstring(ast.parse(source)) or "").split("\n\n")
    sections = {"Usage": "", "Examples": ""}
    texts = []
    for block in blocks:
        title, _, rest = block.partition(":\n")
        if title in sections:
            sections[title] = textwrap.dedent(rest)
        else:
            texts.append(" ".join(block.split()))
    examples = re.findall(r"^(\S.*)\n((?:[ ]+.*\n?)*)", sections["Examples"], re.MULTILINE)
    return Door(
        " ".join(first.split()),
        "\n\n".join(texts),
        tuple(sections["Usage"].splitlines()),
        tuple((command, " ".join(text.split())) for command, text in examples),
    )


@functools.cache
def content() -> dict[str, Any]:
    """What ``keys.json`` holds."""
    loaded: dict[str, Any] = json.loads(KEYS.read_text(encoding="utf-8"))
    return loaded


def entries(verb: str) -> list[dict[str, Any]]:
    """The keys of a verb."""
    own: list[dict[str, Any]] = content()["verbs"].get(verb, [])
    return own


def overview() -> str:
    """The page of ``aed`` alone."""
    width = max(map(len, verbs()))
    lines = ["aed: from a folder of labelled sounds to a microcontroller that recognises them", ""]
    lines += ["  aed <verb> [key=value ...]", ""]
    for verb in verbs():
        lines += wrapped(f"  {verb:<{width}}  {door(verb).summary}", width + 4)
    lines += [
        "",
        "  aed <verb> --help    the verb's examples and keys",
        "  aed help <key>       a key: aed help data.split",
    ]
    starts = {
        "aed predict model=yamnet_audioset x.wav": "names the sounds in a recording",
        "aed train experiment=demo": "a net of your own in a minute, without data",
        "aed doctor": "what is missing here",
    }
    width = max(map(len, starts))
    lines += ["", "Start with", *(f"  {command:<{width}}  {text}" for command, text in starts.items())]
    return "\n".join(lines)


def page(verb: str, is_full: bool = False) -> str:
    """The page of a verb: purpose, examples, keys.

    Args:
        verb: Its name.
        is_full: With the keys of classes that are not ours, too.
    """
    own, keys = door(verb), entries(verb)
    libraries = sorted({entry["library"] for entry in keys if "library" in entry})
    lines = [*wrapped(f"aed {verb}: {own.summary[:1].lower()}{own.summary[1:]}", 2), ""]
    if own.text:
        lines += [*wrapped(own.text, 0), ""]
    lines += [f"  {line}" for line in own.usage]
    lines += ["", "Examples"] if own.examples else []
    for command, text in own.examples:
        lines += [f"  {command}", *wrapped(f"      {text}", 6)]
    if not keys:
        return "\n".join(lines)
    lines += ["", "Options"]
    lines += [f"  {option:<14}{text}" for option, text in options(verb)]
    for section, own_keys in sections(keys, verb).items():
        shown = [entry for entry in own_keys if is_full or section == _USUAL or "library" not in entry]
        if shown:
            lines += ["", f"{section}; the others follow" if section == _USUAL else section]
        for entry in shown:
            lines += entry_lines(entry)
    more = f"aed {verb} --help all adds the keys of {' and '.join(libraries)}. "
    last = "aed help <key> says which verbs take a key and what the experiments set, aed help data. what is below data."
    return "\n".join([*lines, "", *wrapped(f"{more if libraries and not is_full else ''}{last}", 0)])


def options(verb: str) -> list[tuple[str, str]]:
    """Options that make sense for a verb, and what they do."""
    is_swept = any(" -m " in line for line in door(verb).usage)
    return [(option, text) for option, text in _OPTIONS if is_swept or option != "-m"]


def missing(verb: str, words: Sequence[str], words_are_files: bool = False) -> str:
    """What to give, where a command line lacks a key that has no default.

    Empty where it lacks none, and where it holds anything that only the composed configuration can judge.

    Args:
        verb: Its name.
        words: Of the command line.
        words_are_files: Whether words that are no ``key=value`` are elements of ``files``.
    """
    typed = given(words, "files" if words_are_files else None)
    own = entries(verb)
    needed = [entry for entry in own if not {"default", "with"} & entry.keys()]
    lacking = [entry for entry in needed if typed is not None and entry["key"] not in typed]
    if typed is None or not lacking or not typed <= {entry["key"] for entry in own}:
        return ""
    usage = [f"  {line}" for line in door(verb).usage]
    last = f"aed {verb} --help explains it, with examples."
    if group := next((entry["key"] for entry in lacking if "options" in entry), None):
        names = sorted(path.stem for path in (CONFIG_DIR / group).glob("*.yaml"))
        return "\n".join([choose(group, names, CONFIG_DIR), "", *usage, "", last]) if names else ""
    lines = [f"aed {verb}: give {' and '.join(entry['key'] + '=...' for entry in lacking)}", "", *usage, ""]
    for entry in lacking:
        lines += wrapped(f"  {entry['key']}: {entry['meaning']}", 6)
    return "\n".join([*lines, "", last])


def sections(keys: Sequence[dict[str, Any]], verb: str) -> dict[str, list[dict[str, Any]]]:
    """Title -> keys: what chooses files first, then the most used, then by the part before the last dot."""
    first = {entry["key"]: entry for entry in reversed(keys)}
    usual = {name: first[name] for name in USUAL.get(verb, ()) if name in first}
    found: dict[str, list[dict[str, Any]]] = {_CHOSEN: [], _USUAL: list(usual.values()), "Keys": []}
    for entry in keys:
        if entry is usual.get(entry["key"]):
            continue
        prefix = entry["key"].rpartition(".")[0]
        title = _CHOSEN if "options" in entry else f"Keys {prefix}.*" if prefix else "Keys"
        found.setdefault(title, []).append(entry)
    # what is not ours comes last
    ordered = sorted(found.items(), key=lambda item: item[0] != _USUAL and is_foreign(item[1]))
    return {title: own for title, own in ordered if own}


def is_foreign(keys: Sequence[dict[str, Any]]) -> bool:
    """Whether some of the keys are those of a library."""
    return any("library" in entry or entry["key"].startswith("hydra.") for entry in keys)


def entry_lines(entry: dict[str, Any]) -> Iterator[str]:
    """Lines of a key on a page."""
    yield from wrapped(f"  {head(entry)}", 6)
    yield from wrapped(f"      {entry['meaning']}", 6)
    if options := entry.get("options"):
        if entry["key"] == "experiment":
            width = max(map(len, options))
            for name, text in options.items():
                yield from wrapped(f"        {name:<{width}}  {text}".rstrip(), width + 10)
        else:
            yield from wrapped(f"      {', '.join(options)}", 6)
    if "with" in entry:
        yield from wrapped(f"      only with {with_options(entry['with'])}", 6)
    for default, options in other_defaults(entry).items():
        yield from wrapped(f"      {default} with {with_options(options)}", 6)


def other_defaults(entry: dict[str, Any]) -> dict[str, list[str]]:
    """Default -> the options of a group that bring it."""
    found: dict[str, list[str]] = {}
    for option, default in entry.get("defaults", {}).items():
        found.setdefault("required" if default is None else default, []).append(option)
    return found


def with_options(options: Sequence[str]) -> str:
    """``data=folder, esc10``."""
    group = options[0].partition("=")[0]
    return f"{group}={', '.join(option.partition('=')[2] for option in options)}"


def head(entry: dict[str, Any]) -> str:
    """``key=default`` and the type or choices."""
    kind = ", ".join(entry["choices"]) if "choices" in entry else entry["type"]
    kind = "" if "options" in entry or kind == "any" else f"  ({kind})"
    return f"{entry['key']}={entry['default']}{kind}" if "default" in entry else f"{entry['key']}=...{kind}  required"


def _width() -> int:
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))


def wrapped(text: str, indent: int) -> list[str]:
    """Lines of the terminal's width; all but the first are indented."""
    start = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.lstrip(),
        _width(),
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
