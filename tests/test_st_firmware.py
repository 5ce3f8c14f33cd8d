"""The simulated front end of ST's firmware: the trained one at one end, the sources' description at the other."""

import math
from dataclasses import replace

import numpy as np
import pytest
import soundfile as sf
import torch

from aed.base.errors import AedError
from aed.dsp.frontend import PRESETS, TINY, FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.tables import mel_table
from aed.target.firmware.stm32.st_frontend import (
    Firmware,
    compute_patches,
    default_silence_threshold,
    differences,
    effect,
    load,
    measurable,
)

YAMNET, MINIRESNET = PRESETS["yamnet_64x96"], PRESETS["miniresnet_64x50"]
OPEN = Firmware(silence_threshold=-1)
CONFIGS = {
    "yamnet": YAMNET,
    "miniresnet": MINIRESNET,
    "reflected": replace(MINIRESNET, pad_mode="reflect", power=1.0, overlap=0.5),
    "fixed reference": replace(MINIRESNET, center=False, db_ref=0.5, include_last_patch=True),
    "no offset": replace(YAMNET, log_offset=0.0, power=2.0, sample_bits=None),
    "odd window": replace(YAMNET, win_length=401, hop_length=171, sample_bits=12, min_length_s=2),
}


def sound(seconds: float = 3.3, rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Noise that swells and falls silent."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * rate)) / rate
    wave = random.normal(0, 0.1, len(time)) * (0.55 + 0.45 * np.sin(5 * time)) + 0.2 * np.sin(2765 * time)
    wave[len(wave) // 2 : len(wave) // 2 + rate // 3] *= 1e-3
    return wave.astype(np.float32)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_without_differences_it_is_the_trained_front_end(config):
    wave = sound()
    logmel = LogMel(config)(torch.from_numpy(wave)).numpy()
    expected = cut(logmel, grid_starts(logmel.shape[1], config), config.patch_frames)
    heard = compute_patches(wave, config, OPEN, ())
    assert heard.patches.shape == expected.shape
    np.testing.assert_allclose(heard.patches, expected, atol=2e-4)
    assert heard.answered.all()


def described(wave: np.ndarray, config: FrontendConfig) -> tuple[np.ndarray, list[float]]:
    """The firmware's steps, sample by sample, as its description has them."""
    samples = np.clip(np.rint(wave.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    window = np.float32(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.win_length) / config.win_length))
    left, bank, patches, sums = (config.n_fft - config.win_length) // 2, mel_table(config), [], []
    for first in range(0, len(samples) - config.patch_samples + 1, config.patch_samples):
        patch, total = np.empty((config.n_mels, config.patch_frames), np.float32), 0.0
        for column in range(config.patch_frames):
            buffer, start = np.zeros(config.n_fft, np.float32), first + column * config.hop_length
            part = samples[start : start + config.win_length].astype(np.float32) / np.float32(32768)
            buffer[left : left + config.win_length] = part * window
            spectrum = np.abs(np.fft.rfft(buffer)).astype(np.float32)
            total += float(spectrum.sum()) if config.power == 1 else 0.0
            mel = np.maximum(bank @ (spectrum if config.power == 1 else spectrum**2), np.float32(TINY))
            patch[:, column] = 10 * np.log10(mel) if config.to_db else np.log(mel)
        patches.append(patch)
        sums.append(total)
    return np.stack(patches), sums


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_with_all_differences_it_is_the_firmware_as_described(config):
    wave = sound(4.5)
    expected, sums = described(wave, config)
    gate = (min(sums) + max(sums)) / 2
    heard = compute_patches(wave, config, Firmware(silence_threshold=gate))
    assert len(expected) >= 2
    np.testing.assert_allclose(heard.patches, expected, atol=2e-3)
    assert heard.answered.tolist() == [total > gate for total in sums]


def test_only_what_differs_is_listed():
    names = {name: set(measurable(config, OPEN)) for name, config in CONFIGS.items()}
    always = {"clip_steps", "grid", "precision"}
    assert names["yamnet"] == always | {"frame_start", "log_offset"}
    assert names["miniresnet"] == always | {"centre", "db_reference", "db_floor"}
    assert names["reflected"] == names["miniresnet"] | {"db_factor"}
    assert names["fixed reference"] == always | {"db_reference", "db_floor"}
    assert names["no offset"] == always | {"frame_start", "sample_bits"}
    everything = {one.name for one in differences(YAMNET, OPEN)}
    assert everything - names["yamnet"] == {"aggregation", "microphone", "overrun"}


def test_log_offset_alone_moves_quiet_bins_only():
    wave = sound()
    trained, bare = (compute_patches(wave, YAMNET, OPEN, on).patches for on in ((), ("log_offset",)))
    np.testing.assert_allclose(np.exp(bare.astype(np.float64)) + 1e-4, np.exp(trained.astype(np.float64)), rtol=1e-5)


def test_db_reference_alone_is_one_offset_a_clip():
    wave = sound()
    shift = (
        compute_patches(wave, MINIRESNET, OPEN, ("db_reference",)).patches
        - compute_patches(wave, MINIRESNET, OPEN, ()).patches
    )
    assert np.ptp(shift) < 1e-3
    peak = float(LogMel(replace(MINIRESNET, db_ref=1.0))(torch.from_numpy(wave)).max())
    assert shift.mean() == pytest.approx(peak, abs=1e-3)


def test_db_factor_halves_magnitudes_above_the_floor():
    config = replace(MINIRESNET, power=1.0, db_ref=1.0)
    twice, once = (compute_patches(sound(), config, OPEN, on).patches for on in ((), ("db_factor",)))
    np.testing.assert_allclose(2 * once, twice, atol=1e-3)


def test_silence_is_gated_for_magnitudes():
    quiet = np.zeros(40000, np.float32)
    heard = compute_patches(quiet, YAMNET, Firmware(silence_threshold=100))
    assert not heard.answered.any()
    np.testing.assert_allclose(heard.patches, math.log(TINY), rtol=1e-6)
    assert compute_patches(sound(), YAMNET, Firmware(silence_threshold=100)).answered.all()


def test_power_spectra_are_never_answered_with_st_s_thresholds_and_always_with_ours():
    assert not compute_patches(sound(), MINIRESNET, Firmware(silence_threshold=0)).answered.any()
    assert default_silence_threshold(MINIRESNET) == -1
    assert compute_patches(sound(), MINIRESNET, Firmware(silence_threshold=-1)).answered.all()
    # the ThreadX application takes 0 for none
    assert compute_patches(sound(), MINIRESNET, Firmware(silence_threshold=0, rtos="threadx")).answered.all()


def test_input_steps_round_half_away_from_zero_and_saturate():
    firmware = Firmware(silence_threshold=-1, input_scale=0.05, input_zero_point=38)
    heard = compute_patches(sound(), YAMNET, firmware, ("input_rounding",)).patches
    steps = heard / np.float32(0.05)
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert steps.min() >= -128 - 38 - 1e-3
    exact = compute_patches(sound(), YAMNET, firmware, ()).patches
    inside = exact > -166 * 0.05
    assert np.abs(heard - exact)[inside].max() <= 0.025 + 1e-5


def test_patches_follow_each_other_without_overlap():
    wave = sound(4.0)
    far = compute_patches(wave, YAMNET, OPEN).patches
    assert len(far) == len(wave) // YAMNET.patch_samples == 4
    later = compute_patches(wave[YAMNET.patch_samples :], YAMNET, OPEN).patches
    np.testing.assert_array_equal(far[1:], later)


def test_what_is_shorter_than_a_patch_is_followed_by_silence(tmp_path):
    sf.write(tmp_path / "short.wav", sound(0.3), 16000)
    wave = load(tmp_path / "short.wav", YAMNET, ("clip_steps",))
    assert len(wave) == 4800
    patches = compute_patches(wave, YAMNET, OPEN).patches
    assert len(patches) == 1
    assert patches[0, :, 32:].max() == pytest.approx(math.log(TINY))
    assert len(load(tmp_path / "short.wav", YAMNET, ())) == 16000


def test_freertos_takes_16_khz_for_48(tmp_path):
    config = FrontendConfig(sample_rate=48000, n_fft=1024, win_length=1024, hop_length=480, max_length_s=5)
    sf.write(tmp_path / "tone.wav", (0.3 * np.sin(2 * np.pi * 1000 * np.arange(144000) / 48000)), 48000)
    assert "sample_rate" in measurable(config, OPEN)
    assert "sample_rate" not in measurable(config, replace(OPEN, rtos="threadx"))
    loudest = {}
    for on in ((), ("sample_rate",)):
        wave = load(tmp_path / "tone.wav", config, on)
        loudest[on] = int(compute_patches(wave, config, OPEN, on).patches[0].mean(axis=1).argmax())
    bins_hz = np.arange(513) * 48000 / 1024
    centre = (mel_table(config) * bins_hz).sum(axis=1) / mel_table(config).sum(axis=1)
    assert centre[loudest[()]] == pytest.approx(1000, rel=0.1)
    assert centre[loudest[("sample_rate",)]] == pytest.approx(3000, rel=0.1)


def test_effect_tells_each_difference_from_all(tmp_path):
    """A net that hears whether a patch's quietest value lies under -9.3, which the trained front end cannot give."""
    for name, wave in {"loud": sound(2.0), "quiet": 1e-3 * sound(2.0), "silent": np.zeros(32000, np.float32)}.items():
        sf.write(tmp_path / f"{name}.wav", wave, 16000)
    clips = [(tmp_path / "loud.wav", 0), (tmp_path / "quiet.wav", 0), (tmp_path / "silent.wav", 0)]

    def posteriors(patches: np.ndarray) -> np.ndarray:
        assert patches.shape[1:] == (1, 64, 96)
        low = (patches.min(axis=(1, 2, 3)) < -9.3).astype(np.float32)
        return np.stack([1 - low, low], axis=1)

    numbers: list[int] = []
    found = effect(clips, YAMNET, posteriors, Firmware(silence_threshold=100), numbers.append)
    assert list(found) == ["trained", *measurable(YAMNET, Firmware(silence_threshold=100)), "firmware"]
    assert numbers == [1, 2, 3]
    assert (found["trained"].clip_acc, found["trained"].changed_clips) == (1.0, 0)
    assert found["grid"].clip_acc == found["precision"].clip_acc == found["frame_start"].clip_acc == 1.0
    assert found["log_offset"].clip_acc < 1
    assert found["silence_gate"].clip_acc == pytest.approx(1 / 3)  # two clips are too quiet to be answered
    assert found["silence_gate"].changed_clips == 2
    assert found["silence_gate"].answered == pytest.approx(1 / 3)
    assert found["silence_gate"].answered_acc == 1.0
    assert found["firmware"].patches == 6


@pytest.mark.parametrize(
    ("aggregate", "threshold", "clip_acc", "right_patches"),
    [("mean", 0.0, 0.0, 1), ("max", 0.0, 1.0, 1), ("max", 0.85, 1.0, 1), ("max", 0.9, 0.0, 0)],
)
def test_effect_decides_by_threshold_and_aggregate(tmp_path, aggregate, threshold, clip_acc, right_patches):
    """Only the first of a clip's patches is for its class, with 0.9, which does not exceed a threshold of 0.9."""
    sf.write(tmp_path / "a.wav", sound(4.0), 16000)

    def posteriors(patches: np.ndarray) -> np.ndarray:
        return np.array([[0.9, 0.1], *[[0.2, 0.8]] * (len(patches) - 1)], np.float32)

    firmware = replace(OPEN, unknown_threshold=threshold)
    for one in effect([(tmp_path / "a.wav", 0)], YAMNET, posteriors, firmware, aggregate=aggregate).values():
        assert one.patches >= 3 and one.clip_acc == clip_acc
        assert one.patch_acc == pytest.approx(right_patches / one.patches)


def test_effect_needs_clips():
    with pytest.raises(AedError, match="at least one clip"):
        effect([], YAMNET, lambda patches: patches, OPEN)
