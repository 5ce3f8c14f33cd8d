"""How sure a share of found events is, where events are not independent: the bootstrap over what repeats."""

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.lists import Index

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
    names, place = np.unique(unit, return_inverse=True)
    if len(names) < 2:
        return None
    events = np.bincount(place).astype(np.float64)
    found = np.bincount(place, is_found)
    share = np.full(len(names), 1 / len(names))
    times = np.random.default_rng(seed).multinomial(len(names), share, DRAWS)  # how often each unit is drawn
    low, high = np.quantile((times @ found) / (times @ events), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
