"""Every key of every verb with type, default and meaning, collected from signatures, docstrings and configurations.

``python -m aed.run.reference`` writes ``aed/run/keys.json``, from which the help is printed without an import of torch,
and the pages ``docs/reference/<verb>.md``; tests/test_help.py fails where they are not those of the code.
"""

import dataclasses
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from aed.base.paths import CONFIG_DIR
from aed.run import help, manual, registry
from aed.run.docstrings import arguments, first_sentence, plain, type_hints, type_text
from aed.run.leaves import Leaf, leaves
from aed.settings.command_line import first_comment

FURTHER = {"data": ("build",)}
"""Verb -> configurations of its other forms; keys that the primary one lacks follow."""

_FORMS = {"inspect", *FURTHER["data"]}
CONFIGS = {"train": "train", "data": "inspect"} | {name: name for name in registry.FUNCTIONS if name not in _FORMS}
"""Verb -> its primary configuration."""


LIBRARIES = ("torch", "lightning")
"""Whose docstrings explain keys of classes of other packages."""

MEANINGS = {
    "hydra.run.dir": "Folder of the outputs.",
    "model.net._target_": "Class of your own net, my_pkg.MyNet; its arguments are further keys, +model.net.width=32.",
    "callbacks.progress.theme.metrics_text_delimiter": "Text between two metrics.",
    "callbacks.progress.theme.metrics_format": "Format of a metric's number.",
    "model/net=user": "A class of your own, model.net._target_=my_pkg.MyNet.",
    "model.net.num_classes": "Outputs of the net; set from the data.",
}
"""Of keys that no signature has or no docstring explains, and of an option that is no class."""


def _file(group: str, option: str) -> Path:
    """The configuration file of an option; there is none where the code stores it."""
    return CONFIG_DIR / group / f"{option}.yaml"


def _stored(group: str, options: Iterable[str]) -> dict[str, DictConfig]:
    """The options of a group that the code stores, not a file."""
    store: Any = ConfigStore.instance().repo
    for part in group.split("/"):
        store = store.get(part, {})
    return {name: store[f"{name}.yaml"].node for name in options if not _file(group, name).is_file()}


def collect(verb: str) -> list[dict[str, Any]]:
    """The keys of a verb, in the order of its configuration; see :mod:`aed.run.help` for the fields of an entry."""
    found = _keys_of(CONFIGS[verb])
    for config_name in FURTHER.get(verb, ()):
        known = {entry["key"] for entry in found}
        found += [entry for entry in _keys_of(config_name) if entry["key"] not in known]
    return found


def _keys_of(config_name: str) -> list[dict[str, Any]]:
    registry.register_verb(config_name)
    is_train = config_name == "train"
    start = ["~experiment"] if is_train else []
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        base = compose(config_name, overrides=start, return_hydra_config=True)
        chosen = {name: option for name, option in base.hydra.runtime.choices.items() if not name.startswith("hydra/")}
        repository = GlobalHydra.instance().config_loader().repository  # type: ignore[attr-defined]
        options = {group: list(repository.get_group_options(group)) for group in chosen}
        entries = _Entries(options, chosen)
        entries.add(leaves(base), chosen)
        for group, names in options.items():
            for name, node in _stored(group, names).items():
                entries.add(leaves(node, f"{group.replace('/', '.')}."), {group: name})
        # the n-th file of every group at once: the keys of a group do not depend on another's option
        files = [
            [f"{group}={name}" for name in names if _file(group, name).is_file()] for group, names in options.items()
        ]
        for number in zip_longest(*files):
            config = compose(config_name, overrides=[*start, *filter(None, number)], return_hydra_config=True)
            entries.add(leaves(config), dict(config.hydra.runtime.choices))
        names_of_groups = {group.replace("/", ".") for group in chosen}
        own = [entry for entry in entries.finished(config_name) if entry["key"] not in names_of_groups]
        found = [*_groups(chosen, options, base), *own]
        run_folder = str(OmegaConf.to_container(base.hydra.run, resolve=False)["dir"])  # type: ignore[call-overload,index]
        if run_folder != ".":
            folder = re.sub(r"\$\{now:[^}]*\}", "<date_time>", run_folder)
            folder = re.sub(r"\$\{hydra.runtime.choices.(\w+)\}", r"<\1>", folder)
            found.append(
                {"key": "hydra.run.dir", "type": "str", "default": folder, "meaning": MEANINGS["hydra.run.dir"]}
            )
        if is_train:
            names = registry.experiments()
            described = {name: first_comment(CONFIG_DIR / "experiment" / f"{name}.yaml") for name in names}
            meaning = "Recipe: the file of configs/experiment that the run starts from."
            found.insert(0, {"key": "experiment", "type": "choice", "meaning": meaning, "options": described})
            for name in names:
                config = compose(config_name, overrides=[f"experiment={name}"], return_hydra_config=True)
                _add_experiment(found, name, config)
    return found


@dataclasses.dataclass
class _Found:
    """An entry and, by the option of its group, its leaves; they may differ in their defaults."""

    entry: dict[str, Any]
    leaves: dict[str | None, Leaf] = dataclasses.field(default_factory=dict)


class _Entries:
    """Entries of the leaves of several compositions of one configuration.

    Args:
        options: Group -> names that it can be set to.
        chosen: Group -> name that it is set to where nothing is typed.
    """

    def __init__(self, options: Mapping[str, list[str]], chosen: Mapping[str, str | None]) -> None:
        self.options, self.chosen = options, chosen
        self.found: dict[str, _Found] = {}

    def add(self, found: Iterable[Leaf], chosen: Mapping[str, str | None]) -> None:
        """Adds the leaves of a configuration in which each group is set to what ``chosen`` says."""
        for leaf in found:
            group = self.group(leaf.key)
            entry = _entry(leaf)
            known = self.found.setdefault(json.dumps(entry, sort_keys=True), _Found(entry))
            option = chosen[group] if group else None
            if group and self.chosen[group] is None and leaf.default == leaf.usual:  # no option is the usual one
                known.leaves = {option: leaf} | known.leaves
            known.leaves.setdefault(option, leaf)

    def group(self, key: str) -> str | None:
        """The innermost group whose option brings a key."""
        inside = [group for group in self.options if key.startswith(f"{group.replace('/', '.')}.")]
        return max(inside, key=len, default=None)

    def finished(self, config_name: str) -> Iterator[dict[str, Any]]:
        """The entries, each with the options that have it where not all do, and the file that changes its default."""
        for known in self.found.values():
            entry, own = known.entry, known.leaves
            (option, first), *others = own.items()
            group = self.group(first.key)
            if first.default is not None:
                entry["default"] = first.default
            if group and set(own) != set(self.options[group]):
                entry["with"] = [f"{group}={name}" for name in self.options[group] if name in own]
            if different := {f"{group}={name}": leaf.default for name, leaf in others if leaf.default != first.default}:
                entry["defaults"] = dict(sorted(different.items()))
            if file := _setter(first, group, option, config_name):
                entry["file"] = file
            yield entry


def _entry(leaf: Leaf) -> dict[str, Any]:
    """Key, type, default, choices and meaning of a leaf."""
    types: dict[str, str] = {}
    meanings: dict[str, str] = {}
    owner = ""
    for target in leaf.documented:
        own = arguments(target)
        if leaf.name in own:
            owner = _owner(target, leaf.name)
            meanings[leaf.name], types[leaf.name] = own[leaf.name].text, own[leaf.name].type
        hints = type_hints(target)
        if leaf.name in hints:
            types[leaf.name] = type_text(hints[leaf.name])
    meaning = meanings.get(leaf.name) or MEANINGS.get(leaf.key, "")
    if not owner.startswith("aed"):
        meaning = first_sentence(meaning)
    key = "model" if leaf.key == "model_file" else leaf.key
    entry: dict[str, Any] = {"key": key, "type": types.get(leaf.name) or "any", "meaning": plain(meaning)}
    if allowed := getattr(leaf.kind, "choices", {}).get(leaf.name):
        null = ["null"] if entry["type"].endswith(" or null") else []
        entry |= {"type": "choice", "choices": [*allowed, *null]}
    if owner and not owner.startswith("aed"):
        entry["library"] = owner.partition(".")[0]
    return entry


def _owner(target: Any, name: str) -> str:
    """Module of the function or class, of the bases the first one, whose docstring explains a parameter so."""
    bases = reversed(target.__mro__[:-1]) if inspect.isclass(target) else [target]
    return str(next(base.__module__ for base in bases if arguments(base).get(name) == arguments(target)[name]))


def _setter(leaf: Leaf, group: str | None, option: str | None, config_name: str) -> str | None:
    """The file that gives a leaf another value than its signature does."""
    if leaf.usual == leaf.default:
        return None
    file = _file(group, str(option)) if group else CONFIG_DIR / f"{config_name}.yaml"
    return f"configs/{file.relative_to(CONFIG_DIR).as_posix()}" if file.is_file() else None


def _groups(
    chosen: Mapping[str, str | None], options: Mapping[str, list[str]], base: DictConfig
) -> Iterator[dict[str, Any]]:
    """Entries of the groups: keys that take the name of a file or class."""
    for group, names in sorted(options.items()):
        path = group.replace("/", ".")
        parent, _, name = path.rpartition(".")
        node = OmegaConf.select(base, parent) if parent else base
        explained = [arguments(target).get(name) for target in Leaf(path, node, name).documented]
        meaning = next((plain(own.text) for own in explained if own), "")
        described = {option: _description(group, option) for option in names}
        default = "null" if chosen[group] is None else str(chosen[group])
        yield {"key": group, "type": "choice", "default": default, "meaning": meaning, "options": described}


def _description(group: str, option: str) -> str:
    """What an option of a group is: the comment of its file, else the first line of its class."""
    if comment := first_comment(_file(group, option)):
        return comment
    if _file(group, option).is_file():
        schemas = re.findall(r"/schema/(\w+)", _file(group, option).read_text(encoding="utf-8"))
        store: Any = ConfigStore.instance().repo["schema"]
        node = store[f"{schemas[-1]}.yaml"].node if schemas else None
    else:
        node = _stored(group, [option])[option]
    documented = getattr(OmegaConf.get_type(node), "documented", ()) if node is not None else ()
    if not documented:
        return MEANINGS.get(f"{group}={option}", "")
    # a file holds one net, and its first line says which
    source = sys.modules[documented[0].__module__] if group == "model/net" else documented[0]
    return first_sentence((inspect.getdoc(source) or "").partition("\n\n")[0])


def _add_experiment(found: list[dict[str, Any]], name: str, config: DictConfig) -> None:
    """Adds to each entry the value that an experiment gives it, where that is another."""
    chosen = {f"{group}={option}" for group, option in config.hydra.runtime.choices.items()}
    values = {leaf.key: leaf.default for leaf in leaves(config)}
    values |= {group: str(option) for group, option in config.hydra.runtime.choices.items()}
    for entry in found:
        is_here = entry["key"] in values and not ("with" in entry and chosen.isdisjoint(entry["with"]))
        usual = next((entry["defaults"][own] for own in chosen & set(entry.get("defaults", ()))), entry.get("default"))
        if is_here and entry["key"] != "experiment" and values[entry["key"]] != usual:
            entry.setdefault("experiments", {})[name] = values[entry["key"]]


def content() -> dict[str, Any]:
    """What ``keys.json`` has to hold."""
    versions = {name: version(name) for name in LIBRARIES}
    return {"versions": versions, "verbs": {verb: collect(verb) for verb in sorted(CONFIGS)}}


def written(text: Mapping[str, Any]) -> str:
    """The content of ``keys.json`` as text."""
    return json.dumps(text, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Writes the keys and the pages of the documentation."""
    help.KEYS.write_text(written(content()), encoding="utf-8")
    help.content.cache_clear()
    folder = Path(__file__).parents[2] / "docs" / "reference"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in manual.documents().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
