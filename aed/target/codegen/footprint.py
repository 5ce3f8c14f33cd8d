"""Costs of a float graph as C, with the arena that its int8 model will have."""

from dataclasses import replace
from functools import partial

import onnx

from aed.base.errors import AedError
from aed.export.footprint import Budget, Footprint, footprint
from aed.target.boards import load_board
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.lower import sketch
from aed.target.codegen.settings import AUTO, PlanSettings


def planned_footprint(model: onnx.ModelProto, settings: PlanSettings = AUTO, patch_hop: int = 0) -> Footprint:
    """The cost of ``model`` with ``activations_bytes`` and ``peak_layer`` of the plan for its int8 version.

    The plan has no bytes for input and output, which are the caller's. A graph that the C code cannot run has the
    estimate instead.

    Args:
        model: Float, as :func:`aed.export.onnx.to_onnx` returns it.
        settings: How the C will run it.
        patch_hop: Of the front end.

    Raises:
        AedError: A shape is unknown.
    """
    cost = footprint(model)
    try:
        plan = choose_plan(partial(sketch, model), settings, patch_hop).plan
    except AedError:
        return cost
    return replace(cost, activations_bytes=plan.size, peak_layer=plan.peak_layer, planned=True)


def on_board(budget: Budget) -> Budget:
    """``budget`` with the memories of its board as limits, where it has none of its own.

    A board without flash on the chip has it beside the chip: no limit.

    Raises:
        AedError: There is no such board.
    """
    if budget.board is None:
        return budget
    board = load_board(budget.board, "budget.board")
    flash = board.flash_kib or None if budget.flash_kib is None else budget.flash_kib
    ram = board.ram_kib if budget.ram_kib is None else budget.ram_kib
    return replace(budget, flash_kib=flash, ram_kib=ram)
