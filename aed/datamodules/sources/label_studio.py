"""Exports of Label Studio as JSON or JSON-MIN: regions of recordings, or choices for whole ones.

labelstud.io/guide/task_format: a list of tasks. In JSON a task has ``data``, where one value is the address of the
recording, and ``annotations``, each a person's, whose ``result`` is a list of regions: ``type`` labels with ``value``
``{start, end, labels}`` in seconds, or ``type`` choices with ``value`` ``{choices}``. JSON-MIN has the address and the
values of regions beside each other. Uploaded files get eight hexadecimal digits before their name.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pandas as pd

from aed.audio.recordings import is_recording, recordings_below
from aed.base.errors import AedError, in_brief
from aed.datamodules.sources.data_path import DataPath, parent_of
from aed.datamodules.sources.events import EVENT_COLUMNS, EventSource
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.sources.published import Errors, PublishedSource, clip_table

_UPLOAD = re.compile(r"[0-9a-f]{8}-(?P<name>.+)")


@dataclass(frozen=True)
class Task:
    """What a task says of a recording.

    Args:
        path: The recording.
        regions: Onset and offset in seconds, and label.
        choices: Labels of the whole recording.
    """

    path: Path
    regions: tuple[tuple[float, float, str], ...]
    choices: tuple[str, ...]


class LabelStudio(EventSource):
    """Recordings whose regions were labelled in Label Studio, exported as JSON or JSON-MIN.

    A task that nobody has done, or several people have, is left out and counted; of several annotations the one marked
    as ground truth counts. A finished task without a region is a recording in which nothing occurs.

    Args:
        json: The export.
        audio_dir: Folder of the recordings, at any depth; default: that of the export.
    """

    json, audio_dir = DataPath(), DataPath()

    def __init__(self, json: str, audio_dir: str | None = None) -> None:
        self.json, self.audio_dir = json, audio_dir or parent_of(json)
        self.name = Path(json).stem

    @cached_property
    def _parts(self) -> tuple[list[Task], Errors]:
        tasks, errors = read_tasks(self.json, self.audio_dir)
        if any(task.choices for task in tasks) and not any(task.regions for task in tasks):
            raise AedError(
                f"{self.json}: has choices for whole recordings and no regions: data=label_studio_choices "
                f"data.clips.json={self.json}"
            )
        return tasks, errors

    def table(self) -> pd.DataFrame:
        """One row a recording, each a source of its own.

        Raises:
            AedError: It is no such export, or has no regions, or none of its recordings is there.
        """
        rows = [
            (task.path, tuple(sorted({label for *_, label in task.regions})), pd.NA, str(task.path), pd.NA)
            for task in self._parts[0]
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"labels": object})

    def events(self) -> pd.DataFrame:
        """One row a region and label; raises AedError as :meth:`table`."""
        rows = [(task.path, *region) for task in self._parts[0] for region in task.regions]
        return pd.DataFrame(rows, columns=list(EVENT_COLUMNS)).astype({"onset_s": float, "offset_s": float})

    def annotation_errors(self) -> Errors:
        """Tasks that cannot be used."""
        return dict(self._parts[1])


class LabelStudioChoices(PublishedSource):
    """Recordings that were classified as a whole in Label Studio (``Choices``), exported as JSON or JSON-MIN.

    Each recording is a source of its own. Tasks are left out as in ``data=label_studio``.

    Args:
        json: The export.
        audio_dir: Folder of the recordings, at any depth; default: that of the export.
    """

    key = "audio_dir"
    json, root = DataPath(), DataPath(key)

    def __init__(self, json: str, audio_dir: str | None = None) -> None:
        self.json = json
        super().__init__(audio_dir or parent_of(json), "")
        self.name = Path(json).stem

    def read(self) -> tuple[pd.DataFrame, Errors]:
        """The clip table of the tasks with a choice."""
        tasks, errors = read_tasks(self.json, self.root)
        if any(task.regions for task in tasks):
            raise AedError(f"{self.json}: has regions, with times: data=label_studio data.clips.json={self.json}")
        errors |= {task.path: f"{task.path}: no choice was made in {self.json}" for task in tasks if not task.choices}
        rows = pd.DataFrame({"path": [task.path for task in tasks if task.choices]}, dtype=object)
        labels = [task.choices for task in tasks if task.choices]
        return clip_table(rows, path=rows["path"], labels=labels, src_file=rows["path"].map(str)), errors


def read_tasks(file: Path, audio_dir: Path) -> tuple[list[Task], Errors]:
    """What an export says of the recordings below a folder, and why tasks and recordings are left out.

    Raises:
        AedError: It is no such export, there is no such folder, or no task can be used.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AedError(f"data.clips.json: {file} is not readable as JSON ({in_brief(error)})") from error
    if not isinstance(content, list) or not all(isinstance(task, dict) for task in content):
        raise AedError(f"{file}: need a list of tasks, Label Studio's export as JSON or JSON-MIN")
    if not audio_dir.is_dir():
        raise AedError(f"data.clips.audio_dir: {audio_dir} is no folder")
    recordings = recordings_below(audio_dir)
    places: dict[str, list[Path]] = {}
    for path in recordings:
        places.setdefault(path.name, []).append(path)
    tasks, errors, several = dict[Path, Task](), Errors(), set[Path]()
    for number, task in enumerate(content, 1):
        where = f"{file}, task {task.get('id', number)}"
        try:
            path = _recording(task, places)
            if path in tasks:
                several.add(path)
                raise AedError(f"{path.name} has a task before this one; keep the one that is right")
            tasks[path] = Task(path, *_said(task))
        except AedError as error:
            errors[Path(f"{file}:{number}")] = f"{where}: {error}"
    tasks = {path: task for path, task in tasks.items() if path not in several}
    if not tasks:
        raise AedError(f"{file}: no task can be used; first: {next(iter(errors.values()), 'there is none')}")
    errors |= {path: f"{path}: no usable task of {file} is about it" for path in recordings if path not in tasks}
    return list(tasks.values()), errors


def _recording(task: dict[str, Any], places: dict[str, list[Path]]) -> Path:
    """The file that a task is about."""
    data = task["data"] if isinstance(task.get("data"), dict) else task
    names = [name for value in data.values() if isinstance(value, str) and is_recording(name := _name(value))]
    if len(names) != 1:
        raise AedError(f"need the address of one recording in it, it has {len(names)}")
    name = names[0]
    found = places.get(name) or (places.get(match["name"]) if (match := _UPLOAD.fullmatch(name)) else None)
    if not found:
        raise AedError(f"{name} is not below the audio folder")
    if len(found) > 1:
        raise AedError(f"{name} is {found[0]} or {found[1]}; rename one, or name a smaller data.clips.audio_dir")
    return found[0]


def _name(address: str) -> str:
    """The file's name in an address: ``/data/upload/2/0a1b2c3d-x.wav``, ``/data/local-files/?d=rec/x.wav``, a URL."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    inner = parse_qs(parts.query).get("d", [])
    return unquote((inner[0] if inner else parts.path).rsplit("/", 1)[-1])


def _said(task: dict[str, Any]) -> tuple[tuple[tuple[float, float, str], ...], tuple[str, ...]]:
    """Regions and choices of the annotation of a task that counts."""
    regions: list[tuple[float, float, str]] = []
    choices: dict[str, None] = {}
    for value in _values(task):
        if "choices" in value:
            choices |= dict.fromkeys(_texts(value["choices"], "choices"))
        elif "labels" in value:
            start, end = value.get("start"), value.get("end")
            if not all(isinstance(time, int | float) and not isinstance(time, bool) for time in (start, end)):
                raise AedError(f"a region from {start!r} to {end!r}, need numbers of seconds")
            if not 0 <= start < end:  # type: ignore[operator]
                raise AedError(f"a region from {start:g} to {end:g} s, need an end after its start")
            if not (labels := _texts(value["labels"], "labels")):
                raise AedError(f"the region from {start:g} to {end:g} s has no label")
            regions += [(float(start), float(end), label) for label in labels]  # type: ignore[arg-type]
    return tuple(regions), tuple(choices)


def _texts(value: Any, what: str) -> list[str]:
    """One or several names."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise AedError(f"{what} {str(value)[:60]}, need a list of names")
    return [name.strip() for name in names]


def _values(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The ``value`` of each region of a task, in JSON and in JSON-MIN."""
    if "annotations" not in task and "completions" not in task:
        if "data" in task:
            raise AedError("nobody has annotated it")
        for value in task.values():
            if isinstance(value, list):
                yield from (own for own in value if isinstance(own, dict))
            elif isinstance(value, dict) and "choices" in value:
                yield value
        if isinstance(choice := task.get("choice"), str):
            yield {"choices": choice}
        return
    listed = task.get("annotations", task.get("completions"))
    if not isinstance(listed, list) or not all(isinstance(own, dict) for own in listed):
        raise AedError("annotations need to be a list of objects")
    done = [own for own in listed if not own.get("was_cancelled")]
    done = [own for own in done if own.get("ground_truth")] or done
    if len(done) != 1:
        advice = "nobody has annotated it" if not done else f"{len(done)} people have; mark one as ground truth"
        raise AedError(advice)
    for region in done[0].get("result") or ():
        if isinstance(region, dict) and isinstance(value := region.get("value"), dict):
            yield value
