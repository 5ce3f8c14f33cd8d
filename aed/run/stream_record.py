"""What was heard in recordings, beside what occurs in them, as a file from which a page is made later."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.audio.audio_file import STDIN
from aed.base.errors import AedError
from aed.base.files import check_replaceable, json_text, whole_folder, write_whole
from aed.inference.detection import DetectedEvent, Detector
from aed.run.annotated import Heard, Truth
from aed.run.cutting import AROUND_S
from aed.run.stream_scores import Scored
from aed.scoring.events.alarms import Alarms
from aed.scoring.events.stream import tradeoff
from aed.scoring.events.verdicts import verdicts

STREAMS = "streams.json"
"""File of a folder of results."""

MOST_FALSE, MOST_MISSED = 40, 20
"""Alarms, and events that no alarm finds, that are kept with the posteriors around them."""

LONGEST_S = 12.0
"""Of what is kept of an event, s."""

SHOWN = 3
"""Classes whose posteriors are kept."""


@dataclass(frozen=True)
class _Alarm:
    """An alarm of an event.

    Args:
        recording: Its number.
        event: Whose alarm it is.
        time_s: When.
        verdict: What it is beside a reference; ``alarm``: there is none.
        occurs: Class that occurs where it is confused; "".
    """

    recording: int
    event: DetectedEvent
    time_s: float
    verdict: str
    occurs: str


@dataclass(frozen=True)
class Record:
    """What a program of a model heard.

    Args:
        model: File of the model.
        program: Which: ``runtime``, ``c``, ``emulator``.
        detector: Has the rule.
        heard: In recordings.
        truth: What occurs in all recordings that were asked for; None: unknown.
        scored: Scores beside it.
        slack_s: Time after an event in which an alarm still finds it.
    """

    model: str
    program: str
    detector: Detector
    heard: Heard
    truth: Truth | None = None
    scored: Scored | None = None
    slack_s: float = 2.0

    def write(self, path: Path) -> None:
        """Writes it as JSON."""
        text = json_text(self.content(), None)
        write_whole(path, lambda file: file.write(text.encode()))

    @cached_property
    def length_s(self) -> list[float]:
        """Of each recording, s."""
        if self.truth is not None:
            return self.truth.of(self.heard.used).length_s.tolist()  # type: ignore[no-any-return]
        from aed.datamodules.health.annotations import file_length  # pandas: only where it is needed

        ends = [starts[-1] + self.detector.patch_s for starts in self.heard.starts]
        lengths = map(file_length, map(Path, self.heard.names))
        return [length if math.isfinite(length) else float(end) for length, end in zip(lengths, ends, strict=True)]

    def content(self) -> dict[str, Any]:
        """All of it, as plain types."""
        detector, streams = self.detector, self.heard.events(self.detector)
        alarms = [self._alarms(number, events) for number, (_, events) in enumerate(streams)]
        references = self._references()
        content = {
            "model": self.model,
            "program": self.program,
            "classes": list(detector.names),
            "task": detector.card.task,
            "frontend": asdict(detector.card.frontend),
            "rule": asdict(detector.rule),
            "patch_s": detector.patch_s,
            "hop_s": detector.hop_s,
            "slack_s": self.slack_s,
            "has_reference": self.truth is not None,
            "recordings": [
                {
                    "name": name,
                    "path": str(Path(name).resolve()),
                    "length_s": round(self.length_s[number], 3),
                    "reference": references[number],
                    "events": [
                        [
                            each.label,
                            _s(each.onset_s),
                            _s(each.offset_s),
                            _p(each.posterior),
                            _first(each, alarms[number]),
                        ]
                        for each in events
                    ],
                    "alarms": [[own.event.label, _s(own.time_s), own.verdict, own.occurs] for own in alarms[number]],
                }
                for number, (name, events) in enumerate(streams)
            ],
            "false": list(self._false(alarms)),
            "missed": list(self._missed(references)),
        }
        if self.scored is not None:
            result = self.scored.result
            content |= {
                "metrics": result.metrics,
                "repeated": self.scored.repeated,
                "curve": result.curve,
                "point": tradeoff(result.alarms, detector.names),
            }
        return content

    def _references(self) -> list[list[list[Any]]]:
        """For each recording what occurs: class, onset, offset, whether it was found."""
        rows: list[list[list[Any]]] = [[] for _ in self.heard.names]
        if self.truth is not None and self.scored is not None:
            events, found = self.truth.of(self.heard.used).events, self.scored.result.alarms.is_found.tolist()
            columns = (events.recording, events.target, events.onset_s, events.offset_s)
            for number, target, onset, offset, is_found in zip(*(own.tolist() for own in columns), found, strict=True):
                rows[number].append([self.detector.names[target], _s(onset), _s(offset), is_found])
        return rows

    def _alarms(self, number: int, events: list[DetectedEvent]) -> list[_Alarm]:
        """The alarms of a recording."""
        pairs = [(event, time) for event in events for time in event.alarms_s]
        if self.truth is None:
            return [_Alarm(number, *pair, "alarm", "") for pair in pairs]
        reference = self.truth.of(self.heard.used).events
        targets = np.array([self.detector.names.index(event.label) for event, _ in pairs], np.int64)
        times = np.array([time for _, time in pairs], np.float64)
        own = reference.where(reference.recording == number)
        judged = verdicts(own, Alarms(np.full(len(pairs), number), targets, times), self.slack_s)
        return [
            _Alarm(number, *pair, verdict, "" if place is None else self.detector.names[int(own.target[place])])
            for pair, (verdict, place) in zip(pairs, judged, strict=True)
        ]

    def _false(self, alarms: list[list[_Alarm]]) -> Iterator[dict[str, Any]]:
        """The first false alarm of each event, those with the greatest posterior first."""
        first: dict[tuple[int, int], _Alarm] = {}
        for alarm in (alarm for own in alarms for alarm in own if alarm.verdict != "right"):
            first.setdefault((alarm.recording, id(alarm.event)), alarm)
        ranked = sorted(first.values(), key=lambda own: (-own.event.posterior, own.recording, own.time_s))
        for own in ranked[:MOST_FALSE]:
            begin = own.time_s - self.detector.patch_s - AROUND_S
            end = min(max(own.time_s, own.event.offset_s), begin + LONGEST_S) + AROUND_S
            about = {"kind": own.verdict, "label": own.event.label, "occurs": own.occurs, "at_s": _s(own.time_s)}
            kept = self._excerpt(own.recording, begin, end, [own.event.label, own.occurs])
            yield about | {"posterior": _p(own.event.posterior)} | kept

    def _missed(self, references: list[list[list[Any]]]) -> Iterator[dict[str, Any]]:
        """Events that no alarm finds, those first of which the model was nearest to it."""
        rows = []
        for number, own in enumerate(references):
            for label, onset, offset, is_found in own:
                if not is_found:
                    end = min(offset, onset + LONGEST_S) + AROUND_S
                    kept = self._excerpt(number, onset - AROUND_S, end, [label])
                    rows.append({"kind": "missed", "label": label, "at_s": onset, "offset_s": offset} | kept)
        rows.sort(key=lambda row: -max(row["patches"][row["label"]], default=0.0))
        yield from rows[:MOST_MISSED]

    def _excerpt(self, number: int, start_s: float, end_s: float, names: list[str]) -> dict[str, Any]:
        """The part of a recording, and the posteriors of the patches in it for some classes."""
        start, end = max(0.0, start_s), min(end_s, self.length_s[number])
        starts: npt.NDArray[np.float64] = self.heard.starts[number]
        inside = (starts >= start - 1e-6) & (starts + self.detector.patch_s <= end + 1e-6)
        rows = self.heard.posteriors[number][inside]
        likely = np.argsort(-rows.max(axis=0, initial=0), kind="stable").tolist() if len(rows) else []
        wanted = [*filter(None, names), *(self.detector.names[index] for index in likely)]
        shown, place = list(dict.fromkeys(wanted))[:SHOWN], self.detector.names.index
        return {
            "recording": number,
            "start_s": _s(start),
            "end_s": _s(end),
            "starts": [_s(value - start) for value in starts[inside].tolist()],
            "patches": {name: [_p(value) for value in rows[:, place(name)].tolist()] for name in shown},
        }


def check_results(folder: Path, names: Sequence[str]) -> None:
    """Refuses a folder that holds something else, and sounds that cannot be read again.

    Raises:
        AedError: Says why.
    """
    if STDIN in names:
        raise AedError("results: needs recordings, which are read again; not standard input")
    try:
        check_replaceable(folder, STREAMS)
    except AedError as error:
        raise AedError(f"results: {error}") from error


def write_results(folder: Path, record: Record) -> None:
    """Writes a record into a folder of its own."""
    with whole_folder(folder, STREAMS) as new:
        record.write(new / STREAMS)


def _first(event: DetectedEvent, alarms: Sequence[_Alarm]) -> str:
    """What the first alarm of an event is."""
    return next(own.verdict for own in alarms if own.event is event)


def _s(value: float) -> float:
    return round(value, 3)


def _p(value: float) -> float:
    return round(value, 4)
