"""Events in recordings by a model's event rule; beside references, how many are found, and false alarms an hour."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aed.audio.audio_file import STDIN
from aed.audio.recordings import check_output
from aed.base.console import PlainConsole
from aed.base.errors import AedError, AudioError
from aed.base.files import write_whole
from aed.dsp.frontend import FrontendConfig
from aed.inference.classifier import Classifier
from aed.inference.detection import DetectedEvent, Detector, rule_of
from aed.inference.event_writers import OF_ONE_RECORDING, WRITERS, write_csv_head
from aed.inference.files import find_files
from aed.inference.opening import open_classifier
from aed.run.annotated import Program, hear, read_truth
from aed.run.cutting import check_cut, cut_alarms
from aed.run.rule_changes import RuleChanges
from aed.run.rule_fit import FitConfig, RuleFit, Streams
from aed.run.stream_record import Record, check_results, write_results
from aed.run.stream_report import duty_text, never_open
from aed.run.stream_scores import check_programs, score_programs
from aed.scoring.duty import Duty
from aed.scoring.rule import EventRule
from aed.target.boards import load_board

if TYPE_CHECKING:
    from aed.target.load import Load

log = logging.getLogger(__name__)

EMULATED = "mps2-an505"
"""Board that on=emulator emulates where none is named."""

Form = Literal["table", "csv", "json", "dcase", "audacity", "raven", "label_studio"]


def detect_files(
    model_file: str,
    files: list[str],
    frontend: FrontendConfig | None = None,
    class_names: list[str] | None = None,
    action: Literal["detect", "fit"] = "detect",
    rule: RuleChanges = RuleChanges(),  # noqa: B008 - frozen
    reference: str | None = None,
    ambient: str | None = None,
    collar_s: float = 0.2,
    slack_s: float = 2.0,
    format: Form = "table",
    output: str | None = None,
    scores: str | None = None,
    det: str | None = None,
    on: Literal["runtime", "c", "emulator"] = "runtime",
    board: str | None = None,
    cut: str | None = None,
    results: str | None = None,
    strict: bool = False,
    threads: int = 0,
    net_class: str | None = None,
    config: FitConfig = FitConfig(),  # noqa: B008 - frozen
) -> None:
    """Prints, or writes, the events in recordings, and their scores beside references; or fits the rule.

    Args:
        model_file: ``.ckpt`` or ``.onnx``; ``yamnet_audioset``: Google's YAMNet, which knows 521 classes of AudioSet;
            ``mn04_audioset``: EfficientAT's mn04, 527 classes, of 5 s of sound every 2.5 s;
            ``zoo/esc10_200k``: a shipped model, ``aed models`` lists them.
        files: Recordings, folders (recursive), globs; ``-``: wav, ogg or au on standard input.
        frontend: Front end of an ``.onnx`` without a model card.
        class_names: Classes of an ``.onnx`` without a model card, in the order of its outputs.
        action: ``detect``: events, and scores where there is a reference. ``fit``: choose the rule on these recordings
            and write it into a copy of the model.
        rule: What differs from the card's event rule.
        reference: What occurs: a list that names the recordings (csv, tsv, Raven, BirdNET), Audacity's labels of one,
            or a folder with a file for each; null: no scores.
        ambient: Further recordings, in which nothing occurs, to count alarms in: a folder, file or glob.
        collar_s: How far onsets and offsets may lie from the reference's, for event scores, s.
        slack_s: Time after an event in which an alarm still finds it, s.
        format: Form of the events.
        output: File to write instead of printing; of a form that cannot name recordings a folder, with a file for each.
            With action=fit: the copy of the model.
        scores: JSON file for all scores and the curve of misses against alarms.
        det: PNG file for that curve, of each class; with action=fit for all rules to choose from.
        on: What hears: ``runtime``: the model's file. ``c``: its C code, compiled for this machine; int8 ``.onnx``
            only. ``emulator``: the same C on an emulated board. With a reference the scores of each stand side by side.
        board: A file in ``configs/boards``: whose core's load is estimated, if it has a clock, and what on=emulator
            emulates; null: no load, and mps2-an505.
        cut: New folder for the sound of each alarm, beside a reference of each false one, as wav files with a second
            around it; ``data.negatives`` trains on them.
        results: New folder for ``streams.json``: events, what occurs, scores, and false alarms with the posteriors
            around them; ``aed report`` makes a page of the folder.
        strict: Stop at the first recording that cannot be used, instead of reporting it and going on.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: Class of your own net, for its ``.ckpt``: ``my_pkg.MyNet``.
        config: Of action=fit.

    Raises:
        AedError: The model, the rule, the reference or, with ``strict``, a recording cannot be used; or none can.
    """
    if format not in WRITERS:
        raise AedError(f"format: need one of {sorted(WRITERS)}, got {format!r}")
    names, quiet = find_files(files), find_files([ambient]) if ambient else []
    inputs = [*names, *quiet, model_file, *([reference] if reference else [])]
    _check_scores(names, inputs, reference, {"ambient": ambient, "scores": scores, "det": det})
    own_names = tuple(class_names) if class_names else None
    opened = partial(open_classifier, Path(model_file), frontend, own_names, threads, net_class)
    subject = f"{Path(model_file).name} on {Path(files[0]).name}"
    if action == "fit":
        if reference is None or on != "runtime":
            raise AedError("action=fit: needs reference=<what occurs>, and the model's file alone, on=runtime")
        for key, folder in (("cut", cut), ("results", results)):
            if folder is not None:
                raise AedError(f"{key}: not of action=fit; leave it out, and detect with the fitted model")
        fit = RuleFit(model_file, output, Streams(names, quiet, reference), config, collar_s, slack_s, strict)
        classifier = opened()
        scored = fit.run(Detector(classifier, rule.apply(rule_of(classifier.card))), Path(det) if det else None)
        if scores is not None:
            scored.write(Path(scores))
        return
    config.refuse()
    _check_outputs([*names, *quiet], inputs, format, output)
    if cut is not None:
        check_cut(Path(cut), names)
    if results is not None:
        check_results(Path(results), names)
    classifier = opened()
    load = None if board is None else _load(classifier, board, on)
    with _programs(classifier, rule.apply(rule_of(classifier.card)), on, board or EMULATED) as (detector, programs):
        duty = Duty(detector.hop_s)
        truth = read_truth(reference, names, quiet, detector.names) if reference else None
        follow = write_csv_head(sys.stdout) if output is None and format == "csv" else None
        if truth is None and on == "runtime" and results is None:
            streams = _detected(detector, names, strict, follow, duty)
        else:
            heard = {name: hear([*names, *quiet], own, strict) for name, own in programs.items()}
            check_programs(heard)
            streams, duty = heard[on].events(detector), heard[on].duty(detector)
            if follow is not None:
                for name, events in streams:
                    for event in events:
                        follow(name, event)
    if wrong := never_open(detector, duty):
        log.warning("%s", wrong)
    if follow is None:
        _put(streams, format, output, len(names) + len(quiet) > 1)
    if cut is not None:
        occurs = truth.of(heard[on].used).events if truth else None
        cut_alarms(Path(cut), streams, detector, occurs, slack_s)
    judged = score_programs(detector, heard, truth, collar_s, slack_s, load) if truth is not None else None
    if results is not None:
        write_results(Path(results), Record(model_file, on, detector, heard[on], truth, judged, slack_s))
    if judged is not None:
        judged.show(PlainConsole(stderr=output is None))
        if scores is not None:
            judged.write(Path(scores))
        if det is not None:
            judged.draw(Path(det), subject)
    else:
        log.info("%s", duty_text(detector, duty, load))


@contextmanager
def _programs(
    classifier: Classifier, rule: EventRule, on: str, board: str
) -> Iterator[tuple[Detector, dict[str, Program]]]:
    """The detector, and what hears as it does, up to the program that is asked for."""
    if on == "runtime":
        detector = Detector(classifier, rule)
        yield detector, {on: detector.decisions}
        return
    from aed.run.stream_programs import c_programs  # compilers and torch: only for C

    with c_programs(classifier, rule, board if on == "emulator" else None) as own:
        yield own


def _load(classifier: Classifier, board: str, on: str) -> "Load | None":
    from aed.run.core_load import core_load  # the C's generator: only where a board is named
    from aed.target.load import no_estimate

    if on == "emulator" and no_estimate(load_board(board)):  # named to be emulated
        return None
    return core_load(classifier, board)


def _put(streams: Sequence[tuple[str, list[DetectedEvent]]], format: Form, output: str | None, several: bool) -> None:
    """Prints the events or writes them to ``output``, of several recordings, usable or not, perhaps a folder."""
    write, ending = WRITERS[format]
    if output is None:
        sys.stdout.write(write(streams))
    elif format in OF_ONE_RECORDING and several:
        Path(output).mkdir(parents=True, exist_ok=True)
        for name, events in streams:
            _write(Path(output) / f"{Path(name).stem}{ending}", write([(name, events)]))
    else:
        _write(Path(output), write(streams))


def _check_scores(
    names: Sequence[str], inputs: Sequence[str], reference: str | None, scored: Mapping[str, str | None]
) -> None:
    """Refuses what belongs to scores where there are none, and scores that cannot be written.

    Raises:
        AedError: Says which key.
    """
    for key, place in scored.items():
        if place is not None and reference is None:
            raise AedError(f"{key}: need reference=<what occurs in the recordings>")
        if place is not None and key != "ambient":
            check_output(key, Path(place), inputs)
    if reference is not None and not Path(reference).exists():
        raise AedError(f"reference: {reference}: no such file or folder")
    if reference is not None and STDIN in names:
        raise AedError("reference: needs recordings, not standard input")


def _check_outputs(names: Sequence[str], inputs: Sequence[str], format: Form, output: str | None) -> None:
    """Refuses outputs that cannot be written, before anything is computed.

    Raises:
        AedError: Says which key.
    """
    if format in OF_ONE_RECORDING and len(names) > 1:
        stems = [Path(name).stem for name in names]
        if output is None:
            raise AedError(f"format={format}: a file for each of {len(names)} recordings; give output=<folder>")
        if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
            raise AedError(f"format={format}: two recordings are called {twice[0]}; detect them one after the other")
    elif output is not None:
        check_output("output", Path(output), inputs)


def _write(path: Path, text: str) -> None:
    write_whole(path, lambda file: file.write(text.encode()))


def _detected(
    detector: Detector,
    names: Sequence[str],
    strict: bool,
    follow: Callable[[str, DetectedEvent], None] | None,
    duty: Duty,
) -> list[tuple[str, list[DetectedEvent]]]:
    """The events of each recording that can be used.

    Args:
        detector: Finds them.
        names: The recordings.
        strict: Stop at the first that cannot be used.
        follow: Gets each event as soon as it has ended.
        duty: Counts the decisions.
    """
    streams: list[tuple[str, list[DetectedEvent]]] = []
    for name in names:
        events: list[DetectedEvent] = []
        try:
            for event in detector.events(name, lambda own: duty.add(own.is_open, own.power)):
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
