"""How many alarms to expect of a threshold in other streams, from those of the streams it is chosen on.

Thresholds are chosen where few alarms are, and often just over the highest of them. Of n alarms in one stream the
highest is exceeded once in another as long, by symmetry, so what was counted is too little by one a class. Instead the
log-odds of the highest alarms are taken for an exponential tail (Pickands, 1975, with shape 0) of unknown scale: with
m alarms whose log-odds exceed a level by S in all, m (1 + x / S) ** -m more are to be expected beyond x over that level
(the predictive distribution, Lomax's; its mean is right also for an x that was chosen by looking at the alarms).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

HIGHEST = 10
"""Alarms that the tail is fitted to."""


def expected_alarms(thresholds: Sequence[float], counts: Sequence[int]) -> npt.NDArray[np.float64]:
    """Alarms to expect at each threshold ``(thresholds,)`` in another stream as long.

    Those that were counted where there are :data:`HIGHEST` and more; over that threshold those of the tail, but no
    fewer than were counted; where fewer were ever counted the tail begins at the lowest threshold.

    Args:
        thresholds: Falling, in (0, 1).
        counts: Alarms at each.
    """
    odds, found = np.array(thresholds, np.float64), np.maximum.accumulate(np.array(counts, np.int64))
    levels = np.log(odds / (1 - odds))
    expected = found.astype(np.float64)
    many = np.flatnonzero(found >= HIGHEST)
    start = int(many[0]) if len(many) else len(found) - 1
    if start < 1 or found[start] == 0:
        return expected
    new = np.diff(found[: start + 1])  # alarms between a threshold and the one before it
    middle = (levels[:start] + levels[1 : start + 1]) / 2
    total = found[0] + new.sum()
    excess = found[0] * (levels[0] - levels[start]) + (new * (middle - levels[start])).sum()
    free = total - bool(len(many))  # the tail begins at the lowest of its alarms, which so has no excess
    tail = total * (1 + (levels[: start + 1] - levels[start]) / excess) ** -float(free)
    expected[: start + 1] = np.maximum(tail, expected[: start + 1])
    return expected
