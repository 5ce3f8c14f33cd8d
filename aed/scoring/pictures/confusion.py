"""Confusion matrix: which true class is decided as which."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aed.scoring.pictures.canvas import placed_figure, widest
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
    size = min(19.0, max(2.8, 0.16 * number if many else cell * number))
    font = max(3.0, min(9.0, 0.7 * 72 * size / number)) if many else 9.0
    rows = [f"{name} ({total})" for name, total in zip(names, totals, strict=True)]
    left, below = 0.4 + widest(rows, font), widest(names, font)
    bottom, top = 0.4 + (below if many else 0.75 * below), 0.7
    figure = placed_figure(left + size + 1.1, bottom + size + top)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, size / width, size / height))
    share = 100 * confusion / np.maximum(totals, 1)[:, None]
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=100)
    turned = {"rotation": 90} if many else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(number), names, **turned)
    axes.set_yticks(range(number), rows)
    axes.tick_params(labelsize=font, length=1 if many else 3.5)
    axes.set(xlabel="decided", ylabel="true (number)")
    figure.suptitle(title, fontsize=11, y=1 - 0.12 / height)
    beside = ((left + size + 0.12) / width, (bottom + 0.15 * size) / height, 0.14 / width, 0.7 * size / height)
    bar = figure.colorbar(image, cax=figure.add_axes(beside))
    bar.set_label("share of the true class, %")
    if not many:
        edges = np.arange(number + 1) - 0.5
        for draw in (axes.hlines, axes.vlines):
            draw(edges, -0.5, number - 0.5, color="0.85", linewidth=0.5)
        for (row, column), count in np.ndenumerate(confusion):
            if count:
                percent = f"{share[row, column]:.0f}"
                text = f"{count}\n{percent} %" if number <= MOST_WITH_COUNTS else percent
                colour = "white" if share[row, column] > 55 else "black"
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    return figure
