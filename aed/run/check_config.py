"""Checks of a run's configuration beyond types, before anything is computed: Lightning would take these values."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.scoring.levels import LEVELS, STREAM_RECALL, alarms_of


def check_range(key: str, value: int | None, low: int, high: int) -> None:
    """Refuses a number out of its range; None is allowed.

    Raises:
        AedError: Names the key.
    """
    if value is not None and not low <= value <= high:
        raise AedError(f"{key}: need {low} to {high}, got {value}")


def check_checkpoint(path: str) -> None:
    """Refuses a ``ckpt_path`` that is no file.

    Raises:
        AedError: Names the path.
    """
    if not Path(path).is_file():
        reason = "a folder; give a file in it" if Path(path).is_dir() else "no such file"
        raise AedError(f"ckpt_path: {path}: {reason}")


def check_num_classes(net: DictConfig, num_classes: int) -> None:
    """Refuses another number of classes for the net than the data has.

    Args:
        net: ``model.net`` of the configuration.
        num_classes: Of the data.

    Raises:
        AedError: Says both numbers.
    """
    if "num_classes" in net and net.num_classes != num_classes:
        raise AedError(
            f"model.net.num_classes={net.num_classes}: the data has {num_classes} classes; leave it out, or choose "
            "data.class_names"
        )


def check_monitors(config: DictConfig, callbacks: Sequence[L.Callback], data: PatchDataModule) -> dict[str, float]:
    """Refuses a monitored metric that this run will not log.

    Returns:
        The metrics of :func:`aed.scoring.levels.alarms_of` that are monitored, and the alarms an hour of each.

    Raises:
        AedError: Names the key and the metrics that are logged.
    """
    watching: dict[str, tuple[str, str]] = {}
    for key, own in zip((key for key, node in config.callbacks.items() if node), callbacks, strict=True):
        if not isinstance(own, EarlyStopping | ModelCheckpoint):
            continue
        if isinstance(own, EarlyStopping) or alarms_of(own.monitor or "") is not None:
            watching[f"callbacks.{key}"] = str(own.monitor), own.mode
    scheduler = config.model.scheduler
    if scheduler and str(scheduler.get("_target_")).endswith("ReduceLROnPlateau"):
        watching["model"] = str(config.model.monitor), str(scheduler.get("mode", "min"))
    has_val = (data.table["split"] == "val").any()
    known = ["train/loss", *(["train/patch_acc"] if data.task == "single_label" else [])]
    known += [f"val/{name}" for name in ("loss", *LEVELS[data.task])] if has_val else []
    asked = {}
    for key, (monitor, mode) in watching.items():
        if monitor.startswith("val/") and not has_val:
            raise AedError(
                f"{key}.monitor: {monitor} needs a validation set, there is none; set data.val_fold=4, or watch none"
            )
        if (alarms := alarms_of(monitor)) is not None:
            if mode != "max":
                place = "model.scheduler" if key == "model" else key
                raise AedError(f"{key}.monitor: {monitor} is better the greater it is; set {place}.mode=max")
            asked[monitor] = alarms
        elif monitor not in known:
            listed = [*known, STREAM_RECALL] if has_val else known
            raise AedError(f"{key}.monitor: need one of {', '.join(listed)}; got {monitor!r}")
    return asked


def check_scored(config: DictConfig, data: PatchDataModule) -> None:
    """Refuses to score a board where there is nothing to score.

    Raises:
        AedError: There is neither a test nor a validation set.
    """
    on_board = "evaluate" in config.stages and config.evaluate.on == "board"
    if on_board and not data.table["split"].isin(["val", "test"]).any():
        raise AedError("evaluate.on=board: there is no test or validation set to score; set data.test_fold=5, say")


def check_training(trainer: DictConfig, stages: Sequence[str]) -> None:
    """Refuses settings of the trainer with which Lightning fails later, or trains nothing.

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


def check_devices(trainer: DictConfig) -> None:
    """Refuses more processes on a CPU than it has cores: each is a copy of the whole run.

    Raises:
        AedError: Names both numbers.
    """
    devices, cores = trainer.devices, os.cpu_count() or 1
    if trainer.accelerator == "cpu" or not torch.cuda.is_available():
        count = int(devices) if str(devices).lstrip("-").isdigit() else 1
        if count > cores:
            raise AedError(f"trainer.devices={devices}: processes on a CPU of {cores} cores; use at most {cores}")
