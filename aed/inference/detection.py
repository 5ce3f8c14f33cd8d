"""Events in recordings of any length and in streams: a model's posteriors under the event rule of its card."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError, AudioError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.gate import Powers, gate_power
from aed.dsp.stream import TimedPatches, can_stream
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


class Decisions(NamedTuple):
    """What a model decides of patches, one after the other.

    Args:
        posteriors: ``(decisions, classes)``; 0 where the net did not run.
        start_s: ``(decisions,)`` when each patch starts.
        is_open: ``(decisions,)`` whether the net ran: all but those under the gate of the rule.
        power: ``(decisions,)`` of the loudest column, see :mod:`aed.dsp.gate`; None: not known of a front end that
            sees a clip's ends.
    """

    posteriors: npt.NDArray[np.float32]
    start_s: npt.NDArray[np.float64]
    is_open: npt.NDArray[np.bool_]
    power: Powers | None


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


def least_power(rule: EventRule, frontend: FrontendConfig) -> int | None:
    """Power that the loudest column of a patch has to reach by the rule's gate; None: it has none.

    Raises:
        AedError: The front end has no columns of a stream.
    """
    if rule.gate_dbfs is None:
        return None
    if not can_stream(frontend):
        raise AedError(
            "rule.gate_dbfs: this front end sees a clip's ends (frontend.center, or a dB reference that is the clip's "
            "maximum): no stream, no level of a column; leave the gate out, or rule.gate_dbfs=-inf"
        )
    return gate_power(rule.gate_dbfs, frontend)


class Detector:
    """Finds events; holds all settings, no state.

    Args:
        classifier: Any model.
        rule: Replaces the card's.

    Raises:
        AedError: The rule is for another number of classes, or has a gate that the front end cannot have.
    """

    def __init__(self, classifier: Classifier, rule: EventRule | None = None) -> None:
        self.predictor = Predictor(classifier, mode="stream")
        self.card, self.names = classifier.card, classifier.card.class_names
        self.rule = without_background(rule, self.names) if rule else rule_of(self.card)
        frontend = self.card.frontend
        self.gate = least_power(self.rule, frontend)
        self.hop_s = frontend.patch_hop * frontend.hop_length / frontend.sample_rate
        self.patch_s = frontend.patch_samples / frontend.sample_rate

    def events(self, name: str, see: Callable[[Decisions], None]) -> Iterator[DetectedEvent]:
        """The events of a recording, or of standard input where ``name`` is ``-``, each as soon as it has ended.

        Args:
            name: The recording.
            see: Gets the decisions, block after block, before their events are yielded.

        Raises:
            AudioError: The recording cannot be read, or holds no patch.
        """
        state = self.state()
        starts: list[float] = []
        for decisions in map(self._decide, self.predictor.patches(name)):
            see(decisions)
            starts += decisions.start_s.tolist()
            _, ended = state.add(decisions.posteriors)
            yield from (self._event(event, starts) for event in ended)
        if not starts:
            raise AudioError(f"{name}: shorter than one patch ({self.patch_s:.2f} s)")
        yield from (self._event(event, starts) for event in state.finish())

    def decisions(self, name: str) -> Decisions:
        """All decisions of a recording.

        Raises:
            AudioError: As :meth:`events`.
        """
        parts = [self._decide(timed) for timed in self.predictor.patches(name)]
        if not parts:
            raise AudioError(f"{name}: shorter than one patch ({self.patch_s:.2f} s)")
        rows, starts, is_open, powers = zip(*parts, strict=True)
        known = None if powers[0] is None else np.concatenate(powers)
        return Decisions(np.concatenate(rows), np.concatenate(starts), np.concatenate(is_open), known)

    def _decide(self, timed: TimedPatches) -> Decisions:
        """The net runs for patches that reach the gate."""
        posteriors = np.zeros((len(timed.patches), len(self.names)), np.float32)
        is_open = np.ones(len(timed.patches), np.bool_)
        if self.gate is not None:
            assert timed.power is not None, "a front end that streams"
            is_open = timed.power >= self.gate
        if is_open.any():
            posteriors[is_open] = self.predictor.classifier.event_posteriors(timed.patches[is_open])
        return Decisions(posteriors, timed.start_s, is_open, timed.power)

    def events_of(self, posteriors: npt.NDArray[np.float32], starts: npt.NDArray[np.float64]) -> list[DetectedEvent]:
        """The events in posteriors as :meth:`decisions` returns them."""
        state = self.state()
        _, ended = state.add(posteriors)
        return [self._event(event, starts.tolist()) for event in [*ended, *state.finish()]]

    def state(self) -> RuleState:
        """A stream at its beginning."""
        return RuleState(self.rule, len(self.names), self.hop_s, self.unknown_threshold)

    @property
    def unknown_threshold(self) -> float | None:
        """Of the rule; None also where the nearness decides, of which posteriors are 0 already."""
        decision = self.card.decision
        return None if decision.by_nearness else decision.unknown_threshold

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
