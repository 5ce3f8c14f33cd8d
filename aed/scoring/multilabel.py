"""Scores of posteriors where a row has any number of classes."""

from collections.abc import Sequence

import torch
from torch import Tensor

from aed.scoring.confidence import expected_calibration_error, ranking
from aed.scoring.decision import Decision

CHUNK = 2**20
"""Numbers sorted at once."""


def multi_label_metrics(
    posteriors: Tensor, target: Tensor, class_names: Sequence[str], decision: Decision
) -> dict[str, float]:
    """``map``, ``ap/<class>``, ``lwlrap``, ``f1`` (micro), ``f1_macro``, ``f1/<class>`` and ``ece``, fractions.

    A class without a positive has no figures, and no part in ``map`` and ``f1_macro``. A detector of one class has
    ``precision``, ``recall`` and ``threshold`` instead of ``f1_macro``, which is ``f1`` then, and of ``lwlrap``: among
    one class, any is ranked first.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows, num_classes)`` of 0 and 1.
        class_names: In the order of the posteriors.
        decision: Its thresholds are those of the F1.
    """
    truth, decided = target > 0.5, decision.decide(posteriors, "multi_label")
    both, either = (truth & decided).sum(dim=0), truth.sum(dim=0) + decided.sum(dim=0)
    precisions, f1 = average_precisions(posteriors, target), 2 * both / either.clamp(min=1)
    held = truth.any(dim=0)
    metrics = {
        "map": float(precisions[held].mean()),
        "f1": float(2 * both.sum() / either.sum().clamp(min=1)),
        "ece": expected_calibration_error(posteriors, target),
    }
    if len(class_names) == 1:
        metrics |= {
            "precision": float(both.sum() / decided.sum().clamp(min=1)),
            "recall": float(both.sum() / truth.sum().clamp(min=1)),
            "threshold": decision.thresholds_of(1)[0],
        }
    else:
        metrics |= {"lwlrap": lwlrap(posteriors, target), "f1_macro": float(f1[held].mean())}
    for name, precision, score, there in zip(class_names, precisions.tolist(), f1.tolist(), held.tolist(), strict=True):
        if there:
            metrics |= {f"ap/{name}": precision, f"f1/{name}": score}
    return metrics


def average_precisions(posteriors: Tensor, target: Tensor) -> Tensor:
    """Average precision of each class, ``(num_classes,)`` float64; NaN without a positive.

    The step-wise area under precision over recall, as scikit-learn's ``average_precision_score``; equal posteriors are
    one step.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows, num_classes)`` of 0 and 1.
    """
    truth = target > 0.5
    return _summed_precision(posteriors.T, truth.T) / truth.sum(dim=0)


def lwlrap(posteriors: Tensor, target: Tensor) -> float:
    """Label-weighted label-ranking average precision (Fonseca et al., DCASE 2019 task 2).

    The mean, over all labels of all rows, of the share of right classes among those ranked at or over the label in its
    row; equal posteriors share the lowest of their ranks. NaN without a label.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows, num_classes)`` of 0 and 1.
    """
    truth = target > 0.5
    return float(_summed_precision(posteriors, truth).sum() / truth.sum())


def _summed_precision(scores: Tensor, truth: Tensor) -> Tensor:
    """Sum over a row's positives of the precision down to its rank, ``(rows,)`` float64; ties share the lowest rank."""
    size, sums = scores.shape[1], []
    step = max(1, CHUNK // size)
    for part, right in zip(torch.split(scores, step), torch.split(truth, step), strict=True):
        _, order, ends = ranking(part)
        hits = right.gather(1, order)
        ranks = torch.arange(size, device=scores.device).expand_as(order)
        last = ranks.masked_fill(~ends, size).flip(1).cummin(dim=1).values.flip(1)  # of equal scores
        precision = hits.cumsum(dim=1).gather(1, last).double() / (last + 1)
        sums.append((precision * hits).sum(dim=1))
    return torch.cat(sums)


def choose_thresholds(posteriors: Tensor, target: Tensor) -> tuple[float, ...]:
    """The threshold of each class with the greatest F1, best chosen on validation clips.

    Halfway between the posteriors that it separates, so that another program of the model (int8, C) decides alike; of
    equally good ones the greatest, which gives the fewest false alarms. 0.5 for a class without a positive.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows, num_classes)`` of 0 and 1.
    """
    return tuple(_best_threshold(*column) for column in zip(posteriors.T, (target > 0.5).T, strict=True))


def _best_threshold(posteriors: Tensor, truth: Tensor) -> float:
    if not truth.any():
        return 0.5
    thresholds, f1 = f1_curve(posteriors, truth)
    best = int(f1.argmax())  # thresholds descend: the first of equals
    below = thresholds[best + 1] if best + 1 < len(thresholds) else thresholds.new_zeros(())
    between = (thresholds[best] + below) / 2
    return float(between if between > below else thresholds[best])  # neighbours in float32 have nothing between them


def f1_curve(posteriors: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Thresholds, descending, and the F1 at each, float64; every distinct posterior is a threshold.

    Args:
        posteriors: ``(rows,)`` of one class.
        truth: ``(rows,)`` bool, at least one true.
    """
    ranked, order, ends = ranking(posteriors)
    positives = torch.arange(1, len(ranked) + 1, device=ranked.device)
    f1 = 2 * truth[order].cumsum(dim=0).double() / (positives + truth.sum())
    return ranked[ends], f1[ends]
