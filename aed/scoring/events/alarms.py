"""Alarms of a device against what occurred: which events are found, which alarms are false, and how often.

An alarm is an instant. It finds an event of its class if it comes between the event's onset and ``slack_s`` after its
offset; an event is found once, by the first such alarm, and later ones are duplicates, which are not false. Any other
alarm is false: confused if it comes in the same time of an event of another class, else an alarm on background.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.lists import EventList, Index, Seconds

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Alarms:
    """Alarms, sorted by recording and time.

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
        delay_s: ``(found,)`` from the onset to the alarm, in the order of the references.
        is_found: ``(R,)`` for each reference.
        hours: Of all recordings.
    """

    references: Counts
    found: Counts
    duplicates: Counts
    confused: npt.NDArray[np.int64]
    background: Counts
    delay_s: Seconds
    is_found: npt.NDArray[np.bool_]
    hours: float

    @property
    def recall(self) -> npt.NDArray[np.float64]:
        """Share of the events found, ``(C,)``; NaN where none occurs."""
        with np.errstate(invalid="ignore"):
            return np.where(self.references > 0, self.found / self.references, np.nan)

    @property
    def false_per_hour(self) -> float:
        """False alarms an hour, over all classes."""
        return float((self.background.sum() + self.confused.sum()) / self.hours)


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
    if not 0 <= slack_s < math.inf:
        raise AedError(f"slack_s: need 0 or more seconds, got {slack_s}")
    if not length_s.sum() > 0:
        raise AedError("alarms: the recordings have no length")
    order = np.lexsort((alarms.time_s, alarms.recording))
    recording, target, time_s = alarms.recording[order], alarms.target[order], alarms.time_s[order]
    low, high = (np.searchsorted(reference.recording, recording, side) for side in ("left", "right"))
    is_found = np.zeros(len(reference), np.bool_)
    delay_s = np.full(len(reference), np.nan)
    duplicates, background = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
    confused = np.zeros((num_classes, num_classes), np.int64)
    for first, stop, own, now in zip(low.tolist(), high.tolist(), target.tolist(), time_s.tolist(), strict=True):
        near = slice(first, stop)
        inside = (reference.onset_s[near] <= now) & (now <= reference.offset_s[near] + slack_s)
        places = first + np.flatnonzero(inside)
        same = places[reference.target[places] == own]
        if len(free := same[~is_found[same]]):
            is_found[free[0]], delay_s[free[0]] = True, now - reference.onset_s[free[0]]
        elif len(same):
            duplicates[own] += 1
        elif len(places):
            confused[own, reference.target[places[-1]]] += 1
        else:
            background[own] += 1
    occurring, found = (
        np.bincount(part, minlength=num_classes) for part in (reference.target, reference.target[is_found])
    )
    hours = float(length_s.sum() / 3600)
    return AlarmCounts(occurring, found, duplicates, confused, background, delay_s[is_found], is_found, hours)


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
