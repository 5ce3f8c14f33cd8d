"""A run: its parts built from a configuration, then stage after stage; a later one builds on what earlier ones left."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import DictConfig, OmegaConf

from aed import conversion, costs, decisions, delivery, hearing, report, training
from aed.config import check_net_class
from aed.datamodules import PatchDataModule
from aed.errors import AedError, find_aed_error, place
from aed.modules.classifier import ClipClassifier
from aed.state import Run
from aed.takeover import take_over

log = logging.getLogger(__name__)

_EXPECTED_WARNINGS = (
    "Experiment logs directory .* exists and is not empty",  # Hydra's folder, with its own files
    ".*module\\(s\\) in eval mode at the start of training",  # a frozen backbone
    "Total length of `list` across ranks is zero",  # no validation set
    ".*does not have many workers",  # reading the cache needs none
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # between Lightning and torch
)


def build(config: DictConfig, folder: Path) -> Run:
    """The run of a composed configuration; the data is ready afterwards.

    Raises:
        AedError: Something in it cannot be used.
    """
    if not 0 <= config.seed < 2**32:
        raise AedError(f"seed: need 0 to {2**32 - 1}, got {config.seed}")
    if config.threads:
        torch.set_num_threads(config.threads)
    L.seed_everything(config.seed, workers=True, verbose=False)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for expected in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", expected)
    data: PatchDataModule = _made(config.data)
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        data.prepare_data()  # before anything is made that a bad data set would leave behind
    check_net_class(config.model.net)
    _check_num_classes(config.model.net, data.num_classes)
    model: ClipClassifier = _made(config.model, net={"num_classes": data.num_classes})
    loggers = [_made(node) for node in config.logger.values() if node]
    callbacks = [_made(node) for node in config.callbacks.values() if node]
    if "fit" in config.stages and not (data.table["split"] == "val").any():
        _check_monitors(config, callbacks)
    trainer: L.Trainer = _made(config.trainer, logger=loggers, callbacks=callbacks)
    for logger in loggers:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True, throw_on_missing=False))
    run = Run(config, folder, data, model, trainer)
    decisions.settings(run)
    conversion.check_net(run)
    return run


def _made(node: DictConfig, **arguments: Any) -> Any:
    """What a node of the configuration describes.

    Raises:
        AedError: Its class does not take the values, or fails for whatever reason.
    """
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        if known := find_aed_error(error):
            raise known from error
        cause = error.__cause__ or error
        raise AedError(f"{str(error).splitlines()[0]} {type(cause).__name__}: {cause}{place(cause)}") from error


def _check_num_classes(net: DictConfig, num_classes: int) -> None:
    if "num_classes" in net and net.num_classes != num_classes:
        raise AedError(
            f"model.net.num_classes={net.num_classes}: the data has {num_classes} classes; leave it out, or choose "
            "data.class_names"
        )


def _check_monitors(config: DictConfig, callbacks: Sequence[L.Callback]) -> None:
    """Refuses, before an epoch is spent, to watch a validation set that there is not."""
    watching = {type(own).__name__: own.monitor for own in callbacks if isinstance(own, EarlyStopping)}
    scheduler = config.model.scheduler
    if scheduler and str(scheduler.get("_target_")).endswith("ReduceLROnPlateau"):
        watching["ReduceLROnPlateau"] = config.model.monitor
    for name, monitor in watching.items():
        if str(monitor).startswith("val/"):
            raise AedError(
                f"{name} watches {monitor}, but there is no validation set; set data.val_fold=4, or leave it out"
            )


STAGES: dict[str, Callable[[Run], None]] = {
    "fit": training.fit,
    "test": training.test,
    "export": conversion.export,
    "quantize": conversion.quantize,
    "evaluate": conversion.evaluate_exported,
    "predict": hearing.predict,
    "benchmark": costs.benchmark,
    "deploy": delivery.deploy,
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
    if unknown := [name for name in chosen if name not in STAGES]:
        raise AedError(f"stages: need a list of {list(STAGES)}, got {unknown}")
    return chosen


def run(config: DictConfig, folder: Path) -> dict[str, float]:
    """Runs ``config.stages`` in order and returns the metrics, which are in ``metrics.json`` after each stage.

    Raises:
        AedError: A stage is unknown, or fails for a reason the user can remove.
    """
    config.stages = choose_stages(config.stages, config.operation_mode)
    if config.ckpt_path and not Path(config.ckpt_path).is_file():
        raise AedError(f"ckpt_path: {config.ckpt_path}: no such file")
    if "benchmark" in config.stages:  # what is misspelt is said before hours of training
        costs.choose(instantiate(config.benchmark, _convert_="all"))
    if "deploy" in config.stages:
        delivery.check(instantiate(config.deploy, _convert_="all"))
    model = take_over(config, folder)
    state = build(config, folder)
    if model is not None:
        state.model.weights = model.weights
    if "fit" not in config.stages:  # later stages on an earlier run's folder
        state.metrics |= report.read_json(folder / "metrics.json")
    for name in config.stages:
        if name in ALONE:
            state.data.setup()
        if state.speaks or name not in ALONE:
            started = time.monotonic()
            STAGES[name](state)
            log.info("%s took %.1f s", name, time.monotonic() - started)
        if state.speaks:
            report.write_json(folder / "metrics.json", _facts(state) | state.metrics)
    log.info("outputs in %s", folder)
    return state.metrics


def _facts(state: Run) -> dict[str, float]:
    data = state.data
    return {
        "data/leaking_sources": float(len(data.leaking_sources)),
        "data/skipped_clips": float(len(data.skipped)),
        **{f"data/{split}_clips": float(part.num_clips) for split, part in data.datasets.items()},
    }
