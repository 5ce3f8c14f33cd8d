"""The backend that needs no board: this project's C, GCC, and a Cortex-M emulated by QEMU."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.base.processes import beside
from aed.dsp.frontend import FrontendConfig
from aed.export.card import read_card
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on, open_exact, run_exact
from aed.target.boards import Board, emulated
from aed.target.codegen.choose import Chosen, choose_plan
from aed.target.codegen.cmsis import find_cmsis_dsp
from aed.target.codegen.lower import lower
from aed.target.codegen.plan import Plan
from aed.target.codegen.program import Int8, Program
from aed.target.codegen.settings import AUTO, PlanSettings
from aed.target.emulator import measure, toolchain
from aed.target.emulator.measure import EmulatedRun
from aed.target.load import Load
from aed.target.report import Cost, Figure, Report

LIMITS = (
    "QEMU counts instructions, not cycles: no caches, wait states or DMA; the kernels are this project's. Cycles are "
    "estimated: about 1000 sampled instructions by the timing table of the Cortex-M4, vector instructions 2 cycles."
)


@dataclass(frozen=True)
class _Model:
    """A model and how its C is planned."""

    graph: onnx.ModelProto
    chosen: Chosen

    @property
    def program(self) -> Program:
        return self.chosen.program


@dataclass(frozen=True)
class Emulator:
    """This project's C on an emulated board.

    Args:
        inputs: Random inputs over the whole int8 range on which C and ONNX Runtime have to give the same bits.
        cmsis_dsp: Folder of CMSIS-DSP, whose Fourier transform then replaces the front end's own; None: the own one.
        planning: How the net is run.
    """

    inputs: int = 4
    cmsis_dsp: Path | None = None
    planning: PlanSettings = AUTO
    name: ClassVar[str] = "emulator"

    def analyze(self, model: Path, board: Board, folder: Path) -> Report:
        """Weights, arena and multiply-accumulates, by arithmetic; needs neither GCC nor QEMU.

        Raises:
            AedError: The model has no C form, or does not fit into the board's memories.
        """
        read = self._read(model, board)
        cost = Cost(figures=_planned(read), layers=_layers(read.program))
        return self._report("analyze", emulated(board), cost, {"plan": read.chosen.facts})

    def benchmark(self, model: Path, board: Board, folder: Path) -> Report:
        """Flash, RAM, stack and instructions of net and front end.

        Raises:
            AedError: The model has no C form or does not fit into the board's memories, a tool is missing, or an output
                is not ONNX Runtime's.
        """
        if self.inputs < 1:
            raise AedError(f"emulator.inputs: need at least 1, got {self.inputs}")
        read, clock_mhz, board = self._read(model, board), board.clock_mhz, emulated(board)
        card = read_model_card(read.graph, model)
        x = read.program.tensors[read.program.input]
        random = np.random.default_rng(0)
        steps = random.integers(-128, 128, (self.inputs, x.size)).astype(np.int8)
        sound = random.integers(-(2**15), 2**15, card.frontend.patch_samples).astype(np.int16)
        with onnx_runtime_on(model), beside(lambda: self._frontend(card.frontend, read, sound, board)) as measured:
            run = _proved(read, steps, board)
            own = measured.result()
        frontend = Cost(figures=_emulated(own), functions=_functions(own)) if own else None
        details: dict[str, Any] = {"inputs": self.inputs, "differing_outputs": 0, "plan": read.chosen.facts}
        if own:
            details["listening"] = _listening(card.frontend, read.chosen.plan, run, own, clock_mhz)
        if own and (hop := read.chosen.plan.schedule.hop):
            each = run.instructions + own.instructions * hop / card.frontend.patch_frames
            hops = card.frontend.sample_rate / (card.frontend.hop_length * hop)
            details["stream"] = {"hop_columns": hop, "instructions_per_second": round(each * hops)}
        details["fourier_transform"] = str(self.cmsis_dsp) if self.cmsis_dsp else "own, fixed point"
        if frontend is None:
            details["no_frontend"] = list(card.frontend.not_streamable)
        return self._report("benchmark", board, _net_cost(read, run), details, frontend)

    def _frontend(
        self, frontend: FrontendConfig, read: _Model, sound: npt.NDArray[np.int16], board: Board
    ) -> EmulatedRun | None:
        """The run of a front end on ``sound`` ``(T,)``; None: it has no C form."""
        if not frontend.streamable:
            return None
        x = read.program.tensors[read.program.input]
        library = find_cmsis_dsp(self.cmsis_dsp, frontend.n_fft) if self.cmsis_dsp else None
        by_columns = read.chosen.plan.feeds
        return measure.measure_frontend(frontend, float(x.scale), x.zero, sound, board, library, by_columns)

    def _read(self, path: Path, board: Board) -> _Model:
        graph = load_model(path)
        card = read_card(graph, str(path))
        hop = card.frontend.patch_hop if card else 0
        with onnx_runtime_on(path):
            read = _Model(graph, choose_plan(partial(lower, graph), self.planning, hop, "emulator."))
        facts = read.chosen.facts  # of the board itself, which QEMU's may be larger than
        toolchain.need_room(board, read.program.weight_bytes, facts["arena_bytes"] + facts["patch_bytes"])
        return read

    def _report(
        self,
        action: str,
        board: Board,
        net: Cost,
        details: Mapping[str, Any] | None = None,
        frontend: Cost | None = None,
    ) -> Report:
        ran = action == "benchmark"
        return Report(
            target=self.name,
            action=action,
            board=board.name,
            core=board.core,
            net=net,
            frontend=frontend,
            tools=toolchain.versions() if ran else {},
            limits=LIMITS if ran else "Arithmetic: no code, stack or library is counted.",
            details=details or {},
        )


def _proved(read: _Model, steps: Int8, board: Board) -> EmulatedRun:
    """The run on ``steps`` ``(N, size)``, channels last, once its outputs are those of ONNX Runtime."""
    run = measure.measure_net(read.program, read.chosen.plan, steps, board)
    session = open_exact(read.graph)
    outputs = [run_exact(session, image[None]) for image in read.program.images(steps)]
    if differing := int((run.outputs != np.concatenate(outputs)).sum()):
        raise AedError(f"{board.name}: {differing} of {run.outputs.size} outputs differ from ONNX Runtime's")
    return run


def _listening(
    frontend: FrontendConfig, plan: Plan, net: EmulatedRun, columns: EmulatedRun, clock_mhz: float | None
) -> dict[str, Any]:
    """Decisions an hour and, of a core with a clock, the load if the net always runs and if it never does; JSON."""
    columns_per_s = frontend.sample_rate / frontend.hop_length
    decisions_per_s = columns_per_s / (plan.schedule.hop or frontend.patch_hop)
    content: dict[str, Any] = {"decisions_per_hour": 3600 * decisions_per_s}
    if clock_mhz is not None and net.cycles is not None and columns.cycles is not None:
        each = columns.cycles / frontend.patch_frames
        load = Load(clock_mhz, net.cycles, each, decisions_per_s, columns_per_s)
        content["clock_mhz"] = clock_mhz
        for key, ran in (("load", 1), ("load_frontend", 0)):
            content[key] = dataclasses.asdict(Figure(load.share(ran), "estimated"))
    return content


def _net_cost(read: _Model, run: EmulatedRun) -> Cost:
    rows = _layers(read.program)
    counted = tuple({**row, "instructions": round(count)} for row, count in zip(rows, run.layers, strict=True))
    return Cost(figures=_planned(read) | _emulated(run), layers=counted, functions=_functions(run))


def _planned(read: _Model) -> dict[str, Figure]:
    """Figures that need no compiler."""
    numbers = {
        "weights_bytes": read.program.weight_bytes,
        "activations_bytes": read.chosen.plan.size,
        "macc": read.program.macc,
    }
    return {key: Figure(value, "estimated") for key, value in numbers.items()}


def _emulated(run: EmulatedRun) -> dict[str, Figure]:
    """Figures of a run; worst stack, by the compiler; cycles, from a sample, to the thousand."""
    numbers = {
        "flash_bytes": run.flash_bytes,
        "ram_bytes": run.ram_bytes,
        "stack_bytes": run.stack_bytes,
        "instructions": round(run.instructions),
    }
    estimated = {
        "worst_stack_bytes": run.worst_stack_bytes,
        "cycles": None if run.cycles is None else round(run.cycles, -3),
    }
    figures = {key: Figure(value, "emulated") for key, value in numbers.items()}
    return figures | {key: Figure(value, "estimated") for key, value in estimated.items() if value is not None}


def _layers(program: Program) -> tuple[dict[str, Any], ...]:
    return tuple({"name": layer.name, "kind": layer.kind, "macc": layer.macc(program)} for layer in program.layers)


def _functions(run: EmulatedRun) -> tuple[dict[str, Any], ...]:
    return tuple({"name": name, "share": round(share, 4)} for name, share in run.functions)
