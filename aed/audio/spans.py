"""Pieces of a long recording, which is read once and not held."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from aed.audio.audio_file import AudioFile, Samples

BLOCK_S = 10.0
"""Seconds of a recording in memory at once."""


def read_spans(path: Path, spans: Sequence[tuple[float, float]]) -> Iterator[tuple[int, Samples, int]]:
    """The number of a span, its samples ``(T, channels)`` and their rate, each as soon as its end is read.

    Args:
        path: A recording.
        spans: Start and end of each, s; an end may lie after that of the recording.

    Raises:
        AudioError: As :class:`AudioFile` and its ``read``.
    """
    if not spans:
        return
    waiting = sorted(range(len(spans)), key=lambda number: spans[number])
    open_: list[tuple[int, list[Samples]]] = []
    with AudioFile(path) as file:
        rate, passed = file.rate, 0
        limits = [(round(start * rate), round(end * rate)) for start, end in spans]
        for block in file.blocks(int(BLOCK_S * rate)):
            end = passed + len(block)
            while waiting and limits[waiting[0]][0] < end:
                open_.append((waiting.pop(0), []))
            for number, parts in open_:
                first, last = limits[number]
                parts.append(block[max(0, first - passed) : last - passed])
            passed = end
            done = [item for item in open_ if limits[item[0]][1] <= end]
            open_ = [item for item in open_ if limits[item[0]][1] > end]
            for number, parts in done:
                yield number, np.concatenate(parts), rate
            if not (waiting or open_):
                return
        for number, parts in open_:
            yield number, np.concatenate(parts), rate
