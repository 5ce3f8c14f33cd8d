"""Lists as people and tools write them, csv or tsv: their rows as text, and the columns a clip table has."""

import csv
import logging
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aed.audio.formats import AUDIO_SUFFIXES
from aed.base.errors import AedError

log = logging.getLogger(__name__)

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
"""Usual names of a split, and its name here."""


_LABEL_WORDS = {"label", "labels", "class", "class_name", "category", "tag", "tags", "target", "species", "event_label"}
_LABEL_WORDS |= {"positive_labels", "scene_label", "event", "sound", "name"}
_WORDS = {
    "filename": {"filename", "file", "file_name", "fname", "path", "filepath", "file_path", "audio", "wav", "ytid"},
    "category": _LABEL_WORDS,
    "label": _LABEL_WORDS,
    "scene_label": _LABEL_WORDS,
    "onset": {"onset", "start", "begin", "start_time", "begin_time", "start_seconds", "start_s", "onset_s", "from"},
    "offset": {"offset", "end", "stop", "end_time", "stop_time", "end_seconds", "end_s", "offset_s", "to"},
}
"""Usual names of the columns that lists need."""

UNUSED = "_"
"""In a list of columns: one that is not read."""


def class_name(text: str) -> str:
    """A class name as it is known everywhere: composed Unicode (NFC), which looks as the decomposed one does."""
    return unicodedata.normalize("NFC", text).strip()


def read_rows(file: Path, headless: Sequence[str] = (), columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The rows of a list as text without spaces around, but for the blank ones; "" where a cell is empty.

    Columns are separated by the first of tab, semicolon and comma that its first line has, or as ``sep=;`` above it
    says. Lines that begin with ``#`` are comments; names of columns may stand in the last one before the rows. The
    index of a row is the number of its line less 2; ``attrs["separator"]`` is what separates columns.

    Args:
        file: UTF-8, with or without byte order mark.
        headless: Names of the columns where the first line has no ``filename`` among its own.
        columns: Names of the columns where the list has none, or others; ``_``: not read.

    Raises:
        AedError: There is no such file, or it is no list, or empty, or a row has more cells than there are columns.
    """
    head, cells, separator = _cells(file)
    if not cells:
        raise AedError(f"{file}: not readable as csv or tsv (it is empty)")
    first = next(iter(cells))
    names = head or cells[first]
    if columns is not None:
        if "filename" in names:
            raise AedError(f"{file}: its columns have names: {names}; leave data.clips.columns out")
        if not head and _is_head(names):
            del cells[first]
        if len(names) != len(columns) and any(names[len(columns) :] or columns[len(names) :]):
            raise AedError(f"{file}: data.clips.columns: {len(columns)} names for {len(names)} columns, {names}")
        names = [str(name) for name in columns]
    elif not headless or "filename" in names or _is_head(names):
        if not head:
            del cells[first]
    elif len(names) <= len(headless):
        names = list(headless[: len(names)])
    else:
        raise AedError(f"{file}: no column 'filename'; its first line needs to name its columns")
    if twice := sorted({name for name in names if name not in ("", UNUSED) and names.count(name) > 1}):
        headless_advice = (
            "" if _is_head(names) else "; names of the first line's columns: data.clips.columns=[filename,...]"
        )
        raise AedError(f"{file}: two columns are called {twice[0]!r}; rename one{headless_advice}")
    for line, row in cells.items():
        if any(row[len(names) :]):
            raise AedError(
                f"{file}: line {line} has {len(row)} cells, the list {len(names)} columns; put cells that hold the "
                'separator into double quotes: "a,b"'
            )
    if not cells:
        raise AedError(f"{file}: no rows")
    cut = zip(*(row[: len(names)] + [""] * (len(names) - len(row)) for row in cells.values()), strict=True)
    index = pd.Index([line - 2 for line in cells])
    # a comma at the end of each line is no column
    named = {name: list(own) for name, own in zip(names, cut, strict=True) if name not in ("", UNUSED)}
    rows = pd.DataFrame(named, index, dtype=object)
    rows.attrs["separator"] = separator
    return rows


def first_row(file: Path) -> list[str]:
    """The cells of a list's first row, names of its columns or not; none where it is empty.

    Raises:
        AedError: As :func:`read_rows`.
    """
    return next(iter(_cells(file)[1].values()), [])


def _cells(file: Path) -> tuple[list[str], dict[int, list[str]], str]:
    """As :func:`_read`; raises AedError where it is no list."""
    if not file.is_file():
        raise AedError(f"{file}: no such list")
    try:
        return _read(file)
    except UnicodeDecodeError as error:
        raise AedError(f"{file}: is not UTF-8 ({error.reason} in byte {error.start}); save it as CSV UTF-8") from error
    except (ValueError, OSError, csv.Error) as error:
        raise AedError(f"{file}: not readable as csv or tsv ({error})") from error


def _read(file: Path) -> tuple[list[str], dict[int, list[str]], str]:
    """Names of the columns where they stand in a comment above the rows; cells of each line from 1 on; separator."""
    with file.open(encoding="utf-8-sig", newline="") as opened:
        lines = opened.readlines()
    separator = ""
    if lines and (said := lines[0].strip().strip('"')).lower().startswith("sep=") and len(said) <= len("sep=;"):
        separator = said[len("sep=") :] or "\t"  # a tab is stripped
        lines[0] = "\n"
    head = next((line for line in lines if line.strip() and not line.startswith("#")), "")
    mark = separator or next((mark for mark in "\t;" if mark in head), ",")
    comments: dict[int, str] = {}
    between = True  # two rows: a cell in quotes may have lines that begin with any mark

    def without_comments() -> Iterator[str]:
        nonlocal between
        for number, line in enumerate(lines, 1):
            if between and line.startswith("#"):
                comments[number] = line
                yield "\n"
            else:
                between = False
                yield line

    cells: dict[int, list[str]] = {}
    reader = csv.reader(without_comments(), delimiter=mark, strict=True, skipinitialspace=True)
    while (row := next(reader, None)) is not None:
        if any(stripped := [cell.strip() for cell in row]):
            cells[reader.line_num] = stripped
        between = True
    first = min(cells, default=0)
    if inside := [number for number in comments if number > first]:
        log.warning(
            "%s: %d lines begin with # and are left out as comments (first: line %d); a file name that does belongs "
            'into double quotes: "#1.wav"',
            file,
            len(inside),
            inside[0],
        )
    above = [line for number, line in comments.items() if number < first]
    named = next(csv.reader([above[-1].lstrip("# ")], delimiter=mark, skipinitialspace=True), []) if above else []
    named = [name.strip() for name in named]
    is_head = _is_head(named) and len(named) == len(cells[first]) and not _is_head(cells[first])
    return named if is_head else [], cells, mark


def _is_head(row: Sequence[str]) -> bool:
    """Whether a row names columns: one of its cells is a word for one, and none is a file or a number."""
    is_data = any(cell.lower().endswith(AUDIO_SUFFIXES) or is_number(cell) for cell in row)
    return not is_data and any(cell.lower() in own for cell in row for own in _WORDS.values())


def need_columns(rows: pd.DataFrame, needed: tuple[str, ...], file: Path) -> None:
    """Raises AedError, which says what to type, unless the list has these columns."""
    if missing := [name for name in needed if name not in rows]:
        header = list(rows.columns)
        guess = _guess(header, needed)
        if not set(needed) <= set(guess):
            raise AedError(f"{file}: no column {missing}; it has {header}, need {list(needed)} in the first line")
        what = "it has" if _is_head(header) else "its first line has no names but"
        raise AedError(f"{file}: no column {missing}; {what} {header}; type data.clips.columns=[{','.join(guess)}]")


def _guess(row: Sequence[str], needed: Sequence[str]) -> list[str]:
    """Which of the ``needed`` columns those of a row may be, by their names or else by what is in them."""
    left = list(needed)
    guessed = []
    for cell in row:
        if _is_head(row):
            fit = [name for name in left if cell.lower() in _WORDS.get(name, ())] or [cell] * (cell in COLUMNS)
        elif is_number(cell):
            fit = [name for name in left if name in ("onset", "offset")]
        elif cell.lower().endswith(AUDIO_SUFFIXES):
            fit = [name for name in left if name == "filename"]
        else:
            fit = [name for name in left if name not in ("filename", "onset", "offset")]
        guessed.append(fit[0] if fit else UNUSED)
        left = [name for name in left if name != guessed[-1]]
    return guessed


def is_number(text: str) -> bool:
    """Whether a text is a number as lists have it."""
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    roles: dict[str, Any] = {"fold": fold, "split": named}
    return table.assign(**roles)[list(COLUMNS)].reset_index(drop=True)
