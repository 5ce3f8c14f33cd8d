"""MPEG audio (ISO 11172-3, 13818-3): a bare sequence of frames, which only Xing's or LAME's frame in front counts."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import BinaryIO, NamedTuple

from aed.audio.parts import TRUNCATED, Part
from aed.base.errors import AudioError

_RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Version bits -> sample rates."""

_KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""MPEG-1 or 2, layer -> bitrates."""

_BLOCK = 1 << 16
"""Bytes that are searched at a time."""

_SURE = 8
"""So many frames in a row are sound wherever they stand; of two alike, chance makes some in each 100 MB."""

_HEAD = re.compile(rb"\xff[\xe2-\xff]")
"""What a header begins with."""


class _Frame(NamedTuple):
    """What the 4 bytes of a header say.

    Args:
        length: Bytes of the frame.
        stream: What stays the same from frame to frame: version, layer, sample rate.
        side: Bytes from its start to where Xing's tag would be.
        samples: That it holds of each channel.
    """

    length: int
    stream: tuple[int, int, int]
    side: int
    samples: int


class _Run(NamedTuple):
    """Frames one after the other.

    Args:
        start: Position of the first.
        stop: Position after the last.
        frames: Their number, without one that only counts them.
        counted: What that one says their number is.
        samples: Of all.
    """

    start: int
    stop: int
    frames: int
    counted: int | None
    samples: int


@lru_cache(1 << 12)  # a file has few different ones
def _frame(head: bytes) -> _Frame | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer == 4 or kbits in (0, 15) or rate == 3:
        return None
    bits, rate_hz = 1000 * _KBITS[version == 3, layer][kbits - 1], _RATES_HZ[version][rate]
    padding = head[2] >> 1 & 1
    if layer == 1:
        length = (12 * bits // rate_hz + padding) * 4
    else:
        length = (72 if layer == 3 and version != 3 else 144) * bits // rate_hz + padding
    is_mono = head[3] >> 6 == 3
    side = 4 + ((17 if is_mono else 32) if version == 3 else (9 if is_mono else 17))
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    return _Frame(length, (version, layer, rate), side, samples)


def is_frame(head: bytes) -> bool:
    """Whether 4 bytes may be the header of a frame."""
    return _frame(head) is not None


def parts_of(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The streams of a file, where it joins several or where nothing in it says how long it is.

    Raises:
        AudioError: It ends within a frame, or has fewer than it counts.
    """
    end = _without_tags(file, size)
    start = _after_id3(file, 0)
    first = _find(file, start, end) if _peek(file, start) != b"fLaC" else None
    if first is None or _is_counted_whole(file, first, end, size):
        return ()
    runs = list(_runs(file, first, end))
    if len(runs) == 1 and runs[0].counted is not None:
        return ()
    return tuple(
        Part(run.start, run.stop, endless=True, samples=run.samples)
        if run.counted is None
        else Part(run.start, run.stop)
        for run in runs
    )


def _is_counted_whole(file: BinaryIO, first: int, end: int, size: int) -> bool:
    """Whether the first frame counts frames and bytes, and the bytes are those of the file."""
    flags, _, length = _xing(file, first)
    return flags & 3 == 3 and end <= first + length <= size


def _xing(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """Flags, frames and bytes of the tag in the frame there; flags 0 where there is none."""
    file.seek(at)
    content = file.read(4 + 32 + 16)
    frame = _frame(content[:4])
    if frame is None or frame.stream[1] != 3 or content[frame.side : frame.side + 4] not in (b"Xing", b"Info"):
        return 0, 0, 0
    numbers = [int.from_bytes(content[frame.side + k : frame.side + k + 4], "big") for k in (4, 8, 12)]
    return numbers[0], numbers[1], numbers[2]


def _runs(file: BinaryIO, first: int | None, end: int) -> Iterator[_Run]:
    """The sequences of frames; a new one begins after a tag, or with a frame that counts those after it.

    Raises:
        AudioError: The last ends within a frame, or one has fewer than it counts.
    """
    while first is not None:
        run = _run(file, first, end)
        if run.stop > end or (run.counted is not None and run.frames < run.counted):
            raise AudioError(TRUNCATED)
        yield run
        first = _find(file, _after_id3(file, run.stop), end)


def _run(file: BinaryIO, first: int, end: int) -> _Run:
    flags, counted, _ = _xing(file, first)
    is_counted = bool(flags & 1 and counted)
    frame = stream = _frame(_peek(file, first))
    if flags & 1 and not counted and frame:  # a counter of 0, as it was before there were frames to count
        first += frame.length
        frame = _frame(_peek(file, first))
    position, frames = first, -int(is_counted)
    while frame and stream and frame.stream == stream.stream and not (is_counted and frames == counted):
        position, frames = position + frame.length, frames + 1
        frame = _frame(_peek(file, position)) if position + 4 <= end else None
    samples = frames * stream.samples if stream else 0
    return _Run(first, position, frames, counted if is_counted else None, samples)


def _after_id3(file: BinaryIO, position: int) -> int:
    """The position after the ID3v2 tags that begin at ``position``: a cover picture may be larger than the sound."""
    while True:
        file.seek(position)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return position
        length = sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(head[6:]))
        position += 10 + length + (10 if head[5] & 0x10 else 0)


def _without_tags(file: BinaryIO, size: int) -> int:
    """Where the sound ends and an ID3v1 or an APE tag begins."""
    end = size
    file.seek(max(0, end - 128))
    if end >= 128 and file.read(3) == b"TAG":
        end -= 128
    file.seek(max(0, end - 32))
    foot = file.read(32)
    if foot[:8] == b"APETAGEX":
        end -= int.from_bytes(foot[12:16], "little") + (32 if foot[23] & 0x80 else 0)
    return max(0, end)


def _find(file: BinaryIO, position: int, end: int) -> int | None:
    """The first frame from ``position`` on that others follow, or the end: one if it is near, else more."""
    near = position + _BLOCK
    while position + 4 <= end:
        file.seek(position)
        block = file.read(min(_BLOCK, end - position))
        for match in _HEAD.finditer(block):
            at = position + match.start()
            if _are_frames(file, at, end, 2 if at < near else _SURE):
                return at
        position += max(1, len(block) - 1)  # the two bytes may lie on both sides
    return None


def _peek(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(4)


def _are_frames(file: BinaryIO, at: int, end: int, number: int) -> bool:
    """Whether so many frames of one kind follow one another, or fewer and then the end."""
    first = frame = _frame(_peek(file, at)) if at + 4 <= end else None
    for _ in range(number - 1):
        if not first or not frame or frame.stream != first.stream:
            return False
        at += frame.length
        if at == end:
            return True
        frame = _frame(_peek(file, at)) if at + 4 <= end else None
    return bool(first and frame and frame.stream == first.stream)
