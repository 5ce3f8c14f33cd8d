"""A run: its parts built from a configuration, then stage after stage; a later one builds on what earlier ones left."""

import logging
import math
import os
import re
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import DictConfig, OmegaConf

from aed.base.errors import AedError, find_aed_error, place
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.modules.classifier import ClipClassifier
from aed.run import benchmark, decide, deploy, fit, predict, quantize
from aed.run.callbacks import WholeCheckpoints
from aed.run.evaluate import check_classes
from aed.run.loggers import creating
from aed.run.registry import check_net_class
from aed.run.resume import check_resumable
from aed.run.state import Run
from aed.run.takeover import take_over
from aed.scoring import tables
from aed.scoring.levels import LEVELS
from aed.settings.advice import check

log = logging.getLogger(__name__)

_EXPECTED_WARNINGS = (
    "Experiment logs directory .* exists and is not empty",  # Hydra's folder, with its own files
    ".*module\\(s\\) in eval mode at the start of training",  # a frozen backbone
    "Total length of `list` across ranks is zero",  # no validation set
    ".*does not have many workers",  # reading the cache needs none
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # between Lightning and torch
)


def build(config: DictConfig, folder: Path, trained_on: str | None = None) -> Run:
    """The run of a composed configuration; the data is ready afterwards.

    Args:
        config: Checked.
        folder: Of the run.
        trained_on: Name of the data set of the model that it starts from.

    Raises:
        AedError: Something in it cannot be used.
    """
    for key, low, high in (("seed", 0, 2**32 - 1), ("threads", 1, os.cpu_count() or 1)):
        if config[key] is not None and not low <= config[key] <= high:
            raise AedError(f"{key}: need {low} to {high}, got {config[key]}")
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    L.seed_everything(config.seed, workers=True, verbose=False)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for expected in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", expected)
    _check_devices(config.trainer)
    if "fit" in config.stages:
        _check_training(config.trainer, config.stages)
    data: PatchDataModule = _made("data", config.data)
    check_classes(data, trained_on)
    check_net_class(config.model.net)
    _check_num_classes(config.model.net, data.num_classes)
    model: ClipClassifier = _made("model", config.model, net={"num_classes": data.num_classes})
    callbacks = [_made(f"callbacks.{key}", node) for key, node in config.callbacks.items() if node]
    if "fit" in config.stages:
        _check_monitors(config, callbacks, data)
        model.try_schedule(config.trainer.max_epochs)
    trainer: L.Trainer = _made("trainer", config.trainer, logger=False, callbacks=callbacks)
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not one of trainer.plugins
        trainer.strategy.checkpoint_io = WholeCheckpoints()
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        data.prepare_data()  # after all that takes no time, before anything that a bad data set would leave behind
    trainer.loggers = loggers = [_opened(f"logger.{key}", node) for key, node in config.logger.items() if node]
    for logger in loggers:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True, throw_on_missing=False))
    run = Run(config, folder, data, model, trainer)
    decide.settings(run)
    quantize.check_net(run)
    return run


def _opened(key: str, node: DictConfig) -> Any:
    with creating(node):
        logger = _made(key, node)
        _ = logger.experiment  # the database is made here
    return logger


def _made(key: str, node: DictConfig, **arguments: Any) -> Any:
    """What a node of the configuration describes.

    Args:
        key: Of the node.
        node: Names a class.
        arguments: Of its own.

    Raises:
        AedError: Its class does not take the values, or fails for whatever reason.
    """
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        if known := find_aed_error(error):
            raise known from error
        cause = error.__cause__ or error
        inner = re.search(r"full_key: (\S+)", str(error))  # of the part that failed
        raise AedError(f"{inner[1] if inner else key}: {type(cause).__name__}: {cause}{place(cause)}") from error


def _check_num_classes(net: DictConfig, num_classes: int) -> None:
    if "num_classes" in net and net.num_classes != num_classes:
        raise AedError(
            f"model.net.num_classes={net.num_classes}: the data has {num_classes} classes; leave it out, or choose "
            "data.class_names"
        )


def _check_monitors(config: DictConfig, callbacks: Sequence[L.Callback], data: PatchDataModule) -> None:
    """Refuses, before an epoch is spent, to watch a metric that there will not be.

    Raises:
        AedError: Names the key and the metrics there are.
    """
    watching = {}
    for key, own in zip((key for key, node in config.callbacks.items() if node), callbacks, strict=True):
        if isinstance(own, EarlyStopping):
            watching[f"callbacks.{key}.monitor"] = own.monitor
    scheduler = config.model.scheduler
    if scheduler and str(scheduler.get("_target_")).endswith("ReduceLROnPlateau"):
        watching["model.monitor"] = config.model.monitor
    has_val = (data.table["split"] == "val").any()
    known = ["train/loss", *(["train/patch_acc"] if data.task == "single_label" else [])]
    known += [f"val/{name}" for name in ("loss", *LEVELS[data.task])] if has_val else []
    for key, monitor in watching.items():
        if str(monitor).startswith("val/") and not has_val:
            raise AedError(
                f"{key}: {monitor} needs a validation set, there is none; set data.val_fold=4, or watch none"
            )
        if monitor not in known:
            raise AedError(f"{key}: need one of {', '.join(known)}; got {monitor!r}")


def _check_training(trainer: DictConfig, stages: Sequence[str]) -> None:
    """Refuses what Lightning takes and then fails at, or trains nothing with.

    Raises:
        AedError: Names the key.
    """
    epochs, clip = trainer.max_epochs, trainer.gradient_clip_val
    if epochs is not None and (epochs == 0 or epochs < -1):
        raise AedError(
            f"trainer.max_epochs: need at least 1, or -1 for no end, got {epochs}; stages=[test] trains nothing"
        )
    if trainer.accumulate_grad_batches < 1:
        raise AedError(f"trainer.accumulate_grad_batches: need at least 1, got {trainer.accumulate_grad_batches}")
    if clip is not None and not 0 <= float(clip) < math.inf:
        raise AedError(f"trainer.gradient_clip_val: need at least 0, or null, got {clip}")
    if trainer.limit_train_batches == 0:
        raise AedError("trainer.limit_train_batches=0: trains nothing; leave fit out of stages: stages=[test]")
    if trainer.fast_dev_run and set(stages) - {"fit"}:
        raise AedError("trainer.fast_dev_run: leaves no checkpoint for later stages; add stages=[fit]")


def _check_devices(trainer: DictConfig) -> None:
    """Refuses more processes on a CPU than it has cores: each is a copy of the whole run.

    Raises:
        AedError: There are too many.
    """
    devices, cores = trainer.devices, os.cpu_count() or 1
    if trainer.accelerator == "cpu" or not torch.cuda.is_available():
        count = int(devices) if str(devices).lstrip("-").isdigit() else 1
        if count > cores:
            raise AedError(f"trainer.devices={devices}: processes on a CPU of {cores} cores; use at most {cores}")


STAGES: dict[str, Callable[[Run], None]] = {
    "fit": fit.fit,
    "test": fit.test,
    "export": quantize.export,
    "quantize": quantize.quantize,
    "evaluate": quantize.evaluate_exported,
    "predict": predict.predict,
    "benchmark": benchmark.benchmark,
    "deploy": deploy.deploy,
}

ALONE = ("export", "quantize", "evaluate", "predict", "benchmark", "deploy")
"""Stages that the first of several processes does alone."""


DEFAULT = ("fit", "test", "export", "quantize", "evaluate")

_TO_INT8 = ("export", "quantize")

MODES: dict[str, tuple[str, ...]] = {
    "training": ("fit", "test", "export"),
    "evaluation": ("test",),
    "quantization": _TO_INT8,
    "prediction": ("predict",),
    "benchmarking": (*_TO_INT8, "benchmark"),
    "deployment": (*_TO_INT8, "deploy"),
    "chain_tqe": ("fit", *_TO_INT8, "evaluate"),
    "chain_tbqeb": ("fit", "test", *_TO_INT8, "evaluate", "benchmark"),
    "chain_eqe": ("test", *_TO_INT8, "evaluate"),
    "chain_qb": (*_TO_INT8, "benchmark"),
    "chain_eqeb": ("test", *_TO_INT8, "evaluate", "benchmark"),
    "chain_qd": (*_TO_INT8, "deploy"),
}
"""Operation modes of ST's model zoo as lists of stages. What is benchmarked and deployed here is int8."""


def choose_stages(stages: Sequence[str] | None, operation_mode: str | None) -> list[str]:
    """The stages of a run.

    Args:
        stages: In order; null: :data:`DEFAULT`, or what the mode says.
        operation_mode: One of :data:`MODES`.

    Raises:
        AedError: A name is unknown, or both are given.
    """
    if operation_mode is not None:
        if operation_mode not in MODES:
            raise AedError(f"operation_mode: need one of {list(MODES)}, got {operation_mode!r}")
        if stages is not None:
            raise AedError(f"operation_mode={operation_mode} is a list of stages; give it or stages, not both")
        return list(MODES[operation_mode])
    chosen = list(DEFAULT if stages is None else stages)
    if not chosen:
        raise AedError(f"stages: need at least one of {list(STAGES)}, got none")
    if unknown := [name for name in chosen if name not in STAGES]:
        raise AedError(f"stages: need a list of {list(STAGES)}, got {unknown}")
    return chosen


def run(config: DictConfig, folder: Path) -> dict[str, float]:
    """Runs ``config.stages`` in order and returns the metrics, which are in ``metrics.json`` after each stage.

    Raises:
        AedError: A stage is unknown, or fails for a reason the user can remove.
    """
    check(config, CONFIG_DIR)
    config.stages = choose_stages(config.stages, config.operation_mode)
    if config.ckpt_path:
        if not Path(config.ckpt_path).is_file():
            what = "a folder; give a file in it" if Path(config.ckpt_path).is_dir() else "no such file"
            raise AedError(f"ckpt_path: {config.ckpt_path}: {what}")
        if "fit" in config.stages:
            check_resumable(Path(config.ckpt_path), bool(config.model.scheduler))
    _check_stages(config)
    model = take_over(config, folder)  # reads it, before features are computed
    state = build(config, folder, model.data.get("name") if model else None)
    if model is not None:
        state.model.weights = model.weights
    if "fit" not in config.stages:  # later stages on an earlier run's folder
        state.metrics |= tables.read_metrics(folder / "metrics.json")
    for name in config.stages:
        if name in ALONE:
            state.data.setup()
        if state.speaks or name not in ALONE:
            started = time.monotonic()
            STAGES[name](state)
            log.info("%s took %.1f s", name, time.monotonic() - started)
        if state.speaks:
            tables.write_json(folder / "metrics.json", _facts(state) | state.metrics)
    log.info("outputs in %s", folder)
    return state.metrics


def _check_stages(config: DictConfig) -> None:
    """Reads the settings of every stage: what is wrong in them is said before hours of training.

    Raises:
        AedError: Names the key.
    """
    names = ("export", "quantization", "budget", "decision", "benchmark", "deploy", "predict")
    made = {name: _made(name, config[name]) for name in names}
    if "benchmark" in config.stages:
        benchmark.choose(made["benchmark"])
    if "deploy" in config.stages:
        deploy.check(made["deploy"])
    if "predict" in config.stages:
        predict.check(made["predict"])


def _facts(state: Run) -> dict[str, float]:
    data = state.data
    return {
        "data/leaking_sources": float(len(data.leaking_sources)),
        "data/skipped_clips": float(len(data.skipped)),
        **{f"data/{split}_clips": float(part.num_clips) for split, part in data.datasets.items()},
    }
