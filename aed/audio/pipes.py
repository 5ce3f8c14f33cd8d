"""Recordings from a pipe: libsndfile reads one stream, and believes what its header says, so each gets its own pipe."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue

from aed.audio import ogg

_BYTES = 1 << 16
"""Asked for at a time; what is there comes at once."""


def streams(descriptor: int) -> Iterator[int]:
    """A descriptor to read from for each stream that comes through one; the reader closes it.

    Args:
        descriptor: Read by a thread, which ends with it or with the readers.
    """
    begun: SimpleQueue[int | None] = SimpleQueue()
    threading.Thread(target=_copy, args=(descriptor, begun), daemon=True).start()
    while (stream := begun.get()) is not None:
        yield stream


def _copy(descriptor: int, begun: "SimpleQueue[int | None]") -> None:
    """Writes each stream to a pipe of its own, whose other end it hands over."""
    pipe = -1
    try:
        with suppress(BrokenPipeError):  # nobody reads on
            for is_first, content in _split(_blocks(descriptor)):
                if is_first or pipe < 0:
                    if pipe >= 0:
                        os.close(pipe)
                    stream, pipe = os.pipe()
                    begun.put(stream)
                while content:
                    content = content[os.write(pipe, content) :]
    finally:
        if pipe >= 0:
            os.close(pipe)
        begun.put(None)


def _blocks(descriptor: int) -> Iterator[bytes]:
    while block := os.read(descriptor, _BYTES):
        yield block


def _split(blocks: Iterator[bytes]) -> Iterator[tuple[bool, bytes]]:
    """What to pass on, and whether a stream begins with it."""
    head = b""
    for block in blocks:
        head += block
        if len(head) >= 64:
            break
    if not head:
        return
    if head[:4] == b"OggS":
        yield from _ogg_pages(head, blocks)
        return
    data = head.find(b"data\0\0\0\0")
    if head[:4] == b"RIFF" and data > 0:  # a size not yet known: as libsndfile expects it
        head = head[: data + 4] + b"\xff" * 4 + head[data + 8 :]
    yield True, head
    yield from ((False, block) for block in blocks)


def _ogg_pages(waiting: bytes, blocks: Iterator[bytes]) -> Iterator[tuple[bool, bytes]]:
    """The pages; the last may not be whole."""
    was_first = False
    while True:
        if len(waiting) >= 4 and waiting[:4] != b"OggS":  # damaged: as libogg does, from the next page on
            begin = waiting.find(b"OggS", 1)
            end = begin if begin > 0 else len(waiting) - 3
            yield False, waiting[:end]
            waiting = waiting[end:]
            continue
        table = waiting[ogg.HEADER : ogg.HEADER + waiting[26]] if len(waiting) >= ogg.HEADER else b""
        length = ogg.HEADER + len(table) + sum(table)
        if len(waiting) < ogg.HEADER or len(table) < waiting[26] or len(waiting) < length:
            block = next(blocks, b"")
            if not block:
                break
            waiting += block
            continue
        is_first = bool(waiting[5] & ogg.FIRST)
        page, waiting = waiting[:length], waiting[length:]
        yield is_first and not was_first, ogg.with_rate(page)
        was_first = is_first
    if waiting:
        yield False, waiting
