"""Recall of a model within budgets of false alarms: the rule is chosen on validation streams and tested once on others.

    for split in val test; do
      aed soundscapes output=$split/events data=esc10 data.test_fold=1 data.val_fold=2 split=$split events_a_minute=12 \
        longest_event_s=2 ambient=recordings
      aed soundscapes output=$split/quiet data=esc10 data.test_fold=1 data.val_fold=2 split=$split events_a_minute=0 \
        hours=3 ambient=recordings
    done
    python scripts/bench_alarms.py model_int8.onnx [...] --validation val --test test [--budgets 1 10 30] [--json FILE]

Of each model the streams are heard once. ``--validation`` alone compares recipes without a look at the test.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.inference.detection import Detector
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.annotated import Annotated
from aed.run.rule_fit import FitConfig, Streams, choose_rule
from aed.scoring.events.stream import StreamScores

COLLAR_S, SLACK_S = 0.2, 2.0


def heard(detector: Detector, folder: Path) -> Annotated:
    """What a model hears in the streams of a folder: ``events`` with their reference, and ``quiet``."""
    names, ambient = find_files([str(folder / "events")]), find_files([str(folder / "quiet")])
    return Streams(names, ambient, str(folder / "events" / "reference.tsv")).heard(detector, strict=True)


def ruled(detector: Detector, streams: Annotated) -> StreamScores:
    """Scores of a detector with another rule in streams that were heard before."""
    return Annotated(detector, streams.heard, streams.truth).scores(COLLAR_S, SLACK_S)


def rows(model: Path, validation: Path, test: Path | None, budgets: list[float]) -> list[dict[str, Any]]:
    """A row a budget."""
    detector = Detector(open_classifier(model))
    parts = {"val": heard(detector, validation)} | ({"test": heard(detector, test)} if test else {})
    found = []
    for budget in budgets:
        row: dict[str, Any] = {"model": str(model), "budget": budget}
        try:
            fitted = choose_rule(parts["val"], FitConfig(alarms_per_hour=budget), SLACK_S)
        except AedError as error:
            found.append(row | {"failed": str(error)})
            continue
        chosen = Detector(detector.predictor.classifier, fitted.rule)
        row["shape"] = list(fitted.shape)
        for name, streams in parts.items():
            metrics = ruled(chosen, streams).metrics
            row |= {
                f"{name}/{key}": metrics[key]
                for key in metrics
                if key in ("recall", "confused_per_100_events", "delay_s/median") or key.startswith("recall_interval/")
                or (key.startswith("background_per_hour"))
            }  # fmt: skip
        found.append(row)
    return found


def main() -> None:
    """Prints a line a model and budget."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--validation", required=True, type=Path)
    parser.add_argument("--test", type=Path)
    parser.add_argument("--budgets", nargs="+", type=float, default=[1, 10, 30])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = []
    for model in arguments.models:
        for row in rows(model, arguments.validation, arguments.test, arguments.budgets):
            found.append(row)
            print(json.dumps({key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()}), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
