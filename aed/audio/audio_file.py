"""The reader of recordings that all commands share: block by block, the complete file or an error that says why not."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import soundfile as sf

from aed.audio import pipes
from aed.audio.containers import parts_of
from aed.audio.formats import FOREIGN_SUFFIXES, FORMATS, bad_name, conversion
from aed.audio.parts import TRUNCATED, Part, PartFile
from aed.base.errors import AudioError

Samples = npt.NDArray[np.float32]

_IN_FILE = 1 << 62
"""libsndfile reports at least this number of samples for a file whose header says that the length is unknown."""

_IN_PIPE = 1 << 25
"""The same for a pipe: programs that write wav to one state 2 or 4 GB, at up to 64 bytes per sample."""

STDIN = "-"
"""Name of standard input."""

_BYTES = 1 << 16
"""Bytes read at once of a file's structure."""

_PIPED = ("WAV", "WAVEX", "OGG", "AU")
"""Formats that libsndfile reads completely from a pipe."""

_BLOCK = 1 << 17
"""Samples read at once of a recording of unknown length."""


class _Source(NamedTuple):
    """What soundfile opens.

    Args:
        file: A path, a descriptor, which soundfile closes, or a file object.
        most: libsndfile's number of samples is trusted below this number.
        samples: The number of samples by the file's structure, where libsndfile's is not trusted.
    """

    file: Any
    most: int
    samples: int | None = None

    @classmethod
    def of(cls, file: BinaryIO, part: Part) -> Self:
        """A part of a file."""
        return cls(PartFile(file, part), 0 if part.endless else _IN_FILE, part.samples)


class _Forward(sf.SoundFile):  # type: ignore[misc]
    """A sound file that is read only forwards.

    soundfile seeks after each read of a seekable file: with MP3 this changes the last bits of samples, it is slow, and
    it fails if the length is unknown.
    """

    def seekable(self) -> bool:
        return False


class AudioFile:
    """An open recording; use it in a ``with`` statement.

    The complete recording is read even if its header states no length or a wrong one: FLAC, wav and MP3 from a pipe,
    wav of a killed writer, Ogg with several streams, joined MP3. Memory does not grow with the file.

    Args:
        path: A file, or :data:`STDIN`.

    Attributes:
        rate: Sample rate, Hz.
        channels: Number of channels.
        format: libsndfile's name of the container, ``WAV``.
        subtype: libsndfile's name of the encoding, ``PCM_16``.

    Raises:
        AudioError: The file is missing, empty, no audio or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.got_s = path, 0.0
        self._raw: BinaryIO | None = None
        self._sound: sf.SoundFile | None = None
        self._left: int | None = None  # samples left in the source; None: unknown, read to the end
        self._counted: int | None = None  # the same, counted in the file's structure
        self._passed = 0  # samples skipped by check_end
        self._sources: Iterator[_Source] = self._pipes() if str(path) == STDIN else self._parts()
        try:
            if not (sound := self._open()):
                raise self._error("standard input is empty")
        except BaseException:
            self.close()
            raise
        self.rate, self.channels = sound.samplerate, sound.channels
        self.format, self.subtype = sound.format, sound.subtype

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._sources = iter(())  # it refers to this object
        if self._sound is not None:
            self._sound.close()
        if self._raw is not None:
            self._raw.close()

    def read(self, frames: int) -> Samples:
        """The next ``frames`` samples ``(T, channels)`` in [-1, 1]; fewer, or none, at the recording's end.

        Integer formats are scaled by their full range, 8 bit too.

        Raises:
            AudioError: The file is truncated, damaged, or holds NaN or infinite samples; or it consists of several
                whose rate or channels differ.
        """
        samples = self._read(frames)
        while len(samples) < frames and self._follow():
            samples = np.concatenate([samples, self._read(frames - len(samples))])
        if not np.isfinite(samples).all():
            raise self._error("the file holds NaN or infinite samples")
        return samples

    def blocks(self, frames: int) -> Iterator[Samples]:
        """The rest of the recording in blocks of ``frames`` samples ``(T, channels)``; the last may be shorter."""
        while len(samples := self.read(frames)):
            yield samples

    def check_end(self) -> None:
        """Checks that the last sample can be read, after only the start was read.

        Raises:
            AudioError: The file is truncated.
        """
        # other formats were checked by their structure; in FLAC the length of a frame is known only after decoding
        if self._sound is not None and self.format == "FLAC" and self._left:
            try:
                self._sound.seek(self._sound.frames - 1)
                self._passed, self._left = self._left, 1
                self._read(1)
            except (sf.LibsndfileError, RuntimeError) as error:
                raise self._error(TRUNCATED) from error

    def skip(self) -> int:
        """Skips to the end and returns the number of samples skipped; decodes them only if their number is unknown.

        Raises:
            AudioError: As :meth:`read`, if samples are decoded.
        """
        skipped, self._passed = self._passed, 0
        while self._sound is not None:
            known = self._left if self._left is not None else self._counted
            if known is None:
                while block := len(self._decode(_BLOCK)):
                    skipped += block
            else:
                skipped += max(0, known)
            self._left = 0
            if not self._follow():
                break
        return skipped

    def _parts(self) -> Iterator[_Source]:
        """The sources of a file: the file itself, or parts of it."""
        try:
            os.fspath(self.path).encode()
            facts = self.path.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise AudioError("no such file")
            self._raw = self.path.open("rb", buffering=_BYTES)
            parts = _examined(self._raw, facts.st_size)
        except UnicodeEncodeError as error:
            raise AudioError(bad_name(self.path)) from error
        except AudioError as error:
            raise self._error(str(error)) from error
        except FileNotFoundError as error:
            raise self._error("no such file") from error
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})") from error
        if not parts:
            self._raw.close()
            yield _Source(self.path, _IN_FILE)
        yield from (_Source.of(self._raw, part) for part in parts)

    def _pipes(self) -> Iterator[_Source]:
        """The sources of standard input: a redirected file, or the streams of a pipe, whose length is unknown."""
        facts = os.fstat(0)
        if not stat.S_ISREG(facts.st_mode):
            yield from (_Source(descriptor, _IN_PIPE) for descriptor in pipes.streams(0))
            return
        self._raw = os.fdopen(os.dup(0), "rb", buffering=_BYTES)
        try:
            parts = _examined(self._raw, facts.st_size)
        except AudioError as error:
            raise self._error(str(error)) from error
        except OSError as error:
            raise self._error(f"cannot be read ({error.strerror})") from error
        if not parts:
            os.lseek(0, 0, os.SEEK_SET)
            yield _Source(os.dup(0), _IN_FILE)
        yield from (_Source.of(self._raw, part) for part in parts)

    def _open(self) -> sf.SoundFile | None:
        """Opens the next source; None if there is no other."""
        if (source := next(self._sources, None)) is None:
            return None
        try:
            self._sound = _Forward(source.file)
        except (sf.LibsndfileError, RuntimeError, TypeError) as error:
            # soundfile raises TypeError for headerless formats such as .raw, which cannot be read without facts
            raise self._error(self._unreadable(error)) from error
        self._check_format(self._sound.format, source)
        frames = self._sound.frames
        self._left = frames if frames < source.most else None
        self._counted = source.samples
        return self._sound

    def _check_format(self, name: str, source: _Source) -> None:
        """Raises AudioError if the end of a recording in this format cannot be checked."""
        if name not in FORMATS:
            raise self._error(f"a {name} file may end anywhere; {self._advice()}")
        if source.most == _IN_PIPE and name not in _PIPED:
            raise self._error(f"{name} cannot be read from a pipe; {self._advice()}")

    def _read(self, frames: int) -> Samples:
        """As :meth:`read`, within one source."""
        assert self._sound is not None
        if self._left is not None:
            wanted = min(frames, self._left)
            samples = self._decode(wanted)
            if len(samples) < wanted:
                raise self._error(f"the file is truncated after {self.got_s:.2f} s; copy it again")
            self._left -= wanted
            return samples
        blocks = [self._decode(min(frames, _BLOCK))]
        while len(blocks[-1]) and (wanted := frames - sum(map(len, blocks))):
            blocks.append(self._decode(min(wanted, _BLOCK)))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _decode(self, frames: int) -> Samples:
        assert self._sound is not None
        try:
            samples: Samples = self._sound.read(frames, dtype="float32", always_2d=True)
        except (sf.LibsndfileError, RuntimeError) as error:
            raise self._error(f"the file is truncated or damaged ({_reason(error)}); copy it again") from error
        self.got_s += len(samples) / self._sound.samplerate
        if self._counted is not None:
            self._counted -= len(samples)
        return samples

    def _follow(self) -> bool:
        """Opens the next source and closes the current one; False if there is no other."""
        before = self._sound
        if not (sound := self._open()):
            return False
        if before is not None:
            before.close()
        if (sound.samplerate, sound.channels) != (self.rate, self.channels):
            raise self._error(
                f"it joins recordings of {self.rate} Hz, {self.channels} channels and {sound.samplerate} Hz, "
                f"{sound.channels} channels; {self._advice(f' -ar {self.rate} -ac {self.channels}')}"
            )
        return True

    def _error(self, reason: str) -> AudioError:
        return AudioError(f"{self.path}: {reason}")

    def _unreadable(self, error: Exception) -> str:
        if (suffix := self.path.suffix.lower()) in FOREIGN_SUFFIXES:
            return f"{suffix} cannot be read; {self._advice()}"
        return f"not readable as audio ({_reason(error)}); if players play it, {self._advice()}"

    def _advice(self, options: str = "") -> str:
        """The command that converts the recording."""
        if str(self.path) == STDIN:
            return f"send wav: ... | ffmpeg -v error -i -{options} -f wav - | aed predict ... -"
        return f"convert it: {conversion(self.path, options)}"


def _reason(error: Exception) -> str:
    """libsndfile's message without the name of the file."""
    text = str(error.error_string if isinstance(error, sf.LibsndfileError) else error)
    return text.removeprefix("Error : ").rstrip(". ")


def _examined(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The parts of a file to read; see :func:`aed.audio.containers.parts_of`.

    Raises:
        AudioError: The file is empty, truncated, or its structure is invalid; the message does not name it.
    """
    if size == 0:
        raise AudioError("the file is empty")
    try:
        return parts_of(file, size)
    except (ValueError, IndexError, OverflowError, struct.error) as error:  # impossible sizes or positions
        raise AudioError(f"its structure is invalid ({error}); copy the file again") from error
