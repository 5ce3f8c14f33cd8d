"""The stage benchmark: the costs of a model on a board, by every backend, in one table."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, ClassVar, Literal

from hydra.utils import instantiate
from rich.box import SIMPLE_HEAD
from rich.table import Table

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.base.files import WriteError
from aed.export.graph import OF_OTHERS
from aed.run.state import INT8, Run
from aed.run.targets import refuse_others
from aed.scoring import tables
from aed.target.boards import Board, emulated, load_board, need_backend
from aed.target.cloud.settings import CloudSettings
from aed.target.emulator.settings import EmulatorSettings
from aed.target.protocol import Backend, Settings
from aed.target.report import Cost, Report
from aed.target.stedgeai.settings import StEdgeAiSettings

log = logging.getLogger(__name__)

ACTIONS = ("benchmark", "analyze")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Settings of a measurement of a model's costs.

    Args:
        target: Backends, separated by commas: ``emulator``, ``stedgeai``, ``cloud``.
        board: One of the files in ``configs/boards``.
        action: ``benchmark``: memory and time; ``analyze``: memory and multiply-accumulates alone, nothing is run.
        emulator: Settings of ``target=emulator``: this project's C on a Cortex-M emulated by QEMU.
        stedgeai: Settings of ``target=stedgeai``: ST's command-line tool, and a board on a serial port.
        cloud: Settings of ``target=cloud``: ST Edge AI Developer Cloud, real boards.
    """

    target: str = "emulator"
    board: str = "mps2-an505"
    action: Literal["benchmark", "analyze"] = "benchmark"
    emulator: EmulatorSettings = EmulatorSettings()  # noqa: RUF009 - frozen
    stedgeai: StEdgeAiSettings = StEdgeAiSettings()  # noqa: RUF009 - frozen
    cloud: CloudSettings = CloudSettings()  # noqa: RUF009 - frozen


TARGETS: dict[str, Callable[[BenchmarkConfig], Settings]] = {
    name: attrgetter(name) for name in ("emulator", "stedgeai", "cloud")
}
"""Backends by name: which part of the configuration holds their settings."""


@dataclass(frozen=True)
class _Begun:
    """The emulator, whose measurement has begun."""

    report: Future[Report]
    name: ClassVar[str] = "emulator"

    def analyze(self, model: Path, board: Board, folder: Path) -> Report:
        """As the backend."""
        return self.report.result()

    benchmark = analyze


def begin(run: Run) -> None:
    """Begins to measure on the emulator, most of which is waiting for GCC and QEMU, once there is the model."""
    config: BenchmarkConfig = instantiate(run.config.benchmark, _convert_="all")
    chosen, board = choose(config, "benchmark.")
    if "emulator" in chosen and config.action == "benchmark":
        pool = ThreadPoolExecutor(1)
        run.begun["benchmark"] = pool.submit(config.emulator.backend().benchmark, run.folder / INT8, board, run.folder)
        pool.shutdown(wait=False)


def benchmark(run: Run) -> None:
    """The stage: measures ``model_int8.onnx`` of the run's folder."""
    path = run.need_file("benchmark", INT8, "quantize")
    begun = run.begun.pop("benchmark", None)
    measure(path, run.folder, instantiate(run.config.benchmark, _convert_="all"), "benchmark.", begun)


def choose(config: BenchmarkConfig, prefix: str = "") -> tuple[list[str], Board]:
    """The targets and the board of a configuration.

    Args:
        config: Composed.
        prefix: Of its keys, as users type them.

    Raises:
        AedError: A name is unknown, a target does not know the board, or a setting belongs to another target.
    """
    chosen = list(dict.fromkeys(name.strip() for name in config.target.split(",")))
    if unknown := [name for name in chosen if name not in TARGETS]:
        raise AedError(f"{prefix}target: need some of {list(TARGETS)}, got {unknown}")
    if config.action not in ACTIONS:
        raise AedError(f"{prefix}action: need one of {ACTIONS}, got {config.action!r}")
    refuse_others(config, chosen, prefix)
    board = load_board(config.board, f"{prefix}board")
    for name in chosen:
        need_backend(board, name)
    return chosen, board


def measure(
    model: Path, folder: Path, config: BenchmarkConfig, prefix: str = "", begun: Future[Report] | None = None
) -> list[Report]:
    """Writes ``target/<target>/<board>/report.json`` for each target, prints one table and returns the reports.

    A target that fails does not affect the others' results; the error is raised after the table.

    Args:
        model: int8 ``.onnx`` with a model card; for ST's tool and cloud also a file of Keras or TensorFlow Lite.
        folder: Folder to write to.
        config: Where and how.
        prefix: Of the configuration's keys, as users type them.
        begun: The emulator's measurement, where it has begun.

    Raises:
        AedError: The configuration cannot be used, or a target failed.
    """
    chosen, board = choose(config, prefix)
    _check_kind(model, chosen, prefix)
    reports, failures = [], []
    for name in chosen:
        try:
            backend = _Begun(begun) if begun and name == "emulator" else TARGETS[name](config).backend()
            reports.append(_measure(backend, config.action, model, board, folder))
        except AedError as error:
            failures.append(f"{name}: {error}")
    if reports:
        _print(model.name, reports, config.action)
    if failures:
        raise AedError("\n".join(failures))
    return reports


def _check_kind(model: Path, chosen: Sequence[str], prefix: str) -> None:
    """Refuses a file of other tools for what does not read it itself."""
    others = [name for name in chosen if name not in ("stedgeai", "cloud")]
    if model.suffix.lower() in OF_OTHERS and others:
        raise AedError(
            f"{model}: {prefix}target={others[0]} takes models of this project: aed import_model {model}; "
            f"{prefix}target=stedgeai and {prefix}target=cloud take this file as it is"
        )


def _measure(backend: Backend, action: str, model: Path, board: Board, folder: Path) -> Report:
    place = emulated(board) if backend.name == "emulator" else board
    results = folder / "target" / backend.name / place.name
    try:
        results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{results}: cannot be created ({error.strerror})") from error
    run = backend.analyze if action == "analyze" else backend.benchmark
    report = run(model, board, results)
    tables.write_json(results / "report.json", {"model": model.name} | report.content())
    return report


_ANALYSIS = (
    ("macc", "M MACC", 1e6, 2),
    ("weights_bytes", "weights", 1024, 1),
    ("activations_bytes", "activations", 1024, 1),
    ("flash_bytes", "flash", 1024, 1),
    ("ram_bytes", "RAM", 1024, 1),
)
_BENCHMARK = (
    ("instructions", "M instr.", 1e6, 2),
    ("inference_ms", "ms", 1, 2),
    ("flash_bytes", "flash", 1024, 1),
    ("ram_bytes", "RAM", 1024, 1),
    ("stack_bytes", "stack", 1024, 1),
)
"""Figure, heading, unit, digits."""

_COLUMNS = {"analyze": _ANALYSIS, "benchmark": _BENCHMARK}


def _print(model: str, reports: Sequence[Report], action: str) -> None:
    """Prints a row for each part and target, and the columns that have a figure."""
    rows = [(report, name, cost) for report in reports for name, cost in _parts(report)]
    columns = [column for column in _COLUMNS[action] if any(column[0] in cost.figures for _, _, cost in rows)]
    table = Table(
        title=f"{model}: one patch on a {reports[0].core}, sizes in KiB", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in ("", "target", "board"):
        table.add_column(heading)
    for _, heading, _, _ in columns:
        table.add_column(heading, justify="right")
    table.add_column("source")
    for report, name, cost in rows:
        shown = [cost.figures.get(key) for key, _, _, _ in columns]
        cells = [
            "-" if figure is None else f"{figure.value / unit:.{digits}f}"
            for figure, (_, _, unit, digits) in zip(shown, columns, strict=True)
        ]
        sources = sorted({figure.source for figure in shown if figure is not None})
        table.add_row(name, report.target, report.board, *cells, "/".join(sources))
    console = PlainConsole()
    console.print(table)
    for line in _notes(reports):
        console.print(line)


def _parts(report: Report) -> list[tuple[str, Cost]]:
    return [("net", report.net), *([("front end", report.frontend)] if report.frontend else [])]


def _notes(reports: Sequence[Report]) -> list[str]:
    lines = [f"{report.target}: {report.limits}" for report in reports if report.limits]
    for report in reports:
        lines += [f"no C front end: {reason}" for reason in report.details.get("no_frontend", ())]
        if stream := report.details.get("stream"):
            second = stream["instructions_per_second"] / 1e6
            lines.append(
                f"net: of a decision, every {stream['hop_columns']} columns; front end: of a whole patch; "
                f"both together: {second:.2f} M instructions a second"
            )
        if listening := report.details.get("listening"):
            lines.append(_listening(listening))
        for name, cost in _parts(report):
            if worst := cost.figures.get("worst_stack_bytes"):
                text = f"a call takes at most {worst.value:,} bytes of stack, as the compiler tells"
                lines.append(f"{name}: {text}; interrupts come on top")
            if (cycles := cost.figures.get("cycles")) and cycles.source == "estimated":
                lines.append(f"{name}: about {cycles.value / 1e6:.1f} M cycles (estimated)")
            if cost.functions:
                lines.append(f"{name}: " + ", ".join(_share(row) for row in cost.functions[:4]))
    return lines


def _listening(facts: dict[str, Any]) -> str:
    """How busy a core is that listens."""
    text = f"listening: {facts['decisions_per_hour']:.0f} decisions an hour"
    if "load" in facts:
        busy, least = (100 * facts[key]["value"] for key in ("load", "load_frontend"))
        text += (
            f"; {busy:.2g} % of a core at {facts['clock_mhz']:g} MHz (estimated); {least:.2g} % where a gate "
            "(rule.gate_dbfs) lets nothing through"
        )
    return text


def _share(row: Any) -> str:
    return f"{row['name']} {100 * row['share']:.0f} %"


def benchmark_file(model_file: str, folder: str, config: BenchmarkConfig) -> None:
    """The verb: measures a model; see :func:`measure`.

    Args:
        model_file: int8 ``.onnx`` with a model card, or a shipped model: ``zoo/esc10_200k``; ``stedgeai`` and
            ``cloud`` take ``.tflite``, ``.keras`` and ``.h5`` as well.
        folder: Folder to write to.
        config: Where it is measured.
    """
    measure(Path(model_file), Path(folder), config)
    log.info("outputs in %s", folder)
