"""Stages of a run, each a function of the same :class:`Run`; a later stage builds on what earlier ones left."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from aed import report
from aed.datamodules import PatchDataModule
from aed.errors import AedError
from aed.modules.classifier import ClipClassifier

log = logging.getLogger(__name__)

_EXPECTED_WARNINGS = (
    "Experiment logs directory .* exists and is not empty",  # Hydra's folder, with its own files
    ".*module\\(s\\) in eval mode at the start of training",  # a frozen backbone
    "Total length of `list` across ranks is zero",  # no validation set
    ".*does not have many workers",  # reading the memory-mapped cache needs none
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # between Lightning and torch
)


@dataclass
class Run:
    """What stages share.

    Args:
        config: The composed configuration.
        folder: Outputs.
        data: The DataModule.
        model: The LightningModule.
        trainer: The Trainer.
        checkpoint: The model later stages use; set by ``fit`` or ``ckpt_path``.
        metrics: Content of ``metrics.json``.
    """

    config: DictConfig
    folder: Path
    data: PatchDataModule
    model: ClipClassifier
    trainer: L.Trainer
    checkpoint: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def speaks(self) -> bool:
        """Whether this process writes files and tables: the first of several."""
        return self.trainer.is_global_zero


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
    return Run(config, folder, data, model, trainer)


def fit(run: Run) -> None:
    """Trains; leaves ``checkpoints/{best,last}.ckpt`` and the learning curves."""
    started = time.monotonic()
    resume = run.config.ckpt_path
    try:
        run.trainer.fit(run.model, datamodule=run.data, ckpt_path=resume, weights_only=True)
    except SystemExit:  # Lightning's answer to Ctrl-C
        last = run.folder / "checkpoints" / "last.ckpt"
        way_on = f"go on with ckpt_path={last}" if last.is_file() else "no epoch was finished"
        log.error("stopped in epoch %d; %s", run.trainer.current_epoch, way_on)
        sys.exit(130)
    best = getattr(run.trainer.checkpoint_callback, "best_model_path", "")
    run.checkpoint = Path(best) if best else None
    run.metrics["fit/epochs"] = float(run.trainer.current_epoch)
    run.metrics["fit/seconds"] = round(time.monotonic() - started, 2)
    run.metrics |= {
        key: float(value) for key, value in run.trainer.callback_metrics.items() if key.startswith("train/")
    }
    curves = run.folder / "metrics.csv"
    if run.speaks and curves.is_file():
        report.plot_curves(run.folder / "plots" / "learning_curves.png", curves)


def test(run: Run) -> None:
    """Tests the picked checkpoint; leaves metrics, a row a clip, confusion matrices and a table.

    The validation set, where there is one, is scored with the same checkpoint.
    """
    checkpoint = run.checkpoint or (Path(run.config.ckpt_path) if run.config.ckpt_path else None)
    if checkpoint is None:
        raise AedError("stages: test needs a model; add fit before it or set ckpt_path")
    arguments: dict[str, Any] = {
        "model": run.model, "datamodule": run.data, "ckpt_path": str(checkpoint), "verbose": False,
        "weights_only": True,
    }  # fmt: skip
    run.data.setup()
    if "val" in run.data.datasets:
        run.trainer.validate(**arguments)
        _write_scores(run, "val")
    run.trainer.test(**arguments)
    _write_scores(run, "test")


def _write_scores(run: Run, split: str) -> None:
    scores, names = run.model.scores[split], run.data.class_names
    run.metrics |= {f"{split}/{key}": value for key, value in scores.metrics.items()}
    run.metrics[f"{split}/loss"] = float(run.trainer.callback_metrics[f"{split}/loss"])
    if not run.speaks:
        return
    report.write_clips(run.folder / f"{split}_clips.csv", run.data.clip_names(split), scores, names)
    for level, confusion in (("patch", scores.patch_confusion), ("clip", scores.clip_confusion)):
        path = run.folder / "plots" / f"{split}_{level}_confusion.png"
        report.plot_confusion(
            path,
            confusion.cpu().numpy(),
            names,
            f"{split}: {level}es" if level == "patch" else f"{split}: clips",
        )
    if split == "test":
        counts = torch.bincount(scores.clip_target.cpu(), minlength=len(names)).tolist()
        leaks = len(run.data.leaking_sources)
        note = f"LEAKS: {leaks} recordings are on both sides of split={run.data.split}" if leaks else ""
        report.print_scores(split, run.metrics, counts, names, note)


STAGES: dict[str, Callable[[Run], None]] = {"fit": fit, "test": test}


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
    for name in config.stages:
        STAGES[name](state)
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
