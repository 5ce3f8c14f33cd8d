"""The stages that train and test with Lightning."""

import logging
import sys
import time
from pathlib import Path
from typing import Any

import torch

from aed import report
from aed.evaluation import write_scores
from aed.state import Run

log = logging.getLogger(__name__)


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
    arguments: dict[str, Any] = {
        "model": run.model, "datamodule": run.data, "ckpt_path": str(run.need_checkpoint("test")), "verbose": False,
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
    write_scores(run.folder, split, scores, run.data.clip_names(split), names)
    if split == "test":
        counts = torch.bincount(scores.clip_target.cpu(), minlength=len(names)).tolist()
        report.print_scores(split, run.metrics, counts, names, run.data.note(run.model.weights))
