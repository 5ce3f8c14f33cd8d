"""Loss of patches: cross entropy of one class a clip, binary cross entropy of any number; weights of rare classes."""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from aed.scoring.decision import Task

WEIGHT_LIMIT = 100.0
"""Largest weight of a class; its inverse is the least."""


def patch_loss(
    logits: Tensor, target: Tensor, task: Task, label_smoothing: float = 0.0, weight: Tensor | None = None
) -> Tensor:
    """Mean loss of a batch, a scalar in nats.

    Args:
        logits: ``(B, num_classes)``.
        target: ``(B,)`` int64, or shares ``(B, num_classes)`` float32; ``multi_label``: the latter.
        task: Which loss.
        label_smoothing: Share of the target spread over all classes.
        weight: ``(num_classes,)``: of each class, or of its positives; None: all alike.
    """
    if task == "single_label":
        return F.cross_entropy(logits, target, weight, label_smoothing=label_smoothing)
    smooth = target * (1 - label_smoothing) + label_smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight)


def balancing_weights(num_patches: int, counts: npt.NDArray[np.int64], task: Task) -> Tensor:
    """Weight of each class ``(num_classes,)``, or of its positives, within :data:`WEIGHT_LIMIT`.

    Args:
        num_patches: Drawn in an epoch.
        counts: ``(num_classes,)``, those of each class.
        task: One class a clip: the inverse of the class's share, over the number of classes. Several: negatives over
            positives.
    """
    drawn = torch.from_numpy(counts).float()
    weight = (num_patches - drawn) / drawn if task == "multi_label" else num_patches / (len(drawn) * drawn)
    return weight.clamp(1 / WEIGHT_LIMIT, WEIGHT_LIMIT)
