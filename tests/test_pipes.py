"""Standard input: every stream that comes, each in a pipe of its own, as it comes."""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st
from test_audio_file import LOSSLESS, PCM, encoded, mp3, sweep, with_opus_rate, without_size

from aed.audio.audio_file import STDIN, AudioFile
from aed.audio.pipes import streams
from aed.base.errors import AudioError


def writing(descriptor: int, content: bytes, size: int = 1 << 16) -> threading.Thread:
    """Writes in pieces, and closes."""

    def write() -> None:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for at in range(0, len(content), size):
                file.write(content[at : at + size])

    thread = threading.Thread(target=write)
    thread.start()
    return thread


def split(content: bytes, size: int) -> list[bytes]:
    """What comes out of each pipe."""
    source, sink = os.pipe()
    thread = writing(sink, content, size)
    found = []
    for descriptor in streams(source):
        with os.fdopen(descriptor, "rb") as file:
            found.append(file.read())
    thread.join()
    os.close(source)
    return found


@contextmanager
def standard_input(descriptor: int) -> Iterator[None]:
    before = os.dup(0)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def heard(content: bytes, frames: int = 1000) -> tuple[np.ndarray, int]:
    """The samples as 16 bit, and their rate."""
    source, sink = os.pipe()
    with standard_input(source):
        thread = writing(sink, content)
        try:
            with AudioFile(Path(STDIN)) as file:
                return np.concatenate([*file.blocks(frames)])[:, 0] * 32768, file.rate
        finally:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # whoever still writes is told
            thread.join()


OGG = encoded(sweep(0.5), "OGG", 44100)
OPUS = encoded(sweep(0.3, 48000), "OGG", 48000, "OPUS")


@settings(deadline=None, derandomize=True, max_examples=30)
@given(size=st.integers(200, 9000), junk=st.binary(max_size=100), missing=st.integers(0, 500))
def test_streams_are_split_where_they_begin_however_they_come(size: int, junk: bytes, missing: int) -> None:
    streams = [OGG + junk, OGG, OPUS[: len(OPUS) - missing]]
    assert split(b"".join(streams), size) == streams


def test_a_stream_that_takes_the_descriptor_later_is_left_alone() -> None:
    source, sink = os.pipe()
    os.write(sink, LOSSLESS["wav"]())
    first = next(streams(source))
    other, other_sink = os.pipe()
    os.dup2(other, source)  # the copy of the first stream still goes on: its pipe is open
    os.write(other_sink, b"another stream")
    os.write(sink, b"the rest")
    os.close(sink)
    with os.fdopen(first, "rb") as file:
        assert file.read().endswith(b"the rest")
    assert os.read(other, 100) == b"another stream"
    for descriptor in (source, other, other_sink):
        os.close(descriptor)


def test_other_contents_pass_as_they_are() -> None:
    for content in (b"", b"R", LOSSLESS["wav"](), LOSSLESS["flac"](), np.random.default_rng(0).bytes(200_000)):
        assert split(content, 999) == ([content] if content else [])


def test_all_that_comes_in_is_read() -> None:
    alone, rate = heard(OGG)
    assert (len(alone), rate) == (22050, 44100)
    np.testing.assert_array_equal(heard(OGG * 3)[0], np.tile(alone, 3))
    expected, _ = heard(OPUS)
    got, rate = heard(with_opus_rate(OPUS, 0))
    assert rate == 48000
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kind", ["wav", "wav, 0", "wav, killed", "wav, -1", "wavex", "au", "au, -1"])
def test_the_size_in_a_header_does_not_matter(kind: str) -> None:
    np.testing.assert_array_equal(heard(without_size(kind) if "," in kind else LOSSLESS[kind]())[0], PCM)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "standard input is empty"),
        (LOSSLESS["wav"]()[:-100], "truncated"),
        (LOSSLESS["flac"](), "not readable as audio .*; if players play it, send wav: "),
        (mp3(sweep(0.5))[0], r"MP3 cannot be read from a pipe; .* ffmpeg -v error -i - -f wav - \| "),
        (OGG + encoded(sweep(0.5), "OGG", 22050), "joins recordings of 44100 Hz.* -i - -ar 44100 -ac 1 -f wav - "),
    ],
)
def test_what_cannot_be_heard_is_said(content: bytes, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        heard(content)


def test_a_file_on_standard_input_is_read_as_a_file(tmp_path: Path) -> None:
    for content in (LOSSLESS["flac"](), LOSSLESS["w64"](), without_size("wav, 0")):
        (tmp_path / "a").write_bytes(content)
        with standard_input(os.open(tmp_path / "a", os.O_RDONLY)), AudioFile(Path(STDIN)) as file:
            np.testing.assert_array_equal(np.concatenate([*file.blocks(999)])[:, 0] * 32768, PCM)


def test_samples_come_before_the_stream_ends() -> None:
    source, sink = os.pipe()
    content = encoded(np.tile(PCM, 3), "WAV")
    with standard_input(source), os.fdopen(sink, "wb", buffering=0) as file:
        file.write(content[:20_000])
        with AudioFile(Path(STDIN)) as sound:
            assert len(sound.read(4000)) == 4000  # as much again is not written yet
            file.write(content[20_000:])
            assert len(sound.read(8000)) == 8000


def test_two_channels_stay_two() -> None:
    content = io.BytesIO()
    sf.write(content, np.stack([PCM, -PCM // 2], axis=1), 16000, format="WAV")
    assert heard(content.getvalue())[0].shape == (4000,)
