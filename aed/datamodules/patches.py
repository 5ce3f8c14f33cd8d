"""Patches as a map-style data set: grid or random windows over cached log-mel."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from aed.datamodules.sources.events import PatchLabels
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import PatchBatch, grid_starts


class FeatureReader(Protocol):
    """Log-mel of the recordings of a split, as :class:`aed.datamodules.cache.features.Features` has it."""

    @property
    def n_frames(self) -> npt.NDArray[np.int64]:
        """``(num_recordings,)``, the frames of each."""

    def gather(self, windows: npt.NDArray[np.int64], patch_frames: int) -> npt.NDArray[np.float32]:
        """Patches ``(N, n_mels, patch_frames)`` of recordings and first frames ``(N, 2)``."""


class Labeller(Protocol):
    """Labels of the recordings of a split."""

    def patches(self, windows: npt.NDArray[np.int64]) -> PatchLabels:
        """The labelled patches among those of the grid, ``(P, 2)`` int64 of recording and first frame, ascending."""

    def labels_of(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The targets of any patches; -1 where one has no label."""


class ClipLabels:
    """Recordings that are one clip each, all of it with the same label.

    Args:
        targets: ``(num_clips,)`` int64, or ``(num_clips, num_classes)`` float32 of 0 and 1.
    """

    def __init__(self, targets: npt.NDArray[Any]) -> None:
        self.targets = targets

    def patches(self, windows: npt.NDArray[np.int64]) -> PatchLabels:
        """All patches of the grid."""
        return PatchLabels.of_clips(windows, self.targets)

    def labels_of(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
        """The label of the recording."""
        targets: npt.NDArray[Any] = self.targets[windows[:, 0]]
        return targets


class PatchDataset(Dataset[PatchBatch]):
    """All patches of one split; indexed by position on the grid or by a (recording, first frame) window.

    Args:
        features: Log-mel of the split's recordings.
        labeller: What is true of them.
        config: The front end.
        labels: Of the patches on the grid, where they are known.
    """

    def __init__(
        self, features: FeatureReader, labeller: Labeller, config: FrontendConfig, labels: PatchLabels | None = None
    ) -> None:
        self.features, self.labeller, self.config = features, labeller, config
        self.labels = labels or labeller.patches(_grid(features, config))

    def __len__(self) -> int:
        """Patches on the grid."""
        return len(self.windows)

    @property
    def windows(self) -> npt.NDArray[np.int64]:
        """``(P, 2)`` int64, recording and first frame of each patch."""
        return self.labels.windows

    @property
    def clip(self) -> npt.NDArray[np.int64]:
        """``(P,)`` int64, the clip of each patch: a clip gets one decision."""
        return self.labels.clip

    @property
    def patch_targets(self) -> npt.NDArray[Any]:
        """``(P,)`` or ``(P, num_classes)``, the target of each patch."""
        return self.labels.target_at(slice(None))

    @property
    def targets(self) -> npt.NDArray[Any]:
        """``(num_clips,)`` or ``(num_clips, num_classes)``, the target of each clip."""
        return self.labels.clip_target

    @property
    def num_clips(self) -> int:
        """Clips of the split."""
        return len(self.targets)

    def subset(self, clips: npt.NDArray[np.int64]) -> "PatchDataset":
        """The patches of some clips, renumbered from 0 in the order of the argument."""
        return PatchDataset(self.features, self.labeller, self.config, self.labels.subset(clips))

    def start_range(self, positions: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Range of start frames allowed for random patches in place of those of the grid.

        Anywhere in a recording that is one clip; else between the first and the last patch of the same clip.
        """
        recording, clip = self.windows[positions, 0], self.clip[positions]
        if isinstance(self.labeller, ClipLabels):
            return np.zeros_like(recording), self.features.n_frames[recording] - self.config.patch_frames
        low, high = self._clip_range
        return low[clip], high[clip]

    @cached_property
    def _clip_range(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        low = np.full(self.num_clips, np.iinfo(np.int64).max)
        high = np.zeros(self.num_clips, np.int64)
        np.minimum.at(low, self.clip, self.windows[:, 1])
        np.maximum.at(high, self.clip, self.windows[:, 1])
        return low, high

    def __getitem__(self, key: int | tuple[int, int]) -> PatchBatch:
        """A batch of one."""
        return self.__getitems__([key])

    def __getitems__(self, keys: Sequence[int | tuple[int, int]]) -> PatchBatch:
        """The batch of some positions or windows: one gather, no collating.

        A window without a label (between two events) is replaced by the patch of the grid before it.
        """
        position = np.asarray(keys, dtype=np.int64)
        if position.ndim == 2:
            windows, target = position, self.labeller.labels_of(position)
            if target.ndim == 1 and (lost := np.flatnonzero(target < 0)).size:
                near = self._before(windows[lost])
                windows[lost], target[lost] = self.windows[near], self.labels.target_at(near)
            position = clip = np.full(len(windows), -1)
        else:
            windows, target, clip = self.windows[position], self.labels.target_at(position), self.clip[position]
        patches = torch.from_numpy(self.features.gather(windows, self.config.patch_frames))
        return PatchBatch(
            patches=patches.unsqueeze(1),
            target=torch.from_numpy(target),
            clip=torch.from_numpy(clip),
            position=torch.from_numpy(position),
            recording=torch.from_numpy(windows[:, 0].copy()),
        )

    def _before(self, windows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Positions of the last patches of the grid that begin no later."""
        stride, grid, order = self._in_time
        rank = np.searchsorted(grid, windows[:, 0] * stride + windows[:, 1], side="right")
        return order[np.maximum(rank - 1, 0)]

    @cached_property
    def _in_time(self) -> tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The grid as ``recording * stride + frame``: the stride, the sorted values, their positions."""
        stride = int(self.features.n_frames.max()) + 1
        grid = self.windows[:, 0] * stride + self.windows[:, 1]
        order = np.argsort(grid)
        return stride, grid[order], order


def _grid(features: FeatureReader, config: FrontendConfig) -> npt.NDArray[np.int64]:
    """Recording and first frame of every patch, ``(P, 2)``."""
    starts = {frames: grid_starts(frames, config) for frames in set(features.n_frames.tolist())}
    own = [starts[frames] for frames in features.n_frames.tolist()]
    return np.stack([np.repeat(np.arange(len(own)), [len(clip) for clip in own]), np.concatenate(own)], axis=1)


def already_batched(batch: Any) -> Any:
    """The batch itself: collate function of loaders over a PatchDataset."""
    return batch
