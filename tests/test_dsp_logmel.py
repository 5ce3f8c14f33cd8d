"""Log-mel features against librosa, recorded values, and themselves."""

import math
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.dsp import PRESETS, FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.tables import hz_to_mel, mel_table, mel_to_hz, window_table
from aed.dsp.waveform import process

# librosa and ST's zoo take float samples as they are
YAMNET, MINIRESNET = (replace(PRESETS[name], sample_bits=None) for name in ("yamnet_64x96", "miniresnet_64x50"))
FIXED_DB = replace(MINIRESNET, center=False, db_ref=1.0, n_fft=512, win_length=512)
GOLDEN_CLIPS = ("clock_tick", "crying_baby", "dog", "rain", "rooster")
GOLDEN_FRONT_ENDS = {"yamnet": YAMNET, "miniresnet": MINIRESNET}

Array = np.ndarray


def noise(*shape: int, seed: int = 0) -> Array:
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def two_tones() -> Array:
    """The signal of the recorded values: 440 Hz and, softer, 3 kHz, for 1 s."""
    t = np.arange(16000) / 16000
    return (0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t)).astype(np.float32)


def logmel_of(wave: Array, config: FrontendConfig) -> Array:
    return LogMel(config)(torch.from_numpy(wave)).numpy()


def librosa_mel(config: FrontendConfig) -> Array:
    return librosa.filters.mel(
        sr=config.sample_rate,
        n_fft=config.n_fft,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
        htk=config.mel_scale == "htk",
        norm=config.norm,
    )


def librosa_logmel(wave: Array, config: FrontendConfig) -> Array:
    """In float64, with our window (tested below): rounding it to float32 shows in the quiet bands of a tone."""
    window = window_table(config.window, config.win_length)
    spectrum = librosa.stft(
        wave.astype(np.float64),
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        window=window.astype(np.float64),
        center=config.center,
        pad_mode=config.pad_mode,
    )
    mel = librosa_mel(config).astype(np.float64) @ np.abs(spectrum) ** config.power
    if not config.to_db:
        return np.log(mel + config.log_offset)
    to_db = {1: librosa.amplitude_to_db, 2: librosa.power_to_db}[int(config.power)]
    if config.db_ref is None:
        return to_db(mel, ref=np.max)
    return to_db(mel, ref=config.db_ref, top_db=None)


# against librosa


@pytest.mark.parametrize("config", [YAMNET, MINIRESNET, FIXED_DB])
@pytest.mark.parametrize("wave", [noise(8000), two_tones()], ids=["noise", "tones"])
@pytest.mark.usefixtures("computes")
def test_preset_agrees_with_librosa(config: FrontendConfig, wave: Array) -> None:
    logmel = logmel_of(wave, config)
    assert logmel.dtype == np.float32
    np.testing.assert_allclose(logmel, librosa_logmel(wave, config), atol=2e-5, rtol=0)


VARIANTS = st.fixed_dictionaries(
    {
        "sample_rate": st.sampled_from([8000, 16000, 44100]),
        "n_fft": st.sampled_from([256, 400, 512, 1000]),
        "win_length": st.integers(65, 256),
        "hop_length": st.integers(20, 400),
        "window": st.sampled_from(["hann", "hamming", "blackman", "blackmanharris", "boxcar", "triang"]),
        "center": st.booleans(),
        "pad_mode": st.sampled_from(["constant", "reflect", "edge"]),
        "n_mels": st.integers(1, 12),
        "f_min": st.sampled_from([0.0, 60.0, 300.0]),
        "f_max": st.sampled_from([3500.0, 4000.0]),
        "mel_scale": st.sampled_from(["htk", "slaney"]),
        "norm": st.sampled_from(["slaney", None]),
    }
)
COMPRESSIONS = st.sampled_from(
    [
        *({"power": power, "log_offset": offset} for power in (0.5, 1.0, 2.0) for offset in (0.0, 1e-4, 1e-3)),
        *({"power": power, "to_db": True, "db_ref": ref} for power in (1.0, 2.0) for ref in (None, 1.0, 0.01)),
    ]
)


@settings(deadline=None, derandomize=True, max_examples=80)
@given(values=VARIANTS, compression=COMPRESSIONS, num_samples=st.integers(1000, 3000))
def test_any_front_end_agrees_with_librosa(
    values: dict[str, Any], compression: dict[str, Any], num_samples: int
) -> None:
    config = FrontendConfig(**values, **compression, patch_frames=1, sample_bits=None)
    wave = noise(num_samples)
    np.testing.assert_allclose(logmel_of(wave, config), librosa_logmel(wave, config), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"mel_scale": "slaney"},
        {"norm": "slaney"},
        {"mel_scale": "slaney", "norm": "slaney", "f_min": 0.0, "f_max": 8000.0, "n_fft": 600},
        {"sample_rate": 48000, "n_fft": 2048, "f_max": 24000.0, "n_mels": 128, "hop_length": 480},
        {"n_mels": 1},
        {"n_fft": 401, "n_mels": 20},  # odd: the last bin lies under half the rate
    ],
)
def test_mel_table_is_that_of_librosa(values: dict[str, Any]) -> None:
    config = replace(YAMNET, **values)
    table = mel_table(config)
    assert table.dtype == np.float32 and table.shape == (config.n_mels, config.n_fft // 2 + 1)
    np.testing.assert_allclose(table, librosa_mel(config), atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize(("config", "non_zero", "fewest"), [(YAMNET, 461, 1), (MINIRESNET, 932, 5)])
def test_mel_table_has_the_recorded_number_of_weights(config: FrontendConfig, non_zero: int, fewest: int) -> None:
    per_band = (mel_table(config) > 0).sum(axis=1)
    assert (per_band.sum(), per_band.min()) == (non_zero, fewest)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_scales_are_those_of_librosa(scale: str) -> None:
    hz = np.array([0.0, 1.0, 125.0, 999.9, 1000.0, 1000.1, 4000.0, 24000.0])
    np.testing.assert_allclose(hz_to_mel(hz, scale), librosa.hz_to_mel(hz, htk=scale == "htk"), rtol=1e-12, atol=1e-12)
    mel = np.array([0.0, 0.5, 14.99, 15.0, 15.01, 60.0])
    np.testing.assert_allclose(mel_to_hz(mel, scale), librosa.mel_to_hz(mel, htk=scale == "htk"), rtol=1e-12)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_scale_and_its_inverse_cancel(scale: str) -> None:
    hz = np.linspace(0, 24000, 997)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "boxcar", "triang", "cosine", "flattop"])
@pytest.mark.parametrize("win_length", [1, 2, 25, 400, 1024])
def test_window_is_the_periodic_one_of_scipy(name: str, win_length: int) -> None:
    window = window_table(name, win_length)
    assert window.dtype == np.float64
    np.testing.assert_allclose(window, scipy.signal.get_window(name, win_length, fftbins=True), atol=1e-14)


def test_hann_window_is_periodic() -> None:
    window = window_table("hann", 400)
    assert window[0] == 0 and window[-1] > 0 and window[200] == 1
    np.testing.assert_allclose(window[1:], window[:0:-1], atol=1e-14)


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "triang"])
@pytest.mark.parametrize("win_length", [1, 2, 25, 400])
def test_symmetric_window_is_that_of_scipy(name: str, win_length: int) -> None:
    expected = scipy.signal.get_window(name, win_length, fftbins=False)
    np.testing.assert_allclose(window_table(f"{name}_symmetric", win_length), expected, atol=1e-14)


@pytest.mark.parametrize("name", ["hanm", "", "kaiser", "Hann window", "hanm_symmetric"])
def test_unknown_window_is_refused_by_name(name: str) -> None:
    with pytest.raises(AedError, match=r"frontend\.window") as error:
        window_table(name, 400)
    assert repr(name) in str(error.value) and "hann" in str(error.value)


def test_mel_bands_without_a_bin_are_refused() -> None:
    bands = {"n_fft": 128, "n_mels": 64}
    with pytest.warns(UserWarning, match="Empty filters"):
        expected = librosa.filters.mel(sr=16000, **bands, fmin=125, fmax=7500, htk=True, norm=None)
    empty = np.flatnonzero(expected.max(axis=1) == 0).tolist()
    with pytest.raises(AedError) as error:
        mel_table(replace(YAMNET, **bands, win_length=128))
    assert len(empty) > 1 and f"{empty} hold no FFT bin" in str(error.value)
    assert "n_mels (64)" in str(error.value) and "n_fft (128)" in str(error.value)


# features of a net that was trained at another rate

IMITATED = replace(PRESETS["mn_128x496"], sample_bits=None, patch_frames=1)


def kaldi_mel() -> Array:
    """EfficientAT's bank, ``(128, 513)``."""
    from torchaudio.compliance import kaldi

    import aed.dsp._torchaudio  # noqa: F401 - makes torchaudio importable

    bank, _ = kaldi.get_mel_banks(128, 1024, 32000.0, 0.0, 15000.0, 100.0, -500.0, 1.0)
    return np.pad(bank.numpy().astype(np.float64), ((0, 0), (0, 1)))


def test_kaldi_bands_are_those_of_torchaudio() -> None:
    np.testing.assert_allclose(mel_table(PRESETS["mn_32k_128x500"]), kaldi_mel(), atol=2e-5)


@pytest.mark.parametrize(("name", "bands"), [("mn_96x96", 96), ("mn_96x192", 96), ("mn_128x496", 128)])
def test_bands_at_half_the_rate_are_those_of_the_whole_with_its_level_and_pre_emphasis(name: str, bands: int) -> None:
    response = 1 - 0.97 * np.exp(-2j * np.pi * np.arange(257) / 1024)
    expected = kaldi_mel()[:bands, :257] * 4 * np.abs(response) ** 2
    np.testing.assert_allclose(mel_table(PRESETS[name]), expected, atol=1e-4)
    assert expected.max() > 3


def test_bands_over_half_the_rate_are_silent_and_others_are_not() -> None:
    silent = np.flatnonzero(mel_table(IMITATED).max(axis=1) == 0)
    assert silent.tolist() == list(range(105, 128))
    logmel = logmel_of(noise(8000), IMITATED)
    np.testing.assert_allclose(logmel[silent], IMITATED.silence, rtol=1e-6)
    assert logmel[:105].min() > IMITATED.silence


def test_features_at_half_the_rate_are_those_of_the_same_sound_at_the_whole() -> None:
    spectrum = np.fft.rfft(noise(64000).astype(np.float64))
    spectrum[14000:] = 0  # from 7 kHz on: then every other sample is the same sound
    sound = np.fft.irfft(spectrum).astype(np.float32)
    whole = replace(PRESETS["mn_32k_128x500"], center=False, patch_frames=1)
    theirs, ours = logmel_of(sound, whole), logmel_of(sound[1::2], IMITATED)  # theirs loses the first sample
    frames = min(theirs.shape[1], ours.shape[1])
    difference = np.abs(theirs[:96, :frames] - ours[:96, :frames])
    # the window is not quite as flat as the response takes it to be, which shows in the lowest bands
    assert difference.mean() < 0.01 and difference[10:].mean() < 0.006 and theirs[:96].std() > 0.5


def test_pre_emphasis_filters_samples_where_no_other_rate_is_imitated() -> None:
    config, wave = replace(YAMNET, pre_emphasis=0.9), noise(9000)
    filtered = scipy.signal.lfilter([1, -0.9], 1, wave.astype(np.float64))[1:].astype(np.float32)
    np.testing.assert_allclose(logmel_of(wave, config), logmel_of(filtered, YAMNET), atol=1e-5)
    assert [config.num_frames(n) for n in (512, 513, 672, 673)] == [0, 1, 1, 2]


@pytest.mark.parametrize("config", [YAMNET, MINIRESNET, FIXED_DB])
def test_features_are_the_logarithm_less_its_mean_over_its_deviation(config: FrontendConfig) -> None:
    scaled, wave = replace(config, log_mean=-4.5, log_std=5.0), noise(8000)
    np.testing.assert_allclose(logmel_of(wave, scaled), (logmel_of(wave, config) + 4.5) / 5, atol=1e-6)
    assert scaled.silence == pytest.approx((config.silence + 4.5) / 5)
    assert scaled.gain_term(2.0) == pytest.approx(config.gain_term(2.0) / 5)


# recorded values


def test_recorded_values_of_the_yamnet_front_end() -> None:
    logmel = logmel_of(two_tones(), YAMNET)
    assert logmel.shape == (64, 97)
    assert [logmel.mean(), logmel.max()] == pytest.approx([-4.810725, 4.089584], abs=1e-4)
    assert np.unravel_index(logmel.argmax(), logmel.shape)[0] == 8
    assert logmel[0:4, 0] == pytest.approx([-4.282411, -2.916774, -2.302665, -2.135632], abs=1e-4)
    assert logmel[14:18, 10] == pytest.approx([-3.272784, -3.322182, -3.533693, -4.576844], abs=1e-4)
    # quiet bands, where a window rounded to float32 shows (the record was made with a float64 one)
    assert [logmel.min(), logmel[63, 96]] == pytest.approx([-9.085513, -9.085513], abs=1e-3)


def test_recorded_values_of_the_miniresnet_front_end() -> None:
    logmel = logmel_of(np.tile(two_tones(), 2), MINIRESNET)
    assert logmel.shape == (64, 101)
    assert [logmel.mean(), logmel.min(), logmel.max()] == pytest.approx([-72.26075, -80.0, 0.0], abs=1e-3)
    assert logmel[10:14, 50] == pytest.approx([-46.13557, -62.97562, -72.26745, -78.87865], abs=1e-3)
    assert logmel[0, 0] == pytest.approx(-27.96282, abs=1e-3)


@lru_cache(maxsize=16)
def recorded(file: Path) -> dict[str, Array]:
    with np.load(file) as arrays:
        names = ("raw_int16", "raw_sr", "resampled", "wave", "melspec", "patches", "mel_filterbank")
        return {name: arrays[name] for name in names}


def golden_case(golden: Path, name: str, clip: str) -> tuple[dict[str, Array], FrontendConfig]:
    return recorded(golden / f"{name}_{clip}.npz"), replace(GOLDEN_FRONT_ENDS[name], trim="compatible")


def processed(arrays: dict[str, Array], config: FrontendConfig) -> Array:
    return process(arrays["raw_int16"].astype(np.float32) / 32768, int(arrays["raw_sr"]), config)


every_golden_array = pytest.mark.parametrize(
    ("name", "clip"), [(name, clip) for name in GOLDEN_FRONT_ENDS for clip in GOLDEN_CLIPS]
)


@every_golden_array
def test_waveform_is_that_of_the_zoo(golden: Path, name: str, clip: str) -> None:
    arrays, config = golden_case(golden, name, clip)
    wave = processed(arrays, config)
    assert wave.shape == arrays["wave"].shape
    np.testing.assert_allclose(wave, arrays["wave"], atol=1e-5, rtol=0)


@every_golden_array
def test_resampled_wave_is_that_of_the_zoo(golden: Path, name: str, clip: str) -> None:
    arrays, config = golden_case(golden, name, clip)
    untrimmed = replace(config, trim="none", min_length_s=0.0, lengthen="before")
    np.testing.assert_allclose(processed(arrays, untrimmed), arrays["resampled"], atol=1e-5, rtol=0)


@every_golden_array
def test_patches_are_those_of_the_zoo(golden: Path, name: str, clip: str) -> None:
    arrays, config = golden_case(golden, name, clip)
    logmel = logmel_of(processed(arrays, config), config)
    patches = cut(logmel, grid_starts(logmel.shape[1], config), config.patch_frames)
    assert patches.shape == arrays["patches"].shape
    np.testing.assert_allclose(patches, arrays["patches"], atol=1e-4 if config.to_db else 1e-5, rtol=0)


@every_golden_array
def test_mel_table_is_that_of_the_zoo(golden: Path, name: str, clip: str) -> None:
    arrays, config = golden_case(golden, name, clip)
    np.testing.assert_allclose(mel_table(config), arrays["mel_filterbank"], atol=1e-8, rtol=1e-6)


# the same for anyone: a clip of the project's own through the zoo's code

OWN_CLIP = Path(__file__).parent / "data" / "zoo_front_ends.npz"
"""Three synthetic barks between silences, 44.1 kHz, 16 bits, and what ``load_and_reformat`` and ``get_patches`` of
ST's model zoo services (commit 46924c0a, 3.0.0) with librosa 0.11.0 gave for the two front ends."""


def own_case(name: str) -> tuple[Array, dict[str, Array], FrontendConfig]:
    """Our wave of the clip, the zoo's arrays, the front end."""
    with np.load(OWN_CLIP) as file:
        arrays = dict(file)
    config = replace(GOLDEN_FRONT_ENDS[name], trim="compatible")
    return process(arrays["pcm"].astype(np.float32) / 32768, int(arrays["rate"]), config), arrays, config


@pytest.mark.parametrize("name", GOLDEN_FRONT_ENDS)
def test_waveform_of_a_clip_is_that_of_the_zoo(name: str) -> None:
    wave, arrays, config = own_case(name)
    assert 0 < len(arrays["wave"]) < 0.8 * 16000 * len(arrays["pcm"]) / int(arrays["rate"])  # silence was cut out
    recorded = np.resize(arrays["wave"], max(len(arrays["wave"]), round(config.min_length_s * config.sample_rate)))
    assert wave.shape == recorded.shape
    np.testing.assert_allclose(wave, recorded, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", GOLDEN_FRONT_ENDS)
def test_patches_of_a_clip_are_those_of_the_zoo(name: str) -> None:
    wave, arrays, config = own_case(name)
    logmel = logmel_of(wave, config)
    patches = cut(logmel, grid_starts(logmel.shape[1], config), config.patch_frames)
    assert patches.shape == arrays[f"{name}_patches"].shape
    np.testing.assert_allclose(patches, arrays[f"{name}_patches"], atol=1e-4 if config.to_db else 1e-5, rtol=0)


# batches, patches, streams


@pytest.mark.parametrize("config", [YAMNET, MINIRESNET, FIXED_DB])
def test_clip_alone_is_as_in_a_batch(config: FrontendConfig) -> None:
    waves = noise(2, 3, 8000) * np.array([1.0, 1e-3, 10.0], dtype=np.float32)[:, None]
    batch = logmel_of(waves, config)
    assert batch.shape == (2, 3, config.n_mels, config.num_frames(8000))
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(batch[index], logmel_of(waves[index], config), atol=1e-6, rtol=0)


@pytest.mark.parametrize("config", [YAMNET, FIXED_DB, PRESETS["mn_96x96"]])
def test_frames_have_the_same_bits_however_many_come_at_once(config: FrontendConfig) -> None:
    logmel, wave = LogMel(config), noise(40000)
    whole = logmel.array(wave[: config.frame_samples + 99 * config.hop_length])
    begin = 0
    for count in range(1, 14):
        samples = wave[begin * config.hop_length :][: config.frame_samples + (count - 1) * config.hop_length]
        np.testing.assert_array_equal(logmel.array(samples), whole[:, begin : begin + count])
        begin += count


def loud_then_soft() -> Array:
    return noise(40000) * np.repeat(np.array([1.0, 1e-3], dtype=np.float32), 20000)


def patches_and_own_segments(config: FrontendConfig) -> list[tuple[Array, Array]]:
    """Each patch of a clip, and the features of the samples a device would have had for it."""
    wave = loud_then_soft()
    logmel = logmel_of(wave, config)
    starts = grid_starts(logmel.shape[1], config)
    starts = starts[starts * config.hop_length + config.patch_samples <= len(wave)]
    assert len(starts) >= 2
    patches = cut(logmel, starts, config.patch_frames)
    first_samples = (starts * config.hop_length).tolist()
    return [
        (patch, logmel_of(wave[first : first + config.patch_samples], config))
        for patch, first in zip(patches, first_samples, strict=True)
    ]


@pytest.mark.parametrize(
    "config",
    [
        YAMNET,
        FIXED_DB,
        replace(FIXED_DB, power=1.0),
        replace(YAMNET, overlap=0.0, include_last_patch=True),
        replace(YAMNET, hop_length=200, n_fft=700, patch_frames=33),
        replace(YAMNET, pre_emphasis=0.97),
        PRESETS["mn_96x96"],
    ],
)
def test_patch_of_streamable_front_end_needs_its_own_samples_alone(config: FrontendConfig) -> None:
    assert config.streamable
    for patch, own in patches_and_own_segments(config):
        assert own.shape == patch.shape == (config.n_mels, config.patch_frames)
        np.testing.assert_allclose(own, patch, atol=1e-6, rtol=0)


@pytest.mark.parametrize("values", [{"center": True}, {"to_db": True}])
def test_patch_of_front_end_that_is_not_streamable_needs_more(values: dict[str, Any]) -> None:
    config = replace(YAMNET, **values)
    assert not config.streamable
    pairs = patches_and_own_segments(config)
    assert any(own.shape != patch.shape or np.abs(own - patch).max() > 1 for patch, own in pairs)


@pytest.mark.parametrize("config", [YAMNET, FIXED_DB])
def test_one_sample_less_than_patch_samples_is_one_frame_less(config: FrontendConfig) -> None:
    assert logmel_of(noise(config.patch_samples), config).shape[1] == config.patch_frames
    assert logmel_of(noise(config.patch_samples - 1), config).shape[1] == config.patch_frames - 1


# silence and extremes


@pytest.mark.parametrize(
    "config",
    [
        YAMNET,
        replace(YAMNET, log_offset=1e-3),
        replace(YAMNET, log_offset=0.0),
        replace(YAMNET, power=2.0),
        FIXED_DB,
        replace(FIXED_DB, power=1.0),
        replace(FIXED_DB, db_ref=25.0),
        replace(FIXED_DB, power=1.0, db_ref=0.01),
        PRESETS["mn_96x96"],
    ],
)
def test_digital_silence_has_the_value_the_config_states(config: FrontendConfig) -> None:
    np.testing.assert_allclose(logmel_of(np.zeros(2000, dtype=np.float32), config), config.silence, atol=1e-5, rtol=0)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_silence_in_a_clip_relative_front_end_lies_80_db_under_the_loudest(power: float) -> None:
    config = replace(MINIRESNET, power=power)
    wave = np.concatenate([noise(8000), np.zeros(8000, dtype=np.float32)])
    logmel = logmel_of(wave, config)
    assert logmel.max() == 0
    np.testing.assert_array_equal(logmel[:, -20:], config.silence)


@pytest.mark.parametrize("config", [YAMNET, MINIRESNET, FIXED_DB, replace(YAMNET, log_offset=0.0)])
@pytest.mark.parametrize("level", [0.0, 1e-30, 1e-6, 1.0, 1e6])
def test_features_are_finite_and_never_below_silence(config: FrontendConfig, level: float) -> None:
    logmel = logmel_of((noise(4000) * level).astype(np.float32), config)
    assert np.isfinite(logmel).all()
    assert logmel.min() >= config.silence - 1e-5


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_features_are_those_of_samples_rounded_as_a_converter_does(bits: int) -> None:
    full = 2 ** (bits - 1)
    wave = np.concatenate([noise(3000) * np.float32(0.01), [1.5, -1.5, 0.5 / full, 1.5 / full, -0.5 / full]])
    rounded = np.clip(np.rint(wave.astype(np.float64) * full), -full, full - 1) / full
    config = replace(YAMNET, sample_bits=bits)
    np.testing.assert_array_equal(
        LogMel(config)(torch.from_numpy(wave)).numpy(), LogMel(YAMNET)(torch.from_numpy(rounded)).numpy()
    )
    assert np.abs(LogMel(config)(torch.from_numpy(wave)) - LogMel(YAMNET)(torch.from_numpy(wave))).max() > 0


def test_soft_clip_keeps_its_shape_without_log_offset() -> None:
    config = replace(YAMNET, log_offset=0.0)
    soft = logmel_of(noise(4000) * np.float32(1e-6), config)
    np.testing.assert_allclose(soft - math.log(1e-6), logmel_of(noise(4000), config), atol=1e-4, rtol=0)


def test_features_carry_no_state_into_a_checkpoint_and_no_gradient() -> None:
    logmel = LogMel(YAMNET)
    assert not [name for name in logmel.state_dict() if name.startswith("mel")]
    assert not logmel(torch.zeros(1000, requires_grad=True)).requires_grad
