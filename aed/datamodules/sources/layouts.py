"""What kind of data set a folder looks like, by its files and the heads of its lists; nothing is decided."""

import json
import re
from itertools import islice
from pathlib import Path

from aed.base.errors import AedError
from aed.datamodules.sources.annotations import annotation_of
from aed.datamodules.sources.layout import (
    LOOKED_AT,
    Layout,
    beginning,
    columns,
    folders,
    head,
    recordings,
    some_recordings,
)
from aed.datamodules.sources.lists import SPLIT_NAMES
from aed.datamodules.sources.published_layouts import PUBLISHED


def recognised(folder: Path) -> list[Layout]:
    """The layouts that a folder looks like, the surest first; [] where it looks like none.

    Raises:
        AedError: There is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise AedError(f"{folder}: no such folder")
    found = [layout for look in (*PUBLISHED, *_OTHERS) if (layout := look(folder))]
    return found or [layout for layout in [_class_folders(folder)] if layout]


def misread_as_classes(folder: Path) -> Layout | None:
    """The published layout of a folder whose subfolders are no classes; None where nothing says so."""
    found = (layout for look in PUBLISHED if (layout := look(folder)))
    return next((layout for layout in found if layout.is_no_class_folder), None)


def _esc(folder: Path) -> Layout | None:
    for name in ("meta/esc50.csv", "meta/esc10.csv"):
        if (folder / name).is_file():
            settings = ("data=esc_csv", f"data.clips.csv={folder / name}", f"data.clips.audio_dir={folder / 'audio'}")
            return Layout("ESC-50" if "50" in name else "ESC-10", name, settings)
    return None


def _dcase(folder: Path) -> Layout | None:
    for file in (folder / "meta.csv", folder / "meta.txt"):
        has_folds = (folder / "evaluation_setup").is_dir()
        if file.is_file() and (has_folds or "scene_label" in head(file)):
            evidence = f"{file.name} and evaluation_setup/" if has_folds else f"{file.name} with scene_label"
            return Layout("scenes of a DCASE challenge", evidence, ("data=dcase", f"data.clips.meta={file}"))
    return None


def _label_studio(folder: Path) -> Layout | None:
    for file in islice(sorted(folder.glob("*.json")), LOOKED_AT):
        try:
            tasks = json.loads(file.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            continue
        if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
            continue
        if all("data" in task and ("annotations" in task or "completions" in task) for task in tasks):
            kind = "_choices" if '"choices"' in json.dumps(tasks[:LOOKED_AT]) else ""
            evidence = f"{file.name} is a list of tasks with data and annotations"
            return Layout(
                "an export of Label Studio", evidence, (f"data=label_studio{kind}", f"data.clips.json={file}")
            )
    return None


def _lists(folder: Path) -> Layout | None:
    for file in islice(sorted(path for path in folder.iterdir() if path.suffix in (".csv", ".tsv", ".txt")), LOOKED_AT):
        if not re.search("onset|category", beginning(file), re.IGNORECASE):
            continue
        names = {name.lower() for name in columns(file)}
        where = (f"data.clips.csv={file}", f"data.clips.audio_dir={folder}")
        if {"filename", "onset", "offset"} <= names:
            settings = ("data=segments", *where, "frontend.trim=none", "frontend.max_length_s=3600")
            return Layout("a list of events", f"{file.name} has the columns filename, onset, offset", settings)
        if {"filename", "category"} <= names:
            return Layout("a list in ESC format", f"{file.name} has filename and category", ("data=esc_csv", *where))
    return None


def _annotated(folder: Path) -> Layout | None:
    sounds, found = some_recordings(folder), []
    for path in sounds:
        try:
            found.append(annotation_of(path, path.parent))
        except AedError:
            continue
    if not found or len({path.parent for path in found}) > 1:
        return None
    evidence = f"{len(found)} of {len(sounds)} recordings have a list of the same name, as {found[0].name}"
    settings = ("data=annotated", f"data.clips.annotations={found[0].parent}", "frontend.trim=none")
    advice = "Labels of Audacity, tables of Raven, csv of BirdNET and lists of sed_eval are read."
    return Layout("recordings with annotations", evidence, (*settings, "frontend.max_length_s=3600"), advice)


def _class_folders(folder: Path) -> Layout | None:
    names = [path.name for path in folders(folder) if next(recordings(path), None)]
    if not names:
        return None
    splits = [name for name in names if name.lower() in SPLIT_NAMES]
    inner = (
        {path.name for name in splits for path in folders(folder / name)} if len(splits) == len(names) else set(names)
    )
    if len(inner) < 2:
        return None
    kind = f"folders {', '.join(names[:3])}{' ...' if len(names) > 3 else ''} with recordings"
    return Layout("a folder per class", kind, ("data=folder", f"data.clips.root={folder}"))


_OTHERS = (_esc, _dcase, _label_studio, _lists, _annotated)
