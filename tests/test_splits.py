"""Splits: every clip in one part, no recording on both sides, ST's random split clip for clip."""

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from aed.base.errors import AedError
from aed.datamodules.sources.clips import ESC10
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.splits import assign_splits, shared_sources

DEFAULTS: dict[str, Any] = {
    "method": "folds",
    "test_fold": 5,
    "val_fold": None,
    "test_fraction": 0.2,
    "val_fraction": 0.0,
    "seed": 0,
}
PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def split(table: pd.DataFrame, **changes: Any) -> "pd.Series[str]":
    return assign_splits(table, **{**DEFAULTS, **changes})


def make_table(rows: Iterable[tuple[str, object, object]], preset: object = pd.NA) -> pd.DataFrame:
    """A clip table of rows (category, fold, src_file), all of one preset split."""
    values = [(f"{i}.wav", (name,), *row, preset) for i, (name, *row) in enumerate(rows)]
    return pd.DataFrame(values, columns=list(COLUMNS)).astype({"split": object})


def balanced(classes: int = 3, sources: int = 10, takes: int = 2, folds: int = 5) -> pd.DataFrame:
    """``sources`` recordings of each class, cut into ``takes`` clips, a recording in one fold."""
    return make_table(
        (f"class{c}", s % folds + 1, f"{c}-{s}") for c in range(classes) for s in range(sources) for _ in range(takes)
    )


def count_shared(table: pd.DataFrame, parts: "pd.Series[str]") -> int:
    """Recordings in more than one part, counted by plain sets."""
    found: dict[object, set[str]] = {}
    for source, part in zip(table["src_file"], parts, strict=True):
        found.setdefault(source, set()).add(part)
    return sum(len(names) > 1 for names in found.values())


def check_complete(table: pd.DataFrame, parts: "pd.Series[str]") -> None:
    assert parts.index.equals(table.index)
    assert set(parts) <= {"train", "val", "test"}


rows = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 14)), min_size=1, max_size=60)


# ---- folds ------------------------------------------------------------------------------------------------


@PROPERTY
@given(rows, st.integers(1, 5), st.none() | st.integers(1, 5))
def test_folds_share_no_source_where_the_folds_do_not(
    pairs: list[tuple[str, int]], test_fold: int, val_fold: int | None
) -> None:
    table = make_table((category, source % 5 + 1, str(source)) for category, source in pairs)
    present = set(table["fold"])
    if test_fold == val_fold or not {test_fold, val_fold or test_fold} <= present:
        with pytest.raises(AedError, match="fold"):
            split(table, test_fold=test_fold, val_fold=val_fold)
        return
    parts = split(table, test_fold=test_fold, val_fold=val_fold)
    check_complete(table, parts)
    expected = [{test_fold: "test", val_fold: "val"}.get(fold, "train") for fold in table["fold"]]
    assert list(parts) == expected
    assert count_shared(table, parts) == 0


@pytest.mark.parametrize("test_fold", [1, 2, 3, 4, 5])
def test_each_fold_of_esc10_is_80_clips_8_a_class_and_shares_nothing(esc10: object, test_fold: int) -> None:
    table = ESC10().table()
    parts = split(table, test_fold=test_fold, val_fold=test_fold % 5 + 1)
    for part, fold in (("test", test_fold), ("val", test_fold % 5 + 1)):
        chosen = table[parts == part]
        assert set(chosen["fold"]) == {fold}
        assert chosen["labels"].value_counts().to_dict() == dict.fromkeys(set(table["labels"]), 8)
    assert parts.value_counts().to_dict() == {"train": 240, "val": 80, "test": 80}
    assert count_shared(table, parts) == 0
    assert shared_sources(table.assign(split=parts)) == []


def test_without_test_or_val_fold_all_clips_train() -> None:
    assert set(split(balanced(), test_fold=None)) == {"train"}
    assert set(split(balanced(), test_fold=2)) == {"train", "test"}
    assert set(split(balanced(), test_fold=None, val_fold=1)) == {"train", "val"}


def test_test_fold_and_val_fold_must_differ() -> None:
    with pytest.raises(AedError, match="both 3"):
        split(balanced(), test_fold=3, val_fold=3)


def test_test_fold_and_val_fold_must_differ_also_beside_a_calibration_csv() -> None:
    own = make_table([("class0", pd.NA, "own")], preset="calibration")
    with pytest.raises(AedError, match="both 3"):
        split(pd.concat([balanced(), own], ignore_index=True), test_fold=3, val_fold=3)


def test_test_fold_that_a_test_csv_replaces_may_be_the_val_fold() -> None:
    own = make_table([("class0", pd.NA, "own"), ("class1", pd.NA, "own")], preset="test")
    table = pd.concat([balanced(), own], ignore_index=True)
    parts = split(table, test_fold=5, val_fold=5)
    assert set(parts[table["fold"] == 5]) == {"val"}


@pytest.mark.parametrize("part", ["test_fold", "val_fold"])
def test_fold_that_does_not_exist_is_named_with_those_that_do(part: str) -> None:
    table = balanced(folds=4)
    with pytest.raises(AedError, match=rf"{part}.*\[1, 2, 3, 4\].*9"):
        split(table, **{"test_fold": None, part: 9})


@pytest.mark.parametrize("holes", [slice(None), slice(3, 4)])
def test_missing_fold_numbers_are_an_error_with_a_way_out(holes: slice) -> None:
    table = balanced().astype({"fold": object})
    table.loc[table.index[holes], "fold"] = pd.NA
    with pytest.raises(AedError, match="split=source"):
        split(table)


# ---- random -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 123, 133])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.33])
def test_random_is_the_split_of_the_zoo(seed: int, fraction: float) -> None:
    table = balanced(classes=4, sources=20, takes=3)
    parts = split(table, method="random", test_fraction=fraction, seed=seed)
    train, test = train_test_split(table, test_size=fraction, random_state=seed, stratify=table["labels"])
    check_complete(table, parts)
    assert set(parts.index[parts == "test"]) == set(test.index)
    assert set(parts.index[parts == "train"]) == set(train.index)


def test_random_split_of_esc10_is_the_zoos_and_leaks(esc10: object) -> None:
    table = ESC10().table()
    parts = split(table, method="random", seed=133)
    _, test = train_test_split(table, test_size=0.2, random_state=133, stratify=table["labels"])
    assert set(parts.index[parts == "test"]) == set(test.index)
    shared = shared_sources(table.assign(split=parts))
    assert len(shared) == count_shared(table, parts) > 10
    assert shared == sorted(shared)
    assert set(shared) <= set(table["src_file"])


@PROPERTY
@given(st.lists(st.sampled_from("abc"), min_size=6, max_size=80), st.integers(0, 99), st.sampled_from([0.0, 0.2]))
def test_random_puts_every_clip_somewhere(categories: list[str], seed: int, val_fraction: float) -> None:
    table = make_table((category, pd.NA, pd.NA) for category in categories)
    try:
        parts = split(table, method="random", seed=seed, val_fraction=val_fraction)
    except AedError:
        assert min(table["labels"].value_counts()) <= 3 or len(categories) < 25  # too few to stratify
        return
    check_complete(table, parts)
    assert set(parts) == {"train", "test"} | ({"val"} if val_fraction else set())


def test_random_split_needs_two_clips_of_each_class() -> None:
    table = make_table([*[("a", 1, "s")] * 10, ("hermit", 1, "t")])
    with pytest.raises(AedError, match="hermit"):
        split(table, method="random")


@pytest.mark.parametrize(("clips", "fractions"), [(2, (0.1, 0.0)), (3, (0.2, 0.0)), (3, (0.1, 0.1))])
def test_few_clips_a_class_are_split_as_well_as_they_can_be(
    clips: int, fractions: tuple[float, float], caplog: pytest.LogCaptureFixture
) -> None:
    table = make_table((name, 1, "s") for name in "abcdefgh" for _ in range(clips))
    parts = split(table, method="random", test_fraction=fractions[0], val_fraction=fractions[1])
    wanted = {"train", "test"} | ({"val"} if fractions[1] else set())
    for category in "abcdefgh":
        assert set(parts[table["labels"] == (category,)]) == wanted
    if len(table) * fractions[0] < 8:
        assert "less than one of each of 8 classes" in caplog.text


# ---- source -----------------------------------------------------------------------------------------------


@PROPERTY
@given(rows, st.integers(0, 99), st.sampled_from([0.1, 0.2, 0.5]), st.sampled_from([0.0, 0.1, 0.3]))
def test_source_split_never_shares_a_source(
    pairs: list[tuple[str, int]], seed: int, test_fraction: float, val_fraction: float
) -> None:
    table = make_table((category, pd.NA, str(source)) for category, source in pairs)
    try:
        parts = split(
            table, method="source", test_fraction=test_fraction, val_fraction=val_fraction, seed=seed, test_fold=None
        )
    except AedError as error:
        assert "one recording each" in str(error) or "val_fraction" in str(error)
        return
    check_complete(table, parts)
    assert count_shared(table, parts) == 0
    assert shared_sources(table.assign(split=parts)) == []


@PROPERTY
@given(
    st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=12), min_size=2, max_size=4),
    st.sampled_from([0.1, 0.2, 0.5, 0.8, 0.95]),
    st.integers(0, 99),
)
def test_source_split_of_pure_recordings_has_every_class_on_both_sides(
    sizes: list[list[int]], fraction: float, seed: int
) -> None:
    """``sizes[c][s]`` clips of recording s of class c."""
    table = make_table(
        (f"c{c}", pd.NA, f"{c}-{s}") for c, sources in enumerate(sizes) for s, n in enumerate(sources) for _ in range(n)
    )
    parts = split(table, method="source", test_fraction=fraction, seed=seed)
    for part in ("train", "test"):
        assert set(table["labels"][parts == part]) == set(table["labels"])


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.8])
def test_source_split_takes_about_the_share_asked_for(fraction: float) -> None:
    table = balanced(classes=4, sources=40, takes=2)
    parts = split(table, method="source", test_fraction=fraction)
    for _, group in parts.groupby(table["labels"]):
        assert (group == "test").mean() == pytest.approx(fraction, abs=0.04)


def test_source_split_takes_both_shares_of_all_clips() -> None:
    table = balanced(classes=4, sources=40, takes=2)
    parts = split(table, method="source", test_fraction=0.2, val_fraction=0.2)
    assert (parts == "test").mean() == pytest.approx(0.2, abs=0.03)
    assert (parts == "val").mean() == pytest.approx(0.2, abs=0.03)


def test_one_class_of_two_recordings_does_not_change_the_share_of_the_others() -> None:
    rare = make_table([("rare", pd.NA, "r0"), ("rare", pd.NA, "r1")])
    table = pd.concat([balanced(classes=5, sources=20), rare], ignore_index=True)
    parts = split(table, method="source", test_fraction=0.2)
    assert set(table["labels"][parts == "test"]) == set(table["labels"])
    assert (parts[table["labels"] != "rare"] == "test").mean() == pytest.approx(0.2, abs=0.06)


def test_large_recording_is_not_taken_for_a_small_share() -> None:
    """Whatever the seed: 60 recordings of one clip serve the 20 % asked for exactly, the one of 40 clips cannot."""
    table = make_table([*[("a", pd.NA, "big")] * 40, *[("a", pd.NA, f"small{i}") for i in range(60)]])
    shares = {seed: (split(table, method="source", seed=seed) == "test").mean() for seed in range(20)}
    assert {seed: share for seed, share in shares.items() if abs(share - 0.2) > 0.05} == {}


def test_smaller_of_two_recordings_is_taken_for_a_small_share() -> None:
    table = make_table([*[("a", pd.NA, "big")] * 8, *[("a", pd.NA, "small")] * 2])
    for seed in range(10):
        assert set(table["src_file"][split(table, method="source", seed=seed) == "test"]) == {"small"}


def test_recordings_of_several_classes_leave_each_class_on_both_sides() -> None:
    """Class a has two recordings, of which b has clips too: one of them must stay on each side."""
    table = make_table([("a", pd.NA, "0"), ("a", pd.NA, "1"), *[("b", pd.NA, str(i)) for i in range(10)]])
    for seed in range(20):
        parts = split(table, method="source", seed=seed)
        assert count_shared(table, parts) == 0
        assert {part: set(table["labels"][parts == part]) for part in ("train", "test")} == {
            "train": {("a",), ("b",)},
            "test": {("a",), ("b",)},
        }, seed


def test_source_split_of_esc10(esc10: object) -> None:
    table = ESC10().table()
    for seed in range(2):
        parts = split(table, method="source", val_fraction=0.2, seed=seed)
        assert count_shared(table, parts) == 0
        assert 60 <= (parts == "test").sum() <= 100
        assert set(table["labels"][parts == "test"]) == set(table["labels"])


def test_source_split_without_src_file_is_an_error_with_a_way_out() -> None:
    table = balanced().assign(src_file=pd.NA)
    with pytest.raises(AedError, match=r"src_file.*source_pattern.*split=folds"):
        split(table, method="source")


def test_too_few_clips_for_three_parts_say_what_is_needed() -> None:
    table = make_table((name, 1, "s") for name in "abcdefgh" for _ in range(3))
    with pytest.raises(
        AedError, match=r"val and train each need at least one clip per class, .* or use data.val_fraction=0"
    ):
        split(table, method="random", test_fraction=0.4, val_fraction=0.4)


def test_a_clip_without_a_source_is_one_of_its_own_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    table = make_table((name, pd.NA, f"{name}{number // 3}") for name in "ab" for number in range(30))
    table.loc[table.index[[0, 1, 40]], "src_file"] = pd.NA
    parts = split(table, method="source")
    check_complete(table, parts)
    assert "3 of 60 clips have no known recording" in caplog.text
    assert shared_sources(table.assign(split=parts)) == []


def test_source_split_needs_two_recordings_of_each_class() -> None:
    table = make_table([*(("a", 1, str(i)) for i in range(6)), ("hermit", 1, "x"), ("hermit", 1, "x")])
    with pytest.raises(AedError, match="hermit"):
        split(table, method="source")


# ---- what all have in common ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", "source"])
def test_seeds_decide(method: str) -> None:
    table = balanced()

    def of(seed: int) -> list[str]:
        return list(split(table, method=method, seed=seed, val_fraction=0.2))

    assert of(1) == of(1)
    assert len({tuple(of(seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("method", ["random", "source"])
@pytest.mark.parametrize(
    "fractions", [{"test_fraction": 1.0}, {"test_fraction": -0.1}, {"test_fraction": 0.6, "val_fraction": 0.4}]
)
def test_impossible_shares_are_errors(method: str, fractions: dict[str, float]) -> None:
    with pytest.raises(AedError, match=r"_fraction"):
        split(balanced(), method=method, **fractions)


@pytest.mark.parametrize("method", ["folds", "random", "source"])
def test_zero_fraction_or_no_fold_leaves_all_to_training(method: str) -> None:
    assert set(split(balanced(), method=method, test_fold=None, test_fraction=0.0)) == {"train"}


@pytest.mark.parametrize("method", ["folds", "random", "source"])
@pytest.mark.parametrize("given_part", ["test", "val", "calibration"])
def test_given_rows_keep_their_split_and_no_more_are_taken(method: str, given_part: str) -> None:
    own = make_table([("class0", pd.NA, pd.NA), ("class1", pd.NA, pd.NA)], preset=given_part)
    table = pd.concat([balanced(), own], ignore_index=True)
    parts = split(table, method=method, val_fold=1, val_fraction=0.2)
    assert set(parts[table.index[-2:]]) == {given_part}
    assert set(parts[table.index[:-2]]) == {"train", "val", "test"} - {given_part}


def test_given_rows_do_not_count_for_the_share() -> None:
    own = make_table([(f"class{i % 3}", pd.NA, pd.NA) for i in range(300)], preset="calibration")
    table = pd.concat([balanced(), own], ignore_index=True)
    parts = split(table, method="random", test_fraction=0.2)
    assert (parts == "test").sum() == 12  # of 60


@pytest.mark.parametrize("method", ["folds", "random", "source"])
def test_table_is_left_alone(method: str) -> None:
    table = balanced()
    before = table.copy(deep=True)
    split(table, method=method, val_fold=1, val_fraction=0.2)
    pd.testing.assert_frame_equal(table, before)


def test_given_train_rows_and_foreign_index_are_kept() -> None:
    own = make_table([("class0", 5, "x")], preset="train")
    table = pd.concat([balanced(), own], ignore_index=True)
    table.index = table.index[::-1] * 7
    parts = split(table)
    assert parts.iloc[-1] == "train"
    assert (parts == "test").sum() == (balanced()["fold"] == 5).sum()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: [("a", "s", "train"), ("a", "s", "test"), ("a", "t", "train")], ["s"]),
        (lambda: [("a", "s", "val"), ("a", "s", "test")], ["s"]),
        (lambda: [("a", "s", "train"), ("a", "s", "calibration")], []),
        (lambda: [("a", pd.NA, "train"), ("a", pd.NA, "test")], []),
        (lambda: [("a", "9", "train"), ("b", "9", "val"), ("a", "10", "val"), ("b", "10", "test")], ["10", "9"]),
    ],
)
def test_shared_sources(make: Callable[[], list[tuple[str, object, str]]], expected: list[str]) -> None:
    table = pd.DataFrame(make(), columns=["category", "src_file", "split"])
    assert shared_sources(table) == expected


def several(labels: list[tuple[str, ...]]) -> pd.DataFrame:
    rows = [(f"{i}.wav", own, pd.NA, f"s{i}", pd.NA) for i, own in enumerate(labels)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"split": object})


@pytest.mark.parametrize("method", ["random", "source"])
def test_clips_of_several_labels_are_split_by_class_though_no_two_have_the_same(method: str) -> None:
    table = several([tuple(f"c{bit}" for bit in range(6) if (number + 1) >> bit & 1) for number in range(60)])
    found = split(table, method=method)
    pairs = table.assign(split=found).explode("labels")
    shares = (pairs["split"] == "test").groupby(pairs["labels"]).mean()
    assert len(shares) == 6 and shares.between(0.1, 0.35).all()


@pytest.mark.parametrize("method", ["random", "source"])
def test_clips_without_a_label_are_on_both_sides(method: str) -> None:
    table = several([("a",), ("b",), ()] * 20)
    found = split(table, method=method)
    assert found[table["labels"].map(len) == 0].value_counts()["test"] == pytest.approx(4, abs=1)
