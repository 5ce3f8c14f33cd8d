"""Samplers of patches: each law by counts."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules import samplers
from aed.datamodules.samplers import EvalSampler, TrainBatches, TrainSampler, rarity

PATCH_FRAMES = 10


@dataclass
class Patches:
    """What a sampler sees of a PatchDataset: clips of some lengths, a patch every 5 frames."""

    n_frames: npt.NDArray[np.int64]
    targets: npt.NDArray[Any]

    def __post_init__(self) -> None:
        rows = [(clip, at) for clip, n in enumerate(self.n_frames.tolist()) for at in range(0, n - PATCH_FRAMES + 1, 5)]
        self.windows = np.array(rows, dtype=np.int64)
        self.clip = self.windows[:, 0]
        self.patch_targets = self.targets[self.clip]
        self.num_clips = len(self.n_frames)
        self.features = SimpleNamespace(n_frames=self.n_frames)

    def __len__(self) -> int:
        return len(self.windows)

    def start_range(self, positions: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        clips = self.clip[positions]
        return np.zeros_like(clips), self.n_frames[clips] - PATCH_FRAMES


def made(frames: list[int], targets: list[int] | npt.NDArray[Any] | None = None) -> Any:
    return Patches(np.array(frames), np.zeros(len(frames), np.int64) if targets is None else np.asarray(targets))


def epoch(data: Any, number: int = 0, **choice: Any) -> list[Any]:
    choice = {"seed": 0, "random_offsets": False} | choice
    sampler = TrainSampler(data, **choice)
    sampler.set_epoch(number)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


sizes = st.lists(st.integers(PATCH_FRAMES, 60), min_size=2, max_size=20)
WAYS: list[dict[str, Any]] = [
    {},
    {"patches_per_clip": 1},
    {"patches_per_clip": 3},
    {"class_balance": True},
    {"class_balance": True, "patches_per_clip": 2},
]


@given(sizes)
def test_the_grid_is_every_patch_once(frames: list[int]) -> None:
    data = made(frames)
    assert sorted(epoch(data)) == list(range(len(data)))


@given(sizes, st.integers(1, 12))
def test_so_many_different_patches_of_each_clip(frames: list[int], limit: int) -> None:
    data = made(frames)
    drawn = epoch(data, patches_per_clip=limit)
    assert len(set(drawn)) == len(drawn)
    own, drawn_of = np.bincount(data.clip), np.bincount(data.clip[drawn], minlength=len(frames))
    assert drawn_of.tolist() == np.minimum(own, limit).tolist()


def test_one_patch_a_clip_may_be_any() -> None:
    data = made([35, 10, 60])
    drawn = [position for number in range(400) for position in epoch(data, number, patches_per_clip=1)]
    counts = np.bincount(drawn, minlength=len(data))
    for clip in range(3):
        of_clip = counts[data.clip == clip]
        assert of_clip.sum() == 400
        assert np.abs(of_clip - 400 / len(of_clip)).max() < 5 * np.sqrt(400 / len(of_clip))


@pytest.mark.parametrize("clips_in_any_order", [False, True])
def test_clips_need_not_lie_in_order(clips_in_any_order: bool) -> None:
    data = made([60, 30, 45])
    if clips_in_any_order:
        order = np.random.default_rng(0).permutation(len(data))
        data.windows = data.windows[order]
        data.clip, data.patch_targets = data.windows[:, 0], data.patch_targets[order]
    assert np.bincount(data.clip[epoch(data, patches_per_clip=2)]).tolist() == [2, 2, 2]


@given(sizes)
def test_random_windows_lie_in_their_clip_and_are_as_many(frames: list[int]) -> None:
    data = made(frames)
    windows = np.array(epoch(data, random_offsets=True))
    assert np.bincount(windows[:, 0]).tolist() == np.bincount(data.clip).tolist()
    assert (windows[:, 1] >= 0).all()
    assert (windows[:, 1] + PATCH_FRAMES <= data.n_frames[windows[:, 0]]).all()


def test_random_windows_begin_anywhere() -> None:
    data = made([30])
    starts = [start for number in range(400) for _, start in epoch(data, number, random_offsets=True)]
    counts = np.bincount(starts, minlength=21)
    assert len(counts) == 21
    assert np.abs(counts - len(starts) / 21).max() < 5 * np.sqrt(len(starts) / 21)


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("random_offsets", [False, True])
def test_epoch_is_a_function_of_seed_and_number(way: dict[str, Any], random_offsets: bool) -> None:
    data = made([60] * 30, [i % 3 for i in range(30)])
    first = epoch(data, 3, random_offsets=random_offsets, **way)
    assert epoch(data, 3, random_offsets=random_offsets, **way) == first
    assert epoch(data, 4, random_offsets=random_offsets, **way) != first
    assert epoch(data, 3, random_offsets=random_offsets, seed=1, **way) != first


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_what_one_process_draws(way: dict[str, Any], world: int) -> None:
    data = made([60, 25, 40, 33] * 5, [0, 0, 0, 1] * 5)
    alone = epoch(data, 2, **way)
    parts = [epoch(data, 2, num_replicas=world, rank=rank, **way) for rank in range(world)]
    assert len({len(part) for part in parts}) == 1
    together = [position for row in zip(*parts, strict=True) for position in row]
    assert together[: len(alone)] == alone
    assert together[len(alone) :] == alone[: len(together) - len(alone)]  # given twice, so that ranks are equal


def test_more_ranks_than_patches() -> None:
    data = made([10, 10])
    assert sorted(epoch(data, num_replicas=5, rank=rank)[0] for rank in range(5)) in ([0, 0, 0, 1, 1], [0, 0, 1, 1, 1])


def test_long_epochs_are_drawn_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made([60] * 30)
    whole = epoch(data)
    monkeypatch.setattr(samplers, "CHUNK", 7)
    assert epoch(data) == whole
    windows = epoch(data, random_offsets=True)
    assert [clip for clip, _ in windows] == data.clip[whole].tolist()


# ---- class balance ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("patches_per_clip", [None, 1, 4])
def test_each_class_is_equally_likely(patches_per_clip: int | None) -> None:
    targets = [0] * 60 + [1] * 30 + [2] * 3
    data = made([20 + 5 * (i % 7) for i in range(93)], targets)
    way = {"class_balance": True, "patches_per_clip": patches_per_clip}
    drawn = np.concatenate([epoch(data, number, **way) for number in range(60)])
    plain = epoch(data, patches_per_clip=patches_per_clip)
    assert len(drawn) == 60 * len(plain)
    counts = np.bincount(data.patch_targets[drawn])
    assert np.abs(counts - len(drawn) / 3).max() < 5 * np.sqrt(len(drawn) / 3)
    clips = np.bincount(data.clip[drawn], minlength=93)[90:]  # and within a class each of its clips or patches
    share = np.bincount(data.clip)[90:] if patches_per_clip is None else np.ones(3)
    wanted = share / share.sum() * len(drawn) / 3
    assert np.abs(clips - wanted).max() < 5 * np.sqrt(wanted.max())


def test_multi_label_clips_are_as_likely_as_their_rarest_label() -> None:
    targets = np.array([[1, 0]] * 80 + [[1, 1]] * 10 + [[0, 1]] * 10, np.float32)
    data = made([20] * 100, targets)
    drawn = np.concatenate([epoch(data, number, class_balance=True) for number in range(100)])
    with_rare = (data.patch_targets[drawn][:, 1] > 0).mean()
    expected = 20 / 20 / (20 / 20 + 80 / 90)
    assert abs(with_rare - expected) < 5 * np.sqrt(0.25 / len(drawn))


def test_rarity() -> None:
    assert rarity(np.array([0, 2, 2, 2])).tolist() == [1, 1 / 3, 1 / 3, 1 / 3]
    multi = np.array([[1, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], np.float32)
    assert rarity(multi).tolist() == [1 / 2, 1 / 3, 1 / 3, 1 / 2, 1 / 2, 1 / 2]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=50))
def test_rarity_of_one_label_is_that_of_its_column(classes: list[int]) -> None:
    targets = np.array(classes)
    np.testing.assert_array_equal(rarity(targets), rarity(np.eye(5, dtype=np.float32)[targets]))


@pytest.mark.parametrize("number", [0, -1])
def test_patches_per_clip_must_be_some(number: int) -> None:
    with pytest.raises(AedError, match=r"patches_per_clip.*got"):
        TrainSampler(made([20]), 0, False, patches_per_clip=number)


# ---- evaluation -------------------------------------------------------------------------------------------


@given(sizes, st.integers(1, 5))
def test_evaluation_is_every_patch_once(frames: list[int], world: int) -> None:
    data = made(frames)
    loaders = [EvalSampler(data, world, rank) for rank in range(world)]
    parts = [list(loader) for loader in loaders]
    assert [len(loader) for loader in loaders] == [len(part) for part in parts]
    assert sorted(position for part in parts for position in part) == list(range(len(data)))
    assert all(part == sorted(part) for part in parts)


@given(st.integers(1, 40), st.integers(1, 9))
def test_no_batch_of_one_is_trained_on_but_where_all_are(draws, batch_size):
    batches = TrainBatches(range(draws), batch_size, drop_last=False)
    found = list(batches)
    assert len(found) == len(batches)
    assert [draw for batch in found for draw in batch] == list(range(draws))
    if draws > 1 and batch_size > 1:
        assert min(map(len, found)) > 1 and max(map(len, found)) <= batch_size + 1
