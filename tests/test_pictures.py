"""What the pictures say: their texts and lengths are the numbers they are drawn from."""

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure

from aed.scoring.confidence import expected_calibration_error
from aed.scoring.intervals import share_interval
from aed.scoring.pictures import fonts
from aed.scoring.pictures.canvas import plural, title_of
from aed.scoring.pictures.classes import classes_figure, f1_figure
from aed.scoring.pictures.confusion import confusion_figure
from aed.scoring.pictures.curves import curves_figure, read_curves
from aed.scoring.pictures.layers import layers_figure
from aed.scoring.pictures.rejection import rejection_figure
from aed.scoring.pictures.reliability import groups_of, reliability_figure
from aed.scoring.pictures.split import plot_scores
from aed.scoring.scores import Scores, score

pytestmark = pytest.mark.usefixtures("whole_pictures")

NAMES = ["dog", "rain", "rooster"]


def labels(axis: Any) -> list[str]:
    return [label.get_text() for label in axis.get_ticklabels()]


def title(figure: Figure) -> str:
    return str(figure.get_suptitle())


def legend(axes: Axes | Figure) -> list[str]:
    own = axes.get_legend() if isinstance(axes, Axes) else axes.legends[0]
    assert own is not None
    return [text.get_text() for text in own.get_texts()]


def draw(figure: Figure) -> None:
    """As to a file: a layout that fails or text that runs over warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.draw_without_rendering()


@pytest.fixture
def no_more_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with Matplotlib's own fonts alone."""
    monkeypatch.setattr(fonts, "_system_fonts", lambda: iter(()))
    fonts._fallbacks.cache_clear()
    fonts._reported.clear()
    yield
    fonts._fallbacks.cache_clear()


def test_a_confusion_matrix_has_counts_shares_and_totals() -> None:
    confusion = np.array([[3, 1, 0], [0, 0, 0], [2, 0, 6]])
    figure = confusion_figure(confusion, NAMES, "title")
    draw(figure)
    axes = figure.axes[0]
    cells = {(text.get_position()[1], text.get_position()[0]): text.get_text() for text in axes.texts}
    assert cells == {(0, 0): "3\n75 %", (0, 1): "1\n25 %", (2, 0): "2\n25 %", (2, 2): "6\n75 %"}
    assert labels(axes.xaxis) == NAMES and labels(axes.yaxis) == ["dog (4)", "rain (0)", "rooster (8)"]
    shown = np.asarray(axes.images[0].get_array())
    assert shown.tolist() == [[75, 25, 0], [0, 0, 0], [25, 0, 75]]
    bar = axes.images[0].colorbar
    assert isinstance(bar, Colorbar) and (bar.vmin, bar.vmax) == (0, 100)
    assert title(figure) == "title" and axes.get_xlabel() == "decided"


@pytest.mark.parametrize(("classes", "texts"), [(16, 2), (17, 1), (40, 1), (41, 0), (200, 0)])
def test_cells_of_many_classes_say_less(classes: int, texts: int) -> None:
    names = [f"class_{number}" for number in range(classes)]
    axes = confusion_figure(5 * np.eye(classes, dtype=np.int64), names, "").axes[0]
    assert len(axes.texts) == (classes if texts else 0)
    assert all(len(text.get_text().split("\n")) == texts for text in axes.texts)
    assert labels(axes.xaxis) == names


def test_bars_are_as_long_as_the_values_and_nan_is_no_bar() -> None:
    figure = classes_figure({"a": 0.25, "b": 1.0, "c": math.nan, "d": 0.25}, "AP")
    draw(figure)
    axes = figure.axes[0]
    assert labels(axes.yaxis) == ["b", "a", "d"]
    assert [bar.get_width() for bar in axes.patches] == [100, 25, 25]
    assert legend(figure) == ["mean of 3 classes, 50.0 %"] and axes.lines[0].get_xdata() == [50, 50]
    empty = classes_figure({"a": math.nan}, "AP")
    draw(empty)
    assert not empty.axes[0].patches and empty.axes[0].texts[0].get_text() == "no class has a clip"


def test_of_200_classes_the_best_and_worst_have_bars() -> None:
    values = {f"class_{number}": number / 200 for number in range(200)}
    axes = classes_figure(values, "AP").axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx(
        [100 * value for value in sorted(values.values(), reverse=True)[:30] + sorted(values.values())[29::-1]]
    )
    assert "140 classes between" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(("classes", "named"), [(1, True), (8, True), (9, False), (200, False)])
def test_f1_has_the_dot_at_the_threshold(classes: int, named: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    posteriors = torch.rand(40, classes, generator=generator)
    target = (torch.rand(40, classes, generator=generator) < 0.4).float()
    names = [f"class_{number}" for number in range(classes)]
    figure = f1_figure(posteriors, target, names, [0.5] * classes, "F1")
    draw(figure)
    axes = figure.axes[0]
    dots = [line.get_xydata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    truth, decided = target[:, 0] > 0.5, posteriors[:, 0] >= 0.5
    expected = 2 * (truth & decided).sum() / (truth.sum() + decided.sum())
    assert len(dots) == classes and dots[0].tolist() == [0.5, pytest.approx(float(expected))]
    assert legend(axes) == (names if named else [f"mean of {classes} classes"])


def test_f1_without_any_positive_is_empty() -> None:
    figure = f1_figure(torch.rand(4, 2), torch.zeros(4, 2), ["a", "b"], [0.5, 0.5], "F1")
    draw(figure)
    assert not figure.axes[0].lines


@pytest.mark.parametrize("several", [False, True])
def test_reliability_shows_every_statement_its_gap_and_the_metric(several: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(90) % 3
    logits = torch.randn(90, 3, generator=generator)
    logits[torch.arange(90), target] += 2
    posteriors = logits.sigmoid() if several else logits.softmax(dim=1)
    truth = torch.nn.functional.one_hot(target, 3).float() if several else target
    figure = reliability_figure(posteriors, truth, "test: 90 clips")
    draw(figure)
    upper, lower = figure.axes
    error = 100 * expected_calibration_error(posteriors, truth)
    assert title(figure) == f"test: 90 clips, calibration error {error:.1f} %"
    numbers = [int(text.get_text()) for text in upper.texts]
    statements = 270 if several else 90
    assert sum(numbers) == statements and len(numbers) >= 8
    assert sum(bar.get_height() for bar in lower.patches) == pytest.approx(statements)
    points = upper.containers[0].lines[0].get_xydata()
    gaps = list(upper.collections[0].get_segments())  # from sure to right
    assert [[*gap[0], *gap[1]] for gap in gaps] == [[x, x, x, y] for x, y in points.tolist()]
    right = sum(y * number for (_, y), number in zip(points, numbers, strict=True))
    correct = (posteriors.argmax(dim=1) == target).sum() if not several else truth.sum()
    assert right == pytest.approx(float(correct))
    assert legend(lower)[0].endswith(f", {int(correct)}")


@pytest.mark.parametrize("clips", [1, 3, 80])
def test_reliability_of_few_clips_and_of_equal_ones(clips: int) -> None:
    posteriors = torch.tensor([[1.0, 0.0]]).repeat(clips, 1)
    figure = reliability_figure(posteriors, torch.zeros(clips, dtype=torch.int64), "t")
    draw(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == [str(clips)]


def test_groups_are_of_equal_size_and_keep_equal_confidences_together() -> None:
    confidence = np.sort(np.random.default_rng(0).random(80))
    sizes = np.bincount(groups_of(confidence, equal_width=False))
    assert len(sizes) == 10 and sizes.min() >= 7 and sizes.max() <= 9
    tied = np.repeat([0.3, 0.9], [40, 40])
    group = groups_of(tied, equal_width=False)
    assert len(set(group[:40])) == len(set(group[40:])) == 1 and group[0] < group[-1]
    assert groups_of(np.array([0.0, 0.099, 0.1, 1.0]), equal_width=True).tolist() == [0, 0, 1, 9]


def test_the_interval_of_a_share_is_wilsons() -> None:
    """Its ends solve |hits/n - p| = z sqrt(p (1 - p) / n)."""
    hits, number = np.array([0.0, 7.0, 8.0]), np.array([8.0, 8.0, 8.0])
    for ends in share_interval(hits, number):
        off = np.abs(hits / number - ends) - 1.6448536 * np.sqrt(np.clip(ends * (1 - ends), 0, 1) / number)
        assert np.abs(off).max() < 1e-7


def write_curves(path: Path) -> Path:
    path.write_text(
        "epoch,train/loss,train/patch_acc,val/loss,val/patch_acc,val/clip_acc,test/loss\n"
        "0,,,1.25,0.25,0.5,\n0,1.5,0.25,,,,\n1,,,nan,0.5,0.75,\n1,1.0,0.5,,,,\n1,,,,,,9.0\n"
    )
    return path


def test_learning_curves_count_epochs_from_1_and_have_plain_names(tmp_path: Path) -> None:
    figure = curves_figure(read_curves(write_curves(tmp_path / "metrics.csv")), "YAMNet on esc10")
    draw(figure)
    loss, accuracy = figure.axes
    lines = {str(line.get_label()): line.get_xydata().tolist() for axes in (loss, accuracy) for line in axes.lines}
    assert lines == {
        "training": [[1, 1.5], [2, 1.0]],
        "validation": [[1, 1.25]],
        "training, patches": [[1, 25], [2, 50]],
        "validation, patches": [[1, 25], [2, 50]],
        "validation, clips": [[1, 50], [2, 75]],
    }
    assert title(figure) == "YAMNet on esc10: learning curves, 2 epochs"
    assert (loss.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy, %")
    for axes in (loss, accuracy):
        low, high = axes.get_xlim()
        assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1, 2]


def test_the_recall_of_streams_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("epoch,val/recall_at_0.5_per_hour\n0,0.25\n")
    (line,) = curves_figure(read_curves(tmp_path / "m.csv"), "").axes[1].lines
    assert line.get_label() == "validation, events found at 0.5 alarms/h" and line.get_ydata().tolist() == [25]


def test_losses_alone_have_a_panel_alone(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("epoch,train/loss\n0,1.5\n")
    figure = curves_figure(read_curves(tmp_path / "m.csv"), "")
    draw(figure)
    assert len(figure.axes) == 1 and title(figure) == "learning curves, 1 epoch"


def layer(name: str, **changes: Any) -> dict[str, Any]:
    facts = {"sqnr_db": 30.0, "precision": "int8", "scale": 0.5, "zero_point": 0}
    ranges = {"activation_min": -1.0, "activation_max": 2.0, "weight_min": -0.5, "weight_max": 0.25}
    return {"name": name} | facts | ranges | changes


def test_ranges_of_activations_and_weights_stand_apart_and_whole() -> None:
    rows = [
        layer("conv", activation_min=-64.0, activation_max=63.5),
        layer("pool", weight_min=None, weight_max=None, sqnr_db=None),
        layer("head", precision="float", scale=None, zero_point=None, weight_min=-8.0, sqnr_db=-2.0),
    ]
    figure = layers_figure(rows, "int8, 3 layers")
    draw(figure)
    noise, activations, weights = figure.axes
    assert labels(noise.yaxis) == ["conv", "pool", "head"] and noise.yaxis_inverted()
    assert [bar.get_width() for bar in noise.patches] == [30, 0, -2]
    assert [text.get_text() for text in noise.texts] == ["30.0", "exact", "-2.0"]
    assert [bar.get_hatch() for bar in noise.patches] == [None, None, "///"]
    spans = [[(bar.get_x(), bar.get_x() + bar.get_width()) for bar in axes.patches] for axes in (activations, weights)]
    assert spans == [[(-64, 63.5), (-1, 2), (-1, 2)], [(-0.5, 0.25), (-8, 0.25)]]
    assert [text.get_text() for text in weights.texts] == ["-0.5 .. 0.25", "-8 .. 0.25"]
    ends = [list(line.get_xdata()) for line in activations.lines]
    assert [-64.0, 63.5] in ends
    for axes in (noise, activations, weights):
        low, high = axes.get_xlim()
        ends = [sorted((bar.get_x(), bar.get_x() + bar.get_width())) for bar in axes.patches]
        assert all(low <= first <= last < high for first, last in ends)
    colours = [{bar.get_facecolor() for bar in axes.patches} for axes in (activations, weights)]
    assert colours[0].isdisjoint(colours[1]) and {bar.get_hatch() for bar in weights.patches} != {""}


@pytest.mark.parametrize("count", [1, 40])
@pytest.mark.usefixtures("computes")
def test_any_number_of_layers(count: int) -> None:
    figure = layers_figure([layer(f"a_long_path.of.modules.{number}.conv") for number in range(count)], "")
    draw(figure)
    assert len(set(labels(figure.axes[0].yaxis))) == count


def test_rejection_has_the_threshold_in_figures() -> None:
    confidence, right = torch.tensor([0.9, 0.8, 0.7, 0.3]), torch.tensor([True, False, True, False])
    unseen = torch.tensor([0.1, 0.75])
    figure = rejection_figure(confidence, right, 0.5, "t", unseen)
    draw(figure)
    errors, histogram, roc = figure.axes
    assert legend(errors) == ["threshold 0.500: 75.0 % accepted, 33.3 % wrong"]
    assert errors.lines[0].get_xydata()[-1].tolist() == [100, 50]
    assert legend(histogram)[:2] == ["known, 4 clips", "unseen, 2 clips"]
    assert sum(bar.get_height() for bar in histogram.patches) == pytest.approx(200)
    assert roc.lines[-1].get_xydata()[0].tolist() == [50, 75]
    alone = rejection_figure(confidence, right, 0.95, "t")
    draw(alone)
    assert len(alone.axes) == 1 and legend(alone.axes[0]) == ["threshold 0.950: all rejected"]


def small(names: list[str]) -> Scores:
    target = torch.arange(2 * len(names)) % len(names)
    posteriors = torch.nn.functional.one_hot(target, len(names)).float()
    return score(posteriors, target, torch.arange(len(target)), names)


def test_titles_name_model_data_split_and_number() -> None:
    assert title_of("YAMNet on esc10", "test_int8", "80 clips") == "YAMNet on esc10\ntest, int8: 80 clips"
    assert title_of("", "val", "1 clip", "F1") == "val: 1 clip, F1"
    assert title_of("", "test_emulator", "1 clip") == "test, int8 in C, emulated: 1 clip"
    assert [plural(1, "patch"), plural(2, "patch"), plural(2000, "epoch"), plural(2, "class")] == [
        "1 patch",
        "2 patches",
        "2,000 epochs",
        "2 classes",
    ]


@pytest.mark.usefixtures("computes")
def test_the_pictures_of_a_split_are_the_same_bytes_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda own, *a, **k: (seen.append(title(own)), savefig(own, *a, **k))[1])
    for folder in ("a", "b"):
        plot_scores(tmp_path / folder, "test", small(NAMES), NAMES, "YAMNet on esc10")
    assert seen[:3] == [
        "YAMNet on esc10\ntest: 6 patches, accuracy 100.00 %",
        "YAMNet on esc10\ntest: 6 clips, accuracy 100.00 %",
        "YAMNet on esc10\ntest: 6 clips, calibration error 0.0 %",
    ]
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
        assert b"Software" not in path.read_bytes()


HARD = ["雨音", "犬", "$x^", "$x$", "_hidden", "a\nb", "w" * 60 + "a", "w" * 60 + "b", "x" * 30, "\U0001f415 dog"]


@pytest.mark.usefixtures("computes")
def test_any_name_is_drawn_without_a_warning(tmp_path: Path, no_more_fonts: None, caplog: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_scores(tmp_path, "test", small(HARD), HARD, "net on 雨")
        plot_scores(tmp_path, "val", small(HARD), HARD, "net on 雨")
    told = [record.message for record in caplog.records]
    assert sum("雨" in message for message in told) == 1 and "fonts-noto-cjk" in told[0]
    assert not any("Glyph" in message or "findfont" in message for message in told)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{split}_{kind}.png"
        for split in ("test", "val")
        for kind in ("patch_confusion", "clip_confusion", "clip_reliability")
    }


def test_names_without_a_font_become_numbers(no_more_fonts: None) -> None:
    shown = fonts.shown_names(HARD)
    assert shown[:6] == ["class 1", "class 2", "$x^", "$x$", " _hidden", "a b"]
    assert len(set(shown)) == len(HARD) and all(len(name) <= fonts.MAX_COLUMNS + 4 for name in shown)
    assert shown[6].startswith("wwww") and "…" in shown[6]
    assert fonts.drawable("net on 雨") == "net on ?"


def test_a_font_of_the_machine_draws_what_ours_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"empty.ttf": "", "half.ttf": "雨", "whole.ttf": "雨音"}
    monkeypatch.setattr(fonts, "_system_fonts", lambda: iter([(file[:-4], file) for file in files]))
    monkeypatch.setattr(fonts, "_characters", lambda path: frozenset(map(ord, files[path])))
    fonts._fallbacks.cache_clear()
    assert fonts.families_for("雨 rain") == ["DejaVu Sans", "half"]
    assert fonts.families_for("雨音") == ["DejaVu Sans", "half", "whole"]
    assert fonts.shown_names(["雨音", "rain"]) == ["雨音", "rain"]
    fonts._fallbacks.cache_clear()


def test_system_fonts_prefer_noto_and_have_no_boxes() -> None:
    families = [family for family, _ in fonts._system_fonts()]
    assert "DejaVu Sans" in families and not any(family.startswith("Last Resort") for family in families)
    preferred = [next((i for i, p in enumerate(fonts.PREFERRED) if f.startswith(p)), 99) for f in families]
    assert preferred == sorted(preferred)
