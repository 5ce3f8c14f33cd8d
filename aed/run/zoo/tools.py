"""Quantisation, boards and deployment of a document."""

import re

from aed.base.console import printable
from aed.base.overrides import override
from aed.base.paths import CONFIG_DIR
from aed.run.zoo.draft import Draft
from aed.target.boards import load_board

_IO = {"int8": "int8", "uint8": "int8", "float": "float", "float32": "float"}
_OWN_MACHINE = re.compile(r"<|/STM32Cube|^[A-Za-z]:|^STM32Cube")
"""Paths that stand in published examples, or are those of another system."""


def map_quantization(draft: Draft) -> None:
    """The section ``quantization``."""
    document, section = draft.document, "quantization"
    draft.one_of(f"{section}.quantization_type", {"ptq": "ptq"})
    draft.note("mapped", f"{section}.quantization_type", "quantization=ptq; quantization=qat fine-tunes with rounding")
    ends = {end: f"{section}.quantization_{end}_type" for end in ("input", "output")}
    kinds = {end: draft.one_of(key, _IO, "float") for end, key in ends.items()}
    ios = {("int8", "int8"): "int8", ("int8", "float"): "int8_in"}
    io = ios.get((kinds["input"], kinds["output"]), "float")
    if any(key in document.leaves for key in ends.values()):
        draft.values["quantization.io"] = io
    for end, key in ends.items():
        draft.note("mapped", key, f"quantization.io={io}")
        if kinds[end] == "int8" and io == "float":
            text = "no float in with int8 out; quantization.io=int8 for both; the C library gives posteriors"
            draft.note("none", key, text)
    per_channel = draft.one_of(f"{section}.granularity", {"per_channel": True, "per_tensor": False})
    draft.set(f"{section}.granularity", "quantization.per_channel", per_channel)
    for key in document.leaves:
        if key.startswith(f"{section}.onnx_extra_options") and key.lower().endswith(("extra_options", "average")):
            _calibration(draft, key)
        elif key.startswith((f"{section}.onnx_", f"{section}.iterative_")):
            text = "everything is int8, and repaired if that costs accuracy; quantization.exclude_ops=[...] leaves some"
            draft.note("none", key, text)
        elif key in (f"{section}.quantize", f"{section}.evaluate"):
            draft.note("mapped", key, "stages")


def _calibration(draft: Draft, key: str) -> None:
    """The moving average of ranges: a switch, in version 3 the one word that there was."""
    if key.lower().endswith("average"):
        is_averaged = bool(draft.document.flag(key))
    else:
        is_averaged = draft.one_of(key, {"calib_moving_average": True}, False)
    draft.set(key, "quantization.calibration", "averaged" if is_averaged else "minmax")


def board_of(draft: Draft, key: str) -> str | None:
    """The board that a key names, if there is one of this name."""
    name = draft.document.raw(key)
    if name is None or name is False:
        draft.note("mapped", key, "no benchmark")
        return None
    board = str(draft.document.text(key)).lower()
    if not re.fullmatch(r"[\w-]+", board) or not (CONFIG_DIR / "boards" / f"{board}.yaml").is_file():
        draft.note("none", key, "a board of yours is one YAML: docs/boards.md, A board of your own")
        return None
    return board


def map_benchmark(draft: Draft, wanted: bool) -> str | None:
    """The board of a benchmark; its settings, if the mode has one.

    Args:
        draft: The experiment.
        wanted: Whether the mode measures.
    """
    document, section = draft.document, "tools.stedgeai"
    board = board_of(draft, "benchmarking.board")
    # 2023 had the developer cloud beside the tool, and asked for credentials
    target = "cloud" if document.flag(f"{section}.on_cloud") else "stedgeai"
    optimization = draft.one_of(
        f"{section}.optimization", {own: own for own in ("balanced", "time", "ram")}, "balanced"
    )
    tool = document.file(f"{section}.path_to_stedgeai")
    draft.note("mapped", f"{section}.on_cloud", f"benchmark.target={target}")
    if board and target == "cloud" and load_board(board).cloud_name is None:
        target = "stedgeai"
        draft.note(
            "none", f"{section}.on_cloud", f"{board} is not known to be in ST's cloud: benchmark.target=stedgeai"
        )
    draft.note("mapped", f"{section}.optimization", f"benchmark.{target}.optimization={optimization}")
    draft.note(
        "better", f"{section}.path_to_stedgeai", "looked for on the PATH, in STEDGEAI_PATH and the usual folders"
    )
    draft.note("better", "tools.path_to_cubeIDE", "looked for; stm32.cube_ide=... is another")
    if not wanted or board is None:
        draft.note("mapped", "benchmarking.board", f"board={board}") if board else None
        return board
    draft.values["benchmark.target"] = target
    draft.set("benchmarking.board", "benchmark.board", board)
    draft.values[f"benchmark.{target}.optimization"] = optimization
    if tool and target == "stedgeai" and not _OWN_MACHINE.search(tool):
        draft.set(f"{section}.path_to_stedgeai", "benchmark.stedgeai.tool", tool)
    return board


def map_deployment(draft: Draft, wanted: bool) -> None:
    """The section ``deployment``.

    Args:
        draft: The experiment.
        wanted: Whether the mode deploys.
    """
    document, section = draft.document, "deployment"
    board = board_of(draft, f"{section}.hardware_setup.board") or board_of(draft, "benchmarking.board")
    project, build = document.file(f"{section}.c_project_path"), document.text(f"{section}.build_conf")
    probe, threshold = (
        document.text(f"{section}.hardware_setup.stlink_serial_number"),
        f"{section}.unknown_class_threshold",
    )
    limit = document.number(threshold)
    if limit is not None and not 0 <= limit < 1:
        raise draft.fail(threshold, f"need a probability from 0 to 1, got {limit}")
    values = {
        f"{section}.hardware_setup.board": ("board", board),
        f"{section}.c_project_path": ("project", project),
        f"{section}.hardware_setup.stlink_serial_number": ("probe", probe),
        threshold: ("unknown_threshold", limit),
        f"{section}.build_conf": ("configuration", build if build in ("Debug", "Release", "BM") else None),
    }
    for key, (name, value) in values.items():
        if key in document.leaves and key not in draft.notes:
            draft.note("mapped", key, f"deploy.stm32.{name}")
            if wanted and value is not None:
                draft.set(key, f"deploy.stm32.{name}", value)
    draft.values |= {"deploy.target": "stm32"} if wanted else {}
    if wanted and project and "threadx" in project.lower():
        draft.values["deploy.stm32.rtos"] = "threadx"
    if build and build not in ("Debug", "Release", "BM"):
        draft.note("none", f"{section}.build_conf", "deploy.stm32.configuration=... names one of today's firmware; BM")


def map_logging(draft: Draft) -> None:
    """The sections ``mlflow`` and ``general.project_name``, as words of the command."""
    name, uri = draft.document.text("general.project_name"), draft.document.text("mlflow.uri")
    text = f"MLflow's experiment has the name of the file; logger.mlflow.experiment_name={printable(name or '')}"
    draft.note("better", "general.project_name", text)
    if uri and re.match(r"(https?|sqlite|postgresql|mysql)[+:]", uri):
        word = override("logger.mlflow.tracking_uri", uri)
        draft.words.append(word)
        draft.note("mapped", "mlflow.uri", word)
    else:
        draft.note("better", "mlflow.uri", "sqlite:///mlruns.db; MLflow 3 no longer writes folders of files")
