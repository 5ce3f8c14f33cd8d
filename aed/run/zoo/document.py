"""A ``user_config.yaml`` read without running anything of it: its keys by the names that version 3 has for them."""

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aed.base.console import printable
from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.run.zoo.keys import KEYS, OPEN, canonical
from aed.run.zoo.literals import evaluated

MOST_BYTES, MOST_LEAVES = 1_000_000, 5_000
"""Of a file and its values: the largest published file has 4 kB and 90 values."""

LARGEST = 1e18
"""No number of a configuration is as large; NaN is not smaller either."""

_FOREIGN = re.compile(r"\$\{(?!\w+\})")


@dataclass(frozen=True)
class Leaf:
    """A value of the file.

    Args:
        path: Its key, as in the file.
        value: As YAML reads it.
    """

    path: str
    value: Any


@dataclass(frozen=True)
class Document:
    """The values of a file.

    Args:
        name: Of the file.
        generation: ``2023``, ``v3`` (and v2) or ``v4``, which its keys show.
        leaves: Name of version 3 -> value; what is empty in the file is left out.
    """

    name: str
    generation: str
    leaves: dict[str, Leaf]

    def path(self, key: str) -> str:
        """What a key of version 3 is called in the file."""
        return self.leaves[key].path

    def raw(self, key: str) -> Any:
        """A value, with numbers and arithmetic in text as the zoo evaluates them; None if there is none."""
        return evaluated(self.leaves[key].value) if key in self.leaves else None

    def number(self, key: str) -> float | int | None:
        """A finite number, or None."""
        value = self.raw(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
            raise self._refused(key, "a number")
        return value

    def whole(self, key: str) -> int | None:
        """A whole number, or None."""
        value = self.number(key)
        if value is not None and value != int(value):
            raise self._refused(key, "a whole number")
        return None if value is None else int(value)

    def flag(self, key: str) -> bool | None:
        """True, False or None."""
        value = self.raw(key)
        if value is not None and not isinstance(value, bool):
            raise self._refused(key, "True or False")
        return value

    def text(self, key: str) -> str | None:
        """A text of one line, the text ``None`` as none."""
        value = self.leaves[key].value if key in self.leaves else None
        if value is None or value == "None":
            return None
        if isinstance(value, list | bool) or not str(value).isprintable():
            raise self._refused(key, "a text")
        if _FOREIGN.search(str(value)):
            raise self._refused(key, "no ${...} but ${NAME}, of the environment")
        return str(value).strip()

    def file(self, key: str) -> str | None:
        """A path, with ``/`` between folders."""
        value = self.text(key)
        return value and value.replace("\\", "/")

    def names(self, key: str) -> list[str] | None:
        """A list of different texts, or None."""
        value = self.raw(key)
        if value is None:
            return None
        is_list = isinstance(value, list | tuple) and all(isinstance(name, str) and name.strip() for name in value)
        if not is_list or not all(name.isprintable() and "${" not in name for name in value):
            raise self._refused(key, "a list of names; those that YAML reads as something else stand in quotes")
        if doubled := sorted({name for name in value if value.count(name) > 1}):
            raise AedError(f"{self.name}: {self.path(key)}: {', '.join(doubled)} twice")
        return list(value)

    def _refused(self, key: str, needed: str) -> AedError:
        value = printable(repr(self.leaves[key].value))
        return AedError(f"{self.name}: {self.path(key)}: need {needed}, got {value[:100]}")


class _Loader(yaml.SafeLoader):
    """YAML's plain types alone; a key that stands twice with two values is an error."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Hashable, Any]:
    found: dict[Hashable, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        value = loader.construct_object(value_node, deep=True)
        if not isinstance(key, str):
            raise AedError(f"line {key_node.start_mark.line + 1}: need a text as key, got {key!r}")
        if key in found and found[key] != value:
            raise AedError(f"{key}: stands twice with different values, again in line {key_node.start_mark.line + 1}")
        found[key] = value
    return found


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_document(path: Path) -> Document:
    """The values of a ``user_config.yaml`` of any generation.

    Raises:
        AedError: It cannot be read, has a key that the zoo has not, or says one thing by two keys.
    """
    tree = _load(path)
    found = list(_flat(path.name, tree))
    generation = _generation({leaf.path for leaf in found}, set(tree))
    leaves: dict[str, Leaf] = {}
    for leaf in found:
        key = canonical(leaf.path, generation)
        if key not in KEYS and not key.startswith(OPEN):
            raise AedError(f"{path.name}: {printable(leaf.path)}: no key of ST's zoo{_meant(leaf.path)}")
        if key in leaves:
            raise AedError(f"{path.name}: {leaves[key].path} and {leaf.path} say the same; leave one of them out")
        leaves[key] = leaf
    return Document(path.name, generation, leaves)


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise AedError(f"{path.name}: no user_config.yaml of ST's zoo: it has more than {MOST_BYTES:,} bytes")
        found = yaml.load(path.read_text(encoding="utf-8-sig"), _Loader)  # derived from SafeLoader
    except AedError as error:
        raise AedError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise AedError(f"{path}: no such file; give the user_config.yaml of ST's zoo") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise AedError(f"{path}: cannot be read as plain YAML, which it has to be: {reason}") from error
    if not isinstance(found, dict) or not found:
        raise AedError(f"{path}: no user_config.yaml of ST's zoo: need sections of keys")
    return found


def _flat(name: str, tree: Mapping[str, Any]) -> Iterator[Leaf]:
    """Values that are there, by their whole key; an alias counts as often as it is used."""
    left, values = MOST_LEAVES, list(tree.items())[::-1]
    while values:
        path, value = values.pop()
        left -= 1 + (len(value) if isinstance(value, list) else 0)
        if left < 0 or (isinstance(value, list) and any(isinstance(item, list | dict) for item in value)):
            raise AedError(f"{name}: no user_config.yaml of ST's zoo: {path} holds more than any of its keys")
        if isinstance(value, dict):
            values += [(f"{path}.{key}", own) for key, own in list(value.items())[::-1]]
        elif value is not None:
            yield Leaf(path, value)


def _generation(paths: set[str], sections: set[str]) -> str:
    signs = {
        "2023": {"pre_processing", "train_parameters", "stm32ai"} & sections
        | {path for path in paths if path.startswith("model.model_type.") or path.endswith(".use_other_class")},
        "v4": {"model.model_name", "model.model_path", "model.pretrained", "dataset.dataset_name"} & paths,
        "v3": {path for path in paths if path.startswith("training.model.") or path == "dataset.name"},
    }
    if signs["2023"]:  # these keys are common to two versions
        signs["v3"] -= {"dataset.name"}
        signs["v4"] -= {"model.model_path"}
    shown = [generation for generation, found in signs.items() if found]
    if len(shown) > 1:
        both = " and ".join(sorted(signs[generation])[0] for generation in shown)
        raise AedError(f"{both}: keys of different versions of ST's zoo in one file")
    return shown[0] if shown else "v3"


def _meant(path: str) -> str:
    near = nearest(path, KEYS)
    return f"; did you mean {near[0]}?" if near else "; is it a user_config.yaml? Then leave the key out"
