"""A small data set in FSD50K's official form: what the real one has, in seconds of sound."""

import csv
import json
from pathlib import Path

import numpy as np
import soundfile as sf

RATE_HZ = 16000

VOCABULARY = {
    "Animal": "/m/0jbk",
    "Bell": "/m/0395lw",
    "Bicycle": "/m/0199g",
    "Bicycle_bell": "/m/0gy1t2s",
    "Bird": "/m/015p6",
    "Dog": "/m/0bt9lr",
    "Rain": "/m/06mb1",
    "Vehicle": "/m/07yv9",
}
"""Name -> mid."""

CHILDREN = {
    "/m/07yv9": ["/t/dd00061"],  # Vehicle -> Non-motorized land vehicle, which is in no vocabulary,
    "/t/dd00061": ["/m/0199g", "/m/06_fw"],  # -> Bicycle, Skateboard
    "/m/0199g": ["/m/0gy1t2s"],  # Bicycle -> Bicycle bell,
    "/m/0395lw": ["/m/0gy1t2s"],  # which is a Bell, too
    "/m/0jbk": ["/m/068hy", "/m/01280g"],  # Animal -> Domestic animals, Wild animals: in no vocabulary either
    "/m/068hy": ["/m/0bt9lr"],  # -> Dog
    "/m/01280g": ["/m/015p6"],  # -> Bird
    "/m/0838f": ["/m/06mb1"],  # Water -> Rain
}
"""A part of AudioSet's ontology, mid -> mids directly below; abridged."""

SMEARED = {
    "Bicycle_bell": ("Bicycle_bell", "Bell", "Bicycle", "Vehicle"),
    "Bicycle": ("Bicycle", "Vehicle"),
    "Bell": ("Bell",),
    "Dog": ("Dog", "Animal"),
    "Bird": ("Bird", "Animal"),
    "Rain": ("Rain",),
}
"""What a clip sounds like -> its published labels, in the published order."""

PARTS = ("train", "train", "train", "val", "test")
"""Where the clips of one sound go, in turn."""


def sound(name: str, rng: np.random.Generator) -> np.ndarray:
    """One second of it, float32: a pitch of its own, with noise where it is rain or a bird."""
    time_s = np.arange(RATE_HZ) / RATE_HZ
    pitch_hz = 250 * 1.7 ** list(SMEARED).index(name) * rng.uniform(0.95, 1.05)
    decay = np.exp(-time_s * (6 if "ell" in name else 1))
    tone = np.sin(2 * np.pi * pitch_hz * time_s) * decay
    noise = rng.standard_normal(RATE_HZ) * {"Rain": 0.5, "Bird": 0.2}.get(name, 0.02)
    return (0.3 * (tone + noise)).astype(np.float32)


def write_tree(root: Path, clips: int = 60, seed: int = 0, multi_label: bool = True) -> Path:
    """Writes FSD50K's five folders and AudioSet's ontology below ``root``.

    Args:
        root: Folder to write to.
        clips: How many; each sound has as many. From 30 on, each sound is in train, val and eval.
        seed: Other sounds, other combinations.
        multi_label: Whether every third clip is of two sounds at once.

    Returns:
        ``root``.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[list[str]]] = {"dev": [], "eval": []}
    infos: dict[str, dict[str, dict[str, object]]] = {"dev": {}, "eval": {}}
    for part in rows:
        (root / f"FSD50K.{part}_audio").mkdir(parents=True)
    for number in range(clips):
        turn, kind = divmod(number, len(SMEARED))
        own = [list(SMEARED)[kind]]
        if multi_label and (turn + kind) % 3 == 2:
            own.append(str(rng.choice([name for name in SMEARED if name != own[0]])))
        split = PARTS[turn % len(PARTS)]
        part, fname = "eval" if split == "test" else "dev", str(1000 + number)
        wave = np.mean([sound(name, rng) for name in own], axis=0)
        sf.write(root / f"FSD50K.{part}_audio" / f"{fname}.wav", wave, RATE_HZ)
        labels = list(dict.fromkeys(label for name in own for label in SMEARED[name]))
        mids = [VOCABULARY[label] for label in labels]
        rows[part].append([fname, ",".join(labels), ",".join(mids), *([split] if part == "dev" else [])])
        uploader = f"{split}{turn // len(PARTS)}{kind % 2}"  # a few clips each, never in two splits
        infos[part][fname] = {"title": own[0], "description": "", "tags": [], "license": "CC0", "uploader": uploader}
    for folder in ("ground_truth", "metadata", "doc"):
        (root / f"FSD50K.{folder}").mkdir()
    truth = root / "FSD50K.ground_truth"
    _write_csv(truth / "dev.csv", [["fname", "labels", "mids", "split"], *rows["dev"]])
    _write_csv(truth / "eval.csv", [["fname", "labels", "mids"], *rows["eval"]])
    _write_csv(truth / "vocabulary.csv", [[str(i), name, mid] for i, (name, mid) in enumerate(VOCABULARY.items())])
    for part, info in infos.items():
        (root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json").write_text(json.dumps(info))
    (root / "FSD50K.doc" / "README.md").write_text("made up\n")
    every = {*CHILDREN, *(child for below in CHILDREN.values() for child in below)}
    ontology = [{"id": mid, "name": mid, "child_ids": CHILDREN.get(mid, [])} for mid in sorted(every)]
    (root / "ontology.json").write_text(json.dumps(ontology))
    return root


def _write_csv(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
