"""Annotations that cannot be right: told from those that can be by their causes, and never trained on or scored."""

import logging
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.audio.audio_file import AudioFile
from aed.base.errors import AedError
from aed.datamodules import PatchDataModule, Segments
from aed.datamodules.cache.store import FeatureCache
from aed.datamodules.health.annotations import file_length, untrusted
from aed.datamodules.sources.events import EVENT_COLUMNS, FixedEvents
from aed.dsp.frontend import FrontendConfig
from aed.run import data

FRONTEND = FrontendConfig(patch_frames=32, n_mels=16, overlap=0.0, trim="none", max_length_s=30)
Event = tuple[str, float, float]


def events_of(rows: list[Event]) -> pd.DataFrame:
    return pd.DataFrame([(Path(path), on, off, "dog") for path, on, off in rows], columns=list(EVENT_COLUMNS))


LENGTHS = {Path("a"): 10.0, Path("b"): 20.0, Path("c"): 5.0}


@st.composite
def inside(draw: st.DrawFn) -> list[Event]:
    """Events within each of the recordings, of 0.2 s or more, and one near each one's end."""
    made = [(str(path), length - 0.45, length - 0.15) for path, length in LENGTHS.items()]
    for path, length in LENGTHS.items():
        for _ in range(draw(st.integers(1, 4))):
            onset = draw(st.floats(0, length - 0.3))
            made.append((str(path), onset, onset + draw(st.floats(0.2, length - onset))))
    return draw(st.permutations(made))


@settings(max_examples=60, deadline=None)
@given(inside())
def test_events_within_their_recordings_are_trusted(rows: list[Event]) -> None:
    assert untrusted(events_of(rows), LENGTHS) == {}


@settings(max_examples=60, deadline=None)
@given(inside(), st.sampled_from([(1000, "milliseconds"), (16000, "samples"), (44100, "samples")]))
def test_a_wrong_unit_is_named_and_nothing_of_the_list_is_trusted(rows: list[Event], unit: tuple[int, str]) -> None:
    scaled = [(path, onset * unit[0], offset * unit[0]) for path, onset, offset in rows]
    found = untrusted(events_of(scaled), LENGTHS)
    assert set(found) == set(LENGTHS)
    assert all(f"look like {unit[1]}" in reason for reason in found.values())


@settings(max_examples=60, deadline=None)
@given(inside())
def test_times_counted_over_all_files_are_named(rows: list[Event]) -> None:
    begins = dict(zip("abc", (0, 10, 30), strict=True))
    found = untrusted(events_of([(path, on + begins[path], off + begins[path]) for path, on, off in rows]), LENGTHS)
    late = {path for path, on, off in rows if off + begins[path] > LENGTHS[Path(path)] + 0.1}
    assert {path.name for path in found} == {"a", "b", "c"}
    assert late == {"b", "c"} and all("counted over all files" in reason for reason in found.values())


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ((0.0, 10.05), None),
        ((-0.05, 1.0), None),
        ((9.0, 10.2), "1 events end after it, which is 10.00 s long (dog 9 to 10.2 s)"),
        ((12.0, 13.5), "end after it"),
        ((-0.2, 1.0), "begins before"),
        ((1.0, 1.0), "does not end after it begins"),
        ((3.5, 2.0), "does not end after it begins"),
        ((math.nan, 2.0), "a time is no number"),
        ((0.5, math.inf), "a time is no number"),
    ],
)
def test_one_recording_of_many(event: tuple[float, float], reason: str | None) -> None:
    rows = [("a", 0.5, 1.5), ("b", 1.0, 2.25), ("c", 1.0, 2.0)]
    found = untrusted(events_of([*rows, ("a", *event)]), LENGTHS)
    assert list(found) == ([Path("a")] if reason else [])
    assert reason is None or reason in found[Path("a")]


def test_whole_seconds_may_be_rounded_and_unknown_lengths_say_nothing() -> None:
    assert untrusted(events_of([("a", 9, 11), ("gone", 5, 999)]), LENGTHS) == {}
    assert set(untrusted(events_of([("a", 9, 12)]), LENGTHS)) == {Path("a")}
    assert untrusted(events_of([]), LENGTHS) == {}


# ---- lengths


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000))


def without_length(path: Path) -> Path:
    """As a killed writer leaves a wav, and a pipe a FLAC: neither header says how long it is."""
    content = bytearray(path.read_bytes())
    if path.suffix == ".wav":
        at = content.index(b"data") + 4
        content[at : at + 4] = bytes(4)
    else:
        content[21] &= 0xF0  # 36 bits of STREAMINFO
        content[22:26] = bytes(4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("ending", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("seconds", [0.4, 2.0, 3.5])
def test_lengths_are_those_of_the_files_wherever_features_are_cut(
    tmp_path: Path, seconds: float, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sf.write(path := tmp_path / f"a.{ending}", noise(seconds), 16000)
    config = replace(FRONTEND, max_length_s=2.0)
    assert not FeatureCache(tmp_path / "cache", config).ensure([path])
    assert file_length(path) == pytest.approx(seconds, abs=1e-6)
    monkeypatch.setattr(AudioFile, "__init__", lambda *_: pytest.fail("opened at a warm start"))
    store = FeatureCache(tmp_path / "cache", config)
    assert not store.ensure([path])
    assert store.lengths([path]) == {path: pytest.approx(seconds, abs=1e-6)}


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_length_where_the_header_does_not_say_it(tmp_path: Path, ending: str) -> None:
    """libsndfile's own answers are 0 s and 5.8e14 s."""
    sf.write(path := tmp_path / f"a.{ending}", noise(3.5), 16000)
    without_length(path)
    assert not 0 < sf.info(path).duration < 1e6
    config = replace(FRONTEND, max_length_s=2.0)
    assert file_length(path) == 3.5
    store = FeatureCache(tmp_path / "cache", config)
    assert not store.ensure([path]) and store.lengths([path]) == {path: 3.5}


def test_recordings_as_long_as_is_read_are_not_opened_at_a_warm_start(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 s of 4 s, as clips of DESED and AudioSet are 10 s of 10 s."""
    frontend = replace(FRONTEND, max_length_s=4.0)
    tiny_set(recordings, GOOD, frontend=frontend).setup()
    monkeypatch.setattr(AudioFile, "__init__", lambda *_: pytest.fail("opened at a warm start"))
    made = tiny_set(recordings, GOOD, frontend=frontend)
    made.setup()
    assert not made.skipped


# ---- a data set -------------------------------------------------------------------------------------------


def tiny_set(folder: Path, rows: list[tuple[str, Any, Any, str]], mark: str = ",", **changes: Any) -> PatchDataModule:
    lines = [("filename", "onset", "offset", "label"), *rows]
    (folder / "list.csv").write_text("".join(mark.join(map(str, line)) + "\n" for line in lines))
    given = {"multi_label": True, "split": "random", "test_fraction": 0.34, "cache_workers": 1} | changes
    return PatchDataModule(Segments(str(folder / "list.csv")), **({"frontend": FRONTEND} | given))


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    for number in range(6):
        sf.write(tmp_path / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 16000 * 4), 16000)
    return tmp_path


GOOD = [(f"{number}.wav", 0.25 * number, 0.25 * number + 1.5, "xy"[number % 2]) for number in range(6)]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("2.wav", 4.5, 5.5, "y"), "end after it, which is 4.0"),
        (("2.wav", 2500, 3500, "y"), "look like milliseconds"),
        (("2.wav", '"1,500"', '"2,500"', "y"), "line 8: the onset '1,500' is no number, write 1.5"),
        (("2.wav", "late", 3, "y"), "line 8: the onset 'late' is no number"),
        (("2.wav", 3, 2, "y"), "line 8: the offset is not after the onset"),
        (("gone.wav", 0, 1, "y"), "no such file"),
    ],
)
@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.usefixtures("computes")
def test_a_recording_that_cannot_be_trusted_neither_trains_nor_scores(
    recordings: Path, bad: Any, reason: str, multi_label: bool, caplog: pytest.LogCaptureFixture
) -> None:
    made = tiny_set(recordings, [*GOOD, bad], multi_label=multi_label)
    with caplog.at_level(logging.WARNING):
        made.setup()
    assert [path.name for path in made.skipped] == [bad[0]] and reason in caplog.text
    used = {name for split in made.datasets for name in made.file_names(split)}
    assert used == {f"{number}.wav" for number in range(6)} - {bad[0]}
    assert made.facts()["skipped_clips"] == 1
    with pytest.raises(AedError, match=r"files are bad and data.strict=true.*" + re.escape(reason)):
        tiny_set(recordings, [*GOOD, bad], multi_label=multi_label, strict=True).setup()


OTHERS = ("2.wav", 3, 2, "y"), ("gone.wav", "late", 1, "x"), ("4.wav", 40, 41, "x")


def named(folder: Path, clips: dict[str, list[str]] | None, **changes: Any) -> PatchDataModule:
    """Of a list with faults in three recordings, those that a model's card names."""
    made = tiny_set(folder, [*GOOD, *OTHERS])
    fixed = {"multi_label": True, "split": "folds", "test_fold": None, "cache_workers": 1} | changes
    return PatchDataModule(FixedEvents(made.clips, clips), FRONTEND, **fixed)


def test_recordings_that_a_card_does_not_name_are_not_judged(
    recordings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither for their annotation nor for events after max_length_s."""
    made = named(recordings, {"train": ["0.wav", "1.wav", "3.wav"], "test": ["5.wav"]}, strict=True)
    made.setup()
    assert not made.skipped and "left out:" not in caplog.text
    assert {split: made.file_names(split) for split in made.datasets} == {
        "train": ["0.wav", "1.wav", "3.wav"], "test": ["5.wav"],
    }  # fmt: skip
    made = named(recordings, {"train": ["0.wav", "1.wav", "2.wav", "3.wav"], "test": ["5.wav"]})
    made.setup()
    assert [path.name for path in made.skipped] == ["2.wav"]
    made = named(recordings, None)
    made.setup()
    assert sorted(path.name for path in made.skipped) == ["2.wav", "4.wav", "gone.wav"]


def test_rows_without_a_file_name_count_whichever_recordings_are_named(recordings: Path) -> None:
    made = tiny_set(recordings, [*GOOD, OTHERS[0], ("", 0, 1, "x")])
    fixed = FixedEvents(made.clips, {"train": ["0.wav"]})
    assert [path.name for path in fixed.annotation_errors()] == ["list.csv"]
    assert set(fixed.events()["path"]) == {recordings / "0.wav"}


def test_without_doubt_all_recordings_are_used(recordings: Path) -> None:
    made = tiny_set(recordings, [*GOOD, ("0.wav", 3.0, 4.05, "y"), GOOD[0]], strict=True)
    made.setup()
    assert not made.skipped and sum(len(made.rows(split)) for split in made.datasets) == 6


def test_decimal_commas_give_the_labels_of_points(recordings: Path) -> None:
    points = tiny_set(recordings, GOOD, mark=";")
    points.setup()
    commas = [
        (name, f"{on:.3f}".replace(".", ","), f"{off:.2f}".replace(".", ","), label) for name, on, off, label in GOOD
    ]
    read = tiny_set(recordings, commas, mark=";")
    read.setup()
    for split in ("train", "test"):
        np.testing.assert_array_equal(read.datasets[split].patch_targets, points.datasets[split].patch_targets)


@pytest.mark.parametrize(("scale", "cause"), [(1000, "milliseconds"), (16000, "samples")])
def test_a_list_in_another_unit_ends_with_the_cause(recordings: Path, scale: int, cause: str) -> None:
    """Also where all of it lies after frontend.max_length_s, which would be wrong to raise."""
    rows = [(name, on * scale, off * scale, label) for name, on, off, label in GOOD]
    with pytest.raises(AedError, match=f"no readable training clip.*look like {cause}; give seconds"):
        tiny_set(recordings, rows).setup()


def test_inspect_says_it_as_an_error(recordings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [*GOOD, ("1.wav", 7.5, 8, "x"), ("3.wav", "x", 2, "y"), GOOD[0]]

    def look(strict: bool) -> Any:
        return data.inspect(lambda **_: tiny_set(recordings, rows), FRONTEND, str(recordings / "r.json"), strict)

    (found,) = (finding for finding in look(False).spoiling if finding.key == "annotation")
    assert (
        len(found.names) == 2 and "SPOILS 2 recordings have annotations that cannot be right" in capsys.readouterr().out
    )
    with pytest.raises(AedError, match="strict=true"):
        look(True)
