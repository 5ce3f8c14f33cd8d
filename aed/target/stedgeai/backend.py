"""The backend: a model in, a report out, everything in between in a temporary folder with an ASCII path."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.files import temporary_folder, write_whole
from aed.base.processes import Stopped, finish
from aed.export.graph import load_model
from aed.inference.opening import open_classifier
from aed.target.boards import Board, need_backend
from aed.target.report import Cost, Figure, Report, Source
from aed.target.stedgeai import parse
from aed.target.stedgeai.exchange import agreement, to_inputs, to_real
from aed.target.stedgeai.failure import error_line, failed
from aed.target.stedgeai.find import Tool, environment, find_tool
from aed.target.stedgeai.handed import handed
from aed.target.stedgeai.options import Action, Choices, command, port
from aed.target.stedgeai.workspace import ascii_folder, copy_results, prepare

log = logging.getLogger(__name__)

Array = npt.NDArray[np.float32]

ON_BOARD_ONLY = ("cortex-m55", "cortex-m85")
"""Cores whose C code ST's tool cannot run on a PC."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A validation with the outputs of the C code.

    Args:
        report: Memory, agreement and, of a board, time.
        outputs: ``(N, num_classes)`` of the C code, dequantised, in the order of the patches.
        expected: ``(N, num_classes)`` of ONNX Runtime.
    """

    report: Report
    outputs: Array
    expected: Array


@dataclass(frozen=True)
class _Run:
    """A run that succeeded."""

    output: str
    files: Path
    log: Path


class StEdgeAi:
    """ST's command-line tool on this machine, and a board on its serial port where there is one.

    Args:
        path: The tool or its folder; null: searched for, see :func:`aed.target.stedgeai.find.find_tool`.
        descriptor: Port of a board that runs ST's validation program: ``serial``, ``serial:COM3:921600``,
            ``serial:/dev/ttyACM0``; null: no board, validation on this machine.
        timeout_s: Seconds after which a run is stopped. A board at 115200 baud takes about 2 s for a float patch.
        choices: Further options of the tool.
    """

    name = "stedgeai"

    def __init__(
        self,
        path: Path | None = None,
        descriptor: str | None = None,
        timeout_s: float = 1800.0,
        choices: Choices | None = None,
    ) -> None:
        self.path, self.descriptor, self.timeout_s = path, descriptor, timeout_s
        self.choices = choices or Choices()

    @cached_property
    def tool(self) -> Tool:
        """The tool and its version.

        Raises:
            AedError: There is none.
        """
        return find_tool(self.path)

    def analyze(self, model: Path, board: Board, folder: Path) -> Report:
        """Memory and multiply-accumulates, as ST's tool counts them; nothing is run."""
        with self._run("analyze", model, board, folder) as run:
            return self._report("analyze", board, run)

    def generate(self, model: Path, board: Board, folder: Path) -> Report:
        """As :meth:`analyze`, and the tool's C code in ``folder/c``.

        The runtime library is not among it: it lies in the tool's folder, for each core and compiler.
        """
        with self._run("generate", model, board, folder) as run:
            if not any(run.files.glob("**/*.c")):
                raise failed(self.tool.path, "generate", 0, f"{run.output}\nit wrote no C file", run.log)
            return self._report("generate", board, run)

    def benchmark(self, model: Path, board: Board, folder: Path) -> Report:
        """Memory; with a board also time, measured there on random inputs."""
        if self.descriptor is None:
            return replace(self.analyze(model, board, folder), action="benchmark")
        with self._run("validate", model, board, folder, descriptor=self.descriptor) as run:
            report = self._report("benchmark", board, run)
        if "inference_ms" not in report.net.figures:
            raise failed(self.tool.path, "validate", 0, f"{run.output}\nit printed no duration", run.log)
        return report

    def compare(self, model: Path, board: Board, folder: Path, patches: Array) -> Validation:
        """The C code's outputs for ``patches``, of the board or else of this machine, beside those of ONNX Runtime.

        For an accuracy on the board pass the patches of the clips one after the other, turn the outputs into posteriors
        (:func:`aed.inference.classifier.to_posteriors`), split them by the clips' numbers of patches and average.

        Args:
            model: Written by aed, with a card.
            board: With a series.
            folder: For reports and log.
            patches: ``(N, 1, n_mels, patch_frames)``.

        Raises:
            AedError: The tool is missing, fails or hangs, or the core cannot be had on this machine.
        """
        if self.descriptor is None and board.core in ON_BOARD_ONLY:
            raise AedError(
                f"board={board.name}: ST's tool runs no {board.core} code on a PC; connect the board, load ST's "
                "validation program and give its port, serial=serial:921600; on=c needs none"
            )
        if len(patches) < 1:
            raise AedError("validate: need at least one patch, got none")
        classifier = open_classifier(model)
        expected = classifier.outputs(patches)[:, : len(classifier.card.class_names)]
        with self._run("validate", model, board, folder, patches, self.descriptor) as run:
            file = run.files / f"{self.choices.c_name}_val_io.npz"
            if not file.is_file():
                raise failed(self.tool.path, "validate", 0, f"{run.output}\nit wrote no outputs of the C code", run.log)
            raw = parse.read_outputs(file.read_bytes(), file, *expected.shape)
            report = self._report("validate", board, run)
        outputs = to_real(raw, load_model(model), model)
        source: Source = "vendor" if self.descriptor is None else "measured"
        differing = int((outputs != expected).sum())
        agreed = {key: Figure(value, source) for key, value in agreement(outputs, expected).items()}
        others = {key: value for key, value in report.net.figures.items() if key not in ("cos", "rmse")}
        report = replace(
            report,
            net=replace(report.net, figures=others | agreed),
            details=dict(report.details) | {"inputs": len(patches), "differing_outputs": differing},
        )
        return Validation(report=report, outputs=outputs, expected=expected)

    @contextmanager
    def _run(
        self,
        action: Action,
        model: Path,
        board: Board,
        folder: Path,
        patches: Array | None = None,
        descriptor: str | None = None,
    ) -> Iterator[_Run]:
        """Runs the tool in a temporary folder; its results are in ``folder`` afterwards."""
        need_backend(board, self.name)
        file = handed(model)
        if descriptor is not None:
            port(descriptor, board)  # before the tool starts: a misspelt port is found at once
        tool = self.tool
        folder.mkdir(parents=True, exist_ok=True)
        log_file = folder / f"stedgeai_{action}.log"
        with temporary_folder("aed_", ascii_folder()) as temporary:
            inputs = None
            if patches is not None and file.model is not None:
                inputs = to_inputs(patches, file.model, model, board.neural_art)
            paths = prepare(temporary, model.stem + file.suffix, file.content, inputs)
            line = command(tool, action, board, paths, self.choices, file.ends, descriptor)
            head = f"{tool.version.text}\n{' '.join(line)}\n\n"
            log.info("%s %s: %s", tool.path.name, tool.version.text, action)
            try:
                done = finish(line, self.timeout_s, temporary, environment())
            except AedError as error:  # it hung or could not be started
                printed = error.output if isinstance(error, Stopped) else ""
                _write_log(log_file, f"{head}{printed}\n{error}\n")
                raise failed(tool.path, action, None, str(error), log_file) from error
            output = parse.plain_text(done.output)
            _write_log(log_file, head + output)
            if done.code or error_line(output):
                raise failed(tool.path, action, done.code, output, log_file)
            copy_results(paths.output, folder)
            log.info("results in %s", folder)
            yield _Run(output, paths.output, log_file)

    def _report(self, action: str, board: Board, run: _Run) -> Report:
        """The report of a run, from its files and its text."""
        name, readings = self.choices.c_name, []
        for file in (f"{name}_c_info.json", f"{name}_c_info_valid.json"):
            if (run.files / file).is_file():
                readings.append(parse.read_c_info((run.files / file).read_bytes(), run.files / file))
        for path in (run.files / f"{name}_report.json", run.files.parent / "workspace" / f"{name}_report.json"):
            if path.is_file():
                readings.append(parse.read_report(path.read_bytes(), path))
        texts = [run.output]
        texts += [
            parse.plain_text(path.read_text("utf-8", "replace"))
            for path in sorted(run.files.glob(f"{name}_*_report.txt"))
        ]
        validations = [parse.read_validation(text) for text in texts]
        reading = parse.merge([*readings, *map(parse.read_text, texts)])
        if not reading.figures:
            raise failed(self.tool.path, action, 0, f"{run.output}\nit wrote no report", run.log)
        return self._assemble(action, board, reading, parse.merge(validations))

    def _assemble(self, action: str, board: Board, reading: parse.Reading, run: parse.Reading) -> Report:
        on_board = self.descriptor is not None and action in ("validate", "benchmark")
        measured = dict(reading.figures) | dict(run.figures) if on_board else {}
        figures = {key: Figure(value, "vendor") for key, value in (dict(run.figures) | dict(reading.figures)).items()}
        for key in ("inference_ms", "cycles"):
            figures.pop(key, None)  # a PC's time is not the board's
            if key in measured:
                figures[key] = Figure(measured[key], "measured")
        if action != "validate":  # on random inputs
            figures = {key: figure for key, figure in figures.items() if key not in ("cos", "rmse")}
        details = dict(reading.details) | dict(run.details)
        if not on_board and "inference_ms" in run.figures:
            details["host_ms"] = run.figures["inference_ms"]
        misfit = misfits(board, figures)
        details["fits"] = not misfit if {"flash_bytes", "ram_bytes"} & set(figures) else None
        layers = reading.layers
        if on_board and run.layers:
            known = {row["name"]: row for row in reading.layers}
            layers = tuple({**known.get(row["name"], {}), **row} for row in run.layers)
        tools = {"stedgeai": self.tool.version.text} | dict(self.tool.version.parts)
        return Report(
            target=self.name,
            action=action,
            board=board.name,
            core=board.core,
            net=Cost(figures=figures, layers=layers),
            tools=tools,
            limits=" ".join([*misfit, *_limits(action, on_board), *([board.note] if board.note else [])]),
            details={key: value for key, value in details.items() if value != ""},
        )


def _limits(action: str, on_board: bool) -> list[str]:
    """Limits of the figures, in sentences."""
    if on_board:
        return ["The net alone, in ST's validation program; the front end is not part of it."]
    if action == "validate":
        return ["ST's C code ran on this machine, with other kernels than the board's; no time of the board."]
    return ["ST's own count; nothing was run, so there is no time. The net alone, without front end and application."]


def misfits(board: Board, figures: Mapping[str, Figure]) -> list[str]:
    """Sentences on memory that the chip does not have."""
    sentences = []
    for key, kib, name in (("flash_bytes", board.flash_kib, "flash"), ("ram_bytes", board.ram_kib, "RAM")):
        if key in figures and kib and figures[key].value > kib * 1024:
            beside = f"; beside the chip: {board.external}" if board.external else ""
            needed = figures[key].value / 1024
            sentences.append(f"Does not fit: {needed:,.1f} KiB of {name}, the chip has {kib:,.0f}{beside}.")
    return sentences


def _write_log(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))
