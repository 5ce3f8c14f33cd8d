"""Training patches of augmented crops."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aed.datamodules.crops.pool import CropPool, Values
from aed.datamodules.patches import ClipLabels, PatchDataset
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel


class CropFeatures:
    """Log-mel of all crops.

    Args:
        groups: ``(crops of the group, n_frames, n_mels)`` of each group.
    """

    def __init__(self, groups: Sequence[Values]) -> None:
        self.groups = groups
        counts = np.array([len(own) for own in groups])
        self.n_frames = np.full(counts.sum(), groups[0].shape[1], np.int64)
        self._first = np.cumsum(counts) - counts

    def gather(self, windows: npt.NDArray[np.int64], patch_frames: int) -> npt.NDArray[np.float32]:
        """Patches ``(N, n_mels, patch_frames)`` float32 of crops and first frames ``(N, 2)``."""
        patches = np.empty((len(windows), self.groups[0].shape[2], patch_frames), np.float32)
        group = np.searchsorted(self._first, windows[:, 0], side="right") - 1
        own = windows[:, 0] - self._first[group]
        for patch, part, crop, first in zip(patches, group.tolist(), own.tolist(), windows[:, 1].tolist(), strict=True):
            patch[:] = self.groups[part][crop, first : first + patch_frames].T
        return patches


def crop_patches(
    pool: CropPool, targets: npt.NDArray[np.float32], config: FrontendConfig, multi_label: bool
) -> PatchDataset:
    """The patches of all crops of a pool.

    Args:
        pool: The crops.
        targets: ``(num_clips, num_classes)`` of their clips, of 0 and 1.
        config: The front end.
        multi_label: As of :func:`aed.datamodules.crops.making.shares`.
    """
    logmel = LogMel(config)
    frames = pool.values(config.feature_key[:16], lambda wave: logmel.array(wave).T)
    return PatchDataset(CropFeatures(frames), ClipLabels(pool.shares(targets, multi_label)), config)
