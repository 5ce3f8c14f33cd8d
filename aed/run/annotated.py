"""Recordings beside what occurs in them: their posteriors, and the scores of a rule."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError, AudioError, in_brief_list
from aed.inference.detection import DetectedEvent, Detector
from aed.scoring.events.alarms import Alarms
from aed.scoring.events.lists import EventList
from aed.scoring.events.stream import Detections, StreamScores, score_stream
from aed.scoring.rule import NEVER, events_of_class

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Annotated:
    """Recordings with posteriors, and what occurs in them.

    Args:
        streams: Recordings and their events by the rule.
        posteriors: ``(decisions, classes)`` of each recording.
        starts: When each of its patches starts, s.
        reference: What occurs.
        length_s: Of each recording.
    """

    streams: list[tuple[str, list[DetectedEvent]]]
    posteriors: list[npt.NDArray[np.float32]]
    starts: list[npt.NDArray[np.float64]]
    reference: EventList
    length_s: npt.NDArray[np.float64]

    def scores(self, detector: Detector, collar_s: float, slack_s: float) -> StreamScores:
        """All scores of the rule, and the curve over its threshold."""
        smooth = [detector.state().smoothed(rows) for rows in self.posteriors]
        on, off = detector.rule.thresholds(len(detector.names))

        def points(threshold: float) -> Detections:
            # hysteresis in the proportion that the rule has
            pairs = zip(on.tolist(), off.tolist(), strict=True)
            scaled = [(high, low) if high == NEVER else (threshold, threshold * low / high) for high, low in pairs]
            return self._detections(detector, smooth, scaled)

        return score_stream(
            self.reference, self._own(detector.names), points, detector.names, self.length_s, collar_s, slack_s
        )

    def _own(self, names: Sequence[str]) -> Detections:
        """What the rule detects: the events of the streams."""
        rows = [(number, event) for number, (_, events) in enumerate(self.streams) for event in events]
        found = [(number, names.index(each.label), each.onset_s, each.offset_s) for number, each in rows]
        alarms = [(number, names.index(each.label), alarm) for number, each in rows for alarm in each.alarms_s]
        return _as_detections(found, alarms)

    def _detections(
        self, detector: Detector, smooth: list[npt.NDArray[np.float32]], pairs: list[tuple[float, float]]
    ) -> Detections:
        times = detector.rule.decisions(detector.hop_s)
        events: list[tuple[int, int, float, float]] = []
        alarms: list[tuple[int, int, float]] = []
        for number, (rows, starts) in enumerate(zip(smooth, self.starts, strict=True)):
            for target, (on, off) in enumerate(pairs):
                for first, last, raised in events_of_class(rows[:, target], on, off, times):
                    onset, offset = detector.span(starts[first], starts[last])
                    events.append((number, target, onset, offset))
                    alarms += [(number, target, starts[decision] + detector.patch_s) for decision in raised]
        return _as_detections(events, alarms)


def _as_detections(events: list[tuple[int, int, float, float]], alarms: list[tuple[int, int, float]]) -> Detections:
    """Of events (recording, class, onset, offset) and alarms (recording, class, time)."""
    columns = list(zip(*events, strict=True)) or [()] * 4
    numbers, targets, times_s = list(zip(*alarms, strict=True)) or [()] * 3
    raised_at = Alarms(np.array(numbers, np.int64), np.array(targets, np.int64), np.array(times_s, np.float64))
    return EventList.of(*columns), raised_at


def read_annotated(detector: Detector, names: Sequence[str], reference: Path, strict: bool) -> Annotated:
    """Reads the reference, then the recordings.

    Raises:
        AedError: They do not fit, or a class of the reference is none of the model's.
    """
    from aed.datamodules.health.annotations import file_length  # pandas: only where there is a reference
    from aed.datamodules.sources.annotations import read_reference

    paths = [Path(name) for name in names]
    lengths = [file_length(path) for path in paths]
    events = read_reference(reference, paths, lengths)
    known = {name: index for index, name in enumerate(detector.names)}
    if unknown := sorted(set(events["label"]) - set(known)):
        raise AedError(
            f"{reference}: {unknown[0]} is none of the model's classes: {in_brief_list(detector.names)}; rename it, or "
            "leave its events out if they are background for this model"
        )
    streams, posteriors, starts, used = [], [], [], []
    for number, name in enumerate(names):
        try:
            rows, times = detector.posteriors(name)
        except AudioError as error:
            if strict:
                raise
            log.warning("left out, with its reference: %s", error)
            continue
        used.append(number)
        posteriors.append(rows)
        starts.append(times)
        streams.append((name, detector.events_of(rows, times)))
    if not used:
        raise AedError("files: no recording could be used")
    place = {paths[number]: position for position, number in enumerate(used)}
    own = events[events["path"].isin(place)]
    listed = EventList.of(
        [place[path] for path in own["path"]], own["label"].map(known), own["onset_s"], own["offset_s"]
    )
    return Annotated(streams, posteriors, starts, listed, np.array([lengths[number] for number in used]))
