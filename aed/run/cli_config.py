"""A run's configuration as LightningCLI reads it, and back: the same values under other names of keys.

Hydra's ``_target_`` with its siblings is LightningCLI's ``class_path`` with ``init_args``, ``_partial_: true`` a
parameter annotated as a callable, and a dataclass has no class at all: the annotation names it.
"""

import collections.abc
import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from jsonargparse import Namespace
from omegaconf import MISSING, DictConfig, OmegaConf, SCMode, open_dict, read_write

from aed.base.errors import AedError
from aed.base.overrides import nearest
from aed.base.paths import CONFIG_DIR
from aed.export.footprint import Budget
from aed.export.onnx import ExportConfig
from aed.export.quantize import QuantizeConfig
from aed.run import registry
from aed.run.decide import DecisionConfig
from aed.run.docstrings import type_hints

OUTPUT_DIR = "{output_dir}"
"""Stands in a configuration for the folder of the run, which is new each time."""

UNNAMED = "lightning_cli"
"""In place of the experiment's name where there is none."""

SECTIONS: dict[str, type] = {
    "quantization": QuantizeConfig,
    "decision": DecisionConfig,
    "export": ExportConfig,
    "budget": Budget,
}
"""Settings of a run beside trainer, model and data."""


def composed(experiment: str | None) -> DictConfig:
    """The configuration that ``aed train`` would run, its folder written as :data:`OUTPUT_DIR`.

    Args:
        experiment: Its name; None: what all experiments build on.

    Raises:
        AedError: There is no such experiment.
    """
    known = registry.experiments()
    if experiment is not None and experiment not in known:
        near = nearest(experiment, known)
        hint = f"; did you mean --experiment {near[0]}?" if near else ""
        raise AedError(f"--experiment: need one of {', '.join(known)}; got {experiment!r}{hint}")
    registry.register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        words = [f"experiment={experiment}" if experiment else "~experiment"]
        config = compose("train", words, return_hydra_config=True)
    config.output_dir = OUTPUT_DIR
    with read_write(config), open_dict(config):
        config.hydra.runtime.choices.experiment = experiment or UNNAMED
    hydra, before = HydraConfig.instance(), HydraConfig.instance().cfg
    hydra.set_config(config)
    try:  # ${hydra:...} is resolved now, the rest as it stands
        for path, value in _references(OmegaConf.to_container(config, structured_config_mode=SCMode.DICT)):
            if value.startswith("${hydra:") and path[0] != "hydra":
                key = ".".join(path)
                OmegaConf.update(config, key, OmegaConf.select(config, key))
    finally:
        hydra.cfg = before
    return OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])


def to_lightning_cli(config: DictConfig, parts: Sequence[str] | None = None) -> dict[str, Any]:
    """The LightningCLI configuration of a composed run.

    A value that refers to another one still does, so that ``--trainer.max_epochs 5`` shortens the schedule, too;
    seed, front end and number of classes are linked by the parser.

    Args:
        config: Of the run.
        parts: Those of trainer, model and data that are taken over; default: all.
    """
    plain = _plain(config)
    for path, value in _references(OmegaConf.to_container(config, structured_config_mode=SCMode.DICT)):
        source = value[2:-1]
        if path[0] in ("trainer", "model", "data") and path[-1] not in ("frontend", "seed") and source != "output_dir":
            _put(plain, path, "${" + _renamed_path(plain, source) + "}")
    values: dict[str, Any] = {"seed_everything": plain["seed"]}
    trainer = {key: _renamed(value) for key, value in plain["trainer"].items() if key != "_target_"}
    trainer["callbacks"] = [_renamed(item) for item in plain["callbacks"].values() if item]
    trainer["logger"] = [_renamed(item) for item in plain["logger"].values() if item]
    values |= {key: _renamed(plain[key]) for key in SECTIONS}
    every = {"trainer": trainer, "model": _renamed(plain["model"]), "data": _renamed(plain["data"])}
    del every["model"]["init_args"]["net"]["init_args"]["num_classes"]
    del every["model"]["init_args"]["frontend"], every["model"]["init_args"]["seed"], every["data"]["init_args"]["seed"]
    values |= {key: every[key] for key in (every if parts is None else parts)}
    return {key: _relative(value, 1) for key, value in values.items()}


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True, structured_config_mode=SCMode.DICT)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _references(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Paths and texts of all values that are one reference, ``${a.b}``."""
    if isinstance(value, dict):
        for key, own in value.items():
            yield from _references(own, (*path, str(key)))
    elif isinstance(value, str) and value.startswith("${") and value.find("}") == len(value) - 1:
        yield path, value


def _renamed_path(plain: Any, source: str) -> str:
    """The key of LightningCLI for a key of a run, ``model.optimizer.lr``: with ``init_args`` below each class."""
    keys = source.split(".")
    if keys[0] == "frontend":
        return ".".join(["data.init_args", *keys])
    path = keys[:1]
    node = plain[keys[0]]
    for key in keys[1:]:
        path += ["init_args", key] if len(path) and _has_class(node) and path != ["trainer"] else [key]
        node = node[key]
    return ".".join(path)


def _has_class(node: Mapping[str, Any]) -> bool:
    target = node.get("_target_")
    return target is not None and not dataclasses.is_dataclass(get_object(target))


def _renamed(value: Any) -> Any:
    if isinstance(value, list):
        return [_renamed(item) for item in value]
    if not isinstance(value, dict):
        return value
    arguments = {key: _renamed(item) for key, item in value.items() if key not in ("_target_", "_partial_")}
    return {"class_path": value["_target_"], "init_args": arguments} if _has_class(value) else arguments


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def _relative(value: Any, depth: int) -> Any:
    """References that hold below any key: a subcommand's, or none."""
    if isinstance(value, dict):
        return {key: _relative(own, depth + 1) for key, own in value.items()}
    return "${" + "." * depth + value[2:] if isinstance(value, str) and value.startswith("${") else value


def run_config(base: DictConfig, values: Mapping[str, Any], **settings: Any) -> DictConfig:
    """The configuration of a run that LightningCLI has parsed; the inverse of :func:`to_lightning_cli`.

    Args:
        base: As :func:`composed`; has what LightningCLI does not.
        values: Plain types, of all parameters.
        settings: Of :class:`aed.run.state.RunConfig`: stages, output_dir, ...

    Raises:
        AedError: The trainer has a logger without a name.
    """
    plain = _plain(base)
    trainer = dict(values["trainer"])
    lists = {key: trainer.pop(key) or [] for key in ("callbacks", "logger")}
    if lists["logger"] is True:
        raise AedError("--trainer.logger=true: name a logger, as in --trainer.logger=MetricsCsv, or use false")
    model, data = _targeted(values["model"]), _targeted(values["data"])
    model["net"]["num_classes"] = MISSING  # the data's
    content = {
        "seed": values["seed_everything"],
        "frontend": data["frontend"],
        "data": data,
        "model": model,
        "trainer": {"_target_": _name(L.Trainer), **trainer, "callbacks": None, "logger": None},
        **{key: _by_class([own] if isinstance(own, dict) else own) for key, own in lists.items()},
        **{key: {"_target_": _name(own), **values[key]} for key, own in SECTIONS.items()},
    }
    return OmegaConf.create(plain | content | settings)


def _by_class(items: list[Any]) -> dict[str, Any]:
    """Callbacks or loggers by the names of their classes; of further ones with a number."""
    named: dict[str, Any] = {}
    for item in items:
        name = item["class_path"].rpartition(".")[2]
        named[name if name not in named else f"{name}_{len(named)}"] = _targeted(item)
    return named


def _targeted(value: Any, annotation: Any = Any) -> Any:
    """A value of LightningCLI with the classes that Hydra needs."""
    if isinstance(value, list):
        return [_targeted(item) for item in value]
    if not isinstance(value, dict):
        return value
    kinds = (annotation, *typing.get_args(annotation))
    if "class_path" not in value:
        named = [
            {"_target_": _name(kind)} for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)
        ]
        return {**(named[0] if named else {}), **{key: _targeted(item) for key, item in value.items()}}
    target = get_object(value["class_path"])
    is_called_later = any(typing.get_origin(kind) is collections.abc.Callable for kind in kinds)
    hints = type_hints(target)
    arguments = {**value.get("init_args", {}), **value.get("dict_kwargs", {})}
    return {
        "_target_": _name(target),
        **({"_partial_": True} if is_called_later else {}),
        **{key: _targeted(item, hints.get(key, Any)) for key, item in arguments.items()},
    }


def _name(target: Callable[..., Any]) -> str:
    return f"{target.__module__}.{target.__qualname__}"


def in_folder(value: Any, folder: Path) -> Any:
    """Settings with the run's folder in place of :data:`OUTPUT_DIR`."""
    if isinstance(value, DictConfig):
        return OmegaConf.create(in_folder(OmegaConf.to_container(value), folder))
    if isinstance(value, Namespace):
        return Namespace(**{key: in_folder(own, folder) for key, own in vars(value).items()})  # type: ignore[no-untyped-call]
    if isinstance(value, dict):
        return {key: in_folder(own, folder) for key, own in value.items()}
    if isinstance(value, list):
        return [in_folder(own, folder) for own in value]
    return value.replace(OUTPUT_DIR, str(folder)) if isinstance(value, str) else value


def experiment_of(file: str) -> str | None:
    """The experiment that a configuration file starts from; None where it names none, or cannot be read."""
    content = content_of(file)
    return content.get("experiment") if isinstance(content, dict) else None


def content_of(file: str) -> Any:
    """What a configuration file says; None where it cannot be read."""
    try:
        return yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):  # the parser, which is next, says so
        return None


References = tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]
"""Keys whose values refer to another key, and that key."""


def references_of(values: Mapping[str, Any], files: Sequence[str]) -> References:
    """The references of a configuration and of files over it."""
    pairs: dict[tuple[str, ...], tuple[str, ...]] = {}
    for content in (values, *map(content_of, files)):
        pairs |= {path: tuple(text.strip("${}.").split(".")) for path, text in _references(content)}
    return tuple(pairs.items())


def with_references(text: str, references: References) -> str:
    """A dumped configuration in which values that were taken from another key refer to it again.

    Args:
        text: YAML.
        references: Of the configuration that was parsed.
    """
    values = yaml.safe_load(text)
    for path, source in references:
        value = _get(values, path)
        if value is not None and value == _get(values, source):
            _put(values, path, "${" + "." * len(path) + ".".join(source) + "}")
    return yaml.safe_dump(values, sort_keys=False)


def _get(values: Any, path: Sequence[str]) -> Any:
    for key in path:
        values = values.get(key) if isinstance(values, dict) else None
    return values
