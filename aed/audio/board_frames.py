"""Frames of PCM that a board sends over a serial line, as ``aed_record.h`` has them: found, checked, counted."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

SYNC = bytes((0xAE, 0xD5, 0xEA, 0x5D))
VERSION = 1
S16 = 1
"""Format: signed, 16 bits, one channel."""

MOST_SAMPLES = 512
LOWEST_HZ, HIGHEST_HZ = 1000, 192_000

_HEADER = struct.Struct("<4sBBHIII")
_CRC = struct.Struct("<I")

KEPT_BYTES = 4096
"""Of what belongs to no frame, the last so many are kept, to say what it looks like."""

Int16 = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Frame:
    """A frame whose checksum is right.

    Args:
        number: Of the frame, modulo 2^32.
        position: Of the first sample since the board began, modulo 2^32, with what the board itself lost.
        rate_hz: Sample rate that the board announces.
        samples: ``(count,)`` int16.
    """

    number: int
    position: int
    rate_hz: int
    samples: Int16


@dataclass
class FrameReader:
    """Finds frames in bytes, wherever these are cut.

    A frame is taken if its header can be one and its checksum is right; else the search goes on one byte after its
    begin, so that no whole frame is lost to a damaged one before it.

    Args:
        frames: Taken.
        damaged: Headers that could be one, with a wrong checksum.
        stray_bytes: That belong to no frame.
        other_forms: Version and format of headers that another program may have sent.
        stray: The last of the stray bytes.
    """

    frames: int = 0
    damaged: int = 0
    stray_bytes: int = 0
    other_forms: set[tuple[int, int]] = field(default_factory=set)
    stray: bytes = b""
    _waiting: bytearray = field(default_factory=bytearray)

    def feed(self, content: bytes) -> Iterator[Frame]:
        """The frames that these bytes complete; what is incomplete waits for the next."""
        self._waiting += content
        begin = 0
        while (found := self._waiting.find(SYNC, begin)) >= 0:
            self._skip(begin, found)
            begin = found
            if len(self._waiting) - begin < _HEADER.size:
                break
            _, version, form, count, number, position, rate_hz = _HEADER.unpack_from(self._waiting, begin)
            if not self._is_possible(version, form, count, rate_hz):
                begin = self._leave(begin)
                continue
            end = begin + _HEADER.size + 2 * count
            if len(self._waiting) < end + _CRC.size:
                break
            if zlib.crc32(self._waiting[begin:end]) != _CRC.unpack_from(self._waiting, end)[0]:
                self.damaged += 1
                begin = self._leave(begin)
                continue
            self.frames += 1
            samples = np.frombuffer(bytes(self._waiting[begin + _HEADER.size : end]), "<i2").astype(np.int16)
            begin = end + _CRC.size
            yield Frame(number, position, rate_hz, samples)
        else:
            # the end of the bytes may be the begin of a frame
            end = max(begin, len(self._waiting) - len(SYNC) + 1)
            self._skip(begin, end)
            begin = end
        del self._waiting[:begin]

    def finish(self) -> None:
        """Says that nothing comes after this: what waits is no frame."""
        self._skip(0, len(self._waiting))
        self._waiting.clear()

    def _is_possible(self, version: int, form: int, count: int, rate_hz: int) -> bool:
        if not (1 <= count <= MOST_SAMPLES and LOWEST_HZ <= rate_hz <= HIGHEST_HZ):
            return False
        if (version, form) == (VERSION, S16):
            return True
        self.other_forms.add((version, form))
        return False

    def _leave(self, begin: int) -> int:
        """Gives up the frame that seemed to begin there; returns where the search goes on."""
        self._skip(begin, begin + 1)
        return begin + 1

    def _skip(self, begin: int, end: int) -> None:
        self.stray_bytes += end - begin
        self.stray = (self.stray + self._waiting[begin:end])[-KEPT_BYTES:]
