"""Open-set recognition: a threshold under which a sound is none of the classes, and its figures."""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from aed.base.errors import AedError
from aed.scoring.confidence import ranking


@dataclass(frozen=True)
class Rejection:
    """How well a threshold on the score parts right from wrong, and known from unseen sounds.

    The score is the greatest posterior or, where the model weighs it, its blend with the nearness.

    Args:
        threshold: Clips whose score is under it are rejected.
        clips: Number of clips of known classes.
        acc: Share of them decided rightly if none is rejected.
        coverage: Share of them not rejected.
        selective_acc: Share of those decided rightly; NaN where all are rejected.
        aurc: Area under the risk-coverage curve; 0 is best (Geifman and El-Yaniv, 2017).
        unseen_clips: Number of clips of other sounds; 0: the figures below are null.
        unseen_rejected: Share of them rejected.
        auroc: Chance that a known clip has a greater score than an unseen one; 0.5 is a guess.
        fpr95: Share of unseen clips accepted by the threshold that accepts 95 % of the known ones.
    """

    threshold: float
    clips: int
    acc: float
    coverage: float
    selective_acc: float
    aurc: float
    unseen_clips: int = 0
    unseen_rejected: float | None = None
    auroc: float | None = None
    fpr95: float | None = None

    def content(self) -> dict[str, float]:
        """All figures that there are, plain numbers, for JSON."""
        return {key: value for key, value in asdict(self).items() if value is not None and not math.isnan(value)}


def judge_rejection(confidence: Tensor, right: Tensor, threshold: float, unseen: Tensor | None = None) -> Rejection:
    """The figures of a threshold.

    Args:
        confidence: ``(clips,)``, score of each clip of a known class.
        right: ``(clips,)`` bool, whether its class is the true one.
        threshold: Of the model.
        unseen: ``(unseen_clips,)``, score of each clip of other sounds.
    """
    accepted = confidence >= threshold
    coverage, risk = risk_coverage(confidence, right)
    known = Rejection(
        threshold=threshold,
        clips=len(confidence),
        acc=float(right.double().mean()),
        coverage=float(accepted.double().mean()),
        selective_acc=float(right[accepted].double().mean()),
        aurc=float((coverage.diff(prepend=coverage.new_zeros(1)) * risk).sum()),
    )
    if unseen is None or not len(unseen):
        return known
    from sklearn.metrics import roc_auc_score  # takes 0.7 s to import, and few have unseen sounds

    truth = torch.cat([torch.ones(len(confidence)), torch.zeros(len(unseen))])
    return Rejection(
        **asdict(known)
        | {
            "unseen_clips": len(unseen),
            "unseen_rejected": float((unseen < threshold).double().mean()),
            "auroc": float(roc_auc_score(truth.numpy(), torch.cat([confidence, unseen]).cpu().numpy())),
            "fpr95": float((unseen >= keeping_threshold(confidence, 0.95)).double().mean()),
        }
    )


def risk_coverage(confidence: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Share of clips accepted and share of wrong ones among them, float64, at each distinct confidence as threshold.

    Coverage ascends to 1; clips of equal confidence are accepted or rejected together.

    Args:
        confidence: ``(clips,)``.
        right: ``(clips,)`` bool.
    """
    _, order, ends = ranking(confidence)
    accepted = torch.arange(1, len(order) + 1, dtype=torch.float64, device=order.device)
    wrong = (~right[order]).cumsum(dim=0)
    return (accepted / len(order))[ends], (wrong / accepted)[ends]


def keeping_threshold(confidence: Tensor, share: float) -> float:
    """The greatest threshold that at least ``share`` of the confidences ``(clips,)`` reach."""
    least = max(1, math.ceil(share * len(confidence) - 1e-9))  # 0.07 * 100 is over 7
    return float(confidence.sort(descending=True).values[least - 1])


def choose_unknown_threshold(confidence: Tensor, right: Tensor, keep: float = 0.95) -> float:
    """The threshold that keeps a share of the rightly decided clips and no more, best chosen on validation clips.

    Halfway to the next lower confidence, so that a slightly different program of the model (int8, C) decides alike.

    The rule needs no unseen sounds and always has a result: with 0.95, one right decision in 20 becomes ``unknown``.
    How many wrong decisions and unseen sounds it rejects is measured by :func:`judge_rejection`. A wanted accuracy
    would be a worse rule: a model that has it already would reject nothing.

    Args:
        confidence: ``(clips,)``, score of each clip.
        right: ``(clips,)`` bool, whether its class is the true one.
        keep: Share in (0, 1].

    Raises:
        AedError: No clip is decided rightly, or the share is out of range.
    """
    if not 0 < keep <= 1:
        raise AedError(f"keep: need a share in (0, 1] of the right decisions, got {keep}")
    if not right.any():
        raise AedError("unknown threshold: no validation clip is decided rightly; train first, or set it by hand")
    least = keeping_threshold(confidence[right], keep)
    under = confidence[confidence < least]
    return (least + float(under.max() if len(under) else 0.0)) / 2
