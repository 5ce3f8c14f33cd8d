"""Levels of sound in whole numbers: whether a patch is loud enough for the net.

The level of a column of features is that of the samples which are new with it: the last ``hop_length`` of its frame
(all of a frame that is shorter than the hop). Their power is ``n * sum(x^2) - sum(x)^2`` of the 16-bit samples ``x``,
``n`` times the sum of squares about their mean: a constant offset, as cheap microphones have, counts as nothing, and
one that drifts as next to nothing. A patch is as loud as its loudest column, so that a click opens the gate and a
device has to remember no more than how long ago a column reached it. ``c/aed_gate.c`` computes the same integers.
"""

import math
from decimal import Decimal, localcontext

import numpy as np
import numpy.typing as npt

from aed.dsp.frontend import FrontendConfig

Powers = npt.NDArray[np.int64]

FULL_SCALE = 1 << 15
"""Of a 16-bit sample; an RMS of so much is 0 dB: a sine that just fits has -3.01 dB."""


def new_samples(config: FrontendConfig) -> int:
    """Samples that are new with a column, ``n``."""
    return min(config.hop_length, config.n_fft)


def gate_power(gate_dbfs: float, config: FrontendConfig) -> int:
    """The least power of a column that reaches a gate; fits 64 bits, and is over 0 so that silence reaches none.

    Args:
        gate_dbfs: RMS, dB under full scale.
        config: The front end.
    """
    with localcontext(prec=50):  # the same integer on every machine, which a power in float is not
        share = Decimal(10) ** (Decimal(repr(float(gate_dbfs))) / 10)
        return max(1, math.ceil((new_samples(config) * FULL_SCALE) ** 2 * share))


def power_dbfs(power: int, config: FrontendConfig) -> float:
    """RMS of a column of this power, dB under full scale; -inf: constant samples."""
    return 10 * math.log10(power / (new_samples(config) * FULL_SCALE) ** 2) if power else -math.inf


def column_powers(samples: npt.NDArray[np.int16], config: FrontendConfig) -> Powers:
    """Power of each column of a piece of a stream, ``(n_frames,)``.

    Args:
        samples: ``(T,)``, from the first of a frame on.
        config: A front end that does not pad.
    """
    count, number = config.num_frames(len(samples)), new_samples(config)
    if count == 0:
        return np.zeros(0, np.int64)
    blocks = np.lib.stride_tricks.sliding_window_view(samples[config.frame_samples - number :], number)
    wide = blocks[:: config.hop_length][:count].astype(np.int64)
    powers: Powers = number * np.einsum("ij,ij->i", wide, wide) - wide.sum(axis=1) ** 2
    return powers


def patch_powers(columns: Powers, starts: npt.NDArray[np.int64], config: FrontendConfig) -> Powers:
    """Power of patches, ``(len(starts),)``: of the loudest column of each.

    Args:
        columns: ``(n_frames,)`` powers.
        starts: First column of each patch.
        config: Of the patches.
    """
    windows = np.lib.stride_tricks.sliding_window_view(columns, config.patch_frames)
    powers: Powers = windows[starts].max(axis=1)
    return powers
