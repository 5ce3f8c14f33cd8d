"""Events by the time they share, and the PSDS over many thresholds (Bilen et al., 2020; psds_eval's conventions).

A detection is accepted if enough of it lies in references of its class. A reference is found if accepted detections
cover enough of it. A detection that is not accepted is false; where enough of it lies in references of another class,
it is also a cross-trigger of that class. A class without references has no ratio and is left out of means (psds_eval
0.5.3 takes what the memory holds there).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.counts import EventCounts
from aed.scoring.events.lists import EventList, shared_time

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Criteria:
    """Shares of time that decide.

    Args:
        detection: Of a detection, in references of its class: it is accepted (DTC).
        reference: Of a reference, in accepted detections: it is found (GTC).
        cross: Of a detection that is not accepted, in references of another class: it is a cross-trigger (CTTC).
    """

    detection: float = 0.5
    reference: float = 0.5
    cross: float = 0.3

    def __post_init__(self) -> None:
        for name in ("detection", "reference", "cross"):
            if not 0 <= getattr(self, name) <= 1:
                raise AedError(f"criteria.{name}: need a share from 0 to 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class Psds:
    """Settings of a PSDS.

    Args:
        criteria: What is found, false and a cross-trigger.
        alpha_ct: Weight of cross-triggers beside false ones.
        alpha_st: Weight of the standard deviation over the classes.
        most_per_hour: False ones an hour up to which the area is taken.
    """

    criteria: Criteria
    alpha_ct: float
    alpha_st: float
    most_per_hour: float = 100.0


PSDS1 = Psds(Criteria(0.7, 0.7), 0.0, 1.0)
"""DCASE's first scenario: react fast, with exact times."""

PSDS2 = Psds(Criteria(0.1, 0.1, 0.3), 0.5, 1.0)
"""DCASE's second scenario: do not confuse classes."""


@dataclass(frozen=True)
class Rates:
    """One operating point.

    Args:
        counts: References, detections (accepted and false) and found references of each class.
        false: ``(C,)`` false ones of each class.
        cross: ``(C, C)`` cross-triggers: detected class, class in whose references they lie.
    """

    counts: EventCounts
    false: npt.NDArray[np.int64]
    cross: npt.NDArray[np.int64]

    @property
    def f1(self) -> Array:
        """F1 of each class ``(C,)``: found references against missed ones and false detections."""
        hits, missed = self.counts.hits, self.counts.references - self.counts.hits
        with np.errstate(invalid="ignore"):
            score = 2 * hits / (2 * hits + missed + self.false)
        return np.where(self.counts.references > 0, score, np.nan)


def intersect(
    reference: EventList, detected: EventList, num_classes: int, criteria: Criteria, length_s: Array | None = None
) -> Rates:
    """What an operating point finds.

    Args:
        reference: What occurs; of one class, no two events overlap.
        detected: What was detected.
        num_classes: Classes in all.
        criteria: What is found, false and a cross-trigger.
        length_s: Length of each recording; a detection that begins after the end is not counted. None: all are.
    """
    detected = detected.where(detected.length_s > 0)
    if length_s is not None:
        detected = detected.where(detected.onset_s < length_s[detected.recording])
    own, ref, shared = shared_time(detected, reference)
    same = detected.target[own] == reference.target[ref]
    share = shared / detected.length_s[own]
    inside = np.bincount(own[same], share[same], len(detected))
    touched = np.zeros(len(detected), np.bool_)
    touched[own[same]] = True
    accepted = touched & (inside >= criteria.detection)
    counted = same & accepted[own]
    covered = np.bincount(ref[counted], (shared / reference.length_s[ref])[counted], len(reference))
    met = np.zeros(len(reference), np.bool_)
    met[ref[counted]] = True
    found = met & (covered >= criteria.reference)
    occurring, named = (np.bincount(part.target, minlength=num_classes) for part in (reference, detected))
    counts = EventCounts(occurring, named, np.bincount(reference.target[found], minlength=num_classes))
    false = np.bincount(detected.target[~accepted], minlength=num_classes)
    # cross-triggers: of each detection, its share in all references of another class
    others = ~same & ~accepted[own]
    pairs, place = np.unique(own[others] * num_classes + reference.target[ref[others]], return_inverse=True)
    triggered = pairs[np.bincount(place, share[others], len(pairs)) >= criteria.cross]
    cross = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(cross, (detected.target[triggered // num_classes], triggered % num_classes), 1)
    return Rates(counts, false, cross)


def psds(
    reference: EventList, points: Sequence[EventList], num_classes: int, length_s: Array, settings: Psds
) -> tuple[float, Array, Array]:
    """Score of a system over its operating points, and the curve behind it.

    Args:
        reference: What occurs; of one class, no two events overlap.
        points: Detections at each threshold.
        num_classes: Classes in all.
        length_s: ``(recordings,)``.
        settings: Which PSDS.

    Returns:
        The score in [0, 1]; false ones an hour ``(N,)``, and the share found, mean over classes less the weighted
        deviation, ``(N,)``.

    Raises:
        AedError: There are no operating points, references or hours.
    """
    if not points or not len(reference) or not length_s.sum() > 0:
        raise AedError("psds: need operating points, references and recordings")
    rates = [intersect(reference, point, num_classes, settings.criteria, length_s) for point in points]
    hours, class_s = length_s.sum() / 3600, np.bincount(reference.target, reference.length_s, num_classes)
    known = np.bincount(reference.target, minlength=num_classes) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = np.stack([rate.counts.recall for rate in rates], axis=1)
        crossed = np.stack([rate.cross * 3600 / class_s for rate in rates], axis=2)  # (C, C, points)
    false = np.stack([rate.false / hours for rate in rates], axis=1)
    crossed[np.arange(num_classes), np.arange(num_classes)] = np.nan
    crossed[:, ~known] = np.nan
    rest = ~np.isnan(crossed)
    mean_cross = np.where(rest, crossed, 0).sum(axis=1) / np.maximum(1, rest.sum(axis=1))
    effective = false + settings.alpha_ct * mean_cross
    axis = np.unique(np.append(effective[known], 0.0))
    curves = np.stack([_staircase(axis, effective[row], recall[row]) for row in np.flatnonzero(known)])
    height = np.maximum(0, curves.mean(axis=0) - settings.alpha_st * curves.std(axis=0))
    inside = axis < settings.most_per_hour
    widths = np.diff(np.append(axis[inside], settings.most_per_hour))
    return float((height[inside] * widths).sum() / settings.most_per_hour), axis, height


def _staircase(axis: Array, x: Array, y: Array) -> Array:
    """The greatest ``y`` at or before each value of ``axis``; 0 before the first."""
    order = np.lexsort((y, x))
    best = np.maximum.accumulate(np.append(0.0, y[order]))
    return np.asarray(best[np.searchsorted(x[order], axis, side="right")])
