"""Recordings in folders, as people keep them."""

import logging
import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import tiny
from hydra.utils import instantiate

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.dcase import Dcase
from aed.datamodules.sources.folder import Folder
from aed.datamodules.sources.lists import COLUMNS, SPLIT_NAMES
from aed.datamodules.sources.segments import Segments


def make(root: Path, *files: str) -> Path:
    """Empty files under ``root``."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def rows(root: Path, **settings: Any) -> dict[str, tuple[str, ...]]:
    table = Folder(str(root), **settings).table()
    assert tuple(table.columns) == COLUMNS
    return {
        path.relative_to(root).as_posix(): labels for path, labels in zip(table["path"], table["labels"], strict=True)
    }


def test_the_class_is_the_top_folder_at_any_depth(tmp_path: Path) -> None:
    make(tmp_path, "dog/a.wav", "dog/deep/er/b.FLAC", "cat/c.ogg", "cat/d.opus", "cat/e.mp3")
    assert rows(tmp_path) == {
        "cat/c.ogg": ("cat",),
        "cat/d.opus": ("cat",),
        "cat/e.mp3": ("cat",),
        "dog/a.wav": ("dog",),
        "dog/deep/er/b.FLAC": ("dog",),
    }
    table = Folder(str(tmp_path)).table()
    assert table[["fold", "src_file", "split"]].isna().all().all()
    assert Folder(str(tmp_path)).name == tmp_path.name


def test_what_is_hidden_or_no_audio_is_left_out(tmp_path: Path) -> None:
    make(
        tmp_path, "dog/a.wav", "dog/._a.wav", "dog/.cache/x.wav", ".git/x.wav", "dog/notes.txt", "cat/b.wav",
        "cat/wav", "README.md",
    )  # fmt: skip
    assert set(rows(tmp_path)) == {"dog/a.wav", "cat/b.wav"}


def test_folders_called_like_splits_are_splits(tmp_path: Path) -> None:
    for number, name in enumerate(SPLIT_NAMES):
        make(tmp_path, f"{name}/dog/{number}.wav", f"{name.title()}/cat/{number}.wav")
    table = Folder(str(tmp_path)).table()
    for path, split, labels in zip(table["path"], table["split"], table["labels"], strict=True):
        parts = path.relative_to(tmp_path).parts
        assert split == SPLIT_NAMES[parts[0].lower()] and labels == (parts[1],)
    assert len(table) == 2 * len(SPLIT_NAMES)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert set(rows(make(tmp_path, "train/a.wav", "dog/b.wav")).values()) == {("train",), ("dog",)}


def test_a_folder_without_audio_beside_splits_is_none_of_the_classes(tmp_path: Path) -> None:
    make(tmp_path, "train/dog/a.wav", "train/cat/b.wav", "test/dog/c.wav", "docs/notes.txt")
    table = Folder(str(tmp_path)).table()
    assert sorted(table["split"]) == ["test", "train", "train"]


def test_splits_mixed_with_classes_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "train/dog/a.wav", "train/cat/b.wav", "test/dog/c.wav", "noise/d.wav")
    with pytest.raises(AedError, match=r"\['test', 'train'\] look like splits, \['noise'\] like classes"):
        Folder(str(tmp_path)).table()


@pytest.mark.parametrize("files", [[], ["dog/a.wav"], ["a.wav", "b.wav"], ["train/a.wav", "test/b.wav"]])
def test_fewer_than_two_classes_are_refused_with_the_layout(tmp_path: Path, files: list[str]) -> None:
    with pytest.raises(AedError, match="at least two class folders, <class>/ or train/<class>/"):
        Folder(str(make(tmp_path, *files))).table()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"data\.clips\.root: .*nowhere is no folder"):
        Folder(str(tmp_path / "nowhere")).table()


def test_loose_files_and_empty_classes_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make(tmp_path, "dog/a.wav", "cat/b.wav", "loose.wav", "too.wav", "bird/notes.txt")
    with caplog.at_level(logging.WARNING):
        assert set(rows(tmp_path)) == {"dog/a.wav", "cat/b.wav"}
    assert "2 recordings lie in no class folder" in caplog.text
    assert "no recordings in 'bird'" in caplog.text


@pytest.mark.parametrize("name", ["-dog", "a dog", "größe", "犬", "$(ls)", "a,b", "%s", "${x}"])
def test_odd_names_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"{name}/{name}.wav", f"{name}/new\nline.wav", "cat/b.wav")
    found = rows(tmp_path)
    assert found[f"{name}/{name}.wav"] == found[f"{name}/new\nline.wav"] == (name,)


@pytest.mark.parametrize("name", ["a\nb", "a\tb", "a\x1bb", os.fsdecode(b"caf\xe9")])
def test_class_names_that_nothing_can_print_are_refused(tmp_path: Path, name: str) -> None:
    make(tmp_path, f"{name}/a.wav", "cat/b.wav")
    with pytest.raises(AedError, match="printable characters; rename the folder"):
        Folder(str(tmp_path)).table()


def test_composed_and_decomposed_names_are_one_class(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "größe") for form in ("NFC", "NFD"))
    make(tmp_path, f"train/{composed}/a.wav", f"test/{decomposed}/b.wav", "train/cat/c.wav")
    assert set(rows(tmp_path).values()) == {(composed,), ("cat",)}


def test_links_are_followed_once(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere", "b.wav", "c/d.wav")
    root = make(tmp_path / "set", "dog/a.wav", "cat/e.wav")
    (root / "dog" / "loop").symlink_to(root / "dog")
    (root / "dog" / "link.wav").symlink_to(tmp_path / "elsewhere" / "b.wav")
    (root / "dog" / "gone.wav").symlink_to(tmp_path / "elsewhere" / "gone.wav")  # reported when it is read
    (root / "cat" / "more").symlink_to(tmp_path / "elsewhere" / "c")
    (root / "bird").symlink_to(tmp_path / "elsewhere")
    assert set(rows(root)) == {
        "dog/a.wav", "dog/link.wav", "dog/gone.wav", "cat/e.wav", "cat/more/d.wav", "bird/b.wav", "bird/c/d.wav",
    }  # fmt: skip


@pytest.mark.parametrize(
    "pattern", ["/([^/-]+)-", "(?P<src>[^/-]+)-[^/]*$", "(x)?(?P<src>[^/-]+)-[^/]*$", "(?P<other>[^/-]+)-"]
)
def test_the_group_is_the_source(tmp_path: Path, pattern: str) -> None:
    make(tmp_path, "dog/007-1.wav", "dog/007-2.wav", "cat/8-1.wav")
    table = Folder(str(tmp_path), source_pattern=pattern).table()
    assert list(table["src_file"]) == ["8", "007", "007"]


def test_the_folder_of_the_split_is_no_part_of_a_source(tmp_path: Path) -> None:
    make(tmp_path, "train/dog/7-1.wav", "test/dog/7-2.wav", "train/cat/8-1.wav", "test/cat/9-1.wav")
    table = Folder(str(tmp_path), source_pattern="(?P<src>[^-_]+)").table()
    assert table.groupby("src_file")["split"].nunique().to_dict() == {"dog/7": 2, "cat/8": 1, "cat/9": 1}


def test_names_that_do_not_match_have_no_source_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, "dog/7-1.wav", "dog/x.wav", "dog/-1.wav", "cat/8-1.wav")
    with caplog.at_level(logging.WARNING):
        table = Folder(str(tmp_path), source_pattern="/([0-9]*)-").table()
    assert dict(zip((path.stem for path in table["path"]), table["src_file"].isna(), strict=True)) == {
        "8-1": False, "7-1": False, "x": True, "-1": True,
    }  # fmt: skip
    assert "2 of 4 recordings" in caplog.text and "e.g. 'dog/-1.wav'" in caplog.text


def test_folds_are_numbers(tmp_path: Path) -> None:
    make(tmp_path, "dog/2-7.wav", "cat/03-8.wav", "cat/x.wav")
    table = Folder(str(tmp_path), fold_pattern="/([^-/]+)-").table()
    assert table["fold"].isna().tolist() == [False, True, False]
    assert table["fold"][0] == 3 and table["fold"][2] == 2
    with pytest.raises(AedError, match=r"fold_pattern: need a number, found 'x' in 'cat/x\.wav'"):
        Folder(str(tmp_path), fold_pattern="/([^-/.]+)").table()


@pytest.mark.parametrize(
    ("pattern", "message"),
    [("(", "no regular expression"), ("[0-9]+", "0 groups"), ("(a)(b)", "2 groups"), ("(?:a)", "0 groups")],
)
def test_a_pattern_that_cannot_serve_is_refused(tmp_path: Path, pattern: str, message: str) -> None:
    for key in ("source_pattern", "fold_pattern"):
        with pytest.raises(AedError, match=rf"data\.clips\.{key}: .*{message}"):
            Folder(str(tmp_path), **{key: pattern})


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "dog/a.wav", "cat/b.wav")
    walk = os.walk

    def closed(top: Path, onerror: Any, followlinks: bool) -> Any:
        if top.name == "dog":  # as for root, who may read everything, chmod would do nothing
            onerror(PermissionError(13, "Permission denied", str(top)))
        return walk(top, onerror=onerror, followlinks=followlinks)

    monkeypatch.setattr(os, "walk", closed)
    with pytest.raises(AedError, match=r"dog: cannot be read \(Permission denied\)"):
        Folder(str(tmp_path)).table()


@pytest.mark.parametrize(
    ("source", "arguments", "given"),
    [
        (
            Folder,
            ["root=set", "source_pattern='/([^/-]+)-(?:\\d,)?'"],
            {"root": "set", "source_pattern": r"/([^/-]+)-(?:\d,)?"},
        ),
        (Segments, ["csv=list.tsv", "audio_dir=audio"], {"csv": "list.tsv", "audio_dir": "audio"}),
        (Dcase, ["meta=meta.csv"], {"meta": "meta.csv", "audio_dir": None}),
    ],
)
def test_the_shipped_configuration_makes_the_source(
    source: type[ClipSource], arguments: list[str], given: dict[str, Any]
) -> None:
    name = source.__name__.lower()
    composed = tiny.composed("experiment=demo", f"data={name}", *(f"data.clips.{item}" for item in arguments))
    assert {key: composed.data.clips[key] for key in given} == given
    assert isinstance(instantiate(composed.data.clips), source)
    assert composed.data.split in ("random", "source")


def test_names_that_are_not_utf8_are_told_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As archives made on Windows leave them: no report could hold them, and few libraries open them."""
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        for number in range(3):
            sf.write(tmp_path / name / f"{number}.wav", np.random.default_rng(number).normal(size=16000) / 9, 16000)
    shutil.copy(tmp_path / "dog" / "0.wav", os.fsencode(tmp_path / "dog") + b"/\xe9t\xe9.wav")
    data = PatchDataModule(Folder(str(tmp_path)), tiny.FRONTEND, split="random", test_fraction=0.4, cache_workers=1)
    data.setup()
    assert "names of 1 files are not UTF-8" in caplog.text and r"\udce9t" in caplog.text
    assert data.facts()["skipped_clips"] == 1 and len(data.table) == 7


def test_sounds_of_every_kind_are_used_and_those_that_cannot_be_read_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = {"wav": "WAV", "aif": "AIFF", "AIFF": "AIFF", "w64": "W64", "caf": "CAF", "au": "AU", "rf64": "RF64"}
    for name in ("dog", "cat"):
        (tmp_path / name / "folder.wav").mkdir(parents=True)
        for number, (suffix, kind) in enumerate(kinds.items()):
            wave = np.random.default_rng(number).normal(size=16000) / 9
            sf.write(tmp_path / name / f"{number}.{suffix}", wave, 16000, format=kind)
        (tmp_path / name / "a.m4a").write_bytes(b"ftypM4A " + name.encode())
        (tmp_path / name / "._0.wav").write_bytes(b"of a drive of a Mac")
    arguments = {"split": "random", "test_fraction": 0.4, "cache_workers": 1}
    data = PatchDataModule(Folder(str(tmp_path)), tiny.FRONTEND, **arguments)
    data.setup()
    assert len(data.table) == 2 * (len(kinds) + 1) and data.facts()["skipped_clips"] == 2
    assert sum(split.num_clips for split in data.datasets.values()) == 2 * len(kinds)
    assert f"left out: {tmp_path}/dog/a.m4a: .m4a cannot be read; convert it: ffmpeg -i {tmp_path}/dog" in caplog.text
    with pytest.raises(AedError, match=r"2 of 16 files are bad and data\.strict=true"):
        PatchDataModule(Folder(str(tmp_path)), tiny.FRONTEND, strict=True, **arguments).setup()
