"""Confusion matrix: which true class is decided as which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aed.scoring.pictures.canvas import new_figure
from aed.scoring.pictures.fonts import shown_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_WITH_COUNTS, MOST_WITH_SHARES = 16, 40
"""Classes up to which cells hold count and share, and up to which they hold the share; over it colours alone."""


def confusion_figure(confusion: npt.NDArray[np.int64], class_names: Sequence[str], title: str) -> "Figure":
    """Each cell's share of its true class (row) as colour and in %, and its count; beside each row its total.

    Args:
        confusion: ``(num_classes, num_classes)``, rows true.
        class_names: In its order.
        title: Of the picture.
    """
    number, names, totals = len(class_names), shown_names(class_names), confusion.sum(axis=1)
    many = number > MOST_WITH_SHARES
    cell = 0.58 if number <= MOST_WITH_COUNTS else 0.38
    size = min(22.0, 0.16 * number + 3) if many else max(4.2, cell * number + 1.4)
    font = max(3.0, min(9.0, 0.7 * 72 * (size - 3) / number)) if many else 9.0
    figure = new_figure(size + 1.2, size + 0.3, "compressed")
    axes = figure.subplots()
    share = 100 * confusion / np.maximum(totals, 1)[:, None]
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    turned = {"rotation": 90} if many else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(number), names, **turned)
    axes.set_yticks(range(number), [f"{name} ({total})" for name, total in zip(names, totals, strict=True)])
    axes.tick_params(labelsize=font, length=1 if many else 3.5)
    axes.set(xlabel="decided", ylabel="true (number)")
    figure.suptitle(title, fontsize=max(11.0, 0.8 * size))
    bar = figure.colorbar(image, ax=axes, shrink=0.7, aspect=30)
    bar.set_label("share of the true class, %")
    if not many:
        axes.set_xticks(np.arange(number + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(number + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="0.85", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                percent = f"{share[row, column]:.0f}"
                text = f"{count}\n{percent} %" if number <= MOST_WITH_COUNTS else percent
                colour = "white" if share[row, column] > 55 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    return figure
