"""Where a background comes from: alarms of one place come and stay away together, so places are what is independent.

A place is a recording, or what a list beside recordings calls it. How many alarms a rule raises in a new place is asked
of places that it was chosen without, and how sure a rate is, of places drawn anew (Efron, 1979), not of alarms.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from aed.scoring.events.bootstrap import ratio_interval
from aed.scoring.events.lists import EventList, Index, Seconds

GROUPS = 10
"""Groups of places that are left out in turn."""

STEP_S = 0.5
"""Time of a place is counted in such steps, s."""


@dataclass(frozen=True)
class Places:
    """Of which place recordings are, and from when on.

    Args:
        recording: ``(P,)``, ascending.
        onset_s: ``(P,)``, ascending in each recording, whose first is 0.
        place: ``(P,)``, numbers from 0 on.
    """

    recording: Index
    onset_s: Seconds
    place: Index

    @classmethod
    def of(cls, recordings: Sequence[Sequence[tuple[float, Hashable]]]) -> Self:
        """Of onset and name of each piece of each recording, by onset; the first begins with its recording."""
        rows = [
            (number, onset_s if place else 0.0, name)
            for number, pieces in enumerate(recordings)
            for place, (onset_s, name) in enumerate(pieces)
        ]
        numbers: dict[Hashable, int] = {}
        named = [numbers.setdefault(name, len(numbers)) for _, _, name in rows]
        return cls(
            np.array([number for number, _, _ in rows], np.int64),
            np.array([onset_s for _, onset_s, _ in rows], np.float64),
            np.array(named, np.int64),
        )

    def among(self, used: Sequence[int]) -> "Places":
        """Those of some of the recordings, ascending, in their order."""
        kept = np.isin(self.recording, used)
        return Places(np.searchsorted(used, self.recording[kept]), self.onset_s[kept], self.place[kept])

    def at(self, recording: Index, time_s: Seconds) -> Index:
        """The place ``(N,)`` of each time of a recording; what is infinite is of its last."""
        span = 1 + max(self.onset_s.max(), time_s[np.isfinite(time_s)].max(initial=0.0))
        keys = recording * span + np.minimum(time_s, span - 0.5)
        found: Index = self.place[np.searchsorted(self.recording * span + self.onset_s, keys, side="right") - 1]
        return found

    def hours(self, events: EventList, length_s: Seconds, slack_s: float) -> Seconds:
        """Hours ``(places,)`` of each place in which an alarm is one on background.

        Args:
            events: What occurs.
            length_s: ``(recordings,)``.
            slack_s: Time after an event in which an alarm still finds it.
        """
        hours = np.zeros(int(self.place.max()) + 1)
        for number, own in enumerate(events.in_recordings(len(length_s))):
            time_s = np.arange(STEP_S / 2, length_s[number], STEP_S)
            first = np.searchsorted(time_s, events.onset_s[own])
            last = np.searchsorted(time_s, events.offset_s[own] + slack_s, side="right")
            busy = np.zeros(len(time_s) + 1, np.int64)
            np.add.at(busy, first, 1)
            np.add.at(busy, last, -1)
            time_s = time_s[np.cumsum(busy[:-1]) == 0]
            place = self.at(np.full(len(time_s), number), time_s)
            hours += np.bincount(place, minlength=len(hours)) * (STEP_S / 3600)
        return hours

    def interval(self, recording: Index, time_s: Seconds, hours: Seconds) -> tuple[float, float] | None:
        """95 % interval of the alarms an hour, by drawing places anew; None of fewer than two.

        Args:
            recording: ``(A,)`` of each alarm.
            time_s: ``(A,)`` middle of the patch that raises it.
            hours: As of :meth:`hours`.
        """
        counts = np.bincount(self.at(recording, time_s), minlength=len(hours)).astype(np.float64)
        return ratio_interval(counts[hours > 0], hours[hours > 0])


def grouped(hours: Seconds) -> Index:
    """The group ``(places,)`` of each place, so that groups have about as many hours."""
    filled = np.zeros(min(GROUPS, int((hours > 0).sum())) or 1)
    group = np.zeros(len(hours), np.int64)
    for place in np.argsort(-hours, kind="stable").tolist():
        group[place] = filled.argmin()
        filled[group[place]] += hours[place]
    return group
