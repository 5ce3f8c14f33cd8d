"""The synthetic data set: the same every time, split by source, never half written."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from aed.base.errors import AedError
from aed.base.files import WriteError
from aed.datamodules.sources import synthesis
from aed.datamodules.sources.synthesis import CLASSES, synthesize, write_dataset

SMALL: dict[str, Any] = {
    "sources_per_class": 5,
    "takes_per_source": 2,
    "sample_rate": 8000,
    "duration_s": 1.0,
}


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def leftovers(parent: Path) -> list[str]:
    return [p.name for p in parent.iterdir() if "synthesis-" in p.name]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Csv of a small data set with all classes; tests only read it."""
    return write_dataset(tmp_path_factory.mktemp("small") / "set", **SMALL)


def test_second_write_elsewhere_is_byte_identical(small: Path, tmp_path: Path) -> None:
    again = write_dataset(tmp_path / "elsewhere" / "set", **SMALL)
    assert contents(again.parents[1]) == contents(small.parents[1])


def test_clip_depends_on_its_key_only(small: Path, tmp_path: Path) -> None:
    fewer = write_dataset(
        tmp_path / "set",
        **{**SMALL, "classes": ["wind", "bell"], "sources_per_class": 3, "takes_per_source": 1},
    )
    whole, part = contents(small.parents[1]), contents(fewer.parents[1])
    audio = [name for name in part if name.startswith("audio/")]
    assert len(audio) == 6
    assert all(part[name] == whole[name] for name in audio)


def test_csv_and_files(small: Path) -> None:
    table = rows(small)
    assert small.name == synthesis.CSV_NAME
    assert list(table[0]) == ["filename", "fold", "target", "category", "src_file", "take"]
    assert len(table) == len(CLASSES) * 10
    assert {row["category"] for row in table} == set(CLASSES)
    audio = small.parents[1] / "audio"
    assert {row["filename"] for row in table} == {p.name for p in audio.iterdir()}
    for row in table:
        assert row["filename"] == f"{row['fold']}-{row['src_file']}-{row['take']}-{row['target']}.wav"
        assert CLASSES[int(row["target"])] == row["category"]
    info = sf.info(audio / table[0]["filename"])
    assert (info.samplerate, info.frames, info.channels, info.subtype) == (8000, 8000, 1, "PCM_16")


def test_no_source_is_in_two_folds_and_each_fold_has_every_class(small: Path) -> None:
    folds: dict[str, set[str]] = {}
    categories: dict[str, set[str]] = {}
    classes_of: dict[str, set[str]] = {}
    for row in rows(small):
        folds.setdefault(row["src_file"], set()).add(row["fold"])
        categories.setdefault(row["src_file"], set()).add(row["category"])
        classes_of.setdefault(row["fold"], set()).add(row["category"])
    assert len(folds) == len(CLASSES) * 5
    assert all(len(found) == 1 for found in (*folds.values(), *categories.values()))
    assert sorted(classes_of) == ["1", "2", "3", "4", "5"]
    assert all(found == set(CLASSES) for found in classes_of.values())


def test_classes_are_alphabetical() -> None:
    assert len(CLASSES) >= 10
    assert list(CLASSES) == sorted(set(CLASSES))


@pytest.mark.parametrize("category", CLASSES)
@pytest.mark.parametrize(("sample_rate", "duration_s"), [(8000, 0.1), (16000, 5.0), (44100, 1.237)])
def test_clip_is_finite_bounded_and_not_silent(category: str, sample_rate: int, duration_s: float) -> None:
    for source in range(3):
        clip = synthesize(category, source, source, seed=7, sample_rate=sample_rate, duration_s=duration_s)
        assert clip.dtype == np.float32
        assert clip.shape == (round(sample_rate * duration_s),)
        assert np.isfinite(clip).all()
        assert 0.01 < np.abs(clip).max() <= 1


def log_spectrum(clip: np.ndarray) -> np.ndarray:
    """Mean spectrum in dB, (128,), of the part that is not padding, without its loudness."""
    clip = clip[: np.flatnonzero(clip)[-1] + 1]
    frames = clip[: clip.size // 256 * 256].reshape(-1, 256)
    level_db = 10 * np.log10(np.mean(np.abs(np.fft.rfft(frames * np.hanning(256))) ** 2, axis=0)[1:] + 1e-12)
    return level_db - level_db.mean()


@pytest.mark.parametrize("category", CLASSES)
def test_takes_are_alike_and_sources_differ(category: str) -> None:
    spectra = np.array([[log_spectrum(synthesize(category, s, t, duration_s=2.0)) for t in range(2)] for s in range(5)])
    within_db = np.abs(spectra[:, 0] - spectra[:, 1]).mean()
    between_db = np.mean([np.abs(spectra[i, 0] - spectra[j, 1]).mean() for i in range(5) for j in range(5) if i != j])
    assert between_db > 1.5 * within_db
    assert not np.array_equal(synthesize(category, 0, 0), synthesize(category, 0, 1))
    assert not np.array_equal(synthesize(category, 0, 0), synthesize(category, 0, 0, seed=1))


def test_loudness_padding_and_noise_vary() -> None:
    clips = [synthesize(category, source, 0, duration_s=2.0) for category in CLASSES for source in range(6)]
    peaks_db = [20 * np.log10(np.abs(clip).max()) for clip in clips]
    assert max(peaks_db) - min(peaks_db) > 15
    padded = [clip for clip in clips if not clip[-800:].any()]
    assert 0.1 < len(padded) / len(clips) < 0.45
    # noise everywhere but in the padding
    assert all(np.count_nonzero(clip[: np.flatnonzero(clip)[-1]] == 0) < 10 for clip in clips)


def test_finished_data_set_is_kept(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(synthesis, "_fill", refuse)
    assert write_dataset(small.parents[1], **{**SMALL, "classes": CLASSES[::-1]}) == small


@pytest.mark.parametrize("change", [{"seed": 1}, {"generator_version": -1}, {"missing": True}])
def test_other_or_incomplete_data_set_is_replaced(tmp_path: Path, change: dict[str, Any]) -> None:
    arguments = {**SMALL, "classes": ["bell", "rain"], "sources_per_class": 2}
    path = write_dataset(tmp_path / "set", **{**arguments, "seed": change.get("seed", 0)})
    record = path.with_name("synthesis.json")
    if "generator_version" in change:
        record.write_text(json.dumps({**json.loads(record.read_text()), **change}))
    if "missing" in change:
        next((tmp_path / "set" / "audio").iterdir()).unlink()
    write_dataset(tmp_path / "set", **arguments)
    assert contents(tmp_path / "set") == contents(write_dataset(tmp_path / "new", **arguments).parents[1])
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_interrupted_write_leaves_the_old_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    arguments = {**SMALL, "classes": ["bell"], "sources_per_class": 2}
    write_dataset(tmp_path / "set", **arguments)
    before, write, calls = contents(tmp_path / "set"), sf.write, iter(range(10))

    def fail_midway(*args: Any, **kwargs: Any) -> None:
        if next(calls) == 2:
            raise error
        write(*args, **kwargs)

    monkeypatch.setattr(synthesis.sf, "write", fail_midway)
    with pytest.raises(type(error)):
        write_dataset(tmp_path / "set", **{**arguments, "seed": 1})
    assert contents(tmp_path / "set") == before
    assert not leftovers(tmp_path)


def test_killed_between_the_renames_is_repaired(tmp_path: Path) -> None:
    arguments = {**SMALL, "classes": ["bell"], "sources_per_class": 2}
    path = write_dataset(tmp_path / "set", **arguments)
    before = contents(tmp_path / "set")
    (tmp_path / "set").rename(tmp_path / ".set.synthesis-old")
    (tmp_path / ".set.synthesis-partial").mkdir()
    assert write_dataset(tmp_path / "set", **arguments) == path
    assert contents(tmp_path / "set") == before
    assert not leftovers(tmp_path)


def test_files_of_other_origin_are_never_deleted(tmp_path: Path) -> None:
    arguments = {**SMALL, "classes": ["bell"], "sources_per_class": 2}
    path = write_dataset(tmp_path / "set", **arguments)
    (tmp_path / "set" / "audio" / "mine.wav").write_bytes(b"recording")
    assert write_dataset(tmp_path / "set", **arguments) == path
    with pytest.raises(AedError, match=r"holds mine\.wav"):
        write_dataset(tmp_path / "set", **{**arguments, "seed": 1})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    with pytest.raises(AedError, match=r"holds notes\.txt"):
        write_dataset(tmp_path / "other", **arguments)
    assert (tmp_path / "other" / "notes.txt").exists()


@pytest.mark.usefixtures("processes")
def test_two_processes_end_with_a_whole_data_set(tmp_path: Path) -> None:
    # the file itself, not the package: importing the package takes seconds
    code = (
        "import importlib.util as u, pathlib, sys\n"
        f"spec = u.spec_from_file_location('synthesis', {synthesis.__file__!r})\n"
        "module = sys.modules['synthesis'] = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(module)\n"
        f"module.write_dataset(pathlib.Path({str(tmp_path / 'set')!r}), seed=int(sys.argv[1]), **{SMALL!r})\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, seed]) for seed in ("0", "1")]
    assert [process.wait(60) for process in running] == [0, 0]
    record = json.loads((tmp_path / "set" / "meta" / "synthesis.json").read_text())
    last = write_dataset(tmp_path / "last", **SMALL, seed=record["seed"])
    assert contents(tmp_path / "set") == contents(last.parents[1])
    assert not leftovers(tmp_path)


def test_unknown_class_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"expected one or more of alarm.*got dragon\. Choose"):
        synthesize("dragon", 0, 0)
    with pytest.raises(AedError, match="dragon"):
        write_dataset(tmp_path / "set", classes=["bell", "dragon"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": []},
        {"classes": ["bell", "bell"]},
        {"takes_per_source": 27},
        {"sources_per_class": 0},
        {"num_folds": 0},
        {"seed": -1},
        {"sample_rate": 100},
        {"duration_s": float("nan")},
    ],
)
def test_wrong_arguments(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(AedError, match=r"expected .*got .*\. "):
        write_dataset(tmp_path / "set", **wrong)


def test_a_full_disk_is_said_and_nothing_is_left(small_disk: Path) -> None:
    with pytest.raises(WriteError, match=r"disk/made: cannot be written \(no space left\)"):
        write_dataset(small_disk / "made", classes=["alarm", "rain"])
    assert [path.name for path in small_disk.iterdir() if not path.name.endswith(".lock")] == []
