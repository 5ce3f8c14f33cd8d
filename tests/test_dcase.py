"""DCASE's lists of scenes and weak labels, in the forms of several years."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from aed.base.errors import AedError
from aed.datamodules.sources.dcase import Dcase
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.splits import assign_splits

SCENES = (
    "filename\tscene_label\tidentifier\tsource_label\n"
    "audio/airport-1.wav\tairport\tparis-0\ta\naudio/airport-2.wav\tairport\tparis-1\ta\n"
    "audio/bus-1.wav\tbus\tparis-0\ta\naudio/bus-2.wav\tbus\tparis-2\ta\n"
)


def write(folder: Path, **files: str) -> Path:
    """Files by name, ``__`` for a folder and the last ``_`` for the dot."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(".".join(path.name.rsplit("_", 1)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "meta.csv"


def test_scenes_with_their_recordings(tmp_path: Path) -> None:
    source = Dcase(str(write(tmp_path, meta_csv=SCENES)))
    table = source.table()
    assert tuple(table.columns) == COLUMNS and source.name == tmp_path.name
    assert table["path"][0] == tmp_path / "audio" / "airport-1.wav"
    assert list(table["labels"]) == [("airport",), ("airport",), ("bus",), ("bus",)]
    assert list(table["src_file"]) == ["paris-0", "paris-1", "paris-0", "paris-2"]
    assert table[["fold", "split"]].isna().all().all()


def test_lists_without_a_head(tmp_path: Path) -> None:
    rows = "audio/b1.wav\tbeach\tbeach\naudio/b2.wav\tbus\tb021\n"
    (tmp_path / "meta.txt").write_text(rows)
    table = Dcase(str(tmp_path / "meta.txt")).table()
    assert list(table["labels"]) == [("beach",), ("bus",)] and list(table["src_file"]) == ["beach", "b021"]


def test_a_single_fold_fixes_train_and_test(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    meta = write(
        tmp_path, meta_csv=SCENES,
        evaluation_setup__fold1_train_csv="filename\tscene_label\naudio/airport-1.wav\tairport\naudio/bus-1.wav\tbus\n",
        evaluation_setup__fold1_evaluate_csv="filename\tscene_label\naudio/bus-2.wav\tbus\n",
        evaluation_setup__fold1_test_csv="filename\naudio/airport-2.wav\n",
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        table = Dcase(str(meta)).table()
    assert dict(zip((path.stem for path in table["path"]), table["split"], strict=True)) == {
        "airport-1": "train", "bus-1": "train", "bus-2": "test",
    }  # fmt: skip
    assert "1 of 4 clips are in no fold" in caplog.text


def test_several_folds_are_numbers_and_the_default_split_tests_on_one(tmp_path: Path) -> None:
    meta = write(
        tmp_path, meta_csv=SCENES,
        evaluation_setup__fold1_evaluate_txt="audio/airport-1.wav\tairport\naudio/bus-1.wav\tbus\n",
        evaluation_setup__fold2_test_txt="audio/airport-2.wav\naudio/bus-2.wav\n",
        evaluation_setup__fold1_train_txt="audio/airport-2.wav\tairport\naudio/bus-2.wav\tbus\n",
        evaluation_setup__readme_txt="none of the folds",
    )  # fmt: skip
    table = Dcase(str(meta)).table()
    assert list(table["fold"]) == [1, 2, 1, 2] and table["split"].isna().all()
    split = assign_splits(
        table, method="folds", test_fold=2, val_fold=None, test_fraction=0.2, val_fraction=0, seed=0
    )  # fmt: skip
    assert list(split) == ["train", "test", "train", "test"]


def test_weak_labels(tmp_path: Path) -> None:
    meta = write(tmp_path, meta_csv="filename\tevent_labels\na.wav\tSpeech,Dog\nb.wav\tDog\nc.wav\t\nd.wav\tDog, Dog\n")
    table = Dcase(str(meta), str(tmp_path / "audio")).table()
    assert list(table["labels"]) == [("Dog", "Speech"), ("Dog",), (), ("Dog",)]
    assert list(table["path"]) == [tmp_path / "audio" / f"{name}.wav" for name in "abcd"]
    assert list(table["src_file"]) == ["a.wav", "b.wav", "c.wav", "d.wav"]


def test_own_columns_for_split_and_fold(tmp_path: Path) -> None:
    meta = write(tmp_path, meta_csv="filename,event_labels,split,fold\na.wav,Dog,eval,1\nb.wav,Cat,,\n")
    table = Dcase(str(meta)).table()
    assert table["split"][0] == "test" and table["fold"][0] == 1
    assert pd.isna(table["split"][1]) and pd.isna(table["fold"][1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename\tonset\toffset\tevent_label\na.wav\t0\t1\tdog\n", "has onsets; take data=segments"),
        ("filename\tlabel\na.wav\tdog\n", "no column .*scene_label"),
        ("filename\tscene_label\na.wav\t\n", "line 2 lacks a filename or a scene_label"),
        ("filename\tevent_labels\n\tdog\n", "line 2 lacks a filename or a event_labels"),
        ("filename\tscene_label\na.wav\tbus\na.wav\tcar\n", "a.wav stands in it twice"),
        ("a\tb\tc\td\te\n1\t2\t3\t4\t5\n", "no column 'filename'"),
    ],
)
def test_a_list_that_cannot_serve_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AedError, match=message):
        Dcase(str(write(tmp_path, meta_csv=text))).table()


def test_folds_that_overlap_or_name_other_clips_are_refused(tmp_path: Path) -> None:
    both = "filename\naudio/bus-1.wav\n"
    meta = write(
        tmp_path, meta_csv=SCENES, evaluation_setup__fold1_test_csv=both, evaluation_setup__fold2_test_csv=both
    )
    with pytest.raises(AedError, match=r"audio/bus-1\.wav is evaluated in two folds"):
        Dcase(str(meta)).table()
    other = write(tmp_path / "other", meta_csv=SCENES, evaluation_setup__fold1_test_csv="filename\nbus-1.wav\n")
    with pytest.raises(AedError, match="name none of its clips"):
        Dcase(str(other)).table()
