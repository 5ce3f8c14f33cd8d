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
from aed.errors import AedError
from aed.files import write_whole
from aed.scores import Scores


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` as indented JSON."""
    write_whole(path, lambda file: file.write((json.dumps(content, indent=1) + "\n").encode()))


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a run; {} where there is none.

    Raises:
        AedError: It is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise AedError(f"{path}: damaged ({error}); delete it") from error
    if not isinstance(content, dict):
        raise AedError(f"{path}: need a JSON object; delete it")
    return content


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
        table.add_row(name, str(count), *(_percent(metrics, f"{split}/{level}/{name}") for level in LEVELS))
    table.add_section()
    table.add_row("all", str(sum(counts)), *(_percent(metrics, f"{split}/{level}") for level in LEVELS))
    Console().print(table)


LEVELS = ("patch_acc", "clip_acc")
"""Metrics of a split, over patches and over clips."""


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


def print_layers(content: Mapping[str, Any]) -> None:
    """Prints what int8 costs each layer, and what was tried; ``content`` is that of ``quantization.json``."""
    table = Table(title="int8, layer by layer")
    for column in ("layer", "SQNR dB", "range", "sat. %", "KiB", "MMACC"):
        table.add_column(column, justify="left" if column == "layer" else "right", no_wrap=True)
    for row in content["layers"]:
        table.add_row(
            row["name"] if row["precision"] == "int8" else f"{row['name']} (float)",
            "exact" if row["sqnr_db"] is None else f"{row['sqnr_db']:.1f}",
            f"{row['activation_min']:.1f} .. {row['activation_max']:.1f}",
            f"{100 * row['saturated']:.2f}",
            f"{row['weights_bytes'] / 1024:.2f}",
            f"{row['macc'] / 1e6:.3f}",
        )
    cost = content["footprint"]
    table.add_section()
    table.add_row("all", "", "", "", f"{cost['weights_bytes'] / 1024:.2f}", f"{cost['macc'] / 1e6:.3f}")
    Console().print(table)
    if len(content["steps"]) > 1:
        steps = Table(title=f"repair: clips of {content['judging']['split']}, %")
        for column in ("step", "clips", "gain", "SQNR dB", "kept", "what"):
            steps.add_column(column)
        for step in content["steps"]:
            cells = (f"{100 * step['clip_acc']:.2f}", f"{step['gain']:+.2f}", f"{step['sqnr_db']:.1f}")
            steps.add_row(step["name"], *cells, "yes" if step["kept"] else "no", step["detail"])
        Console().print(steps)


def print_comparison(comparisons: Mapping[str, Any], note: str = "") -> None:
    """Prints float beside int8 for each split; ``comparisons`` is that part of ``quantization.json``."""
    table = Table(title="float and int8, %", caption=note)
    for column in ("split", "level", "float", "int8", "int8 - float", "same decision", "SQNR dB, median"):
        table.add_column(column, justify="left" if column in ("split", "level") else "right")
    for split, facts in comparisons.items():
        for level, unit in zip(LEVELS, ("patch", "clip"), strict=True):
            before, after = 100 * facts["float"][level], 100 * facts["int8"][level]
            same, sqnr = 100 * facts[f"{unit}_agreement"], facts["sqnr_db"]["median"]
            label = "patches" if unit == "patch" else "clips"
            cells = (f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}", f"{same:.2f}")
            table.add_row(split, label, *cells, f"{sqnr:.1f}" if unit == "patch" else "")
    Console().print(table)


def print_programs(split: str, rows: Sequence[tuple[str, Mapping[str, float]]], note: str = "") -> None:
    """Prints what the programs of one model say of the same clips.

    Args:
        split: For the title.
        rows: Name of a program and its metrics: those of :data:`LEVELS`, ``clip_agreement`` and ``equal_outputs``
            with the int8 model in ONNX Runtime.
        note: Under the table.
    """
    table = Table(title=f"{split}: the same clips through every program, %", caption=note)
    for column in ("", "patches", "clips", "same clips", "same bits"):
        table.add_column(column, justify="right" if column else "left")
    for name, metrics in rows:
        keys = (*LEVELS, "clip_agreement", "equal_outputs")
        table.add_row(name, *(f"{100 * metrics[key]:.2f}" if key in metrics else "-" for key in keys))
    Console().print(table)


def plot_layers(path: Path, layers: Sequence[Mapping[str, Any]]) -> None:
    """Draws SQNR, activation range and weight range of each layer."""
    from matplotlib.figure import Figure

    names, places = [row["name"] for row in layers], np.arange(len(layers))
    figure = Figure(figsize=(13, 1.5 + 0.32 * len(layers)), layout="constrained")
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
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
