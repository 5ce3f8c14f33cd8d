"""Ogg (RFC 3533): the streams that are chained in a file, and whether the last page of each is there."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from aed.dsp.parts import TRUNCATED, Part
from aed.errors import AudioError

OPUS_HZ = 48000
"""Rate of any Opus stream; that in its header is the encoder's input, 0 where not known (RFC 7845)."""

_MOST_HEADER = 27 + 255
"""Bytes of a page's header, at most."""

_BYTES = 1 << 16
"""Read at a time."""

_FIRST, _LAST = 0x02, 0x04
"""Flags of a stream's first and last page."""


class _Page(NamedTuple):
    """A page.

    Args:
        start: Position of its header.
        stop: Position after it.
        flags: Of its header.
    """

    start: int
    stop: int
    flags: int


def parts_of(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The streams of a file one after the other, where it chains several, or one whose header has to be mended.

    Raises:
        AudioError: One lacks its end.
    """
    starts: list[int] = []
    before = _Page(0, 0, _LAST)
    for page in _pages(file, size):
        if page.flags & _FIRST and not before.flags & _FIRST:  # several first pages in a row: streams side by side
            if not before.flags & _LAST:
                raise AudioError(f"a stream in it has no end (at byte {page.start}); copy the file anew")
            starts.append(page.start)
        before = page
    if not before.flags & _LAST or before.stop > size:
        raise AudioError(TRUNCATED)
    stops = [*starts[1:], before.stop]
    parts = tuple(Part(*span, _mend_opus(file, span[0])) for span in zip(starts, stops, strict=True))
    return parts if len(parts) > 1 or any(part.patches for part in parts) else ()


def _pages(file: BinaryIO, size: int) -> Iterator[_Page]:
    """The pages, up to the file's end or to what is none."""
    position = begin = 0
    block = b""
    while position < size:
        at = position - begin
        if at + _MOST_HEADER > len(block) and begin + len(block) < size:
            file.seek(position)
            at, begin, block = 0, position, file.read(_BYTES)
        if block[at : at + 4] != b"OggS":
            return  # after the last page there may be a tag
        segments = block[at + 27 : at + 27 + block[at + 26]] if at + 26 < len(block) else b""
        content = position + 27 + len(segments)
        is_whole = at + 26 < len(block) and len(segments) == block[at + 26]
        stop = content + sum(segments) if is_whole else size + 1
        yield _Page(position, stop, block[at + 5] if at + 5 < len(block) else 0)
        position = stop


def _mend_opus(file: BinaryIO, start: int) -> tuple[tuple[int, bytes], ...]:
    """What to write over the first page of an Opus stream of rate 0, which libsndfile hears at 8 kHz."""
    file.seek(start)
    page = bytearray(file.read(_MOST_HEADER + 255))
    content = 27 + page[26]
    if page[content : content + 8] != b"OpusHead" or any(page[content + 12 : content + 16]):
        return ()
    page = page[: content + sum(page[27:content])]
    page[22:26], page[content + 12 : content + 16] = bytes(4), OPUS_HZ.to_bytes(4, "little")
    page[22:26] = _crc(page).to_bytes(4, "little")
    return ((start, bytes(page)),)


def _crc(content: bytearray) -> int:
    """The checksum of a page whose own is 0: polynomial 0x04C11DB7, nothing mirrored."""
    crc = 0
    for byte in content:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc
