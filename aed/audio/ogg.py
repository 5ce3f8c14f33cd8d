"""Ogg (RFC 3533): the streams chained in a file, and whether each has its last page."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from aed.audio.parts import TRUNCATED, Part
from aed.base.errors import AudioError

OPUS_HZ = 48000
"""Sample rate of every Opus stream; its header has the rate of the encoder's input, 0 if unknown (RFC 7845)."""

HEADER = 27
"""Bytes of a page's header before its segment table of up to 255 bytes."""

_BYTES = 1 << 16
"""Bytes read at once."""

FIRST, LAST = 0x02, 0x04
"""Flags of a stream's first and last page."""


class _Page(NamedTuple):
    """A page.

    Args:
        start: Position of its header.
        stop: Position after the page.
        flags: Of its header.
    """

    start: int
    stop: int
    flags: int


def parts_of(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The streams of a file if there are several, or if the header of its only one has to be corrected; else ().

    Raises:
        AudioError: A stream lacks its end, or the first its beginning.
    """
    starts: list[int] = []
    stops: list[int] = []
    before = _Page(0, 0, LAST)
    for page in _pages(file, size):
        if not starts and page.stop <= size and not page.flags & FIRST:  # a recorder that joined a stream midway
            raise AudioError(
                "the beginning of the stream in it is missing, without which it cannot be decoded; copy it again"
            )
        if page.flags & FIRST and not before.flags & FIRST:  # several first pages in a row: streams side by side
            if not before.flags & LAST:
                raise AudioError(f"a stream in it has no end (at byte {page.start}); copy the file again")
            starts.append(page.start)
            stops.append(before.stop)
        before = page
    if not before.flags & LAST or before.stop > size:
        raise AudioError(TRUNCATED)
    spans = zip(starts, [*stops[1:], before.stop], strict=True)
    parts = tuple(Part(*span, _patches(file, span[0])) for span in spans)
    return parts if len(parts) > 1 or any(part.patches for part in parts) else ()


def _pages(file: BinaryIO, size: int) -> Iterator[_Page]:
    """The pages up to the file's end or to other data; a tag between two streams is skipped."""
    position = begin = flags = 0
    block = b""
    while position < size:
        at = position - begin
        if at + HEADER + 255 > len(block) and begin + len(block) < size:
            file.seek(position)
            at, begin, block = 0, position, file.read(_BYTES)
        if block[at : at + 4] != b"OggS":
            if flags & LAST and (following := _next_stream(file, position)) is not None:
                position = following
                continue
            return
        segments = block[at + HEADER : at + HEADER + block[at + 26]] if at + 26 < len(block) else b""
        content = position + HEADER + len(segments)
        is_whole = at + 26 < len(block) and len(segments) == block[at + 26]
        stop = content + sum(segments) if is_whole else size + 1
        flags = block[at + 5] if at + 5 < len(block) else 0
        yield _Page(position, stop, flags)
        position = stop


def _next_stream(file: BinaryIO, position: int) -> int | None:
    """Position at which the next stream begins, from ``position`` on; None if there is none."""
    mark = b"OggS\0" + bytes([FIRST])
    file.seek(position)
    rest = b""
    while block := file.read(_BYTES):
        if (at := (rest + block).find(mark)) >= 0:
            return position - len(rest) + at
        position += len(block)
        rest = (rest + block)[1 - len(mark) :]
    return None


def _patches(file: BinaryIO, start: int) -> tuple[tuple[int, bytes], ...]:
    """The corrected first page of a stream and its position; () if it is correct."""
    file.seek(start)
    page = file.read(HEADER + 255 + 255)
    page = page[: HEADER + page[26] + sum(page[HEADER : HEADER + page[26]])]
    corrected = with_rate(page)
    return () if corrected == page else ((start, corrected),)


def with_rate(page: bytes) -> bytes:
    """The page; the rate of an Opus header of rate 0, which libsndfile reads as 8 kHz, is set to 48 kHz."""
    content = HEADER + page[26]
    rate = slice(content + 12, content + 16)
    if page[content : content + 8] != b"OpusHead" or any(page[rate]):
        return page
    corrected = bytearray(page)
    corrected[22:26], corrected[rate] = bytes(4), OPUS_HZ.to_bytes(4, "little")
    corrected[22:26] = _crc(corrected).to_bytes(4, "little")
    return bytes(corrected)


def _crc(content: bytearray) -> int:
    """The checksum of a page whose checksum field is 0: polynomial 0x04C11DB7, no bits reflected."""
    crc = 0
    for byte in content:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
