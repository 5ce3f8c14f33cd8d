"""Metrics of a run as JSON and csv files, and tables of the same numbers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rich.table import Table

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.base.files import json_text, write_whole
from aed.scoring.decision import UNKNOWN_INDEX, Task
from aed.scoring.intervals import clips_interval
from aed.scoring.labels import UNKNOWN
from aed.scoring.levels import HEADLINE, LEVELS

if TYPE_CHECKING:  # reports of boards are written without torch
    from torch import Tensor

    from aed.scoring.rejection import Rejection
    from aed.scoring.scores import Scores

MANY = 60
"""Most classes that a table lists."""


def write_json(path: Path, content: Any) -> None:
    """Writes ``content`` as indented JSON; a float that is no number, or infinite, is null: JSON has none."""
    text = json_text(content)
    write_whole(path, lambda file: file.write(text.encode()))


def read_metrics(path: Path) -> dict[str, float]:
    """The content of a ``metrics.json``, NaN where it has null; {} where there is none.

    Raises:
        AedError: It is damaged.
    """
    return {key: math.nan if value is None else value for key, value in read_json(path).items()}


def read_json(path: Path) -> dict[str, Any]:
    """The content of a JSON file of a run; {} where there is none.

    Raises:
        AedError: It is damaged.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise AedError(f"{path}: damaged ({error}); delete it") from error
    if not isinstance(content, dict):
        raise AedError(f"{path}: need a JSON object; delete it")
    return content


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Writes a csv file; of a file name that is not UTF-8 the odd bytes as escapes."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, encoding="utf-8", errors="backslashreplace", newline="")
        writer = csv.writer(text)
        writer.writerow(header)
        writer.writerows(rows)
        text.flush()
        text.detach()

    write_whole(path, write)


def labels_of(rows: Tensor, class_names: Sequence[str]) -> list[str]:
    """Targets or decisions as text: a class or ``unknown``, or all classes of a row, joined by commas.

    Args:
        rows: ``(rows,)`` int64, -1 is unknown, or ``(rows, num_classes)`` of 0 and 1 or bool.
        class_names: In the order of the posteriors.
    """
    if rows.ndim == 1:
        return [UNKNOWN if row == UNKNOWN_INDEX else class_names[row] for row in rows.tolist()]
    return [",".join(name for name, on in zip(class_names, row, strict=True) if on) for row in rows.tolist()]


def write_clips(path: Path, names: Sequence[str], scores: Scores, class_names: Sequence[str]) -> None:
    """Writes the rows of :func:`clip_rows` to a csv file."""
    write_rows(path, *clip_rows(names, scores, class_names))


def clip_rows(
    names: Sequence[str], scores: Scores, class_names: Sequence[str]
) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Header, and one row per clip: file, true and decided class or classes, posterior of each class, any nearness.

    Args:
        names: File name of each clip.
        scores: Of the clips; its decision decides.
        class_names: In the order of the posteriors.
    """
    truth, decided = (labels_of(rows, class_names) for rows in (scores.clip_target, scores.clip_decided))
    posteriors = ([f"{value:.6f}" for value in row] for row in scores.clip_posteriors.tolist())
    rows = [[*facts, *row] for *facts, row in zip(names, truth, decided, posteriors, strict=True)]
    column, more = "category" if scores.task == "single_label" else "labels", []
    if scores.clip_nearness is not None:
        more = ["nearness"]
        rows = [[*row, f"{value:.6f}"] for row, value in zip(rows, scores.clip_nearness.tolist(), strict=True)]
    return ["filename", column, "decided", *class_names, *more], rows


def print_scores(
    split: str, metrics: Mapping[str, float], counts: Sequence[int], class_names: Sequence[str], note: str = ""
) -> None:
    """Prints the main figures of patches and clips, of each class and in all; of many classes the best and the worst.

    Args:
        split: ``test`` or another prefix of the metrics.
        metrics: As in ``metrics.json``; they tell the task.
        counts: Clips of each class.
        class_names: In the same order.
        note: Printed under the table.
    """
    if f"{split}/clip_threshold" in metrics:
        _print_detector(split, metrics, class_names[0], counts[0], note)
        return
    several = f"{split}/{HEADLINE['multi_label']}" in metrics
    levels: tuple[str, ...]
    if several:
        title, levels = f"{split} average precision and F1, %", ("patch_ap", "clip_ap", "clip_f1")
    else:
        title, levels = f"{split} accuracy, %", LEVELS["single_label"]
    sure = how_sure(metrics, split, sum(counts))
    table = Table(title=title, caption="\n".join(filter(None, (sure, note))))
    for column in ("class", "number", "patches", "clips", *(["clips, F1"] if several else [])):
        table.add_column(column, justify="left" if column == "class" else "right")
    rows = list(zip(class_names, counts, strict=True))
    if left_out := max(0, len(rows) - MANY):
        rows.sort(key=lambda row: -metrics.get(f"{split}/{levels[1]}/{row[0]}", -1.0))  # without a clip: last
    for index, (name, count) in enumerate(rows):
        if not left_out or not MANY // 2 <= index < len(rows) - MANY // 2:
            table.add_row(name, str(count), *(_percent(metrics, f"{split}/{level}/{name}") for level in levels))
        elif index == MANY // 2:
            table.add_row(f"... {left_out} more", "")
    table.add_section()
    if several:
        table.add_row("mean", str(sum(counts)), *(_percent(metrics, f"{split}/{k}") for k in _MEANS))
        table.add_row("lwlrap; F1 of all decisions", "", *(_percent(metrics, f"{split}/{k}") for k in _OVER_ALL))
    else:
        table.add_row("all", str(sum(counts)), *(_percent(metrics, f"{split}/{level}") for level in levels))
        if f"{split}/clip_coverage" in metrics:
            known = _percent(metrics, f"{split}/clip_coverage")
            table.add_row(f"not unknown: {known} %", "", "", _percent(metrics, f"{split}/clip_selective_acc"))
    PlainConsole().print(table)


def one_of(clips: int) -> str:
    """How much one clip is, in words."""
    return f"one of {clips:,} clips is {100 / clips:.3g} points"


def how_sure(metrics: Mapping[str, float], split: str, clips: int) -> str:
    """The interval of the share of a split's clips that are decided rightly, in words; "" for other tasks."""
    share = metrics.get(f"{split}/{HEADLINE['single_label']}")
    if share is None or not clips:
        return ""
    low, high = clips_interval(round(share * clips), clips)
    return f"clips: 95 % interval {100 * low:.1f} .. {100 * high:.1f}; {one_of(clips)}"


def interval_of(metrics: Mapping[str, float], key: str) -> tuple[float, float] | None:
    """Ends of the 95 % interval of a share of a run's test clips; None where their number is not known.

    Args:
        metrics: Of ``metrics.json``.
        key: Of the share.
    """
    clips = round(metrics.get("data/test_clips", 0))
    return clips_interval(round(metrics[key] * clips), clips) if clips and key in metrics else None


def readable(key: str, value: float) -> str:
    """A metric for people: shares in %, numbers and quantities as they are; ``-`` if it is no number.

    Args:
        key: ``<split>/<figure>`` or ``<split>/<figure>/<class>``.
        value: Of ``metrics.json``.
    """
    figure = [*key.split("/", 2), ""][1]
    return _number(value if figure.endswith(_NO_SHARE) else 100 * value)


def _number(value: float, spec: str = ".2f") -> str:
    return "-" if math.isnan(value) else format(value, spec)


_NO_SHARE = ("loss", "sqnr_db", "clips", "sources", "temperature", "threshold", "epochs", "seconds", "layers")


def _print_detector(split: str, metrics: Mapping[str, float], name: str, count: int, note: str) -> None:
    """Prints the figures of the only class."""
    table = Table(title=f"{split}: {name}, which is in {count} clips, %", caption=note)
    for column in ("", "average precision", "precision", "recall", "F1", "threshold"):
        table.add_column(column, justify="right" if column else "left")
    for level, text in (("patch", "patches"), ("clip", "clips")):
        keys = (f"{split}/{level}_{key}" for key in ("map", "precision", "recall", "f1", "threshold"))
        table.add_row(text, *(_percent(metrics, key) for key in keys))
    PlainConsole().print(table)


_MEANS = ("patch_map", "clip_map", "clip_f1_macro")
_OVER_ALL = ("patch_lwlrap", "clip_lwlrap", "clip_f1")


def _percent(metrics: Mapping[str, float], key: str) -> str:
    return readable(key, metrics[key]) if key in metrics else "-"


def print_layers(content: Mapping[str, Any]) -> None:
    """Prints the loss of each layer in int8, and the steps of the repair, from the content of ``quantization.json``."""
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
    PlainConsole().print(table)
    if len(content["steps"]) > 1:
        steps = Table(title=f"repair: {content['judging']['metric']} of {content['judging']['split']}, %")
        for column in ("step", "score", "gain", "90 % interval", "SQNR dB", "kept", "what"):
            steps.add_column(column)
        for step in content["steps"]:
            interval = f"{step['low']:+.2f} .. {step['high']:+.2f}"
            cells = (_number(100 * step["score"]), _number(step["gain"], "+.2f"), interval, f"{step['sqnr_db']:.1f}")
            steps.add_row(step["name"], *cells, "yes" if step["kept"] else "no", step["detail"])
        PlainConsole().print(steps)


def print_comparison(comparisons: Mapping[str, Any], note: str = "") -> None:
    """Prints float beside int8 for each split; ``comparisons`` is that part of ``quantization.json``."""
    sizes = [f"{split}: {one_of(facts['clips'])}" for split, facts in comparisons.items()]
    table = Table(title="float and int8, %", caption="\n".join([*sizes, *filter(None, [note])]))
    for column in ("split", "level", "float", "int8", "int8 - float", "same decision", "SQNR dB, median"):
        table.add_column(column, justify="left" if column in ("split", "level") else "right")
    for split, facts in comparisons.items():
        for level, share in facts["float"].items():
            unit, _, measure = level.partition("_")
            before, after = 100 * share, 100 * facts["int8"][level]
            same, sqnr = 100 * facts[f"{unit}_agreement"], facts["sqnr_db"]["median"]
            label = ("patches" if unit == "patch" else "clips") + (", mAP" if measure == "map" else "")
            cells = (_number(before), _number(after), _number(after - before, "+.2f"), _number(same))
            table.add_row(split, label, *cells, f"{sqnr:.1f}" if unit == "patch" else "")
    PlainConsole().print(table)


def print_programs(split: str, rows: Sequence[tuple[str, Mapping[str, float]]], note: str = "") -> None:
    """Prints the scores of the programs of one model on the same clips.

    Args:
        split: For the title.
        rows: Name of a program and its metrics: those of :data:`aed.scoring.levels.LEVELS`, which tell the task,
            ``clip_agreement`` and ``equal_outputs`` with the int8 model in ONNX Runtime.
        note: Under the table.
    """
    task: Task = "multi_label" if any(HEADLINE["multi_label"] in metrics for _, metrics in rows) else "single_label"
    measure = ", mAP" if task == "multi_label" else ""
    table = Table(title=f"{split}: the same clips through every program, %", caption=note)
    for column in ("", f"patches{measure}", f"clips{measure}", "same clips", "same bits"):
        table.add_column(column, justify="right" if column else "left")
    for name, metrics in rows:
        keys = (*LEVELS[task], "clip_agreement", "equal_outputs")
        table.add_row(name, *(_percent(metrics, key) for key in keys))
    PlainConsole().print(table)


def print_rejection(prefix: str, rejection: Rejection) -> None:
    """Prints the shares of known and of unseen sounds that a threshold on the greatest posterior rejects."""
    table = Table(title=f"{prefix}: unknown under a score of {rejection.threshold:.3f}")
    table.add_column("figure")
    table.add_column("", justify="right")
    for key, text in (
        ("clips", "clips of known classes"),
        ("acc", "decided rightly, none rejected, %"),
        ("coverage", "not rejected, %"),
        ("selective_acc", "of these decided rightly, %"),
        ("aurc", "area under the risk-coverage curve, %"),
        ("unseen_clips", "clips of unseen sounds"),
        ("unseen_rejected", "rejected, %"),
        ("auroc", "known against unseen, area under ROC, %"),
        ("fpr95", "accepted where 95 % of the known clips are, %"),
    ):
        if key in (content := rejection.content()):
            value = content[key]
            table.add_row(text, str(value) if key.endswith("clips") else f"{100 * value:.2f}")
    PlainConsole().print(table)
