"""Seconds to search a family of event rules on an hour of posteriors of ten classes, and to choose within a budget.

python scripts/bench_rules.py [--hours 1] [--classes 10] [--rules 2000]: posteriors are made here, of events and of a
background that resembles them now and then, in sections of half a minute. A rule is a shape and a threshold; each is
tried for every class. Prints seconds of processor and of clock.
"""

import argparse
import time

import numpy as np

from aed.scoring.events.alarms import Instants
from aed.scoring.events.family import QUARTERS, best_choices, search, shapes
from aed.scoring.events.joined import Joined
from aed.scoring.events.lists import EventList
from aed.scoring.events.stream import THRESHOLDS
from aed.scoring.rule import EventRule, Floats, RuleDecisions, RuleState

HOP_S, PATCH_S, SECTION_S = 0.48, 0.96, 30.0
"""Of YAMNet's patches, half overlapping."""


def made(hours: float, classes: int) -> tuple[list[Floats], list[np.ndarray], EventList]:
    """Posteriors and starts of sections, and the events in them, 2 a minute."""
    draw = np.random.default_rng(0)
    rows, starts, events = [], [], []
    for number in range(round(hours * 3600 / SECTION_S)):
        start_s = np.arange(0, SECTION_S - PATCH_S, HOP_S)
        logits = draw.normal(-4, 2, (len(start_s), classes)).astype(np.float32)
        onset, target = draw.uniform(0, SECTION_S - 3), int(draw.integers(classes))
        inside = (start_s + PATCH_S > onset) & (start_s < onset + 2)
        logits[inside, target] += draw.normal(8, 3)
        rows.append(1 / (1 + np.exp(-logits)))
        starts.append(start_s)
        events.append((number, target, onset, onset + 2))
    return rows, starts, EventList.of(*zip(*events, strict=True))


def main() -> None:
    """Prints what is measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rules", type=int, default=2000)
    arguments = parser.parse_args()
    rows, starts, reference = made(arguments.hours, arguments.classes)
    family = shapes((1, 2, 3, 4), (0.4, 0.6, 0.8, 1.0), (0.0, 3.0))
    family = family[: -(-arguments.rules // len(THRESHOLDS))]

    def joined(rule: EventRule, times: RuleDecisions) -> Joined:
        return Joined.of([RuleState(rule, arguments.classes, HOP_S).smoothed(own) for own in rows], starts, times)

    def instants(smooth: Joined) -> Instants:
        return Instants(reference, smooth.recording, smooth.start_s + PATCH_S, 2.0)

    clock, processor = time.perf_counter(), time.process_time()
    most = round(10 * arguments.hours)
    options = search(family, EventRule(), HOP_S, THRESHOLDS, joined, instants, 10 * most)
    best = max((best_choices(own, QUARTERS * most)[-1] for own in options.values()), key=lambda choice: choice.rank)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"rules       {len(family) * len(THRESHOLDS)}, {len(family)} shapes of {len(THRESHOLDS)} thresholds")
    print(f"streams     {arguments.hours:g} h, {arguments.classes} classes, {sum(map(len, rows))} decisions")
    print(f"best        {best.found} of {len(reference)} events, {best.background} alarms on background of {most}")
    print(f"processor   {processor:.1f} s")
    print(f"clock       {clock:.1f} s")


if __name__ == "__main__":
    main()
