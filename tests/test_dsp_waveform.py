"""Waveforms: files that can be used and files that cannot, resampling, silence, length."""

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError, AudioError
from aed.dsp import PRESETS, FrontendConfig
from aed.dsp.waveform import (
    Wave,
    load_clip,
    load_measured,
    mask_aligned,
    mask_compatible,
    process,
    read_audio,
    repeat_to,
    resample,
)

YAMNET = PRESETS["yamnet_64x96"]
RATE = 16000


def trim_aligned(wave: Wave, config: FrontendConfig) -> Wave:
    return wave[mask_aligned(wave, config)]


def trim_compatible(wave: Wave, config: FrontendConfig) -> Wave:
    return wave[mask_compatible(wave, config)]


def noise(num_samples: int, seed: int = 0, level: float = 0.1) -> Wave:
    return (level * np.random.default_rng(seed).standard_normal(num_samples)).clip(-1, 1).astype(np.float32)


def tone(seconds: float, rate: int, hz: float = 440.0) -> Wave:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def write(path: Path, wave: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    sf.write(path, wave, rate, subtype=subtype)
    return path


def wav_bytes(frames: bytes, *, width: int = 2, data_size: int | None = None, after: bytes = b"") -> bytes:
    """A mono wav file at 16 kHz, written by hand."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, RATE * width, width, 8 * width)
    size = len(frames) if data_size is None else data_size
    body = b"WAVE" + fmt + struct.pack("<4sI", b"data", size) + frames + after
    return struct.pack("<4sI", b"RIFF", min(len(body), 0xFFFFFFFF)) + body


def save(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def ramp16(num_samples: int) -> np.ndarray:
    return (np.arange(num_samples) * 37 % 65536 - 32768).astype("<i2")


def loudest_hz(wave: Wave, rate: int) -> float:
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))


# reading


def test_8_bit_wav_is_scaled_by_its_full_range(tmp_path: Path) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(bytes(range(256)), width=1))
    wave, rate = read_audio(path, 10)
    assert rate == RATE and wave.dtype == np.float32
    assert wave.tolist() == [(byte - 128) / 128 for byte in range(256)]


@pytest.mark.parametrize("ending", ["wav", "flac"])
@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_integer_files_are_scaled_by_their_full_range(tmp_path: Path, ending: str, subtype: str, bits: int) -> None:
    integers = np.array([-(2 ** (bits - 1)), -1, 0, 1, 12345, 2 ** (bits - 1) - 1], dtype=np.int32)
    path = write(tmp_path / f"a.{ending}", integers << (32 - bits), subtype=subtype)
    assert read_audio(path, 10)[0].tolist() == (integers / 2.0 ** (bits - 1)).astype(np.float32).tolist()


def test_float_wav_is_read_as_it_is(tmp_path: Path) -> None:
    samples = np.array([0.0, 1.0, -1.0, 1e-30, 0.1], dtype=np.float32)
    assert read_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"), 10)[0].tolist() == samples.tolist()


@pytest.mark.parametrize("num_channels", [2, 3])
def test_channels_are_averaged(tmp_path: Path, num_channels: int) -> None:
    channels = noise(500 * num_channels).reshape(500, num_channels)
    wave, _ = read_audio(write(tmp_path / "a.wav", channels, subtype="FLOAT"), 10)
    assert wave.shape == (500,) and wave.dtype == np.float32
    np.testing.assert_allclose(wave, channels.astype(np.float64).mean(axis=1), atol=1e-8, rtol=1e-6)


def test_opposite_channels_cancel(tmp_path: Path) -> None:
    left = noise(100)
    path = write(tmp_path / "a.wav", np.stack([left, -left], axis=1), subtype="FLOAT")
    assert not read_audio(path, 10)[0].any()


@pytest.mark.parametrize(
    ("ending", "subtype", "num_extra"), [("ogg", "VORBIS", 0), ("ogg", "OPUS", 0), ("mp3", None, 0), ("flac", None, 0)]
)
def test_compressed_tone_is_read_whole_and_at_its_level(
    tmp_path: Path, ending: str, subtype: str | None, num_extra: int
) -> None:
    wave, rate = read_audio(write(tmp_path / f"a.{ending}", tone(1.0, 48000), 48000, subtype), 10)
    assert (rate, len(wave)) == (48000, 48000 + num_extra)
    assert loudest_hz(wave, rate) == pytest.approx(440, abs=1)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000, 192000])
def test_rate_is_that_of_the_file(tmp_path: Path, rate: int) -> None:
    wave, read_rate = read_audio(write(tmp_path / "a.wav", noise(1000), rate), 10)
    assert (read_rate, len(wave)) == (rate, 1000)


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg"])
@pytest.mark.parametrize(("max_length_s", "num_samples"), [(0.25, 4000), (0.99999, 15999), (1.0, 16000), (2.0, 16000)])
def test_max_length_reads_the_start_alone(tmp_path: Path, ending: str, max_length_s: float, num_samples: int) -> None:
    path = write(tmp_path / f"a.{ending}", noise(16000))
    wave, _ = read_audio(path, max_length_s)
    assert len(wave) == num_samples
    np.testing.assert_array_equal(wave, read_audio(path, 10)[0][:num_samples])


def test_max_length_is_in_time_of_the_file_not_of_the_target(tmp_path: Path) -> None:
    assert len(read_audio(write(tmp_path / "a.wav", noise(96000), 96000), 0.5)[0]) == 48000


def test_endless_max_length_is_refused_or_reads_everything(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(100))
    try:
        config = FrontendConfig(max_length_s=float("inf"))
    except AedError:
        return
    assert len(read_audio(path, config.max_length_s)[0]) == 100


# files that cannot be used


def refusal(path: Path, max_length_s: float = 10) -> str:
    with pytest.raises(AudioError) as error:
        read_audio(path, max_length_s)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.wav") == "no such file"


def test_folder_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    assert "empty" in refusal(save(tmp_path / "a.wav", b""))


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3", "txt", "raw"])
def test_text_is_refused_whatever_its_name(tmp_path: Path, ending: str) -> None:
    path = save(tmp_path / f"a.{ending}", b"these are words and no sound at all\n" * 50)
    assert "not readable as audio" in refusal(path)


@pytest.mark.parametrize("ending", ["wav", "ogg"])
def test_file_without_samples_is_refused(tmp_path: Path, ending: str) -> None:
    assert "no samples" in refusal(write(tmp_path / f"a.{ending}", np.zeros(0, dtype=np.float32)))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, bad: float, num_channels: int) -> None:
    samples = np.zeros((100, num_channels), dtype=np.float32)
    samples[50, -1] = bad
    assert "NaN or infinite" in refusal(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


def test_infinities_that_would_cancel_in_the_average_are_refused(tmp_path: Path) -> None:
    samples = np.array([[np.inf, -np.inf]], dtype=np.float32)
    assert "NaN or infinite" in refusal(write(tmp_path / "a.wav", samples, subtype="FLOAT"))


def test_bad_samples_after_max_length_do_not_matter(tmp_path: Path) -> None:
    samples = np.append(np.zeros(RATE, dtype=np.float32), np.float32(np.nan))
    assert len(read_audio(write(tmp_path / "a.wav", samples, subtype="FLOAT"), 1.0)[0]) == RATE


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999])
def test_truncated_ogg_is_refused(tmp_path: Path, subtype: str, share: float) -> None:
    whole = write(tmp_path / "a.ogg", noise(96000), 48000, subtype).read_bytes()
    path = save(tmp_path / "b.ogg", whole[: int(share * len(whole))])
    assert refusal(path)
    assert refusal(path, max_length_s=0.01)


@pytest.mark.parametrize("missing", [1, 2, 50])
def test_ogg_that_lacks_its_last_bytes_is_called_truncated(tmp_path: Path, missing: int) -> None:
    whole = write(tmp_path / "a.ogg", noise(48000)).read_bytes()
    assert "truncated" in refusal(save(tmp_path / "b.ogg", whole[:-missing]))


def test_ogg_cut_between_two_pages_is_called_truncated(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.ogg", noise(48000)).read_bytes()
    last_page = whole.rfind(b"OggS")
    assert last_page > len(whole) // 2
    assert "truncated" in refusal(save(tmp_path / "b.ogg", whole[:last_page]))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("num_samples", [1, 63, 64, 65, 960, 1000, 48000, 300000])
def test_intact_ogg_of_any_length_is_read_whole(tmp_path: Path, subtype: str, num_samples: int) -> None:
    path = write(tmp_path / "a.ogg", noise(num_samples), 48000, subtype)
    assert len(read_audio(path, 10)[0]) == num_samples


def esc10_files(data: Path) -> list[Path]:
    files = sorted((data / "esc10" / "audio").glob("*.ogg"))
    assert len(files) == 400
    return files


def test_no_intact_ogg_of_esc10_is_called_truncated(esc10: Path) -> None:
    assert {len(read_audio(path, 0.05)[0]) for path in esc10_files(esc10)} == {2205}


def test_ogg_of_esc10_is_read_to_the_length_its_last_page_states(esc10: Path) -> None:
    for path in esc10_files(esc10)[::10]:
        content = path.read_bytes()
        page = content.rfind(b"OggS")
        assert len(read_audio(path, 100)[0]) == int.from_bytes(content[page + 6 : page + 14], "little"), path.name


def test_truncated_real_ogg_is_refused(esc10: Path, tmp_path: Path) -> None:
    for number, path in enumerate(esc10_files(esc10)[::40]):
        whole = path.read_bytes()
        assert refusal(save(tmp_path / "b.ogg", whole[: len(whole) * (number + 1) // 11]), max_length_s=0.05)


@pytest.mark.parametrize("missing", [1, 2, 3, 1000, 31999, 32000])
def test_truncated_wav_is_refused(tmp_path: Path, missing: int) -> None:
    whole = wav_bytes(ramp16(16000).tobytes())
    path = save(tmp_path / "a.wav", whole[:-missing])
    assert "truncated" in refusal(path)
    assert refusal(path, max_length_s=1e-3)


@pytest.mark.parametrize("left", [3, 12, 20, 40, 44])
def test_wav_cut_in_its_header_is_refused(tmp_path: Path, left: int) -> None:
    assert refusal(save(tmp_path / "a.wav", wav_bytes(ramp16(100).tobytes())[:left]))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_flac_is_refused(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "a.flac", noise(16000)).read_bytes()
    assert refusal(save(tmp_path / "b.flac", whole[: int(share * len(whole))]))


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_mp3_that_lacks_frames_its_header_counts_is_called_truncated(tmp_path: Path, share: float) -> None:
    whole = write(tmp_path / "a.mp3", noise(96000), 48000).read_bytes()
    assert "truncated" in refusal(save(tmp_path / "b.mp3", whole[: int(share * len(whole))]))


@pytest.mark.parametrize("data_size", [0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFFFFF, 0x7FFFF000])
def test_streamed_wav_is_read_to_its_end(tmp_path: Path, data_size: int) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(ramp16(1000).tobytes(), data_size=data_size))
    np.testing.assert_array_equal(read_audio(path, 10)[0] * 32768, ramp16(1000))


@pytest.mark.parametrize(
    "after",
    [
        b"LIST" + struct.pack("<I", 5) + b"abcde",
        b"LIST" + struct.pack("<I", 5) + b"abcde\0",
        b"LIST" + struct.pack("<I", 4) + b"abcd",
        b"xyz",
    ],
)
def test_wav_with_something_after_its_samples_is_intact(tmp_path: Path, after: bytes) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(ramp16(1000).tobytes(), after=after))
    np.testing.assert_array_equal(read_audio(path, 10)[0] * 32768, ramp16(1000))


def test_chunk_of_odd_size_before_the_samples_hides_no_truncation(tmp_path: Path) -> None:
    whole = wav_bytes(ramp16(1000).tobytes())
    data = whole.index(b"data")
    note = b"note" + struct.pack("<I", 5) + b"abcde\0"
    odd = whole[:data] + note + whole[data:]
    assert len(read_audio(save(tmp_path / "a.wav", odd), 10)[0]) == 1000
    assert "truncated" in refusal(save(tmp_path / "b.wav", odd[:-100]))


@pytest.mark.parametrize("pad", [b"", b"\0"])
def test_odd_number_of_8_bit_samples_is_intact_with_and_without_pad_byte(tmp_path: Path, pad: bytes) -> None:
    path = save(tmp_path / "a.wav", wav_bytes(bytes(101), width=1, after=pad))
    assert len(read_audio(path, 10)[0]) == 101


# resampling


@pytest.mark.parametrize(
    ("rate", "target_rate"),
    [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 16000), (96000, 16000), (11025, 16000), (16000, 22050)],
)
@pytest.mark.parametrize("num_samples", [1, 2, 441, 1000, 12345])
def test_resampling_is_that_of_librosa(rate: int, target_rate: int, num_samples: int) -> None:
    wave = noise(num_samples, seed=rate)
    expected = librosa.resample(wave, orig_sr=rate, target_sr=target_rate, res_type="soxr_hq")
    resampled = resample(wave, rate, target_rate)
    assert resampled.dtype == np.float32
    np.testing.assert_array_equal(resampled, expected)


@pytest.mark.parametrize("num_samples", [147, 44100, 220500, 220501])
def test_resampling_from_44_1_to_48_khz_is_that_of_librosa(num_samples: int) -> None:
    wave = noise(num_samples)
    expected = librosa.resample(wave, orig_sr=44100, target_sr=48000, res_type="soxr_hq")
    np.testing.assert_array_equal(resample(wave, 44100, 48000), expected)


def test_equal_rates_leave_the_wave_alone() -> None:
    np.testing.assert_array_equal(resample(noise(100), RATE, RATE), noise(100))


def test_resampling_keeps_pitch_and_duration() -> None:
    resampled = resample(tone(1.0, 44100, 1000.0), 44100, RATE)
    assert len(resampled) == RATE
    assert loudest_hz(resampled, RATE) == pytest.approx(1000, abs=1)


# silence


@st.composite
def signals(draw: Callable[[Any], Any]) -> Wave:
    """Noise in stretches of very different levels, digital silence among them."""
    stretches = draw(
        st.lists(
            st.tuples(st.sampled_from([0.0, 1e-6, 1e-4, 3e-4, 1e-3, 1e-2, 0.1, 0.5]), st.integers(1, 400)),
            min_size=1,
            max_size=12,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    return np.concatenate([level * rng.standard_normal(length) for level, length in stretches]).astype(np.float32)


THRESHOLDS = st.sampled_from([10.37, 30.11, 43.7, 60.0, 77.3])


def split_and_join(wave: Wave, config: FrontendConfig) -> Wave:
    kept = librosa.effects.split(
        wave,
        top_db=config.trim_top_db,
        frame_length=config.trim_frame_length,
        hop_length=config.trim_hop_length,
    )
    return np.concatenate([wave[:0], *(wave[start:stop] for start, stop in kept)])


def trimming(frame: int, hop: int, top_db: float = 60.0, trim: str = "compatible") -> FrontendConfig:
    values: dict[str, Any] = {"trim": trim, "trim_frame_length": frame, "trim_hop_length": hop, "trim_top_db": top_db}
    return replace(YAMNET, **values)


@settings(deadline=None, derandomize=True, max_examples=100)
@given(wave=signals(), half_frame=st.integers(1, 150), hop=st.integers(1, 300), top_db=THRESHOLDS)
@pytest.mark.usefixtures("computes")
def test_compatible_trimming_is_that_of_librosa(wave: Wave, half_frame: int, hop: int, top_db: float) -> None:
    config = trimming(2 * half_frame, hop, top_db)
    np.testing.assert_array_equal(trim_compatible(wave, config), split_and_join(wave, config))


@settings(deadline=None, derandomize=True, max_examples=100)
@given(wave=signals(), half_frame=st.integers(1, 150), hop=st.integers(1, 300))
def test_compatible_trimming_with_odd_frames_is_that_of_librosa(wave: Wave, half_frame: int, hop: int) -> None:
    wave = np.resize(wave, (len(wave) // hop + 1) * hop)
    config = trimming(2 * half_frame + 1, hop)
    np.testing.assert_array_equal(trim_compatible(wave, config), split_and_join(wave, config))


def test_compatible_trimming_with_odd_frames_and_an_event_at_the_end_is_that_of_librosa() -> None:
    wave = np.full(400, 1e-4, dtype=np.float32)
    wave[-20:] = 0.5
    config = trimming(101, 200)
    np.testing.assert_array_equal(trim_compatible(wave, config), split_and_join(wave, config))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(wave=signals(), frame=st.sampled_from([2, 100, 128]))
def test_compatible_trimming_with_frame_equal_to_hop_is_that_of_librosa(wave: Wave, frame: int) -> None:
    config = trimming(frame, frame)
    np.testing.assert_array_equal(trim_compatible(wave, config), split_and_join(wave, config))


def test_compatible_trimming_of_real_clips_is_that_of_librosa(esc10: Path) -> None:
    for path in esc10_files(esc10)[::40]:
        wave = resample(*read_audio(path, 10), RATE)
        np.testing.assert_array_equal(
            trim_compatible(wave, trimming(3200, 3200)), split_and_join(wave, trimming(3200, 3200)), path.name
        )


def frames_of(wave: Wave, frame: int, hop: int) -> list[slice]:
    return [slice(start, min(start + frame, len(wave))) for start in range(0, len(wave), hop)]


def covered_by_loud_frames(wave: Wave, config: FrontendConfig) -> np.ndarray:
    """Which samples a frame above the threshold covers, frame by frame from the definition."""
    frames = frames_of(wave, config.trim_frame_length, config.trim_hop_length)
    levels = [10 * np.log10(max(np.mean(wave[part].astype(np.float64) ** 2), 1e-10)) for part in frames]
    keep = np.zeros(len(wave), dtype=bool)
    for part, level in zip(frames, levels, strict=True):
        keep[part] |= level > max(levels) - config.trim_top_db
    return keep


@settings(deadline=None, derandomize=True, max_examples=60)
@given(wave=signals(), frame=st.integers(8, 300), share=st.floats(0.05, 1.0), top_db=THRESHOLDS)
def test_aligned_trimming_keeps_what_loud_frames_cover_and_nothing_else(
    wave: Wave, frame: int, share: float, top_db: float
) -> None:
    config = trimming(frame, max(1, int(frame * share)), top_db, trim="aligned")
    np.testing.assert_array_equal(trim_aligned(wave, config), wave[covered_by_loud_frames(wave, config)])


def burst() -> Wave:
    wave = np.zeros(16000, dtype=np.float32)
    wave[8000:9000] = 0.5
    return wave


def test_compatible_trimming_cuts_the_burst_and_keeps_silence() -> None:
    kept = trim_compatible(burst(), trimming(3200, 3200))
    assert kept.shape == (3200,)
    assert not kept.any()


def test_compatible_trimming_keeps_samples_9600_to_12800_of_the_burst_clip() -> None:
    marked = burst() + np.arange(16000, dtype=np.float32) * 1e-9  # marks each sample, 140 dB under the burst
    np.testing.assert_array_equal(trim_compatible(marked, trimming(3200, 3200)), marked[9600:12800])


def test_aligned_trimming_keeps_the_burst() -> None:
    np.testing.assert_array_equal(trim_aligned(burst(), trimming(3200, 3200, trim="aligned")), burst()[6400:9600])


@pytest.mark.parametrize("num_samples", [1, 1000, 3200, 16001])
@pytest.mark.parametrize("trim", [trim_aligned, trim_compatible])
def test_all_zero_clip_is_kept_whole(trim: Callable[[Wave, FrontendConfig], Wave], num_samples: int) -> None:
    assert trim(np.zeros(num_samples, dtype=np.float32), trimming(3200, 3200)).shape == (num_samples,)


@pytest.mark.parametrize(("top_db", "left"), [(99.99, 6400), (100.0, 6400), (100.01, 16000)])
def test_block_exactly_at_the_threshold_is_silent(top_db: float, left: int) -> None:
    wave = np.zeros(16000, dtype=np.float32)  # counts as 100 dB under full scale
    wave[3200:9600] = 1.0
    assert len(trim_aligned(wave, trimming(3200, 3200, top_db, trim="aligned"))) == left
    config = trimming(3200, 3200, top_db)
    np.testing.assert_array_equal(trim_compatible(wave, config), split_and_join(wave, config))


def test_larger_threshold_keeps_more() -> None:
    wave = np.concatenate([noise(3200, level=level) for level in (0.1, 0.01, 1e-3, 1e-4)])
    lengths = [len(process(wave, RATE, quiet_config(trim_top_db=db))) for db in (10.0, 30.0, 50.0, 70.0)]
    assert lengths == [3200, 6400, 9600, 12800]


# length


def quiet_config(**values: Any) -> FrontendConfig:
    """A front end without a minimum length, with blocks of 3200 samples."""
    return replace(YAMNET, **{"min_length_s": 0.0, "lengthen": "before", **values})


@settings(deadline=None, derandomize=True, max_examples=100)
@given(length=st.integers(1, 50), wanted=st.integers(0, 200))
def test_short_wave_is_repeated_from_its_start(length: int, wanted: int) -> None:
    wave = noise(length)
    expected = [wave[n % length] for n in range(max(length, wanted))]
    assert repeat_to(wave, wanted).tolist() == expected


def half_silent() -> Wave:
    """0.3 s of noise and 0.2 s of silence at 16 kHz."""
    return np.concatenate([noise(4800), np.zeros(3200, dtype=np.float32)])


def blocks_of_100_ms(**values: Any) -> FrontendConfig:
    return replace(YAMNET, trim_frame_length=1600, trim_hop_length=1600, **values)


def test_lengthen_before_repeats_the_silence_that_is_then_removed() -> None:
    clip = process(half_silent(), RATE, blocks_of_100_ms(lengthen="before"))
    np.testing.assert_array_equal(clip, np.tile(noise(4800), 2))


def test_lengthen_after_repeats_what_is_left() -> None:
    clip = process(half_silent(), RATE, blocks_of_100_ms(lengthen="after"))
    np.testing.assert_array_equal(clip, np.tile(noise(4800), 4)[:16000])


def test_trim_none_keeps_silence() -> None:
    clip = process(half_silent(), RATE, blocks_of_100_ms(trim="none", min_length_s=0.0, lengthen="before"))
    np.testing.assert_array_equal(clip, half_silent())


@pytest.mark.parametrize(
    ("num_samples", "left"), [(15999, 15999), (16000, 16000), (31999, 16000), (32000, 32000), (40001, 32000)]
)
def test_trim_last_second_leaves_whole_seconds(num_samples: int, left: int) -> None:
    clip = process(noise(num_samples), RATE, quiet_config(trim_last_second=True))
    np.testing.assert_array_equal(clip, noise(num_samples)[:left])


def test_trim_last_second_counts_what_silence_removal_left() -> None:
    wave = np.concatenate([noise(22400), np.zeros(16000, dtype=np.float32)])
    np.testing.assert_array_equal(process(wave, RATE, quiet_config(trim_last_second=True)), noise(22400)[:16000])


@pytest.mark.parametrize("trim", ["aligned", "compatible"])
def test_cut_after_trimming_keeps_the_first_seconds_of_what_is_left(tmp_path: Path, trim: str) -> None:
    parts = [noise(8000), np.zeros(32000, dtype=np.float32), noise(24000, seed=1), noise(8000, seed=2)]
    path = tmp_path / "long.wav"
    sf.write(path, np.concatenate(parts), RATE, subtype="FLOAT")
    config = replace(YAMNET, trim=trim, max_length_s=1.5, cut="after")
    whole = load_clip(path, replace(config, max_length_s=100.0))
    np.testing.assert_array_equal(load_clip(path, config), whole[:24000])
    assert len(load_clip(path, replace(config, cut="before"))) == 16000, "half a second of sound, repeated"
    assert load_measured(path, config)[1] == pytest.approx(4.5)


def test_clip_is_lengthened_after_its_last_second_was_cut() -> None:
    clip = process(noise(40000), RATE, replace(YAMNET, trim_last_second=True, min_length_s=3.0))
    np.testing.assert_array_equal(clip, np.tile(noise(40000)[:32000], 2)[:48000])


@pytest.mark.parametrize("num_samples", [1, 7, 3200, 15999, 16000, 16001])
def test_min_length_is_reached_exactly_and_only_by_short_clips(num_samples: int) -> None:
    clip = process(noise(num_samples), RATE, replace(YAMNET, trim="none"))
    np.testing.assert_array_equal(clip, noise(num_samples)[np.arange(max(num_samples, 16000)) % num_samples])


def test_min_length_counts_samples_of_the_target_rate() -> None:
    assert len(process(noise(4410), 44100, replace(YAMNET, min_length_s=1.5))) == 24000


def test_clip_is_resampled_before_silence_is_measured() -> None:
    wave = np.concatenate([noise(44100), np.zeros(44100, dtype=np.float32), noise(44100, seed=1)])
    config = replace(YAMNET, trim="compatible")
    expected = split_and_join(librosa.resample(wave, orig_sr=44100, target_sr=RATE, res_type="soxr_hq"), config)
    np.testing.assert_array_equal(process(wave, 44100, config), expected)


def last_half_frame_alone() -> Wave:
    wave = np.zeros(16000, dtype=np.float32)
    wave[15000:] = noise(1000)
    return wave


def test_compatible_trimming_that_removes_everything_is_refused(tmp_path: Path) -> None:
    config = replace(YAMNET, trim="compatible")
    assert len(split_and_join(last_half_frame_alone(), config)) == 0
    with pytest.raises(AudioError, match="trim=aligned"):
        process(last_half_frame_alone(), RATE, config)


def test_aligned_trimming_takes_the_same_clip() -> None:
    clip = process(last_half_frame_alone(), RATE, quiet_config())
    np.testing.assert_array_equal(clip, last_half_frame_alone()[12800:])


# whole way


def load_refusal(path: Path, config: FrontendConfig) -> AudioError:
    with pytest.raises(AudioError) as error:
        load_clip(path, config)
    return error.value


def test_load_clip_reads_and_processes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(60000), 44100, "FLOAT")
    np.testing.assert_array_equal(load_clip(path, YAMNET), process(noise(60000), 44100, YAMNET))


def test_load_clip_reads_no_more_than_max_length(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(60000), RATE, "FLOAT")
    np.testing.assert_array_equal(load_clip(path, replace(YAMNET, max_length_s=2.0)), noise(60000)[:32000])


def test_load_clip_names_the_file_that_trimming_emptied(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", last_half_frame_alone())
    message = str(load_refusal(path, replace(YAMNET, trim="compatible")))
    assert message.startswith(f"{path}: ") and "trim=aligned" in message


def test_load_clip_names_the_unreadable_file_once(tmp_path: Path) -> None:
    message = str(load_refusal(tmp_path / "none.wav", YAMNET))
    assert message == f"{tmp_path / 'none.wav'}: no such file"


def test_load_clip_error_is_not_its_own_cause(tmp_path: Path) -> None:
    error = load_refusal(tmp_path / "none.wav", YAMNET)
    assert error.__cause__ is not error


@pytest.mark.parametrize(("num_samples", "fits"), [(15711, False), (15712, True)])
def test_load_clip_refuses_a_clip_shorter_than_a_patch(tmp_path: Path, num_samples: int, fits: bool) -> None:
    path = write(tmp_path / "a.wav", noise(num_samples))
    config = quiet_config(trim="none")
    if fits:
        assert len(load_clip(path, config)) == num_samples
        return
    message = str(load_refusal(path, config))
    assert message.startswith(f"{path}: ") and "lengthen=after" in message


def test_errors_of_files_are_errors_a_user_can_put_right(tmp_path: Path) -> None:
    assert isinstance(load_refusal(tmp_path / "none.wav", YAMNET), AedError)
