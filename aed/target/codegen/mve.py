"""Weights in the order that the kernels for MVE read them in: streams with biases and factors where they are used."""

from typing import Any

import numpy as np
import numpy.typing as npt

from aed.target.codegen.packing import filled
from aed.target.codegen.program import Float32, Int8, Int32

LANES = 16
"""int8 values of a vector."""

GROUP = 8
"""Outputs that a convolution computes side by side."""


def conv_stream(weight: Int8, bias: Int32, factor: Float32) -> Int8:
    """The stream of ``aed_conv_mve.c``.

    Args:
        weight: ``(out, k)``, rows are filled up with zeros to a multiple of 16.
        bias: ``(out,)``.
        factor: ``(out,)``.
    """
    rows = filled(weight, LANES)
    grouped = len(rows) // GROUP * GROUP
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    parts: list[npt.NDArray[Any]] = []
    for first in range(0, grouped, GROUP):
        places = [first + place for place in order]
        quads = rows[places].reshape(2, 4, -1, LANES).transpose(0, 2, 1, 3)
        parts += [quads, bias[places], factor[places]]
    return _bytes(*parts, rows[grouped:], bias[grouped:], factor[grouped:])


def fits_blocks(taps: Int8, channels: int) -> bool:
    """Whether a depthwise layer may be computed in blocks of 16 channels.

    It has as many outputs as inputs, a multiple of 4, and 16 bits hold the sum of two products, of the first two taps,
    the next two and so on, whatever the inputs are.

    Args:
        taps: ``(taps, out)``.
        channels: Of the input.
    """
    size = np.abs(np.pad(taps, ((0, len(taps) % 2), (0, 0))).astype(np.int64))
    largest = 128 * (size[::2] + size[1::2]).max()
    return bool(taps.shape[1] == channels and channels % 4 == 0 and largest <= np.iinfo(np.int16).max)


def depthwise_blocks(taps: Int8, bias: Int32, factor: Float32) -> Int8:
    """The stream of ``aed_depthwise_mve.c`` in blocks of 16 channels.

    Args:
        taps: ``(taps, out)``.
        bias: ``(out,)``.
        factor: ``(out,)``.
    """
    order = np.arange(LANES).reshape(4, 4).T[[0, 2, 1, 3]].ravel()  # as two widenings leave the lanes
    taps, bias, factor = filled(taps, LANES), filled(bias, LANES), filled(factor, LANES)
    parts: list[npt.NDArray[Any]] = []
    for first in range(0, len(bias), LANES):
        parts += [bias[first + order], taps[:, first : first + LANES], factor[first + order]]
    return _bytes(*parts)


def depthwise_quads(taps: Int8, bias: Int32, factor: Float32) -> Int8:
    """The stream of ``aed_depthwise_mve.c`` in quads of channels; arguments as of :func:`depthwise_blocks`."""
    taps, bias, factor = filled(taps, 4), filled(bias, 4), filled(factor, 4)
    parts: list[npt.NDArray[Any]] = []
    for first in range(0, len(bias), 4):
        parts += [bias[first : first + 4], factor[first : first + 4], taps[:, first : first + 4]]
    return _bytes(*parts)


def _bytes(*parts: npt.NDArray[Any]) -> Int8:
    """All parts one after the other, as a core of the Cortex-M series reads them."""
    raw = b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)
    return np.frombuffer(raw, np.int8)
