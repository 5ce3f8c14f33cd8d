"""The events of a list of recordings, as arrays."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError

Index = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]

ROUNDED_S = 1e-6
"""More than what is rounded of a time where recordings stand in one row of time, s."""


@dataclass(frozen=True)
class EventList:
    """Events, sorted by recording, then by onset; equal ones stay in the order they came in.

    Args:
        recording: ``(E,)`` int64, number of each event's recording.
        target: ``(E,)`` int64, class index.
        onset_s: ``(E,)`` float64, from the recording's start.
        offset_s: ``(E,)`` float64, not before the onset.

    Raises:
        AedError: Lengths differ, or a time is none.
    """

    recording: Index
    target: Index
    onset_s: Seconds
    offset_s: Seconds

    def __post_init__(self) -> None:
        if len({len(self.recording), len(self.target), len(self.onset_s), len(self.offset_s)}) > 1:
            raise AedError("events: recordings, classes, onsets and offsets are not equally many")
        if not (np.isfinite(self.onset_s).all() and np.isfinite(self.offset_s).all()):
            raise AedError("events: an onset or offset is no finite number")
        if (odd := np.flatnonzero((self.onset_s < 0) | (self.offset_s < self.onset_s))).size:
            onset, offset = self.onset_s[odd[0]], self.offset_s[odd[0]]
            raise AedError(f"events: an event from {onset:g} to {offset:g} s; times begin at 0, onsets come first")

    @classmethod
    def of(cls, recording: Any, target: Any, onset_s: Any, offset_s: Any) -> Self:
        """The events in any order, as sequences of numbers."""
        numbers, classes = np.asarray(recording, np.int64), np.asarray(target, np.int64)
        onsets, offsets = np.asarray(onset_s, np.float64), np.asarray(offset_s, np.float64)
        if not len(numbers) == len(classes) == len(onsets) == len(offsets):
            return cls(numbers, classes, onsets, offsets)  # which refuses it
        order = np.lexsort((onsets, numbers))
        return cls(numbers[order], classes[order], onsets[order], offsets[order])

    def __len__(self) -> int:
        return len(self.recording)

    @property
    def length_s(self) -> Seconds:
        """Length of each event, ``(E,)``."""
        return self.offset_s - self.onset_s

    def where(self, mask: npt.NDArray[np.bool_]) -> "EventList":
        """The events at which ``mask`` ``(E,)`` is true."""
        return EventList(self.recording[mask], self.target[mask], self.onset_s[mask], self.offset_s[mask])

    def of_class(self, target: int) -> "EventList":
        """The events of one class."""
        return self.where(self.target == target)

    def in_recordings(self, num_recordings: int) -> list[slice]:
        """For each recording, which of the events are in it."""
        bounds = np.searchsorted(self.recording, np.arange(num_recordings + 1))
        return [slice(*pair) for pair in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def shared_time(one: EventList, other: EventList) -> tuple[Index, Index, Seconds]:
    """All pairs of events of the same recording that share time.

    Returns:
        Position in ``one``, position in ``other``, seconds shared (over 0); ``(P,)`` each.
    """
    span = 1 + max(one.offset_s.max(initial=0.0), other.offset_s.max(initial=0.0))
    # in one row of time, a recording after the other: from the first that has not ended to the last that has begun
    ends = np.maximum.accumulate(other.recording * span + other.offset_s)
    low = np.searchsorted(ends, one.recording * span + one.onset_s - ROUNDED_S)
    high = np.searchsorted(other.recording * span + other.onset_s, one.recording * span + one.offset_s + ROUNDED_S)
    count = np.maximum(high - low, 0)
    first = np.repeat(np.arange(len(one)), count)
    second = low[first] + np.arange(len(first)) - np.repeat(np.cumsum(count) - count, count)
    until = np.minimum(one.offset_s[first], other.offset_s[second])
    shared = until - np.maximum(one.onset_s[first], other.onset_s[second])
    found = (shared > 0) & (one.recording[first] == other.recording[second])
    return first[found], second[found], shared[found]
