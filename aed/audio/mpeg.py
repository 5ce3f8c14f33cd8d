"""MPEG audio (ISO 11172-3, 13818-3): a sequence of frames whose number only a tag of Xing or LAME states."""

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
"""Bytes searched at once."""

_SURE = 8
"""So many consecutive frames are audio wherever they are; two alike occur by chance in each 100 MB."""

_HEAD = re.compile(rb"\xff[\xe2-\xff]")
"""The first bytes of a frame header."""


class _Frame(NamedTuple):
    """The facts in the 4 bytes of a frame header.

    Args:
        length: Bytes of the frame.
        stream: Version, layer and sample rate, which are equal in all frames of a stream.
        side: Offset in the frame at which a Xing tag would begin.
        samples: Samples per channel in the frame.
    """

    length: int
    stream: tuple[int, int, int]
    side: int
    samples: int


class _Run(NamedTuple):
    """Consecutive frames of one stream.

    Args:
        start: Position of the first frame.
        stop: Position after the last frame.
        frames: Number of frames, without that of a Xing tag.
        counted: Number of frames according to that tag; None without a tag.
        samples: Samples per channel in all frames.
    """

    start: int
    stop: int
    frames: int
    counted: int | None
    samples: int


@lru_cache(1 << 12)  # a file has few different headers
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
    """Whether 4 bytes can be the header of a frame."""
    return _frame(head) is not None


def parts_of(file: BinaryIO, size: int) -> tuple[Part, ...]:
    """The streams of a file if it joins several or if its length is not stated; else ().

    Raises:
        AudioError: The file ends within a frame, or has fewer frames than its tag states.
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
    """Whether a tag in the first frame states frames and bytes, and the bytes are those of the file."""
    flags, _, length = _xing(file, first)
    return flags & 3 == 3 and end <= first + length <= size


def _xing(file: BinaryIO, at: int) -> tuple[int, int, int]:
    """Flags, frames and bytes of the Xing tag in the frame at ``at``; flags 0 without a tag."""
    file.seek(at)
    content = file.read(4 + 32 + 16)
    frame = _frame(content[:4])
    if frame is None or frame.stream[1] != 3 or content[frame.side : frame.side + 4] not in (b"Xing", b"Info"):
        return 0, 0, 0
    numbers = [int.from_bytes(content[frame.side + k : frame.side + k + 4], "big") for k in (4, 8, 12)]
    return numbers[0], numbers[1], numbers[2]


def _runs(file: BinaryIO, first: int | None, end: int) -> Iterator[_Run]:
    """The sequences of frames; a new sequence begins after an ID3 tag or with a Xing tag.

    Raises:
        AudioError: The last sequence ends within a frame, or a sequence has fewer frames than its tag states.
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
    if flags & 1 and not counted and frame:  # a tag with 0 frames, written before the frames
        first += frame.length
        frame = _frame(_peek(file, first))
    position, frames = first, -int(is_counted)
    while frame and stream and frame.stream == stream.stream and not (is_counted and frames == counted):
        position, frames = position + frame.length, frames + 1
        frame = _frame(_peek(file, position)) if position + 4 <= end else None
    samples = frames * stream.samples if stream else 0
    return _Run(first, position, frames, counted if is_counted else None, samples)


def _after_id3(file: BinaryIO, position: int) -> int:
    """The position after the ID3v2 tags that begin at ``position``; a cover picture may be larger than the audio."""
    while True:
        file.seek(position)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            return position
        length = sum((byte & 0x7F) << 7 * (3 - index) for index, byte in enumerate(head[6:]))
        position += 10 + length + (10 if head[5] & 0x10 else 0)


def _without_tags(file: BinaryIO, size: int) -> int:
    """The position at which the audio ends and an ID3v1 or APE tag begins."""
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
    """The first frame from ``position`` on that another (far away: :data:`_SURE` - 1 others) or the end follows."""
    near = position + _BLOCK
    while position + 4 <= end:
        file.seek(position)
        block = file.read(min(_BLOCK, end - position))
        for match in _HEAD.finditer(block):
            at = position + match.start()
            if _are_frames(file, at, end, 2 if at < near else _SURE):
                return at
        position += max(1, len(block) - 1)  # a header may begin with the last byte of a block
    return None


def _peek(file: BinaryIO, at: int) -> bytes:
    file.seek(at)
    return file.read(4)


def _are_frames(file: BinaryIO, at: int, end: int, number: int) -> bool:
    """Whether ``number`` frames of one stream follow each other from ``at`` on, or fewer up to the end."""
    first = frame = _frame(_peek(file, at)) if at + 4 <= end else None
    for _ in range(number - 1):
        if not first or not frame or frame.stream != first.stream:
            return False
        at += frame.length
        if at == end:
            return True
        frame = _frame(_peek(file, at)) if at + 4 <= end else None
    return bool(first and frame and frame.stream == first.stream)
