"""Published data sets: their own lists, with rows that cannot be used left out, named and counted."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from aed.audio.recordings import recordings_below
from aed.base import paths
from aed.base.errors import AedError
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.data_path import DataPath
from aed.datamodules.sources.lists import need_columns, read_rows

Errors = dict[Path, str]
"""What is left out, a file or ``<list>:<line>`` -> why, with the name of the file and line."""


class PublishedSource(ClipSource):
    """A published data set: one folder, laid out as its authors did.

    Args:
        root: That folder, or its address; None: ``folder`` in ``$AED_DATA_DIR``, else in ``data``.
        folder: Its usual name.
    """

    key = "root"
    """Of the folder on the command line."""

    root = DataPath()

    def __init__(self, root: str | None, folder: str) -> None:
        self.root, self.folder = root or paths.data_dir() / folder, folder

    @abstractmethod
    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table, and what is left out of it.

        Raises:
            AedError: A folder, list or column is missing.
        """

    @cached_property
    def _parts(self) -> tuple[pd.DataFrame, Errors]:
        if not self.root.is_dir():
            usual = ", or set AED_DATA_DIR to the folder above it" if self.folder else ""
            raise AedError(
                f"data.clips.{self.key}: {self.root.absolute()} is no folder; name that of {self.name}{usual}"
            )
        table, errors = self.read()
        if table.empty:
            first = f"; first: {next(iter(errors.values()))}" if errors else ""
            raise AedError(f"{self.name}: {self.root} has no clip that can be used{first}")
        return table.reset_index(drop=True), errors

    def table(self) -> pd.DataFrame:
        """One row per clip.

        Raises:
            AedError: A folder, list or column is missing, or no row can be used.
        """
        return self._parts[0].copy()

    def row_errors(self) -> Errors:
        """Rows without use, and files that no row names."""
        return dict(self._parts[1])

    def find(self, *names: str) -> Path:
        """The first of some files below the root that is there.

        Raises:
            AedError: None is.
        """
        found = next((self.root / name for name in names if (self.root / name).exists()), None)
        if found is None:
            raise AedError(
                f"{self.root / names[0]}: no such file or folder, which {self.name} has; data.clips.root=..."
            )
        return found


def rows_of(file: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    """The rows of a list that has these columns; raises AedError as :func:`read_rows` and :func:`need_columns`."""
    rows = read_rows(file)
    need_columns(rows, needed, file)
    return rows


def usable(rows: pd.DataFrame, file: Path, bad: Mapping[str, Any], errors: Errors) -> pd.DataFrame:
    """The rows of a list that nothing speaks against; each other one goes into ``errors``.

    Args:
        rows: As :func:`aed.datamodules.sources.lists.read_rows` gives them.
        file: The list, for messages.
        bad: Reason -> boolean of each row; the first that fits counts. ``{fold}`` in a reason is the row's cell.
        errors: Is added to.
    """
    reasons = pd.Series("", rows.index, dtype=object)
    for reason, is_bad in bad.items():
        reasons = reasons.where((reasons != "") | ~is_bad, reason)
    wrong = rows[reasons != ""]
    for index, reason, cells in zip(wrong.index, reasons[wrong.index], wrong.to_dict("records"), strict=True):
        quoted = {str(name): repr(cell) for name, cell in cells.items()}
        errors[Path(f"{file}:{index + 2}")] = f"{file}, line {index + 2}: {reason.format(**quoted)}"
    return rows[reasons == ""]


def unlisted(folder: Path, listed: Iterable[Path], file: Path) -> Errors:
    """The recordings below a folder that no row of a list names."""
    known = set(listed)
    return {path: f"{path}: no row of {file} names it" for path in recordings_below(folder) if path not in known}


def clip_table(rows: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    """A clip table with these columns; those that are not given are NA.

    Args:
        rows: Gives the index.
        columns: ``path`` and ``labels`` (sequences), and any of ``fold``, ``src_file``, ``split``.
    """
    given = {"fold": pd.NA, "src_file": pd.NA, "split": pd.NA} | columns
    series = {name: pd.Series(own, rows.index, dtype=object) for name, own in given.items()}
    return pd.DataFrame(series)[["path", "labels", "fold", "src_file", "split"]]
