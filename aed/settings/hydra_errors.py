"""Errors of Hydra and OmegaConf about a command line as messages that say what to type."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import CompactHydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationKeyError, OmegaConfBaseException

from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.settings.command_line import VALUED, choose

_KINDS = {
    "IntegerNode": "a whole number",
    "FloatNode": "a number",
    "BooleanNode": "true or false",
    "StringNode": "a text",
    "ListConfig": "a list, [a,b]",
    "DictConfig": "keys of its own",
}
"""Type of a node of OmegaConf in words."""

MOST_LISTED = 30
"""Most keys or choices that a message names."""


def explain(error: BaseException, config_dir: Path) -> AedError | None:
    """``error`` of Hydra or OmegaConf in our words, or None if it is another kind of error.

    Args:
        error: As Hydra raises it.
        config_dir: Folder of the configuration files, whose folders are groups.
    """
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, OverrideParseException):
        return AedError(_unreadable(str(error.override), str(error)))
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        return AedError(_no_choice(str(error.missing_cfg_file), error.options))
    if isinstance(cause, InterpolationKeyError):
        return AedError(f"a value refers to a key that is not there: {_first_line(cause)}; quote ${{ as \\${{")
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)):
        return AedError(_no_key(cause, str(error), _groups(config_dir)))
    if isinstance(cause, OmegaConfBaseException):
        return AedError(_wrong_value(cause))
    if isinstance(error, CompactHydraException):
        return AedError(_plain(str(error), config_dir))
    if isinstance(error, ValueError) and "Config group override" in str(error):  # model=3
        return AedError(f"{_first_line(error)}; a group takes the name of one of its files")
    if isinstance(error, ValueError) and str(error).startswith(("Only one of --run", "The --resolve flag")):
        return AedError(_first_line(error))
    return None


def check(config: DictConfig, config_dir: Path) -> None:
    """Refuses what OmegaConf accepts: keys that nothing reads, values that are no choice, a group set as a value.

    Args:
        config: A composed configuration; its nodes have the types of the signatures.
        config_dir: Folder of the configuration files, whose folders are groups.

    Raises:
        AedError: Names the key.
    """
    for group in _groups(config_dir):
        path = group.replace("/", ".")
        value = OmegaConf.select(config, path, throw_on_missing=False)
        if isinstance(value, (str, int, float)):
            near = nearest(str(value), _options(group, config_dir))
            raise AedError(
                f"{path}={value}: this is a group of choices; did you mean {group}={near[0] if near else value}?"
            )
    for path, node in _nodes(config, ""):
        kind = OmegaConf.get_type(node)
        if kind is dict or kind is None:
            continue
        fields = list(getattr(kind, "__dataclass_fields__", {}))
        target = node._get_node("_target_") if "_target_" in fields else None
        is_open = getattr(kind, "is_open", False) or (
            isinstance(target, Node) and target._value() != kind.__dataclass_fields__["_target_"].default
        )  # a class of the user's in its place has keys of its own
        for key in map(str, node):
            if node.get("_partial_") and OmegaConf.is_missing(node, key):
                raise AedError(f"{path}{key}: give a value, {path}{key}=...")
            if key not in fields and not is_open:
                raise AedError(f"{path}{key}: nothing reads this key{_instead(path, key, fields)}")
        for key, allowed in getattr(kind, "choices", {}).items():
            value = None if OmegaConf.is_missing(node, key) else node[key]
            if value is not None and value not in allowed:
                near = nearest(str(value), allowed)
                hint = f"; did you mean {path}{key}={near[0]}?" if near else ""
                raise AedError(f"{path}{key}: need one of {', '.join(allowed)}; got {value!r}{hint}")


def check_words(arguments: Sequence[str], config_dir: Path) -> None:
    """Refuses words on a command line that are neither ``key=value`` nor an option.

    Args:
        arguments: Of the command line.
        config_dir: Folder of the configuration files.

    Raises:
        AedError: Names the first, and the likely intention.
    """
    valued = False
    for word in arguments:
        if not (valued or word.startswith(("-", "~", "+")) or "=" in word):
            raise AedError(_bare(word, config_dir))
        valued = word in VALUED


def _bare(word: str, config_dir: Path) -> str:
    groups = {group: _options(group, config_dir) for group in _groups(config_dir)}
    named = [f"{group}={word}" for group, names in groups.items() if word in names]
    experiments = nearest(word, groups["experiment"])
    meant = [*named, *(f"experiment={name}" for name in experiments[:1])]
    if Path(word).suffix.lower() in (".onnx", ".ckpt"):
        meant = [f"model={word}"]
    return f"{word}: need key=value" + (f"; did you mean {meant[0]}?" if meant else ", as in seed=1")


def _nodes(config: DictConfig, path: str) -> Iterator[tuple[str, DictConfig]]:
    """Every mapping of a configuration, with its dotted path."""
    yield path, config
    for key in map(str, config):
        if OmegaConf.is_missing(config, key) or OmegaConf.is_interpolation(config, key):
            continue
        value = config[key]
        if isinstance(value, DictConfig) and not value._is_none():
            yield from _nodes(value, f"{path}{key}.")


def _no_key(error: OmegaConfBaseException, text: str, groups: list[str]) -> str:
    """Message for a key that is in no signature, with the keys beside it or those of that name elsewhere."""
    full, match = str(error.full_key), re.search(r"use \+\S+?=(.*)", text, re.DOTALL)
    path, _, key = full.rpartition(".")
    node = error.parent_node
    known = [str(name) for name in node] if isinstance(node, DictConfig) and not node._is_none() else []
    if "/" in full or not path:
        known += [group for group in groups if group.partition("/")[0] in known and "/" in group]
    elsewhere = []
    if isinstance(node, DictConfig) and not nearest(key, known):
        elsewhere = [name for name in _leaves(node._get_root(), "") if name.rpartition(".")[2] == key]
        elsewhere.sort(key=lambda name: not name.startswith(f"{path}."))  # those beneath the mapping first
    if elsewhere:
        path, known, key = "", elsewhere[:2], elsewhere[0]
    # Hydra's quotes, which stand around what it cannot read, need not be typed
    value = match and re.sub(r"^'([^'\\]*)'$", r"\1", match[1])
    return f"{full}: there is no such key{_instead(f'{path}.' if path else '', key, known, value)}"


def _leaves(node: Any, prefix: str) -> Iterator[str]:
    """The dotted keys of all values that are no mapping, without Hydra's own."""
    for name in map(str, node):
        child = node._get_node(name)
        if isinstance(child, DictConfig) and not (child._is_none() or child._is_interpolation()):
            if prefix or name != "hydra":
                yield from _leaves(child, f"{prefix}{name}.")
        elif not name.startswith("_"):
            yield f"{prefix}{name}"


def _instead(path: str, key: str, known: Sequence[str], value: str | None = None) -> str:
    """Keys that may be meant, ready to be typed where the value is known."""
    typed = ["model" if name == "model_file" else name for name in dict.fromkeys(known) if not name.startswith("_")]
    if near := nearest(key, typed):
        end = "" if value is None else f"={value}"
        return f"; did you mean {' or '.join(shlex.quote(path + name + end) for name in near)}?"
    listed = ", ".join(sorted(typed)[:MOST_LISTED])
    return f"; there are {listed}" if listed else ""


def _no_choice(missing: str, options: Sequence[str] | None) -> str:
    """Message for a file that a group does not have."""
    group, _, name = missing.rpartition("/")
    key = group or "experiment"
    known = sorted(options or ())
    near = nearest(name, known)
    hint = f"; did you mean {key}={near[0]}?" if near else ""
    return f"{key}: need one of {', '.join(known[:MOST_LISTED])}; got {name!r}{hint}"


def _wrong_value(error: OmegaConfBaseException) -> str:
    """Message for a value of another type than the signature's."""
    kind = _KINDS.get(type(error.child_node).__name__)
    if kind and error.full_key:
        value = "null" if error.value is None else repr(error.value)
        return f"{error.full_key}: need {kind}, got {value}"
    return f"{error.full_key}: {_first_line(error)}" if error.full_key else _first_line(error)


def _unreadable(override: str, text: str) -> str:
    """Message for an override that Hydra's grammar does not accept."""
    key, equals, value = override.partition("=")
    if not equals:
        return f"{override}: need key=value"
    reason = text.removeprefix(f"Error parsing override '{override}'").strip().splitlines()[0]
    return (
        f"{key}: {value} cannot be read ({reason}); a list is [a,b], and a text with brackets, commas, spaces or "
        f"quotes stands between quotes twice: \"{key}='...'\""
    )


def _plain(text: str, config_dir: Path) -> str:
    """Message for other errors of Hydra: its own words, without those that do not help."""
    if match := re.match(r"You must specify '([^']+)'.*?Available options:\s*(.*)", text, re.DOTALL):
        return choose(match[1], match[2].split(), config_dir)
    if match := re.match(r"Ambiguous value for argument '([^=]+)=(.*?)'\n", text, re.DOTALL):
        key, value = match.groups()
        return f"{key}: {value} is several values; a list is {key}=[{value}], a run for each of them needs -m"
    if match := re.match(r"Sweep parameters '(.*?)' requires --multirun", text):
        return f"{match[1]}: is a sweep; add -m"
    if match := re.match(r"Could not delete from config\. '(.*?)' does not exist", text):
        return f"~{match[1]}: there is no such key"
    return " ".join(line.strip() for line in text.splitlines() if line.strip() and "hydra.cc" not in line)


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]


def _groups(config_dir: Path) -> list[str]:
    """Groups of configurations, as one types them: ``model/net``."""
    folders = [path.relative_to(config_dir).as_posix() for path in config_dir.rglob("*") if path.is_dir()]
    hidden = ("schema", "hydra", "boards", "_")
    return sorted(name for name in {*folders, *_stored(ConfigStore.instance().repo, "")} if not name.startswith(hidden))


def _options(group: str, config_dir: Path) -> list[str]:
    """Names that a group can be set to."""
    node: Any = ConfigStore.instance().repo
    for name in group.split("/"):
        node = node.get(name, {})
    stored = [name.removesuffix(".yaml") for name, item in node.items() if not isinstance(item, dict)]
    return sorted({*stored, *(path.stem for path in (config_dir / group).glob("*.yaml"))})


def _stored(tree: dict[str, Any], path: str) -> Iterator[str]:
    """Groups that the code, not a file, has stored."""
    for name, node in tree.items():
        if isinstance(node, dict):
            yield f"{path}{name}"
            yield from _stored(node, f"{path}{name}/")
