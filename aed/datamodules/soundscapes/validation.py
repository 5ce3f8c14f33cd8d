"""Streams of validation clips that a net is scored on while it is trained: features, and what occurs when."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.datamodules.soundscapes.mixing import Soundscape
from aed.datamodules.sources.events import merge
from aed.dsp.frontend import FrontendConfig
from aed.scoring.events.lists import EventList, Seconds
from aed.scoring.events.places import Places
from aed.scoring.labels import BACKGROUND

STREAM_S = 600
"""Length of a stream, s; the last may be shorter. As files of ``aed soundscapes``."""

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ValidationStreams:
    """Streams and what occurs in them.

    Args:
        frames: ``(n_mels, n_frames)`` of each.
        firsts: ``(decisions,)`` of each, the first frames of its patches.
        events: By the numbers of streams and classes; ``background`` is none.
        length_s: ``(streams,)``.
        sections: Of all streams together.
        places: Recordings that are heard as background.
    """

    frames: tuple[Array, ...]
    firsts: tuple[npt.NDArray[np.int64], ...]
    events: EventList
    length_s: Seconds
    sections: int
    places: Places


def validation_streams(
    parts: Iterable[tuple[Soundscape, float]],
    logmel: Callable[[Array], Array],
    classes: Mapping[str, int],
    config: FrontendConfig,
) -> ValidationStreams:
    """The streams of soundscapes.

    Args:
        parts: Soundscapes and the hours of each; no two share a stream's number, and so a background.
        logmel: Samples ``(T,)`` -> ``(n_mels, n_frames)``.
        classes: Index of each class name.
        config: The front end.
    """
    rate, whole, number = config.sample_rate, STREAM_S * config.sample_rate, 0
    frames: list[Array] = []
    firsts: list[npt.NDArray[np.int64]] = []
    length_s: list[float] = []
    events: list[tuple[int, int, float, float]] = []
    backgrounds: list[list[tuple[float, str]]] = []
    sections = 0
    for soundscape, hours in parts:
        left = round(hours * 3600 * rate)
        while left >= config.patch_samples:
            length = min(left, whole)
            samples, own = np.zeros(0, np.float32), []
            pieces: list[tuple[float, str]] = []
            for section in soundscape.sections(length, number):
                begin_s = len(samples) / rate
                own += [
                    (len(frames), classes[label], begin_s + event.onset_s, begin_s + event.offset_s)
                    for event in section.events
                    for label in event.labels
                    if label != BACKGROUND
                ]
                pieces += [(begin_s + piece.onset_s, piece.name) for piece in section.background]
                samples = np.concatenate([samples, section.samples])
                sections += 1
            frames.append(logmel(samples))
            firsts.append(np.arange(0, frames[-1].shape[1] - config.patch_frames + 1, config.patch_hop))
            length_s.append(length / rate)
            events += own
            backgrounds.append(pieces)
            left, number = left - length, number + 1
    stream, target, onset_s, offset_s = list(zip(*events, strict=True)) or [()] * 4
    merged = merge(np.array(stream, np.int64), np.array(target, np.int64), np.array(onset_s), np.array(offset_s))
    occurs = EventList.of(*merged), np.array(length_s)
    return ValidationStreams(tuple(frames), tuple(firsts), *occurs, sections, Places.of(backgrounds))
