"""Runs beside each other: the rows of a comparison, computed, or as `aed compare` wrote them."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.run.compare import DIFFERENCES, HEADS, RUNS, compared

MOST_UNLIKE = 200
"""Clips that are not decided alike."""


def compared_folders(folders: Sequence[Path]) -> dict[str, Any]:
    """The comparison of runs with the first; {"note": why not} where they cannot be compared."""
    try:
        found = compared(folders)
    except AedError as error:
        return {"note": f"Not compared: {error}"}
    rows = (found.differences(), found.scores(), found.unlike())
    return _content([[[str(cell) for cell in row] for row in part] for part in rows], found.names)


def read_comparison(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """What `aed compare output=` wrote, and the folders of its runs that are still there.

    Raises:
        AedError: A file of it is missing or damaged.
    """
    tables = {name: _rows(folder / name) for name in (*HEADS, RUNS)}
    for name, wanted in (*HEADS.items(), (RUNS, ["run", "folder"])):
        head, *rows = tables[name]
        size = len(head)
        if head[: len(wanted)] != wanted or any(len(row) != size for row in rows):
            raise AedError(f"{folder / name}: damaged; compare the runs again")
    names = tables["clips.csv"][0][len(HEADS["clips.csv"]) :]
    places = [Path(row[1]) for row in tables[RUNS][1:]]
    content = _content([tables[name][1:] for name in HEADS], names)
    there = [place for place in places if place.is_dir()]
    if len(there) < len(places):
        content["note"] = (
            f"{len(places) - len(there)} of the runs are not where they were: their clips have no players."
        )
    return content, there


def _rows(path: Path) -> list[list[str]]:
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise AedError(f"{path}: cannot be read ({error.strerror}); compare the runs again") from error
    return rows or [[]]


def _content(rows: Sequence[Sequence[Sequence[str]]], names: Sequence[str]) -> dict[str, Any]:
    """Of the rows of each of :data:`HEADS`.

    Raises:
        AedError: A cell that has to be a number is none.
    """
    known = len(HEADS["clips.csv"])
    try:
        clips = [(row[:3], [_number(cell) for cell in row[known:]]) for row in rows[2]]
        clips.sort(key=lambda clip: min(clip[1]) - max(clip[1]))
        return {
            "names": list(names),
            "differences": [_plain(HEADS[DIFFERENCES], row, 5) for row in rows[0]],
            "scores": [_plain(HEADS["scores.csv"], row, 2) for row in rows[1]],
            "unlike": [
                {"model": model, "file": file, "truth": truth, "right": right}
                for (model, file, truth), right in clips[:MOST_UNLIKE]
            ],
            "more": max(0, len(clips) - MOST_UNLIKE),
        }
    except ValueError as error:
        raise AedError(f"a table of the comparison is damaged ({error}); compare the runs again") from error


def _plain(head: Sequence[str], row: Sequence[str], texts: int) -> dict[str, Any]:
    """Cells by their column: texts first, then numbers."""
    return dict(zip(head, [*row[:texts], *map(_number, row[texts:])], strict=True))


def _number(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(f"{cell} is no number")
    return value
