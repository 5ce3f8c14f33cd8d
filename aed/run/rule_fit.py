"""The rule of a model's card chosen on validation streams within a budget of alarms, and tested once on others."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from math import floor
from pathlib import Path

from aed.audio.recordings import check_output
from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card, save_model
from aed.inference.detection import Detector
from aed.inference.files import find_files
from aed.run.annotated import Annotated, hear, read_truth
from aed.run.stream_report import candidates_table, elsewhere_text, never_open, thresholds_text, verdict
from aed.run.stream_scores import Scored, score_programs
from aed.scoring.events.alarms import background_hours
from aed.scoring.events.family import QUARTERS, Choice, Option, Shape, best_choices, least_budget, shapes
from aed.scoring.events.fitting import Fitted, best_rule
from aed.scoring.tables import write_rows

log = logging.getLogger(__name__)

BEYOND = 5
"""Candidates are shown up to so many times the budget."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Settings of ``action=fit``: which rules are tried, what they may cost, and on what the chosen one is tested.

    Args:
        alarms_per_hour: Budget: alarms an hour where nothing is, over all classes together.
        most_confused: Further budget: alarms in the time of events of other classes, for 100 events; null: none.
        windows: Values of rule.window to try.
        off_shares: Values of rule.off to try, as shares of rule.on.
        hold_offs_s: Values of rule.hold_off_s to try.
        candidates: CSV file for the best rule of each shape and number of alarms.
        test_files: Recordings to test the chosen rule on, once: a folder, file or glob; null: none.
        test_reference: What occurs in them.
        test_ambient: Recordings of the test without events: a folder, file or glob.
    """

    alarms_per_hour: float | None = None
    most_confused: float | None = None
    windows: tuple[int, ...] = (1, 2, 3)
    off_shares: tuple[float, ...] = (0.6, 1.0)
    hold_offs_s: tuple[float, ...] = (0.0, 3.0)
    candidates: str | None = None
    test_files: str | None = None
    test_reference: str | None = None
    test_ambient: str | None = None

    def check(self) -> None:
        """Refuses values out of their range.

        Raises:
            AedError: Names the key.
        """
        if self.alarms_per_hour is None or not self.alarms_per_hour > 0:
            raise AedError(f"alarms_per_hour: action=fit needs a budget over 0, got {self.alarms_per_hour}")
        if self.most_confused is not None and not self.most_confused >= 0:
            raise AedError(f"most_confused: need 0 or more alarms for 100 events, got {self.most_confused}")
        shapes(self.windows, self.off_shares, self.hold_offs_s)

    def test_streams(self, others: "Streams") -> "Streams | None":
        """The recordings of the test, which are none of ``others``.

        Raises:
            AedError: Names the key.
        """
        if self.test_files is None:
            if self.test_reference or self.test_ambient:
                raise AedError("test_files: give recordings to test on, or leave test_reference and test_ambient out")
            return None
        if self.test_reference is None:
            raise AedError("test_reference: say what occurs in test_files")
        parts = find_files([self.test_files]), find_files([self.test_ambient]) if self.test_ambient else []
        known = {Path(name).resolve() for name in (*others.names, *others.ambient)}
        if both := [name for part in parts for name in part if Path(name).resolve() in known]:
            raise AedError(f"test_files: {both[0]} is a validation recording, too; test on others")
        return Streams(*parts, self.test_reference, "test_reference")

    def refuse(self) -> None:
        """Refuses settings that nothing would read.

        Raises:
            AedError: Names the first.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if (tuple(value) if isinstance(value, list) else value) != item.default:
                raise AedError(f"{item.name}: only action=fit reads it; leave it out, or add action=fit")


@dataclass(frozen=True)
class Streams:
    """Recordings for one purpose.

    Args:
        names: With events or without, as the reference says.
        ambient: Without events.
        reference: What occurs.
        key: That names the reference on the command line.
    """

    names: Sequence[str]
    ambient: Sequence[str]
    reference: str
    key: str = "reference"

    def heard(self, detector: Detector, strict: bool) -> Annotated:
        """What the detector's model hears in them, beside what occurs."""
        truth = read_truth(self.reference, self.names, self.ambient, detector.names, self.key)
        return Annotated(detector, hear(truth.names, detector.decisions, strict), truth)


def choose_rule(streams: Annotated, config: FitConfig, slack_s: float) -> Fitted:
    """The rule of the family that finds most of the events within the budget.

    Args:
        streams: Validation.
        config: Family and budget.
        slack_s: Time after an event in which an alarm still finds it.

    Raises:
        AedError: The streams cannot show the budget, or no rule meets it.
    """
    assert config.alarms_per_hour is not None
    budget, known, base = config.alarms_per_hour, streams.known, streams.detector.rule
    hours, events = background_hours(known.events, known.length_s, slack_s), len(known.events)
    if not events:
        raise AedError("reference: names no event, so nothing can be found; give recordings with events")
    check_budget(budget, hours, int(known.sections.sum()))
    confused = None if config.most_confused is None else floor(config.most_confused * events / 100 + 1e-9)
    family = shapes(config.windows, config.off_shares, config.hold_offs_s)
    fitted = best_rule(streams.labelled, family, base, budget, slack_s, confused, BEYOND)
    if not fitted.choice.found and fitted.best_within.found:
        raise AedError(
            f"alarms_per_hour={budget:g}: every rule with so few raises more in places that it is chosen without, "
            "recordings or those that a backgrounds.csv beside them names; give more different ones, or ask for more"
        )
    if not fitted.choice.found:
        raise AedError(_nearest(streams.labelled.search(family, base, slack_s), budget, hours, events, confused))
    return fitted


FOR_RECORDINGS = (
    "(recordings, or those that a sections.csv beside them lists); add ambient=<recordings without events>, or"
)
"""What a section is, and how there are more of them."""


def check_budget(
    budget: float, hours: float, sections: int, asked: str | None = None, advice: str = FOR_RECORDINGS
) -> None:
    """Refuses a budget that the background of validation streams cannot show.

    Args:
        budget: Alarms an hour.
        hours: Of background.
        sections: Independent pieces of it.
        asked: What names the budget; None: ``alarms_per_hour``.
        advice: How more can be shown.

    Raises:
        AedError: Says why, and the least that it could show.
    """
    if budget < (least := least_budget(hours, sections)) * (1 - 1e-9):
        raise AedError(
            f"{asked or f'alarms_per_hour={budget:g}'}: cannot be shown by {hours:.3g} h without events in {sections} "
            f"independent sections; it needs {3 / budget:.3g} h and {60 / budget:.3g} sections {advice} ask for "
            f"{least:.3g} or more"
        )


def _nearest(
    options: Mapping[Shape, list[list[Option]]], budget: float, hours: float, events: int, confused: int | None
) -> str:
    """Says which budget would be met, where none is."""
    text = f"alarms_per_hour={budget:g}: no rule finds an event with so few"
    finding = [one for own in options.values() for row in own for one in row if one.found]
    if confused is not None:
        finding = [one for one in finding if one.confused <= confused]
    if not finding:
        return f"{text}, and none with more; is it the right model, and the right reference?"
    least = min(one.cost for one in finding)
    nearest = max((best_choices(own, least, confused)[least] for own in options.values()), key=lambda each: each.rank)
    return (
        f"{text}; the nearest has {least / QUARTERS / hours:.3g} an hour and finds {nearest.found} of {events} events"
    )


class RuleFit:
    """A fit of a rule: what is typed is checked when it is made, before anything is computed.

    Args:
        model: ``.onnx``.
        output: For its copy.
        streams: Validation.
        config: Family, budget and test.
        collar_s: Of onsets and offsets.
        slack_s: Time after an event in which an alarm still finds it.
        strict: Stop at the first recording that cannot be used.

    Raises:
        AedError: Names the key.
    """

    def __init__(
        self,
        model: str,
        output: str | None,
        streams: Streams,
        config: FitConfig,
        collar_s: float,
        slack_s: float,
        strict: bool,
    ) -> None:
        config.check()
        if Path(model).suffix != ".onnx" or output is None or Path(output).suffix != ".onnx":
            raise AedError(
                "output: action=fit writes a copy of an .onnx, the rule in its card; give output=fitted.onnx"
            )
        if Path(output).exists() and Path(output).samefile(model):
            raise AedError(f"output: {output} is the model that is read; name another file")
        if config.candidates is not None:
            check_output("candidates", Path(config.candidates), [*streams.names, *streams.ambient, streams.reference])
        self.model, self.output, self.streams, self.config = Path(model), Path(output), streams, config
        self.collar_s, self.slack_s, self.strict = collar_s, slack_s, strict
        self.test = config.test_streams(streams)

    def run(self, detector: Detector, det: Path | None) -> Scored:
        """Chooses a rule, writes it into a copy of the model, tests it; returns the scores of the last streams.

        Args:
            detector: Of the model; its rule says what the family does not.
            det: PNG for all candidates.

        Raises:
            AedError: As :func:`choose_rule`; or a recording cannot be used.
        """
        graph = load_model(self.model)
        card = read_model_card(graph, self.model)
        validation = self.streams.heard(detector, self.strict)
        if wrong := never_open(detector, validation.heard.duty(detector)):
            raise AedError(f"{wrong}; nothing can be found")
        fitted = choose_rule(validation, self.config, self.slack_s)
        console = PlainConsole()
        self._report(console, fitted, detector.names, det)
        chosen = Detector(detector.predictor.classifier, fitted.rule)
        scored = self._scored(chosen, validation)
        scored.show(console, "validation")
        save_model(self.output, graph, replace(card, rule=fitted.rule))
        log.info("%s: %s with the rule", self.output, self.model.name)
        if self.test is not None:
            scored = self._scored(chosen, self.test.heard(chosen, self.strict))
            scored.show(console, "test")
            console.print(verdict(scored.result, fitted.budget))
        return scored

    def _scored(self, detector: Detector, streams: Annotated) -> Scored:
        return score_programs(detector, {"runtime": streams.heard}, streams.truth, self.collar_s, self.slack_s)

    def _report(self, console: PlainConsole, fitted: Fitted, names: Sequence[str], det: Path | None) -> None:
        """Prints, writes and draws all candidates."""
        within = {shape: choices[fitted.spent] for shape, choices in fitted.best.items()}
        console.print(candidates_table(within, fitted.shape, fitted.events, fitted.hours, fitted.budget))
        if fitted.elsewhere is not None:
            console.print(elsewhere_text(fitted))
        console.print(f"thresholds: {thresholds_text(fitted.choice, names)}")
        if self.config.candidates is not None:
            write_rows(Path(self.config.candidates), *_candidate_rows(fitted, names))
        if det is not None:
            _draw(det, fitted)


def _candidate_rows(fitted: Fitted, names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Header, and a row for each shape and number of alarms at which more is found than with fewer."""
    header = ["window", "off_share", "hold_off_s", "background_per_hour", "expected_per_hour"]
    header += ["miss_rate", "confused_per_100_events"]
    rows = []
    for shape, choices in fitted.best.items():
        for choice in _steps(choices):
            alarms = (choice.background / fitted.hours, choice.expected / fitted.hours)
            numbers = (*shape, *alarms, 1 - choice.found / fitted.events, 100 * choice.confused / fitted.events)
            thresholds = ["" if own.threshold is None else repr(own.threshold) for own in choice.options]
            rows.append([*(f"{number:.6g}" for number in numbers), *thresholds])
    return header + [f"on/{name}" for name in names], rows


def _steps(choices: Sequence[Choice]) -> list[Choice]:
    """The choices that find more than those of fewer alarms."""
    before = [-1, *(choice.found for choice in choices)]
    return [choice for choice, less in zip(choices, before, strict=False) if choice.found > less]


def _draw(path: Path, fitted: Fitted) -> None:
    from aed.scoring.pictures.tradeoff import plot_candidates  # Matplotlib: only where something is drawn

    def point(choice: Choice) -> tuple[float, float]:
        return choice.expected / fitted.hours, 1 - choice.found / fitted.events

    lines = {
        f"window {shape.window}, off {shape.off_share:g}, hold-off {shape.hold_off_s:g} s": list(map(point, choices))
        for shape, choices in fitted.best.items()
    }
    plot_candidates(path, lines, point(fitted.choice), fitted.budget)
