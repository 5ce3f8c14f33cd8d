"""The reader of recordings: all of each file, whatever its header says, or a reason; never a part in silence."""

import io
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.audio import audio_file
from aed.audio.audio_file import AudioFile
from aed.audio.formats import AUDIO_SUFFIXES, FOREIGN_SUFFIXES, SUFFIXES_OF
from aed.base.errors import AudioError
from aed.datamodules.health.sounds import measure_file
from aed.dsp.waveform import Wave, read_audio

RATE = 16000
PCM = (np.arange(4000) * 37 % 65536 - 32768).astype(np.int16)


def encoded(samples: np.ndarray, format: str, rate: int = RATE, subtype: str | None = None, **more: object) -> bytes:
    """The bytes of a file."""
    file = io.BytesIO()
    sf.write(file, samples, rate, format=format, subtype=subtype, **more)
    return file.getvalue()


def bw64() -> bytes:
    return b"BW64" + encoded(PCM, "RF64", subtype="PCM_16")[4:]


def sweep(seconds: float, rate: int = 44100) -> Wave:
    """Quiet at first, so that the first frames of a variable bitrate are small; backwards, they are large."""
    time = np.arange(int(seconds * rate)) / rate
    return (np.minimum(time, 1) ** 4 * 0.5 * np.sin(2 * np.pi * (200 + 900 * time) * time)).astype(np.float32)


LOSSLESS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: encoded(PCM, "WAV"),
    "wavex": lambda: encoded(PCM, "WAVEX", subtype="PCM_16"),
    "rifx": lambda: encoded(PCM, "WAV", endian="BIG"),
    "rf64": lambda: encoded(PCM, "RF64", subtype="PCM_16"),
    "bw64": bw64,
    "w64": lambda: encoded(PCM, "W64", subtype="PCM_16"),
    "aiff": lambda: encoded(PCM, "AIFF", subtype="PCM_16"),
    "aifc": lambda: encoded(PCM, "AIFF", subtype="PCM_16", endian="LITTLE"),
    "caf": lambda: encoded(PCM, "CAF", subtype="PCM_16"),
    "au": lambda: encoded(PCM, "AU", subtype="PCM_16"),
    "au, little endian": lambda: encoded(PCM, "AU", subtype="PCM_16", endian="LITTLE"),
    "nist": lambda: encoded(PCM, "NIST", subtype="PCM_16"),
    "flac": lambda: encoded(PCM, "FLAC"),
}
COMPRESSED: dict[str, Callable[[], bytes]] = {
    "vorbis": lambda: encoded(PCM, "OGG"),
    "opus": lambda: encoded(PCM, "OGG", subtype="OPUS"),
    "mp3": lambda: encoded(PCM, "MP3"),
    "mp3, variable": lambda: encoded(sweep(1.0), "MP3", 44100, bitrate_mode="VARIABLE"),
}


def refusals(path: Path) -> list[str]:
    """What training says, of all of the file and of its first sample, and what inspect says."""
    found = []
    for seconds in (100.0, 1e-4):
        with pytest.raises(AudioError) as error:
            read_audio(path, seconds)
        found.append(str(error.value).removeprefix(f"{path}: "))
    return [*found, measure_file(path).error]


def whole(path: Path) -> np.ndarray:
    """The samples as 16 bit, from each way of reading; all the same."""
    wave, rate = read_audio(path, 1000.0)
    with AudioFile(path) as file:
        blocks = np.concatenate(list(file.blocks(777)))
    sound = measure_file(path)
    np.testing.assert_array_equal(wave, blocks[:, 0] if blocks.shape[1] == 1 else blocks.mean(axis=1))
    assert (sound.error, sound.rate_hz, round(sound.duration_s * rate)) == ("", rate, len(wave))
    np.testing.assert_array_equal(read_audio(path, 100 / rate)[0], wave[:100])
    return wave * 32768


# ---- whole and cut off


@pytest.mark.parametrize("kind", LOSSLESS)
def test_samples_are_those_written(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(LOSSLESS[kind]())
    np.testing.assert_array_equal(whole(path), PCM)


@pytest.mark.parametrize("kind", [*LOSSLESS, *COMPRESSED])
def test_no_beginning_of_a_file_is_taken_for_it(tmp_path: Path, kind: str) -> None:
    """libsndfile reads what is left of most of these without a word."""
    content = (LOSSLESS | COMPRESSED)[kind]()
    path = tmp_path / "a.bin"

    @settings(deadline=None, derandomize=True, max_examples=25)
    @given(left=st.integers(1, len(content) - 1) | st.integers(len(content) - 40, len(content) - 1))
    def check(left: int) -> None:
        path.write_bytes(content[:left])
        training, start, inspected = refusals(path)
        assert inspected == training and str(path) not in start.partition("ffmpeg")[0]

    check()


@pytest.mark.parametrize("format", ["VOC", "PAF", "IRCAM", "AVR", "SVX", "MAT5"])
def test_formats_that_may_end_anywhere_are_refused(tmp_path: Path, format: str) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(PCM, format, subtype="PCM_16"))
    assert all("may end anywhere; convert it: ffmpeg -i" in reason for reason in refusals(path))


def test_chunks_after_the_samples_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.aif"
    path.write_bytes(LOSSLESS["aiff"]() + b"ANNO" + struct.pack(">I", 100) + b"cut off")
    np.testing.assert_array_equal(whole(path), PCM)


# ---- headers that do not say how long a file is


def edited(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


def without_size(kind: str) -> bytes:
    """A file as a pipe, or a killed writer, leaves it."""
    if kind == "bw64":
        return b"BW64" + without_size("rf64")[4:]
    if kind == "wav, killed":  # as it is begun: both sizes 0
        return edited(without_size("wav, 0"), 4, bytes(4))
    name = kind.partition(",")[0]
    content = LOSSLESS[name]()
    data = content.index(b"data") if b"data" in content else -1
    if name == "rf64":
        return edited(content, content.index(b"ds64") + 8, bytes(24))
    if name == "caf":
        return edited(content, data + 4, b"\xff" * 8)
    if name == "flac":  # 36 bits of STREAMINFO
        return edited(content, 21, bytes([content[21] & 0xF0]) + bytes(4))
    at = 8 if name == "au" else data + 4
    return edited(content, at, bytes(4) if kind.endswith("0") else b"\xff" * 4)


@pytest.mark.parametrize(
    "kind", ["wav, 0", "wav, killed", "wav, -1", "rifx, 0", "rf64", "bw64", "caf", "au, 0", "au, -1", "flac"]
)
def test_files_that_do_not_say_their_length_are_read_to_their_end(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(without_size(kind))
    np.testing.assert_array_equal(whole(path), PCM)


@pytest.mark.parametrize("after", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"])
def test_wav_without_samples_has_none(tmp_path: Path, after: bytes) -> None:
    path = tmp_path / "a.wav"
    content = LOSSLESS["wav"]()
    data = content.index(b"data")
    path.write_bytes(content[: data + 4] + bytes(4) + after)
    assert refusals(path) == ["the file holds no samples"] * 3


# ---- MPEG


def mp3(samples: np.ndarray, mode: str = "CONSTANT", rate: int = 44100) -> tuple[bytes, bytes]:
    """A file that counts its frames, and the same without the one that does so, as a pipe gives it."""
    counted = encoded(samples, "MP3", rate, bitrate_mode=mode)
    tag = next(counted.index(name) for name in (b"Xing", b"Info") if name in counted[:60])
    second = counted.index(counted[:2], tag)
    while counted[second + 2] & 0x0C != counted[2] & 0x0C:
        second = counted.index(counted[:2], second + 1)
    return counted, counted[second:]


def id3(size: int) -> bytes:
    """A tag with a picture; what looks like the start of a frame stands in it as it may."""
    picture = b"\0image/png\0\x03\0" + np.random.default_rng(0).bytes(size)
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    return b"ID3\x03\0\0" + bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0)) + frame


SKIPPED = 576 + 529
"""Samples of LAME's encoder and of any decoder in front, which are only known to be none where LAME's frame says so."""


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44100, 22050, 8000])
@pytest.mark.parametrize(("mode", "step"), [("CONSTANT", 1), ("VARIABLE", 1), ("VARIABLE", -1)])
def test_mp3_that_does_not_count_its_frames_is_read_whole(
    tmp_path: Path, mode: str, step: int, rate: int, channels: int
) -> None:
    """libsndfile guesses from the first frame: of a variable bitrate it gives too few samples, with no error."""
    wave = sweep(3.1, rate)[::step]
    if step < 0:
        wave[: rate // 2] += np.random.default_rng(0).uniform(-0.3, 0.3, rate // 2).astype(np.float32)
    counted, bare = mp3(np.stack([wave] * channels, axis=1), mode, rate)
    (tmp_path / "counted.mp3").write_bytes(counted)
    (tmp_path / "bare.mp3").write_bytes(bare)
    if step < 0:
        assert sf.info(tmp_path / "bare.mp3").frames < 0.7 * len(wave)
    expected, got = (whole(tmp_path / f"{name}.mp3") for name in ("counted", "bare"))
    assert len(expected) == int(3.1 * rate)
    np.testing.assert_allclose(got[SKIPPED:][: len(expected)], expected, atol=1e-2)
    assert SKIPPED <= len(got) - len(expected) <= SKIPPED + 2 * 1152


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_tags_around_mp3_are_no_sound(tmp_path: Path, mode: str) -> None:
    for name, content in zip(("counted", "bare"), mp3(sweep(1.0), mode), strict=True):
        path = tmp_path / f"{name}.mp3"
        path.write_bytes(content)
        expected = whole(path)
        ape = b"APETAGEX" + struct.pack("<4I8x", 2000, 50, 0, 0)
        for tagged in (id3(120_000) + content, content + b"TAG" + bytes(125), content + bytes(18) + ape):
            path.write_bytes(tagged)
            np.testing.assert_array_equal(whole(path), expected)


def test_mp3_whose_count_was_never_written_is_read_whole(tmp_path: Path) -> None:
    """The first frame is kept free for the count, and stays so where the encoder cannot go back."""
    counted, bare = mp3(sweep(1.0))
    tag = next(counted.index(name) for name in (b"Xing", b"Info") if name in counted[:60])
    (tmp_path / "a.mp3").write_bytes(edited(counted, tag + 8, bytes(8)))
    (tmp_path / "b.mp3").write_bytes(bare)
    np.testing.assert_array_equal(whole(tmp_path / "a.mp3"), whole(tmp_path / "b.mp3"))


def test_flac_after_a_tag_of_mp3_is_flac(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(id3(2000) + LOSSLESS["flac"]())
    np.testing.assert_array_equal(whole(path), PCM)


def test_joined_mp3_is_read_to_its_end(tmp_path: Path) -> None:
    """As ``cat`` joins them: libsndfile ends with the first."""
    first, second = mp3(sweep(1.0))[0], mp3(sweep(0.5)[::-1], "VARIABLE")[0]
    parts = []
    for content in (first, second):
        (tmp_path / "a.mp3").write_bytes(content)
        parts.append(whole(tmp_path / "a.mp3"))
    (tmp_path / "a.mp3").write_bytes(first + id3(100) + second)
    np.testing.assert_array_equal(whole(tmp_path / "a.mp3"), np.concatenate(parts))


@pytest.mark.parametrize("between", [60_000, 70_000, 131_071, 300_000])
@pytest.mark.parametrize("kind", ["zeros", "picture"])
def test_mp3_goes_on_after_whatever_stands_between(tmp_path: Path, between: int, kind: str) -> None:
    """An APE tag with a cover at the end of the first of two joined files is as large."""
    junk = bytes(between) if kind == "zeros" else np.random.default_rng(1).bytes(between)
    path = tmp_path / "a.mp3"
    for content in mp3(sweep(1.0)):
        path.write_bytes(content)
        once = whole(path)
        path.write_bytes(content + junk + content + junk)
        np.testing.assert_array_equal(whole(path), np.concatenate([once, once]))


def test_mp3_that_ends_within_a_frame_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    for content in mp3(sweep(1.0)):
        for missing in (1, 100):
            path.write_bytes(content[:-missing])
            assert all("truncated" in reason for reason in refusals(path))


def test_mp3_has_no_seams_between_blocks(tmp_path: Path) -> None:
    """soundfile seeks after each block; libmpg123 then decodes anew, and last bits differ."""
    path = tmp_path / "a.mp3"
    path.write_bytes(mp3(sweep(1.0))[0])
    with AudioFile(path) as file:
        blocks = np.concatenate(list(file.blocks(1000)))
    np.testing.assert_array_equal(blocks, sf.read(path, dtype="float32", always_2d=True)[0])


@pytest.mark.parametrize("codec", ["libmp3lame", "mp2"])
def test_mpeg_from_a_pipe_is_what_ffmpeg_decodes(tmp_path: Path, codec: str) -> None:
    if not (ffmpeg := shutil.which("ffmpeg")):
        pytest.skip("ffmpeg is not installed")
    wav = encoded(sweep(3.1), "WAV", 44100)
    command = [ffmpeg, "-v", "error", "-i", "-", "-c:a", codec, "-f", "mp3" if codec != "mp2" else "mp2"]
    content = subprocess.run([*command, *(["-q:a", "2"] if codec != "mp2" else []), "-"], input=wav, stdout=-1)
    path = tmp_path / "a.mp3"
    path.write_bytes(content.stdout)
    decoded = subprocess.run([ffmpeg, "-v", "error", "-i", path, "-f", "f32le", "-"], stdout=-1, check=True).stdout
    np.testing.assert_allclose(whole(path) / 32768, np.frombuffer(decoded, np.float32), atol=1e-4)


# ---- Ogg


def checksum(page: bytes) -> int:
    """RFC 3533, by polynomial division of the whole page at once."""
    value = int.from_bytes(page + bytes(4), "big")
    divisor = 0x104C11DB7
    while (shift := value.bit_length() - 33) >= 0:
        value ^= divisor << shift
    return value


def with_opus_rate(content: bytes, rate: int) -> bytes:
    """The same Opus file whose header says another input rate."""
    end = content.index(b"OggS", 4)
    page = bytearray(content[:end])
    stated, page[22:26] = int.from_bytes(page[22:26], "little"), bytes(4)
    assert checksum(bytes(page)) == stated
    head = page.index(b"OpusHead")
    page[head + 12 : head + 16] = struct.pack("<I", rate)
    page[22:26] = struct.pack("<I", checksum(bytes(page)))
    return bytes(page) + content[end:]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_chained_ogg_is_read_to_its_end(tmp_path: Path, subtype: str) -> None:
    """What a radio's recording, or ``cat``, makes: libsndfile ends with the first stream."""
    contents = [encoded(sweep(seconds, 48000), "OGG", 48000, subtype) for seconds in (0.5, 0.2, 1.0)]
    parts = []
    for content in contents:
        (tmp_path / "a.ogg").write_bytes(content)
        parts.append(whole(tmp_path / "a.ogg"))
    (tmp_path / "a.ogg").write_bytes(b"".join(contents))
    np.testing.assert_array_equal(whole(tmp_path / "a.ogg"), np.concatenate(parts))
    assert len(np.concatenate(parts)) == int(1.7 * 48000)


def test_a_chain_whose_streams_differ_is_refused_with_the_command_that_joins_them(tmp_path: Path) -> None:
    path = tmp_path / "it's a.ogg"
    path.write_bytes(encoded(sweep(0.5), "OGG", 44100) + encoded(sweep(0.5), "OGG", 22050))
    with pytest.raises(AudioError, match="44100 Hz, 1 channels and 22050 Hz") as error:
        read_audio(path, 10)
    assert str(error.value).endswith(
        f"ffmpeg -i '{tmp_path}/it'\"'\"'s a.ogg' -ar 44100 -ac 1 '{tmp_path}/it'\"'\"'s a.wav'"
    )
    assert len(read_audio(path, 0.5)[0]) == 22050


def test_a_chain_with_a_stream_cut_off_is_refused(tmp_path: Path) -> None:
    first, second = encoded(sweep(0.5), "OGG", 44100), encoded(sweep(0.6), "OGG", 44100)
    path = tmp_path / "a.ogg"
    path.write_bytes(first[: first.rindex(b"OggS")] + second)
    assert all("a stream in it has no end" in reason for reason in refusals(path))
    path.write_bytes(first[:-7] + second)
    assert all(refusals(path))


@pytest.mark.parametrize("after", [0, 1])
def test_ogg_without_its_beginning_is_refused(tmp_path: Path, after: int) -> None:
    """A recorder that joins a stream midway, or one half of a file that was split; also in front of a whole one."""
    content = encoded(sweep(0.5), "OGG", 44100)
    path = tmp_path / "a.ogg"
    path.write_bytes(content[content.index(b"OggS", 4) :] + content * after)
    assert all("beginning of the stream in it is missing" in reason for reason in refusals(path))


@pytest.mark.parametrize("between", [1, 100, 65_530, 200_000])
def test_ogg_goes_on_after_what_stands_between_two_streams(tmp_path: Path, between: int) -> None:
    content = encoded(sweep(0.5), "OGG", 44100)
    path = tmp_path / "a.ogg"
    path.write_bytes(content)
    once = whole(path)
    path.write_bytes(content + bytes(between) + content + bytes(between))
    np.testing.assert_array_equal(whole(path), np.concatenate([once, once]))


def test_opus_of_unknown_rate_is_heard_at_48_khz(tmp_path: Path) -> None:
    """The rate in its header is the encoder's input, 0 where unknown: libsndfile then decodes at 8 kHz."""
    content = encoded(sweep(1.0, 48000), "OGG", 48000, "OPUS")
    path = tmp_path / "a.opus"
    path.write_bytes(content)
    expected = whole(path)
    unknown = with_opus_rate(content, 0)
    path.write_bytes(unknown)
    assert read_audio(path, 10)[1] == 48000
    np.testing.assert_array_equal(whole(path), expected)
    path.write_bytes(content + unknown)
    np.testing.assert_array_equal(whole(path), np.concatenate([expected, expected]))


# ---- lengths


def lengths(path: Path) -> set[int]:
    """The number of samples: decoded, and told before and after some were read."""
    with AudioFile(path) as file:
        found = {sum(map(len, file.blocks(777)))}
    for first in (0, 1500):
        with AudioFile(path) as file:
            found.add(len(file.read(first)) + file.skip())
            assert not len(file.read(1))
    return found


@pytest.mark.parametrize("kind", [*LOSSLESS, *COMPRESSED])
def test_length_is_that_of_the_samples(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes((LOSSLESS | COMPRESSED)[kind]())
    assert len(lengths(path)) == 1


@pytest.mark.parametrize("kind", ["wav, 0", "wav, killed", "rifx, 0", "rf64", "caf", "au, 0", "flac"])
def test_length_of_a_file_that_does_not_say_it(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(without_size(kind))
    assert lengths(path) == {len(PCM)}


@pytest.mark.parametrize("rate", [44100, 22050])
def test_length_of_compressed_sound_is_known_without_decoding_it(
    tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ogg = encoded(sweep(0.5, rate), "OGG", rate)
    counted, bare = mp3(sweep(0.9, rate), "VARIABLE", rate)
    for content in (ogg, ogg + ogg, counted, bare, bare + counted, counted + bytes(70_000) + bare):
        (path := tmp_path / "a.bin").write_bytes(content)
        (expected,) = lengths(path)
        with monkeypatch.context() as patch, AudioFile(path) as file:
            patch.setattr(AudioFile, "_decode", lambda *_: pytest.fail("decoded"))
            assert file.skip() == expected


# ---- files that are none


@pytest.mark.parametrize("kind", [*LOSSLESS, *COMPRESSED])
def test_damage_anywhere_ends_in_a_reason_or_in_samples(tmp_path: Path, kind: str) -> None:
    content = (LOSSLESS | COMPRESSED)[kind]()
    path = tmp_path / "a.bin"
    near = min(len(content), 120) - 8

    @settings(deadline=None, derandomize=True, max_examples=40)
    @given(at=st.integers(0, near), new=st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, bytes(8)]))
    def check(at: int, new: bytes) -> None:
        path.write_bytes(edited(content, at, new))
        try:
            read_audio(path, 1.0)
        except AudioError as error:
            assert str(path) in str(error)

    check()


@pytest.mark.parametrize("error", [ValueError("a"), IndexError("a"), OverflowError("a"), struct.error("a")])
def test_structure_that_confuses_us_is_the_fault_of_the_file(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "a.wav").write_bytes(LOSSLESS["wav"]())

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(audio_file, "parts_of", fail)
    assert refusals(path) == ["its structure is invalid (a); copy the file again"] * 3


def test_every_suffix_means_a_format_of_libsndfile() -> None:
    assert set(SUFFIXES_OF) <= set(sf.available_formats())
    assert len(set(AUDIO_SUFFIXES)) == len(AUDIO_SUFFIXES) and not FOREIGN_SUFFIXES & set(AUDIO_SUFFIXES)


def test_what_cannot_be_read_is_told_with_the_command_that_converts_it(tmp_path: Path) -> None:
    path = tmp_path / "my dog.M4A"
    path.write_bytes(b"\0\0\0\x20ftypM4A " + bytes(100))
    assert refusals(path) == [f".m4a cannot be read; convert it: ffmpeg -i '{path}' '{path.with_suffix('.wav')}'"] * 3
    path.with_suffix(".wav").touch()  # another recording
    assert refusals(path)[0].endswith(f" '{tmp_path / 'my dog_m4a.wav'}'")


def test_one_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    if os.name != "posix" or os.geteuid() == 0:
        pytest.skip("permissions do not bind this user")
    path = tmp_path / "a.wav"
    path.write_bytes(LOSSLESS["wav"]())
    path.chmod(0)
    assert all("cannot be read (Permission denied)" in reason for reason in refusals(path))


@pytest.mark.parametrize("frames", [0, 1, 1000, 3999, 4000, 5000])
def test_reading_gives_what_was_asked_for_and_no_more(tmp_path: Path, frames: int) -> None:
    for kind in ("wav", "flac", "flac, unknown"):
        path = tmp_path / "a.bin"
        path.write_bytes(without_size("flac") if "," in kind else LOSSLESS[kind]())
        with AudioFile(path) as file:
            parts = [file.read(frames), file.read(10_000)]
            assert not len(file.read(1))
        assert [len(part) for part in parts] == [min(frames, 4000), max(0, 4000 - frames)]
