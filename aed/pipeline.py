"""A run: its parts built from a configuration, then stage after stage; a later one builds on what earlier ones left."""

import logging
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import lightning.pytorch as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from aed import conversion, costs, delivery, report, training
from aed.datamodules import PatchDataModule
from aed.errors import AedError
from aed.modules.classifier import ClipClassifier
from aed.state import Run

log = logging.getLogger(__name__)

_EXPECTED_WARNINGS = (
    "Experiment logs directory .* exists and is not empty",  # Hydra's folder, with its own files
    ".*module\\(s\\) in eval mode at the start of training",  # a frozen backbone
    "Total length of `list` across ranks is zero",  # no validation set
    ".*does not have many workers",  # reading the memory-mapped cache needs none
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # between Lightning and torch
)


def build(config: DictConfig, folder: Path) -> Run:
    """The run of a composed configuration; the data is ready afterwards.

    Raises:
        AedError: Something in it cannot be used.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    L.seed_everything(config.seed, workers=True, verbose=False)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for expected in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", expected)
    data: PatchDataModule = instantiate(config.data, _convert_="all")
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        data.prepare_data()  # before anything is made that a bad data set would leave behind
    model: ClipClassifier = instantiate(config.model, net={"num_classes": data.num_classes}, _convert_="all")
    loggers = [instantiate(node, _convert_="all") for node in config.logger.values() if node]
    callbacks = [instantiate(node, _convert_="all") for node in config.callbacks.values() if node]
    trainer: L.Trainer = instantiate(config.trainer, logger=loggers, callbacks=callbacks, _convert_="all")
    for logger in loggers:
        logger.log_hyperparams(OmegaConf.to_container(config, resolve=True, throw_on_missing=False))
    run = Run(config, folder, data, model, trainer)
    conversion.check_budget(run)
    return run


STAGES: dict[str, Callable[[Run], None]] = {
    "fit": training.fit,
    "test": training.test,
    "export": conversion.export,
    "quantize": conversion.quantize,
    "evaluate": conversion.evaluate_exported,
    "benchmark": costs.benchmark,
    "deploy": delivery.deploy,
}

ALONE = ("export", "quantize", "evaluate", "benchmark", "deploy")
"""Stages that the first of several processes does alone."""


def run(config: DictConfig, folder: Path) -> dict[str, float]:
    """Runs ``config.stages`` in order and returns the metrics, which are in ``metrics.json`` after each stage.

    Raises:
        AedError: A stage is unknown, or fails for a reason the user can remove.
    """
    if unknown := [name for name in config.stages if name not in STAGES]:
        raise AedError(f"stages: need a list of {list(STAGES)}, got {unknown}")
    if config.ckpt_path and not Path(config.ckpt_path).is_file():
        raise AedError(f"ckpt_path: {config.ckpt_path}: no such file")
    state = build(config, folder)
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
