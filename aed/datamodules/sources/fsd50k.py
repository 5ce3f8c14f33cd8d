"""FSD50K: its official files as a clip table, with or without the labels that others imply."""

import json
import logging
from pathlib import Path
from typing import Literal

import pandas as pd

from aed.base import paths
from aed.base.download import fetch
from aed.base.errors import AedError
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.data_path import DataPath
from aed.datamodules.sources.lists import COLUMNS, need_columns, read_rows
from aed.datamodules.sources.ontology import Ontology

log = logging.getLogger(__name__)

PARTS = {"dev": ("fname", "mids", "split"), "eval": ("fname", "mids")}
"""The two halves of the data set and the columns of their csv that are used."""


class FSD50K(ClipSource):
    """FSD50K (E. Fonseca et al., 2020; CC BY 4.0): 51,197 clips of 200 classes of AudioSet's ontology.

    Read from the folders of Zenodo's record 4060432 as they are unpacked: ``FSD50K.dev_audio``,
    ``FSD50K.eval_audio``, ``FSD50K.ground_truth`` and ``FSD50K.metadata`` (the uploaders). The eval half is always
    the test set.

    Args:
        data_dir: Folder of these folders; default ``$AED_DATA_DIR``, else ``data``.
        labels: ``smeared``: as published, with every class above a clip's own. ``unsmeared``: only labels that no
            other label of the clip implies.
        ontology: AudioSet's ontology.json, which ``unsmeared`` needs; default: the one in ``data_dir`` or in one of
            the data set's folders, else it is downloaded to ``data_dir``.
        download: Whether the ontology may be downloaded.
        official_split: Train and val as published. False: the dev half is free for ``data.split=source``, which keeps
            the clips of an uploader on one side.
    """

    # of one commit, so that it stays the same; no checksum is published
    ONTOLOGY_URL = (
        "https://raw.githubusercontent.com/audioset/ontology/1e85b88a094054c66096a18073b76cb71f5b1436/ontology.json"
    )
    FOLDERS = ("FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.ground_truth")
    """Without these there is no table."""

    name = "fsd50k"
    origin = "Freesound"
    data_dir = DataPath()

    def __init__(
        self,
        data_dir: str | None = None,
        labels: Literal["unsmeared", "smeared"] = "unsmeared",
        ontology: str | None = None,
        download: bool = True,
        official_split: bool = True,
    ) -> None:
        if labels not in ("unsmeared", "smeared"):
            raise AedError(f"data.clips.labels: need unsmeared or smeared, got {labels!r}")
        self.data_dir = data_dir or paths.data_dir()
        self.labels, self.download, self.official_split = labels, download, official_split
        self.ontology = Path(ontology) if ontology else None

    def table(self) -> pd.DataFrame:
        """One row per clip; ``src_file`` is its uploader. Bad rows are left out, counted and reported.

        Raises:
            AedError: A folder, file or column is missing, or all rows are bad; without the official split also where
                no uploader is known.
        """
        if missing := [name for name in self.FOLDERS if not (self.data_dir / name).is_dir()]:
            raise AedError(f"FSD50K: {self.data_dir.absolute()} has no {', '.join(missing)}. {self._advice()}")
        names = self._class_names()
        table = pd.concat([self._part(part, names) for part in PARTS], ignore_index=True)
        if table.empty:
            raise AedError(f"FSD50K: no row of dev.csv and eval.csv can be used; the log says why. {self._advice()}")
        mids: list[tuple[str, ...]] = list(table.pop("mids"))
        if self.labels == "unsmeared":
            mids = self._read_ontology().unsmear_all(mids)
        # 51,000 clips, a few thousand different sets
        sorted_names = {own: tuple(sorted(names[mid] for mid in own)) for own in set(mids)}
        table["labels"] = pd.Series([sorted_names[own] for own in mids], dtype=object)
        table["fold"] = pd.NA
        return table[list(COLUMNS)]

    def _class_names(self) -> dict[str, str]:
        """Mid -> name of the vocabulary's classes."""
        path = self._truth("vocabulary.csv")
        rows = read_rows(path, ("number", "name", "mid"))
        need_columns(rows, ("name", "mid"), path)
        if (rows == "").any(axis=None) or not (rows["name"].is_unique and rows["mid"].is_unique):
            raise AedError(f"{path}: need rows of number, name and mid without a header, each name and mid once")
        return dict(zip(rows["mid"], rows["name"], strict=True))

    def _part(self, part: str, names: dict[str, str]) -> pd.DataFrame:
        """The usable rows of dev.csv or eval.csv: ``path``, ``mids`` (a tuple), ``src_file`` and ``split``."""
        path = self._truth(f"{part}.csv")
        rows = read_rows(path)
        if missing := [name for name in PARTS[part] if name not in rows]:
            raise AedError(f"{path}: no column {missing}; it has {list(rows.columns)}. {self._advice()}")
        cells = {text: _mids(text) for text in rows["mids"].unique()}
        unknown = {text for text, mids in cells.items() if not names.keys() >= set(mids)}
        rows["src_file"] = rows["fname"].map(self._uploaders(part)).astype(object)
        bad = {
            "no fname": rows["fname"] == "",
            "a repeated fname": rows["fname"].duplicated(),
            "no label": rows["mids"].map(lambda text: not cells[text]),
            "a label that is not in vocabulary.csv": rows["mids"].isin(unknown),
        }
        if part == "eval":
            rows["split"] = "test"
        elif self.official_split:
            bad["a split other than train and val"] = ~rows["split"].isin(["train", "val"])
        else:
            rows["split"] = pd.NA
            bad["no uploader"] = rows["src_file"].isna()
        left_out = pd.Series(False, index=rows.index)
        for reason, is_bad in bad.items():
            if first := list(rows["fname"][is_bad & ~left_out][:1]):
                number = int((is_bad & ~left_out).sum())
                log.warning("%s: left out %d of %d rows: %s; first: %r", path, number, len(rows), reason, first[0])
            left_out |= is_bad
        rows = rows[~left_out]
        folder = self.data_dir / f"FSD50K.{part}_audio"
        return pd.DataFrame(
            {
                "path": pd.Series([folder / f"{name}.wav" for name in rows["fname"]], index=rows.index, dtype=object),
                "mids": rows["mids"].map(cells).astype(object),
                "src_file": rows["src_file"],
                "split": rows["split"].astype(object),
            }
        )

    def _uploaders(self, part: str) -> dict[str, str]:
        """``fname`` -> uploader; empty, with a warning, where the official split does without."""
        path = self.data_dir / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json"
        if not path.is_file():
            if part == "dev" and not self.official_split:
                raise AedError(
                    f"data.clips.official_split=false: {path} is missing. Without uploaders a new split puts clips of "
                    f"one uploader on both sides. Unpack FSD50K.metadata.zip of zenodo.org/records/4060432 in "
                    f"{self.data_dir.absolute()}"
                )
            log.warning("%s is missing: uploaders are unknown, leaks between splits are not checked", path)
            return {}
        try:
            clips = json.loads(path.read_text(encoding="utf-8"))
            uploaders = {fname: clip.get("uploader") for fname, clip in clips.items()}
        except (OSError, ValueError, AttributeError, RecursionError) as error:
            raise AedError(f"{path}: need JSON, fname -> {{uploader, ...}} ({error}). {self._advice()}") from error
        return {fname: str(uploader) for fname, uploader in uploaders.items() if uploader}

    def _read_ontology(self) -> Ontology:
        if self.ontology:
            return Ontology.read(self.ontology)
        folders = ("", "FSD50K.metadata", "FSD50K.ground_truth", "FSD50K.doc")
        paths = [self.data_dir / folder / "ontology.json" for folder in folders]
        if path := next((path for path in paths if path.is_file()), None):
            return Ontology.read(path)
        advice = (
            f"Put ontology.json of github.com/audioset/ontology at {paths[0].absolute()}, set "
            "data.clips.ontology=<file> or use the published labels: data.clips.labels=smeared"
        )
        if not self.download:
            raise AedError(f"FSD50K: labels=unsmeared needs AudioSet's ontology. {advice}")
        fetch(self.ONTOLOGY_URL, paths[0], digest=None, advice=advice)
        try:
            return Ontology.read(paths[0])
        except AedError:
            paths[0].unlink(missing_ok=True)  # a proxy's page: the next run tries again
            raise

    def _truth(self, name: str) -> Path:
        path = self.data_dir / "FSD50K.ground_truth" / name
        if not path.is_file():
            raise AedError(f"{path}: no such file. {self._advice()}")
        return path

    def _advice(self) -> str:
        return (
            f"Unpack the archives of zenodo.org/records/4060432 in {self.data_dir.absolute()}, or set AED_DATA_DIR "
            "to the folder that holds FSD50K.ground_truth and the others; experiment=demo needs no data at all."
        )


def _mids(text: str) -> tuple[str, ...]:
    return tuple(mid for part in text.split(",") if (mid := part.strip()))
