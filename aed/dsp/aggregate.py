"""From patches to clips."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # a model card and its decision are read without torch
    from torch import Tensor

Aggregate = Literal["mean", "max"]
"""Rule that combines the posteriors of a clip's patches."""


def clip_posteriors(posteriors: Tensor, clip_index: Tensor, num_clips: int, how: Aggregate = "mean") -> Tensor:
    """Posteriors of each clip, ``(num_clips, num_classes)``; NaN where a clip has no patch.

    Args:
        posteriors: ``(num_patches, num_classes)``.
        clip_index: ``(num_patches,)`` int64 in [0, num_clips).
        num_clips: Rows of the result.
        how: ``mean`` over a clip's patches, or ``max`` of each class, which finds short events in long clips; the
            maxima of a single-label clip need not add up to 1.
    """
    if how == "max":
        empty = posteriors.new_full((num_clips, posteriors.shape[1]), math.nan)
        rows = clip_index[:, None].expand_as(posteriors)
        return empty.scatter_reduce(0, rows, posteriors, "amax", include_self=False)
    # float64 sums: the order of patches, which differs between devices and processes, cannot flip a tie
    sums = posteriors.new_zeros(num_clips, posteriors.shape[1]).double()
    sums.index_add_(0, clip_index, posteriors.double())
    counts = clip_index.bincount(minlength=num_clips)
    return (sums / counts[:, None]).to(posteriors.dtype)


def decide(posteriors: Tensor) -> Tensor:
    """Class of each row, ``(rows,)`` int64; ties, and rows of NaN, go to the lowest class index."""
    return (posteriors == posteriors.amax(dim=1, keepdim=True)).int().argmax(dim=1)
