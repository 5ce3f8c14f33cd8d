"""Scores against costs of the trials of a search, and the line of those that no other is better than."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aed.scoring.pictures.canvas import BLUE, GREEN, GREY, ORANGE, new_figure, save
from aed.scoring.pictures.fonts import drawable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AXES = ("M instructions a second", "flash, KiB", "RAM, KiB")
_STYLES = {
    "other": {"color": GREY, "marker": ".", "label": "trials"},
    "shipped": {"color": GREEN, "marker": "D", "label": "shipped recipes"},
    "front": {"color": BLUE, "marker": "o", "label": "none is better"},
    "winner": {"color": ORANGE, "marker": "*", "label": "winners"},
}


@dataclass(frozen=True)
class Dot:
    """A trial.

    Args:
        costs: M instructions a second, KiB of flash, KiB of RAM.
        score: Percent.
        kind: ``other``, ``shipped``, ``front`` or ``winner``.
        name: Of the trial.
    """

    costs: tuple[float, float, float]
    score: float
    kind: str
    name: str


def plot_pareto(path: Path, dots: Sequence[Dot], metric: str, title: str) -> None:
    """Draws :func:`pareto_figure`; nothing where there is no trial.

    Args:
        path: Of the picture.
        dots: Trials.
        metric: Of the score.
        title: Of the picture.
    """
    save(path, [metric, title], lambda: pareto_figure(dots, metric, title) if dots else None)


def pareto_figure(dots: Sequence[Dot], metric: str, title: str) -> "Figure":
    """The score over each of the costs, beside each other; a step line joins what is best at that cost."""
    from matplotlib.ticker import LogLocator, NullFormatter

    figure = new_figure(13, 4.6)
    panels = figure.subplots(1, len(_AXES), sharey=True)
    for at, (axes, label) in enumerate(zip(panels, _AXES, strict=True)):
        steps = best_so_far([(dot.costs[at], dot.score) for dot in dots])
        axes.step([x for x, _ in steps], [y for _, y in steps], where="post", color=BLUE, linewidth=1, alpha=0.6)
        for kind, style in _STYLES.items():
            own = [dot for dot in dots if dot.kind == kind]
            size = 90 if kind == "winner" else 36
            axes.scatter([dot.costs[at] for dot in own], [dot.score for dot in own], s=size, zorder=3, **style)
        for dot in dots:
            if dot.kind != "other":
                place = dot.costs[at], dot.score
                axes.annotate(drawable(dot.name), place, (4, 4), textcoords="offset points", size=7)
        axes.set(xlabel=label, xscale="log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    panels[0].set_ylabel(f"{drawable(metric)}, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_STYLES), fontsize=8)
    figure.suptitle(drawable(title), fontsize=11)
    return figure


def best_so_far(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points of growing cost and growing score: each the first to reach its score."""
    found: list[tuple[float, float]] = []
    for cost, score in sorted(points, key=lambda point: (point[0], -point[1])):
        if not found or score > found[-1][1]:
            found.append((cost, score))
    return found
