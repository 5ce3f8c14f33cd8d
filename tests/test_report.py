import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from aed.base.errors import AedError
from aed.scoring import tables
from aed.scoring.decision import Decision
from aed.scoring.pictures.curves import plot_curves
from aed.scoring.pictures.rejection import plot_rejection
from aed.scoring.pictures.split import plot_scores
from aed.scoring.rejection import judge_rejection
from aed.scoring.scores import Scores, score

pytestmark = pytest.mark.usefixtures("whole_pictures")

NAMES = ["dog", "rain", "sea, waves"]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def single() -> Scores:
    posteriors = torch.tensor([[0.7, 0.2, 0.1], [0.9, 0.0, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4]])
    return score(
        posteriors, torch.tensor([0, 0, 2, 1]), torch.tensor([0, 0, 1, 2]), NAMES, Decision(unknown_threshold=0.5)
    )


@pytest.fixture
def several() -> Scores:
    posteriors = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.8, 0.1], [0.1, 0.2, 0.4]])
    target = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 1, 0]])
    return score(posteriors, target, torch.tensor([0, 1, 2]), NAMES, Decision(thresholds=(0.5, 0.7, 0.6)))


def many(classes: int, task: str) -> tuple[Scores, list[str]]:
    generator = torch.Generator().manual_seed(0)
    posteriors, clip = torch.rand(300, classes, generator=generator).softmax(dim=1), torch.arange(300)
    target = clip % classes
    if task == "multi_label":
        target = torch.nn.functional.one_hot(target, classes).float()
    names = [f"class_{i:03d}" for i in range(classes)]
    return score(posteriors, target, clip, names), names


def printed(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """Cells of the rows of the tables printed since the last call."""
    lines = capsys.readouterr().out.replace("┃", "│").splitlines()
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]


def prefixed(scores: Scores) -> dict[str, float]:
    return {f"test/{key}": value for key, value in scores.metrics.items()}


def test_a_clip_under_the_threshold_is_written_as_unknown(tmp_path: Path, single: Scores) -> None:
    tables.write_clips(tmp_path / "clips.csv", ["a.wav", "b.wav", "c.wav"], single, NAMES)
    with (tmp_path / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["filename"], r["category"], r["decided"]) for r in rows] == [
        ("a.wav", "dog", "dog"),
        ("b.wav", "sea, waves", "rain"),
        ("c.wav", "rain", "unknown"),
    ]
    assert [float(rows[0][name]) for name in NAMES] == pytest.approx([0.8, 0.1, 0.1])


def test_a_clip_with_several_labels_has_them_in_one_field(tmp_path: Path, several: Scores) -> None:
    tables.write_clips(tmp_path / "clips.csv", ["a.wav", "b.wav", "c.wav"], several, NAMES)
    with (tmp_path / "clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["labels"], r["decided"]) for r in rows] == [("dog", "dog"), ("dog,rain", "dog,rain"), ("rain", "")]


def test_the_table_of_single_label_scores(capsys: pytest.CaptureFixture[str], single: Scores) -> None:
    tables.print_scores("test", prefixed(single), [1, 1, 1], NAMES, "a note")
    assert printed(capsys) == [
        ["class", "number", "patches", "clips"],
        ["dog", "1", "100.00", "100.00"],
        ["rain", "1", "0.00", "0.00"],
        ["sea, waves", "1", "0.00", "0.00"],
        ["all", "3", "50.00", "33.33"],
        ["not unknown: 66.67 %", "", "", "50.00"],
    ]


def test_the_table_of_multi_label_scores(capsys: pytest.CaptureFixture[str], several: Scores) -> None:
    tables.print_scores("test", prefixed(several), [2, 2, 0], NAMES)
    rows = {row[0]: row[1:] for row in printed(capsys)}
    assert rows["dog"] == ["2", "100.00", "100.00", "100.00"]
    assert rows["rain"] == ["2", "83.33", "83.33", "66.67"]  # precision 1 at the first, 2 of 3 at the tie of two others
    assert rows["sea, waves"] == ["0", "-", "-", "-"]
    assert rows["mean"] == ["4", "91.67", "91.67", "83.33"]


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_of_many_classes_the_best_and_the_worst_are_listed(capsys: pytest.CaptureFixture[str], task: str) -> None:
    scores, names = many(100, task)
    tables.print_scores("test", prefixed(scores), [3] * 100, names)
    rows = [row for row in printed(capsys) if row[0].startswith(("class_", "..."))]
    level = "clip_acc/" if task == "single_label" else "clip_ap/"
    ranked = sorted((scores.metrics[level + name] for name in names), reverse=True)
    shown = [float(row[3]) for row in rows if row[0] != "... 40 more"]
    assert len(rows) == tables.MANY + 1
    assert shown == pytest.approx([100 * value for value in ranked[:30] + ranked[-30:]], abs=0.006)


def test_float_beside_int8_of_both_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    agreement = {"patch_agreement": 0.9, "clip_agreement": 1.0}
    facts: dict[str, Any] = {"clips": 80, "sqnr_db": {"median": 20.0}, **agreement}
    accuracy = {"float": {"patch_acc": 0.8, "clip_acc": 0.9}, "int8": {"patch_acc": 0.7, "clip_acc": 0.9}}
    precision = {"float": {"patch_map": 0.4, "clip_map": 0.5}, "int8": {"patch_map": 0.4, "clip_map": 0.6}}
    tables.print_comparison({"val": facts | accuracy, "test": facts | precision})
    assert [row[:6] for row in printed(capsys)[1:]] == [
        ["val", "patches", "80.00", "70.00", "-10.00", "90.00"],
        ["val", "clips", "90.00", "90.00", "+0.00", "100.00"],
        ["test", "patches, mAP", "40.00", "40.00", "+0.00", "90.00"],
        ["test", "clips, mAP", "50.00", "60.00", "+10.00", "100.00"],
    ]


def test_programs_of_both_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    tables.print_programs("test", [("float", {"clip_acc": 0.5}), ("C", {"patch_acc": 1.0, "equal_outputs": 0.25})])
    tables.print_programs("test", [("float", {"clip_map": 0.5, "patch_map": 0.25})])
    rows = [row for row in printed(capsys) if row[0]]
    assert rows == [
        ["float", "-", "50.00", "-", "-"],
        ["C", "100.00", "-", "-", "25.00"],
        ["float", "25.00", "50.00", "-", "-"],
    ]


def test_the_table_of_rejection_leaves_out_what_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    confidence, right = torch.tensor([0.9, 0.8, 0.3]), torch.tensor([True, True, False])
    tables.print_rejection("test", judge_rejection(confidence, right, 0.5))
    alone = printed(capsys)
    tables.print_rejection("test", judge_rejection(confidence, right, 0.5, torch.tensor([0.1, 0.6, 0.2, 0.4])))
    rows = {row[0]: row[1] for row in printed(capsys)}
    assert rows["not rejected, %"] == "66.67" and rows["of these decided rightly, %"] == "100.00"
    assert rows["rejected, %"] == "75.00" and rows["clips of unseen sounds"] == "4"
    assert "rejected, %" not in {row[0] for row in alone}


@pytest.mark.parametrize(("task", "classes"), [("single_label", 3), ("single_label", 41), ("multi_label", 61)])
@pytest.mark.usefixtures("computes")
def test_pictures_of_scores_fit_the_task(tmp_path: Path, task: str, classes: int) -> None:
    scores, names = many(classes, task)
    plot_scores(tmp_path, "test", scores, names)
    kinds = ("patch_confusion", "clip_confusion") if task == "single_label" else ("clip_ap", "clip_f1")
    assert {p.name for p in tmp_path.iterdir()} == {f"test_{kind}.png" for kind in (*kinds, "clip_reliability")}
    for path in tmp_path.iterdir():
        assert imread(path).shape[:2] < (2700, 2700) and np.ptp(imread(path)) > 0.5


@pytest.mark.usefixtures("computes")
def test_pictures_of_rejection(tmp_path: Path) -> None:
    confidence, right = torch.linspace(0.2, 1, 30), torch.arange(30) > 7
    plot_rejection(tmp_path / "known.png", confidence, right, 0.5, "val")
    plot_rejection(tmp_path / "both.png", confidence, right, 0.5, "val", confidence / 2)
    plot_rejection(tmp_path / "all_rejected.png", confidence / 2, right, 0.9, "val", confidence / 2)
    known, both = imread(tmp_path / "known.png"), imread(tmp_path / "both.png")
    assert both.shape[1] > 2 * known.shape[1] and (tmp_path / "all_rejected.png").is_file()


def test_curves_of_either_task_and_none_without_epochs(tmp_path: Path) -> None:
    for name, measure in (("a", "clip_acc"), ("b", "clip_map")):
        (tmp_path / f"{name}.csv").write_text(f"epoch,train/loss,val/{measure}\n0,1.5,\n0,,0.5\n1,1.0,\n1,,0.6\n")
        plot_curves(tmp_path / f"{name}.png", tmp_path / f"{name}.csv")
    assert not np.array_equal(imread(tmp_path / "a.png"), imread(tmp_path / "b.png"))
    (tmp_path / "none.csv").write_text("epoch,train/loss\n")
    plot_curves(tmp_path / "none.png", tmp_path / "none.csv")
    assert not (tmp_path / "none.png").exists()


def test_a_damaged_json_file_is_named(tmp_path: Path) -> None:
    tables.write_json(tmp_path / "m.json", {"a": 1})
    assert tables.read_json(tmp_path / "m.json") == {"a": 1} and tables.read_json(tmp_path / "none.json") == {}
    for text in ("{", "[]"):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(AedError, match=r"m\.json: .*delete it"):
            tables.read_json(tmp_path / "m.json")


def test_numbers_that_json_has_not_are_null_and_come_back_as_none_at_all(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    tables.write_json(path, {"a": math.nan, "b": np.float64("inf"), "c": [(1.5, -math.inf)], "d": {"e": math.nan}})
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "a": None,
        "b": None,
        "c": [[1.5, None]],
        "d": {"e": None},
    }
    tables.write_json(path, {"test/clip_map": math.nan, "test/clip_f1": 0.5})
    metrics = tables.read_metrics(path)
    assert math.isnan(metrics["test/clip_map"]) and metrics["test/clip_f1"] == 0.5


def test_a_score_that_is_no_number_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    posteriors, target = torch.rand(3, 3), torch.zeros(3, 3)
    scores = score(posteriors, target, torch.arange(3), NAMES, Decision())
    metrics = {f"test/{key}": value for key, value in scores.metrics.items()}
    tables.print_scores("test", metrics, [0, 0, 0], NAMES)
    step = {"name": "static", "score": math.nan, "gain": math.nan, "low": -100.0, "high": 100.0, "sqnr_db": 30.0}
    content = {
        "layers": [],
        "footprint": {"weights_bytes": 1, "macc": 1},
        "judging": {"metric": "clip_map", "split": "val"},
        "steps": [step | {"kept": True, "detail": ""}] * 2,
    }
    tables.print_layers(content)
    comparison = {"float": {"clip_map": math.nan}, "int8": {"clip_map": math.nan}, "clip_agreement": 1.0}
    tables.print_comparison({"val": comparison | {"clips": 3, "sqnr_db": {"median": 30.0}}})
    assert "nan" not in capsys.readouterr().out.lower()
