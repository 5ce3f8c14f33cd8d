"""A folder of sounds that grows, as ``data=folder`` reads it: a folder for each class, and a list of them beside."""

import csv
import io
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.datamodules.sources.lists import SPLIT_NAMES

COLUMNS = ("filename", "category", "seconds")
"""First of every list: the file under the folder, its class, its length."""

LONGEST_NAME = 200
"""Bytes of a class name that is a folder."""


class SoundFolder:
    """Saves sounds under names that tell their session; a sound at a time.

    Args:
        folder: New, or one with sounds.
        listed: Name of the list in it.
        columns: Of the list, after :data:`COLUMNS`.

    Raises:
        AedError: A file lies there.
    """

    def __init__(self, folder: Path, listed: str, columns: Sequence[str]) -> None:
        if folder.exists() and not folder.is_dir():
            raise AedError(f"folder: {folder} is no folder")
        self.folder, self.listed, self.columns = folder, listed, (*COLUMNS, *columns)
        self.session = time.strftime("%Y%m%dT%H%M%S")
        self.number = 0
        self._lock = threading.Lock()

    def of_class(self, label: str) -> Path:
        """The folder of a class, which may not be there yet.

        Raises:
            AedError: The class cannot be a folder in this one.
        """
        target = self.folder / folder_name(label)
        if target.exists() and target.resolve().parent != self.folder.resolve():
            raise AedError(f"{target} leads out of {self.folder}: nothing is written there")
        return target

    def save(self, wav: bytes, label: str, seconds: float, facts: Sequence[str]) -> str:
        """Saves a sound of a class; returns the name of the file under the folder.

        Args:
            wav: Content of the file.
            label: Class.
            seconds: Length.
            facts: Of the list, for its columns.

        Raises:
            AedError: The class cannot be a folder in this one, or it cannot be written.
        """
        target = self.of_class(label)
        with self._lock:
            path = self._next(target)
            write_whole(path, lambda file: file.write(wav))
            name = path.relative_to(self.folder).as_posix()
            self._note([name, label, f"{seconds:.3f}", *facts])
        return name

    def _next(self, target: Path) -> Path:
        """A name that is free: another session may have begun in the same second."""
        while True:
            self.number += 1
            path = target / f"{self.session}-{self.number:04}.wav"
            if not path.exists():
                return path

    def _note(self, row: Sequence[str]) -> None:
        """Adds a row to the list, which is whole at any time."""
        path = self.folder / self.listed
        old, added = path.read_bytes() if path.exists() else b"", io.StringIO()
        csv.writer(added, lineterminator="\n").writerows([row] if old else [self.columns, row])
        write_whole(path, lambda file: file.write(old + added.getvalue().encode()))


def folder_name(label: str) -> str:
    """The class, where it can be the name of a folder that ``data=folder`` takes for a class.

    Raises:
        AedError: It cannot.
    """
    if label != label.strip() or not label or not label.isprintable() or len(label.encode()) > LONGEST_NAME:
        raise AedError(
            f"class {label[:40]!r}: need printable characters, at most {LONGEST_NAME} bytes, no space around"
        )
    if label.startswith(".") or any(letter in label for letter in '/\\:*?"<>|'):
        raise AedError(f"class {label!r}: cannot be the name of a folder; type another class")
    if label.lower() in SPLIT_NAMES:
        raise AedError(f"class {label!r}: data=folder takes a folder of this name for a split; type another class")
    return label
