"""Operators that move values and compute none: most add no node at all."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aed.export.tflite.assembly import Assembly
from aed.modules.weights.tflite_file import Operator


def _reshape(made: Assembly, operator: Operator) -> None:
    value, shape = made.input(operator), made.output(operator).shape
    _same_steps(made, operator)
    if int(np.prod(shape)) != int(np.prod(value.shape)) or not shape or shape[0] != 1:
        raise made.refusal(operator, f"from {value.shape} to {shape}; need one patch at a time")
    made.view(operator, value, shape)


def _transpose(made: Assembly, operator: Operator) -> None:
    value, moved = made.input(operator), made.numbers(operator, 1)
    _same_steps(made, operator)
    if sorted(moved) != list(range(len(value.shape))) or value.order is not None or moved[0] != 0:
        raise made.refusal(operator, f"axes {moved} of {value.shape}")
    back = np.argsort(moved)
    layout = tuple(int(back[axis]) for axis in value.layout)
    made.values[operator.outputs[0]] = replace(value, layout=layout, shape=tuple(value.shape[axis] for axis in moved))


def _same_steps(made: Assembly, operator: Operator) -> None:
    """Refuses an operator that only moves values but has other steps behind it than before it."""
    if made.is_int8:
        before, after = made.tensor(operator, 0).steps, made.output(operator).steps
        assert after is not None
        if before is None or (before.scale[0], before.zero[0]) != (after.scale[0], after.zero[0]):
            raise made.refusal(operator, "has other int8 steps behind it than before it")


MOVING: dict[str, Callable[[Assembly, Operator], None]] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
}
"""Operator -> its function."""
