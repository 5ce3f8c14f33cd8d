"""What is counted of detected and reference events, and the ratios of it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Ratios = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EventCounts:
    """Counts of each class.

    A ratio without a denominator is NaN, as in sed_eval: a class that neither occurs nor is detected has no score, and
    a mean over classes leaves it out.

    Args:
        references: ``(C,)``.
        detections: ``(C,)``.
        hits: ``(C,)``, at most as many as either.
        substitutions: Of all classes together: a missed event and a detection of another class in its place.
    """

    references: Counts
    detections: Counts
    hits: Counts
    substitutions: int = 0

    @property
    def recall(self) -> Ratios:
        """Share of the references that are found, ``(C,)``."""
        return _ratio(self.hits, self.references)

    @property
    def precision(self) -> Ratios:
        """Share of the detections that are right, ``(C,)``."""
        return _ratio(self.hits, self.detections)

    @property
    def f1(self) -> Ratios:
        """Harmonic mean of precision and recall, ``(C,)``: 0 where events occur and none is detected."""
        return _ratio(2 * self.hits, self.references + self.detections)

    @property
    def error_rate(self) -> Ratios:
        """Missed and false ones for each reference, ``(C,)``; can exceed 1."""
        return _ratio(self.references + self.detections - 2 * self.hits, self.references)

    @property
    def micro(self) -> "EventCounts":
        """All classes as one, ``(1,)``."""
        occurring, named, hits = (np.array([part.sum()]) for part in (self.references, self.detections, self.hits))
        return EventCounts(occurring, named, hits, self.substitutions)

    @property
    def micro_error_rate(self) -> float:
        """Substitutions, deletions and insertions for each reference (Mesaros et al., 2016)."""
        missed, false = (int((part - self.hits).sum()) for part in (self.references, self.detections))
        total = int(self.references.sum())
        return (missed + false - self.substitutions) / total if total else float("nan")


def macro(values: Ratios) -> float:
    """Mean over the classes that have a value; NaN where none has."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _ratio(above: Counts, below: Counts) -> Ratios:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)
