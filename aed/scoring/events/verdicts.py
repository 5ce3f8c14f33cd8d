"""What each alarm is beside a reference; the counts of them are :mod:`aed.scoring.events.alarms`."""

from typing import Literal

import numpy as np

from aed.scoring.events.alarms import Alarms
from aed.scoring.events.lists import EventList

Verdict = Literal["right", "confused", "background"]
"""In the time of an event of its class, first or again; of other events alone; of none."""


def verdicts(reference: EventList, alarms: Alarms, slack_s: float) -> list[tuple[Verdict, int | None]]:
    """Of each alarm its verdict and, where it is confused, the last event that it comes in the time of.

    Args:
        reference: What occurs.
        alarms: In any order.
        slack_s: Time after an event's end in which an alarm still belongs to it.
    """
    low, high = (np.searchsorted(reference.recording, alarms.recording, side) for side in ("left", "right"))
    found: list[tuple[Verdict, int | None]] = []
    for first, stop, own, now in zip(low, high, alarms.target, alarms.time_s, strict=True):
        near = slice(first, stop)
        inside = (reference.onset_s[near] <= now) & (now <= reference.offset_s[near] + slack_s)
        places = first + np.flatnonzero(inside)
        if not len(places):
            found.append(("background", None))
        elif (reference.target[places] == own).any():
            found.append(("right", None))
        else:
            found.append(("confused", int(places[-1])))
    return found
