"""Samplers of patches: shuffled anew each epoch for training, each once and in order for evaluation."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import BatchSampler
from torch.utils.data.distributed import DistributedSampler

from aed.base.errors import AedError
from aed.datamodules.patches import PatchDataset
from aed.dsp.patches import PatchBatch

CHUNK = 1 << 16
"""Positions that are Python numbers at one time: as a list, those of a large set would be gigabytes."""

Positions = npt.NDArray[np.int64]


class TrainSampler(DistributedSampler[PatchBatch]):
    """Shuffles patches anew each epoch, as a pure function of (seed, epoch).

    With ``random_offsets`` every patch of the grid is replaced by one of the same clip at any frame.

    Args:
        dataset: Training patches.
        seed: Seed of order and offsets.
        random_offsets: Random windows instead of the grid.
        num_replicas: Processes that share the epoch.
        rank: This process.
        patches_per_clip: So many of each clip, evenly spaced on its grid from a random one on; a shorter clip gives
            all it has. None: the whole grid.
        class_balance: As many patches, but drawn with replacement so that each class is equally likely. A
            multi-label clip is as likely as its rarest label makes it; those without a label count as a class.

    Raises:
        AedError: ``patches_per_clip`` is less than 1.
    """

    def __init__(
        self,
        dataset: PatchDataset,
        seed: int,
        random_offsets: bool,
        num_replicas: int = 1,
        rank: int = 0,
        patches_per_clip: int | None = None,
        class_balance: bool = False,
    ) -> None:
        if patches_per_clip is not None and patches_per_clip < 1:
            raise AedError(f"data.patches_per_clip: need at least 1 or null, got {patches_per_clip}")
        super().__init__(dataset, num_replicas=num_replicas, rank=rank, shuffle=True, seed=seed)
        self.patches, self.random_offsets = dataset, random_offsets
        self.patches_per_clip, self.class_balance = patches_per_clip, class_balance
        self._by_clip = np.argsort(dataset.clip, kind="stable")
        self._counts = np.bincount(dataset.clip, minlength=dataset.num_clips)
        self._weights = self._patch_weights() if class_balance else None
        self.num_samples = -(-self._num_drawn() // num_replicas)
        self.total_size = self.num_samples * num_replicas

    def __iter__(self) -> Iterator[int | tuple[int, int]]:  # type: ignore[override]
        """Positions, or (recording, first frame) windows."""
        order = np.resize(self._order(), self.total_size)[self.rank :: self.num_replicas]
        generator = np.random.default_rng([self.seed, self.epoch, self.rank])
        for chunk in np.split(order, range(CHUNK, len(order), CHUNK)):
            if self.random_offsets:
                low, high = self.patches.start_range(chunk)
                recordings, starts = self.patches.windows[chunk, 0], generator.integers(low, high + 1)
                yield from zip(recordings.tolist(), starts.tolist(), strict=True)
            else:
                yield from chunk.tolist()

    def _num_drawn(self) -> int:
        limit = self.patches_per_clip
        return len(self.patches) if limit is None else int(np.minimum(self._counts, limit).sum())

    def _order(self) -> Positions:
        """The epoch's positions, the same in every process."""
        shuffle = torch.Generator().manual_seed(self.seed + self.epoch)  # DistributedSampler's own
        generator = np.random.default_rng([self.seed, self.epoch])
        if self._weights is not None:
            times = generator.multinomial(self._num_drawn(), self._weights)  # the law of so many single draws
            drawn = np.repeat(np.arange(len(times)), times)
        elif self.patches_per_clip is not None:
            drawn = self._some_of_each(generator)
        else:
            return torch.randperm(len(self.patches), generator=shuffle).numpy()
        shuffled: Positions = drawn[torch.randperm(len(drawn), generator=shuffle).numpy()]
        return shuffled

    def _some_of_each(self, generator: np.random.Generator) -> Positions:
        """``patches_per_clip`` positions of each clip, all different."""
        assert self.patches_per_clip is not None
        counts, firsts = self._counts, np.cumsum(self._counts) - self._counts
        start = generator.integers(0, np.maximum(counts, 1))
        taken = np.minimum(counts, self.patches_per_clip)
        clip = np.repeat(np.arange(len(counts)), taken)
        step = np.arange(len(clip)) - np.repeat(np.cumsum(taken) - taken, taken)  # 0, 1, .. of each clip
        index = (start[clip] + step * counts[clip] // taken[clip]) % counts[clip]
        chosen: Positions = self._by_clip[firsts[clip] + index]
        return chosen

    def _patch_weights(self) -> npt.NDArray[np.float64]:
        """Probability of each patch to be drawn, ``(P,)``; the sum is 1."""
        if self.patches_per_clip is None:
            weights = rarity(self.patches.patch_targets)
        else:
            clip = self.patches.clip
            weights = rarity(self.patches.targets)[clip] / self._counts[clip]
        return np.asarray(weights / weights.sum())

    def __len__(self) -> int:
        """Patches of this process."""
        return self.num_samples


class TrainBatches(BatchSampler):
    """Batches of a sampler's draws; a last batch of one patch is joined to the batch before it.

    BatchNorm over vectors cannot train on a single one, and over images it would train on the statistics of one.
    """

    def __iter__(self) -> Iterator[list[Any]]:
        """Lists of draws."""
        before: list[Any] = []
        for batch in super().__iter__():
            if len(batch) == 1 and len(before) > 1:
                before += batch
                continue
            if before:
                yield before
            before = batch
        if before:
            yield before

    def __len__(self) -> int:
        """Batches of this process."""
        draws = len(self.sampler)  # type: ignore[arg-type]
        joined = draws > self.batch_size > 1 and draws % self.batch_size == 1
        return super().__len__() - joined


def rarity(targets: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """One over the number of rows with the same class, ``(N,)``; with several, of the rarest.

    Args:
        targets: ``(N,)`` int64, or ``(N, num_classes)`` of 0 and 1; rows without a class are a class.
    """
    if targets.ndim == 1:
        return np.asarray(1 / np.bincount(targets)[targets])
    has = targets > 0
    share = 1 / np.maximum(has.sum(axis=0), 1)
    rarest = np.zeros(len(targets))
    for column, of_class in zip(has.T, share, strict=True):
        np.maximum(rarest, np.where(column, of_class, 0), out=rarest)
    none = rarest == 0
    return np.asarray(np.where(none, 1 / max(none.sum(), 1), rarest))


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
