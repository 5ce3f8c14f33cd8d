"""Models as listeners: what rules find that are fitted within budgets of false alarms, and what one threshold costs.

    for split in val test; do
      aed soundscapes output=$split/events data=esc10 data.test_fold=1 data.val_fold=2 split=$split events_a_minute=12 \
        longest_event_s=2 ambient=recordings
      aed soundscapes output=$split/quiet data=esc10 data.test_fold=1 data.val_fold=2 split=$split events_a_minute=0 \
        hours=3 ambient=recordings
    done
    python scripts/bench_alarms.py model_int8.onnx --validation val --test test --today yamnet.onnx --beside model.onnx

Of each model the streams are heard once. Rules are chosen on the validation streams and tested once; ``--validation``
alone compares recipes without a look at the test. ``quiet_per_hour`` is of one threshold for all classes, the highest
with which a model finds as many events as that of ``--today`` does with 0.5: alarms an hour in the quiet streams.
``--beside`` hears the test with another net, in float for example, under the very rules of the models.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aed.base.errors import AedError
from aed.inference.detection import Detector
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.annotated import Annotated
from aed.run.rule_fit import FitConfig, Streams, choose_rule
from aed.scoring.events.alarms import AlarmCounts, Alarms, count_alarms
from aed.scoring.events.bootstrap import recall_interval
from aed.scoring.events.fitting import Labelled
from aed.scoring.events.stream import THRESHOLDS, alarm_metrics
from aed.scoring.rule import EventRule

SLACK_S = 2.0
KEPT = ("recall", "confused_per_100_events", "delay_s/median")


def heard(detector: Detector, folder: Path) -> Annotated:
    """What a model hears in the streams of a folder: ``events`` with their reference, and ``quiet``."""
    names, ambient = find_files([str(folder / "events")]), find_files([str(folder / "quiet")])
    return Streams(names, ambient, str(folder / "events" / "reference.tsv")).heard(detector, strict=True)


def alarms_of(rule: EventRule, streams: Labelled) -> Alarms:
    """The alarms of a rule, at the ends of the patches that raise them."""
    times, found, targets = rule.decisions(streams.hop_s), list[int](), list[int]()
    smooth = streams.joined(rule, times)
    for target, (on, off) in enumerate(zip(*rule.thresholds(smooth.values.shape[1]), strict=True)):
        own = [at for *_, raised in smooth.events(target, on, off, times) for at in raised]
        found, targets = found + own, targets + [target] * len(own)
    at = np.array(found, np.int64)
    return Alarms(smooth.recording[at], np.array(targets, np.int64), smooth.start_s[at] + streams.patch_s)


def counted(rule: EventRule, streams: Annotated) -> AlarmCounts:
    """What the alarms of a rule are."""
    labelled = streams.labelled
    return count_alarms(
        labelled.events, alarms_of(rule, labelled), len(streams.detector.names), labelled.length_s, SLACK_S
    )


def figures(rule: EventRule, streams: Annotated) -> dict[str, float]:
    """Of a rule: the figures of ``aed detect``, with the intervals of recall and, over places, of alarms."""
    counts, known = counted(rule, streams), streams.known
    metrics = alarm_metrics(counts, streams.detector.names)
    row = {key: metrics[key] for key in metrics if key in KEPT or key.startswith("background_per_hour")}
    ends = {"recall": recall_interval(counts.is_found, known.events.recording if known.clip is None else known.clip)}
    hours = known.places.hours(known.events, known.length_s, SLACK_S)
    middle_s = counts.raised.time_s - streams.detector.patch_s / 2
    ends["over_places"] = known.places.interval(counts.raised.recording, middle_s, hours)
    return row | {
        f"{key}/{end}": value for key, own in ends.items() if own for end, value in zip("lh", own, strict=True)
    }


def quiet_per_hour(rule: EventRule, streams: Annotated) -> float:
    """Alarms an hour in the recordings without an event."""
    labelled = streams.labelled
    is_quiet = ~np.isin(np.arange(len(labelled.length_s)), labelled.events.recording)
    raised = alarms_of(rule, labelled).recording
    return float(is_quiet[raised].sum() / labelled.length_s[is_quiet].sum() * 3600)


def at_recall(streams: Annotated, wanted: float | None) -> dict[str, float]:
    """The highest single threshold that finds a share of the events, by default 0.5, and what it raises."""
    names, tried = streams.detector.names, reversed(THRESHOLDS) if wanted is not None else [0.5]
    for threshold in tried:
        rule = Detector(streams.detector.predictor.classifier, EventRule(on=(threshold,) * len(names))).rule
        counts = counted(rule, streams)
        if (recall := float(counts.found.sum() / counts.references.sum())) >= (wanted or 0.0):
            return {"threshold": threshold, "recall": recall, "quiet_per_hour": quiet_per_hour(rule, streams)}
    return {}


def rows(
    detector: Detector, parts: dict[str, Annotated], budgets: list[float], other: Annotated | None
) -> Iterator[dict[str, Any]]:
    """A row a budget."""
    for budget in budgets:
        row: dict[str, Any] = {"budget": budget}
        try:
            fitted = choose_rule(parts["val"], FitConfig(alarms_per_hour=budget), SLACK_S)
        except AedError as error:
            yield row | {"failed": str(error)}
            continue
        row["shape"] = list(fitted.shape)
        for name, streams in parts.items():
            row |= {f"{name}/{key}": value for key, value in figures(fitted.rule, streams).items()}
        if other:
            row["beside/recall"] = figures(fitted.rule, other)["recall"]
        yield row


def opened(model: Path) -> Detector:
    """With the rule of the model's card."""
    return Detector(open_classifier(model))


def main() -> None:
    """Prints a line a model and budget, and before them one of a single threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--validation", required=True, type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--budgets", nargs="+", type=float, default=[1, 10, 30])
    parser.add_argument("--today", type=Path, help="model whose recall with 0.5 is equalled")
    parser.add_argument("--beside", type=Path, help="model that hears the test under the same rules")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []

    def show(model: Path, row: dict[str, Any]) -> None:
        found.append({"model": str(model)} | row)
        print(json.dumps(found[-1], default=float), flush=True)

    last, wanted = "test" if arguments.test else "val", None
    folder, test = arguments.test or arguments.validation, arguments.test
    if arguments.today:
        show(arguments.today, at_recall(heard(opened(arguments.today), folder), None))
        wanted = found[0]["recall"]
    other = heard(opened(arguments.beside), test) if arguments.beside and test else None
    for model in arguments.models:
        detector = opened(model)
        parts = {"val": heard(detector, arguments.validation)} | ({"test": heard(detector, test)} if test else {})
        show(model, at_recall(parts[last], wanted))
        for row in rows(detector, parts, arguments.budgets, other):
            show(model, row)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
