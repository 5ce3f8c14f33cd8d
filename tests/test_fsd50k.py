"""FSD50K's table on a small tree of its form: splits, labels, uploaders, and what is said when pieces are missing."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import fsd50k_tree as tree
import pandas as pd
import pytest
import soundfile as sf

from aed.base.errors import AedError
from aed.datamodules.sources import fsd50k
from aed.datamodules.sources.fsd50k import FSD50K
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.splits import assign_splits, shared_sources


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tree.write_tree(tmp_path_factory.mktemp("fsd50k"))


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return shutil.copytree(written, tmp_path / "data")


def truth(root: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(root / "FSD50K.ground_truth" / name, dtype=str)


def edit(root: Path, name: str, change: Callable[[str], str]) -> None:
    path = root / "FSD50K.ground_truth" / name
    path.write_text(change(path.read_text()))


def append(root: Path, name: str, line: str) -> None:
    edit(root, name, lambda text: text + line + "\n")


def warnings(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


def test_columns_paths_and_official_splits(written: Path) -> None:
    table = FSD50K(str(written)).table()
    assert tuple(table.columns) == COLUMNS
    assert list(table.index) == list(range(60))
    dev, evaluated = truth(written, "dev.csv"), truth(written, "eval.csv")
    assert [path.stem for path in table["path"]] == [*dev["fname"], *evaluated["fname"]]
    assert list(table["split"]) == [*dev["split"], *["test"] * len(evaluated)]
    assert all(isinstance(path, Path) and sf.info(path).frames == tree.RATE_HZ for path in table["path"])
    assert {path.parent.name for path in table["path"][table["split"] == "test"]} == {"FSD50K.eval_audio"}
    assert table["fold"].isna().all()


def test_labels_as_published_and_without_what_they_imply(written: Path) -> None:
    published = pd.concat([truth(written, "dev.csv"), truth(written, "eval.csv")])["labels"].str.split(",")
    smeared = FSD50K(str(written), labels="smeared").table()["labels"]
    assert list(smeared) == [tuple(sorted(labels)) for labels in published]


def test_a_clip_of_one_sound_has_one_label(tmp_path: Path) -> None:
    root = tree.write_tree(tmp_path / "single", multi_label=False)
    clips: dict[str, dict[str, str]] = {}
    for part in ("dev", "eval"):
        clips |= json.loads((root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json").read_text())
    table = FSD50K(str(root)).table()
    assert list(table["labels"]) == [(clips[path.stem]["title"],) for path in table["path"]]
    assert table["labels"].nunique() == len(tree.SMEARED)


def test_a_mixture_keeps_both_sounds(written: Path) -> None:
    """A bell beside a bicycle stays; beside a bicycle bell it is implied, and so are bicycle and vehicle."""
    table = FSD50K(str(written)).table()
    found = set(table["labels"])
    assert max(map(len, found)) == 2
    for labels in found:
        implied = {above for name in labels for above in tree.SMEARED[name][1:]}
        assert not implied & set(labels)


def test_uploaders_are_the_sources(written: Path, root: Path) -> None:
    table = FSD50K(str(root)).table()
    expected = {}
    for part in ("dev", "eval"):
        clips = json.loads((root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json").read_text())
        expected |= {fname: clip["uploader"] for fname, clip in clips.items()}
    assert list(table["src_file"]) == [expected[path.stem] for path in table["path"]]
    assert 2 < table["src_file"].nunique() < len(table)


def test_a_split_of_ones_own_keeps_uploaders_apart_and_eval_the_test(written: Path) -> None:
    table = FSD50K(str(written), official_split=False).table()
    official = FSD50K(str(written)).table()["split"]
    assert (table["split"].fillna("free") == official.replace({"train": "free", "val": "free"})).all()
    split = assign_splits(
        table, method="source", test_fold=None, val_fold=None, test_fraction=0.2, val_fraction=0.3, seed=0
    )  # fmt: skip
    assert set(split) == {"train", "val", "test"}
    assert ((split == "test") == (official == "test")).all()
    assert shared_sources(table.assign(split=split)) == []


def test_without_metadata_uploaders_are_unknown(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    shutil.rmtree(root / "FSD50K.metadata")
    table = FSD50K(str(root)).table()
    assert table["src_file"].isna().all() and len(table) == 60
    assert "dev_clips_info_FSD50K.json" in warnings(caplog) and "uploader" in warnings(caplog)
    with pytest.raises(AedError, match=r"official_split=false.*FSD50K\.metadata"):
        FSD50K(str(root), official_split=False).table()


def test_a_clip_without_uploader_takes_part_in_no_split_of_ones_own(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = root / "FSD50K.metadata" / "dev_clips_info_FSD50K.json"
    clips = json.loads(path.read_text())
    first = next(iter(clips))
    del clips[first]
    path.write_text(json.dumps(clips))
    assert FSD50K(str(root)).table()["src_file"].isna().sum() == 1
    assert first not in {path.stem for path in FSD50K(str(root), official_split=False).table()["path"]}
    assert "left out 1 of 48 rows: no uploader" in warnings(caplog)


BELL, RAIN = tree.VOCABULARY["Bell"], tree.VOCABULARY["Rain"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('9,"Rain,Nothing","/m/06mb1,/m/nothing",train', "not in vocabulary.csv; first: '9'"),
        ("9,,,train", "no label; first: '9'"),
        ('9,",",",",train', "no label; first: '9'"),
        (f",Rain,{RAIN},train", "no fname"),
        (f"1000,Rain,{RAIN},train", "a repeated fname; first: '1000'"),
        (f"9,Rain,{RAIN},test", "split other than"),
        (f"9,Rain,{RAIN},", "split other than"),
    ],
)
def test_a_bad_row_is_left_out_and_counted(
    written: Path, root: Path, caplog: pytest.LogCaptureFixture, line: str, reason: str
) -> None:
    append(root, "dev.csv", line)
    table = FSD50K(str(root)).table()
    expected = FSD50K(str(written)).table()
    assert [path.name for path in table["path"]] == [path.name for path in expected["path"]]
    assert list(table["labels"]) == list(expected["labels"])
    assert f"left out 1 of {len(truth(root, 'dev.csv'))} rows" in warnings(caplog)
    assert re.search(reason, warnings(caplog))


def test_a_row_without_a_file_is_left_to_the_reader(root: Path) -> None:
    append(root, "eval.csv", f"0042,Rain,{RAIN}")
    table = FSD50K(str(root)).table()
    assert table["path"].iloc[-1] == root / "FSD50K.eval_audio" / "0042.wav"
    assert table["labels"].iloc[-1] == ("Rain",)


def test_nothing_but_bad_rows_is_an_error(root: Path) -> None:
    for name, line in (("dev.csv", "fname,labels,mids,split\n1,,,train\n"), ("eval.csv", "fname,labels,mids\n1,,\n")):
        edit(root, name, lambda _, line=line: line)
    with pytest.raises(AedError, match="no row"):
        FSD50K(str(root)).table()


def test_a_class_that_the_ontology_lacks_stays(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    append(root, "vocabulary.csv", "8,Thing,/m/thing")
    append(root, "eval.csv", f'77,"Bell,Thing","{BELL},/m/thing"')
    assert FSD50K(str(root)).table()["labels"].iloc[-1] == ("Bell", "Thing")
    assert "1 mids are not in the ontology and stay as they are, in 1 clips" in warnings(caplog)


@pytest.mark.parametrize(
    "piece",
    ["FSD50K.dev_audio", "FSD50K.eval_audio", "FSD50K.ground_truth", "FSD50K.ground_truth/dev.csv",
     "FSD50K.ground_truth/eval.csv", "FSD50K.ground_truth/vocabulary.csv"],
)  # fmt: skip
def test_a_missing_piece_is_named_with_what_to_do(root: Path, piece: str) -> None:
    path = root / piece
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(AedError) as info:
        FSD50K(str(root)).table()
    for word in (path.name, str(root), "4060432", "AED_DATA_DIR", "experiment=demo"):
        assert word in str(info.value)


def test_the_data_folder_is_the_environments(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AED_DATA_DIR", str(root))
    assert len(FSD50K().table()) == 60


@pytest.mark.parametrize(
    ("name", "column"), [("dev.csv", "split"), ("dev.csv", "mids"), ("dev.csv", "fname"), ("eval.csv", "mids")]
)
def test_a_missing_column_is_named(root: Path, name: str, column: str) -> None:
    edit(root, name, lambda text: text.replace(column, "other", 1))
    with pytest.raises(AedError, match=rf"{name}: no column \['{column}'\]"):
        FSD50K(str(root)).table()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dev.csv", b""),
        ("eval.csv", b"fname,labels,mids\n1,h\xf6r,/m/1\n"),
        ("vocabulary.csv", b"0,Bell\n"),
        ("vocabulary.csv", b"0,Bell,/m/1\n1,Bell,/m/2\n"),
        ("vocabulary.csv", b"0,Bell,/m/1\n1,Rain,/m/1\n"),
        ("vocabulary.csv", b"0,Bell,\n"),
    ],
)
def test_an_unusable_csv_is_named(root: Path, name: str, content: bytes) -> None:
    (root / "FSD50K.ground_truth" / name).write_bytes(content)
    with pytest.raises(AedError, match=name):
        FSD50K(str(root)).table()


@pytest.mark.parametrize("content", ["", "[]", '{"1000": 3}', "{"])
def test_unusable_metadata_are_named(root: Path, content: str) -> None:
    (root / "FSD50K.metadata" / "eval_clips_info_FSD50K.json").write_text(content)
    with pytest.raises(AedError, match="eval_clips_info"):
        FSD50K(str(root)).table()


def test_labels_are_one_of_two() -> None:
    with pytest.raises(AedError, match=r"data\.clips\.labels.*'both'"):
        FSD50K(labels="both")  # type: ignore[arg-type]


# ---- where the ontology comes from ------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["FSD50K.metadata", "FSD50K.ground_truth", "FSD50K.doc", "elsewhere"])
def test_the_ontology_may_lie_in_several_places(written: Path, root: Path, folder: str) -> None:
    (root / folder).mkdir(exist_ok=True)
    moved = (root / "ontology.json").rename(root / folder / "ontology.json")
    source = FSD50K(str(root), ontology=str(moved) if folder == "elsewhere" else None, download=False)
    assert list(source.table()["labels"]) == list(FSD50K(str(written)).table()["labels"])


def test_without_an_ontology_only_published_labels(root: Path) -> None:
    (root / "ontology.json").unlink()
    assert len(FSD50K(str(root), labels="smeared", download=False).table()) == 60
    with pytest.raises(AedError, match=r"ontology\.json.*labels=smeared"):
        FSD50K(str(root), download=False).table()
    with pytest.raises(AedError, match=r"gone\.json"):
        FSD50K(str(root), ontology=str(root / "gone.json")).table()


def test_a_failed_download_says_what_to_do(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ontology.json").unlink()
    monkeypatch.setattr(FSD50K, "ONTOLOGY_URL", "http://127.0.0.1:9/ontology.json")
    with pytest.raises(AedError, match=r"data\.clips\.ontology.*labels=smeared"):
        FSD50K(str(root)).table()


def test_the_ontology_is_downloaded_once(written: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "ontology.json").unlink()
    bodies = ["<html>log in</html>", (written / "ontology.json").read_text()]

    def fetch(url: str, path: Path, *, digest: str | None, advice: str) -> Path:
        assert url.startswith("https://raw.githubusercontent.com/audioset/ontology/")
        path.write_text(bodies.pop(0))
        return path

    monkeypatch.setattr(fsd50k, "fetch", fetch)
    with pytest.raises(AedError, match=r"ontology\.json"):  # what a proxy sent is not kept
        FSD50K(str(root)).table()
    for _ in range(2):
        assert list(FSD50K(str(root)).table()["labels"]) == list(FSD50K(str(written)).table()["labels"])
    assert bodies == []
