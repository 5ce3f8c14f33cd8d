"""Which clips stand for which classes: chosen names, several labels, the garbage class, unseen sounds."""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule, Synthetic
from aed.datamodules.selection import class_counts, draw_garbage, one_row_a_clip, targets, within
from aed.datamodules.sources.clips import ClipSource, EscCsv
from aed.datamodules.sources.lists import COLUMNS
from aed.scoring.labels import OTHER

PROPERTY = settings(max_examples=150, deadline=None)


# ---- targets ----------------------------------------------------------------------------------------------


@PROPERTY
@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True), max_size=20), st.permutations("abcd"))
def test_multi_label_targets_say_who_is_there(rows: list[list[str]], names: list[str]) -> None:
    labels = pd.Series([tuple(own) for own in rows], dtype=object)
    found = targets(labels, names, multi_label=True)
    assert found.shape == (len(rows), 4) and found.dtype == np.float32
    assert [[name in own for name in names] for own in rows] == found.astype(bool).tolist()
    counted = Counter(name for own in rows for name in own)
    assert class_counts(found, 4).tolist() == [counted[name] for name in names]


@PROPERTY
@given(st.lists(st.lists(st.sampled_from("abcd"), unique=True), max_size=20), st.sets(st.sampled_from("abcd")))
def test_within_keeps_order_and_drops_the_rest(rows: list[list[str]], names: set[str]) -> None:
    labels = pd.Series([tuple(own) for own in rows], dtype=object)
    assert list(within(labels, sorted(names))) == [tuple(name for name in own if name in names) for own in rows]


# ---- the garbage class ------------------------------------------------------------------------------------

parts = st.sampled_from(["train", "val", "test"])


@PROPERTY
@given(
    st.lists(st.tuples(st.sampled_from("abuvwxyz"), parts), min_size=1, max_size=80),
    st.integers(0, 9),
    st.sampled_from([0.5, 1.0, 2.0]),
)
@pytest.mark.usefixtures("computes")
def test_garbage_is_drawn_evenly_and_once(pairs: list[tuple[str, str]], seed: int, share: float) -> None:
    """Classes a and b are known. Each split gets the mean class, or all there is; unused classes differ by one."""
    pairs = [*pairs, ("a", "train"), ("u", "train")]
    before = pd.Series([(name,) for name, _ in pairs], dtype=object)
    table = pd.DataFrame({"path": range(len(pairs)), "split": [split for _, split in pairs]})
    table["labels"] = pd.Series([own if own[0] in "ab" else (OTHER,) for own in before], dtype=object)
    drawn = draw_garbage(table, before, 2, share, seed)
    assert drawn.equals(draw_garbage(table, before, 2, share, seed))
    assert drawn["path"].is_unique and drawn["path"].is_monotonic_increasing
    for split in set(table["split"]):
        known = [row for row, (name, part) in enumerate(pairs) if part == split and name in "ab"]
        others = [row for row, (name, part) in enumerate(pairs) if part == split and name not in "ab"]
        kept = set(drawn["path"][drawn["split"] == split])
        assert set(known) <= kept
        chosen = sorted(kept - set(known))
        assert len(chosen) == min(len(others), max(1, round(share * len(known) / 2)))
        taken, there = (Counter(pairs[row][0] for row in rows) for rows in (chosen, others))
        for name in there:
            # a class gives less than another only if it has no more
            assert taken[name] == there[name] or taken[name] >= max(taken.values()) - 1


@settings(deadline=None, derandomize=True, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abuvw"), parts), max_size=60), st.integers(1, 9))
def test_a_number_of_garbage_is_drawn_of_each_class(pairs: list[tuple[str, str]], number: int) -> None:
    pairs = [*pairs, ("a", "train"), ("u", "train")]
    before = pd.Series([(name,) for name, _ in pairs], dtype=object)
    table = pd.DataFrame({"path": range(len(pairs)), "split": [split for _, split in pairs]})
    table["labels"] = pd.Series([own if own[0] in "ab" else (OTHER,) for own in before], dtype=object)
    drawn = draw_garbage(table, before, 2, 1.0, 3, number)
    there, taken = Counter(pairs), Counter(pairs[row] for row in drawn["path"])
    assert taken == {key: count if key[0] in "ab" else min(count, number) for key, count in there.items()}
    assert drawn["path"].is_unique


def test_a_number_of_garbage_is_of_the_garbage_class() -> None:
    data = module(garbage_class=True, garbage_per_class=1, val_fold=1)
    data.prepare_data()
    data.setup()
    assert [data.class_counts(split).tolist()[-1] for split in ("train", "val", "test")] == [2, 2, 2]
    for wrong in ({"garbage_per_class": 1}, {"garbage_per_class": 0, "garbage_class": True}):
        with pytest.raises(AedError, match="garbage_per_class"):
            module(**wrong)


def test_garbage_depends_on_the_seed() -> None:
    before = pd.Series([("a",)] * 10 + [("u",)] * 50, dtype=object)
    table = pd.DataFrame({"path": range(60), "split": "train", "labels": [("a",)] * 10 + [(OTHER,)] * 50})
    assert len({tuple(draw_garbage(table, before, 1, 1.0, seed)["path"]) for seed in range(5)}) == 5


def module(**changes: Any) -> PatchDataModule:
    clips = Synthetic(class_names=["alarm", "hum", "rain", "bell"], sources_per_class=5, takes_per_source=2)
    return PatchDataModule(clips, tiny.FRONTEND, **{"cache_workers": 1, "class_names": ["rain", "alarm"]} | changes)


def test_the_garbage_class_is_in_every_split_and_the_last_of_the_names() -> None:
    data = module(garbage_class=True, val_fold=1)
    data.prepare_data()
    data.setup()
    assert data.class_names == ("rain", "alarm", OTHER) and data.num_classes == 3
    assert data.leaking_sources == []
    for split, clips in (("train", 6), ("val", 2), ("test", 2)):
        assert data.class_counts(split).tolist() == [clips] * 3, split
    others = data.rows("train").loc[data.rows("train")["labels"] == (OTHER,), "path"]
    assert len(others) == 6 and others.is_unique


def test_the_garbage_class_needs_names_and_unused_classes() -> None:
    with pytest.raises(AedError, match="class_names"):
        module(garbage_class=True, class_names=None)
    with pytest.raises(AedError, match="unused class"):
        _ = module(garbage_class=True, class_names=["alarm", "hum", "rain", "bell"]).table
    with pytest.raises(AedError, match="the net is trained on them"):
        module(garbage_class=True, unseen="unused")


# ---- unseen sounds ----------------------------------------------------------------------------------------


def test_unseen_clips_are_those_of_unused_classes() -> None:
    data = module(unseen="unused")
    data.prepare_data()
    data.setup()
    assert data.unseen_data is not None and data.unseen_data.num_clips == 20
    assert sum(part.num_clips for part in data.datasets.values()) == 20


def test_unseen_clips_may_be_a_folder(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=16000).astype(np.float32) / 10
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", noise, 16000)
    (tmp_path / "b.wav").write_text("no sound")
    data = module(unseen=str(tmp_path))
    data.prepare_data()
    data.setup()
    assert data.unseen_data is not None and data.unseen_data.num_clips == 1
    (tmp_path / "in" / "a.wav").unlink()
    with pytest.raises(AedError, match="can be read"):
        _ = module(unseen=str(tmp_path)).unseen_data
    with pytest.raises(AedError, match="gone: cannot be read"):
        _ = module(unseen=str(tmp_path / "gone")).unseen_data


# ---- several labels a clip --------------------------------------------------------------------------------


class Mixed(ClipSource):
    """Synthetic clips, some of which are said to be of two classes."""

    name = "mixed"

    def table(self) -> pd.DataFrame:
        table = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1).table()
        second = {"alarm": ("alarm", "hum"), "hum": ("hum",), "rain": ("rain",)}
        return table.assign(labels=pd.Series([second[own[0]] for own in table["labels"]], dtype=object))


def mixed(**changes: Any) -> PatchDataModule:
    data = PatchDataModule(Mixed(), tiny.FRONTEND, cache_workers=1, **changes)
    data.prepare_data()
    data.setup()
    return data


def test_multi_label_batches() -> None:
    data = mixed(multi_label=True)
    assert data.class_names == ("alarm", "hum", "rain")
    assert data.class_counts("train").tolist() == [4, 8, 4]
    batch = next(iter(data.train_dataloader()))
    assert batch.target.shape == (len(batch.patches), 3)
    # who is an alarm is a hum, and nobody is nothing
    assert bool((batch.target[:, 1] >= batch.target[:, 0]).all()) and bool(batch.target.any(dim=1).all())


def test_one_class_is_enough_and_is_told_from_all_others() -> None:
    data = mixed(multi_label=True, class_names=["hum"])
    assert data.class_counts("train").tolist() == [8] and data.datasets["train"].num_clips == 12
    assert data.datasets["train"].targets.shape == (12, 1)


def test_clips_of_none_of_several_classes_are_left_out() -> None:
    data = mixed(multi_label=True, class_names=["hum", "alarm"])
    assert data.class_counts("train").tolist() == [8, 4] and data.datasets["train"].num_clips == 8


def test_without_multi_label_such_clips_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    data = mixed()
    assert data.class_names == ("hum", "rain")
    assert "5 of 15 clips have several labels" in caplog.text


def test_several_labels_in_one_cell(tmp_path: Path) -> None:
    rows = ["filename,category", 'a.wav,"rain, hum"', "b.wav,\"['hum', 'rain']\"", "c.wav,hum"]
    (tmp_path / "set.csv").write_text("\n".join(rows))
    table = EscCsv(str(tmp_path / "set.csv"), str(tmp_path), label_separator=",").table()
    assert list(table["labels"]) == [("rain", "hum"), ("hum", "rain"), ("hum",)] and list(table) == list(COLUMNS)
    (tmp_path / "set.csv").write_text('filename,category\na.wav,","\n')
    with pytest.raises(AedError, match="line 2"):
        EscCsv(str(tmp_path / "set.csv"), str(tmp_path), label_separator=",").table()


# ---- a file in several rows -------------------------------------------------------------------------------


def listed(*rows: tuple[str, tuple[str, ...], Any]) -> pd.DataFrame:
    values = [(Path(path), labels, 1, pd.NA, split) for path, labels, split in rows]
    return pd.DataFrame(values, columns=list(COLUMNS)).astype({"split": object, "labels": object})


def test_rows_of_one_file_are_one_clip_with_all_their_labels() -> None:
    table = listed(("a", ("x",), pd.NA), ("b", ("y",), pd.NA), ("a", ("y", "x"), pd.NA), ("a", ("z",), "calibration"))
    merged = one_row_a_clip(table, "mine")
    assert list(zip(merged["path"].map(str), merged["labels"], strict=True)) == [
        ("a", ("x", "y")), ("b", ("y",)), ("a", ("z",)),
    ]  # fmt: skip
    assert one_row_a_clip(merged, "mine") is merged


def test_rows_of_one_file_in_two_folds_are_refused() -> None:
    table = listed(("a", ("x",), pd.NA), ("a", ("x",), pd.NA)).assign(fold=[1, 2])
    with pytest.raises(AedError, match="mine: rows of a disagree in the column 'fold'"):
        one_row_a_clip(table, "mine")


def test_a_file_in_train_and_test_is_a_leak(tmp_path: Path) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "all.csv").write_text("filename,category\na.wav,x\nb.wav,y\nc.wav,y\n")
    (tmp_path / "test.csv").write_text("filename,category\na.wav,x\n")
    source = EscCsv(str(tmp_path / "all.csv"), str(tmp_path / "audio"), test_csv=str(tmp_path / "test.csv"))
    assert PatchDataModule(source, tiny.FRONTEND, test_fold=None).leaking_sources == [str(tmp_path / "audio" / "a.wav")]


def test_copies_in_train_and_test_are_a_leak(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Noises(tmp_path, [(("a",), 1), (("b",), 1), (("a",), 2), (("b",), 2)])
    data = PatchDataModule(source, tiny.FRONTEND, test_fold=2, cache_workers=1)
    data.setup()
    assert data.leaking_sources == [] and "LEAKS" not in caplog.text
    source.copies = {3: 1}
    data = PatchDataModule(source, tiny.FRONTEND, test_fold=2, cache_workers=1)
    data.setup()
    assert data.leaking_sources == [str(tmp_path / "1.wav")]
    assert "LEAKS: 1 sources" in caplog.text and "LEAKS: 1" in data.note()


def test_clips_without_a_label_are_left_out_of_one_class_a_clip(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = Noises(tmp_path, [(("a",), 1), (("b",), 1), ((), 1), (("a",), 2), (("b",), 2), (("a", "b"), 2)])
    data = PatchDataModule(source, tiny.FRONTEND, test_fold=2, cache_workers=1)
    data.setup()
    assert [data.datasets[split].num_clips for split in ("train", "test")] == [2, 2]
    assert "1 of 6 clips have no label" in caplog.text and "1 of 6 clips have several labels" in caplog.text
    with pytest.raises(AedError, match="no clip has a single label"):
        _ = PatchDataModule(Noises(tmp_path, [((), 1), ((), 2)]), tiny.FRONTEND).table


# ---- several labels that say nothing ----------------------------------------------------------------------


class Noises(ClipSource):
    """Noises with the labels and folds given."""

    name = "noises"

    def __init__(self, folder: Path, rows: list[tuple[tuple[str, ...], int]]) -> None:
        self.folder, self.rows = folder, rows
        self.copies: dict[int, int] = {}

    def table(self) -> pd.DataFrame:
        generator, values = np.random.default_rng(0), []
        for number, (labels, fold) in enumerate(self.rows):
            sf.write(path := self.folder / f"{number}.wav", 0.1 * generator.normal(size=16000), 16000)
            if number in self.copies:
                shutil.copy(self.folder / f"{self.copies[number]}.wav", path)
            values.append((path, labels, fold, pd.NA, pd.NA))
        return pd.DataFrame(values, columns=list(COLUMNS)).astype({"split": object, "labels": object})


def test_a_class_of_every_clip_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = Noises(tmp_path, [(("a", "b"), 1), (("b",), 1), (("a",), 2)])
    PatchDataModule(source, tiny.FRONTEND, multi_label=True, test_fold=2, cache_workers=1).setup()
    assert "every training patch is of ['b']" in caplog.text and "garbage_class" in caplog.text


def test_a_split_without_any_label_cannot_be_scored(tmp_path: Path) -> None:
    source = Noises(tmp_path, [(("a",), 1), (("b",), 1), ((), 2)])
    data = PatchDataModule(source, tiny.FRONTEND, multi_label=True, test_fold=2, cache_workers=1)
    with pytest.raises(AedError, match="no test clip is of any class"):
        data.setup()


def test_unseen_sounds_are_for_one_class_a_clip() -> None:
    with pytest.raises(AedError, match=r"data\.unseen: .*multi_label"):
        tiny.data(multi_label=True, unseen="unused")
