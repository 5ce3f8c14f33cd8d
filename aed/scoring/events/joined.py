"""Many recordings as one row of decisions, so that a rule runs over them at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from aed.scoring.events.lists import Index, Seconds
from aed.scoring.rule import Floats, RuleDecisions, events_of_class

NOTHING = -1.0
"""Between recordings: under every threshold, also under 0."""


@dataclass(frozen=True)
class Joined:
    """Smoothed posteriors of recordings, one after the other, with decisions between them in which nothing can be on.

    Args:
        values: ``(N, C)`` float32.
        recording: ``(N,)`` of each decision; of those between, the one before.
        start_s: ``(N,)`` when each patch starts in its recording; of those between, infinite.
    """

    values: Floats
    recording: Index
    start_s: Seconds

    @classmethod
    def of(cls, smooth: Sequence[Floats], starts: Sequence[Seconds], times: RuleDecisions) -> Self:
        """The recordings, so far apart that no event, gap or hold-off reaches from one to the next.

        Args:
            smooth: ``(decisions, C)`` of each recording.
            starts: ``(decisions,)`` of each recording.
            times: Of the rule, or the longest of several.
        """
        apart = max(times.gap, times.hold_off) + 1
        values = [np.pad(rows, ((0, apart), (0, 0)), constant_values=NOTHING) for rows in smooth]
        number = [np.full(len(rows), index, np.int64) for index, rows in enumerate(values)]
        start_s = [np.pad(own, (0, apart), constant_values=np.inf) for own in starts]
        return cls(np.concatenate(values), np.concatenate(number), np.concatenate(start_s))

    def events(self, target: int, on: float, off: float, times: RuleDecisions) -> Iterator[tuple[int, int, list[int]]]:
        """First and last decision of each event of class ``target``, and the decisions of its alarms."""
        return events_of_class(self.values[:, target], on, off, times)
