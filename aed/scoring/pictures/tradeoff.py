"""Detection error tradeoff: missed events over false alarms, of a rule's thresholds and of the rules to choose from."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aed.scoring.pictures.canvas import BLUE, GREEN, GREY, ORANGE, RED, new_figure, save
from aed.scoring.pictures.fonts import drawable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = Mapping[str, float]
"""``miss_rate``, ``background_per_hour``, ``confused_per_100_events``, and each of these for each class."""

_COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#8C6D31")
_LINES = ("-", "--", ":", "-.")
_MOST = len(_COLOURS) * len(_LINES)
_AXES = (
    ("background_per_hour", "alarms an hour where nothing is"),
    ("confused_per_100_events", "alarms in the time of other events, for 100 events"),
)


def plot_tradeoff(path: Path, curve: Sequence[Point], own: Point, class_names: Sequence[str], subject: str) -> None:
    """Draws :func:`tradeoff_figure`.

    Args:
        path: Of the picture.
        curve: A point a threshold.
        own: Of the rule itself.
        class_names: Of the model.
        subject: Model and recordings, for the title.
    """
    save(path, [subject, *class_names], lambda: tradeoff_figure(curve, own, class_names, subject))


def tradeoff_figure(curve: Sequence[Point], own: Point, class_names: Sequence[str], subject: str) -> "Figure":
    """Misses over both kinds of false alarms: all classes in black, each that occurs, and the rule's own point."""
    names = [name for name in class_names if not math.isnan(own[f"miss_rate/{name}"])]
    figure = new_figure(12, 5.2)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (key, label) in zip(panels, _AXES, strict=True):
        rates = [point[each] for point in curve for each in (key, *(f"{key}/{name}" for name in names))]
        least = min((rate for rate in rates if rate > 0), default=1.0)
        for number, name in enumerate(names[:_MOST]):
            style = {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _LINES[number // len(_COLOURS)]}
            _draw(axes, [(point[f"{key}/{name}"], point[f"miss_rate/{name}"]) for point in curve], linewidth=1, **style)
        every = [(point[key], point["miss_rate"]) for point in curve]
        _draw(axes, every, linewidth=2, color="black", linestyle="-")
        if not math.isnan(own[key] + own["miss_rate"]):
            at = own[key], 100 * own["miss_rate"]
            axes.plot(*at, "o", color=ORANGE, markeredgecolor="black", clip_on=False, zorder=3)
        _scale(axes, label, least)
    panels[0].set(ylabel="events missed, %", ylim=(-1, 101))
    labels = [*map(drawable, names[:_MOST]), "all", "the rule"]
    figure.legend([*panels[0].lines][: len(labels)], labels, loc="outside right upper", fontsize=8)
    figure.suptitle(f"{drawable(subject)}: misses against false alarms over the threshold", fontsize=11)
    return figure


def plot_candidates(
    path: Path, candidates: Mapping[str, Sequence[tuple[float, float]]], chosen: tuple[float, float], budget: float
) -> None:
    """Draws :func:`candidates_figure`.

    Args:
        path: Of the picture.
        candidates: Name of a rule's shape -> alarms an hour where nothing is, ascending, and share of missed events.
        chosen: The same of the rule that was chosen.
        budget: Alarms an hour.
    """
    save(path, [], lambda: candidates_figure(candidates, chosen, budget))


def candidates_figure(
    candidates: Mapping[str, Sequence[tuple[float, float]]], chosen: tuple[float, float], budget: float
) -> "Figure":
    """Misses over alarms an hour, a line for the rules of a shape with the best thresholds."""
    figure = new_figure(9, 5.2)
    axes = figure.subplots()
    rates = [rate for points in candidates.values() for rate, _ in points]
    for number, (name, points) in enumerate(candidates.items()):
        style = {"color": _COLOURS[number % len(_COLOURS)], "linestyle": _LINES[number // len(_COLOURS) % len(_LINES)]}
        _draw(axes, points, linewidth=1, label=name, **style)
    axes.axvline(budget, color=GREY, linewidth=1, label=f"budget, {budget:g} an hour")
    axes.plot(
        chosen[0], 100 * chosen[1], "o", color=ORANGE, markeredgecolor="black", clip_on=False, zorder=3, label="chosen"
    )
    _scale(
        axes, "alarms an hour where nothing is, on validation", min((rate for rate in rates if rate > 0), default=1.0)
    )
    axes.set(ylabel="events missed, %", ylim=(-1, 101))
    figure.legend(loc="outside right upper", fontsize=8)
    figure.suptitle("rules to choose from: the best thresholds of each shape", fontsize=11)
    return figure


def _draw(axes: "Axes", points: Sequence[tuple[float, float]], **style: object) -> None:
    """The fewest misses that so many false alarms allow, in %."""
    best, steps = math.inf, []
    for rate, missed in sorted(point for point in points if not math.isnan(sum(point))):
        best = min(best, missed)
        steps.append((rate, 100 * best))
    axes.plot(*(zip(*steps, strict=True) if steps else ((), ())), drawstyle="steps-post", **style)  # type: ignore[arg-type]


def _scale(axes: "Axes", label: str, least: float) -> None:
    """A logarithmic axis that begins with 0: linear up to the least rate over it."""
    axes.set_xscale("symlog", linthresh=least, linscale=0.4)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)
