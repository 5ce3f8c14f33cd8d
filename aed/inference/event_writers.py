"""Detected events as a table, csv, JSON, and in the forms that other programs read; a further one is a function here.

A function takes the recordings and their events and returns the text of one file. The form ``audacity`` has no place
for the name of a recording: it is a file for each recording.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import IO

from rich.table import Table

from aed.base.console import PlainConsole
from aed.inference.detection import DetectedEvent

Found = Sequence[tuple[str, Sequence[DetectedEvent]]]
"""Recordings and their events."""


def as_table(found: Found) -> str:
    """For people."""
    table = Table()
    for column in ("file", "onset s", "offset s", "event", "posterior", "alarms at s"):
        table.add_column(column, justify="left" if column in ("file", "event") else "right", overflow="fold")
    for name, events in found:
        for event in events:
            alarms = ", ".join(f"{time:.2f}" for time in event.alarms_s)
            times = (f"{event.onset_s:.2f}", f"{event.offset_s:.2f}")
            table.add_row(name, *times, event.label, f"{event.posterior:.3f}", alarms)
    text = io.StringIO()
    PlainConsole(text, width=120).print(table)
    return text.getvalue()


def as_csv(found: Found) -> str:
    """One row an event; alarms separated by spaces."""
    text = io.StringIO()
    write = write_csv_head(text)
    for name, events in found:
        for event in events:
            write(name, event)
    return text.getvalue()


def write_csv_head(out: IO[str]) -> Callable[[str, DetectedEvent], None]:
    """Writes the first line of a csv; returns what writes the row of an event, at once, so that it can be followed."""
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["file", "onset_s", "offset_s", "event", "posterior", "alarms_s"])
    out.flush()

    def write(name: str, event: DetectedEvent) -> None:
        alarms = " ".join(f"{time:.3f}" for time in event.alarms_s)
        rows.writerow([name, *_times(event), event.label, f"{event.posterior:.6f}", alarms])
        out.flush()

    return write


def as_json(found: Found) -> str:
    """A list of recordings, each with its events."""
    content = [{"file": name, "events": [asdict(event) for event in events]} for name, events in found]
    return json.dumps(content, indent=1) + "\n"


def as_dcase(found: Found) -> str:
    """DCASE's tsv; a recording without events has a row with its name alone."""
    rows = [["filename", "onset", "offset", "event_label"]]
    for name, events in found:
        rows += [[_base(name), *_times(event), event.label] for event in events] or [[_base(name), "", "", ""]]
    return _separated(rows, "\t")


def as_audacity(found: Found) -> str:
    """Labels of one recording: onset, offset, text."""
    lines = (f"{onset}\t{offset}\t{' '.join(label.split())}\n" for label, onset, offset in _flat(found))
    return "".join(lines)


def as_raven(found: Found) -> str:
    """Raven's selection table; a table of several recordings names them."""
    rows = [["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Begin File", "Species", "Score"]]
    for name, events in found:
        for event in events:
            number, place = str(len(rows)), _base(name)
            rows.append([number, "Spectrogram 1", "1", *_times(event), place, event.label, f"{event.posterior:.6f}"])
    return _separated(rows, "\t")


def as_label_studio(found: Found) -> str:
    """Tasks of Label Studio with the events as predictions; its labelling interface needs ``Labels`` called label."""
    tasks = []
    for name, events in found:
        result = [
            {
                "from_name": "label",
                "to_name": "audio",
                "type": "labels",
                "value": {"start": event.onset_s, "end": event.offset_s, "labels": [event.label]},
                "score": event.posterior,
            }
            for event in events
        ]
        tasks.append({"data": {"audio": name}, "predictions": [{"model_version": "aed", "result": result}]})
    return json.dumps(tasks, indent=1) + "\n"


WRITERS: dict[str, tuple[Callable[[Found], str], str]] = {
    "table": (as_table, ".txt"),
    "csv": (as_csv, ".csv"),
    "json": (as_json, ".json"),
    "dcase": (as_dcase, ".tsv"),
    "audacity": (as_audacity, ".txt"),
    "raven": (as_raven, ".selections.txt"),
    "label_studio": (as_label_studio, ".json"),
}
"""Form -> what writes it, and the usual ending of such a file."""

OF_ONE_RECORDING = ("audacity",)
"""Forms whose files cannot name a recording."""


def _flat(found: Found) -> Iterator[tuple[str, str, str]]:
    for _, events in found:
        yield from ((event.label, *_times(event)) for event in events)


def _times(event: DetectedEvent) -> tuple[str, str]:
    return f"{event.onset_s:.3f}", f"{event.offset_s:.3f}"


def _base(name: str) -> str:
    return PurePath(name).name


def _separated(rows: Sequence[Sequence[str]], mark: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=mark, lineterminator="\n").writerows(rows)
    return text.getvalue()
