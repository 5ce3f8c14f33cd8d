"""Train a net, test it, and convert it to int8: one command for the whole way.

Usage:
    aed train experiment=<name> [key=value ...]
    aed train -m experiment=<name> key=value,value ...

Examples:
    aed train experiment=demo
        Sounds that are synthesised on the spot: nothing to download, done in a minute.
    aed train experiment=esc10_yamnet data=folder data.clips.root=sounds
        Your own sounds, a folder per class.
    aed train -m experiment=esc10_yamnet data.test_fold=1,2,3,4,5
        A sweep: a run for each fold, with mean and standard deviation.
"""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from aed.base.loading import loading
from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.train")


def _task(cfg: "DictConfig") -> float | None:
    with loading():
        from hydra.core.hydra_config import HydraConfig
        from hydra.types import RunMode

        from aed.run import pipeline
        from aed.scoring.levels import HEADLINE
        from aed.settings.entry import clear_errors

    job = HydraConfig.get()
    # a sweep needs the exception itself: it ends the job, not the others' results
    guard = nullcontext() if job.mode == RunMode.MULTIRUN else clear_errors(log, "stopped; features in the cache stay")
    with guard:
        metrics = pipeline.run(cfg, Path(job.runtime.output_dir))
    headlines = [f"test/{name}" for name in HEADLINE.values()]
    wanted = [cfg.optimized_metric] if cfg.optimized_metric else headlines
    return next((metrics[key] for key in wanted if key in metrics), None)


def main() -> None:
    """Entry point."""
    run_verb("train", _task)


if __name__ == "__main__":
    main()
