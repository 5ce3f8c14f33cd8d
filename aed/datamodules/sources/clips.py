"""Clip tables: what a data set says of its recordings.

A clip source has a ``name`` and a ``table()``; a new data set is one class with these two. The table has one
row per clip and the columns of :data:`aed.datamodules.sources.lists.COLUMNS`.
"""

import hashlib
import json
import logging
import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from filelock import FileLock

from aed.audio.formats import AUDIO_SUFFIXES
from aed.base import paths
from aed.base.download import fetch, unpack_zip
from aed.base.errors import AedError
from aed.base.remote import folder_of, is_url
from aed.datamodules.sources import synthesis
from aed.datamodules.sources.data_path import DataPath
from aed.datamodules.sources.lists import known_columns, need_columns, read_rows
from aed.datamodules.sources.patterns import with_pattern

log = logging.getLogger(__name__)


class ClipSource(ABC):
    """A data set: its ``name`` for reports, where its recordings come from if known, and its clip table."""

    name: str
    origin: str = ""

    @abstractmethod
    def table(self) -> pd.DataFrame:
        """One row per clip, columns of :mod:`aed.datamodules.sources.lists`.

        Raises:
            AedError: There is none to be had.
        """

    def row_errors(self) -> dict[Path, str]:
        """Why rows of its lists, and files that no row names, are left out: file or ``<list>:<line>`` -> reason."""
        return {}


def read_esc_csv(
    csv: Path,
    audio_dir: Path,
    split: str | None = None,
    label_separator: str | None = None,
    columns: list[str] | None = None,
    source_pattern: str | None = None,
) -> pd.DataFrame:
    """The clip table of a csv in ESC format.

    Args:
        csv: Columns ``filename`` and ``category``; ``fold`` and ``src_file`` where known.
        audio_dir: Folder the file names are relative to; names may lack their extension.
        split: Fixes the split of all rows.
        label_separator: Between the class names of one clip; default: a clip has one.
        columns: Names of the csv's columns, where it has none or others.
        source_pattern: Finds the recording in a file name that has no ``src_file``.

    Raises:
        AedError: A file, folder or column is missing, or the csv is empty or no csv, or a fold is no number.
    """
    if label_separator is not None and not label_separator.strip():
        raise AedError(f"data.clips.label_separator: need a mark, as \"','\", got {label_separator!r}")
    if not csv.is_file():
        raise AedError(f"{csv}: no such csv")
    if not audio_dir.is_dir():
        raise AedError(f"{audio_dir}: no such audio folder (for {csv})")
    rows = read_rows(csv, columns=columns)
    need_columns(rows, ("filename", "category"), csv)
    labels = [_labels(text, label_separator) for text in rows["category"]]
    incomplete = rows.index[(rows["filename"] == "").to_numpy() | np.array([not names for names in labels])]
    if len(incomplete):
        raise AedError(f"{csv}: line {incomplete[0] + 2} lacks a filename or a category")
    table = pd.DataFrame(
        {
            "path": pd.Series(_resolve(rows["filename"], audio_dir), rows.index, dtype=object),
            "labels": pd.Series(labels, rows.index, dtype=object),
            "fold": rows.get("fold", ""),
            "src_file": with_pattern(rows, source_pattern),
            "split": split or "",
        }
    )
    return known_columns(table, csv)


def _labels(text: str, separator: str | None) -> tuple[str, ...]:
    """The class names of one cell, each once, in order; lists written by Python (``['a', 'b']``) are understood."""
    if separator is None:
        return (text,) if text else ()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    names = [name.strip().strip("'\"") for name in text.split(separator)]
    return tuple(dict.fromkeys(name for name in names if name))


def _resolve(names: "pd.Series[str]", audio_dir: Path) -> list[Path]:
    """The file of each name; where there is none, the name as listed, so that reading it reports it."""
    present = {entry.name for entry in audio_dir.iterdir()}

    def resolve(name: str) -> Path:
        if name not in present:
            for suffix in AUDIO_SUFFIXES:
                if name + suffix in present or ("/" in name and (audio_dir / (name + suffix)).is_file()):
                    return audio_dir / (name + suffix)
        return audio_dir / name

    return [resolve(name) for name in names]


def check_agreement(rows: pd.DataFrame, keys: list[str], columns: Iterable[str], source: str) -> None:
    """Refuses rows that agree in ``keys``, ``path`` among them, and not in one of ``columns``.

    Args:
        rows: With all these columns; NA equals NA.
        keys: Columns that say which rows belong together.
        columns: Of one value for such rows.
        source: Data set or file, for the message.

    Raises:
        AedError: Names a file and the column.
    """
    together = rows.groupby(keys, sort=False, dropna=False)
    for column in columns:
        if (differ := together[column].transform("nunique", dropna=False) > 1).any():
            path = rows["path"][differ].iloc[0]
            raise AedError(f"{source}: rows of {path} disagree in the column {column!r}; give it one value")


def clip_names(paths: Iterable[Path]) -> dict[Path, str]:
    """The name of each file: its own or, where several have that, as many of the folders above as tell them apart."""
    names = {path: path.name for path in paths}
    for depth in range(2, 1 + max((len(path.parts) for path in names), default=0)):
        count = Counter(names.values())
        if not (same := [path for path, name in names.items() if count[name] > 1]):
            break
        names |= {path: "/".join(path.parts[-depth:]) for path in same}
    return names


class EscCsv(ClipSource):
    """Any data set in ESC format: a csv and a folder of wav, flac, ogg or mp3 files.

    Args:
        csv: Columns ``filename`` and ``category``, optional ``fold`` and ``src_file``.
        audio_dir: Folder of its files.
        val_csv: A separate validation set; then nothing else is validated on.
        val_audio_dir: Its folder; default ``audio_dir``.
        test_csv: A separate test set; then nothing else is tested on.
        test_audio_dir: Its folder; default ``audio_dir``.
        calibration_csv: Clips that fix the int8 activation ranges; default: training clips.
        calibration_audio_dir: Its folder; default ``audio_dir``.
        label_separator: Between the class names of one clip in ``category``, e.g. ``,``; default: one name a clip.
        columns: Names of the columns of each csv that has none, or others: ``[filename,_,category]``; ``_``: not read.
        source_pattern: Regular expression that is searched for in the file name of a row without ``src_file``: its
            group, or the one named ``src``, is the recording the clip was cut from.
    """

    csv, audio_dir = DataPath(), DataPath()

    def __init__(
        self,
        csv: str,
        audio_dir: str,
        val_csv: str | None = None,
        val_audio_dir: str | None = None,
        test_csv: str | None = None,
        test_audio_dir: str | None = None,
        calibration_csv: str | None = None,
        calibration_audio_dir: str | None = None,
        label_separator: str | None = None,
        columns: list[str] | None = None,
        source_pattern: str | None = None,
    ) -> None:
        self.csv, self.audio_dir, self.columns = csv, audio_dir, columns
        self.source_pattern = source_pattern
        self.name, self.label_separator = Path(csv).stem, label_separator
        self.separate = {
            "val": (val_csv, val_audio_dir),
            "test": (test_csv, test_audio_dir),
            "calibration": (calibration_csv, calibration_audio_dir),
        }
        for split, (separate_csv, folder) in self.separate.items():
            if folder and not separate_csv:
                raise AedError(f"data.clips.{split}_audio_dir: given without {split}_csv; give both or none")

    def table(self) -> pd.DataFrame:
        """One row per clip; see :func:`read_esc_csv`."""
        how = {"label_separator": self.label_separator, "columns": self.columns, "source_pattern": self.source_pattern}
        parts = [read_esc_csv(self.csv, self.audio_dir, **how)]  # type: ignore[arg-type]
        for split, (csv, folder) in self.separate.items():
            if csv:
                audio_dir = folder_of(f"data.clips.{split}_audio_dir", folder) if folder else self.audio_dir
                own = folder_of(f"data.clips.{split}_csv", csv)
                parts.append(read_esc_csv(own, audio_dir, split, **how))  # type: ignore[arg-type]
        return pd.concat(parts, ignore_index=True)


class FixedSplit(ClipSource):
    """Another source whose clips' splits are known by name.

    Args:
        source: The data set.
        clips: Split -> names as of :func:`clip_names`, of which further folders tell files apart that have come
            since; clips not named are left out. Null: all clips are one split, ``train``.
    """

    def __init__(self, source: ClipSource, clips: dict[str, list[str]] | None) -> None:
        self.source, self.clips = source, clips
        self.name, self.origin = source.name, source.origin

    def table(self) -> pd.DataFrame:
        """The rows of the source that are named; clips that are gone are counted in a warning.

        Raises:
            AedError: No named clip is there, or a name stands for several files.
        """
        return self._named.copy()

    def row_errors(self) -> dict[Path, str]:
        """Those of the source."""
        return self.source.row_errors()

    @cached_property
    def _named(self) -> pd.DataFrame:
        table = self.source.table().copy()
        if self.clips is None:
            table["split"] = "train"
            return table
        splits = {name: split for split, names in self.clips.items() for name in names}
        depths = sorted({name.count("/") + 1 for name in splits}, reverse=True)
        files: dict[str, Path] = {}
        split_of: dict[Path, str] = {}
        for path in dict.fromkeys(table["path"]):
            ends = ("/".join(path.parts[-depth:]) for depth in depths)
            if name := next((end for end in ends if end in splits), None):
                if other := files.get(name):
                    raise AedError(
                        f"{self.name}: the model's card lists {name}, which may be {other} or {path}; move the one "
                        "that is not meant, or use split_by=data"
                    )
                files[name], split_of[path] = path, splits[name]
        for split, names in self.clips.items():
            if gone := [name for name in names if name not in files]:
                log.warning(
                    "%s: %d of %d %s clips that the model's card lists are not here (e.g. %s)",
                    self.name,
                    len(gone),
                    len(names),
                    split,
                    gone[0],
                )
        table["split"] = table["split"].where(table["split"].notna(), table["path"].map(split_of))
        if (named := table[table["split"].notna()].reset_index(drop=True)).empty:
            raise AedError(f"{self.name}: none of the clips that the model's card lists is here; use split_by=data")
        return named


class ESC10(ClipSource):
    """ESC-10 (K. J. Piczak, 2015; CC BY): 400 clips of 10 classes in 5 source-disjoint folds.

    Looked for in ``data_dir`` as ``esc10/{audio,meta}``, then as the ESC-10 rows of an ESC-50 checkout
    (``ESC-50-master`` or ``ESC-50``); else downloaded from ESC-50's repository (600 MB) into ``esc10``.

    Args:
        data_dir: Default ``$AED_DATA_DIR``, else ``data``.
        download: Whether the data set may be downloaded.
    """

    # the last commit of github.com/karolpiczak/ESC-50. GitHub makes archives anew with other bytes, so the
    # archive has no lasting checksum: its csv has, and zip members carry a CRC each
    URL = "https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip"
    CSV_MD5 = "54a0d0055a10bb7df84ad340a148722e"
    TARGETS = (0, 1, 10, 11, 12, 20, 21, 38, 40, 41)
    """ESC-50's numbers of the ten classes; a file name ends in its class number."""

    name = "esc10"
    origin = "Freesound"
    data_dir = DataPath()

    def __init__(self, data_dir: str | None = None, download: bool = True) -> None:
        self.data_dir = data_dir or paths.data_dir()
        self.download = download and not is_url(data_dir or "")

    def table(self) -> pd.DataFrame:
        """One row per clip of ESC-10; downloads it where it is missing."""
        files = self._find()
        if files is None:
            if not self.download:
                raise AedError(f"ESC-10 is not in {self.data_dir.absolute()}. {self._advice()}")
            self._fetch()
            files = self._find()
            assert files is not None
        csv, audio_dir = files
        table = read_esc_csv(csv, audio_dir)
        target = table["path"].map(lambda path: path.stem.rsplit("-", 1)[-1])
        return table[target.isin([str(number) for number in self.TARGETS])].reset_index(drop=True)

    def _find(self) -> tuple[Path, Path] | None:
        for folder in ("esc10", "ESC-50-master", "ESC-50"):
            for csv in ("esc10.csv", "esc50.csv"):
                if (self.data_dir / folder / "meta" / csv).is_file():
                    return self.data_dir / folder / "meta" / csv, self.data_dir / folder / "audio"
        return None

    def _advice(self) -> str:
        return (
            f"Put an ESC-50 checkout at {(self.data_dir / 'ESC-50-master').absolute()} or set AED_DATA_DIR to "
            "the folder that holds it; experiment=demo needs no data at all."
        )

    def _fetch(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self.data_dir / ".esc10.lock"):
            if self._find():  # another run was faster
                return
            archive = self.data_dir / "ESC-50.zip"
            fetch(self.URL, archive, digest=None, advice=self._advice())
            try:
                self._unpack(archive)
            finally:  # unpacked or useless: the next run starts with a new one
                archive.unlink()

    def _unpack(self, archive: Path) -> None:
        folder = self.data_dir / "esc10"
        wanted = tuple(f"-{number}.wav" for number in self.TARGETS)
        unpack_zip(
            archive,
            folder,
            only=lambda name: name == "meta/esc50.csv" or name.endswith((*wanted, "LICENSE")),
        )
        csv = folder / "meta" / "esc50.csv"
        received = hashlib.md5(csv.read_bytes()).hexdigest() if csv.is_file() else "none"
        if received != self.CSV_MD5:
            shutil.rmtree(folder)
            raise AedError(f"{self.URL}: meta/esc50.csv has md5 {received}, expected {self.CSV_MD5}. {self._advice()}")


class Synthetic(ClipSource):
    """Sounds that the project generates in seconds: nothing to download; not a benchmark of anything.

    Args:
        class_names: Names of the classes to write, from :data:`aed.datamodules.sources.synthesis.CLASSES`; default all.
        sources_per_class: Different individuals a class; the five folds never share one.
        takes_per_source: Clips of each individual.
        seed: Another seed, other sounds.
        cache_dir: Default ``$AED_CACHE_DIR``, else the user's cache folder.
    """

    name = "synthetic"

    def __init__(
        self,
        class_names: list[str] | None = None,
        sources_per_class: int = 10,
        takes_per_source: int = 2,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        self.arguments = {
            "classes": tuple(class_names or synthesis.CLASSES),
            "sources_per_class": sources_per_class,
            "takes_per_source": takes_per_source,
            "seed": seed,
        }
        key = hashlib.sha256(json.dumps(self.arguments, sort_keys=True).encode()).hexdigest()[:16]
        self.root = (Path(cache_dir) if cache_dir else paths.cache_dir()) / "synthetic" / key

    def table(self) -> pd.DataFrame:
        """One row per clip; writes the sounds first where they are missing."""
        csv = synthesis.write_dataset(self.root, **self.arguments)  # type: ignore[arg-type]
        return read_esc_csv(csv, csv.parents[1] / "audio")
