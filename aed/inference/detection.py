"""Events in recordings of any length and in streams: a model's posteriors under the event rule of its card."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from aed.base.errors import AudioError
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier
from aed.inference.prediction import Predictor
from aed.scoring.labels import BACKGROUND
from aed.scoring.rule import EventRule, RuleEvent, RuleState


@dataclass(frozen=True)
class DetectedEvent:
    """An event in a recording.

    Args:
        label: Class.
        onset_s: Seconds from the recording's start; dated back by the delay of smoothing.
        offset_s: Likewise, its end.
        posterior: The greatest smoothed one.
        alarms_s: When a device would have raised its alarms: the ends of the patches that raise them.
    """

    label: str
    onset_s: float
    offset_s: float
    posterior: float
    alarms_s: tuple[float, ...]


def rule_of(card: ModelCard) -> EventRule:
    """The card's event rule; without one, its thresholds, of a single-label model 0.5 for each class."""
    rule = card.rule or EventRule()
    if card.rule is None and card.task == "multi_label":
        rule = EventRule(on=card.decision.thresholds_of(len(card.class_names)))
    return without_background(rule, card.class_names)


def without_background(rule: EventRule, class_names: Sequence[str]) -> EventRule:
    """The rule with which a class ``background`` is never on: that nothing happens is no event.

    Args:
        rule: Any.
        class_names: Of the model, in the order of its outputs.

    Raises:
        AedError: The rule is for another number of classes.
    """
    rule.check(len(class_names))
    if BACKGROUND not in class_names:
        return rule
    on = rule.on * len(class_names) if len(rule.on) == 1 else rule.on
    pairs = zip(class_names, on, strict=True)
    return replace(rule, on=tuple(None if name == BACKGROUND else value for name, value in pairs))


class Detector:
    """Finds events; holds all settings, no state.

    Args:
        classifier: Any model.
        rule: Replaces the card's.

    Raises:
        AedError: The rule is for another number of classes.
    """

    def __init__(self, classifier: Classifier, rule: EventRule | None = None) -> None:
        self.predictor = Predictor(classifier, mode="stream")
        self.card, self.names = classifier.card, classifier.card.class_names
        self.rule = without_background(rule, self.names) if rule else rule_of(self.card)
        frontend = self.card.frontend
        self.hop_s = frontend.patch_hop * frontend.hop_length / frontend.sample_rate
        self.patch_s = frontend.patch_samples / frontend.sample_rate

    def events(self, name: str) -> Iterator[DetectedEvent]:
        """The events of a recording, or of standard input where ``name`` is ``-``, each as soon as it has ended.

        Raises:
            AudioError: The recording cannot be read, or holds no patch.
        """
        state = self.state()
        starts: list[float] = []
        for timed in self.predictor.patches(name):
            starts += timed.start_s.tolist()
            _, ended = state.add(self.predictor.classifier.event_posteriors(timed.patches))
            yield from (self._event(event, starts) for event in ended)
        if not starts:
            raise AudioError(f"{name}: shorter than one patch ({self.patch_s:.2f} s)")
        yield from (self._event(event, starts) for event in state.finish())

    def posteriors(self, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Posteriors of a recording ``(decisions, classes)`` for the rule, and when each patch starts, s.

        Raises:
            AudioError: As :meth:`events`.
        """
        parts = [
            (self.predictor.classifier.event_posteriors(timed.patches), timed.start_s)
            for timed in self.predictor.patches(name)
        ]
        if not parts:
            raise AudioError(f"{name}: shorter than one patch ({self.patch_s:.2f} s)")
        rows, starts = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(starts)

    def events_of(self, posteriors: npt.NDArray[np.float32], starts: npt.NDArray[np.float64]) -> list[DetectedEvent]:
        """The events in posteriors as :meth:`posteriors` returns them."""
        state = self.state()
        _, ended = state.add(posteriors)
        return [self._event(event, starts.tolist()) for event in [*ended, *state.finish()]]

    def state(self) -> RuleState:
        """A stream at its beginning."""
        decision = self.card.decision
        threshold = (
            None if decision.by_nearness else decision.unknown_threshold
        )  # of the nearness: see event_posteriors
        return RuleState(self.rule, len(self.names), self.hop_s, threshold)

    def span(self, first_s: float, last_s: float) -> tuple[float, float]:
        """Onset and offset of an event, s.

        A decision stands for the time around the middle of its patch, up to half-way to its neighbours; smoothing
        delays it.

        Args:
            first_s: Start of the first patch that is on.
            last_s: Start of the last one.
        """
        middle = self.patch_s / 2 - self.rule.lag * self.hop_s
        return max(0.0, first_s + middle - self.hop_s / 2), max(0.0, last_s + middle + self.hop_s / 2)

    def _event(self, event: RuleEvent, starts: list[float]) -> DetectedEvent:
        onset, offset = self.span(starts[event.first], starts[event.last])
        alarms = tuple(starts[decision] + self.patch_s for decision in event.alarms)
        return DetectedEvent(self.names[event.target], onset, offset, event.peak, alarms)
