"""All scores of a stream: events, segments, shared time, alarms, and the curve of alarms against misses."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aed.scoring.events.alarms import AlarmCounts, Alarms, count_alarms, most_per_hour, poisson_interval
from aed.scoring.events.bootstrap import recall_interval
from aed.scoring.events.collars import Collars, event_based
from aed.scoring.events.counts import EventCounts, macro
from aed.scoring.events.intersection import PSDS1, PSDS2, Criteria, intersect, psds
from aed.scoring.events.lists import EventList, Index, Seconds
from aed.scoring.events.segments import segment_based


def _tail(log_odds: Sequence[float]) -> list[float]:
    return [1 / (1 + math.exp(-value)) for value in log_odds]


THRESHOLDS = (
    *_tail(np.arange(-7, -4.6, 0.25).tolist()),
    *(round(0.01 * number, 2) for number in range(1, 100)),
    *_tail(np.arange(4.75, 15.6, 0.25).tolist()),
)
"""Operating points of curves, ascending: DCASE's 0.01 to 0.99, and where those end, steps of a quarter of the log-odds
down to 0.001 and up to 1 - 2e-7, near the last float32 under 1: few alarms are there."""

Detections = tuple[EventList, Alarms]
"""What an operating point detects."""


@dataclass(frozen=True)
class StreamScores:
    """Scores of a stream.

    Args:
        metrics: Flat, as in ``metrics.json``; what is not defined is left out.
        alarms: Of the rule.
        curve: A row a threshold: ``threshold``, ``miss_rate``, ``background_per_hour``, ``confused_per_100_events``,
            and each of these for each class, ``miss_rate/<class>``: the detection error tradeoff. NaN: not defined.
    """

    metrics: dict[str, float]
    alarms: AlarmCounts
    curve: list[dict[str, float]]


def score_stream(
    reference: EventList,
    detected: Detections,
    points: Callable[[float], Detections],
    class_names: Sequence[str],
    length_s: Seconds,
    collar_s: float = 0.2,
    slack_s: float = 2.0,
    unit: Index | None = None,
) -> StreamScores:
    """Compares what a rule detects with what occurs.

    Args:
        reference: What occurs.
        detected: By the rule.
        points: What is detected with one threshold for all classes.
        class_names: In the order of the class indices.
        length_s: ``(recordings,)``.
        collar_s: Of onsets and offsets.
        slack_s: Time after an event in which an alarm still finds it.
        unit: ``(R,)`` what each reference comes from, a clip for example, over which the interval of the recall is
            taken; None: its recording.
    """
    number, recordings = len(class_names), len(length_s)
    events, alarms = detected
    metrics: dict[str, float] = {}
    for name, counts in (
        ("onset", event_based(reference, events, number, recordings, Collars(collar_s, offset=False))),
        ("onset_offset", event_based(reference, events, number, recordings, Collars(collar_s, 0.2))),
        ("segment", segment_based(reference, events, number, recordings)),
    ):
        metrics |= _ratios(name, counts)
    metrics["intersection_f1/macro"] = macro(intersect(reference, events, number, Criteria(), length_s).f1)
    sweep = [points(threshold) for threshold in THRESHOLDS]
    if len(reference):
        for name, settings in (("psds1", PSDS1), ("psds2", PSDS2)):
            metrics[name] = psds(reference, [point for point, _ in sweep], number, length_s, settings)[0]
    counted = count_alarms(reference, alarms, number, length_s, slack_s)
    metrics |= alarm_metrics(counted, class_names)
    if interval := recall_interval(counted.is_found, reference.recording if unit is None else unit):
        metrics |= dict(zip(("recall_interval/low", "recall_interval/high"), interval, strict=True))
    points_of = [count_alarms(reference, raised, number, length_s, slack_s) for _, raised in sweep]
    curve = [
        {"threshold": threshold} | tradeoff(point, class_names)
        for threshold, point in zip(THRESHOLDS, points_of, strict=True)
    ]
    return StreamScores({key: value for key, value in metrics.items() if not np.isnan(value)}, counted, curve)


def tradeoff(counted: AlarmCounts, class_names: Sequence[str]) -> dict[str, float]:
    """Misses against both kinds of false alarms, of all classes and of each; NaN where one is not defined."""
    total, hours = int(counted.references.sum()), counted.background_hours
    missed = 1 - float(counted.found.sum()) / total if total else math.nan
    row = {
        "miss_rate": missed,
        "background_per_hour": counted.background_per_hour,
        "confused_per_100_events": counted.confused_per_100_events,
    }
    wrong = counted.confused.sum(axis=1)
    for index, name in enumerate(class_names):
        row[f"miss_rate/{name}"] = 1 - float(counted.recall[index])
        row[f"background_per_hour/{name}"] = float(counted.background[index]) / hours if hours > 0 else math.nan
        row[f"confused_per_100_events/{name}"] = 100 * float(wrong[index]) / total if total else math.nan
    return row


def alarm_metrics(counted: AlarmCounts, class_names: Sequence[str]) -> dict[str, float]:
    """Rates of alarms and of events found, flat; NaN where one is not defined."""
    background, free = int(counted.background.sum()), counted.background_hours
    low, high = background_interval(background, free) if free > 0 else (math.nan, math.nan)
    total = int(counted.references.sum())
    metrics = {
        "hours": counted.hours,
        "background_hours": free,
        "events": float(total),
        "background_per_hour": counted.background_per_hour,
        "background_per_hour/low": low,
        "background_per_hour/high": high,
        "confused_per_hour": float(counted.confused.sum()) / counted.hours,
        "confused_per_100_events": counted.confused_per_100_events,
        "duplicates": float(counted.duplicates.sum()),
        "recall": float(counted.found.sum()) / total if total else math.nan,
    }
    if len(counted.delay_s):
        metrics["delay_s/median"] = float(np.median(counted.delay_s))
        metrics["delay_s/95"] = float(np.quantile(counted.delay_s, 0.95))
    for index, name in enumerate(class_names):
        metrics[f"recall/{name}"] = float(counted.recall[index])
        metrics[f"background/{name}"] = float(counted.background[index])
        metrics[f"confused/{name}"] = float(counted.confused[index].sum())
    return metrics


def background_interval(count: int, hours: float) -> tuple[float, float]:
    """Exact 95 % interval of a rate an hour; without any alarm, from 0 to what is not exceeded at 95 %, 3 / hours."""
    return (0.0, most_per_hour(0, hours)) if count == 0 else poisson_interval(count, hours)


def _ratios(name: str, counts: EventCounts) -> dict[str, Any]:
    total = counts.micro
    return {
        f"{name}_f1": float(total.f1[0]),
        f"{name}_f1/macro": macro(counts.f1),
        f"{name}_precision": float(total.precision[0]),
        f"{name}_recall": float(total.recall[0]),
        f"{name}_error_rate": counts.micro_error_rate,
    }
