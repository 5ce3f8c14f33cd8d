"""Patches: windows over a clip's log-mel."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from aed.dsp.frontend import FrontendConfig

if TYPE_CHECKING:  # the grid is computed without torch
    from torch import Tensor


class PatchBatch(NamedTuple):
    """A batch of patches, as DataModules yield it.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)`` float32.
        target: ``(B,)`` int64 class index; with any number of classes a clip ``(B, num_classes)`` float32 of 0 and 1;
            of mixed clips the share of each class.
        clip: ``(B,)`` int64 clip index within the split; -1 for a random window.
        position: ``(B,)`` int64 position on the split's patch grid; -1 for a random window.
        recording: ``(B,)`` int64 recording of the split, of a window as well.
    """

    patches: Tensor
    target: Tensor
    clip: Tensor
    position: Tensor
    recording: Tensor


def grid_starts(n_frames: int, config: FrontendConfig) -> npt.NDArray[np.int64]:
    """First frames of a clip's patches on the fixed grid, ``(num_patches,)`` int64, ascending.

    Empty when the clip is shorter than a patch. ``include_last_patch`` adds the patch that ends at the clip's
    end unless the grid has that patch already.
    """
    last = n_frames - config.patch_frames
    starts = np.arange(0, last + 1, config.patch_hop)
    if config.include_last_patch and len(starts) and starts[-1] != last:
        starts = np.append(starts, last)
    return starts


def cut(logmel: npt.NDArray[np.float32], starts: npt.NDArray[np.int64], patch_frames: int) -> npt.NDArray[np.float32]:
    """Patches ``(len(starts), n_mels, patch_frames)`` of one clip's ``logmel`` ``(n_mels, n_frames)``."""
    windows = np.lib.stride_tricks.sliding_window_view(logmel, patch_frames, axis=1)
    return np.ascontiguousarray(windows[:, starts].transpose(1, 0, 2))
