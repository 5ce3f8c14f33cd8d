"""Comparison of runs: against exact tests, enumeration, published figures, and laws that hold for any runs."""

import csv
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from aed.base.errors import AedError
from aed.run import sweep
from aed.run.compare import compare_runs, short_names
from aed.run.tested import read_tested
from aed.scoring.intervals import clips_interval
from aed.scoring.paired import difference, exact_p, holm, interval

CLASSES = ("dog", "rain", "sea, waves")

# ---- statistics ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 5, 1.0), (6, 0, 0.03125), (2, 10, 0.03857421875), (10, 2, 0.03857421875)],
)
def test_p_is_that_of_mcnemars_exact_test(better: int, worse: int, p: float) -> None:
    """By hand: twice the lower tail of a fair coin, at most 1; the last two as statsmodels' mcnemar(exact=True).

    SciPy's test of a fair coin says the same.
    """
    tail = 2 * sum(math.comb(better + worse, k) for k in range(min(better, worse) + 1)) / 2 ** (better + worse)
    assert exact_p(better, worse) == pytest.approx(p) == pytest.approx(min(1.0, tail))
    if better + worse:
        assert exact_p(better, worse) == pytest.approx(binomtest(better, better + worse).pvalue)


@pytest.mark.parametrize(("right", "clips"), [(0, 8), (7, 8), (8, 8), (76, 80), (398, 400)])
def test_intervals_of_a_share_are_wilsons(right: int, clips: int) -> None:
    expected = binomtest(right, clips).proportion_ci(0.95, method="wilson")
    assert clips_interval(right, clips) == pytest.approx((expected.low, expected.high), abs=1e-7)
    column = (np.arange(clips) < right)[:, None]
    assert interval(column) == clips_interval(right, clips)


def test_holms_example() -> None:
    """Aickin and Gensler, Am. J. Public Health 86:726, 1996, by the rule: 0.01 x 4, 0.03 x 3, 0.04 x 2, 0.005 x 5."""
    assert holm([0.01, 0.04, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm([]) == [] and holm([0.6, 0.7]) == [1.0, 1.0]


sides = st.integers(1, 12).flatmap(
    lambda clips: st.tuples(
        *(
            st.integers(1, 3).flatmap(
                lambda seeds: st.lists(
                    st.lists(st.booleans(), min_size=seeds, max_size=seeds), min_size=clips, max_size=clips
                )
            )
            for _ in range(2)
        )
    )
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(pair=sides)
def test_a_swap_turns_signs_and_nothing_else(pair: tuple[list[list[bool]], list[list[bool]]]) -> None:
    one, other = (np.array(side) for side in pair)
    there, back = (difference(*order, draws=200) for order in ((one, other), (other, one)))
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)
    assert (back.better, back.worse, back.p) == (there.worse, there.better, there.p)
    assert there.value == pytest.approx(one.mean() - other.mean())
    assert -1 <= there.low <= there.high <= 1 and there.better + there.worse <= there.clips == len(one)


@settings(deadline=None, derandomize=True, max_examples=30)
@given(pair=sides)
def test_beside_itself_nothing_is_better(pair: tuple[list[list[bool]], list[list[bool]]]) -> None:
    one = np.array(pair[0])
    found = difference(one, one, draws=200)
    assert (found.value, found.better, found.worse, found.p) == (0, 0, 0, 1)
    assert found.low <= 0 <= found.high


def test_the_bootstrap_is_that_of_all_resamples() -> None:
    """Three clips, two seeds: every resample of clips and of seeds, equally likely, counted out."""
    one = np.array([[True, False], [True, True], [False, True]])
    other = np.array([[False, False], [True, False], [False, True]])
    values = [
        (one[np.ix_(clips, own)].mean() - other[np.ix_(clips, others)].mean())
        for clips in itertools.product(range(3), repeat=3)
        for own in itertools.product(range(2), repeat=2)
        for others in itertools.product(range(2), repeat=2)
    ]
    found = difference(one, other, draws=200_000)
    check_ends(np.array(values), (found.low, found.high))
    shares = [
        one[np.ix_(clips, own)].mean()
        for clips in itertools.product(range(3), repeat=3)
        for own in itertools.product(range(2), repeat=2)
    ]
    check_ends(np.array(shares), interval(one, draws=200_000))


def check_ends(values: np.ndarray, ends: tuple[float, float]) -> None:
    """Each end is a quantile of the values: not more than its share lies beyond it, and with the equal ones it does."""
    low, high = ends
    assert np.mean(values < low - 1e-9) <= 0.026 and np.mean(values <= low + 1e-9) >= 0.024
    assert np.mean(values > high + 1e-9) <= 0.026 and np.mean(values >= high - 1e-9) >= 0.024


def test_of_several_seeds_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """60 clips, each with its own chance to be decided rightly, five seeds: of 200 intervals at least 92 %."""
    random = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        chance = random.beta(4, 1, (60, 1))
        low, high = interval(random.random((60, 5)) < chance, draws=500)
        held += low <= 0.8 <= high
    assert held >= binom.ppf(0.001, 200, 0.92)


# ---- runs ----------------------------------------------------------------------------------------------------


def write_run(
    folder: Path,
    decisions: Mapping[str, tuple[str, str]],
    *,
    prefixes: Sequence[str] = ("test", "test_int8"),
    classes: Sequence[str] = CLASSES,
    column: str = "category",
    config: Mapping[str, Any] | None = None,
    overrides: Sequence[str] = (),
) -> Path:
    """A run that decided clips: name -> (label, decision)."""
    (folder / ".hydra").mkdir(parents=True, exist_ok=True)
    (folder / ".hydra" / "config.yaml").write_text(json.dumps(config or {"seed": 0, "data": {"test_fold": 1}}))
    (folder / ".hydra" / "overrides.yaml").write_text(json.dumps(list(overrides)))
    metrics = {"data/test_clips": float(len(decisions))}
    for prefix in prefixes:
        with (folder / f"{prefix}_clips.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["filename", column, "decided", *classes])
            for name, (label, own) in decisions.items():
                writer.writerow([name, label, own, *(str(float(each == own)) for each in classes)])
        if column == "category":
            right = sum(label == own for label, own in decisions.values())
            metrics[f"{prefix}/clip_acc"] = right / len(decisions)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def decided(wrong: Sequence[int], first: int = 0, number: int = 12) -> dict[str, tuple[str, str]]:
    """Clips of the classes in turn, some of them decided wrongly."""
    labels = {at: CLASSES[at % 3] for at in range(first, first + number)}
    other = {CLASSES[at]: CLASSES[at - 1] for at in range(3)}
    return {f"{at:03d}.wav": (label, other[label] if at in wrong else label) for at, label in labels.items()}


def cross_validation(folder: Path, wrong: Mapping[tuple[int, int], Sequence[int]], **run: Any) -> Path:
    """A multirun: (seed, fold) -> clips decided wrongly."""
    for number, ((seed, fold), clips) in enumerate(wrong.items()):
        config = {"seed": seed, "data": {"test_fold": fold}}
        typed = [f"seed={seed}", f"data.test_fold={fold}", *run.get("more", {}).get(number, ())]
        write_run(folder / str(number), decided(clips, 12 * fold), config=config, overrides=typed)
    return folder


def test_two_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one", decided([0, 1, 2, 3, 4, 6]))
    two = write_run(tmp_path / "two", decided([0, 5]))
    (two / "target/emulator/b").mkdir(parents=True)
    figure = {"value": 2048, "source": "emulated"}
    cost = {
        "target": "emulator",
        "board": "b",
        "flash_bytes": figure,
        "instructions": {"value": 3e6, "source": "emulated"},
    }
    (two / "target/emulator/b/report.json").write_text(json.dumps(cost | {"frontend": {"flash_bytes": figure}}))
    rows = compare_runs([str(one), str(two)], output=str(tmp_path / "out"))
    every = next(row for row in rows if row.scope == "all" and row.model == "int8")
    assert (every.difference.value, every.difference.better, every.difference.worse) == (pytest.approx(4 / 12), 5, 1)
    assert every.difference.p == every.p_holm == binomtest(1, 6).pvalue
    dog = next(row for row in rows if row.name == "dog" and row.model == "float")
    assert (dog.difference.clips, dog.difference.value) == (4, pytest.approx(2 / 4))
    said = capsys.readouterr().out
    assert "+33.33" in said and "4 of 12 clips: no difference to one is shown" in said and "2.0" in said
    written = list(csv.DictReader((tmp_path / "out" / "differences.csv").open()))
    assert len(written) == len(rows) == 2 * (1 + len(CLASSES))
    assert written[0]["run"] == "two" and float(written[0]["difference"]) == pytest.approx(4 / 12, abs=1e-6)
    unlike = list(csv.DictReader((tmp_path / "out" / "clips.csv").open()))
    assert {row["filename"] for row in unlike} == {f"{at:03d}.wav" for at in (1, 2, 3, 4, 5, 6)}
    assert unlike[0]["one"] == "0" and unlike[0]["two"] == "1"
    assert [row["part"] for row in csv.DictReader((tmp_path / "out" / "costs.csv").open())] == ["net", "front end"]
    assert (tmp_path / "out" / "differences.png").read_bytes().startswith(b"\x89PNG")


def test_a_difference_is_said_to_be_one_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one", decided(range(8)))
    compare_runs([str(one), str(write_run(tmp_path / "two", decided([])))])
    assert "two, int8: better than one: +66.67 points, 8 of 12 clips" in capsys.readouterr().out


def test_multiruns_over_folds_and_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = [(seed, fold) for seed in (0, 1) for fold in (1, 2)]
    one = cross_validation(tmp_path / "one", {job: [12, 24, 25] for job in jobs})
    two = cross_validation(tmp_path / "two", {job: [13] if job[0] else [] for job in jobs})
    rows = [row for row in compare_runs([str(one), str(two)]) if row.model == "int8"]
    parts = {(row.scope, row.name): row.difference for row in rows}
    every = parts["all", ""]
    assert (every.clips, every.better, every.worse) == (24, 3, 1)
    assert every.value == pytest.approx((3 - 1 / 2) / 24) and every.low < every.value < every.high
    assert parts["fold", "1"].value == pytest.approx((1 - 1 / 2) / 12) and parts["fold", "2"].value == pytest.approx(
        2 / 12
    )
    assert sum(parts["class", name].clips for name in CLASSES) == 24
    assert "each fold" in capsys.readouterr().out


def test_a_summary_has_the_interval_over_clips_and_seeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = {(seed, fold): [12 + seed, 24] for seed in (0, 1) for fold in (1, 2)}
    folder = cross_validation(tmp_path / "sweep", jobs)
    summary = sweep.summarise(folder)
    entry, tested = summary["test_int8/clip_acc"], read_tested(folder, "int8")
    assert tested is not None and tested.right.shape == (24, 2)
    assert entry["share"] == pytest.approx(entry["mean"]) == pytest.approx(22 / 24) and entry["clips"] == 24
    assert (entry["low"], entry["high"]) == interval(tested.right)
    row = next(iter(csv.DictReader((folder / "summary.csv").open())))
    ends = float(row["test/clip_acc.low"]), float(row["test/clip_acc.high"])
    assert ends == pytest.approx(clips_interval(11, 12))
    sweep.show(folder, summary)
    assert "one of 24 clips is 4.17 points" in " ".join(capsys.readouterr().out.split())


def test_jobs_of_several_recipes_have_no_common_interval(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rates = {at: [f"model.optimizer.lr={at}"] for at in range(2)}
    folder = cross_validation(tmp_path / "sweep", {(0, 1): [], (1, 1): []}, more=rates)
    with caplog.at_level("INFO"):
        assert "low" not in sweep.summarise(folder)["test/clip_acc"]
    assert "jobs 0 and 1 differ in model.optimizer.lr=0" in caplog.text


def test_a_multi_label_clip_is_right_where_all_its_classes_are(tmp_path: Path) -> None:
    rows = {"a": ("dog,sea, waves", "dog,sea, waves"), "b": ("", "rain"), "c": ("rain", "rain")}
    run = write_run(tmp_path / "run", rows, column="labels")
    tested = read_tested(run, "float")
    assert tested is not None and tested.task == "multi_label"
    assert tested.right[:, 0].tolist() == [True, False, True]
    assert {name: own[:, 0].tolist() for name, own in tested.by_class.items()} == {
        "dog": [True] * 3, "rain": [True, False, True], "sea, waves": [True] * 3,
    }  # fmt: skip


def test_a_rejected_clip_counts_as_the_metrics_count_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", decided([3]), prefixes=["test"])
    text = (run / "test_clips.csv").read_text().replace("000.wav,dog,dog", "000.wav,dog,unknown")
    (run / "test_clips.csv").write_text(text)
    tested = read_tested(run, "float")
    assert tested is not None and tested.right.sum() == 11, "by its greatest posterior"
    assert read_tested(run, "int8") is None


# ---- what cannot be compared ---------------------------------------------------------------------------------


def test_what_cannot_be_compared_is_said(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", decided([]))
    (tmp_path / "empty").mkdir()
    relabelled = decided([]) | {"000.wav": ("rain", "rain")}
    others = {
        "empty: no run that was tested": tmp_path / "empty",
        "nowhere: no such folder": tmp_path / "nowhere",
        "'cat' is in": write_run(tmp_path / "cat", decided([]), classes=("dog", "rain", "sea, waves", "cat")),
        "were tested on other clips: 12 of": write_run(tmp_path / "other", decided([], 50)),
        "000.wav is 'dog' in the one and 'rain'": write_run(tmp_path / "label", relabelled),
        "any number": write_run(tmp_path / "several", decided([]), column="labels"),
        "damaged": write_run(tmp_path / "damaged", decided([])),
        "metrics.json 50.00 %": write_run(tmp_path / "stale", decided([])),
        "a clip occurs twice": write_run(tmp_path / "twice", decided([])),
    }
    (tmp_path / "damaged" / "test_clips.csv").write_text("filename,category\nx\n")
    (tmp_path / "stale" / "metrics.json").write_text('{"test/clip_acc": 0.5}')
    rows = (tmp_path / "twice" / "test_clips.csv").read_text()
    (tmp_path / "twice" / "test_clips.csv").write_text(rows + rows.splitlines()[-1] + "\n")
    for words, other in others.items():
        with pytest.raises(AedError) as error:
            compare_runs([str(one), str(other)])
        assert words in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(AedError, match="at least two"):
        compare_runs([str(one)])
    with pytest.raises(AedError, match="draws"):
        compare_runs([str(one), str(one)], draws=1)


def test_jobs_that_are_not_repetitions_are_said(tmp_path: Path) -> None:
    half = cross_validation(tmp_path / "half", {(0, 1): [], (0, 2): [], (1, 1): []})
    twice = cross_validation(tmp_path / "twice", {(0, 1): [], (1, 1): []})
    (twice / "1/.hydra/config.yaml").write_text((twice / "0/.hydra/config.yaml").read_text())
    untested = cross_validation(tmp_path / "untested", {(0, 1): [], (1, 1): []})
    (untested / "1/test_clips.csv").unlink()
    words = {half: "seed 1 has decided 12 of 24", twice: "an earlier job with seed 0", untested: "not tested"}
    for folder, said in words.items():
        with pytest.raises(AedError, match=said):
            read_tested(folder, "float")


def test_old_results_stay_where_a_comparison_fails(tmp_path: Path) -> None:
    one, two = (write_run(tmp_path / name, decided([])) for name in ("one", "two"))
    compare_runs([str(one), str(two)], output=str(tmp_path / "out"))
    before = (tmp_path / "out" / "differences.csv").read_bytes()
    with pytest.raises(AedError):
        compare_runs([str(one), str(tmp_path / "nowhere")], output=str(tmp_path / "out"))
    assert (tmp_path / "out" / "differences.csv").read_bytes() == before
    with pytest.raises(AedError, match="holds something else"):
        compare_runs([str(one), str(two)], output=str(one))


def test_names_are_short_and_their_own() -> None:
    assert short_names([Path("a/x/1"), Path("a/y/1/")]) == ["x/1", "y/1"]
    assert short_names([Path("a/x"), Path("a/x"), Path("a/x/1")]) == ["x", "x (2)", "x/1"]
