"""Settings of the emulator."""

from dataclasses import dataclass
from pathlib import Path

from aed.target.codegen.settings import PlanKind
from aed.target.protocol import Backend


@dataclass(frozen=True, kw_only=True)
class EmulatorSettings:
    """This project's C on an emulated board.

    Args:
        inputs: Number of random inputs on which C and ONNX Runtime have to give the same bits.
        plan: ``layers``: each layer for the whole patch, then the next. ``rows``: a row of each layer at a time, as far
            as that takes the least RAM. ``auto``: the same where it costs no more than a few percent of instructions.
        cmsis_dsp: Folder of CMSIS-DSP, whose Fourier transform then replaces the front end's own; null: the own one.
    """

    inputs: int = 4
    plan: PlanKind = "auto"
    cmsis_dsp: str | None = None

    def backend(self) -> Backend:
        """The emulator."""
        from aed.target.emulator.backend import Emulator

        return Emulator(self.inputs, Path(self.cmsis_dsp) if self.cmsis_dsp else None, self.plan)
