"""Annotations of recordings as programs write them, for scores: what occurs when.

Read are lists with a first line of names (csv, tsv, DCASE's), sed_eval's lists without one, selection tables of Raven,
BirdNET's csv, and label files of Audacity. A list names its recordings, or is that of one recording; a folder holds
a file for each, with the recording's name and another ending.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from aed.base.errors import AedError, in_brief_list
from aed.datamodules.health.annotations import untrusted
from aed.datamodules.sources.events import EVENT_COLUMNS
from aed.datamodules.sources.lists import UNUSED, class_name, first_row, is_number, need_columns, read_rows
from aed.datamodules.sources.segments import ALIASES, check_events

NEEDED = ("filename", "onset", "offset", "label")

_HEADS = {
    "begin time (s)": "onset",
    "end time (s)": "offset",
    "begin file": "filename",
    "begin path": UNUSED,
    "species": "label",
    "annotation": "label",
    "start (s)": "onset",
    "end (s)": "offset",
    "common name": "label",
    "file": "filename",
}
"""Columns of Raven and of BirdNET, in small letters."""

_HEADLESS = {
    (False, True, True, False): ["filename", "onset", "offset", "label"],
    (False, False, True, True, False): ["filename", UNUSED, "onset", "offset", "label"],
    (True, True, False): ["onset", "offset", "label"],
    (True, True): ["onset", "offset"],
}
"""Which cells of a row are numbers -> its columns; the last two are Audacity's."""


def read_reference(reference: Path, recordings: Sequence[Path], length_s: Sequence[float]) -> pd.DataFrame:
    """The events of some recordings, one row an event: ``path``, ``onset_s``, ``offset_s``, ``label``, ``clip``.

    ``clip`` is what an event was cut from, where the list says so in a column of that name; else "".

    Args:
        reference: A list, or a folder with one for each recording.
        recordings: The recordings that are scored; a list may name further ones only by mistake.
        length_s: Of each recording.

    Raises:
        AedError: A recording has no annotation, an annotation no recording, or an event cannot be right.
    """
    if reference.is_dir():
        parts = []
        for recording in recordings:
            own = _rows(annotation_of(recording, reference))
            parts.append(own.assign(path=pd.Series([recording] * len(own), own.index, dtype=object)))
        rows = pd.concat(parts, ignore_index=True)
    else:
        rows = _rows(reference)
        if "filename" not in rows:
            if len(recordings) != 1:
                raise AedError(
                    f"{reference}: does not name recordings, so it is of one; there are {len(recordings)}: give a "
                    "folder with a file for each"
                )
            rows["filename"] = str(recordings[0])
        rows["path"] = _matched(rows["filename"], recordings, reference)
    events = rows[rows["label"] != ""].rename(columns={"onset": "onset_s", "offset": "offset_s"})
    events = events[[*EVENT_COLUMNS, "clip"]].reset_index(drop=True)
    if (events["clip"] == "").any() and (events["clip"] != "").any():
        raise AedError(f"{reference}: some events have no clip; name the clip of each, or of none")
    if reasons := untrusted(events, dict(zip(recordings, length_s, strict=True))):
        raise AedError(f"{reference}: {next(iter(reasons.values()))}")
    return events


def _rows(file: Path) -> pd.DataFrame:
    """As :func:`annotation_rows`; raises AedError also where a row cannot be right."""
    rows = annotation_rows(file)
    if (wrong := rows[rows["wrong"] != ""]).size:
        raise AedError(f"{file}, line {wrong.index[0] + 2}: {wrong['wrong'].iloc[0]}")
    return rows.drop(columns="wrong")


def annotation_rows(file: Path) -> pd.DataFrame:
    """The rows of a file, times as numbers, ``filename`` only where the file names recordings.

    ``wrong`` is why a row cannot be right, else "". The index is the number of the line less 2.

    Raises:
        AedError: It is no such list.
    """
    head = first_row(file)
    if not head:
        return no_rows()
    numbers = _HEADLESS.get(tuple(is_number(cell) for cell in head))
    rows = read_rows(file, columns=numbers)
    separator = rows.attrs["separator"]
    if numbers is None:
        named = {name: _HEADS[name.lower()] for name in rows.columns if name.lower() in _HEADS}
        rows = rows.rename(columns=named if "onset" in named.values() else ALIASES)
        rows = rows.loc[:, ~rows.columns.duplicated()]
        need_columns(rows, ("onset", "offset", "label"), file)
    if "label" not in rows:
        raise AedError(f"{file}: its events have no label")
    rows = rows[rows["onset"] != "\\"].copy()  # Audacity's second line of an event: its frequencies
    own = "filename" in rows
    if not own:
        rows["filename"] = str(file)
    rows["label"] = rows["label"].map(class_name)
    check_events(rows, separator)
    if "clip" not in rows:
        rows["clip"] = ""
    return rows[[*(NEEDED if own else NEEDED[1:]), "clip", "wrong"]]


def no_rows() -> pd.DataFrame:
    """The rows of an empty file, which says that nothing occurs."""
    kinds = {"onset": float, "offset": float, "label": object, "clip": object, "wrong": object}
    return pd.DataFrame({name: pd.Series([], dtype=kind) for name, kind in kinds.items()})


def annotation_of(recording: Path, folder: Path) -> Path:
    """The annotation of a recording in a folder.

    Raises:
        AedError: There is none, or several.
    """
    names = [f"{base}{ending}" for base in (recording.stem, recording.name) for ending in _ENDINGS]
    found = [folder / name for name in names if (folder / name).is_file() and folder / name != recording]
    if len(found) != 1:
        what = f"both {found[0].name} and {found[1].name}" if found else f"no {recording.stem}.txt, .csv or .tsv"
        raise AedError(f"reference: {folder} has {what} for {recording.name}; an empty file says that nothing occurs")
    return found[0]


_ENDINGS = (".txt", ".csv", ".tsv", ".selections.txt", ".Table.1.selections.txt", ".BirdNET.results.csv")


def meaning(recordings: Iterable[Path]) -> Callable[[str], set[Path]]:
    """Which recordings a name in a list may mean: by path, by file name, or by the name without ending."""
    keys: dict[str, set[Path]] = {}
    for recording in recordings:
        for key in {str(recording), recording.name, recording.stem}:
            keys.setdefault(key, set()).add(recording)
    return lambda name: next((keys[key] for key in (name, Path(name).name, Path(name).stem) if key in keys), set())


def _matched(names: "pd.Series[str]", recordings: Sequence[Path], reference: Path) -> "pd.Series[Any]":
    """The recording that each name means: by path, by file name, or by the name without ending."""
    meant_by = meaning(recordings)
    found: dict[str, Path] = {}
    for name in dict.fromkeys(names):
        meant = meant_by(name)
        if len(meant) != 1:
            why = "is none of the recordings" if not meant else f"is {len(meant)} of the recordings"
            raise AedError(f"{reference}: {name} {why} that are scored: {in_brief_list(map(str, recordings))}")
        found[name] = next(iter(meant))
    if missing := [recording for recording in recordings if recording not in set(found.values())]:
        raise AedError(
            f"{reference}: says nothing of {in_brief_list(map(str, missing))}; a row with the name alone says that "
            "nothing occurs in it"
        )
    return names.map(found)
