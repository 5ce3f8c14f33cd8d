"""How sure a share of found events is, where events are not independent: the bootstrap over what repeats."""

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.lists import Index

Floats = npt.NDArray[np.floating]

DRAWS = 2000
"""Resamples: the ends of a 95 % interval are each between some 50 of them."""


def recall_interval(
    is_found: npt.NDArray[np.bool_], unit: Index, level: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Interval of the share of events found, by resampling units with all their events (Efron, 1979; percentiles).

    Events of one clip are found or missed alike: an interval that takes them as independent is too narrow.

    Args:
        is_found: ``(events,)``.
        unit: ``(events,)`` clip or recording that each event comes from.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Both ends; None where there are fewer than two units, of which nothing can be said.

    Raises:
        AedError: The events have not as many units.
    """
    if len(is_found) != len(unit):
        raise AedError(f"recall: {len(is_found)} events, but {len(unit)} units")
    place = np.unique(unit, return_inverse=True)[1]
    found, events = (np.bincount(place, weights).astype(np.float64) for weights in (is_found, None))
    return ratio_interval(found, events, level, seed)


def ratio_interval(counts: Floats, sizes: Floats, level: float = 0.95, seed: int = 0) -> tuple[float, float] | None:
    """Interval of the sum of counts by that of sizes, by resampling units (Efron, 1979; percentiles).

    Args:
        counts: ``(units,)``.
        sizes: ``(units,)``, over 0.
        level: Of the interval.
        seed: Of the resamples.

    Returns:
        Both ends; None where there are fewer than two units, of which nothing can be said.
    """
    number = len(sizes)
    if number < 2:
        return None
    times = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), DRAWS)  # each unit is drawn
    low, high = np.quantile((times @ counts) / (times @ sizes), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
