"""Words of a command line as Hydra reads them unchanged: paths and other text need no quotes of Hydra's.

The typed signatures say which keys are text (``schemas.py``): the configuration that the arguments choose is
composed without their values, and a value is quoted where Hydra's grammar would not read it as text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, StringNode
from omegaconf.errors import OmegaConfBaseException

from aed.base.overrides import quoted
from aed.base.paths import CONFIG_DIR
from aed.settings.command_line import MULTIRUN, VALUED
from aed.settings.quoting import Reader

_OTHER_CONFIG = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")

_ARGUMENT = re.compile(r"([+~]{0,2})(\w[\w./@:-]*)=(.*)", re.DOTALL)
_OVERRIDE = re.compile(r"[+~]{0,2}[\w./@-]+=|\+\+?[\w.]+$")


def with_files(arguments: list[str]) -> list[str]:
    """Command-line arguments with those that are no ``key=value`` and no option gathered in ``files=[...]``.

    A shell's globs thus work as they do everywhere; ``-`` is standard input.
    """
    files: list[str] = []
    others: list[str] = []
    valued = False
    for item in arguments:
        is_file = not valued and (item == "-" or not (item.startswith("-") or _OVERRIDE.match(item)))
        (files if is_file or (not valued and Path(item).exists()) else others).append(item)
        valued = item in VALUED
    return [*others, f"files=[{','.join(map(quoted, files))}]"] if files else arguments


def as_typed(arguments: Sequence[str], config_name: str) -> list[str]:
    """Command-line arguments with the values quoted that Hydra would not read as text.

    Values of text: nothing but Hydra's own quotes, ``null`` and ``${...}`` means anything, and with ``-m`` a comma,
    where no such file exists. Of lists of text each element is such a value. No comma within brackets or braces
    separates anything. Of other kinds, and of keys that are not known: what Hydra cannot parse is text. ``model=``,
    where it is a file and no group of configs, is ``model_file=``.

    Args:
        arguments: Without the program.
        config_name: The primary configuration; it and the schemas are registered.
    """
    names = _file_keys(config_name)
    words, is_option_value = list(arguments), False
    settings: dict[int, tuple[str, str, str]] = {}
    for index, item in enumerate(arguments):
        if not is_option_value and (match := _ARGUMENT.fullmatch(item)):
            settings[index] = match[1], names.get(match[2], match[2]), match[3]
            words[index] = f"{match[1]}{settings[index][1]}={match[3]}"
        is_option_value = item in VALUED
    reader = Reader(is_sweep=bool(MULTIRUN.intersection(arguments)))
    texts, lists = _text_names()
    if all(reader.is_clear(key, value, texts, lists) for _, key, value in settings.values()):
        return words
    is_other = any(item.startswith(_OTHER_CONFIG) for item in arguments)
    known = _Known() if is_other else _Known.of(config_name, [words[index] for index in settings])
    for index, (prefix, key, value) in settings.items():
        if known.is_group(key) or prefix.startswith("~"):
            continue
        node = known.node(key) if prefix != "+" else None
        if isinstance(node, StringNode):
            value = reader.text(value)
        elif isinstance(node, ListConfig) and node._metadata.element_type is str:
            value = reader.texts(value)
        elif reader.parsed(value) is None:
            value = reader.text(value)
        words[index] = f"{prefix}{key}={value}"
    return words


def _file_keys(config_name: str) -> dict[str, str]:
    """Names on the command line of keys that are called like a group of configs, and their names in the schema."""
    schemas = ConfigStore.instance().repo.get("schema", {})
    node = schemas.get(f"{config_name}.yaml")
    return {"model": "model_file"} if node is not None and "model_file" in list(node.node) else {}


def _text_names() -> tuple[set[str], set[str]]:
    """Last parts of all keys that some schema says are text, and of those that are lists of text."""
    texts: set[str] = set()
    lists: set[str] = set()

    def collect(node: Any) -> None:
        if not isinstance(node, DictConfig) or not isinstance(own := node._content, dict):
            return
        for name, child in own.items():
            if isinstance(child, StringNode):
                texts.add(str(name))
            elif isinstance(child, ListConfig) and child._metadata.element_type is str:
                lists.add(str(name))
            else:
                collect(child)

    def walk(repository: dict[str, Any]) -> None:
        for entry in repository.values():
            if isinstance(entry, dict):
                walk(entry)
            else:
                collect(entry.node)

    walk(ConfigStore.instance().repo)
    return texts, lists


@dataclass(frozen=True)
class _Known:
    """Keys and groups of a configuration.

    Args:
        config: Composed of the chosen groups; None where it cannot be; Hydra then reports the error.
        options: Names that each chosen group of configs has.
    """

    config: DictConfig | None = None
    options: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, config_name: str, overrides: Sequence[str]) -> "_Known":
        """The configuration of the overrides that choose from a group."""
        with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
            repository = GlobalHydra.instance().config_loader().repository  # type: ignore[attr-defined]
            groups = {_group(item): repository.get_group_options(_group(item), None) for item in overrides}
            groups = {group: names for group, names in groups.items() if names}
            # of a sweep the first: its keys are those of any
            chosen = [item.partition(",")[0] for item in overrides if _group(item) in groups]
            try:
                config = compose(config_name, overrides=chosen, return_hydra_config=True)
            except (HydraException, OmegaConfBaseException):
                return cls(None, groups)
            choices = {group.partition("@")[0] for group in config.hydra.runtime.choices}
            options = {group: repository.get_group_options(group, None) for group in sorted(choices)}
            return cls(config, options | groups)

    def is_group(self, key: str) -> bool:
        """Whether a key chooses from a group of configs."""
        return _group(key) in self.options

    def node(self, key: str) -> Any:
        """The node at a key; None where there is none or it cannot be known."""
        node: Any = self.config
        for part in key.split("."):
            if not isinstance(node, DictConfig) or node._is_none() or node._is_interpolation() or node._is_missing():
                return None
            if part not in list(node):  # "in" alone leaves out what has no value yet
                return None
            node = node._get_node(part)
        return node


def _group(argument: str) -> str:
    """The group of configs that an argument chooses from, if it does."""
    return argument.lstrip("+~").partition("=")[0].partition("@")[0]
