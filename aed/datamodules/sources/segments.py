"""Lists of annotated events: csv or tsv with onset and offset of each."""

import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aed.base.errors import AedError
from aed.datamodules.health.annotations import SLACK_S
from aed.datamodules.sources.clips import check_agreement
from aed.datamodules.sources.data_path import DataPath, parent_of
from aed.datamodules.sources.events import EVENT_COLUMNS, EventSource
from aed.datamodules.sources.lists import known_columns, need_columns, read_rows
from aed.datamodules.sources.patterns import with_pattern

ALIASES = {"event_label": "label", "event_onset": "onset", "event_offset": "offset"}
"""Columns as DCASE's lists name them, and their names here."""


class Segments(EventSource):
    """Recordings with annotated events: a csv, or a tsv as DCASE's, with one row an event.

    Rows of one recording stand anywhere, and events may overlap. A row with a file name alone is a recording in which
    nothing occurs. A recording of which a row cannot be right is left out, of training and of scores, and counted.
    Decimal commas are read; where ``1,500`` may be a thousand and a half, the recording is one of these.

    Args:
        csv: Columns ``filename``, ``onset``, ``offset`` (s) and ``label``, or ``event_label``; optional ``split``,
            ``fold``, ``src_file``, the same in all rows of a recording. Without ``src_file`` each recording is a
            source of its own.
        audio_dir: Folder the file names are relative to; default: the csv's.
        columns: Names of the columns, where the list has none or others: ``[filename,onset,offset,label]``; ``_``: not
            read.
        source_pattern: Regular expression that is searched for in the file name of a row without ``src_file``: its
            group, or the one named ``src``, is what a recording was cut from.
    """

    csv, audio_dir = DataPath(), DataPath()

    def __init__(
        self,
        csv: str,
        audio_dir: str | None = None,
        columns: list[str] | None = None,
        source_pattern: str | None = None,
    ) -> None:
        self.csv, self.columns, self.source_pattern = csv, columns, source_pattern
        self.audio_dir = audio_dir or parent_of(csv)
        self.name = Path(csv).stem

    def table(self) -> pd.DataFrame:
        """One row a recording, in the order of the list.

        Raises:
            AedError: The list is missing or no list, no row of it is right, or rows of one recording disagree.
        """
        rows = self._rows[self._rows["filename"] != ""]
        by_path = rows.groupby("path", sort=False)
        recordings = by_path[["fold", "src_file", "split"]].first().reset_index()
        check_agreement(rows, ["path"], ("fold", "src_file", "split"), str(self.csv))
        occurring = {path: tuple(sorted(set(labels) - {""})) for path, labels in by_path["label"]}
        recordings["labels"] = recordings["path"].map(occurring)
        own = recordings["path"].map(str)
        recordings["src_file"] = recordings["src_file"].where(recordings["src_file"] != "", own)
        return known_columns(recordings, self.csv)

    def events(self) -> pd.DataFrame:
        """One row an event that is right, in the order of the list; raises AedError as :meth:`table`."""
        rows = self._rows[(self._rows["label"] != "") & (self._rows["wrong"] == "")]
        return rows.rename(columns={"onset": "onset_s", "offset": "offset_s"})[list(EVENT_COLUMNS)].reset_index(
            drop=True
        )

    def annotation_errors(self) -> dict[Path, str]:
        """Recordings of which a row cannot be right; the list itself for rows that name none."""
        bad = self._rows[self._rows["wrong"] != ""]
        reasons = {}
        for path, own in bad.groupby("path", sort=False):
            more = f" ({len(own)} such rows)" if len(own) > 1 else ""
            reasons[path] = f"{path}: {self.csv}, line {own.index[0] + 2}: {own['wrong'].iloc[0]}{more}"
        return reasons  # type: ignore[return-value]

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The rows with ``path``, times as numbers, all optional columns, and in ``wrong`` why one cannot be right."""
        rows = read_rows(self.csv, columns=self.columns)
        separator, rows = rows.attrs["separator"], rows.rename(columns=ALIASES)
        need_columns(rows, ("filename", "onset", "offset", "label"), self.csv)
        rows = rows.reindex(columns=rows.columns.union(["fold", "src_file", "split"], sort=False), fill_value="")
        rows["src_file"] = with_pattern(rows, self.source_pattern)
        check_events(rows, separator)
        paths = [self.audio_dir / name if name else self.csv for name in rows["filename"]]
        rows["path"] = pd.Series(paths, rows.index, dtype=object)
        if (rows["wrong"] != "").all():
            line, reason = rows.index[0] + 2, rows["wrong"].iloc[0]
            raise AedError(f"{self.csv}: none of its {len(rows)} rows can be used; line {line}: {reason}")
        return rows


def check_events(rows: pd.DataFrame, separator: str) -> None:
    """Makes numbers of the times of a list's rows, and adds ``wrong``: why a row cannot be right, "" where it can.

    Args:
        rows: Columns ``filename``, ``onset``, ``offset`` and ``label``, as text.
        separator: Of the list's columns.
    """
    typed = rows[["onset", "offset"]]
    is_event = (rows[["onset", "offset", "label"]] != "").any(axis=1)
    comma = _decimal_comma(typed, separator)
    onset, offset = (_seconds(typed[column], comma) for column in typed)
    rows["wrong"] = ""
    for column, times in (("onset", onset), ("offset", offset)):
        is_no_time = is_event & times.isna() & (rows["wrong"] == "")
        rows.loc[is_no_time, "wrong"] = typed[column].map(lambda text, name=column: _no_time(name, text))
    for reason, own in {
        "no file name": rows["filename"] == "",
        "no label": is_event & (rows["label"] == ""),
        "the onset is negative": is_event & (onset < -SLACK_S),
        "the offset is not after the onset": is_event & (offset <= onset),
    }.items():
        message = f"{reason} (" + typed["onset"] + " to " + typed["offset"] + ")"
        rows["wrong"] = rows["wrong"].where((rows["wrong"] != "") | ~own, message)
    rows["onset"], rows["offset"] = onset, offset


def _no_time(column: str, text: str) -> str:
    """Reason a text is not a valid time."""
    if not text:
        return f"no {column}"
    hint = ""
    if re.fullmatch(r"[\d:]+:\d+([.,]\d+)?", text):
        hint = ", write seconds"
    elif "," in text:
        hint = ", write 1.5 for one and a half"
    return f"the {column} {text!r} is no number{hint}"


def _decimal_comma(typed: pd.DataFrame, separator: str) -> bool:
    """Whether commas in a list's times are decimal: not if each may as well stand after thousands."""
    commas = [text for column in typed for text in typed[column] if "," in text]
    return separator != "," or not all(re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?", text) for text in commas)


def _seconds(typed: "pd.Series[Any]", comma: bool) -> "pd.Series[Any]":
    """The times as numbers, NaN where one is none or infinite."""
    if comma:  # 1,5 but not 1.000,5
        typed = typed.where(~typed.str.fullmatch(r"[+-]?\d*,\d+"), typed.str.replace(",", "."))
    return pd.to_numeric(typed, errors="coerce").replace([np.inf, -np.inf], np.nan)
