"""Robustness: accuracy and events found over the strength of each disturbance, beside those without any."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aed.scoring.pictures.canvas import BLUE, GREEN, GREY, ORANGE, new_figure, plural, save, title_of
from aed.scoring.robustness import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SNR = {"pink_noise_snr_db": ("pink noise", BLUE, "-o"), "other_sound_snr_db": ("sound of another class", ORANGE, "--s")}
LEVEL = {"level_db": ("quieter", GREEN, "-o")}
SINGLE = ("grid_offset_hops", "microphone", "bits", "over_full_scale_db")
"""Disturbances drawn as points of their own."""


def plot_robustness(path: Path, outcomes: Sequence[Outcome], split: str, subject: str = "") -> None:
    """Draws :func:`robustness_figure`.

    Args:
        path: Of the picture.
        outcomes: That of the undisturbed clips first.
        split: ``test``, ``test_int8``, ...
        subject: Model and data set.
    """

    def draw() -> "Figure":
        plain = outcomes[0]
        counts = [plural(plain.clips, "clip"), *([plural(plain.events.events, "event")] if plain.events else [])]
        title = title_of(subject, split, *counts, "robustness, 95 % intervals")
        return robustness_figure(outcomes, title)

    save(path, [subject], draw)


def robustness_figure(outcomes: Sequence[Outcome], title: str) -> "Figure":
    """Accuracy of clips over noise, over level, and for every other disturbance; below it the events found."""
    streams = [each for each in outcomes if each.events]
    figure = new_figure(14, 9 if streams else 4.8)
    grid = figure.subplots(2 if streams else 1, 3, sharey=True, width_ratios=[1, 1, 1.5], squeeze=False)
    _draw_row(grid[0], outcomes, lambda each: (each.clip_acc, each.interval), "clips right, %")
    if streams:
        _draw_row(grid[1], streams, _recall, "events found in streams, %")
    figure.suptitle(title, fontsize=11)
    return figure


Measure = Callable[[Outcome], tuple[float, tuple[float, float] | None]]
"""A share, and its interval if it is known."""


def _recall(outcome: Outcome) -> tuple[float, tuple[float, float] | None]:
    assert outcome.events is not None
    return outcome.events.recall, outcome.events.interval


def _draw_row(panels: Sequence["Axes"], outcomes: Sequence[Outcome], measure: Measure, name: str) -> None:
    noise, level, others = panels
    plain = outcomes[0]
    _draw_lines(noise, outcomes, SNR, measure)
    _draw_lines(level, [replace(plain, condition="level_db", value=0.0), *outcomes], LEVEL, measure)
    noise.set(xlabel="signal-to-noise ratio, dB", ylabel=name)
    level.set(xlabel="level against the recording's, dB")
    single = [each for each in outcomes if each.condition in SINGLE]
    for place, each in enumerate(single):
        _draw_point(others, place, measure(each), "o", BLUE)
    others.set_xticks(range(len(single)), [each.label for each in single], rotation=30, ha="right", fontsize=9)
    share, interval = measure(plain)
    for axes in (noise, level, others):
        axes.axhline(100 * share, color=GREY, linestyle=":", label=plain.label)
        if interval is not None:
            axes.axhspan(*(100 * end for end in interval), color=GREY, alpha=0.12)
        axes.set_ylim(-2, 102)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", fontsize=8)
    noise.invert_xaxis()
    level.invert_xaxis()


def _draw_lines(
    axes: "Axes", outcomes: Sequence[Outcome], lines: Mapping[str, tuple[str, str, str]], measure: Measure
) -> None:
    """A line with intervals for each condition."""
    for condition, (label, colour, style) in lines.items():
        own = [each for each in outcomes if each.condition == condition]
        axes.plot([], [], style, color=colour, label=label)
        axes.plot([each.value for each in own], [100 * measure(each)[0] for each in own], style, color=colour)
        for each in own:
            _draw_point(axes, float(each.value), measure(each), "", colour)


def _draw_point(
    axes: "Axes", at: float, measured: tuple[float, tuple[float, float] | None], marker: str, colour: str
) -> None:
    """A share and its interval."""
    share, (low, high) = measured[0], measured[1] or (measured[0], measured[0])
    off = [[100 * max(share - low, 0.0)], [100 * max(high - share, 0.0)]]
    axes.errorbar([at], [100 * share], off, fmt=marker or "none", color=colour, ecolor=colour, capsize=3, alpha=0.8)
