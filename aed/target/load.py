"""How busy a core is that listens all day: cycles of net and front end beside its clock."""

from dataclasses import dataclass
from functools import partial

import onnx

from aed.dsp.frontend import FrontendConfig
from aed.target.boards import Board
from aed.target.codegen import costs
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.frontend import column_instructions
from aed.target.codegen.lower import lower


@dataclass(frozen=True)
class Load:
    """Cycles of a core that listens; a share is ``estimated``: no wait states, nothing but the library.

    Args:
        clock_mhz: Of the core.
        net: Cycles of a decision.
        frontend: Cycles of a column of features.
        decisions_per_s: Of the stream.
        columns_per_s: Likewise.
    """

    clock_mhz: float
    net: float
    frontend: float
    decisions_per_s: float
    columns_per_s: float

    def share(self, ran: float) -> float:
        """Of the core's cycles; over 1: it cannot keep pace.

        Args:
            ran: Share of the decisions for which the net runs.
        """
        cycles = ran * self.decisions_per_s * self.net + self.columns_per_s * self.frontend
        return cycles / (1e6 * self.clock_mhz)


def no_estimate(board: Board) -> str:
    """Why there is no estimate for a board; "": there is."""
    if board.clock_mhz is None:
        return "an emulated board has no clock, so no load; name a real one with that core"
    if board.core not in costs.CORES:
        return (
            f"no estimate for a {board.core} without running it, only for {' and '.join(costs.CORES)}; try "
            f"aed benchmark board={board.name}"
        )
    return ""


def estimated_load(model: onnx.ModelProto, frontend: FrontendConfig, board: Board) -> Load:
    """The load of the C library, by arithmetic.

    Args:
        model: int8.
        frontend: Of its card.
        board: That has an estimate.

    Raises:
        AedError: The model has no C form.
    """
    assert board.clock_mhz is not None, "no_estimate"
    chosen = choose_plan(partial(lower, model), patch_hop=frontend.patch_hop)
    columns_per_s = frontend.sample_rate / frontend.hop_length
    return Load(
        clock_mhz=board.clock_mhz,
        net=costs.CYCLES * chosen.facts["instructions_estimated"],
        frontend=costs.CYCLES * column_instructions(frontend),
        decisions_per_s=columns_per_s / frontend.patch_hop,
        columns_per_s=columns_per_s,
    )
