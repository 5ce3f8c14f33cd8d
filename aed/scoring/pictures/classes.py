"""Bars and curves a class: average precision of each, F1 over the threshold."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from aed.scoring.multilabel import f1_curve
from aed.scoring.pictures.canvas import BLUE, GREY, ORANGE, new_figure, plural
from aed.scoring.pictures.fonts import shown_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 60
"""Classes up to which all have a bar; over it the best and the worst half as many."""

MOST_NAMED = 8
"""Classes up to which each line has a name: as many line styles and colours are distinguishable."""

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#7F7F7F")


def classes_figure(values: Mapping[str, float], title: str) -> "Figure":
    """A bar a class in descending order, and their mean; of more than 60 classes the best 30 and the worst 30.

    Args:
        values: Fraction of each class; NaN, as of a class without a clip, is left out.
        title: Of the picture; the mean is added.
    """
    finite = {name: value for name, value in values.items() if not math.isnan(value)}
    names = dict(zip(finite, shown_names(list(finite)), strict=True))
    ranked = sorted(finite.items(), key=lambda item: (-item[1], item[0]))
    half, left_out = MOST_BARS // 2, max(0, len(ranked) - MOST_BARS)
    shown = ranked[:half] + ranked[-half:] if left_out else ranked
    rows = np.arange(len(shown)) + (np.arange(len(shown)) >= half) * (2.0 if left_out else 0.0)
    figure = new_figure(8, 1.6 + 0.22 * max(2, len(shown)))
    axes = figure.subplots()
    heights = [100 * value for _, value in shown]
    axes.bar_label(axes.barh(rows, heights, color=BLUE), [f"{value:.1f}" for value in heights], padding=2, fontsize=8)
    if shown:
        mean = 100 * float(np.mean(list(finite.values())))
        axes.axvline(mean, color=ORANGE, linestyle="--", label=f"mean of {plural(len(finite), 'class')}, {mean:.1f} %")
        axes.set_ylim(rows[-1] + 0.7, -0.7)
        figure.legend(loc="outside lower right", fontsize=8)
    else:
        axes.text(50, 0, "no class has a clip", ha="center", va="center")
    if left_out:
        axes.text(1, half + 0.5, f"{plural(left_out, 'class')} between", va="center", fontsize=8, style="italic")
    axes.set_yticks(rows, [names[name] for name, _ in shown], fontsize=8)
    axes.set(xlim=(0, 108), xlabel="%")
    figure.suptitle(title, fontsize=11)
    return figure


def f1_figure(
    posteriors: Tensor, target: Tensor, class_names: Sequence[str], thresholds: Sequence[float], title: str
) -> "Figure":
    """F1 over the threshold, a line per class that has a positive, and a dot at the model's threshold.

    More than :data:`MOST_NAMED` classes: thin lines without names, and their mean.

    Args:
        posteriors: ``(clips, num_classes)``.
        target: ``(clips, num_classes)`` of 0 and 1.
        class_names: In the order of the posteriors.
        thresholds: Of each class.
        title: Of the picture.
    """
    figure = new_figure(8, 5)
    axes = figure.subplots()
    present = [index for index in range(len(class_names)) if (target[:, index] > 0.5).any()]
    few, grid, lines, names = len(present) <= MOST_NAMED, np.linspace(0, 1, 201), [], shown_names(class_names)
    for number, index in enumerate(present):
        descending, f1 = f1_curve(posteriors[:, index], target[:, index] > 0.5)
        steps = np.append(descending.flip(0).double().numpy(), np.inf)  # over the greatest posterior nothing is a yes
        heights = np.append(f1.flip(0).numpy(), 0.0)
        lines.append(heights[np.searchsorted(steps, grid)])
        height = heights[np.searchsorted(steps, np.float32(thresholds[index]))]
        if few:
            dashes = ("-", "--")[number // 4]
            axes.plot(grid, lines[-1], dashes, color=_COLOURS[number], linewidth=1.5, label=names[index])
            axes.plot(thresholds[index], height, "o", color=_COLOURS[number], markersize=6)
        else:
            axes.plot(grid, lines[-1], color=GREY, alpha=0.25, linewidth=0.6)
            axes.plot(thresholds[index], height, ".", color=ORANGE, markersize=4)
    if present and not few:
        axes.plot(
            grid, np.mean(lines, axis=0), color=BLUE, linewidth=2, label=f"mean of {plural(len(present), 'class')}"
        )
    axes.set(xlabel="threshold (dots: the model's)", ylabel="F1", xlim=(-0.01, 1.01), ylim=(0, 1.03))
    axes.grid(alpha=0.3)
    if present:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
