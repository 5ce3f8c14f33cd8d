"""The file of a space, read: every mistake in it is named with its place, and nothing in it can name a class."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.run.search.space import OWN, Choices, Family, Parameter, Range, Scalar, Values, keys_of

SPACES = CONFIG_DIR / "spaces"
"""Files of the shipped spaces."""

_KEY = re.compile(r"[A-Za-z_][\w./]*", re.ASCII)
_PARTS = ("experiment", "set", "search")
_RANGE = {"low", "high", "step", "log"}


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
        for key in sorted(keys_of(parameter)):
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
    if key.replace("/", ".").partition(".")[0] in OWN:
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
