"""Whether one way of deciding about clips is better than another on the same clips: exact tests and intervals.

Decisions are a matrix ``(clips, seeds)``: 1 where the training with that seed decided the clip rightly. What is
compared was trained apart, so that clips are paired and seeds are not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.scoring.intervals import Z95, clips_interval, paired_interval

Right = npt.NDArray[np.bool_]
"""``(clips, seeds)``: whether each decision was right."""

DRAWS = 10_000
"""Resamples: each end of a 95 % interval has some 250 of them beyond it."""

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """How much better one is than another on the same clips.

    Args:
        value: Difference of the shares of right decisions, -1 to 1.
        low: Lower end of its 95 % interval.
        high: Upper end.
        better: Clips that it decides rightly more often than the other; with one seed: that it alone decides rightly.
        worse: The reverse.
        clips: All clips.
        p: Exact probability of a split of ``better`` and ``worse`` at least as uneven where both are equally good.
    """

    value: float
    low: float
    high: float
    better: int
    worse: int
    clips: int
    p: float


def exact_p(better: int, worse: int) -> float:
    """Two-sided p of McNemar's exact test (Q. McNemar, Psychometrika 12:153, 1947): a binomial one of unlike clips.

    Args:
        better: Clips that only the one decides rightly.
        worse: Clips that only the other does.
    """
    from scipy.stats import binomtest  # takes a second to import

    number = better + worse
    return float(binomtest(better, number).pvalue) if number else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """p of tests that are looked at together, adjusted (S. Holm, Scand. J. Stat. 6:65, 1979), in the same order."""
    adjusted, least = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - rank) * values[index]))
        adjusted[index] = least
    return adjusted


def interval(right: Right, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """Ends of the 95 % interval of the share of right decisions.

    Of one seed Wilson's. Of several the bootstrap's over clips and seeds (percentiles); where all decisions are alike,
    which resampling cannot see beyond, Wilson's of the clips.

    Args:
        right: Not empty.
        draws: Resamples.
        seed: Of the resamples.
    """
    if right.shape[1] == 1 or right.all() or not right.any():
        return clips_interval(int(right[:, 0].sum()), len(right))
    return _ends(_resampled([right], draws, seed)[0])


def difference(one: Right, other: Right, draws: int = DRAWS, seed: int = 0) -> Difference:
    """How much better ``one`` is than ``other``.

    With one seed each the interval is Tango's; with several the bootstrap's, the same clips for both and seeds of each
    by themselves, unless no clip differs, which resampling cannot see beyond. With several seeds p is that of the sign
    test over clips, which with one seed is McNemar's.

    Args:
        one: ``(clips, seeds)``, not empty.
        other: Of the same clips in the same order; any number of seeds.
        draws: Resamples.
        seed: Of the resamples.
    """
    ahead = one.sum(axis=1) * other.shape[1] - other.sum(axis=1) * one.shape[1]  # whole numbers: no rounding
    better, worse = int((ahead > 0).sum()), int((ahead < 0).sum())
    value = float(ahead.sum()) / (len(one) * one.shape[1] * other.shape[1])
    if one.shape[1] == other.shape[1] == 1 or not better + worse:
        low, high = paired_interval(better, worse, len(one), Z95)
    elif one.tobytes() > other.tobytes():  # the same resamples whichever comes first
        high, low = (-end for end in _bootstrapped(other, one, draws, seed))
    else:
        low, high = _bootstrapped(one, other, draws, seed)
    return Difference(value, low, high, better, worse, len(one), exact_p(better, worse))


def _bootstrapped(one: Right, other: Right, draws: int, seed: int) -> tuple[float, float]:
    first, second = _resampled([one, other], draws, seed)
    return _ends(first - second)


def _ends(values: Shares) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _resampled(sides: Sequence[Right], draws: int, seed: int) -> list[Shares]:
    """Shares of right decisions ``(draws,)`` of each side: all with the clips drawn, each with seeds of its own.

    Clips with the same decisions are one kind; how many of each kind are drawn is all that a share depends on.
    """
    random = np.random.default_rng(seed)
    kinds, counts = np.unique(np.hstack(sides), axis=0, return_counts=True)
    number = len(sides[0])
    times = random.multinomial(number, counts / number, draws).astype(np.float64)
    shares, first = [], 0
    for side in sides:
        seeds = side.shape[1]
        own = random.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
        hits = times @ kinds[:, first : first + seeds]
        shares.append((hits * own).sum(axis=1) / (number * seeds))
        first += seeds
    return shares
