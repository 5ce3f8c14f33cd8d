"""Events in recordings by a model's event rule; beside references, how many are found, and false alarms an hour."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from math import isnan
from pathlib import Path
from typing import Literal

from aed.audio.audio_file import STDIN
from aed.audio.recordings import check_output
from aed.base.console import PlainConsole
from aed.base.errors import AedError, AudioError
from aed.base.files import write_whole
from aed.dsp.frontend import FrontendConfig
from aed.inference.detection import DetectedEvent, Detector, rule_of
from aed.inference.event_writers import OF_ONE_RECORDING, WRITERS, write_csv_head
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.annotated import read_annotated
from aed.run.rule_changes import RuleChanges
from aed.run.stream_report import headline, summary

log = logging.getLogger(__name__)

Form = Literal["table", "csv", "json", "dcase", "audacity", "raven", "label_studio"]


def detect_files(
    model_file: str,
    files: list[str],
    frontend: FrontendConfig | None = None,
    class_names: list[str] | None = None,
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    reference: str | None = None,
    collar_s: float = 0.2,
    slack_s: float = 2.0,
    format: Form = "table",
    output: str | None = None,
    scores: str | None = None,
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
    own_names = tuple(class_names) if class_names else None
    classifier = open_classifier(Path(model_file), frontend, own_names, threads, net_class)
    detector = Detector(classifier, rule.apply(rule_of(classifier.card)))
    write, ending = WRITERS[format]
    follow = write_csv_head(sys.stdout) if output is None and format == "csv" else None
    found = read_annotated(detector, names, Path(reference), strict) if reference else None
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
    if found is not None:
        result = found.scores(detector, collar_s, slack_s)
        console = PlainConsole(stderr=output is None)
        console.print(summary(result, detector.names))
        console.print(headline(result))
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
