"""Where something sounds in a clip: its loud runs, each of which can be an event of a stream."""

import numpy as np

from aed.dsp.waveform import Wave

BLOCK_S = 0.1
"""Loudness is measured over this time, s; the shortest run."""

RANGE_DB = 30.0
"""A block is loud if it is less than this under the clip's loudest, dB."""

GAP_S = 0.5
"""Runs with a pause shorter than this between them are one, s."""


def loud_runs(wave: Wave, rate: int) -> list[tuple[int, int]]:
    """First sample of each loud run and the sample after its last, ascending; [] for silence.

    Args:
        wave: ``(T,)``.
        rate: Samples a second, Hz.
    """
    block = max(1, round(BLOCK_S * rate))
    starts = np.arange(0, len(wave), block)
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts) / np.diff(np.append(starts, len(wave)))
    if not power.size or not power.max():
        return []
    runs: list[tuple[int, int]] = []
    for start in starts[power > power.max() * 10 ** (-RANGE_DB / 10)].tolist():
        stop = min(start + block, len(wave))
        if runs and start - runs[-1][1] < GAP_S * rate:
            runs[-1] = runs[-1][0], stop
        else:
            runs.append((start, stop))
    return runs
