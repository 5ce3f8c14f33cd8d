"""Recordings in folders: the name of the folder is the class."""

import logging
import re
from pathlib import Path
from typing import Any

import pandas as pd

from aed.audio.recordings import is_recording, recordings_below
from aed.base.errors import AedError
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.data_path import DataPath
from aed.datamodules.sources.layouts import misread_as_classes
from aed.datamodules.sources.lists import COLUMNS, SPLIT_NAMES, class_name
from aed.datamodules.sources.patterns import compiled, found_by

log = logging.getLogger(__name__)


class Folder(ClipSource):
    """A folder of recordings: ``<class>/**``, or ``{train,val,test}/<class>/**`` where the splits are fixed.

    Read are wav, flac, ogg, opus, mp3, aif, w64, caf, au and more at any depth under a class; m4a and others that
    cannot be read are left out, each with the command that converts it. Links are followed, each folder once a class;
    hidden files and folders are left out. If all folders under ``root`` are called like splits (``train``,
    ``training``, ``val``, ``valid``, ``validation``, ``dev``, ``test``, ``testing``, ``eval``, ``evaluation``,
    ``calibration``), they are splits.

    Args:
        root: Folder with one subfolder per class; or its address, ``s3://bucket/sounds``, which is copied once.
        source_pattern: Regular expression that is searched for in the path under ``root`` (or under the split's
            folder), ``dog/1-30226-A-0.wav``: its group, or the one named ``src``, is the recording a clip was cut
            from or the person who made it; ``split=source`` keeps these on one side. ``/([^/-]+)-`` finds ``1``.
        fold_pattern: The same for a fold number, in the group or the one named ``fold``: ``/([0-9])-``.
    """

    root = DataPath()

    def __init__(self, root: str, source_pattern: str | None = None, fold_pattern: str | None = None) -> None:
        self.root = root
        self.name = Path(root).resolve().name or "folder"
        self.source_pattern = compiled("source_pattern", source_pattern, "src")
        self.fold_pattern = compiled("fold_pattern", fold_pattern, "fold")

    def table(self) -> pd.DataFrame:
        """One row a recording, in the order of the paths.

        Raises:
            AedError: There is no such folder, it is laid out as a published data set whose folders are no classes, it
            has fewer than two classes, or a name in it cannot be used.
        """
        if not self.root.is_dir():
            raise AedError(f"data.clips.root: {self.root} is no folder")
        if layout := misread_as_classes(self.root):
            raise AedError(f"{self.root}: its folders are no classes: {layout.told()}")
        rows: list[tuple[Path, tuple[str], Any, Any, Any]] = []
        empty: list[str] = []
        unmatched: list[str] = []
        for split, base in self._bases():
            loose = [path for path in base.iterdir() if is_recording(path.name) and path.is_file()]
            if loose:
                log.warning("%s: %d recordings lie in no class folder and are left out", base, len(loose))
            for folder in _folders(base):
                files = recordings_below(folder)
                if not files:
                    empty.append(folder.relative_to(self.root).as_posix())
                for path in files:
                    key = path.relative_to(base).as_posix()
                    source, fold = self.source_of(key), found_by(self.fold_pattern, key)
                    if (self.source_pattern and source is pd.NA) or (self.fold_pattern and fold is pd.NA):
                        unmatched.append(key)
                    rows.append((path, (_class_name(folder),), self._number(fold, key), source, split))
        if empty:
            log.warning("%s: no recordings in %s", self.root, ", ".join(map(repr, empty)))
        if unmatched:
            log.warning(
                "%s: no source or fold known of %d of %d recordings, whose names do not match (e.g. %r)",
                self.root,
                len(unmatched),
                len(rows),
                unmatched[0],
            )
        classes = sorted({labels[0] for _, labels, *_ in rows})
        if len(classes) < 2:
            raise AedError(
                f"{self.root}: need recordings (wav, flac, ogg, mp3, aif ...) in at least two class folders, "
                f"<class>/ or train/<class>/, found the classes {classes}"
            )
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"split": object, "labels": object})

    def _bases(self) -> list[tuple[Any, Path]]:
        """The folders that hold class folders, with the split each stands for, or NA."""
        folders = _folders(self.root)
        splits = [
            (SPLIT_NAMES[folder.name.lower()], folder) for folder in folders if folder.name.lower() in SPLIT_NAMES
        ]
        others = [folder for folder in folders if folder.name.lower() not in SPLIT_NAMES and recordings_below(folder)]
        kinds = {split for split, _ in splits}
        if others and "train" in kinds and len(kinds) > 1:
            raise AedError(
                f"{self.root}: {[folder.name for _, folder in splits]} look like splits, "
                f"{[folder.name for folder in others]} like classes; keep one kind in it, or rename them"
            )
        return [(pd.NA, self.root)] if others or not splits else list(splits)

    def source_of(self, key: str) -> Any:
        """Source recording in a path under the root, by the pattern, or NA."""
        return found_by(self.source_pattern, key)

    def _number(self, fold: Any, key: str) -> Any:
        if fold is pd.NA:
            return fold
        if not re.fullmatch("[0-9]+", fold):
            raise AedError(f"data.clips.fold_pattern: need a number, found {fold!r} in {key!r}")
        return int(fold)


def _folders(folder: Path) -> list[Path]:
    """Its visible folders, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _class_name(folder: Path) -> str:
    """The folder's name in composed Unicode: macOS writes decomposed names, which look the same.

    Raises:
        AedError: It has characters that no report or source file can hold.
    """
    name = class_name(folder.name)
    if not name or not name.isprintable():
        raise AedError(f"{str(folder)!r}: a class name needs printable characters; rename the folder")
    return name
