"""Learning curves: loss and accuracy, or mean average precision, of each epoch."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING

from aed.scoring.levels import alarms_of
from aed.scoring.pictures.canvas import BLUE, GREEN, ORANGE, RED, place, placed_figure, plural, save
from aed.scoring.pictures.fonts import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = dict[str, list[tuple[int, float]]]

_SPLITS = {"train": "training", "val": "validation"}
_STYLES = {"train": (ORANGE, "--"), "val": (BLUE, "-")}


def plot_curves(path: Path, metrics_csv: Path, subject: str = "") -> None:
    """Draws :func:`curves_figure`; nothing without epochs.

    Args:
        path: Of the picture.
        metrics_csv: Lightning's, a row per epoch and split.
        subject: Model and data set.
    """
    curves = read_curves(metrics_csv)
    save(path, [subject], lambda: curves_figure(curves, subject) if curves else None)


def read_curves(metrics_csv: Path) -> Curves:
    """Metric -> (epoch from 1, value) of training and validation; values that are no numbers are left out."""
    curves: Curves = {}
    with metrics_csv.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key, text in row.items():
                if text and key.startswith(("train/", "val/")) and row.get("epoch") and math.isfinite(float(text)):
                    curves.setdefault(key, []).append((int(row["epoch"]) + 1, float(text)))
    return curves


def curves_figure(curves: Curves, subject: str) -> "Figure":
    """Loss on the left, scores in % on the right, where there are any; over epochs counted from 1."""
    scored = any(not key.endswith("loss") for key in curves)
    figure = placed_figure(11 if scored else 6, 4.4)
    place(figure, left=0.75, right=0.15, bottom=0.6, top=0.5, wspace=0.17)
    panels = figure.subplots(1, 2 if scored else 1, squeeze=False)[0]
    epochs = max(epoch for points in curves.values() for epoch, _ in points)
    for key, points in sorted(curves.items()):
        split, _, metric = key.partition("/")
        is_loss = metric.endswith("loss")
        colour, line = _STYLES[split]
        colour = GREEN if metric.startswith("clip_") else colour
        level = "" if is_loss else ", clips" if metric.startswith("clip_") else ", patches"
        if (alarms := alarms_of(key)) is not None:
            colour, level = RED, f", events found at {alarms:g} alarms/h"
        x, y = zip(*points, strict=True)
        values = y if is_loss else [100 * value for value in y]
        marker = "." if epochs <= 60 else ""
        panels[0 if is_loss else 1].plot(x, values, line, color=colour, marker=marker, label=f"{_SPLITS[split]}{level}")
    measure = "mean average precision, %" if any(key.endswith("_map") for key in curves) else "accuracy, %"
    for axes, name in zip(panels, ("loss (cross entropy), nats", measure), strict=False):
        axes.set(xlabel="epoch", ylabel=name)
        axes.set_xlim(0.5, epochs + 0.5) if epochs < 20 else axes.set_xlim(1, epochs)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize=9)
    title = f"learning curves, {plural(epochs, 'epoch')}"
    figure.suptitle(f"{drawable(subject)}: {title}" if subject else title, fontsize=11)
    return figure
