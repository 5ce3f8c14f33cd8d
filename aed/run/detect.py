"""Events in recordings by a model's event rule; beside references, how many are found, and false alarms an hour."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import isnan
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from rich.table import Table

from aed.audio.audio_file import STDIN
from aed.audio.recordings import check_output
from aed.base.console import PlainConsole
from aed.base.errors import AedError, AudioError, in_brief_list
from aed.base.files import write_whole
from aed.dsp.frontend import FrontendConfig
from aed.inference.detection import DetectedEvent, Detector, rule_of
from aed.inference.event_writers import OF_ONE_RECORDING, WRITERS, write_csv_head
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.cutting import check_cut, cut_alarms
from aed.scoring.events.alarms import Alarms
from aed.scoring.events.lists import EventList
from aed.scoring.events.stream import Detections, StreamScores, score_stream
from aed.scoring.rule import NEVER, EventRule, events_of_class

log = logging.getLogger(__name__)

Form = Literal["table", "csv", "json", "dcase", "audacity", "raven", "label_studio"]


@dataclass(frozen=True, kw_only=True)
class RuleChanges:
    """What differs from the event rule of the model card; null: nothing does.

    Args:
        on: Smoothed posterior with which a class is on: one for all classes, or one per class.
        off: Under it a class is off again.
        smoothing: ``mean`` of the last ``window`` decisions, or ``exponential``.
        window: Decisions, 1 to 64.
        weight: Of the newest decision, for ``exponential``.
        shortest_s: Time that a class has to be on.
        gap_s: Time that an event may be off without an end.
        hold_off_s: Time after an alarm in which no event of the class begins.
        repeat_s: Time after which an event that lasts raises another alarm.
    """

    on: list[float] | None = None
    off: list[float] | None = None
    smoothing: Literal["mean", "exponential"] | None = None
    window: int | None = None
    weight: float | None = None
    shortest_s: float | None = None
    gap_s: float | None = None
    hold_off_s: float | None = None
    repeat_s: float | None = None

    def apply(self, rule: EventRule) -> EventRule:
        """The rule with the changes; a new ``on`` without ``off`` also resets that.

        Raises:
            AedError: They do not fit each other.
        """
        changes = {item.name: getattr(self, item.name) for item in fields(self)}
        known: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in changes.items()
            if value is not None
        }
        if "on" in known:
            known.setdefault("off", ())
        return replace(rule, **known)


def detect_files(
    model_file: str,
    files: list[str],
    frontend: FrontendConfig | None = None,
    class_names: list[str] | None = None,
    rule: RuleChanges = RuleChanges(),
    reference: str | None = None,
    collar_s: float = 0.2,
    slack_s: float = 2.0,
    format: Form = "table",
    output: str | None = None,
    scores: str | None = None,
    cut: str | None = None,
    strict: bool = False,
    threads: int = 0,
    net_class: str | None = None,
) -> None:
    """Prints, or writes, the events in recordings, and their scores beside references.

    Args:
        model_file: ``.ckpt`` or ``.onnx``; ``yamnet_audioset``: Google's YAMNet, which knows 521 classes of AudioSet.
        files: Recordings, folders (recursive), globs; ``-``: wav, ogg or au on standard input.
        frontend: Front end of an ``.onnx`` without a model card.
        class_names: Classes of an ``.onnx`` without a model card, in the order of its outputs.
        rule: What differs from the card's event rule.
        reference: What occurs: a list that names the recordings (csv, tsv, Raven, BirdNET), Audacity's labels of one,
            or a folder with a file for each; null: no scores.
        collar_s: How far onsets and offsets may lie from the reference's, for event scores, s.
        slack_s: Time after an event in which an alarm still finds it, s.
        format: Form of the events.
        output: File to write instead of printing; of a form that cannot name recordings a folder, with a file for each.
        scores: JSON file for all scores and the curve of alarms against misses.
        cut: New folder for the sound of each alarm, beside a reference of each false one, as wav files with a second
            around it; ``data.negatives`` trains on them.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: Class of your own net, for its ``.ckpt``: ``my_pkg.MyNet``.

    Raises:
        AedError: The model, the rule, the reference or, with ``strict``, a recording cannot be used; or none can.
    """
    if format not in WRITERS:
        raise AedError(f"format: need one of {sorted(WRITERS)}, got {format!r}")
    names = find_files(files)
    _check_outputs(names, model_file, format, output, scores, reference)
    if cut is not None:
        check_cut(Path(cut), names)
    own_names = tuple(class_names) if class_names else None
    classifier = open_classifier(Path(model_file), frontend, own_names, threads, net_class)
    detector = Detector(classifier, rule.apply(rule_of(classifier.card)))
    write, ending = WRITERS[format]
    follow = write_csv_head(sys.stdout) if output is None and format == "csv" else None
    found = _scored(detector, names, Path(reference), strict) if reference else None
    streams = found.streams if found else _detected(detector, names, strict, follow)
    if follow is not None:
        for name, events in streams if found else ():
            for event in events:
                follow(name, event)
    elif output is None:
        sys.stdout.write(write(streams))
    elif format in OF_ONE_RECORDING and len(names) > 1:
        Path(output).mkdir(parents=True, exist_ok=True)
        for name, events in streams:
            _write(Path(output) / f"{Path(name).stem}{ending}", write([(name, events)]))
    else:
        _write(Path(output), write(streams))
    if cut is not None:
        cut_alarms(Path(cut), streams, detector, found.reference if found else None, slack_s)
    if found is not None:
        result = found.scores(detector, collar_s, slack_s)
        console = PlainConsole(stderr=output is None)
        console.print(_summary(result, detector.names))
        console.print(_headline(result))
        if scores is not None:
            curve = [{key: None if isnan(value) else value for key, value in row.items()} for row in result.curve]
            content = {"rule": asdict(detector.rule), "metrics": result.metrics, "curve": curve}
            _write(Path(scores), json.dumps(content, indent=1) + "\n")


def _check_outputs(
    names: Sequence[str], model: str, format: Form, output: str | None, scores: str | None, reference: str | None
) -> None:
    """Refuses outputs that cannot be written, before anything is computed.

    Raises:
        AedError: Says which key.
    """
    if scores is not None and reference is None:
        raise AedError("scores: need reference=<what occurs in the recordings>")
    if reference is not None and not Path(reference).exists():
        raise AedError(f"reference: {reference}: no such file or folder")
    if reference is not None and STDIN in names:
        raise AedError("reference: needs recordings, not standard input")
    if format in OF_ONE_RECORDING and len(names) > 1:
        stems = [Path(name).stem for name in names]
        if output is None:
            raise AedError(f"format={format}: a file for each of {len(names)} recordings; give output=<folder>")
        if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise AedError(f"format={format}: two recordings are called {twice[0]}; detect them one after the other")
    for key, place in (("output", output), ("scores", scores)):
        if place is not None and not (key == "output" and format in OF_ONE_RECORDING and len(names) > 1):
            check_output(key, Path(place), [*names, model, *([reference] if reference else [])])


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def _detected(
    detector: Detector, names: Sequence[str], strict: bool, follow: Callable[[str, DetectedEvent], None] | None
) -> list[tuple[str, list[DetectedEvent]]]:
    """The events of each recording that can be used; ``follow`` gets each event as soon as it has ended."""
    streams: list[tuple[str, list[DetectedEvent]]] = []
    for name in names:
        events: list[DetectedEvent] = []
        try:
            for event in detector.events(name):
                events.append(event)
                if follow is not None:
                    follow(name, event)
            streams.append((name, events))
        except AudioError as error:
            if strict:
                raise
            log.warning("left out: %s", error)
    if not streams:
        raise AedError("files: no recording could be used")
    if len(streams) < len(names):
        log.warning("%d of %d recordings could not be used", len(names) - len(streams), len(names))
    return streams


@dataclass(frozen=True)
class _Scored:
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


def _scored(detector: Detector, names: Sequence[str], reference: Path, strict: bool) -> _Scored:
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
    return _Scored(streams, posteriors, starts, listed, np.array([lengths[number] for number in used]))


def _summary(result: StreamScores, names: Sequence[str]) -> Table:
    """Each class, and all of them."""
    table, counted = Table(), result.alarms
    heads = ("class", "events", "found", "recall", "again", "confused", "background", "false/h")
    for head in heads:
        table.add_column(head, justify="left" if head == "class" else "right")
    wrong = counted.confused.sum(axis=1)
    columns = (counted.references, counted.found, counted.duplicates, wrong, counted.background)
    for row, name in enumerate([*names, "all"]):
        own = slice(None) if row == len(names) else slice(row, row + 1)
        events, found, twice, confused, background = (int(part[own].sum()) for part in columns)
        recall = f"{found / events:.3f}" if events else "-"
        rate = f"{(confused + background) / counted.hours:.2f}"
        table.add_row(name, str(events), str(found), recall, str(twice), str(confused), str(background), rate)
    return table


def _headline(result: StreamScores) -> str:
    metrics = result.metrics
    parts = [f"{metrics['hours']:.3g} h"]
    high = metrics["background_per_hour/high"]
    parts.append(f"background alarms an hour {metrics['background_per_hour']:.2f} (95 %: up to {high:.2f})")
    for key, text in (
        ("delay_s/median", "alarm after {:.1f} s"),
        ("onset_f1", "onset F1 {:.3f}"),
        ("segment_f1", "segment F1 {:.3f}"),
        ("psds1", "PSDS1 {:.3f}"),
    ):
        if key in metrics:
            parts.append(text.format(metrics[key]))
    return "; ".join(parts)
