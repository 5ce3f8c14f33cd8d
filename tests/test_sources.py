"""Names that tell of one recording, and names that do not: as data sets and tools write them."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
from hydra.utils import instantiate

from aed.datamodules import PatchDataModule
from aed.datamodules.datamodule import TRIMMED
from aed.datamodules.sources.clips import ESC10, EscCsv
from aed.datamodules.sources.folder import Folder
from aed.datamodules.sources.pieces import LETTERS, LIKELY, MARKS, find_possible_leaks
from aed.datamodules.splits import assign_splits, shared_sources
from aed.run import data as verb
from aed.settings.typed import as_typed

RNG = np.random.default_rng(0)


def table(names: dict[str, Sequence[str]], source_pattern: str | None = None, root: Path | None = None) -> pd.DataFrame:
    """A random split of class -> names, or that by source where a pattern is given."""
    rows = [(Path("set", label, name), (label,), pd.NA, pd.NA, pd.NA) for label, own in names.items() for name in own]
    made = pd.DataFrame(rows, columns=["path", "labels", "fold", "src_file", "split"]).astype(object)
    made["split"] = assign_splits(
        made, method="random", test_fold=None, val_fold=None, test_fraction=0.3, val_fraction=0.0, seed=0
    )
    return made


def hexes(number: int, digits: int = 8) -> list[str]:
    return [f"{value:0{digits}x}" for value in RNG.integers(0, 16**digits, number)]


CLASSES = ("dog", "cat", "rain")

PIECES: dict[str, dict[str, Sequence[str]]] = {
    "edge impulse": {
        c: [f"{c}rec{n}_chunk{k}.wav.{h}.ingestion-6bb4-x.wav" for n in range(6) for k, h in enumerate(hexes(4))]
        for c in CLASSES
    },
    "split samples": {c: [f"{c}.{h}.s{k}.wav" for h in hexes(6) for k in range(1, 5)] for c in CLASSES},
    "segments": {c: [f"{c} {n} - Segment {k:02d}.flac" for n in range(6) for k in range(4)] for c in CLASSES},
    "augmented": {
        c: [f"{c}{n}{end}.wav" for n in range(9) for end in ("", "_aug1", "_aug2")] for c in CLASSES
    },
    "mixed marks": {
        c: [f"{c}{n}{end}.wav" for n in range(9) for end in ("_part1", "-part2", ".piece3")] for c in CLASSES
    },
    "one recording a class": {c: [f"{c}_chunk{k}.wav" for k in range(30)] for c in CLASSES},
}  # fmt: skip

COUNTED: dict[str, dict[str, Sequence[str]]] = {
    "urbansound8k": {
        c: [f"{fs}-{n}-{occ}-{k}.wav" for fs in RNG.integers(10**4, 3 * 10**5, 12) for occ in (0, 1)
            for k in sorted(RNG.choice(90, 4, replace=False))]
        for n, c in enumerate(CLASSES)
    },
    "speech commands": {
        c: [f"{speaker}_nohash_{k}.wav" for speaker in hexes(20) for k in range(3)] for c in CLASSES
    },
    "speakers": {c: [f"{who}_{k}.wav" for who in ("ann", "bob", "eve", "joe") for k in range(8)] for c in CLASSES},
    "windows": {c: [f"{place} ({k}).wav" for place in ("yard", "park", "home", "barn") for k in range(1, 9)]
                for c in CLASSES},
    "letters": {c: [f"{fold}-{fs}-{take}-{n}.wav" for fold in range(1, 6) for fs in RNG.integers(10**4, 10**6, 4)
                    for take in "AB"] for n, c in enumerate(CLASSES)},
}  # fmt: skip

RECORDINGS = {
    "edge impulse": 6, "split samples": 6, "segments": 6, "augmented": 9, "mixed marks": 9, "one recording a class": 1,
    "urbansound8k": 12, "speech commands": 20, "speakers": 4, "windows": 4, "letters": 20,
}  # fmt: skip
"""Of each class."""

DIFFERENT: dict[str, dict[str, Sequence[str]]] = {
    "a counter a class": {c: [f"{c}_{k}.wav" for k in range(1, 41)] for c in CLASSES},
    "windows renames": {c: [f"{c} ({k}).wav" for k in range(1, 41)] for c in CLASSES},
    "padded": {c: [f"{c}-{k:03d}.wav" for k in range(1, 41)] for c in CLASSES},
    "two kinds": {c: [f"{c}_{kind}_{k}.wav" for kind in ("near", "far") for k in range(20)] for c in CLASSES},
    "numbers": {c: [f"{k}.wav" for k in RNG.choice(90000, 40, replace=False)] for c in CLASSES},
    "hashes": {c: [f"{h}.wav" for h in hexes(40)] for c in CLASSES},
    "recorders": {
        c: [f"2021{m:02d}{d:02d}_{t:06d}.WAV" for m, d, t in zip(RNG.integers(1, 12, 40), RNG.integers(1, 28, 40),
                                                               RNG.choice(235959, 40, replace=False), strict=True)]
        for c in CLASSES
    },
    "freesound": {c: [f"{n}__user{n % 7}__{c}-bark-{n % 3}.wav" for n in RNG.choice(90000, 40, replace=False)]
                  for c in CLASSES},
    "folds": {c: [f"{fold}_{k}.wav" for fold in range(5) for k in range(8)] for c in CLASSES},
    "words": {c: [f"{c}_{a}{b}.wav" for a in "abcdef" for b in ("left", "right", "up")] for c in CLASSES},
}  # fmt: skip


@pytest.mark.parametrize("kind", PIECES)
def test_marks_of_tools_are_found_and_the_pattern_joins_the_pieces(kind: str) -> None:
    guess = find_possible_leaks(table(PIECES[kind]))
    assert guess is not None and guess.is_sure and guess.pairs >= guess.recordings > 0
    check(PIECES[kind], guess.pattern, RECORDINGS[kind])


@pytest.mark.parametrize("kind", COUNTED)
def test_counters_behind_many_prefixes_are_found(kind: str) -> None:
    guess = find_possible_leaks(table(COUNTED[kind]))
    assert guess is not None and not guess.is_sure
    check(COUNTED[kind], guess.pattern, RECORDINGS[kind])


def test_no_pattern_has_a_comma_which_would_separate_the_jobs_of_a_sweep() -> None:
    assert not [pattern for pattern in (*MARKS, *LIKELY, LETTERS) if "," in pattern]


def check(names: dict[str, Sequence[str]], pattern: str, recordings: int) -> None:
    """What the pattern finds through the data set itself, by name: the recording before the mark."""
    clips = table(names)
    by_source = EscCsv("x.csv", "x", source_pattern=pattern)  # compiles it as the configuration does
    assert by_source.source_pattern == pattern
    found = clips["path"].map(
        lambda path: Folder("set", source_pattern=pattern).source_of(f"{path.parent.name}/{path.name}")
    )
    assert found.notna().mean() > 0.99
    assert found.groupby(clips["labels"]).nunique().tolist() == [recordings] * len(names)
    assert all(path.name.startswith(own) for path, own in zip(clips["path"], found, strict=True))
    assert find_possible_leaks(clips.assign(src_file=found)) is None, "what is known needs no guess"


@pytest.mark.parametrize("kind", DIFFERENT)
def test_names_of_different_recordings_are_no_alarm(kind: str) -> None:
    assert find_possible_leaks(table(DIFFERENT[kind])) is None


def test_pairs_are_those_of_one_recording_and_class_on_two_sides() -> None:
    clips = table(PIECES["edge impulse"])
    recording = clips["path"].map(lambda path: path.name.partition("_chunk")[0])
    expected = sum(
        recording[i] == recording[j] and clips["split"][i] != clips["split"][j]
        for i in range(len(clips)) for j in range(i)
    )  # fmt: skip
    guess = find_possible_leaks(clips)
    assert guess is not None and guess.pairs == expected
    assert guess.recordings == (clips.groupby(recording)["split"].nunique() > 1).sum()
    assert find_possible_leaks(clips.assign(split="train")) is None


def test_of_esc10_the_takes_of_a_recording_are_found(esc10: object) -> None:
    known = ESC10().table()
    clips = known.assign(src_file=pd.NA)
    clips["split"] = assign_splits(clips, method="random", test_fold=None, val_fold=None, test_fraction=0.2,
                            val_fraction=0, seed=0)  # fmt: skip
    guess = find_possible_leaks(clips)
    assert guess is not None
    found = [Folder("x", source_pattern=guess.pattern).source_of(f"c/{path.name}") for path in clips["path"]]
    assert pd.Series(found).str.rpartition("-")[2].tolist() == known["src_file"].tolist()


# ---- through the verbs ------------------------------------------------------------------------------------


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    root = tmp_path / "snd (2)"
    for label, own in PIECES["edge impulse"].items():
        (root / label).mkdir(parents=True)
        for name in own:
            sf.write(root / label / name, RNG.normal(0, 0.1, 8000), 16000)
    return root


def made(*arguments: str) -> PatchDataModule:
    typed = as_typed(
        ["experiment=demo", "data=folder", "frontend.n_mels=16", "frontend.patch_frames=32", *arguments], "train"
    )
    made: Any = instantiate(tiny.composed(*typed).data, _convert_="all")
    assert isinstance(made, PatchDataModule)
    return made


def test_what_training_and_inspect_say_can_be_typed(
    chunks: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    module = made(f"data.clips.root={chunks}")
    module.setup()
    assert "look like pieces of one recording" in caplog.text and "MAY LEAK" in module.note()
    verb.inspect(lambda **_: module, module.frontend, str(tmp_path / "report.json"))
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("SPOILS"))
    advice = shlex.split(said.partition("scores are too high: ")[2])[:2]
    assert advice[1] == "data.split=source"
    again = made(f"data.clips.root={chunks}", *advice)
    assert again.likely_sources is None and again.note() == TRIMMED
    assert again.table["src_file"].nunique() == 18 and shared_sources(again.table) == []
    assert set(again.table["split"]) == {"train", "test"}


def test_a_name_that_does_not_match_is_a_source_of_its_own(chunks: Path, caplog: pytest.LogCaptureFixture) -> None:
    sf.write(chunks / "dog" / "other.wav", RNG.normal(0, 0.1, 8000), 16000)
    module = made(f"data.clips.root={chunks}", r"data.clips.source_pattern=/([^/]+?)_chunk\d+", "data.split=source")
    assert len(module.table) == 73 and shared_sources(module.table) == []
    assert "1 of 73 clips have no known recording" in caplog.text
