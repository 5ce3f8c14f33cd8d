"""Who draws patches: shuffled anew each epoch for training, each once and in order for evaluation."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data.distributed import DistributedSampler

from aed.datamodules.patches import PatchDataset
from aed.dsp.patches import PatchBatch


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
