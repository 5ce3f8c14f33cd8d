"""Augmented crops: each change against what it says it does, the pool, and training on it."""

import numpy as np
import pandas as pd
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import welch

from aed.base.errors import AedError
from aed.datamodules.crops.config import CropConfig
from aed.datamodules.crops.making import Mix, shares
from aed.datamodules.crops.pool import CropPool
from aed.dsp.noise import coloured_noise, rms
from aed.dsp.vary import (
    EQUALIZER_TAPS,
    LOWEST_KNOT_HZ,
    equalized,
    excerpt,
    played,
    reverberant,
    room_response,
    source_samples,
)

RATE = 16000
PLAIN = CropConfig(
    per_clip=3, length_s=0.5, speed_share=0, mix_share=0, equalizer_share=0, noise_share=0, gain_db=(0.0, 0.0)
)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE).astype(np.float32)


# ---- changes of a sound --------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.86, 1.0, 1.16])
def test_speed_moves_pitch_and_time(speed):
    fast = played(tone(1000), speed)
    assert len(fast) == int(np.ceil(RATE / speed))
    middle = fast[2000:-2000]
    expected = np.sin(2 * np.pi * 1000 * speed * np.arange(len(fast)) / RATE)[2000:-2000]
    np.testing.assert_allclose(middle, expected, atol=2e-3)


@given(st.integers(1, 9000), st.floats(0.5, 2.0))
def test_enough_samples_are_taken_for_any_speed(num_samples, speed):
    needed = source_samples(num_samples, speed)
    assert len(played(np.ones(needed, np.float32), speed)) >= num_samples
    assert needed <= np.ceil(num_samples * (speed + 0.01))


def test_response_is_that_of_the_knots_and_has_no_delay():
    gains = np.array([6.0, -6.0, 0.0, 4.0, -3.0, 2.0])
    noise = coloured_noise(30 * RATE, RATE, "white", np.random.default_rng(0))
    frequency, before = welch(noise, RATE, nperseg=4096)
    _, after = welch(equalized(noise, gains, RATE), RATE, nperseg=4096)
    knots = np.geomspace(LOWEST_KNOT_HZ, RATE / 2, len(gains))
    inside = (frequency > 250) & (frequency < 7800)
    expected = np.interp(np.log(frequency[inside]), np.log(knots), gains)
    np.testing.assert_allclose(10 * np.log10(after / before)[inside], expected, atol=0.8)
    click = np.zeros(2000, np.float32)
    click[700] = 1
    assert np.abs(equalized(click, gains, RATE)).argmax() == 700
    assert len(equalized(click[: EQUALIZER_TAPS // 2], gains, RATE)) == EQUALIZER_TAPS // 2, "shorter than the filter"


@pytest.mark.parametrize(("rt60_s", "direct_db"), [(0.2, 0.0), (0.5, 12.0)])
def test_echoes_of_a_room_fall_as_they_should(rt60_s, direct_db):
    response = room_response(RATE, rt60_s, direct_db, np.random.default_rng(3))
    assert response[0] == 1
    echoes = np.square(response[1:])
    assert -10 * np.log10(echoes.sum()) == pytest.approx(direct_db, abs=1e-6)
    left_db = 10 * np.log10(np.cumsum(echoes[::-1])[::-1] / echoes.sum())  # Schroeder's integral
    time_s = np.arange(len(left_db)) / RATE
    fit = (left_db < -5) & (left_db > -25)
    assert -60 / np.polyfit(time_s[fit], left_db[fit], 1)[0] == pytest.approx(rt60_s, rel=0.1)


def test_a_room_keeps_the_level_and_begins_with_the_sound():
    wave = np.concatenate([np.zeros(500, np.float32), tone(440, 0.5)])
    heard = reverberant(wave, room_response(RATE, 0.3, 3.0, np.random.default_rng(0)))
    assert heard.shape == wave.shape and rms(heard) == pytest.approx(rms(wave), rel=1e-5)
    assert np.abs(heard[:400]).max() < 1e-6
    assert not reverberant(np.zeros(9, np.float32), np.ones(3)).any()


@given(st.integers(1, 50), st.integers(1, 120), st.integers(0, 99))
def test_an_excerpt_is_a_part_or_repeats_the_sound(length, asked, seed):
    wave = np.arange(1, length + 1, dtype=np.float32)
    part = excerpt(wave, asked, np.random.default_rng(seed))
    assert len(part) == asked
    assert set(np.diff(part)) <= ({1.0} if length >= asked else {1.0, 1.0 - length})


# ---- crops ---------------------------------------------------------------------------------------------------


def pool(folder, config=PLAIN, seed=0, order=1, workers=1) -> tuple[CropPool, pd.DataFrame]:
    data = tiny.data(cache_dir=str(folder / "cache"))
    data.setup()
    rows = data.rows("train").iloc[::order].reset_index(drop=True)
    keys, _ = data.cache.keys(list(rows["path"]))
    return CropPool(rows, keys, config, data.frontend, folder / "cache", seed, workers), rows


def all_waves(made: CropPool) -> np.ndarray:
    return np.stack([wave for maker in made.makers for wave in maker.waves()])


def test_without_changes_crops_are_parts_of_their_clips(tmp_path, trains):
    made, _ = pool(tmp_path)
    for maker in made.makers:
        for mix, wave in zip(maker.mixes(), maker.waves(), strict=True):
            clip = maker._wave(maker.clips[mix.clip].path)
            places = np.lib.stride_tricks.sliding_window_view(clip, len(wave))[:, :40]
            starts = np.flatnonzero((places == np.clip(wave, -1, 1)[:40]).all(axis=1))
            assert any(np.array_equal(clip[start : start + len(wave)], wave) for start in starts)


def test_crops_depend_on_content_and_seed_alone(tmp_path, trains):
    config = CropConfig(per_clip=2, length_s=0.5, room_share=0.5, microphone_share=0.5)
    made, other = pool(tmp_path, config)[0], pool(tmp_path, config, order=-1)[0]
    assert made.digests == other.digests
    np.testing.assert_array_equal(all_waves(made), all_waves(other))
    assert not np.array_equal(all_waves(made), all_waves(pool(tmp_path, config, seed=1)[0]))
    assert len({wave.tobytes() for wave in all_waves(made)}) == 2 * sum(len(maker.clips) for maker in made.makers)


def test_partners_are_of_the_same_fold_and_shares_add_up(tmp_path, trains):
    made, rows = pool(tmp_path, CropConfig(per_clip=50, mix_share=0.5, length_s=0.5))
    for maker in made.makers:
        assert rows["fold"].iloc[[clip.row for clip in maker.clips]].nunique() == 1
        mixes = maker.mixes()
        share = np.mean([mix.partner != mix.clip for mix in mixes])
        assert share == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(mixes)))
        assert all(mix.share >= 0.5 for mix in mixes) and all(
            mix.share == 1 for mix in mixes if mix.partner == mix.clip
        )
    targets = np.eye(len(rows), dtype=np.float32)
    crops = made.shares(targets, multi_label=False)
    np.testing.assert_allclose(crops.sum(axis=1), 1, atol=1e-6)
    assert (
        crops.argmax(axis=1) == np.concatenate([[m.clips[x.clip].row for x in m.mixes()] for m in made.makers])
    ).all()


def test_both_classes_of_a_mixture_are_on_where_any_number_may_be():
    targets = np.array([[1, 0, 0], [0, 1, 1]], np.float32)
    assert shares([Mix(0, 1, 0.9), Mix(1, 1, 1.0)], targets, multi_label=True).tolist() == [[1, 1, 1], [0, 1, 1]]
    assert shares([Mix(0, 1, 0.75)], targets, multi_label=False).tolist() == [[0.75, 0.25, 0.25]]


def test_level_noise_and_mixture_are_what_the_settings_say(tmp_path, trains):
    quiet, _ = pool(tmp_path)
    louder, _ = pool(tmp_path, CropConfig(**{**PLAIN.__dict__, "gain_db": (-6.0, -6.0)}))
    noisy, _ = pool(tmp_path, CropConfig(**{**PLAIN.__dict__, "noise_share": 1.0, "snr_db": (10.0, 10.0)}))
    for own, soft, heard in zip(all_waves(quiet), all_waves(louder), all_waves(noisy), strict=True):
        np.testing.assert_allclose(soft, own * 10 ** (-6 / 20), rtol=1e-6)
        if np.abs(heard).max() < 1 and rms(own) > 0:
            assert 20 * np.log10(rms(own) / rms(heard - own)) == pytest.approx(10, abs=0.05)


def test_values_are_computed_once_by_any_number_of_processes(tmp_path, trains):
    made, again = pool(tmp_path / "a")[0], pool(tmp_path / "b", workers=2)[0]
    one = made.values("level", lambda wave: np.array([rms(wave)]))
    two = again.values("level", lambda wave: np.array([rms(wave)]))
    expected = [np.float16(rms(wave)) for wave in all_waves(made)]
    assert np.concatenate(one)[:, 0].tolist() == np.concatenate(two)[:, 0].tolist() == expected
    cut = sorted((tmp_path / "a/cache/crops/level").glob("*.npy"))[0]
    cut.write_bytes(cut.read_bytes()[:100])  # as a damaged disk leaves it
    calls: list[int] = []
    made.values("level", lambda wave: np.array([calls.append(1) or rms(wave)]))
    assert len(calls) == len(
        next(maker for maker, digest in zip(made.makers, made.digests, strict=True) if digest == cut.stem)
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mix_share": 1.5}, "mix_share"), ({"snr_db": (5.0, 1.0)}, "snr_db"), ({"per_clip": -1}, "per_clip"),
        ({"speed": 0.9}, "speed"), ({"length_s": 0.0}, "length_s"), ({"gain_db": (1.0,)}, "gain_db"),
    ],
)  # fmt: skip
def test_values_out_of_range_are_named(changes, message):
    with pytest.raises(AedError, match=rf"data\.crops\.{message}: "):
        CropConfig(**changes)


# ---- training ------------------------------------------------------------------------------------------------


def test_training_sees_the_crops_and_nothing_else_does(tmp_path, trains):
    data = tiny.data(crops=CropConfig(per_clip=4, length_s=1.5), train_patches="random", patches_per_clip=1)
    data.setup()
    seen = data.training_data
    assert seen.num_clips == 4 * data.datasets["train"].num_clips
    batch = next(iter(data.train_dataloader()))
    assert batch.target.shape == (len(batch.patches), data.num_classes)
    np.testing.assert_array_equal(batch.target, seen.targets[batch.recording])
    assert next(iter(data.test_dataloader())).target.ndim == 1
    model = tiny.classifier()
    tiny.trainer(tmp_path, 2).fit(model, datamodule=data)
    assert model.trainer.callback_metrics["train/loss"].isfinite()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soundscape_hours": 1.0}, "soundscape_hours"),
        ({"crops": CropConfig(per_clip=1, length_s=0.2)}, "a patch needs"),
    ],
)
def test_crops_that_cannot_be_made_are_refused(changes, message):
    with pytest.raises(AedError, match=message):
        tiny.data(**{"crops": CropConfig(per_clip=1), **changes})
