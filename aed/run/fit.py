"""The fit stage: training with Lightning."""

import logging
import sys
import time
from functools import partial
from pathlib import Path

from aed.run.loggers import METRICS_CSV
from aed.run.resume import restoring
from aed.run.state import Run
from aed.scoring.pictures.curves import plot_curves

log = logging.getLogger(__name__)

CURVES = Path("plots") / "learning_curves.png"
"""File of a run."""


def fit(run: Run) -> None:
    """Trains; writes ``checkpoints/{best,last}.ckpt`` and draws the learning curves."""
    started = time.monotonic()
    resume = run.config.ckpt_path
    try:
        with restoring(resume):
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
    if run.model.solved is not None:
        run.metrics |= run.model.solved.metrics()
    draw_curves(run)


def draw_curves(run: Run) -> None:
    """Draws the learning curves once nobody waits any more."""
    curves = run.folder / METRICS_CSV
    if run.is_main_process and curves.is_file():
        draw = partial(plot_curves, run.folder / CURVES, curves, run.subject)
        run.later.append(draw)
