"""From logits to posteriors to decisions, for both tasks, by the rule in a model card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self, TypeGuard, get_args

from aed.base.errors import AedError
from aed.dsp.aggregate import Aggregate, decide
from aed.scoring.nearness import Nearness

if TYPE_CHECKING:  # a model card is read without torch
    from torch import Tensor

Task = Literal["single_label", "multi_label"]
"""One class a clip, or any number of them."""

UNKNOWN_INDEX = -1
"""The class index of a row that is decided to be none of the classes."""


def to_posteriors(logits: Tensor, task: Task, temperature: float = 1.0) -> Tensor:
    """Posteriors of logits, the same shape: softmax over the classes, or a sigmoid of each (Guo et al., 2017).

    Args:
        logits: ``(rows, num_classes)``.
        task: ``single_label``: softmax; ``multi_label``: sigmoid.
        temperature: The logits are divided by it; over 1 makes the model less sure.
    """
    scaled = logits / temperature
    return scaled.sigmoid() if task == "multi_label" else scaled.softmax(dim=1)


def task_of(target: Tensor) -> Task:
    """The task of a target: ``(rows,)`` class indices are single-label, ``(rows, num_classes)`` of 0/1 multi-label."""
    return "multi_label" if target.ndim == 2 else "single_label"


@dataclass(frozen=True)
class Decision:
    """From a model's logits to decisions, each about the posteriors of a patch or of a clip.

    Args:
        temperature: Logits are divided by it before softmax or sigmoid.
        thresholds: Multi-label only, one per class: a posterior not under it is a yes; empty: 0.5 for all.
        unknown_threshold: Single-label only: a row whose score is under it is unknown; null: none is.
        aggregate: A clip's posterior is the mean or the maximum over its patches.
        nearness: Single-label only: means of the classes, and what the nearness to them weighs in the score; null: the
            score is the greatest posterior.

    Raises:
        AedError: A value is out of its range.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] = ()
    unknown_threshold: float | None = None
    aggregate: Aggregate = "mean"
    nearness: Nearness | None = None

    def __post_init__(self) -> None:
        if not (is_number(self.temperature) and 0 < self.temperature < math.inf):
            raise AedError(f"decision.temperature: need a number over 0, got {self.temperature!r}")
        if not (isinstance(self.thresholds, tuple) and all(map(is_share, self.thresholds))):
            raise AedError(f"decision.thresholds: need numbers in [0, 1], one per class, got {self.thresholds!r}")
        if self.unknown_threshold is not None and not is_share(self.unknown_threshold):
            raise AedError(f"decision.unknown_threshold: need null or [0, 1], got {self.unknown_threshold!r}")
        if self.aggregate not in get_args(Aggregate):
            raise AedError(f"decision.aggregate: need mean or max, got {self.aggregate!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The decision written by ``dataclasses.asdict``, also after JSON, which makes the tuple a list.

        Raises:
            AedError: A key is unknown or a value out of its range.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise AedError(f"decision: unknown {unknown}; this version knows {known}")
        thresholds, nearness = values.get("thresholds", ()), values.get("nearness")
        own = {
            "thresholds": tuple(thresholds) if isinstance(thresholds, list) else thresholds,
            "nearness": None if nearness is None else Nearness.from_dict(nearness),
        }
        return cls(**{**values, **own})

    def check(self, task: Task, num_classes: int) -> None:
        """Refuses what does not fit a model.

        Raises:
            AedError: Thresholds of a single-label model or for another number of classes, unknown of a multi-label one.
        """
        if task == "single_label" and self.thresholds:
            raise AedError("decision.thresholds: only a multi-label model has them; leave them out")
        if task == "multi_label" and self.unknown_threshold is not None:
            raise AedError("decision.unknown_threshold: only a single-label model has one; use null")
        if task == "multi_label" and self.nearness is not None:
            raise AedError("decision.nearness: only a single-label model has one; use null")
        if len(self.thresholds) not in (0, num_classes):
            raise AedError(f"decision.thresholds: need {num_classes}, one per class, got {len(self.thresholds)}")

    def thresholds_of(self, num_classes: int) -> tuple[float, ...]:
        """The threshold of each class of a multi-label model."""
        return self.thresholds or (0.5,) * num_classes

    def posteriors(self, logits: Tensor, task: Task) -> Tensor:
        """Posteriors ``(rows, num_classes)`` of logits of that shape, at :attr:`temperature`."""
        return to_posteriors(logits, task, self.temperature)

    @property
    def by_nearness(self) -> bool:
        """Whether the nearness weighs in the score."""
        return self.nearness is not None and self.nearness.weight > 0

    def score(self, posteriors: Tensor, nearness: Tensor | None = None) -> Tensor:
        """How sure it is that each row belongs to a class, ``(rows,)``: see :func:`aed.scoring.nearness.blend`.

        Args:
            posteriors: ``(rows, num_classes)``.
            nearness: ``(rows,)``; needed where :attr:`by_nearness`.

        Raises:
            AedError: The nearness is missing.
        """
        most = posteriors.amax(dim=1)
        if self.nearness is None or not self.nearness.weight:
            return most
        if nearness is None:
            raise AedError("decision: this model needs the nearness of a sound to decide whether it is unknown")
        weight = self.nearness.weight
        return most.new_tensor(1 - weight) * most + most.new_tensor(weight) * nearness.to(most)

    def known(self, posteriors: Tensor, nearness: Tensor | None = None) -> Tensor:
        """Whether each row belongs to a class, ``(rows,)`` bool; with a threshold, a row of NaN does not.

        Args:
            posteriors: ``(rows, num_classes)``.
            nearness: See :meth:`score`.
        """
        if self.unknown_threshold is None:
            return posteriors.new_ones(len(posteriors)).bool()
        return self.score(posteriors, nearness) >= self.unknown_threshold

    def decide(self, posteriors: Tensor, task: Task, nearness: Tensor | None = None) -> Tensor:
        """The decision of each row.

        Single-label: ``(rows,)`` int64, the class with the greatest posterior, the lowest index of equal ones, or
        :data:`UNKNOWN_INDEX`. Multi-label: ``(rows, num_classes)`` bool; NaN is no.

        Args:
            posteriors: ``(rows, num_classes)``.
            task: Of the model.
            nearness: See :meth:`score`.

        Raises:
            AedError: See :meth:`check` and :meth:`score`.
        """
        self.check(task, posteriors.shape[1])
        if task == "multi_label":
            return posteriors >= posteriors.new_tensor(self.thresholds_of(posteriors.shape[1]))
        return decide(posteriors).masked_fill(~self.known(posteriors, nearness), UNKNOWN_INDEX)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a file or a user is a number; booleans are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_share(value: object) -> TypeGuard[float]:
    """Whether it is a number from 0 to 1."""
    return is_number(value) and 0 <= value <= 1


def checked_class_names(values: Any) -> tuple[str, ...]:
    """Class names as a file or a user gives them, in the order of a model's outputs.

    Raises:
        AedError: They are no list of different texts.
    """
    if not isinstance(values, list | tuple) or not values:
        raise AedError(f"class_names: need a list of names, got {values!r}")
    if odd := [value for value in values if not (isinstance(value, str) and value.strip())]:
        raise AedError(f"class_names: need names that are texts and not empty, got {odd[0]!r}")
    if doubled := sorted({value for value in values if values.count(value) > 1}):
        raise AedError(f"class_names: {', '.join(doubled)} twice; every output needs a name of its own")
    return tuple(values)


def check_num_outputs(num_outputs: int, class_names: Sequence[str], name: str) -> None:
    """Refuses a model, of the file ``name``, whose outputs are not one per class.

    Raises:
        AedError: Says both numbers.
    """
    if len(class_names) != num_outputs:
        raise AedError(f"{name}: {num_outputs} outputs, but {len(class_names)} class names")
