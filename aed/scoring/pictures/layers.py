"""Quantisation layer by layer: signal to noise, ranges of activations and of weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aed.scoring.pictures.canvas import BLUE, GREEN, GREY, ORANGE, place, placed_figure, plural, save, widest
from aed.scoring.pictures.fonts import drawable, shown_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[Mapping[str, Any]]


def plot_layers(path: Path, layers: Rows, subject: str = "") -> None:
    """Draws :func:`layers_figure`.

    Args:
        path: Of the picture.
        layers: As in ``quantization.json``.
        subject: Model and data set.
    """
    title = f"int8, {plural(len(layers), 'layer')}"
    title = f"{drawable(subject)}: {title}" if subject else title
    save(path, [subject, *(str(row["name"]) for row in layers)], lambda: layers_figure(layers, title))


def layers_figure(layers: Rows, title: str) -> "Figure":
    """A row a layer, from the input down: SQNR, range of activations and the part in int8's reach, range of weights."""
    rows = np.arange(len(layers))
    names = shown_names([str(row["name"]) for row in layers])
    figure = placed_figure(13, 1.4 + 0.3 * max(2, len(layers)))
    place(figure, left=0.3 + widest(names, 10), right=0.15, bottom=0.55, top=0.7, wspace=0.04)
    noise, activations, weights = figure.subplots(1, 3, sharey=True)
    values = [row["sqnr_db"] for row in layers]
    is_float = [row["precision"] != "int8" for row in layers]
    bars = noise.barh(rows, [value or 0.0 for value in values], color=[GREY if own else BLUE for own in is_float])
    for bar, own in zip(bars, is_float, strict=True):
        bar.set_hatch("///" if own else None)
    noise.bar_label(bars, ["exact" if value is None else f"{value:.1f}" for value in values], padding=3, fontsize=8)
    noise.set(xlabel="signal to quantisation noise of the output, dB")
    noise.set_title("SQNR (grey, hatched: left in float)" if any(is_float) else "SQNR", fontsize=10)
    _draw_ranges(activations, layers, "activation", GREEN, "")
    _draw_ranges(weights, layers, "weight", ORANGE, "xx")
    for number, row in enumerate(layers):
        if row.get("scale") is not None:
            covered = [row["scale"] * (end - row["zero_point"]) for end in (-128, 127)]
            activations.plot(covered, [number, number], "|", color="black", markersize=9)
    activations.set_title("activations: range of the output (black: ends of int8)", fontsize=10)
    weights.set_title("weights: range in float", fontsize=10)
    noise.set_yticks(rows, names)
    noise.set_ylim(len(layers) - 0.4, -0.6)
    low, high = min(0.0, *(value or 0.0 for value in values)), max(1.0, *(value or 0.0 for value in values))
    noise.set_xlim(1.15 * low, 1.15 * high)  # room for the number beside the longest bar
    for axes in (noise, activations, weights):
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / figure.get_figheight())
    return figure


def _draw_ranges(axes: "Axes", layers: Rows, kind: str, colour: str, hatch: str) -> None:
    """A bar from least to greatest value of each layer that has them, both ends in numbers."""
    known = [(number, row) for number, row in enumerate(layers) if row[f"{kind}_min"] is not None]
    low, high = (np.array([row[f"{kind}_{end}"] for _, row in known], dtype=float) for end in ("min", "max"))
    axes.barh([number for number, _ in known], high - low, left=low, color=colour, alpha=0.75, hatch=hatch)
    least, most = min(0.0, low.min(initial=0.0)), max(0.0, high.max(initial=0.0))
    span = (most - least) or 1.0
    axes.set_xlim(least - 0.06 * span, most + 0.5 * span)
    for (number, _), *ends in zip(known, low, high, strict=True):  # a column of its own, right of all bars
        axes.text(most + 0.47 * span, number, "{:.3g} .. {:.3g}".format(*ends), ha="right", va="center", fontsize=8)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_xlabel("value")
