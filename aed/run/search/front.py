"""Points that no other point is better than: in some objective worse than each of the others, or equal to them."""

from collections.abc import Mapping
from typing import Literal

Point = Mapping[str, float]
"""Objective -> value."""

Direction = Literal["maximize", "minimize"]

OBJECTIVES: dict[str, Direction] = {
    "score": "maximize",
    "instructions": "minimize",
    "flash": "minimize",
    "ram": "minimize",
}
"""What a search may optimise -> direction."""


def dominates(one: Point, other: Point) -> bool:
    """Whether ``one`` is in no objective worse than ``other``, and better in some."""
    gains = [(one[key] - other[key]) * (1 if OBJECTIVES[key] == "maximize" else -1) for key in one]
    return min(gains) >= 0 and max(gains) > 0


def front(points: Mapping[int, Point]) -> list[int]:
    """Those that none dominates, by descending first objective, then by the others.

    Args:
        points: Number -> its objectives, the same ones each.
    """
    best = [number for number, own in points.items() if not any(dominates(other, own) for other in points.values())]
    return sorted(best, key=lambda number: (rank(points[number]), number))


def rank(point: Point) -> tuple[float, ...]:
    """The less the better, objective by objective."""
    return tuple(-value if OBJECTIVES[key] == "maximize" else value for key, value in point.items())
