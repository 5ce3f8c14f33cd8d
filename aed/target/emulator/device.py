"""An emulated board as a function of samples."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.files import temporary_folder
from aed.dsp.frontend import FrontendConfig
from aed.target.boards import Board, emulated
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.lower import lower
from aed.target.codegen.settings import AUTO, PlanSettings
from aed.target.emulator.qemu import run_program
from aed.target.emulator.toolchain import build, harness_sources
from aed.target.host import GatedOutputs, device_sources


class EmulatedDevice:
    """Front end and net in C on an emulated board, as a function of samples.

    Args:
        folder: For sources and program.
        model: int8.
        frontend: Streamable.
        board: Emulated machine, or a board with the core of one.
        planning: How the net is run; a stream has the front end's hop.
        gate: Power of a column under which a patch is not given to the net; None: all are.

    Raises:
        AedError: Front end or net cannot be written in C, or a tool is missing.
    """

    workers = os.cpu_count() or 1

    def __init__(
        self,
        folder: Path,
        model: onnx.ModelProto,
        frontend: FrontendConfig,
        board: Board,
        planning: PlanSettings = AUTO,
        gate: int | None = None,
    ) -> None:
        chosen = choose_plan(partial(lower, model), planning, frontend.patch_hop)
        self.program = chosen.program
        sources = device_sources(chosen.program, chosen.plan, frontend, gate)
        self.folder, self.board = folder, emulated(board)
        self.elf = build(folder / "program", {**sources, **harness_sources("run_clip.c")}, self.board)

    def outputs(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Outputs of each patch of a clip ``(T,)`` at the front end's rate: ``(patches, num_outputs)``."""
        return self.decisions(samples).outputs

    def decisions(self, samples: npt.NDArray[np.int16]) -> GatedOutputs:
        """The same, and for which patches the net ran."""
        with temporary_folder() as folder:
            content = np.ascontiguousarray(samples, dtype="<i2").tobytes()
            raw = run_program(self.elf, folder, content, self.board, count=False)
        size = self.program.tensors[self.program.output].size
        records = np.frombuffer(raw, np.int8).reshape(-1, 1 + size)
        return GatedOutputs(self.program.real(records[:, 1:]), records[:, 0] != 0)
