"""What was heard in streams: misses against false alarms, lanes of what occurs and what was detected, false alarms."""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aed.audio.spans import read_spans
from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import mono, resample
from aed.run.report.checks import numbers, texts
from aed.run.report.recordings import Recordings, recordings_below
from aed.run.report.sounds import Sounds, image_uri
from aed.run.stream_record import MOST_FALSE, MOST_MISSED, STREAMS
from aed.scoring import tables

log = logging.getLogger(__name__)

MOST_PIECES = MOST_FALSE + MOST_MISSED
"""False alarms and missed events of a page."""

LONGEST_PIECE_S = 60.0
"""Of a recording, as a sound in the page."""

MOST_LINES = 9
"""Classes with a line of their own: those that occur most often."""

AXES = ("background_per_hour", "confused_per_100_events")


def open_streams(path: Path) -> dict[str, Any]:
    """A record of :class:`aed.run.stream_record.Record`.

    Raises:
        AedError: The file is damaged.
    """
    content = tables.read_json(path)
    try:
        _check(content)
    except (AedError, KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise AedError(f"{path}: damaged ({error}); detect again") from error
    return content


def _check(content: Mapping[str, Any]) -> None:
    """Refuses a record of which no page could be made."""
    FrontendConfig(**content["frontend"])
    classes = set(content["classes"])
    for own in content["recordings"]:
        numbers([own["length_s"]])
        texts([own["name"], own["path"]])
        for rows, size, times in ((own["reference"], 4, 2), (own["events"], 5, 3), (own["alarms"], 4, 1)):
            if any(len(row) != size or row[0] not in classes for row in rows):
                raise ValueError("a row of another form")
            numbers([cell for row in rows for cell in row[1 : 1 + times]])
    for own in (*content["false"], *content["missed"]):
        content["recordings"][own["recording"]]
        numbers([own["at_s"], own["start_s"], own["end_s"], *own["starts"]])
        if not 0 <= own["start_s"] < own["end_s"] <= own["start_s"] + LONGEST_PIECE_S:
            raise ValueError(f"a piece from {own['start_s']} to {own['end_s']} s")
        texts([own["kind"], own["label"], *own["patches"]])
        for values in own["patches"].values():
            numbers(values)
    texts([content["model"], content["program"]])
    numbers([content["patch_s"], content["slack_s"], *content.get("metrics", {}).values()])
    for row in (*content.get("curve", []), content.get("point", {})):
        numbers([value for value in row.values() if value is not None])
    dict(content["rule"]), bool(content["has_reference"])


def streams_subject(
    name: str, record: Mapping[str, Any], sounds: Sounds, audio: str | None, most: int = MOST_PIECES
) -> dict[str, Any]:
    """The content of a record.

    Args:
        name: Of the subject.
        record: Of :func:`open_streams`.
        sounds: Of the page; those of false alarms and missed events are added.
        audio: Folder with the recordings, however deep; null: where they were.
        most: False alarms and missed events with sound and picture.
    """
    known = recordings_below(audio) if audio is not None else None
    false = record["false"][: most - min(len(record["missed"]), most // 3)]
    missed = record["missed"][: most - len(false)]
    pieces = [*false, *missed]
    sounds.expect(len(pieces))
    missing = _hear(record, pieces, sounds, known)
    names = [Path(own["name"]).name for own in record["recordings"]]
    names = names if len(set(names)) == len(names) else [own["name"] for own in record["recordings"]]
    recordings = [
        {"name": own_name} | {key: own[key] for key in _OF_RECORDING}
        for own_name, own in zip(names, record["recordings"], strict=True)
    ]
    return {
        "kind": "streams",
        "name": name,
        "notes": [_GONE.format(len(missing), missing[0])] if missing else [],
        "recordings": recordings,
        "false": false,
        "missed": missed,
        "tradeoff": [axis for axis in (_axis(record, key) for key in AXES) if axis],
        "hours": math.fsum(own["length_s"] for own in record["recordings"]) / 3600,
    } | {key: record[key] for key in _KEPT if key in record}


_KEPT = ("model", "program", "classes", "rule", "has_reference", "metrics", "repeated", "patch_s", "slack_s", "point")
_GONE = "{} recordings are not where they were: give audio=<folder>; the first: {}"
_OF_RECORDING = ("length_s", "reference", "events", "alarms")


def _hear(
    record: Mapping[str, Any], pieces: Sequence[dict[str, Any]], sounds: Sounds, known: Recordings | None
) -> list[str]:
    """Puts sound and picture into the pieces; returns the names of recordings that are missing."""
    frontend = FrontendConfig(**record["frontend"])
    logmel, missing = LogMel(frontend), []
    for number, own in enumerate(record["recordings"]):
        wanted = [piece for piece in pieces if piece["recording"] == number]
        path = Path(own["path"]) if known is None else known.find(Path(own["name"]).name)
        if wanted and (path is None or not path.is_file()):
            missing.append(str(own["name"]))
            continue
        try:
            spans = [(piece["start_s"], piece["end_s"]) for piece in wanted]
            for place, samples, rate in read_spans(path or Path(), spans) if wanted else ():
                wave = resample(mono(samples), rate, frontend.sample_rate)
                piece = wanted[place]
                key = (path, *spans[place], frontend.sample_rate)
                if (sound := sounds.put(key, wave, frontend.sample_rate)) is not None:
                    piece["sound"] = sound
                if len(wave) >= frontend.patch_samples:
                    frames = logmel.array(wave)
                    seconds = frames.shape[1] * frontend.hop_length / frontend.sample_rate
                    piece |= {"picture": image_uri(frames), "seconds": seconds}
        except AedError as error:
            log.warning("%s", error)
    return missing


def _axis(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Misses against one kind of false alarms: the fewest misses that so many alarms allow; {} without a curve.

    All lines have the same rates, those that occur in any; a line is a step from one to the next.
    """
    curve, point = record.get("curve", []), record.get("point", {})
    counts = dict.fromkeys(record["classes"], 0)
    for own in record["recordings"]:
        for row in own["reference"]:
            counts[row[0]] += 1
    names = sorted((name for name in counts if counts[name]), key=lambda name: -counts[name])[:MOST_LINES]
    points = {"all": _points(curve, key, "miss_rate")}
    points |= {name: _points(curve, f"{key}/{name}", f"miss_rate/{name}") for name in names}
    rates = sorted({rate for own in points.values() for rate, _ in own})
    if not points["all"]:
        return {}
    lines = {}
    for name, own in points.items():
        best, place, line = None, 0, []
        for rate in rates:
            while place < len(own) and own[place][0] <= rate:
                best = own[place][1] if best is None else min(best, own[place][1])
                place += 1
            line.append(best)
        lines[name] = line
    own_point = [point.get(key), point.get("miss_rate")]
    return {"axis": key, "rates": rates, "lines": lines, "rule": own_point if None not in own_point else None}


def _points(curve: Sequence[Mapping[str, float | None]], rate: str, missed: str) -> list[tuple[float, float]]:
    pairs = [(row.get(rate), row.get(missed)) for row in curve]
    return sorted((round(x, 4), round(y, 4)) for x, y in pairs if x is not None and y is not None)


def streams_of(folder: Path) -> dict[str, Any]:
    """The records that the stage detect left in the folder of a run: by the model's kind."""
    found = {"float": folder / f"detect_{STREAMS}", "int8": folder / f"detect_int8_{STREAMS}"}
    return {name: open_streams(path) for name, path in found.items() if path.is_file()}
