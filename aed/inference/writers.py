"""Predictions as csv, as a table or as JSON; a further format is a class and its line in :data:`WRITERS`."""

import csv
import json
from collections.abc import Callable
from dataclasses import asdict
from typing import IO, Any, Protocol

from rich.table import Table

from aed.base.console import PlainConsole
from aed.inference.prediction import Prediction, Recording


class Writer(Protocol):
    """Writes the predictions of one recording after the other."""

    def patch(self, recording: Recording, prediction: Prediction) -> None:
        """Takes the prediction of one patch of the present recording."""

    def end(self, recording: Recording) -> None:
        """Takes a recording after its last patch."""

    def discard(self) -> None:
        """Drops the present recording, which cannot be read to its end."""

    def close(self) -> None:
        """Writes what is still to be written; the output itself stays open."""


class _Rows:
    """One row per recording, or one per patch.

    Args:
        out: Output.
        timeline: A row a patch.
    """

    def __init__(self, out: IO[str], timeline: bool) -> None:
        self.out, self.timeline = out, timeline

    def row(self, name: str, prediction: Prediction) -> None:
        raise NotImplementedError

    def patch(self, recording: Recording, prediction: Prediction) -> None:
        if self.timeline:
            self.row(recording.name, prediction)

    def end(self, recording: Recording) -> None:
        if not self.timeline:
            self.row(recording.name, recording.whole)

    def discard(self) -> None:
        """Leaves the rows of patches read before the error: a stream may have been followed so far."""

    def close(self) -> None:
        """Nothing is left to be written."""


class _Csv(_Rows):
    """Rows as they come, so that a stream can be followed; of several classes named, a row each."""

    def __init__(self, out: IO[str], timeline: bool) -> None:
        super().__init__(out, timeline)
        self.rows = csv.writer(out, lineterminator="\n")
        self.rows.writerow(["file", "start_s", "end_s", "label", "posterior"])

    def row(self, name: str, prediction: Prediction) -> None:
        times = (f"{prediction.start_s:.3f}", f"{prediction.end_s:.3f}")
        for label, posterior in prediction.named:
            self.rows.writerow([name, *times, label, f"{posterior:.6f}"])
        self.out.flush()


class _Table(_Rows):
    """The same rows for people, at the end."""

    def __init__(self, out: IO[str], timeline: bool) -> None:
        super().__init__(out, timeline)
        self.table = Table()
        for column in ("file", "start s", "end s", "label", "posterior"):
            self.table.add_column(column, justify="left" if column in ("file", "label") else "right", overflow="fold")

    def row(self, name: str, prediction: Prediction) -> None:
        first = (name, f"{prediction.start_s:.2f}", f"{prediction.end_s:.2f}")
        for label, posterior in prediction.named:
            self.table.add_row(*first, label, f"{posterior:.3f}")
            first = ("", "", "")

    def close(self) -> None:
        PlainConsole(self.out).print(self.table)


class _Json:
    """One list of recordings, at the end; with the posterior of every class.

    Args:
        out: Output.
        timeline: With each recording also the predictions of its patches.
    """

    def __init__(self, out: IO[str], timeline: bool) -> None:
        self.out, self.timeline = out, timeline
        self.recordings: list[dict[str, Any]] = []
        self.patches: list[dict[str, Any]] = []

    def patch(self, recording: Recording, prediction: Prediction) -> None:
        if self.timeline:
            self.patches.append(asdict(prediction))

    def end(self, recording: Recording) -> None:
        posteriors = dict(zip(recording.predictor.names, recording.posteriors.tolist(), strict=True))
        entry = {"file": recording.name, **asdict(recording.whole), "posteriors": posteriors}
        self.recordings.append(entry | ({"timeline": self.patches} if self.timeline else {}))
        self.patches = []

    def discard(self) -> None:
        self.patches = []

    def close(self) -> None:
        json.dump(self.recordings, self.out, indent=1)
        self.out.write("\n")


WRITERS: dict[str, Callable[[IO[str], bool], Writer]] = {"table": _Table, "csv": _Csv, "json": _Json}
"""Format -> writer of an output; the flag: timeline, a row per patch."""
