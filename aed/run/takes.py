"""Clips out of a board's stream: how long, and what is done where samples are missing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aed.audio.board_frames import Int16
from aed.run.board_stream import Sound

Gaps = Literal["cut", "silence", "refuse"]

MOST_SILENCE_S = 1.0
"""A longer gap is a cut in any case: what is before and after it has little to do with each other."""


@dataclass(frozen=True)
class Piece:
    """Samples without a gap, or with silence in place of one.

    Args:
        samples: ``(T,)``.
        silence: Samples of it that are silence in place of lost ones.
    """

    samples: Int16
    silence: int = 0


@dataclass(frozen=True)
class Take:
    """A clip.

    Args:
        pieces: One, if nothing was lost.
        gaps: Gaps in it.
        is_whole: Whether it is as long as was asked for.
    """

    pieces: tuple[Piece, ...]
    gaps: int
    is_whole: bool


def take(
    sounds: Iterator[Sound],
    rate_hz: Callable[[], int],
    seconds: float,
    gaps: Gaps,
    done: Callable[[Int16], object] = lambda samples: None,
) -> Take:
    """The next clip of a stream; lost samples count as time, so that it ends with the worst line.

    Ctrl-C ends it early, with what was heard so far.

    Args:
        sounds: The stream, which goes on afterwards.
        rate_hz: The stream's rate, known after the first sound.
        seconds: Length.
        gaps: ``cut``: a gap ends a piece. ``silence``: lost samples are zeros, up to a second. ``refuse``: as cut.
        done: Told what came.
    """
    pieces: list[Piece] = []
    parts: list[Int16] = []
    heard = silence = found = 0
    is_whole = False
    try:
        for samples, lost in sounds:
            if lost != 0 and heard:
                found += 1
                if gaps == "silence" and lost is not None and lost <= MOST_SILENCE_S * rate_hz():
                    parts.append(np.zeros(lost, np.int16))
                    silence += lost
                else:
                    pieces.append(_piece(parts, silence))
                    parts, silence = [], 0
            heard += len(samples) + ((lost or 0) if heard else 0)
            parts.append(samples)
            done(samples)
            if heard >= seconds * rate_hz():
                is_whole = True
                break
    except KeyboardInterrupt:
        pass
    return Take((*pieces, _piece(parts, silence)), found, is_whole)


def _piece(parts: list[Int16], silence: int) -> Piece:
    return Piece(np.concatenate(parts) if parts else np.empty(0, np.int16), silence)
