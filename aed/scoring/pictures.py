"""Pictures of a run, drawn from the numbers in its files."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aed.base.files import write_whole
from aed.scoring.confidence import claims, reliability
from aed.scoring.multilabel import f1_curve
from aed.scoring.rejection import risk_coverage
from aed.scoring.scores import Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 40
"""Classes over which cells and lines lose their own text."""


def plot_scores(folder: Path, prefix: str, scores: Scores, class_names: Sequence[str]) -> None:
    """Draws what fits the task, into files that begin with the prefix.

    Single-label: ``_patch_confusion``, ``_clip_confusion``. Multi-label: ``_clip_ap``, ``_clip_f1``. Both:
    ``_clip_reliability``.

    Args:
        folder: Of the pictures.
        prefix: ``test``, ``val_int8``, ...
        scores: Of the split.
        class_names: In the order of the posteriors.
    """
    posteriors, target = scores.clip_posteriors.cpu(), scores.clip_target.cpu()
    for unit, plural, confusion in (
        ("patch", "patches", scores.patch_confusion),
        ("clip", "clips", scores.clip_confusion),
    ):
        if confusion is not None:
            path = folder / f"{prefix}_{unit}_confusion.png"
            plot_confusion(path, confusion.cpu().numpy(), class_names, f"{prefix}: {plural}")
    if scores.task == "multi_label":
        mark = "clip_ap/"
        precisions = {k.removeprefix(mark): v for k, v in scores.metrics.items() if k.startswith(mark)}
        plot_classes(folder / f"{prefix}_clip_ap.png", precisions, f"{prefix}: average precision of clips")
        thresholds = scores.decision.thresholds_of(len(class_names))
        plot_f1(folder / f"{prefix}_clip_f1.png", posteriors, target, class_names, thresholds, f"{prefix}: F1 of clips")
    plot_reliability(folder / f"{prefix}_clip_reliability.png", posteriors, target, f"{prefix}: clips")


def plot_confusion(path: Path, confusion: npt.NDArray[np.int64], class_names: Sequence[str], title: str) -> None:
    """Draws a confusion matrix: counts, coloured by the share of the true class (rows); many classes: colours alone."""
    many = len(class_names) > MANY
    size = min(24.0, 0.16 * len(class_names) + 4) if many else max(5.0, 0.55 * len(class_names) + 2)
    font = max(3.0, min(9.0, 0.72 * 72 * (size - 4) / len(class_names))) if many else None
    figure = _figure(size, size)
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(class_names)), class_names, rotation=90 if many else 60, ha="center" if many else "right")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.tick_params(labelsize=font, length=1 if many else 3.5)
    axes.set(xlabel="decided", ylabel="true", title=title)
    for (row, column), count in np.ndenumerate(confusion):
        if count and not many:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    _save(path, figure)


def plot_classes(path: Path, values: Mapping[str, float], title: str) -> None:
    """Draws a bar a class in descending order; of more than 60 classes the best 30 and the worst 30.

    Args:
        path: Of the picture.
        values: Fraction of each class, at least one.
        title: Of the picture.
    """
    ranked = sorted(values.items(), key=lambda item: (-item[1], item[0]))
    left_out = max(0, len(ranked) - 60)
    shown = ranked[:30] + ranked[-30:] if left_out else ranked
    places = np.arange(len(shown)) + (np.arange(len(shown)) >= 30) * (2.0 if left_out else 0.0)
    figure = _figure(8, 1.4 + 0.22 * len(shown))
    axes = figure.subplots()
    bars = axes.barh(places, [value for _, value in shown], color="tab:blue")
    axes.bar_label(bars, [f"{value:.2f}" for _, value in shown], padding=2, fontsize=8)
    mean = float(np.mean(list(values.values())))
    axes.axvline(mean, color="tab:orange")
    if left_out:
        axes.text(0.01, 30.5, f"{left_out} classes between", va="center", fontsize=8, style="italic")
    axes.set_yticks(places, [name for name, _ in shown], fontsize=8)
    axes.set(xlim=(0, 1.08), ylim=(places[-1] + 0.7, -0.7), title=f"{title}, mean {mean:.3f}")
    _save(path, figure)


def plot_f1(
    path: Path,
    posteriors: Tensor,
    target: Tensor,
    class_names: Sequence[str],
    thresholds: Sequence[float],
    title: str,
) -> None:
    """Draws F1 over the threshold, a line a class that has a positive, and a dot at the model's threshold.

    More than ten classes: thin lines without names, and their mean.

    Args:
        path: Of the picture.
        posteriors: ``(clips, num_classes)``.
        target: ``(clips, num_classes)`` of 0 and 1.
        class_names: In the order of the posteriors.
        thresholds: One a class.
        title: Of the picture.
    """
    figure = _figure(8, 5)
    axes = figure.subplots()
    held = [place for place in range(len(class_names)) if (target[:, place] > 0.5).any()]
    few, grid, lines = len(held) <= 10, np.linspace(0, 1, 201), []
    for place in held:
        descending, f1 = f1_curve(posteriors[:, place], target[:, place] > 0.5)
        steps = np.append(descending.flip(0).double().numpy(), np.inf)  # over the greatest posterior nothing is a yes
        heights = np.append(f1.flip(0).numpy(), 0.0)
        lines.append(heights[np.searchsorted(steps, grid)])
        dot = thresholds[place]
        style = {"label": class_names[place]} if few else {"color": "tab:grey", "alpha": 0.25}
        (line,) = axes.plot(grid, lines[-1], linewidth=1.5 if few else 0.6, **style)
        height = heights[np.searchsorted(steps, np.float32(dot))]
        axes.plot(dot, height, ".", color=line.get_color() if few else "tab:orange", markersize=9 if few else 4)
    if not few:
        axes.plot(grid, np.mean(lines, axis=0), color="tab:blue", label=f"mean of {len(held)} classes")
    axes.set(
        xlabel="threshold", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02), title=f"{title} (dots: the model's thresholds)"
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    _save(path, figure)


def plot_reliability(path: Path, posteriors: Tensor, target: Tensor, title: str, bins: int = 15) -> None:
    """Draws how often statements are true over how sure the model is, and how many there are.

    Args:
        path: Of the picture.
        posteriors: ``(rows, num_classes)``.
        target: ``(rows,)`` int64, or ``(rows, num_classes)`` of 0 and 1.
        title: Of the picture.
        bins: Their number, of equal width.
    """
    count, sure, true = (part.numpy() for part in reliability(*claims(posteriors, target), bins))
    middle = (np.arange(bins) + 0.5) / bins
    error = np.nansum(np.abs(sure - true) * count) / count.sum()
    figure = _figure(5, 6)
    share, number = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    share.bar(middle, np.nan_to_num(true), width=0.9 / bins, color="tab:blue", label="share that is right")
    share.plot(sure, sure, ".", color="tab:orange", label="mean posterior")
    share.plot([0, 1], [0, 1], "--", color="tab:grey", linewidth=1)
    share.set(ylim=(0, 1.02), ylabel="right", title=f"{title}, calibration error {error:.4f}")
    share.legend(loc="upper left", fontsize=8)
    number.bar(middle, count, width=0.9 / bins, color="tab:grey")
    number.set(xlim=(0, 1), xlabel="posterior", ylabel="number", yscale="log" if count.max() > 100 else "linear")
    _save(path, figure)


def plot_rejection(
    path: Path, confidence: Tensor, right: Tensor, threshold: float, title: str, unseen: Tensor | None = None
) -> None:
    """Draws the errors left over the share of clips kept; with unseen sounds also both histograms and their ROC.

    Args:
        path: Of the picture.
        confidence: ``(clips,)``, greatest posterior of each clip of a known class.
        right: ``(clips,)`` bool, whether its class is the true one.
        threshold: Of the model.
        title: Of the picture.
        unseen: ``(unseen_clips,)``, greatest posterior of each clip of other sounds.
    """
    both = unseen is not None and len(unseen) > 0
    figure = _figure(14 if both else 5.5, 4.4)
    panels = figure.subplots(1, 3 if both else 1, squeeze=False)[0]
    coverage, risk = (100 * part.numpy() for part in risk_coverage(confidence, right))
    panels[0].step(coverage, risk, where="post", color="tab:blue")
    kept = confidence >= threshold
    if kept.any():
        at = 100 * float(kept.double().mean()), 100 * float((~right[kept]).double().mean())
        panels[0].plot(*at, "o", color="tab:orange", label=f"threshold {threshold:.3f}")
        panels[0].legend()
    panels[0].set(xlabel="clips kept, %", ylabel="errors among them, %", xlim=(0, 101), title=title)
    panels[0].set_ylim(bottom=0)
    panels[0].grid(alpha=0.3)
    if unseen is not None and both:
        _plot_unseen(panels[1], panels[2], confidence, unseen, threshold)
    _save(path, figure)


def _plot_unseen(histogram: "Axes", roc: "Axes", known: Tensor, unseen: Tensor, threshold: float) -> None:
    from sklearn.metrics import roc_curve  # takes 0.7 s to import, and few have unseen sounds

    bins = np.linspace(0, 1, 41).tolist()
    for rows, label, colour in ((known, "known", "tab:blue"), (unseen, "unseen", "tab:red")):
        share = np.full(len(rows), 100 / len(rows))
        histogram.hist(rows.numpy(), bins, weights=share, alpha=0.6, label=f"{label}, {len(rows)}", color=colour)
    histogram.axvline(threshold, color="tab:orange", label=f"threshold {threshold:.3f}")
    histogram.set(xlabel="greatest posterior", ylabel="clips, %", title="known and unseen sounds")
    histogram.legend()
    truth = np.repeat([1, 0], [len(known), len(unseen)])
    roc.plot(*roc_curve(truth, torch.cat([known, unseen]).numpy())[:2], color="tab:blue")
    roc.plot([0, 1], [0, 1], "--", color="tab:grey", linewidth=1)
    at = float((unseen >= threshold).double().mean()), float((known >= threshold).double().mean())
    roc.plot(*at, "o", color="tab:orange")
    roc.set(xlabel="unseen clips accepted", ylabel="known clips accepted", title="ROC", aspect="equal")
    roc.grid(alpha=0.3)


def plot_curves(path: Path, metrics_csv: Path) -> None:
    """Draws loss and accuracy, or mean average precision, over the epochs; nothing without epochs.

    Args:
        path: Of the picture.
        metrics_csv: Lightning's.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    with metrics_csv.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            for key, text in row.items():
                if text and key.startswith(("train/", "val/")) and row.get("epoch"):
                    curves.setdefault(key, []).append((int(row["epoch"]), float(text)))
    if not curves:
        return
    figure = _figure(10, 4)
    loss, accuracy = figure.subplots(1, 2)
    measure = "mean average precision" if any(key.endswith("_map") for key in curves) else "accuracy"
    for key, points in sorted(curves.items()):
        axes = loss if key.endswith("loss") else accuracy
        axes.plot(*zip(*points, strict=True), marker=".", label=key)
    for axes, title in ((loss, "cross entropy"), (accuracy, measure)):
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:  # several labels without validation clips: the loss alone
            axes.legend()
    _save(path, figure)


def plot_layers(path: Path, layers: Sequence[Mapping[str, Any]]) -> None:
    """Draws SQNR, activation range and weight range of each layer."""
    names, places = [row["name"] for row in layers], np.arange(len(layers))
    figure = _figure(13, 1.5 + 0.32 * len(layers))
    noise, activations, weights = figure.subplots(1, 3, sharey=True)
    colours = ["tab:blue" if row["precision"] == "int8" else "tab:grey" for row in layers]
    noise.barh(places, [row["sqnr_db"] or 0.0 for row in layers], color=colours)
    noise.set(xlabel="dB", title="signal to quantisation noise (grey: float)")
    for axes, kind in ((activations, "activation"), (weights, "weight")):
        known = [(place, row) for place, row in enumerate(layers) if row[f"{kind}_min"] is not None]
        low = np.array([row[f"{kind}_min"] for _, row in known])
        high = np.array([row[f"{kind}_max"] for _, row in known])
        axes.barh([place for place, _ in known], high - low, left=low, color="tab:green")
        axes.set(xlabel="value", title=f"{kind} range")
    noise.set_yticks(places, names)
    noise.invert_yaxis()
    for axes in (noise, activations, weights):
        axes.use_sticky_edges = False  # room beside the longest bar
        axes.grid(axis="x", alpha=0.3)
    _save(path, figure)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure  # here, since it takes long and few commands draw

    return Figure(figsize=(width, height), layout="constrained")


def _save(path: Path, figure: "Figure") -> None:
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
