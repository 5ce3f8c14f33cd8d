"""Exports of Edge Impulse: ``info.labels``, and samples as wav, JSON or CBOR.

docs.edgeimpulse.com/tools/specifications/data-annotation/ei-labels: a JSON of ``files``, each with ``path``, ``name``,
``category`` (training, testing) and ``label`` (``type``: label, unlabeled, multi-label), at the root or in each folder.
The uploader takes a label from a file's name up to the first dot.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from aed.audio.formats import AUDIO_SUFFIXES
from aed.audio.recordings import recordings_below
from aed.base import paths
from aed.base.errors import AedError, in_brief, in_brief_list
from aed.base.extras import need
from aed.datamodules.sources.edge_samples import SUFFIXES, as_wav
from aed.datamodules.sources.pieces import MARKS
from aed.datamodules.sources.published import Errors, PublishedSource, clip_table

log = logging.getLogger(__name__)

INFO = "info.labels"
CATEGORIES = {"training": "train", "testing": "test"}

_PIECE = [re.compile(rf"(.+?){mark}(?:\.[^/]*)?") for mark in MARKS]
_UPLOADED = re.compile(r"(?:\.(?:wav|json|cbor))?(?:\.[0-9a-z]{6,})?\.ingestion-[\w-]+$|\.(?:wav|json|cbor)$")
"""What the service adds to the name of a file: ``dog3.wav.1a2b3c.ingestion-6bb4-x.wav`` is dog3."""


class EdgeImpulse(PublishedSource):
    """A data set exported from Edge Impulse: samples of one label each, as wav, or as JSON or CBOR of 16-bit values.

    ``testing`` is the test set; ``data.val_fraction`` draws validation clips from ``training``. Pieces of one recording
    (``_chunk3``, ``.s12`` and what else tools append to a name) are one source; where some are in ``training`` and
    others in ``testing``, the published split is refused. Samples without a label, and those with labels of parts
    (``multi-label``), are left out and counted. Signatures are not checked.

    Args:
        root: Folder of the export, with ``info.labels`` in it or in ``training`` and ``testing``.
        official_split: By category. False: all clips are free for ``data.split=source``, pieces on one side.
        labels: ``info``: as ``info.labels`` says. ``names``: the name of a file up to its first dot, as the uploader
            takes them, of the folders ``training`` and ``testing``.
        cache_dir: For the sound of JSON and CBOR; default ``$AED_CACHE_DIR``, else the user's cache folder.
    """

    def __init__(
        self,
        root: str,
        official_split: bool = True,
        labels: Literal["info", "names"] = "info",
        cache_dir: str | None = None,
    ) -> None:
        super().__init__(root, "")
        if labels not in ("info", "names"):
            raise AedError(f"data.clips.labels: need info or names, got {labels!r}")
        self.name = Path(root).resolve().name or "edge_impulse"
        self.official_split, self.labels = official_split, labels
        self.cache = (Path(cache_dir) if cache_dir else paths.cache_dir()) / "edge_impulse"

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table; samples that are no sound of one channel are left out.

        Raises:
            AedError: There is no ``info.labels``, or pieces of a recording are in training and testing.
        """
        errors = Errors()
        entries = self._from_info(errors) if self.labels == "info" else self._from_names()
        rows = pd.DataFrame(entries, columns=["file", "name", "label", "split"], dtype=object)
        rows["src_file"] = rows["name"].map(parent)
        if self.official_split:
            self._check_pieces(rows)
        if any(file.suffix.lower() == ".cbor" for file in rows["file"]):
            need("cbor2", f"{self.root}: a sample in CBOR")
        sounds: list[Path | None] = []
        for file in rows["file"]:
            try:
                sounds.append(as_wav(file, self.cache) if file.suffix.lower() in SUFFIXES else file)
            except AedError as error:
                errors[file] = str(error)
                sounds.append(None)
        rows = rows.assign(path=pd.Series(sounds, rows.index, dtype=object))
        rows = rows[rows["path"].notna()]
        return clip_table(
            rows,
            path=rows["path"],
            labels=[(label,) for label in rows["label"]],
            src_file=rows["src_file"],
            split=rows["split"].where(rows["split"] == "test", pd.NA) if self.official_split else pd.NA,
        ), errors

    def _check_pieces(self, rows: pd.DataFrame) -> None:
        """Refuses a published split with pieces of a recording on both sides."""
        sides = rows.groupby("src_file")["split"].nunique()
        if leaks := sorted(sides.index[sides > 1]):
            raise AedError(
                f"{self.root}: pieces of {len(leaks)} recordings are in training and in testing "
                f"({in_brief_list(leaks, 3)}): scores would be too high; "
                "data.clips.official_split=false data.split=source keeps them on one side"
            )

    def _from_names(self) -> list[tuple[Path, str, str, str]]:
        """File, name, label and split of each sample in the folders of the categories."""
        entries = []
        for category, split in CATEGORIES.items():
            if (folder := self.root / category).is_dir():
                files = [path for path in folder.rglob("*") if path.suffix.lower() in (*AUDIO_SUFFIXES, *SUFFIXES)]
                entries += [(path, path.name, path.name.split(".")[0], split) for path in sorted(files)]
        if not entries:
            raise AedError(f"{self.root}: need samples in {' and '.join(CATEGORIES)}")
        return entries

    def _from_info(self, errors: Errors) -> list[tuple[Path, str, str, str]]:
        """The same, as all ``info.labels`` say."""
        folders = [self.root, *(self.root / category for category in CATEGORIES)]
        infos = [folder / INFO for folder in folders if (folder / INFO).is_file()]
        if not infos:
            raise AedError(
                f"{self.root / INFO}: no such file, which exports of Edge Impulse have; to take labels from names of "
                "files, up to the first dot: data.clips.labels=names"
            )
        entries: dict[Path, tuple[Path, str, str, str]] = {}
        for info in infos:
            for number, item in enumerate(_files(info)):
                where = f"{info}, file {number}"
                try:
                    entry = self._entry(item, info.parent)
                except AedError as error:
                    errors[Path(f"{info}:{number}")] = f"{where}: {error}"
                    continue
                if entries.setdefault(entry[0], entry) != entry:
                    errors[Path(f"{info}:{number}")] = (
                        f"{where}: {entry[0]} is listed before, with another label or name"
                    )
        for path in recordings_below(self.root):
            if path not in entries:
                errors.setdefault(path, f"{path}: no {INFO} lists it")
        return [entries[path] for path in sorted(entries)]

    def _entry(self, item: Any, folder: Path) -> tuple[Path, str, str, str]:
        """One file of an ``info.labels``; raises AedError, without its place, where it cannot be used."""
        if not isinstance(item, dict) or not isinstance(item.get("path"), str) or not item["path"]:
            raise AedError("need an object with a path")
        file, category, label = folder / item["path"], item.get("category"), item.get("label")
        if not file.is_file() and (self.root / item["path"]).is_file():
            file = self.root / item["path"]
        if not file.resolve().is_relative_to(self.root.resolve()):
            raise AedError(f"{item['path']} is outside {self.root}")
        if category not in CATEGORIES:
            raise AedError(f"{item['path']}: category {category!r}, need {' or '.join(CATEGORIES)}")
        label = label if isinstance(label, dict) else {}
        kind, text = label.get("type"), label.get("label")
        if kind == "multi-label":
            raise AedError(
                f"{item['path']}: has labels of parts, in a unit that its format leaves open; list the parts with "
                "onset and offset in seconds: data=segments"
            )
        if kind != "label" or not isinstance(text, str) or not text.strip():
            raise AedError(f"{item['path']}: has no label (type {kind!r})")
        if not file.is_file():
            raise AedError(f"{file}: no such file")
        name = item.get("name") if isinstance(item.get("name"), str) and item["name"] else file.name
        return file, str(name), text.strip(), CATEGORIES[category]


def parent(name: str) -> str:
    """The recording that a sample is a piece of, by its name: ``yard_chunk3.wav.1a2b.ingestion-x.wav`` is of yard."""
    name = Path(name).name
    while match := next((found for mark in _PIECE if (found := mark.fullmatch(name))), None):
        name = match[1]
    while (shorter := _UPLOADED.sub("", name)) and shorter != name:
        name = shorter
    return name


def _files(info: Path) -> list[Any]:
    """The entries of an ``info.labels``; raises AedError where it is none."""
    try:
        content = json.loads(info.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AedError(f"{info}: not readable as JSON ({in_brief(error)})") from error
    files = content.get("files") if isinstance(content, dict) else None
    if not isinstance(files, list):
        raise AedError(f"{info}: need an object with a list called files, as Edge Impulse writes it")
    return files
