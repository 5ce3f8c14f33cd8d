"""How much better one model is than another, judged on the same clips: a measured difference and its interval.

A point says too little: of 80 clips one that flips is 1.25 points. The comparison is paired, clip by clip: two forms
of one net agree on nearly all of them, and an interval of each score alone would be far wider than need be.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aed.dsp.aggregate import decide
from aed.scoring.confidence import ranking
from aed.scoring.decision import task_of
from aed.scoring.intervals import paired_interval

RESAMPLES = 400
"""Of the clips, for mean average precision."""


@dataclass(frozen=True)
class JudgedModel:
    """Posteriors of a model on the judging clips, and its score.

    Args:
        score: Accuracy or mean average precision, a fraction.
        posteriors: ``(num_clips, num_classes)``.
        target: ``(num_clips,)`` int64, or ``(num_clips, num_classes)`` of 0 and 1.
    """

    score: float
    posteriors: Tensor
    target: Tensor

    @cached_property
    def resampled(self) -> Tensor:
        """Mean average precision over clips drawn with replacement, ``(RESAMPLES,)``: the same clips for all models."""
        number, draw = len(self.target), np.random.default_rng(0)
        drawn = draw.multinomial(number, np.full(number, 1 / number), RESAMPLES)
        return weighted_map(self, torch.from_numpy(drawn.astype(np.float32)))  # counts: their sums are exact


@dataclass(frozen=True)
class Difference:
    """Points by which one model is better than another.

    Args:
        points: Measured; NaN where a score is none: no clip has a class.
        low: Lower end of the 90 % interval.
        high: Its upper end.
    """

    points: float
    low: float
    high: float

    def facts(self) -> dict[str, float]:
        """Fields as JSON-compatible values."""
        return {key: round(value, 4) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.points:.2f} points (90 % interval {self.low:.2f} to {self.high:.2f})"


def difference(one: JudgedModel, other: JudgedModel) -> Difference:
    """By how many points ``other`` is better than ``one`` on the same clips.

    Accuracy: Tango's score interval of the clips that one of the two alone gets right; it covers 90 % for
    few clips, and where none differs. Its lower end is over 0 from three clips that all go one way. Mean average
    precision, which is no mean over clips: percentiles of the difference over resampled clips, the same each time.

    Args:
        one: Of a model.
        other: Of another, on the same clips.
    """
    points = round(100 * (other.score - one.score), 4)  # scores are float32
    if task_of(one.target) == "multi_label":
        low, high = _resampled(one, other)
    else:
        before, after = (decide(verdict.posteriors) == verdict.target for verdict in (one, other))
        low, high = paired_interval(int((after & ~before).sum()), int((before & ~after).sum()), len(before))
    return Difference(points, 100 * low, 100 * high)


def _resampled(one: JudgedModel, other: JudgedModel) -> tuple[float, float]:
    change = other.resampled - one.resampled
    known = change[~change.isnan()]
    if not len(known):
        return -1.0, 1.0
    low, high = torch.quantile(known, torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    return low, high


def weighted_map(verdict: JudgedModel, weights: Tensor) -> Tensor:
    """Mean average precision with clips counted as ``weights`` say, ``(resamples,)`` float64; NaN without any positive.

    A class without a positive has no part in it. Each class is ranked once, and weights are summed between those
    ranks only at which precision enters: the last of each run of equal scores that holds a positive.

    Args:
        verdict: Multi-label.
        weights: ``(resamples, num_clips)``, not negative; summed in its dtype.
    """
    by_clip = np.ascontiguousarray(weights.numpy().T)
    precisions = [torch.full((len(weights),), torch.nan, dtype=torch.float64)]
    for scores, truth in zip(verdict.posteriors.T, (verdict.target > 0.5).T, strict=True):
        if truth.any():
            precisions.append(torch.from_numpy(_weighted_precision(scores, truth, by_clip)))
    return torch.stack(precisions).nanmean(dim=0)


def _weighted_precision(scores: Tensor, truth: Tensor, weights: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Average precision of one class, ``(resamples,)``; ``weights`` is ``(num_clips, resamples)``."""
    _, ranked, ends = ranking(scores)
    order, positives = ranked.numpy(), np.flatnonzero(truth[ranked].numpy())
    last = np.flatnonzero(ends.numpy())
    steps, firsts = np.unique(last[np.searchsorted(last, positives)], return_index=True)
    hits = weights[order[positives]]
    if len(steps) < len(hits):  # some scores are equal
        hits = np.add.reduceat(hits, firsts, axis=0)
    counted = np.add.reduceat(weights[order[: steps[-1] + 1]], np.append(0, steps[:-1] + 1), axis=0)
    true, counted = (np.cumsum(part, axis=0, out=part) for part in (hits.copy(), counted))
    precision = np.divide(true, np.maximum(counted, 1e-12, out=counted), dtype=np.float64)
    with np.errstate(invalid="ignore"):  # a resample without a positive: NaN
        average: npt.NDArray[np.float64] = np.einsum("pr,pr->r", precision, hits) / true[-1]
    return average
