"""Lists as people and tools write them, csv or tsv: their rows as text, and the columns a clip table has."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aed.errors import AedError

COLUMNS = ("path", "labels", "fold", "src_file", "split")
"""Of a clip table: file, tuple of class names, published fold or NA, source recording or NA, split if fixed or NA."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "calibration": "calibration",
}
"""How people call a split, and its name here."""


def read_rows(file: Path, headless: Sequence[str] = ()) -> pd.DataFrame:
    """The rows of a list as text without spaces around, but for the blank ones; "" where a cell is empty.

    Columns are separated by the first of tab, semicolon and comma that its first line has. The index of a row is the
    number of its line less 2.

    Args:
        file: UTF-8, with or without byte order mark.
        headless: Names of the columns where the first line has no ``filename`` among its own.

    Raises:
        AedError: There is no such file, or it is no list, or empty, or a row has more cells than there are columns.
    """
    if not file.is_file():
        raise AedError(f"{file}: no such list")
    try:
        cells = dict(_lines(file))
    except (ValueError, OSError, csv.Error) as error:  # bad UTF-8 is a ValueError
        raise AedError(f"{file}: not readable as csv or tsv ({error})") from error
    if not cells:
        raise AedError(f"{file}: not readable as csv or tsv (it is empty)")
    first = next(iter(cells))
    names = cells[first]
    if not headless or "filename" in names:
        del cells[first]
    elif len(names) <= len(headless):
        names = list(headless[: len(names)])
    else:
        raise AedError(f"{file}: no column 'filename'; its first line needs to name its columns")
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise AedError(f"{file}: two columns are called {twice[0]!r}; rename one")
    for line, row in cells.items():
        if any(row[len(names) :]):
            raise AedError(
                f"{file}: line {line} has {len(row)} cells, the list {len(names)} columns; put cells that hold the "
                'separator into double quotes: "a,b"'
            )
    if not cells:
        raise AedError(f"{file}: no rows")
    columns = zip(*(row[: len(names)] + [""] * (len(names) - len(row)) for row in cells.values()), strict=True)
    index = pd.Index([line - 2 for line in cells])
    # a comma at the end of each line is no column
    return pd.DataFrame(
        {name: list(own) for name, own in zip(names, columns, strict=True) if name}, index, dtype=object
    )


def _lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Number, from 1, and cells of each line that has any."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        head = opened.readline()
        opened.seek(0)
        reader = csv.reader(opened, delimiter=next((mark for mark in "\t;" if mark in head), ","), strict=True)
        for row in reader:
            if any(stripped := [cell.strip() for cell in row]):
                yield reader.line_num, stripped


def need_columns(rows: pd.DataFrame, needed: tuple[str, ...], file: Path) -> None:
    """Raises AedError unless the list has these columns."""
    if missing := [name for name in needed if name not in rows]:
        raise AedError(
            f"{file}: no column {missing}; it has {list(rows.columns)}, need {list(needed)} in the first line"
        )


def known_columns(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """A clip table of the right types from one whose ``fold`` and ``split`` are text, "" or NA where unknown.

    Raises:
        AedError: A fold is no number, or a split is called as no split is.
    """
    table = table.copy()
    for column in ("fold", "src_file", "split"):
        table[column] = table[column].astype(object).where(table[column].notna() & (table[column] != ""), pd.NA)
    named = table["split"].map(lambda split: split if split is pd.NA else SPLIT_NAMES.get(str(split).lower()))
    if (unknown := named.isna() & table["split"].notna()).any():
        raise AedError(f"{file}: split {table.loc[unknown, 'split'].iloc[0]!r}; need one of {sorted(SPLIT_NAMES)}")
    fold = pd.to_numeric(table["fold"], errors="coerce")
    if (wrong := fold.isna() & table["fold"].notna()).any():
        raise AedError(f"{file}: fold {table.loc[wrong, 'fold'].iloc[0]!r} is no number")
    made: dict[str, Any] = {"fold": fold, "split": named}
    return table.assign(**made)[list(COLUMNS)].reset_index(drop=True)
