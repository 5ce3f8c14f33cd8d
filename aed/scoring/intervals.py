"""Intervals of shares; light, for those who print scores without computing any."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

Z90, Z95 = 1.6448536, 1.9599640
"""Of the normal distribution: intervals of 90 %, which err 5 % on either side, and of 95 %."""

Array = npt.NDArray[np.float64]


def share_interval(hits: Array, number: Array, z: float = Z90) -> tuple[Array, Array]:
    """Ends of the interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22:209, 1927).

    Args:
        hits: Of ``number``, any shape.
        number: Over 0, the same shape.
        z: :data:`Z90` or :data:`Z95`.
    """
    share = hits / number
    middle = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z / (1 + z**2 / number) * np.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
    return middle - half, middle + half


def clips_interval(right: int, clips: int) -> tuple[float, float]:
    """Ends of the 95 % interval of a share of clips, Wilson's; see :func:`share_interval`.

    Args:
        right: Clips that count.
        clips: All, over 0.
    """
    low, high = share_interval(np.array([float(right)]), np.array([float(clips)]), Z95)
    return max(0.0, float(low[0])), min(1.0, float(high[0]))


def paired_interval(gained: int, lost: int, number: int, z: float = Z90) -> tuple[float, float]:
    """Interval of the difference of two paired shares (T. Tango, Statistics in Medicine 17:891, 1998).

    Recommended for few pairs by Fagerland, Lydersen and Laake, Statistics in Medicine 33:2850, 2014.

    Args:
        gained: Pairs of which the second alone is right.
        lost: Pairs of which the first alone is right.
        number: Of pairs.
        z: :data:`Z90` or :data:`Z95`.
    """
    return -_upper(lost, gained, number, z), _upper(gained, lost, number, z)


def _upper(gained: int, lost: int, number: int, z: float) -> float:
    from scipy.optimize import brentq  # takes long to import

    if gained == number:
        return 1.0
    beyond: Callable[[float], float] = partial(_deviations, gained, lost, number)
    least, most = (gained - lost) / number + 1e-12, 1 - 1e-12
    return float(brentq(lambda share: beyond(share) + z, least, most, xtol=1e-12))


def _deviations(gained: int, lost: int, number: int, share: float) -> float:
    """Standard deviations by which the measured difference is over ``share``; the variance is that under ``share``."""
    b = (2 * number - gained + lost) * share - gained - lost
    c = -lost * share * (1 - share)
    # where all pairs differ the root is of a square that may be 0, and rounds to less
    only_lost = (math.sqrt(max(0.0, b * b - 8 * number * c)) - b) / (4 * number)
    only_lost = min(max(only_lost, 0.0, -share), (1 - share) / 2)
    return (gained - lost - number * share) / math.sqrt(number * (2 * only_lost + share * (1 - share)))
