"""What values of a file have to be before a page is made of them."""

import math
from collections.abc import Sequence


def numbers(values: Sequence[object]) -> None:
    """Refuses what is no finite number.

    Raises:
        ValueError: Names the first.
    """
    if wrong := [own for own in values if isinstance(own, bool) or not isinstance(own, int | float)]:
        raise ValueError(f"{wrong[0]!r:.40} is no number")
    if not all(math.isfinite(own) for own in values if isinstance(own, int | float)):
        raise ValueError("a number is not finite")


def texts(values: Sequence[object]) -> None:
    """Refuses what is no text.

    Raises:
        ValueError: Names the first.
    """
    if wrong := [own for own in values if not isinstance(own, str)]:
        raise ValueError(f"{wrong[0]!r:.40} is no text")
