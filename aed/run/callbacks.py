"""Callbacks of our own, and how their checkpoints are written and read."""

import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.modules.checkpoint import read_checkpoint, write_checkpoint
from aed.scoring.decision import Task
from aed.scoring.levels import LEVELS, STREAM_RECALL, alarms_of

log = logging.getLogger(__name__)

LAST_EPOCH = "last"
"""In place of a metric that picks the best epoch."""


OF_LIGHTNING = ("pytorch-lightning_version", "optimizer_states", "lr_schedulers")
"""Entries of a checkpoint that a trainer needs besides the model's."""


class MovingAverage(EMAWeightAveraging):
    """The exponential moving average of the weights, which is judged and kept in place of the last ones.

    Args:
        decay: What a step leaves of the average; 0.99: about the last 100 steps.

    Raises:
        AedError: It is no share.
    """

    def __init__(self, decay: float = 0.99) -> None:
        if not 0 <= decay < 1:
            raise AedError(f"callbacks.average.decay: need a share in [0, 1), got {decay}")
        super().__init__(decay=decay)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Ends the averaging of an earlier training: what is tested are the weights of the checkpoint, the average."""
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            self._average_model = None

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes up an average in training; elsewhere the checkpoint's weights are the average already."""
        if self._average_model is not None:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are whole or not there, whatever ends the run.

    Lightning's own are written in ``TMPDIR`` and moved: a copy, which can be cut off, where that is another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes a checkpoint; elsewhere than on a file system of this machine as Lightning does.

        Raises:
            WriteError: It cannot be written.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The content of a checkpoint of this project; none of another's code is run, whatever ``weights_only``.

        Raises:
            AedError: The file is missing, damaged, or no checkpoint of this project.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, map_location, weights_only)
        checkpoint = read_checkpoint(Path(path))
        if lacking := [key for key in OF_LIGHTNING if key not in checkpoint]:
            raise AedError(f"{path}: damaged checkpoint (it has no {lacking[0]})")
        return checkpoint


class BestCheckpoint(ModelCheckpoint):
    """``best.ckpt`` and ``last.ckpt``; without a validation set the last epoch is the best.

    Unlike its parent it goes on across folders: a run resumed elsewhere brings the best epoch so far along.

    Args:
        dirpath: Folder of both files.
        monitor: Validation metric that picks the best epoch, the first of equals; null: clip accuracy or, where a clip
            has any number of classes, mean average precision. ``val/recall_at_1_per_hour``, or at any other number:
            share of events found in streams with so many alarms an hour. ``last``: none, the last epoch is the best.
        mode: ``max`` or ``min``.
    """

    def __init__(self, dirpath: str, monitor: str | None = None, mode: str = "max") -> None:
        super().__init__(
            dirpath=dirpath,
            filename="best",
            monitor=monitor,
            mode=mode,
            save_on_train_epoch_end=True,  # after validation, the schedule stepped: a whole epoch, to resume exactly
            enable_version_counter=False,
        )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Drops the monitor where nothing is validated; refuses a metric that will not be there."""
        super().setup(trainer, pl_module, stage)
        if stage != "fit":
            return
        task: Task = trainer.datamodule.task  # type: ignore[attr-defined]
        known = [*(f"val/{level}" for level in reversed(LEVELS[task])), "val/loss"]
        if self.monitor == LAST_EPOCH or "val" not in trainer.datamodule.datasets:  # type: ignore[attr-defined]
            self.monitor = None
        elif self.monitor is None:
            self.monitor = known[0]
        elif self.monitor not in known and alarms_of(self.monitor) is None:
            known += [STREAM_RECALL, LAST_EPOCH]
            raise AedError(f"callbacks.checkpoint.monitor: need one of {known}, got {self.monitor!r}")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Saves ``last.ckpt`` each epoch; the parent's ``save_last`` does so only when the best one changes."""
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        last, best = Path(str(self.dirpath)) / "last.ckpt", Path(self.best_model_path)
        if self._last_global_step_saved != trainer.global_step or not best.is_file():
            trainer.save_checkpoint(last, weights_only=False)
        elif trainer.is_global_zero:  # the best one was written a moment ago, and is the same
            content = best.read_bytes()
            write_whole(last, lambda file: file.write(content))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up the state of an earlier run, copying its best checkpoint here."""
        old, new = state_dict.get("dirpath"), str(self.dirpath)
        best = Path(state_dict.get("best_model_path") or "")
        if old and old != new and best.is_file():
            content = best.read_bytes()
            write_whole(Path(new) / best.name, lambda file: file.write(content))

            def moved(value: Any) -> Any:
                if isinstance(value, str):
                    return new + value.removeprefix(old) if value.startswith(old) else value
                if isinstance(value, dict):
                    return {moved(key): moved(item) for key, item in value.items()}
                return value

            state_dict = moved(state_dict)
        elif old and old != new:
            log.warning("%s is gone: the best epoch is chosen among the remaining epochs", best)
        super().load_state_dict(state_dict)
