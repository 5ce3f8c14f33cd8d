"""What each alarm is beside a reference; the counts of them are :mod:`aed.scoring.events.alarms`."""

from typing import Literal

import numpy as np

from aed.scoring.events.alarms import Alarms, Instants
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
    order = np.lexsort((alarms.time_s, alarms.recording))
    instants = Instants(reference, alarms.recording[order], alarms.time_s[order], slack_s)
    found: list[tuple[Verdict, int | None]] = [("background", None)] * len(order)
    for instant, place in enumerate(order.tolist()):
        if near := instants.events.get(instant):
            is_right = any(instants.targets[event] == alarms.target[place] for event in near)
            found[place] = ("right", None) if is_right else ("confused", near[-1])
    return found
