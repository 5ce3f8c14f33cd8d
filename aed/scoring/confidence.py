"""Calibration of posteriors: cross entropy, calibration error, and the temperature that reduces it."""

import math

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from aed.dsp.aggregate import clip_posteriors, decide
from aed.scoring.decision import task_of, to_posteriors

TEMPERATURES = (0.2, 10.0)
"""Range of the search: few validation clips, all of them right, would ask for a temperature of 0."""


def cross_entropy(posteriors: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy, binary where ``target`` is ``(rows, num_classes)``; nothing is surer than 1e-12.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows,)`` int64, or ``(rows, num_classes)`` of 0 and 1.
    """
    inside = posteriors.double().clamp(1e-12, 1 - 1e-12)
    if task_of(target) == "multi_label":
        return F.binary_cross_entropy(inside, target.double())
    return F.nll_loss(inside.log(), target)


def ranking(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scores in descending order, their indices, and whether a position is the last of equal scores.

    Args:
        scores: ``(..., size)``; the results have this shape; the last is bool.
    """
    ranked, order = scores.sort(dim=-1, descending=True)
    ends = torch.ones_like(order, dtype=torch.bool)
    ends[..., :-1] = ranked[..., 1:] != ranked[..., :-1]
    return ranked, order, ends


def confidence_and_correctness(posteriors: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Confidence and correctness of each decision of a model; ``(statements,)`` float and bool.

    Single-label: a statement per row, "it is the class with the greatest posterior". Multi-label: a statement per
    row and class, "it is this class".

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows,)`` int64, or ``(rows, num_classes)`` of 0 and 1.
    """
    if task_of(target) == "multi_label":
        return posteriors.flatten(), target.flatten() > 0.5
    return posteriors.amax(dim=1), decide(posteriors) == target


def reliability(confidence: Tensor, right: Tensor, bins: int = 15) -> tuple[Tensor, Tensor, Tensor]:
    """Number, mean confidence and share of true statements in bins of equal width; ``(bins,)`` each, NaN where empty.

    A bin holds its lower end; the last one holds 1 too.

    Args:
        confidence: ``(statements,)`` in [0, 1].
        right: ``(statements,)`` bool.
        bins: Their number.
    """
    index = (confidence.double() * bins).long().clamp(0, bins - 1)
    count = torch.bincount(index, minlength=bins)
    sure = torch.bincount(index, weights=confidence.double(), minlength=bins) / count
    true = torch.bincount(index, weights=right.double(), minlength=bins) / count
    return count, sure, true


def expected_calibration_error(posteriors: Tensor, target: Tensor, bins: int = 15) -> float:
    """Mean gap between how sure a model is and how often it is right, over bins (Guo et al., 2017).

    Multi-label, over all rows and classes at once: most of them are sure negatives, so the figure is small.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows,)`` int64, or ``(rows, num_classes)`` of 0 and 1.
        bins: Their number, of equal width.
    """
    count, sure, true = reliability(*confidence_and_correctness(posteriors, target), bins)
    return float(((sure - true).abs() * count).nansum() / count.sum())


def choose_temperature(logits: Tensor, target: Tensor) -> float:
    """The temperature in :data:`TEMPERATURES` with the least cross entropy, best chosen on validation patches.

    Patches, not clips: of a few clips, nearly all of them right, the likeliest temperature is the lowest allowed.

    Args:
        logits: ``(rows, num_classes)``.
        target: ``(rows,)`` int64, or ``(rows, num_classes)`` of 0 and 1.
    """

    def loss(log_temperature: float) -> float:
        return float(cross_entropy(to_posteriors(logits.double(), task_of(target), math.exp(log_temperature)), target))

    low, high = map(math.log, TEMPERATURES)
    return math.exp(minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}).x)


def clip_targets(target: Tensor, clip: Tensor) -> Tensor:
    """Targets of clips: single-label that of its patches; multi-label every class that one of its patches has.

    Args:
        target: ``(num_patches,)`` or ``(num_patches, num_classes)``.
        clip: ``(num_patches,)`` int64, each of 0..num_clips-1 at least once.
    """
    num_clips = int(clip.max()) + 1
    if task_of(target) == "multi_label":
        return clip_posteriors(target, clip, num_clips, "max")
    return target.new_zeros(num_clips).index_put_((clip,), target)
