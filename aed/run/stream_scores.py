"""Scores of what the programs of a model hear in the same recordings: computed, printed, written, drawn."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.inference.detection import Detector
from aed.run.annotated import Annotated, Heard, Truth
from aed.run.stream_report import duty_content, duty_text, headline, programs_table, summary
from aed.scoring.duty import Duty
from aed.scoring.events.stream import StreamScores, tradeoff
from aed.scoring.tables import write_json

if TYPE_CHECKING:
    from aed.target.load import Load


@dataclass(frozen=True)
class Scored:
    """Scores of a rule.

    Args:
        detector: Has the rule.
        results: Of each program; the last is the one that was asked for.
        agreement: Of each program but the first: shares of its decisions and of its events that are those of the first.
        repeated: What the interval of the recall is taken over.
        duty: How often the net of the program that was asked for ran.
        load: Of a core by it; None: no board was named.
    """

    detector: Detector
    results: Mapping[str, StreamScores]
    agreement: Mapping[str, Mapping[str, float]]
    repeated: str
    duty: Duty
    load: "Load | None"

    @property
    def result(self) -> StreamScores:
        """Of the program that was asked for."""
        return list(self.results.values())[-1]

    @property
    def metrics(self) -> dict[str, dict[str, float]]:
        """Of each program."""
        return {name: {**own.metrics, **self.agreement.get(name, {})} for name, own in self.results.items()}

    def show(self, console: PlainConsole, title: str | None = None) -> None:
        """Prints them."""
        console.print(summary(self.result, self.detector.names, title))
        if len(self.results) > 1:
            console.print(programs_table(self.metrics))
        console.print(headline(self.result, self.repeated))
        console.print(duty_text(self.detector, self.duty, self.load))

    def write(self, path: Path) -> None:
        """Writes all of them as JSON."""
        content: dict[str, Any] = {"rule": asdict(self.detector.rule), "metrics": self.result.metrics}
        content["duty"] = duty_content(self.duty, self.load)
        if len(self.results) > 1:
            content["programs"] = self.metrics
        write_json(path, content | {"curve": self.result.curve})

    def draw(self, path: Path, subject: str) -> None:
        """Draws misses against alarms of each class."""
        from aed.scoring.pictures.tradeoff import plot_tradeoff  # Matplotlib: only where something is drawn

        names = self.detector.names
        plot_tradeoff(path, self.result.curve, tradeoff(self.result.alarms, names), names, subject)


def score_programs(
    detector: Detector,
    heard: Mapping[str, Heard],
    truth: Truth,
    collar_s: float,
    slack_s: float,
    load: "Load | None" = None,
) -> Scored:
    """Scores what each program heard.

    Args:
        detector: Has the rule.
        heard: Of each program, in the order of their names here: the model's file, its C, the same C emulated.
        truth: What occurs.
        collar_s: Of onsets and offsets.
        slack_s: Time after an event in which an alarm still finds it.
        load: Of a core; None: no board was named.

    Raises:
        AedError: C hears another number of decisions than the model's file.
    """
    results = {name: Annotated(detector, own, truth).scores(collar_s, slack_s) for name, own in heard.items()}
    first, *others = heard
    agreement = {name: _agreement(detector, heard[first], heard[name]) for name in others}
    duty = list(heard.values())[-1].duty(detector)
    return Scored(detector, results, agreement, truth.repeated, duty, load)


def check_programs(heard: Mapping[str, Heard]) -> None:
    """Refuses C whose gate opens where that of the model's file does not, and emulated C that differs from C here.

    Raises:
        AedError: Names the recording.
    """
    first, *others = heard.values()
    for other in others:
        for name, right, own in zip(first.names, first.decisions, other.decisions, strict=True):
            if not np.array_equal(right.is_open, own.is_open):
                raise AedError(f"{name}: the gate of the C does not open where that of the model's file does")
    if "emulator" in heard:
        host, board = heard["c"], heard["emulator"]
        for name, here, there in zip(host.names, host.posteriors, board.posteriors, strict=True):
            if not np.array_equal(here, there):
                raise AedError(f"{name}: the emulated board's posteriors are not those of the same C on this machine")


def _agreement(detector: Detector, one: Heard, other: Heard) -> dict[str, float]:
    """Shares of equal decisions, and of equal events among those of either."""
    same, number = 0, 0
    for rows, others in zip(one.posteriors, other.posteriors, strict=True):
        if len(rows) != len(others):
            raise AedError(f"C hears {len(others)} decisions where the model's file has {len(rows)}")
        same, number = same + int((rows == others).all(axis=1).sum()), number + len(rows)
    events = [{(name, event) for name, own in part.events(detector) for event in own} for part in (one, other)]
    either = len(events[0] | events[1])
    return {
        "equal_posteriors": same / number,
        "equal_events": len(events[0] & events[1]) / either if either else 1.0,
    }
