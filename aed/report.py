"""What a run leaves: metrics as JSON first, then tables and pictures drawn from the same numbers."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from aed.dsp.aggregate import decide
from aed.files import write_whole
from aed.scores import Scores


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` as indented JSON."""
    write_whole(path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a csv file."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(rows)
        text.flush()
        text.detach()

    write_whole(path, write)


def write_clips(path: Path, names: Sequence[str], scores: Scores, class_names: Sequence[str]) -> None:
    """Writes one row a clip: file, true and decided class, posterior of each class."""
    decided = decide(scores.clip_posteriors).tolist()
    rows = [
        [name, class_names[truth], class_names[choice], *(f"{value:.6f}" for value in posterior)]
        for name, truth, choice, posterior in zip(
            names, scores.clip_target.tolist(), decided, scores.clip_posteriors.tolist(), strict=True
        )
    ]
    write_rows(path, ["filename", "category", "decided", *class_names], rows)


def print_scores(
    split: str, metrics: Mapping[str, float], counts: Sequence[int], class_names: Sequence[str], note: str = ""
) -> None:
    """Prints the accuracy of patches and clips, in all and of each class.

    Args:
        split: ``test`` or another prefix of the metrics.
        metrics: As in ``metrics.json``.
        counts: Clips of each class.
        class_names: In the same order.
        note: Printed under the table.
    """
    table = Table(title=f"{split} accuracy, %", caption=note)
    for column, justify in (("class", "left"), ("clips", "right"), ("patches", "right"), ("clips ", "right")):
        table.add_column(column.strip() if column != "clips" else "number", justify=justify)  # type: ignore[arg-type]
    for name, count in zip(class_names, counts, strict=True):
        table.add_row(name, str(count), *(_percent(metrics, f"{split}/{level}/{name}") for level in _LEVELS))
    table.add_section()
    table.add_row("all", str(sum(counts)), *(_percent(metrics, f"{split}/{level}") for level in _LEVELS))
    Console().print(table)


_LEVELS = ("patch_acc", "clip_acc")


def _percent(metrics: Mapping[str, float], key: str) -> str:
    return f"{100 * metrics[key]:.2f}" if key in metrics else "-"


def plot_confusion(path: Path, confusion: npt.NDArray[np.int64], class_names: Sequence[str], title: str) -> None:
    """Draws a confusion matrix: counts, coloured by the share of the true class (rows)."""
    from matplotlib.figure import Figure

    size = max(5.0, 0.55 * len(class_names) + 2)
    figure = Figure(figsize=(size, size), layout="constrained")
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(class_names)), class_names, rotation=60, ha="right")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set(xlabel="decided", ylabel="true", title=title)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))


def plot_curves(path: Path, metrics_csv: Path) -> None:
    """Draws loss and accuracy over the epochs from Lightning's ``metrics.csv``; nothing without epochs."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves: dict[str, list[tuple[int, float]]] = {}
    with metrics_csv.open(newline="") as file:
        for row in csv.DictReader(file):
            for key, text in row.items():
                if text and key.startswith(("train/", "val/")) and row.get("epoch"):
                    curves.setdefault(key, []).append((int(row["epoch"]), float(text)))
    if not curves:
        return
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for key, points in sorted(curves.items()):
        axes = loss if key.endswith("loss") else accuracy
        axes.plot(*zip(*points, strict=True), marker=".", label=key)
    for axes, title in ((loss, "cross entropy"), (accuracy, "accuracy")):
        axes.set(xlabel="epoch", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
