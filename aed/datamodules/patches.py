"""Patches as a map-style data set, and who draws them: grid or random windows over cached log-mel."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from aed.datamodules.cache import Features
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import PatchBatch, grid_starts


class PatchDataset(Dataset[PatchBatch]):
    """All patches of one split; indexed by position on the grid or by a (clip, first frame) window.

    Args:
        features: Log-mel of the split's clips.
        targets: ``(num_clips,)`` int64.
        config: The front end.
    """

    def __init__(self, features: Features, targets: npt.NDArray[np.int64], config: FrontendConfig) -> None:
        self.features, self.targets, self.config = features, targets, config
        starts = [grid_starts(int(frames), config) for frames in features.n_frames]
        counts = [len(clip) for clip in starts]
        self.windows = np.stack([np.repeat(np.arange(len(starts)), counts), np.concatenate(starts)], axis=1)

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


class TrainSampler(DistributedSampler[PatchBatch]):
    """Shuffles patches anew each epoch, as a pure function of (seed, epoch).

    With ``random_offsets`` every patch of the grid is replaced by one of the same clip at any frame.

    Args:
        dataset: Training patches.
        seed: Of order and offsets.
        random_offsets: Random windows instead of the grid.
        num_replicas: Processes that share the epoch.
        rank: This process.
    """

    def __init__(
        self, dataset: PatchDataset, seed: int, random_offsets: bool, num_replicas: int = 1, rank: int = 0
    ) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)
        self.patches = dataset
        self.random_offsets = random_offsets

    def __iter__(self) -> Iterator[int | tuple[int, int]]:  # type: ignore[override]
        """Positions, or (clip, first frame) windows."""
        order = list(super().__iter__())
        if not self.random_offsets:
            yield from order  # type: ignore[misc]
            return
        generator = np.random.default_rng([self.seed, self.epoch, self.rank])
        clips = self.patches.windows[np.asarray(order), 0]
        room = self.patches.features.n_frames[clips] - self.patches.config.patch_frames + 1
        starts = generator.integers(0, room)
        yield from zip(clips.tolist(), starts.tolist(), strict=True)


class EvalSampler(DistributedSampler[PatchBatch]):
    """Every patch once, in order: unlike DistributedSampler it repeats none to make ranks equal."""

    def __init__(self, dataset: PatchDataset, num_replicas: int = 1, rank: int = 0) -> None:
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=False)
        self.positions = range(rank, len(dataset), num_replicas)

    def __iter__(self) -> Iterator[int]:  # type: ignore[override]
        """Positions on the grid."""
        return iter(self.positions)

    def __len__(self) -> int:
        """Patches of this process."""
        return len(self.positions)
