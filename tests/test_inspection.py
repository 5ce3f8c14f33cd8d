"""The health of a data set: statistics against whole arrays, findings on sets with one fault each, the command."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aed import data as door
from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.health import sounds
from aed.datamodules.health.findings import Report, examine
from aed.datamodules.health.sounds import Sound, measure_file
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.events import EVENT_COLUMNS
from aed.datamodules.sources.lists import COLUMNS
from aed.dsp.frontend import FrontendConfig
from aed.run import data

pytestmark = pytest.mark.usefixtures("processes")

FRONTEND = FrontendConfig()
GOOD = Sound("", 16000, 1, "WAV PCM_16", 5.0, 0.5, 0.0, 0.0, 0, 0.1, "")


# ---- one file ---------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=hnp.arrays(
        np.int16,
        st.tuples(st.integers(1, 40), st.integers(1, 2)),
        elements=st.sampled_from([0, 0, 0, 100, -3000, 32767, 32767, -32768, -32768]),
    ),
    block=st.integers(1, 9),
)
def test_statistics_are_those_of_the_whole_array(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: np.ndarray, block: int
) -> None:
    monkeypatch.setattr(sounds, "BLOCK_FRAMES", block)
    sf.write(tmp_path / "a.wav", samples, 8000, subtype="PCM_16")
    sound = measure_file(tmp_path / "a.wav")
    wave = samples / 32768
    assert (sound.error, sound.rate_hz, sound.channels) == ("", 8000, samples.shape[1])
    assert sound.encoding == "WAV PCM_16" and sound.duration_s == len(samples) / 8000
    assert sound.peak == np.abs(wave).max()
    assert abs(sound.offset) == pytest.approx(np.abs(wave.mean(axis=0)).max())
    is_full = (samples == 32767) | (samples == -32768)
    assert sound.full_scale == is_full.mean()
    runs = [
        len(list(own)) for channel in samples.T for value, own in groupby(channel.tolist()) if value in (32767, -32768)
    ]
    assert sound.clipped_runs == sum(length >= 3 for length in runs)
    loud = np.flatnonzero(samples.any(axis=1))
    inner = loud[-1] - loud[0] + 1 if len(loud) else 0
    assert sound.padding == pytest.approx(1 - inner / len(samples))


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
def test_full_scale_is_that_of_the_format(tmp_path: Path, subtype: str) -> None:
    sf.write(tmp_path / "a.wav", np.array([0.5, 1, 1, 1, -1, -1, -1, 0.9]), 8000, subtype=subtype)
    assert measure_file(tmp_path / "a.wav").clipped_runs == 2
    sf.write(tmp_path / "b.wav", np.full(9, 0.95), 8000, subtype=subtype)
    assert measure_file(tmp_path / "b.wav").full_scale == 0


def test_the_digest_is_of_the_sound_not_of_the_file(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 5000).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, 8000)
    sf.write(tmp_path / "b.flac", samples, 8000)
    sf.write(tmp_path / "stereo.wav", np.stack([samples, samples], axis=1), 8000)
    sf.write(tmp_path / "other.wav", samples[::-1], 8000)
    digests = [measure_file(tmp_path / name).digest for name in ("a.wav", "b.flac", "stereo.wav", "other.wav")]
    assert digests[0] == digests[1] == digests[2] != digests[3]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", None, "no such file"),
        ("a.wav", b"", "the file is empty"),
        ("a.wav", b"no sound at all", "not readable as audio"),
        ("a.raw", b"headerless", "not readable as audio"),
        ("a.wav", "cut", "truncated"),
        ("a.flac", "cut", "not readable|truncated"),
        ("a.ogg", "cut", "truncated"),
        ("a.wav", "nan", "NaN or infinite"),
        ("a.wav", "none", "no samples"),
    ],
)
def test_files_that_cannot_be_used_have_a_reason(tmp_path: Path, name: str, content: Any, message: str) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "cut":
        sf.write(path, np.random.default_rng(0).normal(0, 0.1, 20000), 8000)
        path.write_bytes(path.read_bytes()[:-5000])
    elif content is not None:
        sf.write(path, np.full(9, np.nan) if content == "nan" else np.zeros(0), 8000, subtype="FLOAT")
    error = measure_file(path).error
    assert any(part in error for part in message.split("|")) and not error.startswith(str(path))


# ---- a data set -------------------------------------------------------------------------------------------


def make(*rows: tuple[str, str, Any], **changes: Sound) -> Report:
    """The report of clips (name, labels with commas between, split), each of its own sound, or that of ``changes``."""
    table = pd.DataFrame(
        [(Path(name), tuple(filter(None, labels.split(","))), pd.NA, pd.NA, split) for name, labels, split in rows],
        columns=list(COLUMNS),
    )
    heard = {path: changes.get(path.name, replace(GOOD, digest=path.name)) for path in table["path"]}
    return examine(table, heard, FRONTEND)


WELL = (("a", "dog", "train"), ("b", "cat", "train"), ("c", "dog", "test"), ("d", "cat", "test"))


def keys(report: Report) -> set[str]:
    return {finding.key for finding in report.findings}


def test_a_healthy_set_has_no_findings() -> None:
    report = make(*WELL)
    assert report.findings == [] and report.spoiling == []
    assert report.facts["splits"] == {"train": 2, "test": 2}
    assert report.facts["classes"] == {
        "cat": {"all": 2, "train": 1, "test": 1},
        "dog": {"all": 2, "train": 1, "test": 1},
    }
    assert report.facts["clips"] == report.facts["usable"] == 4
    assert report.facts["hours"] == pytest.approx(20 / 3600, abs=1e-4)
    assert report.facts["duration_s"] == dict.fromkeys(("min", "p5", "median", "p95", "max"), 5.0)
    assert report.facts["padding"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("key", "sound"),
    [
        ("silent", replace(GOOD, peak=0.0009, digest="x")),
        ("clipped", replace(GOOD, clipped_runs=1, digest="x")),
        ("offset", replace(GOOD, offset=-0.011, digest="x")),
        ("padding", replace(GOOD, padding=0.51, digest="x")),
        ("short", replace(GOOD, duration_s=0.9, digest="x")),
        ("long", replace(GOOD, duration_s=10.1, digest="x")),
        ("low_rate", replace(GOOD, rate_hz=8000, digest="x")),
    ],
)
def test_a_fault_of_a_sound_is_a_note(key: str, sound: Sound) -> None:
    report = make(*WELL, a=sound)
    assert keys(report) == {key} and report.spoiling == []
    assert report.findings[0].names == ["a (dog; train)"] and "1 of 4" in report.findings[0].text


def test_an_unreadable_file_spoils_and_may_empty_a_class() -> None:
    extra = (*WELL, ("e", "dog", "train"))
    report = make(*extra, e=Sound(error="torn"))
    assert keys(report) == {"unreadable"} and report.findings[0].names == ["e: torn"] and report.spoiling
    report = make(*WELL, d=Sound(error="torn"))
    assert {finding.key: finding.names for finding in report.spoiling} == {
        "unreadable": ["d: torn"], "empty_class": ["cat in test"],
    }  # fmt: skip
    report = make(*WELL, b=Sound(error="torn"), d=Sound(error="torn"))
    assert ["cat"] in [finding.names for finding in report.spoiling]
    report = make(*WELL, c=Sound(error="torn"), d=Sound(error="torn"))
    assert ["test"] in [finding.names for finding in report.spoiling], "a split of bad files"
    assert "empty_split" in keys(make(*[(name, label, "test") for name, label, _ in WELL]))


def test_one_sound_under_two_names() -> None:
    same = replace(GOOD, digest="same")
    assert [finding.key for finding in make(*WELL, a=same, c=same).spoiling] == ["leak"]
    report = make(*WELL, a=same, b=same)
    assert keys(report) == {"conflict"} and report.findings[0].names == ["a (dog; train) = b (cat; train)"]
    assert keys(make(*WELL, ("e", "dog", "train"), a=same, e=same)) == {"copy"}
    nothing = replace(GOOD, peak=0.0, padding=1.0, digest="same")
    assert keys(make(*WELL, a=nothing, c=nothing)) == {"silent"}, "silence equals silence"


def test_one_file_in_two_rows() -> None:
    assert [finding.key for finding in make(*WELL, ("a", "dog", "test")).spoiling] == ["leak"]
    assert keys(make(*WELL, ("a", "cat", "train"))) == {"conflict"}
    assert keys(make(*WELL, ("a", "dog", "train"))) == {"copy"}


def test_recordings_in_two_splits() -> None:
    table = pd.DataFrame(
        [
            (Path(name), (label,), pd.NA, source, split)
            for (name, label, split), source in zip(WELL, "1213", strict=True)
        ],
        columns=list(COLUMNS),
    )
    report = examine(table, {path: replace(GOOD, digest=path.name) for path in table["path"]}, FRONTEND)
    assert [(finding.key, finding.names) for finding in report.spoiling] == [("source_leak", ["1"])]


def test_several_labels_none_and_imbalance() -> None:
    rows = [(f"{number}", "dog,cat", "train") for number in range(11)]
    report = make(*rows, ("x", "", "train"), ("y", "cow", "train"))
    assert report.facts["labels_per_clip"] == {"2": 11, "0": 1, "1": 1}
    assert report.facts["classes"]["dog"] == {"all": 11, "train": 11}
    assert keys(report) == {"imbalance"} and "has 11 clips, the smallest (cow) 1" in report.findings[0].text


def test_clips_without_a_split_have_no_empty_ones() -> None:
    assert make(*[(name, label, pd.NA) for name, label, _ in WELL]).findings == []


def test_events_after_the_end() -> None:
    table = make(*WELL).clips.assign(fold=pd.NA)
    events = pd.DataFrame(
        [(Path("a"), 0, 5.05, "dog"), (Path("a"), 4, 5.2, "dog"), (Path("gone"), 0, 99, "dog")],
        columns=list(EVENT_COLUMNS),
    )
    report = examine(table, {path: replace(GOOD, digest=path.name) for path in table["path"]}, FRONTEND, events)
    assert [finding.names for finding in report.spoiling] == [
        ["a: 1 events end after it, which is 5.00 s long (dog 4 to 5.2 s)"]
    ]


def test_events_in_the_list_twice_are_a_note() -> None:
    table = make(*WELL).clips.assign(fold=pd.NA)
    events = pd.DataFrame([(Path("a"), 0, 1, "dog")] * 3 + [(Path("a"), 0, 1, "cat")], columns=list(EVENT_COLUMNS))
    report = examine(table, {path: replace(GOOD, digest=path.name) for path in table["path"]}, FRONTEND, events)
    assert [(finding.matters, finding.names) for finding in report.findings] == [(False, ["a: dog 0 to 1 s"] * 2)]


def test_what_could_not_be_understood_spoils() -> None:
    table = make(*WELL).clips.assign(fold=pd.NA)
    sounds = {path: replace(GOOD, digest=path.name) for path in table["path"]}
    none = pd.DataFrame([], columns=list(EVENT_COLUMNS))
    report = examine(table, sounds, FRONTEND, none, {Path("a"): "a: list.csv, line 2: no offset"})
    assert [finding.names for finding in report.spoiling] == [["a: list.csv, line 2: no offset"]]


def test_class_names_that_differ_in_case_or_spaces_are_told() -> None:
    names = ("Dog", "dog", "dog bark", "dog_bark", "cat", "cats")
    rows = [(f"{name}{split}", name, split) for name in names for split in ("train", "test")]
    (found,) = make(*rows).spoiling
    assert found.names == ["'Dog' and 'dog'", "'dog bark' and 'dog_bark'"]


@pytest.mark.parametrize(
    ("chosen", "found"), [(["Dog"], ["'Dog' and 'dog'"]), (["cat"], []), (None, ["'Dog' and 'dog'"])]
)
def test_a_class_that_may_be_meant_too_is_told_though_it_was_not_chosen(
    tmp_path: Path, chosen: list[str] | None, found: list[str]
) -> None:
    rows = []
    for number, name in enumerate(("Dog", "dog", "cat") * 2):
        sf.write(path := tmp_path / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 16000), 16000)
        rows.append((path, name, "train" if number < 3 else "test"))

    def module(seed: int) -> PatchDataModule:
        return PatchDataModule(Given(rows), FRONTEND, class_names=chosen, multi_label=True, seed=seed)

    report = data.inspect(module, FRONTEND, str(tmp_path / "report.json"), num_workers=1)
    assert [name for finding in report.findings if finding.key == "alike" for name in finding.names] == found


# ---- the command ------------------------------------------------------------------------------------------


class Given(ClipSource):
    """Rows of a test."""

    name = "given"

    def __init__(self, rows: list[tuple[Path, str, Any]]) -> None:
        self.rows = rows

    def table(self) -> pd.DataFrame:
        made = [(path, (label,), pd.NA, pd.NA, split) for path, label, split in self.rows]
        return pd.DataFrame(made, columns=list(COLUMNS))


def given_rows(folder: Path) -> list[tuple[Path, str, Any]]:
    """Four files of noise, two classes in train and test; one has a name that no terminal shows."""
    rng = np.random.default_rng(0)
    rows = []
    for name, label, split in WELL:
        path = folder / f"{name}\x1b[31m\n.wav"
        sf.write(path, rng.integers(-3000, 3000, 16000).astype(np.int16), 16000)
        rows.append((path, label, split))
    return rows


def run(
    folder: Path, rows: list[tuple[Path, str, Any]], split: Any = "random", strict: bool = False
) -> tuple[Report, dict[str, Any]]:
    def module(seed: int) -> PatchDataModule:
        return PatchDataModule(Given(rows), FRONTEND, split=split, seed=seed)

    report = data.inspect(module, FRONTEND, str(folder / "report.json"), strict, num_workers=2)
    return report, json.loads((folder / "report.json").read_text())


def test_the_report_on_paper_and_in_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = given_rows(tmp_path)
    rows[3][0].write_bytes(rows[0][0].read_bytes())
    report, written = run(tmp_path, rows)
    printed = capsys.readouterr().out
    assert "SPOILS 1 sounds are in two splits" in printed and r"a\x1b[31m\n.wav (dog; train) = " in printed
    assert "\x1b[31m" not in printed
    assert (
        [finding["key"] for finding in written["findings"]] == [finding.key for finding in report.findings] == ["leak"]
    )
    assert written["name"] == "given" and written["classes"]["dog"] == {"all": 2, "train": 1, "test": 1}
    assert [file["path"] for file in written["files"]] == [str(path) for path, _, _ in rows]
    assert written["files"][0]["rate_hz"] == 16000 and written["files"][0]["src_file"] is None


def test_strict_ends_with_an_error_after_the_report_is_written(tmp_path: Path) -> None:
    rows = given_rows(tmp_path)
    run(tmp_path, rows, strict=True)
    rows[0][0].write_bytes(b"")
    with pytest.raises(AedError, match=r"2 findings spoil training or scores \(strict=true\)"):
        run(tmp_path, rows, strict=True)
    assert json.loads((tmp_path / "report.json").read_text())["usable"] == 3


def test_a_set_that_cannot_be_split_is_looked_at_all_the_same(tmp_path: Path) -> None:
    rows = [(path, label, pd.NA) for path, label, _ in given_rows(tmp_path)]
    report, written = run(tmp_path, rows, split="folds")
    assert [finding.key for finding in report.spoiling] == ["no_split"] and "data.split=folds" in report.spoiling[
        0
    ].text
    assert written["usable"] == 4 and written["splits"] == {}


@pytest.mark.parametrize("arguments", [[], ["data=esc10"], ["inspekt"]])
def test_without_its_first_word_the_command_tells_its_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["aed data", *arguments])
    with pytest.raises(SystemExit) as ended:
        door.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("aed data: need inspect or build, aed data inspect data=<name>")


def test_the_command_in_a_process_of_its_own(tmp_path: Path, forking: list[str]) -> None:
    (tmp_path / "set.csv").write_text("filename,category\na,dog\nb,cat\nc,dog\nd,cat\n")
    for (path, _, _), name in zip(given_rows(tmp_path), "abcd", strict=True):
        path.rename(tmp_path / f"{name}.wav")
    (tmp_path / "a.wav").write_bytes(b"")
    ended = subprocess.run(
        [
            *forking, "aed.data", "inspect", "data=esc_csv", f"data.clips.csv={tmp_path}/set.csv",
            f"data.clips.audio_dir={tmp_path}", "data.split=random", "data.test_fraction=0.5", "strict=true",
        ],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 1 and "SPOILS 1 files cannot be used" in printed
    assert "spoil training or scores" in printed and "Traceback" not in printed
    assert len(list(tmp_path.glob("outputs/inspect/*/inspection.json"))) == 1
