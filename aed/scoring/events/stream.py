"""All scores of a stream: events, segments, shared time, alarms, and the curve of alarms against misses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aed.scoring.events.alarms import AlarmCounts, Alarms, count_alarms, most_per_hour, poisson_interval
from aed.scoring.events.collars import Collars, event_based
from aed.scoring.events.counts import EventCounts, macro
from aed.scoring.events.intersection import PSDS1, PSDS2, Criteria, intersect, psds
from aed.scoring.events.lists import EventList, Seconds
from aed.scoring.events.segments import segment_based

THRESHOLDS = tuple(round(0.01 * number, 2) for number in range(1, 100))
"""Operating points of curves, as DCASE's."""

Detections = tuple[EventList, Alarms]
"""What an operating point detects."""


@dataclass(frozen=True)
class StreamScores:
    """Scores of a stream.

    Args:
        metrics: Flat, as in ``metrics.json``; what is not defined is left out.
        alarms: Of the rule.
        curve: A row a threshold: ``threshold``, ``false_per_hour``, ``background_per_hour``, ``miss_rate``, and the
            miss rate of each class.
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
    curve = []
    for threshold, (_, raised) in zip(THRESHOLDS, sweep, strict=True):
        point = count_alarms(reference, raised, number, length_s, slack_s)
        missed = {f"miss_rate/{name}": 1 - float(value) for name, value in zip(class_names, point.recall, strict=True)}
        total = float(point.references.sum())
        curve.append(
            {
                "threshold": threshold,
                "false_per_hour": point.false_per_hour,
                "background_per_hour": float(point.background.sum()) / point.hours,
                "miss_rate": 1 - float(point.found.sum()) / total if total else float("nan"),
                **missed,
            }
        )
    return StreamScores({key: value for key, value in metrics.items() if not np.isnan(value)}, counted, curve)


def alarm_metrics(counted: AlarmCounts, class_names: Sequence[str]) -> dict[str, float]:
    """Rates of alarms and of events found, flat."""
    background, confused = int(counted.background.sum()), int(counted.confused.sum())
    low, high = poisson_interval(background, counted.hours)
    total = int(counted.references.sum())
    metrics = {
        "hours": counted.hours,
        "events": float(total),
        "background_per_hour": background / counted.hours,
        "background_per_hour/low": low,
        "background_per_hour/high": most_per_hour(0, counted.hours) if background == 0 else high,
        "confused_per_hour": confused / counted.hours,
        "confused_per_100_events": 100 * confused / total if total else float("nan"),
        "duplicates": float(counted.duplicates.sum()),
        "recall": float(counted.found.sum()) / total if total else float("nan"),
    }
    if len(counted.delay_s):
        metrics["delay_s/median"] = float(np.median(counted.delay_s))
        metrics["delay_s/95"] = float(np.quantile(counted.delay_s, 0.95))
    for index, name in enumerate(class_names):
        metrics[f"recall/{name}"] = float(counted.recall[index])
        false = int(counted.background[index] + counted.confused[index].sum())
        metrics[f"false_per_hour/{name}"] = false / counted.hours
    return metrics


def _ratios(name: str, counts: EventCounts) -> dict[str, Any]:
    total = counts.micro
    return {
        f"{name}_f1": float(total.f1[0]),
        f"{name}_f1/macro": macro(counts.f1),
        f"{name}_precision": float(total.precision[0]),
        f"{name}_recall": float(total.recall[0]),
        f"{name}_error_rate": counts.micro_error_rate,
    }
