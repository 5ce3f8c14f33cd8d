"""Patches as a map-style data set: grid or random windows over cached log-mel."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from aed.datamodules.cache import Features
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import PatchBatch, grid_starts


class PatchDataset(Dataset[PatchBatch]):
    """All patches of one split; indexed by position on the grid or by a (clip, first frame) window.

    Args:
        features: Log-mel of the split's clips.
        targets: ``(num_clips,)`` int64, or ``(num_clips, num_classes)`` float32 of 0 and 1.
        config: The front end.
    """

    def __init__(self, features: Features, targets: npt.NDArray[Any], config: FrontendConfig) -> None:
        self.features, self.targets, self.config = features, targets, config
        starts = [grid_starts(int(frames), config) for frames in features.n_frames]
        counts = [len(clip) for clip in starts]
        self.windows = np.stack([np.repeat(np.arange(len(starts)), counts), np.concatenate(starts)], axis=1)
        self.clip: npt.NDArray[np.int64] = self.windows[:, 0]

    @property
    def patch_targets(self) -> npt.NDArray[Any]:
        """The target of each patch on the grid."""
        patch_targets: npt.NDArray[Any] = self.targets[self.clip]
        return patch_targets

    def __len__(self) -> int:
        """Patches on the grid."""
        return len(self.windows)

    @property
    def num_clips(self) -> int:
        """Clips of the split."""
        return len(self.targets)

    def subset(self, clips: npt.NDArray[np.int64]) -> "PatchDataset":
        """The patches of some clips, which are numbered anew in the order given."""
        features = self.features
        part = Features(features.shards, features.shard[clips], features.start[clips], features.n_frames[clips])
        return PatchDataset(part, self.targets[clips], self.config)

    def __getitem__(self, key: int | tuple[int, int]) -> PatchBatch:
        """A batch of one."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> PatchBatch:
        """The batch of the given positions or windows: one gather, no collating."""
        if isinstance(keys[0], tuple):
            windows, position = np.asarray(keys, dtype=np.int64), np.full(len(keys), -1)
        else:
            position = np.asarray(keys, dtype=np.int64)
            windows = self.windows[position]
        patches = torch.from_numpy(self.features.gather(windows, self.config.patch_frames))
        return PatchBatch(
            patches=patches.unsqueeze(1).contiguous(),
            target=torch.from_numpy(self.targets[windows[:, 0]]),
            clip=torch.from_numpy(windows[:, 0]),
            position=torch.from_numpy(position),
        )


def already_batched(batch: Any) -> Any:
    """The batch itself: collate function of loaders over a PatchDataset."""
    return batch
