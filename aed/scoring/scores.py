"""Scores: from patch posteriors to patch and clip metrics, the same for every kind of model."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix
from torchmetrics.utilities import dim_zero_cat

from aed.dsp.aggregate import clip_posteriors, decide
from aed.scoring.confidence import clip_targets, expected_calibration_error
from aed.scoring.decision import Decision, Task, task_of
from aed.scoring.levels import HEADLINE, LEVELS
from aed.scoring.multilabel import multi_label_metrics


@dataclass(frozen=True)
class Scores:
    """Scores of a model on one split.

    Args:
        metrics: Fractions. Single-label: ``patch_acc``, ``clip_acc`` and ``<level>/<class>`` (recall; classes without a
            clip are absent), ``clip_ece``, and with an unknown threshold ``clip_coverage`` (share of clips not
            rejected) and ``clip_selective_acc`` (accuracy of those; absent where all are rejected). Multi-label: those
            of :func:`aed.scoring.multilabel.multi_label_metrics` after ``patch_`` and ``clip_``.
        clip_posteriors: ``(num_clips, num_classes)``.
        clip_target: ``(num_clips,)`` int64, or ``(num_clips, num_classes)`` of 0 and 1.
        decision: How the model decides.
        clip_nearness: ``(num_clips,)``, of a model with means of its classes; aggregated as posteriors are.
        patch_confusion: Single-label: ``(num_classes, num_classes)`` int64, rows true, nothing rejected.
        clip_confusion: As above, over clips.
    """

    metrics: dict[str, float]
    clip_posteriors: Tensor
    clip_target: Tensor
    decision: Decision
    clip_nearness: Tensor | None = None
    patch_confusion: Tensor | None = None
    clip_confusion: Tensor | None = None

    @property
    def task(self) -> Task:
        """Whether clips have one class or any number."""
        return task_of(self.clip_target)

    @property
    def headline(self) -> str:
        """Name of the main metric of clips."""
        return HEADLINE[self.task]

    @property
    def clip_decided(self) -> Tensor:
        """The decision about each clip; see :meth:`aed.scoring.decision.Decision.decide`."""
        return self.decision.decide(self.clip_posteriors, self.task, self.clip_nearness)

    @property
    def clip_score(self) -> Tensor:
        """How sure it is that each clip belongs to a class, ``(num_clips,)``; single-label."""
        return self.decision.score(self.clip_posteriors, self.clip_nearness)


def score(
    posteriors: Tensor,
    target: Tensor,
    clip: Tensor,
    class_names: Sequence[str],
    decision: Decision = Decision(),  # noqa: B008 - frozen
    nearness: Tensor | None = None,
) -> Scores:
    """The scores of patch posteriors.

    Args:
        posteriors: ``(num_patches, num_classes)``, at the decision's temperature.
        target: Single-label ``(num_patches,)`` int64; multi-label ``(num_patches, num_classes)`` of 0 and 1, a clip
            has each class that one of its patches has.
        clip: ``(num_patches,)`` int64, each of 0..num_clips-1 at least once.
        class_names: In the order of the posteriors.
        decision: How patches become clips and posteriors decisions.
        nearness: Of each patch, ``(num_patches,)``; needed where it weighs in the decision.

    Raises:
        AedError: The decision does not fit the task or the number of classes.
    """
    task = task_of(target)
    decision.check(task, len(class_names))
    truth = clip_targets(target, clip)
    by_clip = clip_posteriors(posteriors, clip, len(truth), decision.aggregate)
    near = None if nearness is None else clip_posteriors(nearness[:, None], clip, len(truth), decision.aggregate)[:, 0]
    if task == "multi_label":
        metrics = {
            f"{level}_{key}": value
            for level, rows, right in (("patch", posteriors, target), ("clip", by_clip, truth))
            for key, value in multi_label_metrics(rows, right, class_names, decision).items()
        }
        return Scores(metrics, by_clip, truth, decision)
    metrics, confusion = {}, []
    for key, rows, right in zip(LEVELS[task], (posteriors, by_clip), (target, truth), strict=True):
        decided = decide(rows)
        metrics[key] = float(multiclass_accuracy(decided, right, num_classes=len(class_names), average="micro"))
        confusion.append(multiclass_confusion_matrix(decided, right, num_classes=len(class_names)))
        for name, row, hit in zip(class_names, confusion[-1], confusion[-1].diagonal(), strict=True):
            if row.sum():
                metrics[f"{key}/{name}"] = float(hit / row.sum())
    metrics["clip_ece"] = expected_calibration_error(by_clip, truth)
    if decision.unknown_threshold is not None:
        known = decision.known(by_clip, near)
        metrics["clip_coverage"] = float(known.double().mean())
        if known.any():
            metrics["clip_selective_acc"] = float((decide(by_clip) == truth)[known].double().mean())
    return Scores(metrics, by_clip, truth, decision, near, *confusion)


class PatchPosteriors(Metric):
    """Collects patch posteriors over batches and processes; ``compute`` gives :func:`score` its arguments."""

    full_state_update = False
    posteriors: list[Tensor]
    target: list[Tensor]
    clip: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("posteriors", "target", "clip"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, posteriors: Tensor, target: Tensor, clip: Tensor) -> None:
        """Adds a batch: ``(B, num_classes)``, ``(B,)`` or ``(B, num_classes)``, ``(B,)``."""
        self.posteriors.append(posteriors.detach().float())
        self.target.append(target)
        self.clip.append(clip)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """Posteriors, targets and clips so far, of all processes."""
        posteriors, target, clip = (dim_zero_cat(s) for s in (self.posteriors, self.target, self.clip))
        return posteriors, target, clip
