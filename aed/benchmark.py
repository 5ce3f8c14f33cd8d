"""Measure what a model costs on a board: time, flash, RAM.

Usage:
    aed benchmark model=<int8.onnx> [target=<name>,...] [board=<name>] [key=value ...]

Examples:
    aed benchmark model=model_int8.onnx
        Instructions and memory of the C code on an emulated Cortex-M33.
    aed benchmark model=model_int8.onnx target=stedgeai board=b-u585i-iot02a
        Memory by ST's tool, which has to be installed.
    aed benchmark model=model_int8.onnx target=emulator,cloud board=b-u585i-iot02a
        The emulator beside a real board in ST's Developer Cloud, in one table.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.benchmark")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.benchmark import BenchmarkConfig, benchmark_file
    from aed.settings.entry import clear_errors, resolved
    from aed.settings.schemas import split_settings

    with clear_errors(log):
        benchmark_file(**split_settings(instantiate(resolved(cfg), _convert_="all"), BenchmarkConfig))


def main() -> None:
    """Entry point."""
    run_verb("benchmark", _task)


if __name__ == "__main__":
    main()
