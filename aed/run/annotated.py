"""Recordings beside what occurs in them: the truth, what a program of a model heard, and the scores of its rule."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aed.base.errors import AedError, AudioError, in_brief_list
from aed.inference.detection import Decisions, DetectedEvent, Detector
from aed.scoring.duty import Duty
from aed.scoring.events.alarms import Alarms
from aed.scoring.events.fitting import Labelled
from aed.scoring.events.joined import Joined
from aed.scoring.events.lists import EventList, Index, Seconds
from aed.scoring.events.places import Places
from aed.scoring.events.stream import Detections, StreamScores, score_stream
from aed.scoring.rule import NEVER, Floats, RuleDecisions

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

Program = Callable[[str], Decisions]
"""A program of a model: a recording -> its decisions."""


@dataclass(frozen=True)
class Truth:
    """What occurs in recordings.

    Args:
        names: The recordings.
        events: By the numbers of recordings and classes.
        length_s: ``(recordings,)``.
        clip: ``(E,)`` number of the clip that each event was cut from; None: the reference does not say.
        sections: ``(recordings,)`` independent sections of each.
        places: Whose background is heard.
    """

    names: tuple[str, ...]
    events: EventList
    length_s: Seconds
    clip: Index | None
    sections: Index
    places: Places

    @property
    def repeated(self) -> str:
        """What the interval of the recall is taken over."""
        return "recordings" if self.clip is None else "clips"

    def of(self, used: Sequence[int]) -> "Truth":
        """That of some of the recordings, ascending."""
        place = np.full(len(self.names), -1)
        place[list(used)] = np.arange(len(used))
        kept = place[self.events.recording] >= 0
        events = self.events.where(kept)
        return Truth(
            tuple(self.names[number] for number in used),
            replace(events, recording=place[events.recording]),
            self.length_s[list(used)],
            None if self.clip is None else self.clip[kept],
            self.sections[list(used)],
            self.places.among(used),
        )


def read_truth(
    reference: str, names: Sequence[str], ambient: Sequence[str], class_names: Sequence[str], key: str = "reference"
) -> Truth:
    """Reads a reference.

    Args:
        reference: A list, or a folder of lists.
        names: The recordings that it is of.
        ambient: Further recordings, in which nothing occurs.
        class_names: Of the model.
        key: That names the reference on the command line.

    Raises:
        AedError: It does not fit the recordings, or a class of it is none of the model's.
    """
    from aed.datamodules.health.annotations import file_length  # pandas: only where there is a reference
    from aed.datamodules.sources.annotations import read_reference
    from aed.datamodules.sources.sections import backgrounds, count_sections

    if not Path(reference).exists():
        raise AedError(f"{key}: {reference}: no such file or folder")
    known = {Path(name).resolve() for name in names}
    if twice := [name for name in ambient if Path(name).resolve() in known]:
        raise AedError(f"ambient: {twice[0]} is one of the annotated recordings, too; leave it out of one of them")
    paths, quiet = [Path(name) for name in names], [Path(name) for name in ambient]
    lengths = [file_length(path) for path in [*paths, *quiet]]
    rows = read_reference(Path(reference), paths, lengths[: len(paths)])
    targets = {name: index for index, name in enumerate(class_names)}
    if unknown := sorted(set(rows["label"]) - set(targets)):
        raise AedError(
            f"{reference}: {unknown[0]} is none of the model's classes: {in_brief_list(class_names)}; rename it, or "
            "leave its events out if they are background for this model"
        )
    _check_apart(rows, reference)
    number = {path: index for index, path in enumerate(paths)}
    rows = rows.assign(recording=rows["path"].map(number)).sort_values(["recording", "onset_s"], kind="stable")
    events = EventList.of(rows["recording"], rows["label"].map(targets), rows["onset_s"], rows["offset_s"])
    clip = np.unique(rows["clip"].to_numpy(str), return_inverse=True)[1] if (rows["clip"] != "").any() else None
    sections = np.array(count_sections([*paths, *quiet]), np.int64)
    places = Places.of(backgrounds([*paths, *quiet]))
    return Truth((*names, *ambient), events, np.array(lengths), clip, sections, places)


def _check_apart(rows: "pd.DataFrame", reference: str) -> None:
    """Refuses events of one class that share time: which of them an alarm finds would be a guess.

    Raises:
        AedError: Names two.
    """
    rows = rows.sort_values("onset_s", kind="stable")
    for (path, label), own in rows.groupby(["path", "label"], sort=False):
        onset_s, offset_s = own["onset_s"].tolist(), own["offset_s"].tolist()
        for before, after, end in zip(onset_s, onset_s[1:], offset_s, strict=False):
            if after < end:
                raise AedError(
                    f"{reference}: {path}: two events of {label} overlap, that from {before:g} and that from {after:g} "
                    "s; make them one"
                )


@dataclass(frozen=True)
class Heard:
    """What a program of a model heard in recordings.

    Args:
        names: The recordings that could be used.
        used: Their numbers among those that were asked for.
        decisions: Of each.
    """

    names: tuple[str, ...]
    used: tuple[int, ...]
    decisions: tuple[Decisions, ...]

    @property
    def posteriors(self) -> list[Floats]:
        """``(decisions, classes)`` of each."""
        return [own.posteriors for own in self.decisions]

    @property
    def starts(self) -> list[Seconds]:
        """When each patch of each starts, s."""
        return [own.start_s for own in self.decisions]

    def duty(self, detector: Detector) -> Duty:
        """How often the net ran."""
        duty = Duty(detector.hop_s)
        for own in self.decisions:
            duty.add(own.is_open, own.power)
        return duty

    def events(self, detector: Detector) -> list[tuple[str, list[DetectedEvent]]]:
        """Recordings and their events by the detector's rule."""
        parts = zip(self.names, self.decisions, strict=True)
        return [(name, detector.events_of(own.posteriors, own.start_s)) for name, own in parts]


def hear(names: Sequence[str], program: Program, strict: bool) -> Heard:
    """Listens to recordings; those that cannot be used are left out, with a warning.

    Raises:
        AedError: None can be used or, with ``strict``, one cannot.
    """
    used, decisions = [], []
    for number, name in enumerate(names):
        try:
            own = program(name)
        except AudioError as error:
            if strict:
                raise
            log.warning("left out, with its reference: %s", error)
            continue
        used.append(number)
        decisions.append(own)
    if not used:
        raise AedError("files: no recording could be used")
    return Heard(tuple(names[number] for number in used), tuple(used), tuple(decisions))


@dataclass(frozen=True)
class Annotated:
    """What was heard beside what occurs in the same recordings.

    Args:
        detector: Has the rule.
        heard: By a program of its model.
        truth: Of all recordings that were asked for.
    """

    detector: Detector
    heard: Heard
    truth: Truth

    @cached_property
    def known(self) -> Truth:
        """What occurs in the recordings that could be used."""
        return self.truth.of(self.heard.used)

    @cached_property
    def labelled(self) -> Labelled:
        """Posteriors beside the events of the recordings that could be used."""
        heard, detector, known = self.heard, self.detector, self.known
        times = detector.hop_s, detector.patch_s, detector.unknown_threshold
        return Labelled(heard.posteriors, heard.starts, known.events, known.length_s, *times, known.places)

    def scores(self, collar_s: float, slack_s: float) -> StreamScores:
        """All scores of the rule, and the curve over its threshold."""
        rule, names = self.detector.rule, self.detector.names
        times = rule.decisions(self.detector.hop_s)
        joined = self.labelled.joined(rule, times)
        on, off = rule.thresholds(len(names))

        def points(threshold: float) -> Detections:
            # hysteresis in the proportion that the rule has
            pairs = zip(on.tolist(), off.tolist(), strict=True)
            scaled = [(high, low) if high == NEVER else (threshold, threshold * low / high) for high, low in pairs]
            return self._detections(joined, scaled, times)

        result = score_stream(
            self.known.events,
            self._own(names),
            points,
            names,
            self.known.length_s,
            collar_s,
            slack_s,
            self.known.clip,
        )
        return replace(result, metrics=result.metrics | self._over_places(result.alarms.raised, slack_s))

    def _over_places(self, raised: Alarms, slack_s: float) -> dict[str, float]:
        """The interval of the alarms on background, over places."""
        places, known = self.known.places, self.known
        hours = places.hours(known.events, known.length_s, slack_s)
        span = places.interval(raised.recording, raised.time_s - self.detector.patch_s / 2, hours)
        keys = ("background_over_places/low", "background_over_places/high")
        return dict(zip(keys, span, strict=True)) if span else {}

    def _own(self, names: Sequence[str]) -> Detections:
        """What the rule detects."""
        streams = self.heard.events(self.detector)
        rows = [(number, event) for number, (_, events) in enumerate(streams) for event in events]
        found = [(number, names.index(each.label), each.onset_s, each.offset_s) for number, each in rows]
        alarms = [(number, names.index(each.label), alarm) for number, each in rows for alarm in each.alarms_s]
        return _as_detections(found, alarms)

    def _detections(self, joined: Joined, pairs: list[tuple[float, float]], times: RuleDecisions) -> Detections:
        events: list[tuple[int, int, float, float]] = []
        alarms: list[tuple[int, int, float]] = []
        number, start_s = joined.recording.tolist(), joined.start_s.tolist()
        for target, (on, off) in enumerate(pairs):
            for first, last, raised in joined.events(target, on, off, times):
                events.append((number[first], target, *self.detector.span(start_s[first], start_s[last])))
                alarms += [(number[one], target, start_s[one] + self.detector.patch_s) for one in raised]
        return _as_detections(events, alarms)


def _as_detections(events: list[tuple[int, int, float, float]], alarms: list[tuple[int, int, float]]) -> Detections:
    """Of events (recording, class, onset, offset) and alarms (recording, class, time)."""
    columns = list(zip(*events, strict=True)) or [()] * 4
    numbers, targets, times_s = list(zip(*alarms, strict=True)) or [()] * 3
    raised_at = Alarms(np.array(numbers, np.int64), np.array(targets, np.int64), np.array(times_s, np.float64))
    return EventList.of(*columns), raised_at
