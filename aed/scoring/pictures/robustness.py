"""Robustness: accuracy over the strength of each disturbance, beside that of the undisturbed clips."""

from collections.abc import Mapping, Sequence
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
        title = title_of(subject, split, plural(outcomes[0].clips, "clip"), "robustness, 95 % intervals")
        return robustness_figure(outcomes, title)

    save(path, [subject], draw)


def robustness_figure(outcomes: Sequence[Outcome], title: str) -> "Figure":
    """Accuracy of clips over noise, over level, and for every other disturbance."""
    figure = new_figure(14, 4.8)
    noise, level, others = figure.subplots(1, 3, sharey=True, width_ratios=[1, 1, 1.5])
    plain = outcomes[0]
    _draw_lines(noise, outcomes, SNR)
    _draw_lines(level, [replace(plain, condition="level_db", value=0.0), *outcomes], LEVEL)
    noise.set(xlabel="signal-to-noise ratio, dB", ylabel="clips right, %")
    level.set(xlabel="level against the recording's, dB")
    single = [each for each in outcomes if each.condition in SINGLE]
    for place, each in enumerate(single):
        _draw_point(others, place, each, "o", BLUE)
    others.set_xticks(range(len(single)), [each.label for each in single], rotation=30, ha="right", fontsize=9)
    for axes in (noise, level, others):
        axes.axhline(100 * plain.clip_acc, color=GREY, linestyle=":", label=plain.label)
        axes.axhspan(*(100 * end for end in plain.interval), color=GREY, alpha=0.12)
        axes.set_ylim(-2, 102)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left", fontsize=8)
    noise.invert_xaxis()
    level.invert_xaxis()
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_lines(axes: "Axes", outcomes: Sequence[Outcome], lines: Mapping[str, tuple[str, str, str]]) -> None:
    """A line with intervals for each condition."""
    for condition, (label, colour, style) in lines.items():
        own = [each for each in outcomes if each.condition == condition]
        axes.plot([], [], style, color=colour, label=label)
        axes.plot([each.value for each in own], [100 * each.clip_acc for each in own], style, color=colour)
        for each in own:
            _draw_point(axes, float(each.value), each, "", colour)


def _draw_point(axes: "Axes", at: float, outcome: Outcome, marker: str, colour: str) -> None:
    """An accuracy and its interval."""
    share, (low, high) = outcome.clip_acc, outcome.interval
    off = [[100 * max(share - low, 0.0)], [100 * max(high - share, 0.0)]]
    axes.errorbar([at], [100 * share], off, fmt=marker or "none", color=colour, ecolor=colour, capsize=3, alpha=0.8)
