"""python -m aed.train experiment=<name> [key=value ...]: trains, tests and makes int8; -m sweeps."""

import logging
from contextlib import nullcontext
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from aed.base.paths import CONFIG_DIR
from aed.run import pipeline, registry
from aed.scoring.levels import HEADLINE
from aed.settings.entry import clear_errors, run_task

log = logging.getLogger("aed.train")


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="train")
def _task(cfg: DictConfig) -> float | None:
    job = HydraConfig.get()
    # a sweep needs the exception itself: it ends the job, not the others' results
    guard = (
        nullcontext() if job.mode == RunMode.MULTIRUN else clear_errors(log, "stopped; features made so far are kept")
    )
    with guard:
        metrics = pipeline.run(cfg, Path(job.runtime.output_dir))
    headlines = [f"test/{name}" for name in HEADLINE.values()]
    wanted = [cfg.optimized_metric] if cfg.optimized_metric else headlines
    return next((metrics[key] for key in wanted if key in metrics), None)


def main() -> None:
    """Entry point."""
    registry.register()
    run_task(_task, log, "train")


if __name__ == "__main__":
    main()
