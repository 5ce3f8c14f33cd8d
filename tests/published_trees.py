"""Small data sets in the forms that others publish and export: names, columns, comments and quirks as there."""

import csv
import hashlib
import hmac
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

RATE_HZ = 16000


def write_wav(path: Path, seed: int, seconds: float = 0.05) -> Path:
    """A short noise, another for each seed, so that no two files are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE_HZ)), RATE_HZ)
    return path


def write_rows(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


# ---- UrbanSound8K -----------------------------------------------------------------------------------------

URBANSOUND8K = "air_conditioner car_horn children_playing dog_bark drilling engine_idling gun_shot jackhammer siren"
URBANSOUND8K_CLASSES = (*URBANSOUND8K.split(), "street_music")


def urbansound8k(root: Path) -> Path:
    """Two recordings of each of three classes a fold, two slices each; Freesound's numbers are in one fold only."""
    rows: list[list[object]] = [["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]]
    for fold in range(1, 11):
        for target in (1, 3, 8):
            for take in range(2):
                recording = 1000 * fold + 10 * target + take
                for piece in (0, 4):
                    name = f"{recording}-{target}-0-{piece}.wav"
                    write_wav(root / "audio" / f"fold{fold}" / name, len(rows))
                    label = URBANSOUND8K_CLASSES[target]
                    rows.append([name, recording, f"{piece / 2:.6f}", f"{piece / 2 + 4:.6f}", 1, fold, target, label])
    (root / "audio" / "fold1" / ".DS_Store").write_text("as in the archive")
    write_rows(root / "metadata" / "UrbanSound8K.csv", rows)
    return root


# ---- Speech Commands --------------------------------------------------------------------------------------


def official_part(name: str) -> str:
    """training, validation or testing by the rule of the data set's README: the speaker's SHA-1, 10 % each."""
    digest = int(hashlib.sha1(name.split("_nohash_")[0].encode()).hexdigest(), 16)
    percent = (digest % (2**27)) * (100.0 / (2**27 - 1))
    return "validation" if percent < 10 else "testing" if percent < 20 else "training"


def speech_commands(root: Path, speakers: int = 60) -> Path:
    """Three words by each speaker, some twice; the two lists, and two recordings of noise."""
    numbers = np.random.default_rng(3).choice(2**32, speakers, replace=False)
    parts: dict[str, list[str]] = {"validation": [], "testing": [], "training": []}
    for number, speaker in enumerate(f"{value:08x}" for value in numbers):
        for word in ("yes", "no", "marvin"):
            for take in range(1 + number % 2):
                key = f"{word}/{speaker}_nohash_{take}.wav"
                write_wav(root / key, 6 * number + len(word) + take, 0.01)
                parts[official_part(f"{speaker}_nohash_{take}.wav")].append(key)
    for part in ("validation", "testing"):
        (root / f"{part}_list.txt").write_text("".join(f"{key}\n" for key in parts[part]))
    for name in ("doing_the_dishes", "white_noise"):
        write_wav(root / "_background_noise_" / f"{name}.wav", len(name))
    (root / "_background_noise_" / "README.md").write_text("noise\n")
    (root / "README.md").write_text("words\n")
    return root


# ---- FSDKaggle --------------------------------------------------------------------------------------------


def fsdkaggle2018(root: Path) -> Path:
    """Twelve training clips, some unchecked, four scored test clips, and one that only filled up Kaggle's test set."""
    train: list[list[object]] = [["fname", "label", "manually_verified", "freesound_id", "license"]]
    test: list[list[object]] = [["fname", "label", "usage", "freesound_id", "license"]]
    for number in range(12):
        name = f"{number:08x}.wav"
        write_wav(root / "FSDKaggle2018.audio_train" / name, number)
        label = ("Bark", "Hi-hat", "Tearing")[number % 3]
        train.append([name, label, int(number % 4 > 0), 5000 + number // 2, "Creative Commons 0"])
    for number in range(12, 16):
        name = f"{number:08x}.wav"
        write_wav(root / "FSDKaggle2018.audio_test" / name, number)
        usage = ("Public", "Private")[number % 2]
        test.append([name, ("Bark", "Hi-hat", "Tearing")[number % 3], usage, 5000 + number, "Attribution"])
    write_wav(root / "FSDKaggle2018.audio_test" / "ffffffff.wav", 99)
    meta = root / "FSDKaggle2018.meta"
    write_rows(meta / "train_post_competition.csv", train)
    write_rows(meta / "test_post_competition_scoring_clips.csv", test)
    write_rows(meta / "test_post_competition.csv", [*test, ["ffffffff.wav", "None", "Ignored", "", ""]])
    return root


def fsdkaggle2019(root: Path) -> Path:
    """Curated, noisy and test clips, some of two labels; one curated clip is among those withdrawn."""
    labels = ("Bark", "Slam", "Walk_and_footsteps", "Bark,Slam", "Walk_and_footsteps,Slam")
    lists: dict[str, list[list[object]]] = {
        "train_curated": [["fname", "labels", "freesound_id", "license"]],
        "train_noisy": [["fname", "labels", "flickr_video_URL", "license"]],
        "test": [["fname", "labels", "usage", "freesound_id", "license"]],
    }
    for offset, part in enumerate(lists):
        for number in range(10):
            name = f"{offset}{number:07x}.wav" if (offset, number) != (0, 9) else "f76181c4.wav"
            write_wav(root / f"FSDKaggle2019.audio_{part}" / name, 20 * offset + number)
            source = f"https://www.flickr.com/{number}" if part == "train_noisy" else 7000 + 100 * offset + number
            usage = ["Public"] if part == "test" else []
            lists[part].append([name, labels[number % 5], *usage, source, "CC0"])
    meta = root / "FSDKaggle2019.meta"
    for part, rows in lists.items():
        write_rows(meta / f"{part}_post_competition.csv", rows)
    write_rows(meta / "vocabulary.csv", [[0, "Bark"], [1, "Slam"], [2, "Walk_and_footsteps"]])
    return root


# ---- SONYC-UST --------------------------------------------------------------------------------------------

SONYC_COLUMNS = ("1-1_small-sounding-engine", "1-X_engine-of-uncertain-size", "7-1_dog-barking-whining")
SONYC_COARSE = ("1_engine", "7_dog")


def sonyc(root: Path) -> Path:
    """Recordings of several volunteers; some, and all of validation and test, with the authors' agreement."""
    names = [f"{name}_presence" for name in (*SONYC_COLUMNS, *SONYC_COARSE)]
    head = ["split", "sensor_id", "audio_filename", "annotator_id", "year", "week", "day", "hour", *names]
    rows: list[list[object]] = [head]
    # file, split, sensor -> annotator: presence of the columns
    said: dict[tuple[str, str, int], dict[int, str]] = {
        ("00_000066.wav", "train", 0): {12: "1 0 0 1 0", 13: "0 0 0 0 0", 14: "0 0 0 0 0"},
        ("00_000067.wav", "train", 0): {12: "0 0 1 0 1", 13: "0 0 1 0 1", 14: "1 0 0 1 0"},
        ("01_000002.wav", "train", 1): {12: "1 0 1 1 1", 15: "1 0 1 1 1", -1: "0 0 1 0 1", 0: "0 0 1 0 1"},
        ("01_000003.wav", "train", 1): {13: "1 0 0 1 0", -3: "-1 -1 0 0 0"},
        ("02_000010.wav", "validate", 2): {12: "1 1 1 1 1", -1: "0 1 0 1 0", 0: "0 1 0 1 0"},
        ("02_000011.wav", "validate", 2): {12: "0 0 0 0 0", 0: "0 0 0 0 0"},
        ("00_000900.wav", "test", 0): {0: "1 0 1 1 1"},
        ("01_000901.wav", "test", 1): {0: "0 0 1 0 1"},
    }  # fmt: skip
    for number, ((name, split, sensor), annotators) in enumerate(said.items()):
        write_wav(root / f"audio-{number % 2}" / name, number)
        for annotator, presence in annotators.items():
            rows.append([split, sensor, name, annotator, 2017, 5, 3, 12, *presence.split()])
    write_rows(root / "annotations.csv", rows)
    return root


# ---- AudioSet ---------------------------------------------------------------------------------------------

DOG, BARK, ANIMAL, MUSIC = "/m/0bt9lr", "/m/05tny_", "/m/0jbk", "/m/04rlf"


def audioset(root: Path, namings: Sequence[Callable[[str, int], str]]) -> Path:
    """Lists with Google's comments; recordings are named in turn as programs name them, and one is gone."""
    lists = {"balanced_train": "abcdef", "unbalanced_train": "uvw", "eval": "xyz"}
    for part, letters in lists.items():
        lines = [
            f"# Segment csv created Sun Mar  5 10:54:31 2017 for {part}",
            "# num_ytids=6, num_segs=6, num_unique_labels=4, num_positive_labels=12",
            "# YTID, start_seconds, end_seconds, positive_labels",
        ]
        for number, letter in enumerate(letters):
            ytid, start = f"--{letter}gqARaEJ{number}", 30 * number
            mids = f"{ANIMAL},{DOG},{BARK}" if number % 2 else f"{MUSIC}"
            lines.append(f'{ytid}, {start}.000, {start + 10}.000, "{mids}"')
            if letter != "f":
                folder = root / ("eval" if part == "eval" else "train")
                write_wav(folder / f"{namings[number % len(namings)](ytid, start)}.wav", ord(letter))
        (root / f"{part}_segments.csv").write_text("\n".join(lines) + "\n")
    ontology = [
        {"id": ANIMAL, "name": "Animal", "child_ids": [DOG]},
        {"id": DOG, "name": "Dog", "child_ids": [BARK]},
        {"id": BARK, "name": "Bark", "child_ids": []},
        {"id": MUSIC, "name": "Music", "child_ids": []},
    ]
    (root / "ontology.json").write_text(json.dumps(ontology))
    return root


# ---- Edge Impulse -----------------------------------------------------------------------------------------


def signed(values: list[Any], interval_ms: float = 0.0625, key: str = "0123", **payload: Any) -> dict[str, Any]:
    """A sample in the data acquisition format, signed as its specification says: first with zeros in place."""
    sample: dict[str, Any] = {
        "protected": {"ver": "v1", "alg": "HS256", "iat": 1564128599},
        "signature": "0" * 64,
        "payload": {
            "device_name": "ac:87:a3:0a:2d:1b", "device_type": "DISCO-L475VG-IOT01A", "interval_ms": interval_ms,
            "sensors": [{"name": "audio", "units": "wav"}], "values": values, **payload,
        },
    }  # fmt: skip
    sample["signature"] = hmac.new(key.encode(), json.dumps(sample).encode(), hashlib.sha256).hexdigest()
    return sample


def edge_impulse(root: Path, pieces_apart: bool = False) -> Path:
    """Recordings of two labels cut to pieces by the studio's two ways, and whole ones; one ``info.labels`` at the root.

    Args:
        root: Folder to write to.
        pieces_apart: Whether pieces of a recording are in training and in testing.
    """
    files: list[dict[str, Any]] = []

    def add(name: str, stored: str, label: str, category: str) -> None:
        write_wav(root / category / stored, len(files))
        entry = {"type": "label", "label": label}
        files.append({"path": f"{category}/{stored}", "name": name, "category": category, "label": entry})

    for number, label in enumerate(("knock", "noise")):
        for recording in range(4):
            category = "testing" if recording == 3 else "training"
            for piece in range(3):
                side = "testing" if pieces_apart and piece == 2 else category
                name = f"{label}{recording}_chunk{piece}.wav"
                add(name, f"{name}.{number}{recording}{piece}0a1b2c.ingestion-6bb4dc-x7.wav", label, side)
            name = f"{label}.{recording}a1b2c3d"
            add(f"{name}.s1", f"{name}.s1.wav", label, category)
            add(f"{name}.s2", f"{name}.s2.wav", label, category)
    info = {"version": 1, "files": files}
    (root / "info.labels").write_text(json.dumps(info, indent=4))
    return root
