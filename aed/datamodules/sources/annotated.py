"""Recordings with annotations as programs write them: Audacity, Raven, BirdNET, sed_eval, as training data."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from aed.audio.recordings import recordings_below
from aed.base.errors import AedError
from aed.base.remote import is_url
from aed.datamodules.sources.annotations import annotation_of, annotation_rows, meaning, no_rows
from aed.datamodules.sources.data_path import DataPath, parent_of
from aed.datamodules.sources.events import EVENT_COLUMNS, EventSource
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.sources.patterns import compiled, found_by


class Annotated(EventSource):
    """Recordings with labels of Audacity, selection tables of Raven, csv of BirdNET, or lists of sed_eval.

    A folder of annotations holds a file for each recording, with its name and another ending (``a.wav``: ``a.txt``,
    ``a.csv``, ``a.tsv``, ``a.Table.1.selections.txt``, ``a.BirdNET.results.csv``); an empty file says that nothing
    occurs. A single list names its recordings. A recording without annotation, or with a row that cannot be right, is
    left out and counted.

    Args:
        annotations: The folder, or the list.
        audio_dir: Folder of the recordings, at any depth; default: that of the annotations.
        source_pattern: Regular expression that is searched for in the path of a recording under ``audio_dir``: its
            group, or the one named ``src``, is what it was cut from. Without it each recording is a source of its own.
    """

    annotations, audio_dir = DataPath(), DataPath()

    def __init__(self, annotations: str, audio_dir: str | None = None, source_pattern: str | None = None) -> None:
        is_folder = not Path(annotations).suffix if is_url(annotations) else Path(annotations).is_dir()
        self.annotations = annotations
        self.audio_dir = audio_dir or (annotations if is_folder else parent_of(annotations))
        self.name = Path(annotations).resolve().stem
        self.source_pattern = compiled("source_pattern", source_pattern, "src")

    def table(self) -> pd.DataFrame:
        """One row a recording that has annotations, in the order of the paths.

        Raises:
            AedError: There are no recordings, or none with an annotation.
        """
        events = self.events()
        occurring: dict[Any, tuple[str, ...]] = {
            path: tuple(sorted(set(own))) for path, own in events.groupby("path", sort=False)["label"]
        }
        rows = [
            (path, occurring.get(path, ()), pd.NA, self._source(path), pd.NA) for path in sorted(self._annotated[0])
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"labels": object})

    def events(self) -> pd.DataFrame:
        """One row an event that is right; raises AedError as :meth:`table`."""
        rows = self._annotated[1]
        events = rows[(rows["label"] != "") & (rows["wrong"] == "")]
        return events.rename(columns={"onset": "onset_s", "offset": "offset_s"})[list(EVENT_COLUMNS)].reset_index(
            drop=True
        )

    def annotation_errors(self) -> dict[Path, str]:
        """Why a recording, or a row that names none, is left out."""
        return dict(self._annotated[2])

    def _source(self, path: Path) -> Any:
        found = found_by(self.source_pattern, f"/{path.relative_to(self.audio_dir).as_posix()}")
        return str(path) if found is pd.NA else found

    @cached_property
    def _annotated(self) -> tuple[set[Path], pd.DataFrame, dict[Path, str]]:
        """The recordings that have an annotation, all rows with ``path``, and why anything is left out."""
        if not self.audio_dir.is_dir():
            raise AedError(f"data.clips.audio_dir: {self.audio_dir} is no folder")
        recordings = recordings_below(self.audio_dir)
        if self.annotations.is_dir():
            found, rows, errors = _of_folder(recordings, self.annotations)
        elif self.annotations.is_file():
            found, rows, errors = _of_list(recordings, self.annotations)
        else:
            raise AedError(f"data.clips.annotations: {self.annotations} is no folder and no list")
        for (path, file), own in rows[rows["wrong"] != ""].groupby(["path", "file"], sort=False):
            more = f" ({len(own)} such rows)" if len(own) > 1 else ""
            errors[path] = f"{path}: {file}, line {own['line'].iloc[0]}: {own['wrong'].iloc[0]}{more}"  # type: ignore[index]
        if not found:
            first = f"; first: {next(iter(errors.values()))}" if errors else ""
            raise AedError(f"{self.annotations}: no recording below {self.audio_dir} has an annotation{first}")
        return found, rows, errors


def _with_place(rows: pd.DataFrame, file: Path, paths: list[Path]) -> pd.DataFrame:
    """The rows with their recording, file and line."""
    return rows.assign(path=pd.Series(paths, rows.index, dtype=object), file=str(file), line=rows.index + 2)


def _of_folder(recordings: list[Path], folder: Path) -> tuple[set[Path], pd.DataFrame, dict[Path, str]]:
    """Annotations of a file for each recording."""
    found: set[Path] = set()
    errors: dict[Path, str] = {}
    parts = [_with_place(no_rows(), folder, [])]
    for path in recordings:
        try:
            file = annotation_of(path, folder)
            rows = annotation_rows(file)
        except AedError as error:
            errors[path] = f"{path}: {error}"
            continue
        found.add(path)
        parts.append(_with_place(rows, file, [path] * len(rows)))
    return found, pd.concat(parts, ignore_index=True), errors


def _of_list(recordings: list[Path], file: Path) -> tuple[set[Path], pd.DataFrame, dict[Path, str]]:
    """Annotations of a list that names its recordings, by path, file name, or the name without its ending."""
    rows = annotation_rows(file)
    if "filename" not in rows:
        raise AedError(
            f"{file}: does not name its recordings; put it beside its recording, with the same name, and type "
            f"data.clips.annotations={file.parent}"
        )
    meant_by = meaning(recordings)
    errors: dict[Path, str] = {}
    paths = []
    for index, name in rows["filename"].items():
        line = int(index) + 2  # type: ignore[call-overload]
        meant = meant_by(str(name))
        paths.append(next(iter(meant)) if len(meant) == 1 else file)
        if len(meant) != 1:
            why = f"is {len(meant)} recordings" if meant else "is no recording"
            errors[Path(f"{file}:{line}")] = f"{file}, line {line}: {name!r} {why} below the audio folder"
    placed = _with_place(rows, file, paths)
    known = placed[placed["path"].map(lambda path: path != file)]
    found = set(known["path"])
    errors |= {path: f"{path}: no row of {file} names it" for path in recordings if path not in found}
    return found, known, errors
