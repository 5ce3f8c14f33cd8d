"""Multipliers of whole numbers in place of floats, each proved to give the same steps as ONNX Runtime's arithmetic.

Where no multiplier does, the kernel computes in float as ONNX Runtime does. So every output keeps its bits.
"""

from functools import lru_cache
from itertools import product

import numpy as np
import numpy.typing as npt

from aed.export.curves import LIMIT
from aed.target.codegen.program import Float32

Whole = npt.NDArray[np.int64]


INT32_MAX = 2**31 - 1

SUM_BITS, PRODUCT_BITS, STEP_BITS = 22, 20, 2
"""Bits after the point of a sum, of a product, of a step of a convolution, as kernels have them."""

HALF_BITS, GATE_BITS, SWISH_BITS = 19, 23, 10
"""The same of a convolution with a HardSwish: of half a step, the gate, the step."""

_NEAR = 6e-4
_CANDIDATES = np.array(sorted(range(-64, 65), key=abs))
_LEVELS = np.arange(-128, 128)
_NEARBY = tuple(sorted(range(-256, 257, 32), key=abs))
_SHIFTS = tuple(sorted(range(-8, 9, 2), key=abs))


def _as_steps(values: Float32) -> Whole:
    """Real steps as int8 ones, ties to even."""
    steps: Whole = np.clip(np.rint(values), -128, 127).astype(np.int64)
    return steps


@lru_cache(maxsize=1024)
def whole_sum(one: float, other: float, one_zero: int, other_zero: int, zero: int) -> tuple[int, int, int] | None:
    """Factors and constant of ``aed_add_whole``, compared with floats over all pairs of int8; None: there are none.

    Args:
        one: Factor of the first input, a float32.
        other: Of the second.
        one_zero: Zero point of the first.
        other_zero: Of the second.
        zero: Of the output.
    """
    zeros = np.float32(one * one_zero + float(np.float32(np.float32(other) * np.float32(other_zero))))
    fixed = np.float32(zero) - zeros
    sizes = abs(one), abs(other), abs(float(fixed)) / 256
    if not all(size == 0 or 2.0**-18 <= size < 2 for size in sizes):
        return None  # products and sums in float64 might not be exact
    inner = (_LEVELS * float(other) + float(fixed)).astype(np.float32).astype(np.float64)
    wanted = _as_steps((_LEVELS[:, None] * float(one) + inner[None]).astype(np.float32))
    scale = 2.0 ** (SUM_BITS + 8)
    constant = round(float(fixed) * 2.0**SUM_BITS) + (1 << (SUM_BITS - 1))
    for shift, d, e in product(_SHIFTS, _NEARBY[:5], _NEARBY[:5]):
        first, second = round(one * scale) + d, round(other * scale) + e
        if max(abs(first), abs(second)) > INT32_MAX:
            return None
        parts = ((second * (_LEVELS << 8)) >> 16) + constant + shift
        sums = ((first * (_LEVELS << 8)) >> 16)[:, None] + parts[None]
        if max(np.abs(sums).max(), np.abs(parts).max()) > INT32_MAX:
            return None
        if np.array_equal(np.clip(sums >> SUM_BITS, -128, 127), wanted):
            return first, second, constant + shift
    return None


@lru_cache(maxsize=1024)
def whole_product(factor: float, one_zero: int, other_zero: int, zero: int) -> tuple[int, int] | None:
    """Factor and constant of ``aed_multiply_whole``, compared with floats over all pairs; None: there are none.

    Args:
        factor: Steps of the output in one unit of the product, a float32.
        one_zero: Zero point of the first input.
        other_zero: Of the second.
        zero: Of the output.
    """
    one, other = _LEVELS - one_zero, _LEVELS - other_zero
    products = (one[:, None] * other[None]).astype(np.float32)
    wanted = _as_steps(products * np.float32(factor) + np.float32(zero))
    constant = (zero << PRODUCT_BITS) + (1 << (PRODUCT_BITS - 1))
    for shift, d in product(_SHIFTS, _NEARBY):
        whole = round(factor * 2.0 ** (PRODUCT_BITS + 17)) + d
        parts = (other * whole) >> 8
        sums = ((parts[None] * (one << 7)[:, None]) >> 16) + constant + shift
        if max(whole, np.abs(parts).max(), np.abs(sums).max()) > INT32_MAX:
            return None
        if np.array_equal(np.clip(sums >> PRODUCT_BITS, -128, 127), wanted):
            return whole, constant + shift
    return None


def whole_factors(factor: Float32, zero: int, largest: Whole, group: int) -> npt.NDArray[np.int32]:
    """What cores with SMLAD make steps of sums by: of each channel the bits of its float, or a number below 0.

    The latter is ``-m`` where ``(sum * m / 2**32 + (zero + 1/2) * 2**STEP_BITS) / 2**STEP_BITS``, rounded down, is the
    step of every sum that the layer can have. Such an ``m`` exists for about 19 of 20 channels: each sum at which the
    step of floats changes bounds it.

    Args:
        factor: ``(channels,)``, steps of the output in one unit of the sum.
        zero: Zero point of the output.
        largest: ``(channels,)``, the largest absolute value of a sum.
        group: Channels of which either all or none get a whole number; zeros fill up the last.
    """
    found = [_multiplier(*each, zero) for each in zip(factor, largest.tolist(), strict=True)]
    return _grouped(factor, np.array(found, np.int64), group)


def whole_swish_factors(
    factor: Float32, slope: np.float32, zero: int, largest: Whole, group: int
) -> npt.NDArray[np.int32]:
    """The same for sums with a HardSwish, by the arithmetic of ``c/aed_conv.c``; see :mod:`aed.export.curves`.

    Args:
        factor: ``(channels,)``, halves of steps in one unit of the sum.
        slope: Of the HardSwish.
        zero: Zero point of the output.
        largest: ``(channels,)``, the largest absolute value of a sum.
        group: Channels of which either all or none get a whole number.
    """
    found = [_swish_multiplier(*each, slope, zero) for each in zip(factor, largest.tolist(), strict=True)]
    return _grouped(factor, np.array(found, np.int64), group)


def _swish_multiplier(factor: np.float32, largest: int, slope: np.float32, zero: int) -> int:
    """``m`` for a channel with a HardSwish; 0: there is none.

    Both arithmetics are within ``_NEAR / 2`` of the real value where that is not beyond the largest step: multipliers
    that are tried differ by 2**-21 of it at most. So only sums nearer than ``_NEAR`` to a tie can have another step,
    and all of them are compared.
    """
    middle = round(float(factor) * 2.0**HALF_BITS * 2**20)
    if not (2**22 <= middle < 2**31 - 2**9 and largest < 2**19 and 2.0**-12 < slope < 2.0**-5):
        return 0
    least, most = -1.01 / float(slope * factor), max(1.01 / float(slope), (130 - zero) / 2) / float(factor)
    sums = np.arange(max(-largest, int(least)), min(largest, int(most)) + 1)
    half = sums.astype(np.float32) * factor
    value = half * np.clip(half * slope + np.float32(1), np.float32(0), LIMIT)
    near = np.abs(np.abs(value - np.rint(value)) - 0.5) < _NEAR
    sums, wanted = sums[near], np.clip(np.rint(value[near]) + zero, -128, 127)
    whole = middle + _CANDIDATES[abs(_CANDIDATES) <= middle >> 21, None] * max(middle >> 27, 1)
    halves = ((sums << 12) * -whole + 2**31) >> 32
    gates = (2 ** (GATE_BITS + 32) - halves * int(float(slope) * 2.0**36) + 2**31) >> 32
    zeros = (zero * 2**SWISH_BITS + 2 ** (SWISH_BITS - 1)) * 2**32
    values = (zeros - halves * np.clip(gates, 0, 2 ** (GATE_BITS + 1) - 1)) >> (32 + SWISH_BITS)
    good = (np.clip(values, -128, 127) == wanted).all(axis=1)
    return int(whole[good.argmax(), 0]) if good.any() else 0


def _grouped(factor: Float32, found: Whole, group: int) -> npt.NDArray[np.int32]:
    """``-found`` where a whole group has a multiplier, else the bits of floats; zeros fill up the last group."""
    more = -len(factor) % group
    floats = np.pad(factor.astype(np.float32), (0, more)).view(np.int32)
    multipliers = np.pad(found, (0, more), constant_values=1)  # no channel
    whole = (multipliers > 0).reshape(-1, group).all(axis=1).repeat(group)
    return np.where(whole, -multipliers, floats).astype(np.int32)


def _multiplier(factor: np.float32, largest: int, zero: int) -> int:
    """``m`` of :func:`whole_factors` for a channel; 0: there is none."""
    if factor <= 0 or largest >= 2**24 or largest * float(factor) >= 2.0**18:
        return 0
    levels = _LEVELS[1:]
    near = np.ceil((levels - zero - 0.5) / float(factor))[:, None] + np.arange(-2, 3)
    reached = np.rint(near.astype(np.float32) * factor) + zero >= levels[:, None]
    if reached[:, 0].any() or not reached[:, -1].all():
        return 0
    first = near[np.arange(len(levels)), reached.argmax(axis=1)]  # the least sum of each level or of a higher one
    at = np.clip(first, -largest, largest + 1).astype(np.int64)
    bound = ((levels - zero) * 2**STEP_BITS - 2 ** (STEP_BITS - 1)).astype(np.int64) << 32
    above = at <= largest  # at * m >= bound
    below = at > -largest  # (at - 1) * m < bound
    least, most = _range(at[above], bound[above])
    highest, lowest = _range(1 - at[below], 1 - bound[below])
    low, high = max(least, highest), min(most, lowest)
    return (low + high) // 2 if 0 < low <= high else 0


def _range(at: Whole, bound: Whole) -> tuple[int, int]:
    """The least and the largest ``m`` below 2**31 with ``at * m >= bound``."""
    if (bound[at == 0] > 0).any():
        return 1, 0
    positive, negative = at > 0, at < 0
    least = -(-bound[positive] // at[positive])
    most = bound[negative] // at[negative]
    return int(least.max(initial=0)), int(most.min(initial=INT32_MAX))
