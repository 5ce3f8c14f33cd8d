"""What is typed instead of parts of a model's event rule."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from aed.scoring.rule import EventRule


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
        gate_dbfs: Level that sound has to reach for the net to run, RMS in dB under full scale, ``-50``; ``-inf``: it
            always runs.
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
    gate_dbfs: float | None = None

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
        if known.get("gate_dbfs") == -math.inf:
            known["gate_dbfs"] = None
        return replace(rule, **known)
