"""What a search may choose: nets, and for each of them keys of ``aed train`` with their values, read from a file."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from aed.base.errors import AedError
from aed.base.overrides import in_hydra, nearest
from aed.base.paths import CONFIG_DIR

SPACES = CONFIG_DIR / "spaces"
"""Files of the shipped spaces."""

_KEY = re.compile(r"[A-Za-z_][\w./]*", re.ASCII)
_OWN = ("hydra", "stages", "operation_mode", "ckpt_path", "resume", "output_dir", "experiment", "logger", "seed")
"""Keys that a search sets itself, and what is below them."""

_PARTS = ("experiment", "set", "search")
_RANGE = {"low", "high", "step", "log"}
Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Values:
    """A key and the values that it may take."""

    key: str
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Range:
    """A key and the numbers between two ends, both included; whole ones where both ends are."""

    key: str
    low: float
    high: float
    step: float | None = None
    log: bool = False


@dataclass(frozen=True)
class Choices:
    """A name and what it may stand for: several keys at once."""

    key: str
    choices: Mapping[str, Mapping[str, Any]]


Parameter = Values | Range | Choices


@dataclass(frozen=True)
class Family:
    """Trainings of one kind of net.

    Args:
        name: Of the family.
        experiment: That they start from.
        fixed: Keys that differ from the experiment in all of them.
        parameters: What differs between them.
    """

    name: str
    experiment: str
    fixed: Mapping[str, Any]
    parameters: tuple[Parameter, ...]

    def overrides(self, chosen: Mapping[str, Scalar]) -> list[str]:
        """Overrides of ``aed train`` for a value of each parameter, by its key."""
        values = dict(self.fixed)
        for parameter in self.parameters:
            value = chosen[parameter.key]
            values |= parameter.choices[str(value)] if isinstance(parameter, Choices) else {parameter.key: value}
        # what chooses a file comes first: its keys are those of the others
        named = sorted(values.items(), key=lambda item: not _is_group(item[0]))
        return [f"experiment={self.experiment}", *(f"{key}={in_hydra(value)}" for key, value in named)]

    def without(self, typed: Sequence[str]) -> "Family":
        """The family where the user has typed some keys: these are no longer searched or set."""
        given = set(typed)
        kept = tuple(parameter for parameter in self.parameters if given.isdisjoint(_keys(parameter)))
        fixed = {key: value for key, value in self.fixed.items() if key not in given}
        return replace(self, fixed=fixed, parameters=kept)

    def content(self) -> dict[str, Any]:
        """For a fingerprint; JSON."""
        own = [[type(parameter).__name__, *map(str, vars(parameter).items())] for parameter in self.parameters]
        return {"experiment": self.experiment, "fixed": dict(self.fixed), "parameters": own}


def _keys(parameter: Parameter) -> set[str]:
    if isinstance(parameter, Choices):
        return {key for values in parameter.choices.values() for key in values}
    return {parameter.key}


def _is_group(key: str) -> bool:
    return ("." not in key and (CONFIG_DIR / key).is_dir()) or "/" in key or key == "frontend"


def read_space(name: str) -> dict[str, Family]:
    """The families of a space.

    Args:
        name: Of a file in ``configs/spaces``, or the path of a file.

    Raises:
        AedError: There is none, or it says something that cannot be; names the place.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else SPACES / f"{name}.yaml"
    if not path.is_file():
        shipped = sorted(own.stem for own in SPACES.glob("*.yaml"))
        raise AedError(f"space: need one of {shipped} or a .yaml file, got {name!r}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AedError(f"space={path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not content:
        raise AedError(f"space={path}: need a mapping, a family of nets each; see {SPACES / 'small.yaml'}")
    return {str(key): _family(str(key), part, f"space={path}: {key}") for key, part in content.items()}


def _family(name: str, content: Any, where: str) -> Family:
    if not re.fullmatch(r"\w[\w-]*", name):
        raise AedError(f"{where}: need a name of letters, digits, _ and -")
    if not isinstance(content, dict) or not isinstance(content.get("experiment"), str):
        raise AedError(f"{where}: need experiment, set and search, of which experiment names one of aed train")
    if unknown := sorted(map(str, set(content) - set(_PARTS))):
        raise AedError(f"{where}.{unknown[0]}: need some of {', '.join(_PARTS)}")
    fixed, searched = (_mapping(content.get(part), f"{where}.{part}") for part in ("set", "search"))
    parameters = tuple(_parameter(key, own, f"{where}.search.{key}") for key, own in searched.items())
    for key in fixed:
        _check_key(key, f"{where}.set")
        _check_value(fixed[key], f"{where}.set.{key}")
    seen: dict[str, str] = {}
    for parameter in parameters:
        for key in sorted(_keys(parameter)):
            if key in fixed or key in seen:
                raise AedError(f"{where}.search: {key} is set or searched twice; leave one out")
            seen[key] = parameter.key
    return Family(name, content["experiment"], fixed, parameters)


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise AedError(f"{where}: need a mapping of keys, got {content!r}")
    return {str(key): value for key, value in content.items()}


def _check_key(key: str, where: str) -> None:
    if not _KEY.fullmatch(key):
        raise AedError(f"{where}: {key!r} is no key of aed train")
    if "_target_" in key:
        raise AedError(f"{where}.{key}: a class is named on the command line, not by a file")
    if key.replace("/", ".").partition(".")[0] in _OWN:
        raise AedError(f"{where}.{key}: the search sets this itself; leave it out")


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, dict):
        for key, own in value.items():
            _check_key(str(key), where)
            _check_value(own, f"{where}.{key}")
    elif isinstance(value, list):
        for own in value:
            _check_value(own, where)
    elif not isinstance(value, Scalar) or (isinstance(value, float) and not math.isfinite(value)):
        raise AedError(f"{where}: need a finite number, a text, true, false or null, got {value!r}")


def _parameter(key: str, content: Any, where: str) -> Parameter:
    if isinstance(content, list):
        _check_key(key, where.removesuffix(f".{key}"))
        if not content or any(isinstance(value, list | dict) for value in content):
            raise AedError(f"{where}: need a list of values, got {content}")
        _check_value(content, where)
        if len({(type(value), value) for value in content}) != len(content):
            raise AedError(f"{where}: a value occurs twice")
        return Values(key, tuple(content))
    if isinstance(content, dict) and content and set(content) <= _RANGE:
        _check_key(key, where.removesuffix(f".{key}"))
        return _range(key, content, where)
    if isinstance(content, dict) and content and all(isinstance(own, dict) and own for own in content.values()):
        if not all(isinstance(name, str) for name in content):
            raise AedError(f"{where}: need texts as names of choices")
        for name, own in content.items():
            for inner, value in own.items():
                _check_key(str(inner), f"{where}.{name}")
                _check_value(value, f"{where}.{name}.{inner}")
        return Choices(key, content)
    raise AedError(f"{where}: need a list of values, {{low: 1, high: 8}}, or names of several keys with their values")


def _range(key: str, content: Mapping[str, Any], where: str) -> Range:
    low, high, step, log = (content.get(name) for name in ("low", "high", "step", "log"))
    for name, value in (("low", low), ("high", high), *((("step", step),) if step is not None else ())):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise AedError(f"{where}.{name}: need a number, got {value!r}")
    assert low is not None and high is not None
    if not low < high:
        raise AedError(f"{where}: need low under high, got {low} and {high}")
    if log not in (None, True, False) or (log and (step is not None or low <= 0)):
        raise AedError(f"{where}.log: need true or false; true with low over 0 and without step")
    if step is not None and (step <= 0 or isinstance(low + high, int) != isinstance(step, int)):
        raise AedError(f"{where}.step: need a number over 0, whole as the ends are, got {step}")
    return Range(key, low, high, step, bool(log))


def check_typed(keys: Sequence[str]) -> None:
    """Refuses keys of ``aed train`` that a search sets itself.

    Raises:
        AedError: Names the first.
    """
    for key in keys:
        first, _, last = key.replace("/", ".").partition(".")
        if first in _OWN and (first != "logger" or last.endswith("run_id")):
            raise AedError(f"{key}: the search sets this itself; leave it out")
        if key == "model/net":
            raise AedError("model/net: the space chooses the net; nets=[...] names some of it, experiment=... one")


def with_experiment(
    families: Mapping[str, Family], experiment: str, net_class: Callable[[Sequence[str]], str]
) -> dict[str, Family]:
    """The families of an experiment's net, which start from this experiment.

    Args:
        families: By name.
        experiment: Name.
        net_class: Class of the net that overrides choose.

    Raises:
        AedError: None has that net.
    """
    wanted = net_class([f"experiment={experiment}"])
    found = {}
    for name, family in families.items():
        own = [f"{key}={value}" for key, value in family.fixed.items() if key == "model/net"]
        if family.experiment == experiment:
            found[name] = family
        elif net_class([f"experiment={family.experiment}", *own]) == wanted:
            found[name] = replace(family, experiment=experiment, fixed={})
    if not found:
        raise AedError(
            f"experiment={experiment}: its net, {wanted.rpartition('.')[2]}, is in no family of the space: "
            f"{', '.join(families)}; write one, space=mine.yaml"
        )
    return found


def chosen_families(families: Mapping[str, Family], nets: Sequence[str] | None) -> dict[str, Family]:
    """The families that the user names; all where none is named.

    Raises:
        AedError: There is no such family.
    """
    if not nets:
        return dict(families)
    for name in nets:
        if name not in families:
            near = nearest(name, families)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise AedError(f"nets: need some of {list(families)}, got {name!r}{hint}")
    return {name: families[name] for name in dict.fromkeys(nets)}
