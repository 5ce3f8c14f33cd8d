"""Settings of the emulator."""

from dataclasses import dataclass
from pathlib import Path

from aed.target.codegen.settings import PlanKind, PlanSettings
from aed.target.protocol import Backend


@dataclass(frozen=True, kw_only=True)
class EmulatorSettings:
    """This project's C on an emulated board.

    Args:
        inputs: Number of random inputs on which C and ONNX Runtime have to give the same bits.
        plan: ``layers``: each layer for the whole patch, then the next. ``rows``: a row of each layer at a time, as far
            as that takes the least RAM. ``auto``: one of them, the least RAM at no more than a few percent more
            instructions. ``stream``: each column of features once, for nets without padding along time.
        hop: Columns between two decisions of a stream, a multiple of the net's stride along time; null: the front end's
            ``patch_hop``.
        cmsis_dsp: Folder of CMSIS-DSP, whose Fourier transform then replaces the front end's own; null: the own one.
    """

    inputs: int = 4
    plan: PlanKind = "auto"
    hop: int | None = None
    cmsis_dsp: str | None = None

    def backend(self) -> Backend:
        """The emulator."""
        from aed.target.emulator.backend import Emulator

        plan = PlanSettings(plan=self.plan, hop=self.hop)
        return Emulator(self.inputs, Path(self.cmsis_dsp) if self.cmsis_dsp else None, plan)
