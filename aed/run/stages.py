"""The stages of a run: a further one is a file with a function of a run, and its line in :data:`STAGES`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from aed.base.errors import AedError
from aed.export.onnx import ExportConfig
from aed.export.quantize import QuantizeConfig
from aed.run import benchmark, deploy, detect_stage, evaluate_stage, export, fit, predict, quantize, test
from aed.run.program_choice import ProgramConfig, need_program
from aed.run.report import write as report
from aed.run.state import Run


@dataclass(frozen=True)
class Stage:
    """A step of a run.

    Args:
        execute: Does the work; reads earlier stages' files in the run's folder, writes its own.
        key: Of its settings in the run's configuration; "": it has none.
        settings: Their class.
        check: Refuses settings that cannot work, before hours of training.
        in_all_processes: Whether all of several processes take part; else the first alone.
        after: Stage after which its work can begin.
        begin: Begins it then, beside the stages in between.
    """

    execute: Callable[[Run], None]
    key: str = ""
    settings: type | None = None
    check: Callable[[Any], object] | None = None
    in_all_processes: bool = False
    after: str = ""
    begin: Callable[[Run], None] | None = None


STAGES: dict[str, Stage] = {
    "fit": Stage(fit.fit, in_all_processes=True),
    "test": Stage(test.test, in_all_processes=True),
    "validate": Stage(test.validate, in_all_processes=True),
    "export": Stage(export.export, "export", ExportConfig),
    "quantize": Stage(quantize.quantize, "quantization", QuantizeConfig),
    "evaluate": Stage(evaluate_stage.evaluate, "evaluate", ProgramConfig, need_program),
    "predict": Stage(predict.predict, "predict", predict.PredictConfig, predict.check),
    "detect": Stage(detect_stage.detect, "detect", detect_stage.DetectConfig, detect_stage.check),
    "benchmark": Stage(
        benchmark.benchmark,
        "benchmark",
        benchmark.BenchmarkConfig,
        partial(benchmark.choose, prefix="benchmark."),
        after="quantize",
        begin=benchmark.begin,
    ),
    "deploy": Stage(deploy.deploy, "deploy", deploy.DeployConfig, partial(deploy.check, prefix="deploy.")),
    "report": Stage(report.report),
}
"""Stages by name."""

DEFAULT = ("fit", "test", "export", "quantize", "evaluate")

_TO_INT8 = ("export", "quantize")

MODES: dict[str, tuple[str, ...]] = {
    "training": ("fit", "test", "export"),
    "evaluation": ("test",),
    "quantization": _TO_INT8,
    "prediction": ("predict",),
    "benchmarking": (*_TO_INT8, "benchmark"),
    "deployment": (*_TO_INT8, "deploy"),
    "chain_tqe": ("fit", *_TO_INT8, "evaluate"),
    "chain_tqeb": ("fit", *_TO_INT8, "evaluate", "benchmark"),
    "chain_tbqeb": ("fit", "test", *_TO_INT8, "evaluate", "benchmark"),
    "chain_eqe": ("test", *_TO_INT8, "evaluate"),
    "chain_qb": (*_TO_INT8, "benchmark"),
    "chain_eqeb": ("test", *_TO_INT8, "evaluate", "benchmark"),
    "chain_qd": (*_TO_INT8, "deploy"),
}
"""Operation modes of ST's model zoo as lists of stages. What is benchmarked and deployed here is int8."""


def choose_stages(stages: Sequence[str] | None, operation_mode: str | None, evaluated_on: str = "runtime") -> list[str]:
    """The stages of a run.

    Args:
        stages: In order; null: :data:`DEFAULT`, or those of the mode.
        operation_mode: One of :data:`MODES`.
        evaluated_on: ``evaluate.on``: on a board, the mode evaluation is that of the int8 model.

    Raises:
        AedError: A name is unknown, or both are set.
    """
    if operation_mode is not None:
        if operation_mode not in MODES:
            raise AedError(f"operation_mode: need one of {list(MODES)}, got {operation_mode!r}")
        if stages is not None:
            raise AedError(f"operation_mode={operation_mode} is a list of stages; give it or stages, not both")
        if operation_mode == "evaluation" and evaluated_on == "board":
            return [*_TO_INT8, "evaluate"]
        return list(MODES[operation_mode])
    chosen = list(DEFAULT if stages is None else stages)
    if not chosen:
        raise AedError(f"stages: need at least one of {list(STAGES)}, got none")
    if unknown := [name for name in chosen if name not in STAGES]:
        raise AedError(f"stages: need a list of {list(STAGES)}, got {unknown}")
    return chosen
