"""Whether a budget of alarms holds in places that a rule was not chosen on: halves of the places of quiet streams.

    python scripts/bench_places.py model_int8.onnx --events val/events --quiet val/quiet

The folders are those of ``bench_alarms.py``; ``--quiet`` takes several. A seed draws half of the recordings that sound
as background; each half chooses a rule, with the events, and is the other's test. A piece of noise is a place of its
own, as it is drawn anew. Rules are chosen twice: as ``aed detect action=fit`` does, and blindly, as if places were not
known. Alarms an hour are printed, and how often the budget is inside of, or over, their exact interval and that over
places.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from bench_alarms import SLACK_S, alarms_of

from aed.datamodules.health.annotations import file_length
from aed.datamodules.soundscapes.backgrounds import COLOURS
from aed.datamodules.sources.sections import backgrounds
from aed.inference.detection import Detector
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.annotated import Annotated, hear, read_truth
from aed.scoring.events.alarms import poisson_interval
from aed.scoring.events.family import shapes
from aed.scoring.events.fitting import Fitted, Labelled, best_rule
from aed.scoring.events.lists import EventList
from aed.scoring.events.places import Places
from aed.scoring.rule import Floats

FAMILY = shapes((1, 2), (0.6, 1.0), (3.0,))


@dataclass(frozen=True)
class Piece:
    """What a detector decides while one place is heard."""

    place: str
    posteriors: Floats
    length_s: float


def pieces_of(detector: Detector, folders: Sequence[str]) -> list[Piece]:
    """The pieces of quiet streams."""
    files = [Path(name) for name in find_files(list(folders))]
    found = []
    for file, parts in zip(files, backgrounds(files), strict=True):
        heard = detector.decisions(str(file))
        middle_s = heard.start_s + detector.patch_s / 2
        ends_s = [onset_s for onset_s, _ in parts[1:]] + [file_length(file)]
        for (onset_s, name), end_s in zip(parts, ends_s, strict=True):
            own = heard.posteriors[(middle_s >= onset_s) & (middle_s < end_s)]
            place = f"{name} in {file} at {onset_s}" if name in COLOURS else name
            found += [Piece(place, own, end_s - onset_s)] if len(own) else []
    return found


def joined(pieces: Sequence[Piece], like: Labelled, with_events: bool) -> Labelled:
    """Pieces as recordings without events and, after them, those with the events of ``like``."""
    if not with_events:
        nothing = EventList.of([], [], [], [])
        like = replace(like, posteriors=[], starts=[], events=nothing, length_s=np.zeros(0))
    rows = [piece.posteriors for piece in pieces]
    names = [piece.place for piece in pieces] + [f"events {number}" for number in range(len(like.posteriors))]
    return replace(
        like,
        posteriors=[*rows, *like.posteriors],
        starts=[*(np.arange(len(own)) * like.hop_s for own in rows), *like.starts],
        events=replace(like.events, recording=like.events.recording + len(rows)),
        length_s=np.array([*(piece.length_s for piece in pieces), *like.length_s.tolist()]),
        places=Places.of([[(0.0, name)] for name in names]),
    )


def outcome(fitted: Fitted, other: Labelled, budget: float) -> list[float]:
    """Recall on the choice's own streams, alarms an hour in others, and where the budget is."""
    assert other.places is not None
    raised, hours = alarms_of(fitted.rule, other), float(other.length_s.sum()) / 3600
    low, high = exact = poisson_interval(len(raised), hours)
    place_hours = other.places.hours(other.events, other.length_s, SLACK_S)
    if over := other.places.interval(raised.recording, raised.time_s - other.patch_s / 2, place_hours):
        low, high = min(low, over[0]), max(high, over[1])
    return [fitted.recall, len(raised) / hours, exact[0] <= budget <= exact[1], low <= budget <= high, budget >= low]


def main() -> None:
    """Prints a line a budget and way of choosing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--events", required=True, type=Path, help="folder of aed soundscapes")
    parser.add_argument("--quiet", required=True, nargs="+", help="folders without events")
    parser.add_argument("--budgets", nargs="+", type=float, default=[10, 30])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    detector = Detector(open_classifier(arguments.model))
    names = find_files([str(arguments.events)])
    truth = read_truth(str(arguments.events / "reference.tsv"), names, [], detector.names)
    lively = Annotated(detector, hear(names, detector.decisions, strict=True), truth).labelled
    pieces = pieces_of(detector, arguments.quiet)
    known = sorted({piece.place for piece in pieces})
    hours = sum(piece.length_s for piece in pieces) / 3600
    print(f"{hours:.2f} h without events in {len(known)} places, {len(lively.events)} events", flush=True)
    found: dict[tuple[float, str], list[list[float]]] = {}
    for seed in range(arguments.seeds):
        drawn = set(np.random.default_rng(seed).permutation(known)[: len(known) // 2].tolist())
        halves = [[piece for piece in pieces if (piece.place in drawn) == own] for own in (True, False)]
        for mine, others in (halves, halves[::-1]):
            own, other = joined(mine, lively, True), joined(others, lively, False)
            for budget in arguments.budgets:
                for how, streams in (("as aed detect", own), ("blindly", replace(own, places=None))):
                    fitted = best_rule(streams, FAMILY, detector.rule, budget, SLACK_S)
                    if fitted.choice.found:
                        found.setdefault((budget, how), []).append(outcome(fitted, other, budget))
    keys = ("recall", "alarms_per_hour", "inside_exact", "inside_over_places", "not_under")
    for (budget, how), rows in found.items():
        means = {key: round(float(value), 3) for key, value in zip(keys, np.mean(rows, axis=0), strict=True)}
        print(json.dumps({"budget": budget, "chosen": how, "choices": len(rows), **means}), flush=True)


if __name__ == "__main__":
    main()
