"""DCASE's lists of clips: acoustic scenes with their fold files, and weak labels."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from aed.base.errors import AedError
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.data_path import DataPath, parent_of
from aed.datamodules.sources.lists import known_columns, need_columns, read_rows

log = logging.getLogger(__name__)

SCENE_COLUMNS = ("filename", "scene_label", "identifier", "source_label")
"""Of a ``meta.csv`` or ``meta.txt``; lists before 2018 have no first line that says so, and the first three."""


class Dcase(ClipSource):
    """Clips in a list as the DCASE challenges publish them; lists with onset and offset are ``data=segments``.

    Scenes have ``filename`` and ``scene_label``, weak labels ``filename`` and ``event_labels`` (several between
    commas; a clip without any has none of the classes). ``identifier``, the location or recording that a clip was cut
    from, is its source; without it, each clip is treated as its own recording.

    Beside a list of scenes, ``evaluation_setup/fold<n>_{train,evaluate,test}.{csv,txt}`` are read: of several folds,
    each clip's fold is the one it is evaluated in; with a single one, train and test are as it says, and clips that it
    does not name are left out.

    Args:
        meta: The list, separated by tabs, semicolons or commas; optional columns ``fold``, ``src_file``, ``split``.
        audio_dir: Folder the file names are relative to; default: the list's.
        columns: Names of the list's columns, where it has none or others; ``_``: not read.
    """

    meta, audio_dir = DataPath(), DataPath()

    def __init__(self, meta: str, audio_dir: str | None = None, columns: list[str] | None = None) -> None:
        self.meta, self.columns = meta, columns
        self.audio_dir = audio_dir or parent_of(meta)
        path = Path(meta)
        self.name = path.parent.name if path.stem == "meta" and path.parent.name else path.stem

    def table(self) -> pd.DataFrame:
        """One row per clip, in the order of the list.

        Raises:
            AedError: The list is missing or no such list, a clip stands in it twice, or the folds are not disjoint.
        """
        rows = read_rows(self.meta, SCENE_COLUMNS, self.columns)
        if "onset" in rows or "event_onset" in rows:
            raise AedError(f"{self.meta}: has onsets; take data=segments data.clips.csv={self.meta}")
        labels = "event_labels" if "event_labels" in rows else "scene_label"
        need_columns(rows, ("filename", labels), self.meta)
        incomplete = (rows["filename"] == "") | ((rows[labels] == "") & (labels == "scene_label"))
        if incomplete.any():
            raise AedError(f"{self.meta}: line {rows.index[incomplete][0] + 2} lacks a filename or a {labels}")
        if (twice := rows["filename"].duplicated()).any():
            raise AedError(f"{self.meta}: {rows.loc[twice, 'filename'].iloc[0]} stands in it twice; keep one row")
        several = labels == "event_labels"
        sources = rows.get("src_file", rows.get("identifier", rows["filename"]))
        table = pd.DataFrame(
            {
                "path": pd.Series([self.audio_dir / name for name in rows["filename"]], rows.index, dtype=object),
                "labels": rows[labels].map(lambda text: _names(text) if several else (text,)),
                "fold": rows.get("fold", ""),
                "src_file": sources.where(sources != "", rows["filename"]),
                "split": rows.get("split", ""),
            }
        )
        return known_columns(self._with_folds(table, rows["filename"]), self.meta)

    def _with_folds(self, table: pd.DataFrame, names: "pd.Series[str]") -> pd.DataFrame:
        """The table with what the fold files say; as it is where there are none."""
        folds = dict(self._fold_files())
        tested = {fold: parts.get("evaluate", parts.get("test", set())) for fold, parts in folds.items()}
        if not folds:
            return table
        listed = set().union(*(own for parts in folds.values() for own in parts.values()))
        if not listed & set(names):
            raise AedError(f"{self.meta}: its fold files name none of its clips (e.g. {min(listed, default='')!r})")
        if len(folds) == 1:
            fold = next(iter(folds))
            train = folds[fold].get("train", set(names) - tested[fold])
            table["split"] = names.map(
                lambda name: "test" if name in tested[fold] else "train" if name in train else ""
            )
            known = table["split"] != ""
        else:
            fold_of_clip = pd.Series("", index=table.index)
            for fold, own in tested.items():
                inside = names.isin(own)
                if (again := inside & (fold_of_clip != "")).any():
                    raise AedError(
                        f"{self.meta}: {names[again].iloc[0]} is evaluated in two folds; keep the files of one fold "
                        f"in {self.meta.parent / 'evaluation_setup'}"
                    )
                fold_of_clip[inside] = str(fold)
            table["fold"] = fold_of_clip
            known = fold_of_clip != ""
        if not known.all():
            log.warning("%s: %d of %d clips are in no fold and are left out", self.meta, (~known).sum(), len(table))
        return table[known]

    def _fold_files(self) -> Iterator[tuple[int, dict[str, set[str]]]]:
        """Each fold's number, and the file names of its parts."""
        folds: dict[int, dict[str, set[str]]] = {}
        for file in sorted((self.meta.parent / "evaluation_setup").glob("*")):
            if match := re.fullmatch(r"fold(\d+)_(train|evaluate|test)\.(csv|txt)", file.name):
                folds.setdefault(int(match[1]), {})[match[2]] = set(read_rows(file, SCENE_COLUMNS)["filename"])
        yield from sorted(folds.items())


def _names(text: str) -> tuple[str, ...]:
    """The class names between commas, each once, in alphabetical order."""
    return tuple(sorted({name.strip() for name in text.split(",")} - {""}))
