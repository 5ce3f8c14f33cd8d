"""What is typed on the command line, as Hydra reads it unchanged: paths and other text need no quotes of Hydra's.

The typed signatures say which keys are text (``schemas.py``): the configuration that the arguments choose is
composed without their values, and a value is quoted where Hydra's grammar would take it for something else.
"""

import os
import re
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, StringNode
from omegaconf.errors import OmegaConfBaseException

from aed.base.overrides import quoted
from aed.base.paths import CONFIG_DIR
from aed.settings.advice import VALUED

MULTIRUN = {"-m", "--multirun"}

_OTHER_CONFIG = ("--config-dir", "-cd", "--config-name", "-cn", "--config-path", "-cp")

_ARGUMENT = re.compile(r"([+~]{0,2})(\w[\w./@:-]*)=(.*)", re.DOTALL)
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_QUOTED_ELEMENT = re.compile(rf"\s*(?:{_QUOTED.pattern})\s*(?=[,)\]}}]|$)", re.DOTALL)
_CLOSING = {")": "(", "]": "[", "}": "{"}


def as_typed(arguments: Sequence[str], config_name: str) -> list[str]:
    """Command-line arguments with the values quoted that Hydra would take for something else than the text they are.

    Values of text: nothing but Hydra's own quotes, ``null`` and ``${...}`` means anything, and with ``-m`` a comma,
    where no such file exists. Of lists of text each element is such a value. No comma within brackets or braces
    separates anything. Of other kinds, and of keys that are not known: what Hydra cannot parse is text. ``model=``,
    where it is a file and no group of configs, is ``model_file=``.

    Args:
        arguments: Without the program.
        config_name: The primary configuration; it and the schemas are registered.
    """
    names = _file_keys(config_name)
    made, is_option_value = list(arguments), False
    found: dict[int, tuple[str, str, str]] = {}
    for place, item in enumerate(arguments):
        if not is_option_value and (match := _ARGUMENT.fullmatch(item)):
            found[place] = match[1], names.get(match[2], match[2]), match[3]
            made[place] = f"{match[1]}{found[place][1]}={match[3]}"
        is_option_value = item in VALUED
    reader = _Reader(is_sweep=bool(MULTIRUN.intersection(arguments)))
    texts, lists = _text_names()
    if all(reader.is_clear(key, value, texts, lists) for _, key, value in found.values()):
        return made
    is_other = any(item.startswith(_OTHER_CONFIG) for item in arguments)
    known = _Known() if is_other else _Known.of(config_name, [made[place] for place in found])
    for place, (prefix, key, value) in found.items():
        if known.is_group(key) or prefix.startswith("~"):
            continue
        node = known.node(key) if prefix != "+" else None
        if isinstance(node, StringNode):
            value = reader.text(value)
        elif isinstance(node, ListConfig) and node._metadata.element_type is str:
            value = reader.texts(value)
        elif reader.parsed(value) is None:
            value = reader.text(value)
        made[place] = f"{prefix}{key}={value}"
    return made


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
    """What keys there are.

    Args:
        config: Composed of the chosen groups; None where it cannot be, of which Hydra will tell.
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
            # of a sweep the first: keys are those of any
            chosen = [item.partition(",")[0] for item in overrides if _group(item) in groups]
            try:
                made = compose(config_name, overrides=chosen, return_hydra_config=True)
            except (HydraException, OmegaConfBaseException):
                return cls(None, groups)
            choices = {group.partition("@")[0] for group in made.hydra.runtime.choices}
            return cls(made, {group: repository.get_group_options(group, None) for group in sorted(choices)} | groups)

    def is_group(self, key: str) -> bool:
        """Whether a key chooses from a group of configs."""
        return _group(key) in self.options

    def node(self, key: str) -> Any:
        """What a key holds, None where there is none or it cannot be known."""
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


class _Reader:
    """Reads values as Hydra does.

    Args:
        is_sweep: Whether commas separate values of a sweep.
    """

    def __init__(self, is_sweep: bool) -> None:
        self.is_sweep, self.parser = is_sweep, OverridesParser.create()

    def parsed(self, value: str) -> Override | None:
        """None where Hydra cannot read it."""
        try:
            return self.parser.parse_override(f"key={value}")
        except HydraException:
            return None

    def is_clear(self, key: str, value: str, texts: Set[str], lists: Set[str]) -> bool:
        """Whether Hydra reads a value right whatever the key holds by its name; then nothing has to be composed.

        Args:
            key: With dots.
            value: As typed.
            texts: Last parts of keys that may be text.
            lists: Of those that may be lists of text.
        """
        name = key.rpartition(".")[2]
        override = self.parsed(value)
        if override is None or name in lists or key.startswith("hydra."):  # some of Hydra's names are anybody's
            return False
        is_plain = not override.is_sweep_override() and self._is_plain(override._value, value)
        return is_plain or name not in texts

    def text(self, value: str) -> str:
        """A text, quoted if it has to be; a sweep over some where that is meant."""
        override = self.parsed(value)
        if self.is_sweep and not _exists(value) and (override is None or override.is_sweep_override()):
            if override is not None and not getattr(override._value, "simple_form", False):
                return value  # range(1,3)
            if len(parts := _elements(value)) > 1:
                return ",".join(map(self._one, parts))
        return self._one(value)

    def _one(self, value: str) -> str:
        override = self.parsed(value)
        if override is not None and not override.is_sweep_override() and self._is_plain(override._value, value):
            return value
        return quoted(value, has_references=_has_references(value) and not _exists(value))

    def texts(self, value: str) -> str:
        """A list of texts; a single one stands for a list of it."""
        is_list = value.startswith("[") and value.endswith("]") and not _exists(value)
        elements = _elements(value[1:-1]) if is_list else []
        if elements and all(map(_QUOTED.fullmatch, elements)):  # thousands of recordings, as with_files gives them
            return value
        override = self.parsed(value)
        if override is not None and (override.is_sweep_override() or override._value is None):
            return value
        several = _elements(value) if self.is_sweep and is_list else []
        if len(several) > 1:  # lists
            return ",".join(map(self.texts, several))
        if is_list:
            return f"[{','.join(map(self._element, elements))}]"
        if override is not None and not isinstance(override._value, str | int | float | QuotedString):
            return value
        return value if value.startswith("${") or not value else f"[{self._element(value)}]"

    def _element(self, value: str) -> str:
        """A text of a list, where fewer marks stand for themselves."""
        made = self._one(value)
        return made if made != value or re.fullmatch(r"[\w./-]+|'.*'|\".*\"", value, re.DOTALL) else quoted(value)

    @staticmethod
    def _is_plain(parsed: Any, value: str) -> bool:
        """Whether Hydra's reading is what a text means: itself, what is in Hydra's quotes, or null."""
        if isinstance(parsed, QuotedString):
            return not _exists(value)
        return parsed is None or (type(parsed) in (str, int) and value == str(parsed))


def _elements(text: str) -> list[str]:
    """What stands between the commas that are not in quotes, nor in brackets or braces that are closed again."""
    bounds = [-1, *_separating(text), len(text)]
    elements = [text[before + 1 : after].strip() for before, after in pairwise(bounds)]
    return elements if elements[-1] else elements[:-1]


def _separating(text: str) -> list[int]:
    """Positions of those commas; a bracket without a partner means itself."""
    commas: list[int] = []
    opened: list[tuple[str, int]] = []
    at, may_be_quoted = 0, True
    while at < len(text):
        if may_be_quoted and (match := _QUOTED_ELEMENT.match(text, at)):
            at, may_be_quoted = match.end(), False
            continue
        mark = text[at]
        if mark == ",":
            commas.append(at)
        elif mark in _CLOSING.values():
            opened.append((mark, len(commas)))
        elif partners := [place for place, (other, _) in enumerate(opened) if other == _CLOSING.get(mark)]:
            del commas[opened[partners[-1]][1] :], opened[partners[-1] :]
        at, may_be_quoted = at + 1, mark in ",([{"
    return commas


def _exists(value: str) -> bool:
    """Whether a file or folder is called so, whatever its characters mean elsewhere."""
    return bool(value) and os.path.lexists(value)


def _has_references(value: str) -> bool:
    """Whether OmegaConf finds a reference in a text, ``${...}``."""
    try:
        return bool(OmegaConf.create({"key": value})._get_node("key")._is_interpolation())  # type: ignore[union-attr]
    except OmegaConfBaseException:
        return False
