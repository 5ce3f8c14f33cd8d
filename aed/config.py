"""One definition of every parameter: typed signatures become Hydra schemas, composed configs LightningCLI ones.

For each class a config may name, ``register`` stores a structured config ``{_target_, fields typed and defaulted
from the signature}``. YAML extends it, so every parameter can be overridden without ``+`` and a misspelt or
mistyped key fails with its full name. hydra-zen's ``builds`` does the same, but turns ``int | None`` into an
unchecked ``Any``.
"""

import copy
import dataclasses
import functools
import importlib
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf, SCMode

from aed.dsp import PRESETS, FrontendConfig
from aed.errors import AedError, place

CONFIG_DIR = Path(__file__).resolve().parents[1] / "configs"
"""Absolute: a relative path fails for an installed console script."""

_LEAVES = (bool, int, float, str)


def _field_type(annotation: Any) -> Any:
    """The annotation as far as OmegaConf can check it, else ``Any``; a path is text."""
    if annotation in _LEAVES:
        return annotation
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if Path in (annotation, origin) or os.PathLike in (annotation, origin):
        return str
    if origin in (typing.Union, types.UnionType):
        arguments = tuple(item for item in arguments if getattr(item, "__name__", "") != "Tensor")  # no YAML has one
        kept = list(dict.fromkeys(_field_type(argument) for argument in arguments if argument is not type(None)))
        if len(kept) > 1 or kept[0] is Any:
            return Any
        return kept[0] | None if type(None) in arguments else kept[0]
    if origin is typing.Literal and all(isinstance(value, str) for value in arguments):
        return str
    is_sequence = origin is list or (origin is tuple and arguments[1:] == (Ellipsis,))
    if is_sequence and arguments and arguments[0] in _LEAVES:
        return list[arguments[0]]  # type: ignore[valid-type]
    return Any


def schema(target: Callable[..., Any], *, partial: bool = False, skip: tuple[str, ...] = ()) -> type:
    """A structured config of ``target``'s signature; its ``choices`` are the strings that a ``Literal`` allows.

    ``is_open``: whether it takes any further key.

    OmegaConf checks no Literal: :func:`aed.advice.check` does.

    Args:
        target: A class or function.
        partial: Whether Hydra is to make a ``functools.partial`` of it.
        skip: Parameters the caller passes.
    """
    try:
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except NameError:  # some of torch's schedules name types that they import for type checkers only
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
    return dataclasses.make_dataclass(target.__name__, fields, namespace={"choices": choices, "is_open": is_open})


def _choices(annotation: Any) -> tuple[str, ...]:
    """The strings that a ``Literal``, or one that may be None, allows; () where it is none."""
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
        settings: A dataclass that ``function`` takes as ``config``; its fields become keys beside the others.
    """
    parts = [schema(function, skip=("config",) if settings else ()), *([schema(settings)] if settings else [])]
    fields = [(field.name, field.type, field) for part in parts for field in dataclasses.fields(part)]
    choices = {key: allowed for part in parts for key, allowed in part.choices.items()}  # type: ignore[attr-defined]
    named = [item for item in fields if item[0] != "_target_"]
    return dataclasses.make_dataclass(function.__name__, named, namespace={"choices": choices})


def split_settings(values: dict[str, Any], settings: type) -> dict[str, Any]:
    """Arguments of a function whose ``command`` took in ``settings``: its fields as one object, ``config``."""
    names = [field.name for field in dataclasses.fields(settings)]
    inner = settings(**{name: values[name] for name in names})
    return {name: value for name, value in values.items() if name not in names} | {"config": inner}


def store(group: str, name: str, node: Any) -> None:
    """Makes ``node`` a choice of a config group."""
    ConfigStore.instance().store(group=group, name=name, node=node)


def _store_schemas(*targets: Any) -> None:
    for target in targets:
        store("schema", target.__name__, schema(target))


def register_frontends() -> None:
    """Stores what ``frontend=`` may name."""
    _store_schemas(FrontendConfig)
    for name, preset in PRESETS.items():
        store("frontend", name, _preset(preset))


def register_data() -> None:
    """Stores what ``frontend=`` and ``data=`` may name."""
    from aed import datamodules

    register_frontends()
    _store_schemas(*(getattr(datamodules, name) for name in datamodules.__all__))


def register() -> None:
    """Stores the schemas of all classes a config may name, and a group entry for each optimizer and schedule."""
    import torch
    from lightning.pytorch import Trainer, callbacks, loggers

    from aed import callbacks as own_callbacks
    from aed.costs import BenchmarkConfig
    from aed.decisions import DecisionConfig
    from aed.delivery import DeployConfig
    from aed.export.footprint import Budget
    from aed.export.onnx import ExportConfig
    from aed.export.quantize import QuantizeConfig
    from aed.hearing import PredictConfig
    from aed.loggers import MetricsCsv
    from aed.modules import nets, schedules
    from aed.modules.classifier import ClipClassifier
    from aed.state import RunConfig

    register_data()
    store("schema", "RunConfig", RunConfig)
    _store_schemas(Trainer, ClipClassifier, *(getattr(nets, name) for name in nets.__all__))
    _store_schemas(callbacks.EarlyStopping, callbacks.LearningRateMonitor, callbacks.RichProgressBar)
    _store_schemas(
        own_callbacks.BestCheckpoint,
        DecisionConfig,
        ExportConfig,
        QuantizeConfig,
        Budget,
        BenchmarkConfig,
        DeployConfig,
        PredictConfig,
    )
    _store_schemas(MetricsCsv, loggers.TensorBoardLogger, loggers.MLFlowLogger)
    # open to any key: the arguments of a user's class
    user = {"_target_": MISSING, "num_classes": MISSING}
    store("model/net", "user", OmegaConf.create(user, flags={"struct": False}))
    for target in _public(torch.optim, torch.optim.Optimizer):
        if target is not torch.optim.SparseAdam:  # takes no dense gradients
            store("model/optimizer", target.__name__, schema(target, partial=True, skip=("params",)))
    lr_scheduler = torch.optim.lr_scheduler
    for module, base in ((lr_scheduler, lr_scheduler.LRScheduler), (schedules, schedules.EpochSchedule)):
        for target in _public(module, base):
            node = schema(target, partial=True, skip=("optimizer", "last_epoch"))
            store("model/scheduler", target.__name__, node)


def check_net_class(node: DictConfig) -> None:
    """Refuses a net that Hydra could not make.

    Args:
        node: ``model.net`` of a composed configuration.

    Raises:
        AedError: Its class cannot be imported, is no ``nn.Module``, or does not take the arguments given.
        MissingMandatoryValue: No class is given.
    """
    from torch import nn

    target = node._target_
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise AedError(
            f"model.net._target_: {target} cannot be imported: {error}; its module lies in the working directory or in "
            "a folder of PYTHONPATH"
        ) from error
    except Exception as error:  # whatever a user's module raises
        raise AedError(
            f"model.net._target_: {target} cannot be imported: {type(error).__name__}: {error}{place(error)}"
        ) from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise AedError(f"model.net._target_: need a class of nn.Module, got {target}; wrap it in one (docs/own_net.md)")
    parameters = inspect.signature(found).parameters
    open_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [key for key, parameter in parameters.items() if parameter.kind not in open_kinds]
    given = [str(key) for key in node if key != "_target_"]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if "num_classes" not in named and not takes_any:
        raise AedError(f"model.net: {target} needs a parameter num_classes, it takes {named}")
    if not takes_any and (unknown := [key for key in given if key not in named]):
        raise AedError(
            f"model.net: {target} takes {named}, got {unknown}; for a net of your own choose model/net=user, "
            "whose keys are all yours"
        )
    needed = [key for key in named if parameters[key].default is inspect.Parameter.empty]
    if missing := [key for key in needed if key not in given]:
        raise AedError(f"model.net: {target} needs {missing}, too: model.net.{missing[0]}=...")


def _preset(config: FrontendConfig) -> Any:
    node = OmegaConf.structured(schema(FrontendConfig))
    return OmegaConf.merge(node, dataclasses.asdict(config))


def _public(module: types.ModuleType, base: type) -> list[Any]:
    """Public subclasses of ``base`` in ``module``, by name."""
    found = [item for name, item in sorted(vars(module).items()) if not name.startswith("_")]
    return [item for item in found if inspect.isclass(item) and issubclass(item, base) and item is not base]


def to_lightning_cli(config: DictConfig) -> dict[str, Any]:
    """The LightningCLI configuration of a composed experiment: a recursive change of key names.

    ``_target_`` with its siblings becomes ``class_path`` with ``init_args``, except where LightningCLI takes a
    dataclass or the trainer, whose fields stand alone.
    """
    plain = OmegaConf.to_container(config, resolve=True, structured_config_mode=SCMode.DICT)
    assert isinstance(plain, dict)
    trainer = {key: _renamed(value) for key, value in plain["trainer"].items() if key != "_target_"}
    trainer["callbacks"] = [_renamed(item) for item in plain["callbacks"].values() if item]
    trainer["logger"] = [_renamed(item) for item in plain["logger"].values() if item]
    model, data = _renamed(plain["model"]), _renamed(plain["data"])
    model["init_args"]["net"]["init_args"].pop("num_classes")  # linked from the data
    return {"seed_everything": plain["seed"], "trainer": trainer, "model": model, "data": data}


def _renamed(value: Any) -> Any:
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    arguments = {key: _renamed(item) for key, item in value.items() if key not in ("_target_", "_partial_")}
    target = value.get("_target_")
    if target is None or dataclasses.is_dataclass(_locate(target)):
        return arguments
    return {"class_path": target, "init_args": arguments}


def _locate(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name)


def experiments() -> list[str]:
    """Names of the shipped experiments.

    Raises:
        AedError: The configs are not where an editable install has them.
    """
    if not CONFIG_DIR.is_dir():
        raise AedError(f"{CONFIG_DIR} is missing: install from a checkout with pip install -e .")
    return sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))
