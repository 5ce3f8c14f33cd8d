"""Scores: from patch posteriors to patch and clip metrics, the same for every kind of model."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix
from torchmetrics.utilities import dim_zero_cat

from aed.dsp.aggregate import clip_posteriors, decide


@dataclass(frozen=True)
class Scores:
    """What a model got right on one split.

    Args:
        metrics: ``patch_acc``, ``clip_acc`` and ``<level>/<class>`` (recall; classes without a clip are absent),
            fractions.
        patch_confusion: ``(num_classes, num_classes)`` int64, rows true.
        clip_confusion: As above, over clips.
        clip_posteriors: ``(num_clips, num_classes)``.
        clip_target: ``(num_clips,)``.
    """

    metrics: dict[str, float]
    patch_confusion: Tensor
    clip_confusion: Tensor
    clip_posteriors: Tensor
    clip_target: Tensor


def score(posteriors: Tensor, target: Tensor, clip: Tensor, class_names: Sequence[str]) -> Scores:
    """The scores of patch posteriors; a clip's posterior is the mean over its patches.

    Args:
        posteriors: ``(num_patches, num_classes)``.
        target: ``(num_patches,)`` int64.
        clip: ``(num_patches,)`` int64, each of 0..num_clips-1 at least once.
        class_names: In the order of the posteriors.
    """
    num_clips = int(clip.max()) + 1
    by_clip = clip_posteriors(posteriors, clip, num_clips)
    clip_target = target.new_zeros(num_clips).index_put_((clip,), target)
    metrics: dict[str, float] = {}
    confusion: dict[str, Tensor] = {}
    for level, given, truth in (("patch_acc", posteriors, target), ("clip_acc", by_clip, clip_target)):
        decided = decide(given)
        metrics[level] = float(multiclass_accuracy(decided, truth, num_classes=len(class_names), average="micro"))
        confusion[level] = multiclass_confusion_matrix(decided, truth, num_classes=len(class_names))
        for name, row, hit in zip(class_names, confusion[level], confusion[level].diagonal(), strict=True):
            if row.sum():
                metrics[f"{level}/{name}"] = float(hit / row.sum())
    return Scores(metrics, confusion["patch_acc"], confusion["clip_acc"], by_clip, clip_target)


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
        """Adds a batch: ``(B, num_classes)``, ``(B,)``, ``(B,)``."""
        self.posteriors.append(posteriors.detach().float())
        self.target.append(target)
        self.clip.append(clip)

    def compute(self) -> tuple[Tensor, Tensor, Tensor]:
        """All batches so far, of all processes."""
        posteriors, target, clip = (dim_zero_cat(s) for s in (self.posteriors, self.target, self.clip))
        return posteriors, target, clip
