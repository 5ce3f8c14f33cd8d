"""What a model costs on a board: the benchmark stage, for every backend, one table."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hydra.utils import instantiate
from rich.box import SIMPLE_HEAD
from rich.table import Table

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.base.files import WriteError
from aed.run.state import INT8, Run
from aed.scoring import tables
from aed.target.boards import Board, emulated, load_board, need_backend
from aed.target.cloud.backend import Cloud
from aed.target.emulator.backend import Emulator
from aed.target.report import Cost, Report, Target
from aed.target.stedgeai import StEdgeAi
from aed.target.stedgeai.options import Choices

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Where a model is measured.

    Args:
        target: Names of :data:`TARGETS`, separated by commas.
        board: One of the files in ``configs/boards``.
        inputs: emulator: random inputs on which C and ONNX Runtime have to give the same bits.
        cmsis_dsp: emulator: folder of CMSIS-DSP, whose Fourier transform the front end is then to use.
        tool: stedgeai: the tool or its folder; null: looked for.
        serial: stedgeai: port of a board with ST's validation program, ``serial``, ``serial:COM3:921600``; null: memory
            only.
        optimization: stedgeai and cloud: what ST's tool tries to save.
        version: cloud: of ST's tool; null: the newest.
        timeout_s: stedgeai and cloud: seconds after which they are given up.
    """

    target: str = "emulator"
    board: str = "mps2-an505"
    inputs: int = 4
    cmsis_dsp: str | None = None
    tool: str | None = None
    serial: str | None = None
    optimization: Literal["balanced", "time", "ram"] = "balanced"
    version: str | None = None
    timeout_s: float = 1800.0


def _stedgeai(config: BenchmarkConfig) -> Target:
    path = Path(config.tool) if config.tool else None
    return StEdgeAi(path, config.serial, config.timeout_s, Choices(optimization=config.optimization))


def _cloud(config: BenchmarkConfig) -> Target:
    return Cloud(config.version, config.optimization, total_s=config.timeout_s)


TARGETS: dict[str, Callable[[BenchmarkConfig], Target]] = {
    "emulator": lambda config: Emulator(config.inputs, Path(config.cmsis_dsp) if config.cmsis_dsp else None),
    "stedgeai": _stedgeai,
    "cloud": _cloud,
}
"""Backends by name."""


def benchmark(run: Run) -> None:
    """The stage: measures ``model_int8.onnx`` of the run's folder."""
    path = run.need_file("benchmark", INT8, "quantize")
    measure(path, run.folder, instantiate(run.config.benchmark, _convert_="all"))


def choose(config: BenchmarkConfig) -> tuple[list[str], Board]:
    """The targets and the board of a configuration.

    Raises:
        AedError: A name is unknown, or a target does not know the board.
    """
    chosen = list(dict.fromkeys(name.strip() for name in config.target.split(",")))
    if unknown := [name for name in chosen if name not in TARGETS]:
        raise AedError(f"target: need some of {list(TARGETS)}, got {unknown}")
    board = load_board(config.board)
    for name in chosen:
        need_backend(board, name)
    return chosen, board


def measure(model: Path, folder: Path, config: BenchmarkConfig) -> list[Report]:
    """Leaves ``target/<target>/<board>/report.json`` for each target, prints one table and returns the reports.

    A target that fails leaves the others' results; the error is raised after the table.

    Args:
        model: int8 ``.onnx`` with a model card.
        folder: Outputs.
        config: Where.

    Raises:
        AedError: A name is unknown, or a target failed.
    """
    chosen, board = choose(config)
    reports, failures = [], []
    for name in chosen:
        try:
            reports.append(_measure(TARGETS[name](config), model, board, folder))
        except AedError as error:
            failures.append(f"{name}: {error}")
    if reports:
        _print(model.name, reports)
    if failures:
        raise AedError("\n".join(failures))
    return reports


def _measure(backend: Target, model: Path, board: Board, folder: Path) -> Report:
    board = emulated(board) if backend.name == "emulator" else board
    place = folder / "target" / backend.name / board.name
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{place}: cannot be made ({error.strerror})") from error
    made = backend.benchmark(model, board, place)
    tables.write_json(place / "report.json", {"model": model.name} | made.content())
    return made


_COLUMNS = (
    ("instructions", "M instr.", 1e6, 2),
    ("inference_ms", "ms", 1, 2),
    ("flash_bytes", "flash", 1024, 1),
    ("ram_bytes", "RAM", 1024, 1),
    ("stack_bytes", "stack", 1024, 1),
)
"""Figure, heading, unit, digits."""


def _print(model: str, reports: Sequence[Report]) -> None:
    """A row for each part and target; only columns in which something is known."""
    rows = [(made, name, cost) for made in reports for name, cost in _parts(made)]
    columns = [column for column in _COLUMNS if any(column[0] in cost.figures for _, _, cost in rows)]
    table = Table(
        title=f"{model}: one patch on a {reports[0].core}, sizes in KiB", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in ("", "target", "board"):
        table.add_column(heading)
    for _, heading, _, _ in columns:
        table.add_column(heading, justify="right")
    table.add_column("source")
    for made, name, cost in rows:
        shown = [cost.figures.get(key) for key, _, _, _ in columns]
        cells = [
            "-" if figure is None else f"{figure.value / unit:.{digits}f}"
            for figure, (_, _, unit, digits) in zip(shown, columns, strict=True)
        ]
        sources = sorted({figure.source for figure in shown if figure is not None})
        table.add_row(name, made.target, made.board, *cells, "/".join(sources))
    console = PlainConsole()
    console.print(table)
    for line in _notes(reports):
        console.print(line)


def _parts(made: Report) -> list[tuple[str, Cost]]:
    return [("net", made.net), *([("front end", made.frontend)] if made.frontend else [])]


def _notes(reports: Sequence[Report]) -> list[str]:
    lines = [f"{made.target}: {made.limits}" for made in reports if made.limits]
    for made in reports:
        lines += [f"no C front end: {reason}" for reason in made.details.get("no_frontend", ())]
        for name, cost in _parts(made):
            if cost.functions:
                lines.append(f"{name}: " + ", ".join(_share(row) for row in cost.functions[:4]))
    return lines


def _share(row: Any) -> str:
    return f"{row['name']} {100 * row['share']:.0f} %"
