"""What kind of data set a folder looks like, by the names of its files and the heads of its lists; nothing is decided.

The layouts are those that the sources of this folder read; each cites where it is published.
"""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aed.audio.recordings import is_recording
from aed.base.errors import AedError
from aed.datamodules.sources.annotations import annotation_of
from aed.datamodules.sources.edge_impulse import CATEGORIES, INFO
from aed.datamodules.sources.lists import SPLIT_NAMES, first_row, read_rows
from aed.datamodules.sources.speech_commands import BACKGROUND, LISTS

LOOKED_AT = 200
"""Files of a folder that are looked at: names repeat themselves."""

_FOLD = re.compile(r"fold[ _-]?\d+", re.IGNORECASE)
_SLICE = re.compile(r"\d+-\d-\d+-\d+\.wav")
_UTTERANCE = re.compile(r"[0-9a-f]{8}_nohash_\d+\.wav")


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


def recognised(folder: Path) -> list[Layout]:
    """The layouts that a folder looks like, the surest first; [] where it looks like none.

    Raises:
        AedError: There is no such folder, or it cannot be read.
    """
    if not folder.is_dir():
        raise AedError(f"{folder}: no such folder")
    found = [layout for look in (*_PUBLISHED, *_OTHERS) if (layout := look(folder))]
    return found or [layout for layout in [_class_folders(folder)] if layout]


def misread_as_classes(folder: Path) -> Layout | None:
    """The published layout of a folder whose subfolders are no classes; None where nothing says so."""
    found = (layout for look in _PUBLISHED if (layout := look(folder)))
    return next((layout for layout in found if layout.is_no_class_folder), None)


def _urbansound8k(folder: Path) -> Layout | None:
    root = folder.parent if folder.name == "audio" else folder
    if not (root / "metadata" / "UrbanSound8K.csv").is_file() or not (root / "audio" / "fold1").is_dir():
        return None
    settings = ("data=urbansound8k", f"data.clips.root={root}")
    evidence = "metadata/UrbanSound8K.csv and audio/fold1"
    return Layout("UrbanSound8K", evidence, settings, "The folders are folds, not classes.", True)


def _folds(folder: Path) -> Layout | None:
    names = [path.name for path in _folders(folder)]
    folds = [name for name in names if _FOLD.fullmatch(name)]
    if len(folds) < 2 or len(folds) < len(names) or _urbansound8k(folder):
        return None
    recordings = _some_recordings(folder)
    evidence = f"its {len(folds)} folders are called {folds[0]} ... {folds[-1]}"
    if recordings and all(_SLICE.fullmatch(path.name) for path in recordings):
        advice = "Put its metadata/UrbanSound8K.csv beside audio/fold1 ..., then data=urbansound8k reads both."
        return Layout("UrbanSound8K without its list", f"{evidence}, its files {recordings[0].name}", (), advice, True)
    advice = "These are folds, not classes: write a list with the columns filename, category and fold."
    settings = ("data=esc_csv", "data.clips.csv=list.csv", f"data.clips.audio_dir={folder}")
    return Layout("folders that are folds", evidence, settings, advice, True)


def _speech_commands(folder: Path) -> Layout | None:
    present = [name for name in LISTS if (folder / name).is_file()]
    settings: tuple[str, ...] = ("data=speech_commands", f"data.clips.root={folder}")
    noise = f"data.negatives={folder / BACKGROUND}" if (folder / BACKGROUND).is_dir() else ""
    advice = f"{BACKGROUND} is no word; as training clips of a class background: {noise}" if noise else ""
    if present:
        return Layout("Speech Commands", " and ".join(present), settings, advice, True)
    names = [path for path in _some_recordings(folder) if path.parent.name != BACKGROUND]
    if not names or not all(_UTTERANCE.fullmatch(path.name) for path in names):
        return None
    settings += ("data.clips.official_split=false", "data.test_fraction=0.1", "data.val_fraction=0.1")
    return Layout("Speech Commands without its lists", f"names as {names[0].name}", settings, advice, bool(noise))


def _fsd50k(folder: Path) -> Layout | None:
    if not (folder / "FSD50K.ground_truth").is_dir():
        return None
    settings = ("data=fsd50k", f"data.clips.data_dir={folder}")
    return Layout("FSD50K", "FSD50K.ground_truth", settings, "", True, "fsd50k_yamnet")


def _fsdkaggle(folder: Path) -> Layout | None:
    kaggle = {"2018": ("audio_train", "train.csv"), "2019": ("train_curated", "train_curated.csv")}
    for year, names in kaggle.items():
        published = sorted(path.name for path in folder.glob(f"FSDKaggle{year}.*") if path.is_dir())
        if published or all((folder / name).exists() for name in names):
            settings = (f"data=fsdkaggle{year}", f"data.clips.root={folder}")
            return Layout(f"FSDKaggle{year}", published[0] if published else " and ".join(names), settings, "", True)
    return None


def _sonyc(folder: Path) -> Layout | None:
    head = _head(folder / "annotations.csv")
    if not {"audio_filename", "annotator_id"} <= set(head):
        return None
    settings = ("data=sonyc_ust", f"data.clips.root={folder}")
    return Layout("SONYC-UST", "annotations.csv has the columns audio_filename and annotator_id", settings, "", True)


def _audioset(folder: Path) -> Layout | None:
    lists = sorted(path.name for path in folder.glob("*_segments.csv"))
    if not lists or "YTID" not in _beginning(folder / lists[0]):
        return None
    settings: tuple[str, ...] = ("data=audioset", f"data.clips.root={folder}")
    if "balanced_train_segments.csv" not in lists and "unbalanced_train_segments.csv" in lists:
        settings += ("data.clips.train=unbalanced",)
    return Layout("AudioSet", f"{lists[0]} has the column YTID", settings, "", True)


def _edge_impulse(folder: Path) -> Layout | None:
    settings: tuple[str, ...] = ("data=edge_impulse", f"data.clips.root={folder}")
    places = (INFO, *(f"{category}/{INFO}" for category in CATEGORIES))
    if info := next((name for name in places if (folder / name).is_file()), None):
        return Layout("an export of Edge Impulse", info, settings, "", True)
    if not any((folder / category).is_dir() for category in CATEGORIES):
        return None
    files = islice((path for name in CATEGORIES for path in (folder / name).glob("*")), LOOKED_AT)
    odd = [path for path in files if ".ingestion-" in path.name or path.suffix.lower() == ".cbor"]
    if not odd:
        return None
    settings += ("data.clips.labels=names",)
    evidence = f"{'/'.join(odd[0].parts[-2:])}, without {INFO}"
    return Layout("an export of Edge Impulse", evidence, settings, "Labels are then taken from names of files.", True)


def _esc(folder: Path) -> Layout | None:
    for name in ("meta/esc50.csv", "meta/esc10.csv"):
        if (folder / name).is_file():
            settings = ("data=esc_csv", f"data.clips.csv={folder / name}", f"data.clips.audio_dir={folder / 'audio'}")
            return Layout("ESC-50" if "50" in name else "ESC-10", name, settings)
    return None


def _dcase(folder: Path) -> Layout | None:
    for file in (folder / "meta.csv", folder / "meta.txt"):
        has_folds = (folder / "evaluation_setup").is_dir()
        if file.is_file() and (has_folds or "scene_label" in _head(file)):
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
        if not re.search("onset|category", _beginning(file), re.IGNORECASE):
            continue
        head = {name.lower() for name in _columns(file)}
        where = (f"data.clips.csv={file}", f"data.clips.audio_dir={folder}")
        if {"filename", "onset", "offset"} <= head:
            settings = ("data=segments", *where, "frontend.trim=none", "frontend.max_length_s=3600")
            return Layout("a list of events", f"{file.name} has the columns filename, onset, offset", settings)
        if {"filename", "category"} <= head:
            return Layout("a list in ESC format", f"{file.name} has filename and category", ("data=esc_csv", *where))
    return None


def _annotated(folder: Path) -> Layout | None:
    recordings, found = _some_recordings(folder), []
    for path in recordings:
        try:
            found.append(annotation_of(path, path.parent))
        except AedError:
            continue
    if not found or len({path.parent for path in found}) > 1:
        return None
    evidence = f"{len(found)} of {len(recordings)} recordings have a list of the same name, as {found[0].name}"
    settings = ("data=annotated", f"data.clips.annotations={found[0].parent}", "frontend.trim=none")
    advice = "Labels of Audacity, tables of Raven, csv of BirdNET and lists of sed_eval are read."
    return Layout("recordings with annotations", evidence, (*settings, "frontend.max_length_s=3600"), advice)


def _class_folders(folder: Path) -> Layout | None:
    names = [path.name for path in _folders(folder) if next(_recordings(path), None)]
    if not names:
        return None
    splits = [name for name in names if name.lower() in SPLIT_NAMES]
    inner = (
        {path.name for name in splits for path in _folders(folder / name)} if len(splits) == len(names) else set(names)
    )
    if len(inner) < 2:
        return None
    kind = f"folders {', '.join(names[:3])}{' ...' if len(names) > 3 else ''} with recordings"
    return Layout("a folder per class", kind, ("data=folder", f"data.clips.root={folder}"))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _recordings(folder: Path) -> Iterator[Path]:
    """Recordings below a folder, as they are found."""
    return (path for path in folder.rglob("*") if is_recording(path.name))


def _some_recordings(folder: Path) -> list[Path]:
    return sorted(islice(_recordings(folder), LOOKED_AT))


def _beginning(file: Path) -> str:
    """The first thousand characters of a file, as far as they are text."""
    with file.open(encoding="utf-8", errors="replace") as opened:
        return opened.read(1000)


def _head(file: Path) -> list[str]:
    """The cells of a list's first row; [] where it is no list."""
    try:
        return first_row(file)
    except AedError:
        return []


def _columns(file: Path) -> list[str]:
    """The names of a list's columns, also where they stand in a comment above the rows; [] where it is no list."""
    try:
        return [str(name) for name in read_rows(file).columns]
    except AedError:
        return []


_Look = Callable[[Path], Layout | None]

_PUBLISHED: tuple[_Look, ...] = (
    _urbansound8k,
    _folds,
    _speech_commands,
    _fsd50k,
    _fsdkaggle,
    _sonyc,
    _audioset,
    _edge_impulse,
)

_OTHERS: tuple[_Look, ...] = (_esc, _dcase, _label_studio, _lists, _annotated)
