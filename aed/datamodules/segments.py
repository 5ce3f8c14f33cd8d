"""Lists of annotated events: csv or tsv with onset and offset of each."""

import logging
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from aed.datamodules.clips import check_agreement
from aed.datamodules.events import EVENT_COLUMNS, EventSource
from aed.datamodules.lists import known_columns, need_columns, read_rows
from aed.errors import AedError

log = logging.getLogger(__name__)

ALIASES = {"event_label": "label", "event_onset": "onset", "event_offset": "offset"}
"""Columns as DCASE's lists name them, and their names here."""


class Segments(EventSource):
    """Recordings with annotated events: a csv, or a tsv as DCASE's, with one row an event.

    Rows of one recording stand anywhere, and events may overlap. A row with a file name alone is a recording in which
    nothing occurs. Rows that cannot be right are left out and counted in a warning.

    Args:
        csv: Columns ``filename``, ``onset``, ``offset`` (s) and ``label``, or ``event_label``; optional ``split``,
            ``fold``, ``src_file``, the same in all rows of a recording. Without ``src_file`` each recording is a
            source of its own.
        audio_dir: Folder the file names are relative to; default: the csv's.
    """

    def __init__(self, csv: str, audio_dir: str | None = None) -> None:
        self.csv = Path(csv)
        self.audio_dir = Path(audio_dir) if audio_dir else self.csv.parent
        self.name = self.csv.stem

    def table(self) -> pd.DataFrame:
        """One row a recording, in the order of the list.

        Raises:
            AedError: The list is missing or no list, no row of it is right, or rows of one recording disagree.
        """
        by_path = self._rows.groupby("path", sort=False)
        found = by_path[["fold", "src_file", "split"]].first().reset_index()
        check_agreement(self._rows, ["path"], ("fold", "src_file", "split"), str(self.csv))
        occurring = {path: tuple(sorted(set(labels) - {""})) for path, labels in by_path["label"]}
        found["labels"] = found["path"].map(occurring)
        own = found["path"].map(str)
        found["src_file"] = found["src_file"].where(found["src_file"] != "", own)
        return known_columns(found, self.csv)

    def events(self) -> pd.DataFrame:
        """One row an event, in the order of the list; raises AedError as :meth:`table`."""
        rows = self._rows[self._rows["label"] != ""]
        return rows.rename(columns={"onset": "onset_s", "offset": "offset_s"})[list(EVENT_COLUMNS)].reset_index(
            drop=True
        )

    @cached_property
    def _rows(self) -> pd.DataFrame:
        """The rows that are right, with ``path``, times as numbers, and all optional columns."""
        rows = read_rows(self.csv).rename(columns=ALIASES)
        need_columns(rows, ("filename", "onset", "offset", "label"), self.csv)
        rows = rows.reindex(columns=rows.columns.union(["fold", "src_file", "split"], sort=False), fill_value="")
        given = rows[["onset", "offset", "label"]] != ""
        for column in ("onset", "offset"):
            rows[column] = pd.to_numeric(rows[column], errors="coerce").replace([np.inf, -np.inf], np.nan)
        is_event = given.any(axis=1)
        wrong = {
            "no file name": rows["filename"] == "",
            "no label": is_event & (rows["label"] == ""),
            "onset or offset is no number": is_event & (rows["onset"].isna() | rows["offset"].isna()),
            "the onset is negative": is_event & (rows["onset"] < 0),
            "the offset is not after the onset": is_event & (rows["offset"] <= rows["onset"]),
        }
        bad = pd.Series(False, index=rows.index)
        for reason, own in wrong.items():
            if (new := own & ~bad).any():
                line = rows.index[new][0] + 2
                log.warning("%s: %d rows left out: %s (first: line %d)", self.csv, new.sum(), reason, line)
            bad |= own
        if bad.all():
            raise AedError(f"{self.csv}: none of its {len(rows)} rows can be used; the log says why")
        if lost := set(rows["filename"]) - set(rows["filename"][~bad]) - {""}:
            log.warning("%s: nothing is left of %d recordings (e.g. %s)", self.csv, len(lost), min(lost))
        rows["path"] = [self.audio_dir / name for name in rows["filename"]]
        return rows[~bad].reset_index(drop=True)
