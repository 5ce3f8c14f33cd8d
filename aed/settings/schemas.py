"""One definition of every parameter: typed signatures become Hydra schemas.

For each class a config may name, ``registry.register`` stores a structured config ``{_target_, fields typed and
defaulted from the signature}``. YAML extends it, so every parameter can be overridden without ``+`` and a misspelt or
mistyped key fails with its full name. hydra-zen's ``builds`` does the same, but turns ``int | None`` into an
unchecked ``Any``.
"""

import copy
import dataclasses
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

_LEAVES = (bool, int, float, str)


def _field_type(annotation: Any) -> Any:
    """The annotation as far as OmegaConf can check it, else ``Any``; a path is a text."""
    if annotation in _LEAVES:
        return annotation
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if Path in (annotation, origin) or os.PathLike in (annotation, origin):
        return str
    if origin in (typing.Union, types.UnionType):
        arguments = tuple(item for item in arguments if getattr(item, "__name__", "") != "Tensor")  # no YAML has one
        members = list(dict.fromkeys(_field_type(argument) for argument in arguments if argument is not type(None)))
        if len(members) > 1 or members[0] is Any:
            return Any
        return members[0] | None if type(None) in arguments else members[0]
    if origin is typing.Literal and all(isinstance(value, str) for value in arguments):
        return str
    is_sequence = origin is list or (origin is tuple and arguments[1:] == (Ellipsis,))
    if is_sequence and arguments and arguments[0] in _LEAVES:
        return list[arguments[0]]  # type: ignore[valid-type]
    return Any


def schema(target: Callable[..., Any], *, partial: bool = False, skip: tuple[str, ...] = ()) -> type:
    """A structured config of ``target``'s signature.

    ``choices``: the strings that a ``Literal`` allows; OmegaConf checks none, ``hydra_errors.check`` does.
    ``is_open``: whether it takes any further key. ``documented``: the targets whose docstrings explain its keys.

    Args:
        target: A class or function.
        partial: Whether Hydra builds a ``functools.partial`` of it.
        skip: Parameters the caller passes.
    """
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except NameError:  # some of torch's schedules name types that they import for type checkers only
        if target.__module__.partition(".")[0] == "aed":
            raise  # keys of aed without types would take any value
        hints = {}
    fields: list[Any] = [("_target_", str, f"{target.__module__}.{target.__qualname__}")]
    if partial:
        fields.append(("_partial_", bool, True))
    choices: dict[str, tuple[str, ...]] = {}
    is_open = any(own.kind is own.VAR_KEYWORD for own in inspect.signature(target).parameters.values())
    for name, parameter in inspect.signature(target).parameters.items():
        if name in skip or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default, kind = parameter.default, _field_type(hints.get(name, Any))
        if allowed := _choices(hints.get(name, Any)):
            choices[name] = allowed
        if dataclasses.is_dataclass(default) and not isinstance(default, type):
            nested = schema(type(default))
            fields.append((name, nested, dataclasses.field(default_factory=nested)))
        elif default is parameter.empty:
            fields.append((name, kind, MISSING))
        elif default is None or isinstance(default, _LEAVES):
            fields.append((name, kind, default))
        elif isinstance(default, (list, tuple, dict)):
            plain = list(default) if isinstance(default, tuple) else default
            of_list = Any if isinstance(default, dict) else kind
            fields.append((name, of_list, dataclasses.field(default_factory=functools.partial(copy.copy, plain))))
        else:
            fields.append((name, Any, MISSING))  # an object: composed in YAML
    namespace = {"choices": choices, "is_open": is_open, "documented": (target,)}
    return dataclasses.make_dataclass(target.__name__, fields, namespace=namespace)


def _choices(annotation: Any) -> tuple[str, ...]:
    """The strings that a ``Literal``, or a ``Literal | None``, allows; () for other annotations."""
    if typing.get_origin(annotation) is typing.Literal:
        allowed = typing.get_args(annotation)
        return allowed if all(isinstance(value, str) for value in allowed) else ()
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [item for item in typing.get_args(annotation) if item is not type(None)]
        return _choices(members[0]) if len(members) == 1 else ()
    return ()


def command(function: Callable[..., Any], settings: type | None = None) -> type:
    """A structured config of the parameters of ``function``, which its caller calls itself.

    Args:
        function: Its parameters become keys.
        settings: Dataclass of the parameter ``config`` of ``function``; its fields become keys beside the others.
    """
    parts = [schema(function, skip=("config",) if settings else ()), *([schema(settings)] if settings else [])]
    fields = [(field.name, field.type, field) for part in parts for field in dataclasses.fields(part)]
    choices = {key: allowed for part in parts for key, allowed in part.choices.items()}  # type: ignore[attr-defined]
    named = [item for item in fields if item[0] != "_target_"]
    documented = (function, settings) if settings else (function,)
    namespace = {"choices": choices, "documented": documented}
    return dataclasses.make_dataclass(function.__name__, named, namespace=namespace)


def split_settings(values: dict[str, Any], settings: type) -> dict[str, Any]:
    """Arguments of a function whose :func:`command` has the fields of ``settings``: these as one object, ``config``."""
    names = [field.name for field in dataclasses.fields(settings)]
    inner = settings(**{name: values[name] for name in names})
    return {name: value for name, value in values.items() if name not in names} | {"config": inner}


def store(group: str, name: str, node: Any) -> None:
    """Adds ``node`` to the choices of a config group."""
    ConfigStore.instance().store(group=group, name=name, node=node)


def store_schemas(*targets: Any) -> None:
    """Stores the schema of each class under its name."""
    for target in targets:
        store("schema", target.__name__, schema(target))
