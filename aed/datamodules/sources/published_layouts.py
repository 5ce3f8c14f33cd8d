"""Layouts of published data sets, by which a folder is recognised; the readers cite where they are described."""

import re
from itertools import islice
from pathlib import Path

from aed.datamodules.sources.edge_impulse import CATEGORIES, INFO
from aed.datamodules.sources.layout import LOOKED_AT, Layout, beginning, folders, head, some_recordings
from aed.datamodules.sources.speech_commands import BACKGROUND, LISTS

_FOLD = re.compile(r"fold[ _-]?\d+", re.IGNORECASE)
_SLICE = re.compile(r"\d+-\d-\d+-\d+\.wav")
_UTTERANCE = re.compile(r"[0-9a-f]{8}_nohash_\d+\.wav")


def _urbansound8k(folder: Path) -> Layout | None:
    root = folder.parent if folder.name == "audio" else folder
    if not (root / "metadata" / "UrbanSound8K.csv").is_file() or not (root / "audio" / "fold1").is_dir():
        return None
    settings = ("data=urbansound8k", f"data.clips.root={root}")
    evidence = "metadata/UrbanSound8K.csv and audio/fold1"
    return Layout("UrbanSound8K", evidence, settings, "The folders are folds, not classes.", True)


def _folds(folder: Path) -> Layout | None:
    names = [path.name for path in folders(folder)]
    folds = sorted((name for name in names if _FOLD.fullmatch(name)), key=lambda name: int(re.sub(r"\D", "", name)))
    if len(folds) < 2 or len(folds) < len(names) or _urbansound8k(folder):
        return None
    sounds = some_recordings(folder)
    evidence = f"its {len(folds)} folders are called {folds[0]} ... {folds[-1]}"
    if sounds and all(_SLICE.fullmatch(path.name) for path in sounds):
        advice = "Put its metadata/UrbanSound8K.csv beside audio/fold1 ..., then data=urbansound8k reads both."
        return Layout("UrbanSound8K without its list", f"{evidence}, its files {sounds[0].name}", (), advice, True)
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
    names = [path for path in some_recordings(folder) if path.parent.name != BACKGROUND]
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
    if not {"audio_filename", "annotator_id"} <= set(head(folder / "annotations.csv")):
        return None
    settings = ("data=sonyc_ust", f"data.clips.root={folder}")
    return Layout("SONYC-UST", "annotations.csv has the columns audio_filename and annotator_id", settings, "", True)


def _audioset(folder: Path) -> Layout | None:
    lists = sorted(path.name for path in folder.glob("*_segments.csv"))
    if not lists or "YTID" not in beginning(folder / lists[0]):
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


PUBLISHED = (
    _urbansound8k,
    _folds,
    _speech_commands,
    _fsd50k,
    _fsdkaggle,
    _sonyc,
    _audioset,
    _edge_impulse,
)
"""Each says what a folder looks like, or None."""
