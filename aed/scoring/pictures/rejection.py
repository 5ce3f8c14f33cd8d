"""Rejection: what a threshold on the score leaves out, and what stays wrong."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from aed.scoring.pictures.canvas import BLUE, GREY, ORANGE, RED, new_figure, plural, save, title_of
from aed.scoring.rejection import risk_coverage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_rejection(
    path: Path,
    confidence: Tensor,
    right: Tensor,
    threshold: float,
    split: str,
    unseen: Tensor | None = None,
    subject: str = "",
) -> None:
    """Draws :func:`rejection_figure`.

    Args:
        path: Of the picture.
        confidence: ``(clips,)``, score of each clip of a known class.
        right: ``(clips,)`` bool, whether its class is the true one.
        threshold: Of the model.
        split: ``test``, ``test_int8``, ...
        unseen: ``(unseen_clips,)``, score of each clip of other sounds.
        subject: Model and data set.
    """

    def draw() -> "Figure":
        title = title_of(subject, split, plural(len(confidence), "clip"), "rejection")
        return rejection_figure(confidence, right, threshold, title, unseen)

    save(path, [subject], draw)


def rejection_figure(
    confidence: Tensor, right: Tensor, threshold: float, title: str, unseen: Tensor | None = None
) -> "Figure":
    """Errors left over the share of accepted clips; with unseen sounds also both histograms and their ROC."""
    both = unseen is not None and len(unseen) > 0
    figure = new_figure(14 if both else 6, 4.6)
    panels = figure.subplots(1, 3 if both else 1, squeeze=False)[0]
    coverage, risk = (100 * part.numpy() for part in risk_coverage(confidence, right))
    panels[0].step(coverage, risk, where="post", color=BLUE)
    if len(coverage) == 1:
        panels[0].plot(coverage, risk, ".", color=BLUE)
    accepted = confidence >= threshold
    if accepted.any():
        at = 100 * float(accepted.double().mean()), 100 * float((~right[accepted]).double().mean())
        label = f"threshold {threshold:.3f}: {at[0]:.1f} % accepted, {at[1]:.1f} % wrong"
        panels[0].plot(*at, "o", color=ORANGE, markeredgecolor="black", clip_on=False, zorder=3, label=label)
    else:
        panels[0].plot([], [], "o", color=ORANGE, label=f"threshold {threshold:.3f}: all rejected")
    panels[0].legend(loc="upper left", fontsize=8)
    panels[0].set(xlabel="clips accepted, %", ylabel="wrong among them, %", xlim=(0, 101))
    panels[0].set_ylim(0, max(1.0, 1.3 * float(risk.max())))
    panels[0].grid(alpha=0.3)
    if unseen is not None and both:
        _draw_unseen(panels[1], panels[2], confidence, unseen, threshold)
    figure.suptitle(title, fontsize=11)
    return figure


def _draw_unseen(histogram: "Axes", roc: "Axes", known: Tensor, unseen: Tensor, threshold: float) -> None:
    from sklearn.metrics import roc_curve  # takes long to import, and few have unseen sounds

    bins = np.linspace(0, 1, 41).tolist()
    for rows, label, colour, hatch in ((known, "known", BLUE, None), (unseen, "unseen", RED, "///")):
        share = np.full(len(rows), 100 / len(rows))
        name = f"{label}, {plural(len(rows), 'clip')}"
        histogram.hist(rows.numpy(), bins, weights=share, alpha=0.55, label=name, color=colour, hatch=hatch)
    histogram.axvline(threshold, color="black", linestyle="--", label=f"threshold {threshold:.3f}")
    histogram.set(xlabel="greatest posterior", ylabel="clips of each kind, %", title="known and unseen sounds")
    histogram.legend(loc="best", fontsize=8)
    truth = np.repeat([1, 0], [len(known), len(unseen)])
    false_rate, true_rate = roc_curve(truth, torch.cat([known, unseen]).numpy())[:2]
    roc.plot(100 * false_rate, 100 * true_rate, color=BLUE)
    roc.plot([0, 100], [0, 100], "--", color=GREY, linewidth=1, label="a guess")
    at = 100 * float((unseen >= threshold).double().mean()), 100 * float((known >= threshold).double().mean())
    roc.plot(
        *at, "o", color=ORANGE, markeredgecolor="black", clip_on=False, zorder=3, label=f"threshold {threshold:.3f}"
    )
    roc.set(xlabel="unseen clips accepted, %", ylabel="known clips accepted, %", title="ROC", aspect="equal")
    roc.set(xlim=(-1, 101), ylim=(-1, 101))
    roc.legend(loc="lower right", fontsize=8)
    roc.grid(alpha=0.3)
