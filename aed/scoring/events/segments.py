"""Pieces of equal length in which a class is on or off, as sed_eval's segment-based metrics (Mesaros et al., 2016)."""

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.counts import EventCounts
from aed.scoring.events.lists import EventList


def segment_based(
    reference: EventList, detected: EventList, num_classes: int, num_recordings: int, segment_s: float = 1.0
) -> EventCounts:
    """Counts of segments; a class is on in a segment that an event of it touches.

    Args:
        reference: What occurs.
        detected: What was detected.
        num_classes: Classes in all.
        num_recordings: Recordings in all.
        segment_s: Length of a segment; the first begins with the recording.

    Raises:
        AedError: The length is not over 0.
    """
    if not segment_s > 0:
        raise AedError(f"segment_s: need more than 0 s, got {segment_s}")
    cells = [_cells(part, num_classes, segment_s) for part in (reference, detected)]
    both = np.intersect1d(cells[0], cells[1], assume_unique=True)
    classes = [np.bincount(part % num_classes, minlength=num_classes) for part in (*cells, both)]
    # of one segment, as many misses as false ones are substitutions
    missed, false = (np.setdiff1d(part, both, assume_unique=True) // num_classes for part in cells)
    places, counts = np.unique(missed, return_counts=True)
    others, more = np.unique(false, return_counts=True)
    _, at, where = np.intersect1d(places, others, assume_unique=True, return_indices=True)
    occurring, named, hits = classes
    return EventCounts(occurring, named, hits, int(np.minimum(counts[at], more[where]).sum()))


def _cells(events: EventList, num_classes: int, segment_s: float) -> npt.NDArray[np.int64]:
    """Each segment and class that is on, once: ``(recording * segments + segment) * num_classes + class``."""
    first = np.floor(events.onset_s / segment_s).astype(np.int64)
    stop = np.maximum(np.ceil(events.offset_s / segment_s).astype(np.int64), first)
    count = stop - first
    owner = np.repeat(np.arange(len(events)), count)
    segment = first[owner] + np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    return np.unique((events.recording[owner] * _SEGMENTS + segment) * num_classes + events.target[owner])


_SEGMENTS = 1 << 31
"""More than a recording has."""
