"""python -m aed.benchmark model=<int8.onnx> [target=emulator,...] board=<name>: what a model costs there."""

import logging
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.paths import CONFIG_DIR
from aed.run.benchmark import BenchmarkConfig, measure
from aed.settings import schemas
from aed.settings.entry import clear_errors, resolved, run_task

log = logging.getLogger("aed.benchmark")


def benchmark(model_file: str, folder: str, config: BenchmarkConfig) -> None:
    """Measures a model; see :func:`aed.run.benchmark.measure`.

    Args:
        model_file: int8 ``.onnx`` with a model card.
        folder: Outputs.
        config: Where.
    """
    measure(Path(model_file), Path(folder), config)
    log.info("outputs in %s", folder)


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="benchmark")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log):
        plain = resolved(cfg)
        benchmark(**schemas.split_settings(instantiate(plain, _convert_="all"), BenchmarkConfig))


def main() -> None:
    """Entry point."""
    schemas.store("schema", "benchmark", schemas.command(benchmark, BenchmarkConfig))
    run_task(_task, log, "benchmark")


if __name__ == "__main__":
    main()
