"""Alarms of a device against what occurred: which events are found, which alarms are false, and how often.

An alarm is an instant. It finds an event of its class if it comes between the event's onset and ``slack_s`` after its
offset; an event is found once, by the first such alarm, and later ones are duplicates, which are not false. Any other
alarm is false: confused if it comes in the same time of an event of another class, else an alarm on background.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.lists import EventList, Index, Seconds

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Alarms:
    """Alarms.

    Args:
        recording: ``(A,)`` int64.
        target: ``(A,)`` int64, class index.
        time_s: ``(A,)`` float64, from the recording's start.
    """

    recording: Index
    target: Index
    time_s: Seconds

    def __post_init__(self) -> None:
        if not len(self.recording) == len(self.target) == len(self.time_s):
            raise AedError("alarms: recordings, classes and times are not equally many")

    def __len__(self) -> int:
        return len(self.recording)


@dataclass(frozen=True)
class AlarmCounts:
    """What alarms are, class by class.

    Args:
        references: ``(C,)`` events that occur.
        found: ``(C,)`` those that an alarm finds.
        duplicates: ``(C,)`` further alarms of a found event.
        confused: ``(C, C)`` false alarms in the time of another event: class of the alarm, class of the event.
        background: ``(C,)`` false alarms where nothing is.
        raised: Those alarms, by class.
        delay_s: ``(found,)`` from the onset to the alarm, in the order of the references.
        is_found: ``(R,)`` for each reference.
        hours: Of all recordings.
        background_hours: In which nothing is: outside of all events and of ``slack_s`` after them.
    """

    references: Counts
    found: Counts
    duplicates: Counts
    confused: npt.NDArray[np.int64]
    background: Counts
    raised: Alarms
    delay_s: Seconds
    is_found: npt.NDArray[np.bool_]
    hours: float
    background_hours: float

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of the events found, ``(C,)``; NaN where none occurs."""
        with np.errstate(invalid="ignore"):
            return np.where(self.references > 0, self.found / self.references, np.nan)

    @property
    def background_per_hour(self) -> float:
        """Alarms an hour where nothing is, over all classes; NaN where something is all the time."""
        return float(self.background.sum()) / self.background_hours if self.background_hours > 0 else math.nan

    @property
    def confused_per_100_events(self) -> float:
        """Alarms in the time of an event of another class, for 100 events; NaN without events."""
        total = int(self.references.sum())
        return 100 * float(self.confused.sum()) / total if total else math.nan


class Tally(NamedTuple):
    """What the alarms of a class are.

    Args:
        found: Event -> the instant that finds it.
        duplicates: Further alarms of a found event.
        confused: Instants in the time of other events alone.
        background: Instants where nothing is.
    """

    found: dict[int, int]
    duplicates: int
    confused: list[int]
    background: list[int]


class Instants:
    """Times at which alarms may be raised, and the events in whose time each lies.

    Args:
        reference: What occurs.
        recording: ``(N,)`` recording of each instant, ascending.
        time_s: ``(N,)``, ascending in each recording.
        slack_s: Time after an event's end in which an alarm still finds it.
        group: ``(N,)`` group of places of each instant; None: not known.

    Raises:
        AedError: The slack is below 0.
    """

    def __init__(
        self, reference: EventList, recording: Index, time_s: Seconds, slack_s: float, group: Index | None = None
    ) -> None:
        if not 0 <= slack_s < math.inf:
            raise AedError(f"slack_s: need 0 or more seconds, got {slack_s}")
        self.targets: list[int] = reference.target.tolist()
        self.group = group
        self.events: dict[int, list[int]] = {}
        for number in np.unique(reference.recording).tolist():
            own = slice(*np.searchsorted(reference.recording, [number, number + 1]).tolist())
            first, stop = np.searchsorted(recording, [number, number + 1]).tolist()
            low = first + np.searchsorted(time_s[first:stop], reference.onset_s[own])
            high = first + np.searchsorted(time_s[first:stop], reference.offset_s[own] + slack_s, "right")
            for event, begin, end in zip(range(own.start, own.stop), low.tolist(), high.tolist(), strict=True):
                for instant in range(begin, end):
                    self.events.setdefault(instant, []).append(event)

    def tally(self, target: int, raised: Iterable[int], most: float = math.inf) -> Tally:
        """What the alarms of a class are.

        Args:
            target: The class.
            raised: Instants of its alarms, ascending.
            most: Alarms where nothing is; after one more the others are not looked at.
        """
        found: dict[int, int] = {}
        confused: list[int] = []
        background: list[int] = []
        duplicates = 0
        for instant in raised:
            near = self.events.get(instant)
            if near is None:
                background.append(instant)
                if len(background) > most:
                    break
            elif own := [event for event in near if self.targets[event] == target]:
                free = next((event for event in own if event not in found), None)
                if free is None:
                    duplicates += 1
                else:
                    found[free] = instant
            else:
                confused.append(instant)
        return Tally(found, duplicates, confused, background)


def count_alarms(
    reference: EventList, alarms: Alarms, num_classes: int, length_s: Seconds, slack_s: float = 2.0
) -> AlarmCounts:
    """Compares alarms with references.

    Args:
        reference: What occurs.
        alarms: In any order.
        num_classes: Classes in all.
        length_s: ``(recordings,)``.
        slack_s: Time after an event's end in which an alarm still finds it.

    Raises:
        AedError: The slack is below 0, or the recordings have no length.
    """
    if not length_s.sum() > 0:
        raise AedError("alarms: the recordings have no length")
    order = np.lexsort((alarms.time_s, alarms.recording))
    target, time_s = alarms.target[order], alarms.time_s[order]
    instants = Instants(reference, alarms.recording[order], time_s, slack_s)
    delay_s = np.full(len(reference), np.nan)
    duplicates, background = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    confused = np.zeros((num_classes, num_classes), np.int64)
    quiet: list[int] = []
    for own in np.unique(target).tolist():
        tally = instants.tally(own, np.flatnonzero(target == own).tolist())
        for event, instant in tally.found.items():
            delay_s[event] = time_s[instant] - reference.onset_s[event]
        duplicates[own], background[own] = tally.duplicates, len(tally.background)
        quiet += tally.background
        for instant in tally.confused:
            confused[own, instants.targets[instants.events[instant][-1]]] += 1
    is_found = ~np.isnan(delay_s)
    occurring, found = (
        np.bincount(part, minlength=num_classes) for part in (reference.target, reference.target[is_found])
    )
    raised = Alarms(alarms.recording[order][quiet], target[quiet], time_s[quiet])
    hours, free = float(length_s.sum() / 3600), background_hours(reference, length_s, slack_s)
    counts = (occurring, found, duplicates, confused, background, raised)
    return AlarmCounts(*counts, delay_s[is_found], is_found, hours, free)


def background_hours(reference: EventList, length_s: Seconds, slack_s: float) -> float:
    """Hours in which an alarm is one on background: outside of all events and of ``slack_s`` after them.

    Args:
        reference: What occurs.
        length_s: ``(recordings,)``.
        slack_s: As in :func:`count_alarms`.
    """
    ends = np.minimum(reference.offset_s + slack_s, length_s[reference.recording])
    begins = np.minimum(reference.onset_s, ends)
    busy = 0.0
    for own in reference.in_recordings(len(length_s)):
        # by onset: of each event, what no earlier one has covered
        before = np.maximum.accumulate(np.append(0.0, ends[own]))[:-1]
        busy += float(np.maximum(0, ends[own] - np.maximum(begins[own], before)).sum())
    return max(0.0, float(length_s.sum()) - busy) / 3600


def poisson_interval(count: int, hours: float, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a rate an hour (Garwood, 1936): with none in T hours, at 95 %, up to 3.69 / T.

    Args:
        count: Seen.
        hours: In which it was counted.
        level: Of the interval.

    Raises:
        AedError: There is no such count or time.
    """
    if count < 0 or not hours > 0 or not 0 < level < 1:
        raise AedError(f"interval: need a count of 0 or more in more than 0 hours, got {count} in {hours}")
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _solve(lambda mean: 1 - _cumulative(count - 1, mean), tail, count)
    high = _solve(lambda mean: 1 - _cumulative(count, mean), 1 - tail, count)
    return low / hours, high / hours


def most_per_hour(count: int, hours: float, level: float = 0.95) -> float:
    """Rate that is not exceeded at ``level``: with none in T hours, at 95 %, 3.0 / T."""
    return poisson_interval(count, hours, 2 * level - 1)[1]


def _cumulative(count: int, mean: float) -> float:
    """Probability of at most ``count`` events of a Poisson distribution."""
    if mean <= 0:
        return 1.0
    return min(1.0, math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1)))


def _solve(rising: Callable[[float], float], wanted: float, count: int) -> float:
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < wanted else (low, middle)
    return (low + high) / 2
