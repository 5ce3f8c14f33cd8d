"""Reliability: how often statements are true over how sure the model is of them."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from aed.scoring.confidence import confidence_and_correctness, expected_calibration_error
from aed.scoring.decision import task_of
from aed.scoring.intervals import share_interval
from aed.scoring.pictures.canvas import BLUE, GREY, ORANGE, RED, place, placed_figure, plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

GROUPS = 10
"""Of statements, at most; each has at least 8 where there are as many."""


def groups_of(confidence: Array, equal_width: bool) -> npt.NDArray[np.int64]:
    """Number of the group of each statement, ``(statements,)``, ascending with its confidence.

    Args:
        confidence: ``(statements,)`` in [0, 1].
        equal_width: Groups of equal width; else of equal size as far as equal confidences, which stay together, allow.
    """
    number = max(1, min(GROUPS, len(confidence) // 8))
    if equal_width:
        return np.minimum((confidence * GROUPS).astype(np.int64), GROUPS - 1)
    borders = np.unique(np.quantile(confidence, np.arange(1, number) / number, method="higher"))
    return np.searchsorted(borders, confidence, side="right")


def reliability_figure(posteriors: Tensor, target: Tensor, title: str) -> "Figure":
    """Groups of statements: the share that is true with its 90 % interval, the gap to how sure the model is, counts.

    Args:
        posteriors: ``(rows, num_classes)``.
        target: ``(rows,)`` int64, or ``(rows, num_classes)`` of 0 and 1.
        title: Of the picture; the calibration error is added.
    """
    several = task_of(target) == "multi_label"
    yes, no = ("true", "not true") if several else ("right", "wrong")
    confidence, true = (part.double().numpy() for part in confidence_and_correctness(posteriors, target))
    figure = placed_figure(6.4, 6.6)
    place(figure, left=0.75, right=0.15, bottom=0.85, top=0.85, hspace=0.06)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.2])
    _draw_groups(upper, confidence, true, groups_of(confidence, equal_width=several), yes)
    least = 0.0 if several else min(0.9, np.floor(10 * confidence.min()) / 10)
    upper.set_xlim(least - 0.02 * (1 - least), 1 + 0.02 * (1 - least))
    figure.legend(loc="lower center", ncols=3, fontsize=8)
    _draw_numbers(lower, confidence, true > 0.5, least, (yes, no))
    lower.set(xlabel="posterior" if several else "greatest posterior", ylabel="number")
    error = expected_calibration_error(posteriors, target)
    figure.suptitle(f"{title}, calibration error {100 * error:.1f} %", fontsize=11, y=0.985)
    upper.set_title(f"{plural(len(confidence), 'statement')}; under each point the number it stands for", fontsize=9)
    return figure


def _draw_groups(axes: "Axes", confidence: Array, true: Array, group: npt.NDArray[np.int64], yes: str) -> None:
    """A point a group at (mean confidence, share that is true), its interval, its gap to the diagonal, its number."""
    numbers = np.bincount(group)
    filled = numbers > 0
    number = numbers[filled].astype(np.float64)
    total, hits = (np.bincount(group, weights=own)[filled].astype(np.float64) for own in (confidence, true))
    sure, share = total / number, hits / number
    low, high = share_interval(hits, number)
    axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1, label="without a gap")
    axes.vlines(sure, sure, share, color=ORANGE, linewidth=5, alpha=0.7, label="gap")
    off = [np.maximum(share - low, 0), np.maximum(high - share, 0)]
    label = f"share that is {yes}, 90 % interval"
    axes.errorbar(sure, share, off, fmt="o", markersize=5, color=BLUE, capsize=3, label=label)
    halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5}
    for x, y, count in zip(sure, low, number, strict=True):
        axes.annotate(
            f"{count:.0f}", (x, y), (0, -3), textcoords="offset points", ha="center", va="top", fontsize=7, bbox=halo
        )
    axes.set(ylim=(-0.06, 1.04), ylabel=f"share that is {yes}")
    axes.grid(alpha=0.3)


def _draw_numbers(
    axes: "Axes", confidence: Array, right: npt.NDArray[np.bool_], least: float, words: tuple[str, str]
) -> None:
    """Histogram of confidences, true and other statements on top of each other."""
    from matplotlib.ticker import MaxNLocator

    parts = [confidence[right], confidence[~right]]
    labels = [f"{word}, {len(part):,}" for word, part in zip(words, parts, strict=True)]
    axes.hist(parts, np.linspace(least, 1, 21).tolist(), stacked=True, color=[BLUE, RED], label=labels)
    if len(confidence) > 1000:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.yaxis.set_minor_formatter("")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="best", fontsize=8)
