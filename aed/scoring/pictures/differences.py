"""Differences between runs: a point with its interval for all clips, each class and each fold."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aed.scoring.paired import Difference
from aed.scoring.pictures.canvas import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save
from aed.scoring.pictures.fonts import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = (BLUE, ORANGE, GREEN, RED)
_MOST = 60
"""Most rows that can be read."""


def plot_differences(path: Path, beside: str, differences: Mapping[str, Mapping[str, Difference]]) -> None:
    """Draws :func:`differences_figure`.

    Args:
        path: Of the picture.
        beside: Name of the run that the others are compared with.
        differences: Name of a run -> name of a part of the clips -> difference.
    """
    texts = [beside, *differences, *(name for rows in differences.values() for name in rows)]
    save(path, texts, lambda: differences_figure(beside, differences))


def differences_figure(beside: str, differences: Mapping[str, Mapping[str, Difference]]) -> "Figure":
    """A row for each part of the clips, in it a point and a 95 % interval for each run, in points."""
    parts: Sequence[str] = list(dict.fromkeys(name for rows in differences.values() for name in rows))[:_MOST]
    figure = new_figure(9, 1.6 + 0.32 * len(parts) * max(1, len(differences) / 2))
    axes = figure.subplots()
    for number, (run, rows) in enumerate(differences.items()):
        offset = 0.6 * ((number + 1) / (len(differences) + 1) - 0.5)
        shown = [(at + offset, rows[name]) for at, name in enumerate(parts) if name in rows]
        axes.hlines(
            [at for at, _ in shown], [100 * row.low for _, row in shown], [100 * row.high for _, row in shown],
            color=_COLOURS[number % len(_COLOURS)],
        )  # fmt: skip
        values = [100 * row.value for _, row in shown]
        axes.plot(values, [at for at, _ in shown], "o", color=_COLOURS[number % len(_COLOURS)], label=drawable(run))
    axes.axvline(0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(parts)), [drawable(name) for name in parts])
    axes.invert_yaxis()
    axes.set_xlabel(f"clips decided rightly, difference to {drawable(beside)}, points (95 % interval)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper right", fontsize=8)
    return figure
