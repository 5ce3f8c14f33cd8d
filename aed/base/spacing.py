"""Some of many, evenly over them: the same ones each time."""

import numpy as np


def evenly(total: int, most: int | None) -> list[int]:
    """At most ``most`` indices of ``total``, evenly over them; None: all."""
    count = total if most is None else min(total, most)
    return [round(index) for index in np.linspace(0, total - 1, count).tolist()]
