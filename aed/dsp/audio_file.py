"""Recordings as every verb reads them: one reader, block by block, that gives all of a file or says why not."""

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt
import soundfile as sf

from aed.dsp.containers import parts_of
from aed.dsp.parts import TRUNCATED, Part, PartFile
from aed.errors import AudioError

Samples = npt.NDArray[np.float32]

_KNOWN_FRAMES = 1 << 62
"""libsndfile gives a larger number where a header says that the length is unknown."""

STDIN = "-"
"""Name of standard input."""

NOT_UTF8 = "the name is not UTF-8; rename the file"
"""Why a file cannot be used."""

SUFFIXES_OF = {
    "WAV": (".wav", ".wave", ".bwf"),
    "FLAC": (".flac",),
    "OGG": (".ogg", ".opus", ".oga"),
    "MP3": (".mp3", ".mp2", ".mpga"),
    "AIFF": (".aif", ".aiff", ".aifc"),
    "W64": (".w64",),
    "RF64": (".rf64",),
    "CAF": (".caf",),
    "AU": (".au", ".snd"),
    "NIST": (".sph", ".nist"),
}
"""Formats of libsndfile that are read, and the suffixes that mean them.

Not headerless ones, nor those of samplers and of the nineties: of one that is cut off nothing would tell.
"""

_FORMATS = frozenset(SUFFIXES_OF) | {"WAVEX"}

AUDIO_SUFFIXES = tuple(suffix for name, own in SUFFIXES_OF.items() if name in sf.available_formats() for suffix in own)
"""Of files that are taken for recordings."""

FOREIGN_SUFFIXES = frozenset(
    (
        ".3ga", ".3gp", ".8svx", ".aac", ".ac3", ".adts", ".alac", ".amr", ".ape", ".asf", ".avi",
        ".avr", ".awb", ".dff", ".dsf", ".dts", ".eac3", ".gsm", ".ircam", ".m4a", ".m4b", ".m4r",
        ".mka", ".mkv", ".mov", ".mp4", ".mpc", ".paf", ".pvf", ".qcp", ".ra", ".rm", ".shn",
        ".spx", ".tak", ".tta", ".voc", ".webm", ".weba", ".wma", ".wv",
    )
)  # fmt: skip
"""Of sounds that ffmpeg reads, and libsndfile does not, or not without a look at where they end."""

_BYTES = 1 << 16
"""Read at once of a file's structure."""

_BLOCK = 1 << 17
"""Samples read at once where nobody knows how many there are."""


class _Forward(sf.SoundFile):  # type: ignore[misc]
    """A sound file that is read from its start to its end.

    soundfile seeks after every read of a file it believes it can seek in: of MP3 that changes the samples at the
    seams, and it fails where the length is unknown.
    """

    def seekable(self) -> bool:
        return False


class AudioFile:
    """An open recording; use it in a ``with`` statement.

    All of it is read whatever it says of its length: FLAC, wav and MP3 from a pipe, wav whose writer was killed, Ogg
    of several streams, joined MP3. Memory does not grow with the file.

    Args:
        path: A file, or :data:`STDIN`.

    Attributes:
        rate: Hz.
        channels: Their number.
        format: ``WAV``.
        subtype: ``PCM_16``.

    Raises:
        AudioError: The file is missing, empty, no audio or cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.got_s = path, 0.0
        self._raw: BinaryIO | None = None
        self._sound: sf.SoundFile | None = None
        self._left: int | None = None
        try:
            self._parts = list(self._examine()) if str(path) != STDIN else []
            sound = self._open()
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
        while len(samples) < frames and self._parts:
            self._follow()
            samples = np.concatenate([samples, self._read(frames - len(samples))])
        if not np.isfinite(samples).all():
            raise self._error("the file holds NaN or infinite samples")
        return samples

    def blocks(self, frames: int) -> Iterator[Samples]:
        """The rest of the recording in blocks of ``frames`` samples ``(T, channels)``; the last may be shorter."""
        while len(samples := self.read(frames)):
            yield samples

    def check_end(self) -> None:
        """Looks whether the file has its last sample, where only its start was read.

        Raises:
            AudioError: It is truncated.
        """
        # the structure of all other formats has told; that of FLAC does not say how long its frames are
        if self._sound is not None and self.format == "FLAC" and self._left:
            try:
                self._sound.seek(self._sound.frames - 1)
                self._left = 1
                self._read(1)
            except (sf.LibsndfileError, RuntimeError) as error:
                raise self._error(TRUNCATED) from error

    def _examine(self) -> tuple[Part, ...]:
        """How the file has to be read; () if libsndfile may open it by its name."""
        try:
            os.fspath(self.path).encode()
            facts = self.path.stat()
            if not stat.S_ISREG(facts.st_mode):
                raise AudioError("no such file")
            if facts.st_size == 0:
                raise AudioError("the file is empty")
            self._raw = self.path.open("rb", buffering=_BYTES)
            parts = parts_of(self._raw, facts.st_size)
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
        return parts

    def _open(self) -> sf.SoundFile:
        """The next part, or all of the file."""
        part = self._parts.pop(0) if self._parts else None
        source: Any = self.path
        if str(self.path) == STDIN:
            source = 0
        elif part is not None and self._raw is not None:
            source = PartFile(self._raw, part)
        try:
            self._sound = _Forward(source, closefd=False)
        except (sf.LibsndfileError, RuntimeError, TypeError) as error:
            # soundfile raises TypeError for headerless formats such as .raw, which cannot be read without facts
            raise self._error(self._unreadable(error)) from error
        if self._sound.format not in _FORMATS:
            raise self._error(f"a {self._sound.format} file may end anywhere; convert it: {conversion(self.path)}")
        # whoever writes to a pipe does not know how long it will be, whatever the header says
        is_unknown = source == 0 or self._sound.frames >= _KNOWN_FRAMES or (part is not None and part.endless)
        self._left = None if is_unknown else self._sound.frames
        return self._sound

    def _read(self, frames: int) -> Samples:
        """As :meth:`read`, of one part."""
        assert self._sound is not None
        if self._left is not None:
            wanted = min(frames, self._left)
            samples = self._decode(wanted)
            if len(samples) < wanted:
                raise self._error(f"the file is truncated after {self.got_s:.2f} s; copy it anew")
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
            raise self._error(f"the file is truncated or damaged ({_reason(error)}); copy it anew") from error
        self.got_s += len(samples) / self._sound.samplerate
        return samples

    def _follow(self) -> None:
        """Goes on to the next part."""
        if self._sound is not None:
            self._sound.close()
        sound = self._open()
        if (sound.samplerate, sound.channels) != (self.rate, self.channels):
            raise self._error(
                f"it joins recordings of {self.rate} Hz, {self.channels} channels and {sound.samplerate} Hz, "
                f"{sound.channels} channels; make it one: "
                + conversion(self.path, f"-ar {self.rate} -ac {self.channels}")
            )

    def _error(self, reason: str) -> AudioError:
        return AudioError(f"{self.path}: {reason}")

    def _unreadable(self, error: Exception) -> str:
        if str(self.path) == STDIN:
            return f"not readable as wav or ogg (flac and mp3 cannot be read from a pipe) ({_reason(error)})"
        if self.path.suffix.lower() in FOREIGN_SUFFIXES:
            return f"{self.path.suffix.lower()} cannot be read; convert it: {conversion(self.path)}"
        return f"not readable as audio ({_reason(error)}); if players play it, convert it: {conversion(self.path)}"


def _reason(error: Exception) -> str:
    """In libsndfile's words, without the file's name."""
    text = str(error.error_string if isinstance(error, sf.LibsndfileError) else error)
    return text.removeprefix("Error : ").rstrip(". ")


def conversion(path: Path, options: str = "") -> str:
    """The command that makes a wav of a recording, to be typed in a shell; it writes over nothing."""
    made = path.with_suffix(".wav")
    if made.exists():
        made = path.with_name(f"{path.stem}_{path.suffix.strip('.').lower()}.wav")
    return " ".join(filter(None, ("ffmpeg -i", shlex.quote(str(path)), options, shlex.quote(str(made)))))


def bad_name(path: Path) -> str:
    """Says of a file, escaped so that it can be printed, that its name is not UTF-8; archives of Windows hold such."""
    return f"{str(path)!a}: {NOT_UTF8}"
