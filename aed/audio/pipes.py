"""Recordings from a pipe: each stream is copied to a pipe of its own, since libsndfile reads one stream per file."""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import SimpleQueue

from aed.audio import ogg

_BYTES = 1 << 16
"""Bytes requested at once; a read returns as soon as some are available."""


def streams(descriptor: int) -> Iterator[int]:
    """A new descriptor for each stream that comes through ``descriptor``; the reader closes it.

    Args:
        descriptor: Read by a thread through a duplicate, so that another stream that takes its number later is left
            alone. The thread ends at the stream's end or when the readers have closed theirs.
    """
    started: SimpleQueue[int | None] = SimpleQueue()
    threading.Thread(target=_copy, args=(os.dup(descriptor), started), daemon=True).start()
    while (stream := started.get()) is not None:
        yield stream


def _copy(descriptor: int, started: "SimpleQueue[int | None]") -> None:
    """Writes each stream to a pipe of its own and puts the pipe's other end into the queue; None ends it.

    Closes ``descriptor``.
    """
    pipe = -1
    try:
        with suppress(BrokenPipeError):  # the reader has closed its end
            for is_first, content in _split(_blocks(descriptor)):
                if is_first or pipe < 0:
                    if pipe >= 0:
                        os.close(pipe)
                    stream, pipe = os.pipe()
                    started.put(stream)
                while content:
                    content = content[os.write(pipe, content) :]
    finally:
        os.close(descriptor)
        if pipe >= 0:
            os.close(pipe)
        started.put(None)


def _blocks(descriptor: int) -> Iterator[bytes]:
    while block := os.read(descriptor, _BYTES):
        yield block


def _split(blocks: Iterator[bytes]) -> Iterator[tuple[bool, bytes]]:
    """The bytes to pass on, and whether a stream begins with them."""
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
    if head[:4] == b"RIFF" and data > 0:  # unknown size, in the form that libsndfile expects
        head = head[: data + 4] + b"\xff" * 4 + head[data + 8 :]
    yield True, head
    yield from ((False, block) for block in blocks)


def _ogg_pages(waiting: bytes, blocks: Iterator[bytes]) -> Iterator[tuple[bool, bytes]]:
    """The pages, and whether a stream begins with them; the last may be incomplete."""
    was_first = False
    while True:
        if len(waiting) >= 4 and waiting[:4] != b"OggS":  # damaged: continue at the next page, as libogg does
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
