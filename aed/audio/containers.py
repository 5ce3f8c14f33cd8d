"""The length of a recording by its own structure, where libsndfile does not check it or fails.

libsndfile silently returns what is left of a truncated file; if a header says that the length is unknown, as in all
files written to a pipe, it fails or estimates. Here only the headers of a format are read, not the samples.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

from aed.audio import mpeg, ogg
from aed.audio.parts import TRUNCATED, Part
from aed.base.errors import AudioError

UNKNOWN_RIFF = 0x7FFFF000
"""Sizes of ``data`` from this one on mean "to the end": programs that stream write 0xFFFFFFFF or slightly less."""

UNKNOWN_LONG = 1 << 62
"""The same for sizes of 64 bits; -1 as an unsigned number is above it, too."""

_W64_DATA = b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"


@dataclass(frozen=True)
class _Chunks:
    """How a format writes its chunks: name, size, content.

    Args:
        first: Position of the first chunk.
        data: Name of the chunk of samples.
        order: Byte order of sizes.
        size_bytes: Bytes of a size.
        align: Contents are padded to a multiple of this number of bytes.
        inclusive: Whether a size includes the bytes of name and size.
    """

    first: int
    data: bytes
    order: Literal["little", "big"]
    size_bytes: int = 4
    align: int = 2
    inclusive: bool = False

    @property
    def header(self) -> int:
        """Bytes of name and size."""
        return len(self.data) + self.size_bytes

    def walk(self, file: BinaryIO, position: int, size: int) -> Iterator[tuple[int, bytes, int]]:
        """Position, name and length of the content of each chunk that begins before ``size``."""
        while position + self.header <= size:
            file.seek(position)
            head = file.read(self.header)
            length = int.from_bytes(head[len(self.data) :], self.order) - self.inclusive * self.header
            yield position, head[: len(self.data)], length
            position += self.header + max(0, length) + -length % self.align


class _Data(NamedTuple):
    """The chunk of samples.

    Args:
        start: Position of its content.
        length: Bytes of its content according to its header.
    """

    start: int
    length: int


_RIFF = _Chunks(12, b"data", "little")
_FORMATS = {
    b"RIFF": _RIFF,
    b"RIFX": _Chunks(12, b"data", "big"),
    b"RF64": _RIFF,
    b"BW64": _RIFF,
    b"FORM": _Chunks(12, b"SSND", "big"),
    b"riff": _Chunks(40, _W64_DATA, "little", 8, 8, inclusive=True),
    b"caff": _Chunks(8, b"data", "big", 8, 1),
}
_KINDS = {b"RIFF": (b"WAVE",), b"RIFX": (b"WAVE",), b"FORM": (b"AIFF", b"AIFC")}


def parts_of(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The parts, with corrected headers, of a file that libsndfile would read wrongly; () if it reads it correctly.

    Args:
        file: The open file, at its start.
        size: Its size in bytes.

    Raises:
        AudioError: The file is shorter than its structure says; the message does not name it.
    """
    head = file.read(16)
    magic = head[:4]
    if magic == b"OggS":
        return ogg.parts_of(file, size)
    if magic in _FORMATS and head[8:12] in _KINDS.get(magic, (head[8:12],)):
        return _chunked(file, size, magic)
    if magic in (b".snd", b"dns."):
        return _au(head, size, "big" if magic == b".snd" else "little")
    if head[:7] == b"NIST_1A":
        _check_nist(file, size)
    elif magic[:3] == b"ID3" or mpeg.is_frame(magic):
        return mpeg.parts_of(file, size)
    return ()


def _chunked(file: BinaryIO, size: int, magic: bytes) -> tuple[Part, ...]:
    chunks = _FORMATS[magic]
    long = position = 0
    for position, name, length in chunks.walk(file, chunks.first, size):
        if name == b"ds64":  # sizes of 64 bits: RIFF, data, then frames (EBU Tech 3306)
            long = position + chunks.header + 8
        if name == chunks.data:
            data = _Data(position + chunks.header, length)
            break
    else:
        return ()  # libsndfile's error says what is wrong
    left = size - data.start
    if long and data.length == 0xFFFFFFFF:
        return _rf64(file, size, magic, data, long)
    unknown = UNKNOWN_LONG if chunks.size_bytes == 8 else UNKNOWN_RIFF
    is_unknown = data.length >= unknown or data.length < 0
    if not is_unknown and data.length > left:
        raise AudioError(TRUNCATED)
    at = position + len(chunks.data)
    if magic == b"caff" and is_unknown:
        return (Part(0, size, ((at, left.to_bytes(8, "big")),)),)
    if magic in (b"RIFF", b"RIFX") and not data.length and not _is_followed_by_chunks(file, chunks, data, size):
        return (Part(0, size, ((at, min(left, UNKNOWN_RIFF).to_bytes(4, chunks.order)),)),)
    return ()


def _rf64(file: BinaryIO, size: int, magic: bytes, data: _Data, at: int) -> tuple[Part, ...]:
    """As :func:`_chunked`; ``at`` is the position of the length of ``data``. BW64 is RF64 by another name."""
    file.seek(at)
    length = int.from_bytes(file.read(8), "little")
    left = size - data.start
    is_unknown = length >= UNKNOWN_LONG or (length == 0 and not _is_followed_by_chunks(file, _RIFF, data, size))
    if not is_unknown and length > left:
        raise AudioError(TRUNCATED)
    patches = [(0, b"RF64")] if magic == b"BW64" else []
    if is_unknown and left:
        patches.append((at, left.to_bytes(8, "little")))
    return (Part(0, size, tuple(patches)),) if patches else ()


def _is_followed_by_chunks(file: BinaryIO, chunks: _Chunks, data: _Data, size: int) -> bool:
    """Whether chunks up to the file's end, or nothing, follow a ``data`` of length 0: then it is really empty."""
    end = data.start
    for position, name, length in chunks.walk(file, data.start, size):
        end = position + chunks.header + length
        if not re.fullmatch(rb"[ -~]{4}", name) or end > size:
            return False
    return end >= size - 1  # a pad byte may be missing, or be the last byte


def _au(head: bytes, size: int, order: Literal["little", "big"]) -> tuple[Part, ...]:
    start, length = int.from_bytes(head[4:8], order), int.from_bytes(head[8:12], order)
    if length == 0 and size > start:
        return (Part(0, size, ((8, b"\xff" * 4),)),)
    if length != 0xFFFFFFFF and start + length > size:
        raise AudioError(TRUNCATED)
    return ()


def _check_nist(file: BinaryIO, size: int) -> None:
    """Raises AudioError if a NIST Sphere file is shorter than its text header says."""
    file.seek(0)
    text = file.read(1024)
    numbers = [
        re.search(rb"^" + name + rb" -i (\d+)", text, re.MULTILINE)
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    ]
    length = 1
    for number in numbers:
        length *= int(number[1]) if number else 0
    header = re.match(rb"NIST_1A\s+(\d+)", text)
    if b"shorten" not in text and header and int(header[1]) + length > size:
        raise AudioError(TRUNCATED)
