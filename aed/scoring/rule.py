"""The event rule: from the posteriors of a stream to events and alarms, decision by decision.

One definition for detecting and for scoring. All values are float32 and every sum has its order: ``aed_events.c`` of
the C library computes the same bits.

Of a patch whose sound is under ``gate_dbfs``, whoever runs the net leaves it out and passes 0 for each class. Then, for
each class, of each decision:

1. Its posterior is smoothed over the last decisions.
2. It is on from the decision where that reaches ``on`` to the one where it falls under ``off``.
3. An event begins when it has been on for ``shortest_s``, unless an alarm was raised less than ``hold_off_s`` ago; it
   then begins as soon as that time is over. It starts with the first of these decisions.
4. Its beginning raises an alarm, and another each ``repeat_s`` while it lasts.
5. It ends with the last decision that is on, once ``gap_s`` have passed without another one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, Self, get_args

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.decision import is_number, is_share

Smoothing = Literal["mean", "exponential"]
"""Over the last decisions alike, or the newest the most."""

Floats = npt.NDArray[np.float32]

LONGEST_WINDOW = 64
"""Decisions that can be smoothed over: a stream has to keep them."""

LEAST_GATE_DBFS = -120.0
"""Under the level of a sample's last bit: everything but constant samples reaches it."""

NEVER = 2.0
"""A threshold that no posterior reaches."""


@dataclass(frozen=True)
class EventRule:
    """From posteriors to events.

    Args:
        on: Smoothed posterior, one per class or one for all, with which a class is on; null: it is never.
        off: Under it a class is off again, one per class or one for all, not over ``on``; empty: the same as ``on``.
        smoothing: ``mean``: of the last ``window`` decisions, at the start of those there are; ``exponential``: each
            decision moves the value by ``weight`` of the way to its posterior.
        window: Decisions, 1 to 64.
        weight: Over 0, up to 1.
        shortest_s: Time that a class has to be on.
        gap_s: Time that an event may be off without an end.
        hold_off_s: Time after an alarm in which no event of the class begins.
        repeat_s: Time after which an event that lasts raises another alarm.
        gate_dbfs: Level that the loudest column of a patch has to reach, else the net does not run and its posteriors
            count as 0; RMS, dB under full scale, -120 to under 0, see :mod:`aed.dsp.gate`; null: it always runs.

    Raises:
        AedError: A value is out of its range, or no class can ever be on.
    """

    on: tuple[float | None, ...] = (0.5,)
    off: tuple[float, ...] = ()
    smoothing: Smoothing = "mean"
    window: int = 1
    weight: float = 0.5
    shortest_s: float = 0.0
    gap_s: float = 0.0
    hold_off_s: float = 0.0
    repeat_s: float = 10.0
    gate_dbfs: float | None = None

    def __post_init__(self) -> None:
        if not self.on or not all(value is None or is_share(value) for value in self.on):
            raise AedError(f"rule.on: need numbers in [0, 1] or null, one or one per class, got {list(self.on)}")
        if all(value is None for value in self.on):
            raise AedError("rule.on: null for every class: the rule could never raise an alarm")
        if not all(map(is_share, self.off)):
            raise AedError(f"rule.off: need numbers in [0, 1], one or one per class, got {list(self.off)}")
        if self.smoothing not in get_args(Smoothing):
            raise AedError(f"rule.smoothing: need mean or exponential, got {self.smoothing!r}")
        if isinstance(self.window, bool) or not (isinstance(self.window, int) and 1 <= self.window <= LONGEST_WINDOW):
            raise AedError(f"rule.window: need 1 to {LONGEST_WINDOW} decisions, got {self.window!r}")
        if not (is_share(self.weight) and self.weight > 0):
            raise AedError(f"rule.weight: need a number over 0 and up to 1, got {self.weight!r}")
        for name in ("shortest_s", "gap_s", "hold_off_s", "repeat_s"):
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value < math.inf):
                raise AedError(f"rule.{name}: need 0 or more seconds, got {value!r}")
        if not self.repeat_s > 0:
            raise AedError("rule.repeat_s: need more than 0 s, or an event would be a flood of alarms")
        gate = self.gate_dbfs
        if gate is not None and not (is_number(gate) and LEAST_GATE_DBFS <= gate < 0):
            hint = f"; -{gate:g}?" if is_number(gate) and 0 < gate <= -LEAST_GATE_DBFS else ""
            raise AedError(
                f"rule.gate_dbfs: need {LEAST_GATE_DBFS:g} to under 0 dB, full scale, or null for no gate, got {gate!r}"
                f"{hint}"
            )
        count = max(len(self.on), len(self.off))
        for on, off in zip(_spread(self.on, count), _spread(self.off or self.on, count), strict=True):
            if on is not None and off is not None and off > on:
                raise AedError(f"rule.off: {off:g} is over rule.on, {on:g}; need the same or less")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The rule written by ``dataclasses.asdict``, also after JSON, which makes tuples lists.

        Raises:
            AedError: A key is unknown or a value out of its range.
        """
        known = [item.name for item in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise AedError(f"rule: unknown {unknown}; this version knows {known}")
        parts: dict[str, Any] = {key: tuple(part) if isinstance(part, list) else part for key, part in values.items()}
        return cls(**parts)

    def check(self, num_classes: int) -> None:
        """Refuses a rule for another number of classes.

        Raises:
            AedError: Says which thresholds.
        """
        for name in ("on", "off"):
            if len(getattr(self, name)) not in ((0, 1, num_classes) if name == "off" else (1, num_classes)):
                given = len(getattr(self, name))
                raise AedError(f"rule.{name}: need one threshold, or {num_classes}, one per class; got {given}")

    def thresholds(self, num_classes: int) -> tuple[Floats, Floats]:
        """``on`` and ``off`` of each class, ``(num_classes,)`` float32; :data:`NEVER` where a class is never on."""
        self.check(num_classes)
        on = _spread(self.on, num_classes)
        off = [value if value is not None else NEVER for value in _spread(self.off or self.on, num_classes)]
        return np.array([NEVER if value is None else value for value in on], np.float32), np.array(off, np.float32)

    def decisions(self, hop_s: float) -> "RuleDecisions":
        """The times as numbers of decisions, each at least that long.

        Args:
            hop_s: Time from one decision to the next.
        """
        counts = {
            name: math.ceil(round(getattr(self, f"{name}_s") / hop_s, 6))
            for name in ("shortest", "gap", "hold_off", "repeat")
        }
        return RuleDecisions(**counts | {key: max(1, counts[key]) for key in ("shortest", "repeat")})

    @property
    def lag(self) -> float:
        """Decisions by which smoothing delays a rise, in the mean."""
        return (self.window - 1) / 2 if self.smoothing == "mean" else (1 - self.weight) / self.weight


class RuleDecisions(NamedTuple):
    """Times of a rule, in decisions."""

    shortest: int
    gap: int
    hold_off: int
    repeat: int


class Alarm(NamedTuple):
    """An alarm: decision at which it is raised, class, smoothed posterior there."""

    decision: int
    target: int
    posterior: float


class RuleEvent(NamedTuple):
    """An event that has ended: first and last decision that are on, class, greatest smoothed posterior, its alarms."""

    first: int
    last: int
    target: int
    peak: float
    alarms: tuple[int, ...]


@dataclass
class RuleState:
    """A stream under a rule; blocks of any sizes give the same events.

    Args:
        rule: The rule.
        num_classes: Of the posteriors.
        hop_s: Time from one decision to the next.
        unknown_threshold: A decision whose greatest posterior is under it counts as 0 for all classes; null: none does.
    """

    rule: EventRule
    num_classes: int
    hop_s: float
    unknown_threshold: float | None = None
    decision: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.on, self.off = self.rule.thresholds(self.num_classes)
        self.times = self.rule.decisions(self.hop_s)
        self._last = np.zeros((0, self.num_classes), np.float32)
        self._smooth: Floats | None = None
        self._is_on = np.zeros(self.num_classes, np.bool_)
        self._classes = [_Class() for _ in range(self.num_classes)]

    def add(self, posteriors: npt.NDArray[np.float32]) -> tuple[list[Alarm], list[RuleEvent]]:
        """Takes the posteriors of the next decisions.

        Args:
            posteriors: ``(decisions, num_classes)``.

        Returns:
            The alarms that they raise, and the events that end with them.
        """
        alarms: list[Alarm] = []
        ended: list[RuleEvent] = []
        smooth = self.smoothed(np.asarray(posteriors, np.float32))
        for row in smooth:
            self._is_on = np.where(row >= self.on, True, np.where(row < self.off, False, self._is_on))
            busy = self._is_on | np.array([one.is_busy for one in self._classes])
            for target in np.flatnonzero(busy).tolist():
                self._step(target, float(row[target]), alarms, ended)
            self.decision += 1
        return alarms, ended

    def finish(self) -> list[RuleEvent]:
        """Ends the stream; the events that had not ended."""
        ended: list[RuleEvent] = []
        for target, state in enumerate(self._classes):
            self._close(target, state, ended)
            state.run = 0
        self._is_on[:] = False
        return ended

    def smoothed(self, posteriors: Floats) -> Floats:
        """Smoothed posteriors of the next decisions, the same shape; what is unknown counts as 0."""
        posteriors = self._known(posteriors)
        result = np.empty_like(posteriors)
        if self.rule.smoothing == "exponential":
            weight = np.float32(self.rule.weight)
            for number, row in enumerate(posteriors):
                last = self._smooth
                self._smooth = row.copy() if last is None else last + weight * (row - last)
                result[number] = self._smooth
            return result
        known = np.concatenate([self._last, posteriors])
        for number in range(len(posteriors)):
            stop = len(self._last) + number + 1
            part = known[max(0, stop - self.rule.window) : stop]
            total = part[0].copy()
            for row in part[1:]:
                total += row
            result[number] = total / np.float32(len(part))
        self._last = known[max(0, len(known) - self.rule.window + 1) :] if self.rule.window > 1 else self._last
        return result

    def _known(self, posteriors: Floats) -> Floats:
        if self.unknown_threshold is None or not len(posteriors):
            return posteriors
        is_known = posteriors.max(axis=1) >= np.float32(self.unknown_threshold)
        return np.where(is_known[:, None], posteriors, np.float32(0))

    def _step(self, target: int, value: float, alarms: list[Alarm], ended: list[RuleEvent]) -> None:
        state, now = self._classes[target], self.decision
        if not self._is_on[target]:
            state.run = 0
            if state.is_open and now - state.last > self.times.gap:
                self._close(target, state, ended)
            return
        state.run += 1
        state.peak = value if state.run == 1 and not state.is_open else max(state.peak, value)
        due = state.alarmed is None or now - state.alarmed > self.times.hold_off
        if not state.is_open and state.run >= self.times.shortest and due:
            state.is_open, state.first, state.alarms = True, now - state.run + 1, []
        elif state.is_open:
            due = state.alarmed is not None and now - state.alarmed >= self.times.repeat
        if state.is_open:
            state.last = now
            if due:
                state.alarmed = now
                state.alarms.append(now)
                alarms.append(Alarm(now, target, value))

    def _close(self, target: int, state: "_Class", ended: list[RuleEvent]) -> None:
        if state.is_open:
            ended.append(RuleEvent(state.first, state.last, target, state.peak, tuple(state.alarms)))
            state.is_open = False


def events_of_class(
    values: Floats, on: float, off: float, times: RuleDecisions
) -> Iterator[tuple[int, int, list[int]]]:
    """Events of one class, as :class:`RuleState` finds them, from all of a stream at once.

    Args:
        values: ``(decisions,)`` smoothed posteriors.
        on: Threshold with which the class is on.
        off: Threshold under which it is off again.
        times: Of the rule.

    Yields:
        First and last decision of each event, and the decisions of its alarms.
    """
    high, low = np.flatnonzero(values >= np.float32(on)), np.flatnonzero(values < np.float32(off))
    following = np.searchsorted(low, high)  # the same for all that no decision under off lies between
    begins = np.flatnonzero(np.diff(following, prepend=-1))
    stops = np.append(low, len(values))[following[begins]]
    event: tuple[int, int, list[int]] | None = None
    alarmed: int | None = None
    for first, stop in zip(high[begins].tolist(), stops.tolist(), strict=True):
        if event and first - event[1] - 1 <= times.gap:
            begin, _, alarms = event
        else:
            if event:
                yield event
            begin, alarms, event = first, [], None
            due = first + times.shortest - 1
            alarmed_at = due if alarmed is None else max(due, alarmed + times.hold_off + 1)
            if alarmed_at >= stop:
                continue
            alarms.append(alarmed_at)
            alarmed = alarmed_at
        assert alarmed is not None
        while (again := max(first, alarmed + times.repeat)) < stop:
            alarms.append(again)
            alarmed = again
        event = begin, stop - 1, alarms
    if event:
        yield event


@dataclass
class _Class:
    """What a class needs to remember."""

    run: int = 0
    is_open: bool = False
    first: int = 0
    last: int = 0
    peak: float = 0.0
    alarmed: int | None = None
    alarms: list[int] = field(default_factory=list)

    @property
    def is_busy(self) -> bool:
        return self.is_open or self.run > 0


def _spread(values: tuple[Any, ...], count: int) -> list[Any]:
    return list(values) * count if len(values) == 1 else list(values)
