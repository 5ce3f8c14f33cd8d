"""Weights in the order in which kernels read them, and proofs that no sum of a kernel overflows.

Inputs are any int8, so a proof holds for every input, padding too. Where it fails, the layer has weights in an order
whose kernel needs no proof.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from aed.target.codegen.program import Float32, Int8, Int32

Int16 = npt.NDArray[np.int16]
Number = TypeVar("Number", bound=np.generic)

QUAD = (0, 2, 1, 3)
"""Order of four values: SXTB16 unpacks a word to values 0 and 2, and to values 1 and 3."""

LARGEST_HIGH = 2**23
"""A sum of the second row of a pair, times 256, fits 32 bits below this."""

LARGEST_STEP = 32000
"""Steps fit 16 bits up to this, with any zero point added."""


def filled(array: npt.NDArray[Number], multiple: int) -> npt.NDArray[Number]:
    """The array with zeros at the end of its last axis, which becomes a multiple of ``multiple``."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % multiple)])


def kernel_rows(weight: Int8) -> tuple[Int8, int]:
    """Weights ``(out, kh, kw * in)`` as ``(out, K)``, ``K`` a multiple of 4; and the values of a row of the kernel.

    Rows of the kernel are filled with zeros to whole words where that makes no more in all: then inputs are unpacked
    word by word where they lie.
    """
    together = filled(weight.reshape(len(weight), -1), 4)
    whole = filled(weight, 4)
    if whole.size > together.size:
        return together, weight.shape[2]
    return whole.reshape(len(weight), -1), whole.shape[2]


def largest_sums(rows: Int8, bias: Int32) -> npt.NDArray[np.int64]:
    """The largest absolute value of ``bias + rows @ x``, ``(out,)``, over all int8 ``x``; rows ``(out, k)``."""
    weight = rows.astype(np.int64)
    most = bias + np.maximum(weight * 127, weight * -128).sum(axis=1)
    least = bias + np.minimum(weight * 127, weight * -128).sum(axis=1)
    largest: npt.NDArray[np.int64] = np.maximum(np.abs(most), np.abs(least))
    return largest


def row_pairs(rows: Int8, bias: Int32) -> Int16 | None:
    """Rows of weights in pairs, ``w_o + 256 w_(o+1)``; None where that cannot be proved to give the sums.

    The kernel computes ``S_o``, and ``T = S_o + 256 S_(o+1)`` modulo ``2**32``, and takes the other sum as
    ``(T - S_o) / 256``. Modulo ``2**32`` the difference is ``256 S_(o+1)`` whatever wrapped on the way, so it is right
    if and only if ``-2**23 <= S_(o+1) < 2**23``; then it has at most 24 bits, so that it is exact in float32 too.
    ``S_o`` has only to fit 32 bits, as everywhere. A pair has to fit 16 bits, which -128 above a negative weight does
    not.

    Args:
        rows: ``(out, k)``, ``k`` a multiple of 4.
        bias: ``(out,)``.

    Returns:
        ``(pairs, k)``, each four values in the order :data:`QUAD`; a last row alone has zeros above.
    """
    if (largest_sums(rows, bias)[1::2] >= LARGEST_HIGH).any():
        return None
    even = np.pad(rows, ((0, len(rows) % 2), (0, 0))).astype(np.int32)
    pairs = even[::2] + 256 * even[1::2]
    if pairs.min(initial=0) < np.iinfo(np.int16).min:
        return None
    fours = pairs.astype(np.int16).reshape(len(pairs), -1, len(QUAD))
    return fours[..., list(QUAD)].reshape(pairs.shape)


def bias_pairs(bias: Int32) -> Int32:
    """Biases as sums of rows in pairs begin: ``b_o`` and ``b_o + 256 b_(o+1)`` modulo ``2**32``; zeros fill them up."""
    pairs = np.pad(bias.astype(np.int64), (0, len(bias) % 2)).reshape(-1, 2)
    pairs[:, 1] = pairs[:, 0] + 256 * pairs[:, 1]
    return pairs.ravel().astype(np.uint32).view(np.int32)


TAPS = (0, 1, 3, 4, 2, 6, 5, 7)
"""Order of the first eight weights of a 3 x 3 kernel, whose rows are 0-2, 3-5, 6-8: SXTB16 unpacks the two words to the
columns of rows 0 and 1, and to the first two of row 2."""


def quads(taps: Int8) -> Int8:
    """Weights ``(taps, out)`` of a depthwise convolution as ``(out / 4, rounded up; taps; 4)``."""
    return np.ascontiguousarray(filled(taps, 4).reshape(len(taps), -1, 4).transpose(1, 0, 2))


def fits_16_bits(taps: Int8, bias: Int32, factor: Float32) -> bool:
    """Whether the rounded steps of a depthwise convolution lie within :data:`LARGEST_STEP`.

    Kernels that slide over columns add zero points to steps of 16 bits.

    Args:
        taps: ``(k, out)``.
        bias: ``(out,)``.
        factor: ``(out,)``.
    """
    return bool((largest_sums(taps.T, bias) * np.abs(factor.astype(np.float64)) <= LARGEST_STEP).all())


def sliding(taps: Int8) -> Int8:
    """Weights of a depthwise convolution of 3 x 3 for a kernel that slides over columns.

    Args:
        taps: ``(9, out)``, ``out`` a multiple of 4.

    Returns:
        ``(out / 4, 36)``: eight of each channel in the order :data:`TAPS`, channels in the order :data:`QUAD`, then the
        ninth of each channel.
    """
    channels = taps.T.reshape(-1, len(QUAD), len(taps))[:, list(QUAD)]
    return np.concatenate([channels[..., list(TAPS)].reshape(len(channels), -1), channels[..., -1]], axis=1)
