"""Which classes a configuration may name: their schemas, stored as choices of Hydra's groups, once in a process."""

import dataclasses
import functools
import importlib
import inspect
import types
from typing import Any

from hydra.utils import get_method
from omegaconf import MISSING, DictConfig, OmegaConf

from aed.base.errors import AedError, source_line
from aed.base.paths import CONFIG_DIR
from aed.dsp import PRESETS, FrontendConfig
from aed.settings.schemas import command, schema, store, store_schemas


@functools.cache
def register_frontends() -> None:
    """Stores what ``frontend=`` may name."""
    node = schema(FrontendConfig)
    store("schema", FrontendConfig.__name__, node)
    for name, preset in PRESETS.items():
        store("frontend", name, node(**dataclasses.asdict(preset)))


@functools.cache
def register_data() -> None:
    """Stores what ``frontend=`` and ``data=`` may name."""
    from aed import datamodules

    register_frontends()
    store_schemas(*(getattr(datamodules, name) for name in datamodules.__all__))


@functools.cache
def register() -> None:
    """Stores the schemas of all classes a config may name, and a group entry for each optimizer and schedule."""
    import torch
    from lightning.pytorch import Trainer, callbacks, loggers

    from aed.export.footprint import Budget
    from aed.modules import nets, schedules
    from aed.modules.classifier import ClipClassifier
    from aed.modules.distillation import Distillation
    from aed.modules.teachers import Teacher
    from aed.run import callbacks as own_callbacks
    from aed.run.decide import DecisionConfig
    from aed.run.loggers import MetricsCsv
    from aed.run.stages import STAGES
    from aed.run.state import RunConfig
    from aed.run.tracking.mlflow_logger import MLFlowLogger

    register_data()
    store("schema", "RunConfig", RunConfig)
    store_schemas(Trainer, ClipClassifier, Distillation, Teacher, *nets.net_classes())
    store_schemas(callbacks.EarlyStopping, callbacks.LearningRateMonitor, callbacks.RichProgressBar)
    store_schemas(own_callbacks.BestCheckpoint, own_callbacks.MovingAverage, DecisionConfig, Budget)
    store_schemas(*(stage.settings for stage in STAGES.values() if stage.settings))
    store_schemas(MetricsCsv, loggers.TensorBoardLogger, MLFlowLogger)
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


FUNCTIONS = {
    "benchmark": "aed.run.benchmark.benchmark_file",
    "build": "aed.run.cache_build.build",
    "compare": "aed.run.compare.compare_runs",
    "deploy": "aed.run.deploy.deploy_file",
    "detect": "aed.run.detect.detect_files",
    "evaluate": "aed.run.evaluate.evaluate_file",
    "import_model": "aed.run.importing.verb.import_model",
    "inspect": "aed.run.data.inspect",
    "listen": "aed.run.listen.listen",
    "migrate": "aed.run.migrate.migrate",
    "models": "aed.run.models.show",
    "predict": "aed.run.predict.predict_files",
    "record": "aed.run.record.record",
    "report": "aed.run.report.write.report_folders",
    "search": "aed.run.search.verb.search",
    "soundscapes": "aed.run.soundscapes.write_soundscapes",
}
"""Configuration of a verb -> the function whose parameters are its keys."""

_CLASSES = {
    "build": register_data,
    "deploy": register_data,
    "evaluate": register_data,
    "import_model": register_frontends,
    "inspect": register_data,
    "detect": register_frontends,
    "predict": register_frontends,
    "soundscapes": register_data,
}
"""Configuration of a verb -> what stores the classes that it may name."""


@functools.cache
def register_verb(config_name: str) -> None:
    """Stores the schema of a verb's keys and of the classes that they may name.

    Args:
        config_name: Primary configuration: ``train`` or a key of :data:`FUNCTIONS`.
    """
    if config_name == "train":
        register()
        return
    if config_name in _CLASSES:
        _CLASSES[config_name]()
    function = get_method(FUNCTIONS[config_name])
    settings = inspect.get_annotations(function, eval_str=True).get("config")
    store("schema", config_name, command(function, settings))


def _public(module: types.ModuleType, base: type) -> list[Any]:
    """Public subclasses of ``base`` in ``module``, by name."""
    found = [item for name, item in sorted(vars(module).items()) if not name.startswith("_")]
    return [item for item in found if inspect.isclass(item) and issubclass(item, base) and item is not base]


def check_net_class(node: DictConfig) -> None:
    """Refuses a net that Hydra could not construct.

    Args:
        node: ``model.net`` of a composed configuration.

    Raises:
        AedError: Its class cannot be imported, is no ``nn.Module``, or does not take the configured arguments.
        MissingMandatoryValue: No class is named.
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
            f"model.net._target_: {target} cannot be imported: {type(error).__name__}: {error}{source_line(error)}"
        ) from error
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        raise AedError(f"model.net._target_: need a class of nn.Module, got {target}; wrap it in one (docs/own_net.md)")
    parameters = inspect.signature(found).parameters
    open_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = [key for key, parameter in parameters.items() if parameter.kind not in open_kinds]
    passed = [str(key) for key in node if key != "_target_"]
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    if "num_classes" not in named and not takes_any:
        raise AedError(f"model.net: {target} needs a parameter num_classes, it takes {named}")
    if not takes_any and (unknown := [key for key in passed if key not in named]):
        raise AedError(
            f"model.net: {target} takes {named}, got {unknown}; for a net of your own choose model/net=user, "
            "whose keys are all your own"
        )
    needed = [key for key in named if parameters[key].default is inspect.Parameter.empty]
    if missing := [key for key in needed if key not in passed]:
        raise AedError(f"model.net: {target} needs {missing}, too: model.net.{missing[0]}=...")


def experiments() -> list[str]:
    """Names of the shipped experiments.

    Raises:
        AedError: The configs are not where an editable install has them.
    """
    if not CONFIG_DIR.is_dir():
        raise AedError(f"{CONFIG_DIR} is missing: install from a checkout with pip install -e .")
    return sorted(path.stem for path in (CONFIG_DIR / "experiment").glob("*.yaml"))
