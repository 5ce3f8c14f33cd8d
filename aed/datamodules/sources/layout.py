"""What tells the layout of a data set: a look at the names of its files and the heads of its lists."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aed.audio.recordings import is_recording
from aed.base.errors import AedError
from aed.datamodules.sources.lists import first_row, read_rows

LOOKED_AT = 200
"""Files of a folder that are looked at: names repeat themselves."""


@dataclass(frozen=True)
class Layout:
    """A kind of data set that a folder looks like.

    Args:
        name: Of the kind.
        evidence: What in the folder says so.
        settings: What to type; empty where something is missing.
        advice: What else to know, or to do first.
        is_no_class_folder: Whether its folders are something else than classes, so that ``data=folder`` would be wrong.
        experiment: To train with.
    """

    name: str
    evidence: str
    settings: tuple[str, ...]
    advice: str = ""
    is_no_class_folder: bool = False
    experiment: str = "esc10_yamnet"

    def told(self) -> str:
        """The layout, what says so and what to type, in one line."""
        typed = f"; type {' '.join(map(shlex.quote, self.settings))}" if self.settings else ""
        return f"this looks like {self.name} ({self.evidence}){typed}{'. ' if self.advice else ''}{self.advice}"


def folders(folder: Path) -> list[Path]:
    """Its visible folders, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def recordings(folder: Path) -> Iterator[Path]:
    """Recordings below a folder, as they are found."""
    return (path for path in folder.rglob("*") if is_recording(path.name))


def some_recordings(folder: Path) -> list[Path]:
    """The first recordings that are found below a folder, by path."""
    return sorted(islice(recordings(folder), LOOKED_AT))


def beginning(file: Path) -> str:
    """The first thousand characters of a file, as far as they are text."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(1000)


def head(file: Path) -> list[str]:
    """The cells of a list's first row; [] where it is no list."""
    try:
        return first_row(file)
    except AedError:
        return []


def columns(file: Path) -> list[str]:
    """The names of a list's columns, also where they stand in a comment above the rows; [] where it is no list."""
    try:
        return [str(name) for name in read_rows(file).columns]
    except AedError:
        return []
