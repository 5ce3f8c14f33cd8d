"""Posteriors of int8 models: their logits are steps of one scale, so that tables give every device the same bits.

An ``exp`` in float32 differs from one C library to the next. Here its values are computed once in float64 and rounded
to float32, and sums have their order; the C library is generated with the same tables.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from aed.scoring.decision import Task

Floats = npt.NDArray[np.float32]

STEPS = 256
"""Values of an int8."""

SMALLEST = 2.0**-100
"""Smaller values are 0: no quotient gets so small that a device which knows no denormals sees 0 for it."""


def exponentials(scale: float, temperature: float) -> Floats:
    """``exp(-d * scale / temperature)`` of ``d`` = 0, ..., 255, the steps that a logit is under the greatest one."""
    return _table(lambda steps: math.exp(-steps), scale / temperature, 0)


def sigmoids(scale: float, zero: int, temperature: float) -> Floats:
    """The posterior of each int8, from -128 on, for logits of ``zero`` as zero point."""
    return _table(lambda steps: 1 / (1 + math.exp(-steps)), scale / temperature, -128 - zero)


def step_posteriors(logits: Floats, task: Task, scale: float, zero: int, temperature: float) -> Floats:
    """Posteriors of int8 logits, as the C library computes them: the same shape, the same bits.

    Args:
        logits: ``(rows, num_classes)``, ``scale * (step - zero)``.
        task: ``single_label``: softmax; ``multi_label``: a sigmoid of each.
        scale: Real value of one step, a float32.
        zero: Step that stands for 0.
        temperature: The logits are divided by it.
    """
    steps = np.rint(logits.astype(np.float64) / scale).astype(np.int64) + zero
    if task == "multi_label":
        return sigmoids(scale, zero, temperature)[steps + STEPS // 2]
    parts = exponentials(scale, temperature)[steps.max(axis=1, keepdims=True) - steps]
    totals = np.add.accumulate(parts, axis=1, dtype=np.float32)[:, -1:]  # one class after the other
    posteriors: Floats = parts / totals
    return posteriors


def _table(value: Callable[[float], float], scale: float, first: int) -> Floats:
    values = np.array([value(_within(number * scale)) for number in range(first, first + STEPS)])
    return np.where(values < SMALLEST, 0, values).astype(np.float32)


def _within(exponent: float) -> float:
    """As near as ``exp`` of it fits a float64."""
    return max(-700.0, min(700.0, exponent))
