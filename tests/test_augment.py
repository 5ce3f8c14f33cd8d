import math

import pytest
import torch

from aed.base.errors import AedError
from aed.dsp import PRESETS
from aed.modules.augment import (
    AugmentConfig,
    PatchAugment,
    gaussian_noise,
    mask,
    mel_shift,
    mixup,
    random_filter,
    random_gain,
)

YAMNET, RESNET = PRESETS["yamnet_64x96"], PRESETS["miniresnet_64x50"]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_noise_has_the_asked_deviation_and_no_bias():
    change = gaussian_noise(torch.zeros(64, 1, 64, 96), 0.1)
    assert change.std().item() == pytest.approx(0.1, rel=0.01)
    assert change.mean().item() == pytest.approx(0, abs=1e-3)


def test_gain_adds_one_constant_per_sample_within_the_asked_range():
    patches = torch.randn(200, 1, 8, 8)
    change = random_gain(patches, -1.0, 2.0, floor=-100) - patches
    assert change.flatten(1).std(dim=1).max() < 1e-5
    steps = change[:, 0, 0, 0]
    assert steps.min() >= -1 and steps.max() <= 2
    assert steps.min() < -0.8 and steps.max() > 1.8


def test_gain_never_falls_under_silence():
    assert random_gain(torch.full((50, 1, 4, 4), -9.0), -5, -1, floor=-9.2).min() == pytest.approx(-9.2)


@pytest.mark.parametrize(("frontend", "expected"), [(YAMNET, math.log(2)), (RESNET, 20 * math.log10(2))])
def test_gain_is_a_log_term_of_the_front_end(frontend, expected):
    augment = PatchAugment(AugmentConfig(min_gain=2, max_gain=2), frontend).train()
    patches = torch.zeros(3, 1, frontend.n_mels, frontend.patch_frames)
    assert torch.allclose(augment(patches), torch.tensor(expected))


@pytest.mark.parametrize("axis", [2, 3])
def test_masks_have_exact_widths_up_to_the_asked_one(axis):
    hidden = mask(torch.zeros(3000, 1, 20, 30), axis, count=1, max_width=5, fill=-9.0) == -9.0
    rows = hidden.any(dim=5 - axis).squeeze(1)
    widths = rows.sum(dim=1)
    assert set(widths.tolist()) == set(range(6))
    counts = torch.bincount(widths, minlength=6) / 3000
    assert (counts - 1 / 6).abs().max() < 0.04
    assert ((rows.diff(dim=1, prepend=torch.zeros(3000, 1, dtype=bool)) & rows).sum(dim=1) <= 1).all()
    assert (hidden.all(dim=5 - axis).squeeze(1) == rows).all()


def test_masks_reach_both_edges_and_differ_between_samples():
    rows = (mask(torch.zeros(2000, 1, 10, 6), 2, 1, 3, -1.0) == -1).any(dim=3).squeeze(1)
    assert rows[:, 0].any() and rows[:, -1].any()
    assert not (rows == rows[0]).all()


def test_masked_cells_hold_silence():
    augment = PatchAugment(AugmentConfig(freq_masks=2, freq_mask_width=8, time_masks=2, time_mask_width=8), YAMNET)
    patches = augment.train()(torch.ones(16, 1, 64, 96))
    assert set(patches.unique().tolist()) == {1.0, torch.tensor(YAMNET.silence).item()}


def test_a_mel_shift_moves_whole_patches_evenly_and_repeats_the_edge():
    band = torch.arange(10.0)[:, None].expand(3000, 1, 10, 4)  # each band holds its number
    shifted = mel_shift(band, 2)
    assert (shifted == shifted[..., :1]).all(), "all frames alike"
    steps = 5 - shifted[:, 0, 5, 0]
    for step in range(-2, 3):
        chosen = shifted[steps == step][:, 0, :, 0]
        assert len(chosen) == pytest.approx(600, abs=100)
        assert (chosen == (torch.arange(10.0) - step).clamp(0, 9)).all()


def test_a_random_filter_is_piecewise_linear_over_bands_and_constant_in_time():
    change = random_filter(torch.zeros(4000, 1, 64, 3), 2.0, floor=-100)
    assert (change == change[..., :1]).all()
    assert change[:, 0, [0, 21, 42, 63], 0].std(dim=0).tolist() == pytest.approx([2.0] * 4, rel=0.05)
    bends = change[:, 0, :, 0].diff(dim=1).diff(dim=1).abs().amax(dim=0)
    assert set((bends > 1e-3).nonzero().flatten().tolist()) == {20, 41}, "only at the points within"
    assert random_filter(torch.full((50, 1, 8, 3), -9.0), 5.0, floor=-9.2).min() == pytest.approx(-9.2)


def test_masks_can_hold_the_mean_of_their_patch():
    config = AugmentConfig(freq_masks=1, freq_mask_width=8, mask_value="mean")
    patches = torch.randn(32, 1, 64, 96) + torch.arange(32.0)[:, None, None, None]
    masked = PatchAugment(config, YAMNET).train()(patches)
    changed = masked != patches
    assert changed.any()
    assert torch.equal(masked[changed], patches.mean(dim=(1, 2, 3), keepdim=True).expand_as(patches)[changed])


def test_mixup_mixes_patches_and_targets_by_the_same_shares():
    number = torch.arange(64.0)  # one patch holds its number everywhere, its target is a row of the unit matrix
    patches, target = mixup(number[:, None, None, None].expand(64, 1, 4, 5), torch.eye(64), 0.4)
    assert torch.allclose(target.sum(dim=1), torch.ones(64))
    assert torch.allclose(patches, (target @ number)[:, None, None, None].expand_as(patches), atol=1e-4)
    assert (target.diagonal() >= 0.5).all(), "a patch is mostly itself"
    assert (target > 0).sum(dim=1).max() == 2


def test_the_shares_of_mixup_follow_the_folded_beta_distribution():
    _, target = mixup(torch.zeros(4000, 1, 1, 1), torch.eye(4000), 1.0)
    own = target.diagonal()
    assert own[own < 1].mean() == pytest.approx(0.75, abs=0.01)  # Beta(1, 1) is uniform, folded to 0.5..1
    assert own[own < 1].std() == pytest.approx(0.5 / math.sqrt(12), abs=0.01)


def test_nothing_happens_in_evaluation_or_by_default():
    patches = torch.randn(4, 1, 64, 96)
    assert torch.equal(PatchAugment(AugmentConfig(noise_std=1), YAMNET).eval()(patches), patches)
    assert torch.equal(PatchAugment(AugmentConfig(), YAMNET).train()(patches), patches)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"noise_std": -1}, "noise_std"),
        ({"min_gain": 0}, "min_gain"),
        ({"min_gain": 2, "max_gain": 1}, "max_gain"),
        ({"mixup": -0.1}, "mixup"),
        ({"mask_value": "zero"}, "mask_value"),
        ({"freq_masks": 3}, "freq_mask_width=0 masks nothing"),
        ({"time_mask_width": 8}, "time_masks=0 with time_mask_width=8"),
    ],
)
def test_impossible_values_are_named(arguments, name):
    with pytest.raises(AedError, match=name):
        AugmentConfig(**arguments)


def test_a_mask_wider_than_a_patch_is_refused():
    with pytest.raises(AedError, match=r"time_mask_width.*96"):
        PatchAugment(AugmentConfig(time_masks=1, time_mask_width=97), YAMNET)
