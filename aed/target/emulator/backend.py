"""The backend that needs no board: this project's C, GCC, and a Cortex-M emulated by QEMU."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on, open_exact
from aed.target.boards import Board, emulated
from aed.target.codegen.cmsis import find_cmsis_dsp
from aed.target.codegen.generate import kernel_sources, net_sources
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import Plan, make_plan
from aed.target.codegen.program import Program
from aed.target.emulator import sessions
from aed.target.emulator.sessions import Emulated, Int8
from aed.target.host import device_sources, write_sources
from aed.target.report import Cost, Figure, Report

LIMITS = "QEMU counts instructions, not cycles: no caches, wait states or DMA; the kernels are this project's."


@dataclass(frozen=True)
class _Model:
    """A model and its program."""

    graph: onnx.ModelProto
    program: Program
    plan: Plan


@dataclass(frozen=True)
class Emulator:
    """This project's C on an emulated board.

    Args:
        inputs: Random inputs over the whole int8 range on which C and ONNX Runtime have to give the same bits.
        cmsis_dsp: Folder of CMSIS-DSP, whose Fourier transform the front end is then to use.
    """

    inputs: int = 4
    cmsis_dsp: Path | None = None
    name: str = "emulator"

    def analyze(self, model: Path, board: Board, folder: Path) -> Report:
        """What planning alone tells: weights, arena, multiply-accumulates."""
        return self._planned("analyze", _read(model), emulated(board))

    def generate(self, model: Path, board: Board, folder: Path) -> Report:
        """As above; the C of net and, where it can run on a device, front end in ``folder/c``."""
        read = _read(model)
        frontend = read_model_card(read.graph, model).frontend
        if frontend.streamable:
            sources = device_sources(read.program, read.plan, frontend)
        else:
            sources = kernel_sources() | net_sources(read.program, read.plan)
        write_sources(folder / "c", sources)
        return self._planned("generate", read, emulated(board))

    def validate(self, model: Path, board: Board, folder: Path, patches: npt.NDArray[np.float32]) -> Report:
        """The net's int8 outputs for real patches ``(N, 1, n_mels, patch_frames)`` are those of ONNX Runtime.

        Raises:
            AedError: An output differs, or a tool is missing or fails.
        """
        read, board = _read(model), emulated(board)
        given = read.program.tensors[read.program.input]
        steps = np.clip(np.rint(patches / given.scale) + given.zero, -128, 127).astype(np.int8)
        images = steps.transpose(0, 2, 3, 1).reshape(len(steps), -1)
        with onnx_runtime_on(model):
            run = _proved(read, images, board)
        details = {"inputs": len(steps), "differing_outputs": 0}
        return self._report("validate", board, _net_cost(read, run), details)

    def benchmark(self, model: Path, board: Board, folder: Path) -> Report:
        """Flash, RAM, stack and instructions of net and front end.

        Raises:
            AedError: The model has no C form, a tool is missing, or an output is not ONNX Runtime's.
        """
        if self.inputs < 1:
            raise AedError(f"inputs: need at least 1, got {self.inputs}")
        read, board = _read(model), emulated(board)
        card = read_model_card(read.graph, model)
        given = read.program.tensors[read.program.input]
        random = np.random.default_rng(0)
        with onnx_runtime_on(model):
            run = _proved(read, random.integers(-128, 128, (self.inputs, given.size)).astype(np.int8), board)
        frontend = None
        if card.frontend.streamable:
            samples = random.integers(-(2**15), 2**15, card.frontend.patch_samples).astype(np.int16)
            library = find_cmsis_dsp(self.cmsis_dsp, card.frontend.n_fft) if self.cmsis_dsp else None
            scale, zero = float(given.scale), given.zero
            made = sessions.emulate_frontend(card.frontend, scale, zero, samples, board, library)
            frontend = Cost(figures=_emulated(made), functions=_functions(made))
        details: dict[str, Any] = {"inputs": self.inputs, "differing_outputs": 0}
        details["fourier_transform"] = str(self.cmsis_dsp) if self.cmsis_dsp else "own, fixed point"
        if frontend is None:
            details["no_frontend"] = list(card.frontend.not_streamable)
        return self._report("benchmark", board, _net_cost(read, run), details, frontend)

    def _planned(self, action: str, read: _Model, board: Board) -> Report:
        return self._report(action, board, Cost(figures=_planned(read), layers=_layers(read.program)))

    def _report(
        self,
        action: str,
        board: Board,
        net: Cost,
        details: Mapping[str, Any] | None = None,
        frontend: Cost | None = None,
    ) -> Report:
        ran = action in ("validate", "benchmark")
        return Report(
            target=self.name,
            action=action,
            board=board.name,
            core=board.core,
            net=net,
            frontend=frontend,
            tools=sessions.versions() if ran else {},
            limits=LIMITS if ran else "Arithmetic: no code, stack or library is counted.",
            details=details or {},
        )


def _read(path: Path) -> _Model:
    graph = load_model(path)
    with onnx_runtime_on(path):
        program = lower(graph)
    return _Model(graph, program, make_plan(program))


def _proved(read: _Model, steps: Int8, board: Board) -> Emulated:
    """The run on ``steps`` ``(N, size)``, channels last, its outputs held to ONNX Runtime's."""
    run = sessions.emulate_net(read.program, read.plan, steps, board)
    height, width, channels = read.program.tensors[read.program.input].shape
    images = steps.reshape(len(steps), height, width, channels).transpose(0, 3, 1, 2)
    session = open_exact(read.graph)
    name = session.get_inputs()[0].name
    outputs = [session.run(None, {name: np.ascontiguousarray(image[None])})[0] for image in images]
    if differing := int((run.outputs != np.concatenate(outputs)).sum()):
        raise AedError(f"{board.name}: {differing} of {run.outputs.size} outputs differ from ONNX Runtime's")
    return run


def _net_cost(read: _Model, run: Emulated) -> Cost:
    rows = _layers(read.program)
    counted = tuple({**row, "instructions": round(count)} for row, count in zip(rows, run.layers, strict=True))
    return Cost(figures=_planned(read) | _emulated(run), layers=counted, functions=_functions(run))


def _planned(read: _Model) -> dict[str, Figure]:
    """What is known without a compiler."""
    layers = read.program.layers
    numbers = {
        "weights_bytes": sum(layer.weight_bytes for layer in layers),
        "activations_bytes": read.plan.size,
        "macc": sum(layer.macc(read.program) for layer in layers),
    }
    return {key: Figure(value, "estimated") for key, value in numbers.items()}


def _emulated(run: Emulated) -> dict[str, Figure]:
    numbers = {
        "flash_bytes": run.flash_bytes,
        "ram_bytes": run.ram_bytes,
        "stack_bytes": run.stack_bytes,
        "instructions": round(run.instructions),
    }
    return {key: Figure(value, "emulated") for key, value in numbers.items()}


def _layers(program: Program) -> tuple[dict[str, Any], ...]:
    return tuple({"name": layer.name, "kind": layer.kind, "macc": layer.macc(program)} for layer in program.layers)


def _functions(run: Emulated) -> tuple[dict[str, Any], ...]:
    return tuple({"name": name, "share": round(share, 4)} for name, share in run.functions)
