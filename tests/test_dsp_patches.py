"""Patches over a clip, and from patches back to clips."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.dsp import PRESETS, FrontendConfig
from aed.dsp.aggregate import clip_posteriors, decide
from aed.dsp.patches import cut, grid_starts

YAMNET, MINIRESNET = PRESETS["yamnet_64x96"], PRESETS["miniresnet_64x50"]


def seconds(config: FrontendConfig, duration: float) -> list[int]:
    return grid_starts(config.num_frames(round(duration * config.sample_rate)), config).tolist()


@pytest.mark.parametrize(
    ("config", "duration", "starts"),
    [
        (YAMNET, 1.0, [0]),
        (YAMNET, 5.0, [0, 72, 144, 216, 288, 360]),
        (MINIRESNET, 2.0, [0, 38]),
        (MINIRESNET, 5.0, [0, 38, 76, 114, 152, 190]),
        (YAMNET, 0.98, []),
        (replace(YAMNET, overlap=0.0), 5.0, [0, 96, 192, 288, 384]),
        (replace(YAMNET, include_last_patch=True), 1.0, [0, 1]),
        (replace(YAMNET, include_last_patch=True), 5.0, [0, 72, 144, 216, 288, 360, 401]),
    ],
)
def test_grid_of_real_durations(config: FrontendConfig, duration: float, starts: list[int]) -> None:
    assert seconds(config, duration) == starts


def zoo_starts(n_frames: int, patch_length: int, overlap: float) -> list[int]:
    """The zoo's formula for the patches of its grid."""
    step = patch_length - int(np.floor(patch_length * overlap))
    number = 0 if n_frames < patch_length else 1 + (n_frames - patch_length) // step
    return [i * step for i in range(number)]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(n_frames=st.integers(0, 600), patch_frames=st.integers(1, 97), overlap=st.floats(0, 0.999))
def test_grid_is_that_of_the_zoo(n_frames: int, patch_frames: int, overlap: float) -> None:
    config = replace(YAMNET, patch_frames=patch_frames, overlap=overlap)
    starts = grid_starts(n_frames, config)
    assert starts.dtype == np.int64
    assert starts.tolist() == zoo_starts(n_frames, patch_frames, overlap)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(n_frames=st.integers(0, 600), patch_frames=st.integers(1, 97), overlap=st.floats(0, 0.999))
def test_last_patch_ends_the_clip_and_comes_once(n_frames: int, patch_frames: int, overlap: float) -> None:
    config = replace(YAMNET, patch_frames=patch_frames, overlap=overlap, include_last_patch=True)
    starts = grid_starts(n_frames, config)
    assert starts.dtype == np.int64
    if n_frames < patch_frames:
        assert starts.tolist() == []
        return
    assert (np.diff(starts) > 0).all()
    assert starts[-1] + patch_frames == n_frames
    without = zoo_starts(n_frames, patch_frames, overlap)
    assert starts.tolist()[: len(without)] == without
    assert len(starts) - len(without) in (0, 1)


@pytest.mark.parametrize(("n_frames", "starts"), [(96, [0]), (168, [0, 72]), (167, [0, 71])])
def test_last_patch_is_added_only_where_the_grid_has_none(n_frames: int, starts: list[int]) -> None:
    assert grid_starts(n_frames, replace(YAMNET, include_last_patch=True)).tolist() == starts


@pytest.mark.parametrize("starts", [[0], [0, 3, 3, 1], [7], []])
def test_cut_is_slicing(starts: list[int]) -> None:
    logmel = np.random.default_rng(0).standard_normal((5, 11)).astype(np.float32)
    patches = cut(logmel, np.array(starts, dtype=np.int64), 4)
    assert patches.shape == (len(starts), 5, 4)
    assert patches.dtype == np.float32 and patches.flags["C_CONTIGUOUS"]
    for patch, start in zip(patches, starts, strict=True):
        np.testing.assert_array_equal(patch, logmel[:, start : start + 4])


def test_cut_copies() -> None:
    logmel = np.zeros((2, 6), dtype=np.float32)
    cut(logmel, np.array([0, 1]), 3)[:] = 1
    assert not logmel.any()


def test_cut_refuses_a_start_past_the_end() -> None:
    with pytest.raises(IndexError):
        cut(np.zeros((2, 6), dtype=np.float32), np.array([4]), 3)


Batch = tuple[torch.Tensor, torch.Tensor, int]


def batch_of_patches(seed: int, num_patches: int = 50, num_clips: int = 9, num_classes: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(num_patches, num_classes, generator=generator)
    return logits.softmax(dim=1), torch.randint(0, num_clips, (num_patches,), generator=generator), num_clips


def mean_by_clip(posteriors: np.ndarray, clips: np.ndarray, num_clips: int) -> np.ndarray:
    means = np.full((num_clips, posteriors.shape[1]), np.nan)
    for clip in set(clips.tolist()):
        means[clip] = posteriors[clips == clip].astype(np.float64).mean(axis=0)
    return means


@pytest.mark.parametrize("seed", range(5))
def test_clip_posterior_is_the_mean_over_its_patches(seed: int) -> None:
    posteriors, clips, num_clips = batch_of_patches(seed)
    result = clip_posteriors(posteriors, clips, num_clips)
    assert result.dtype == torch.float32 and result.shape == (num_clips, 6)
    np.testing.assert_allclose(result, mean_by_clip(posteriors.numpy(), clips.numpy(), num_clips), atol=1e-7)


@pytest.mark.parametrize("seed", range(5))
def test_clip_posterior_does_not_depend_on_the_order_of_patches(seed: int) -> None:
    posteriors, clips, num_clips = batch_of_patches(seed, num_patches=2000)
    order = torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))
    shuffled = clip_posteriors(posteriors[order], clips[order], num_clips)
    assert torch.equal(shuffled, clip_posteriors(posteriors, clips, num_clips))


def test_order_of_patches_flips_no_tie() -> None:
    first, second = [0.1, 0.7, 0.2], [0.7, 0.1, 0.2]
    posteriors = torch.tensor([first, second] * 500)
    by_class = torch.tensor([first] * 500 + [second] * 500)
    clips = torch.zeros(1000, dtype=torch.int64)
    decisions = [decide(clip_posteriors(rows, clips, 1)).item() for rows in (posteriors, by_class, by_class.flip(0))]
    assert decisions == [0, 0, 0]


def test_clip_without_patches_is_nan_and_the_others_are_not() -> None:
    result = clip_posteriors(torch.tensor([[0.25, 0.75]]), torch.tensor([1]), 3)
    assert result.isnan().all(dim=1).tolist() == [True, False, True]
    assert result[1].tolist() == [0.25, 0.75]


def test_no_patch_at_all_makes_every_clip_nan() -> None:
    result = clip_posteriors(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 2)
    assert result.shape == (2, 4) and result.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_clip_posterior_keeps_the_type(dtype: torch.dtype) -> None:
    result = clip_posteriors(torch.tensor([[0.5, 0.5], [0.25, 0.75]], dtype=dtype), torch.tensor([0, 0]), 1)
    assert result.dtype == dtype
    assert result.tolist() == [[0.375, 0.625]]


@pytest.mark.parametrize(
    ("row", "decision"),
    [
        ([0.1, 0.7, 0.2], 1),
        ([0.5, 0.5, 0.0], 0),
        ([0.2, 0.4, 0.4], 1),
        ([0.25, 0.25, 0.25], 0),
        ([0.0, 0.0, 1.0], 2),
        ([-3.0, -1.0, -1.0], 1),
    ],
)
def test_decision_is_the_greatest_and_ties_go_to_the_lowest_index(row: list[float], decision: int) -> None:
    result = decide(torch.tensor([row]))
    assert result.dtype == torch.int64 and result.tolist() == [decision]


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    rows=st.integers(1, 20).flatmap(
        lambda width: st.lists(st.lists(st.integers(0, 3), min_size=width, max_size=width), min_size=1, max_size=8)
    )
)
def test_decision_agrees_with_numpy_on_rows_full_of_ties(rows: list[list[int]]) -> None:
    scores: Any = np.array(rows, dtype=np.float32)
    assert decide(torch.from_numpy(scores)).tolist() == scores.argmax(axis=1).tolist()
