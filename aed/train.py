"""python -m aed.train experiment=<name> [key=value ...]: trains and tests; -m sweeps."""

import logging
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from aed import config, pipeline
from aed.errors import find_aed_error

log = logging.getLogger("aed.train")


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="train")
def _task(cfg: DictConfig) -> float | None:
    folder = Path(HydraConfig.get().runtime.output_dir)
    try:
        metrics = pipeline.run(cfg, folder)
    except KeyboardInterrupt:
        log.error("stopped; features computed so far are kept")
        sys.exit(130)
    except Exception as error:
        known = find_aed_error(error)
        if known is None or HydraConfig.get().mode == RunMode.MULTIRUN:
            raise
        log.error("%s", known)
        sys.exit(1)
    return metrics.get(cfg.optimized_metric)


def main() -> None:
    """Entry point."""
    config.register()
    _task()


if __name__ == "__main__":
    main()
