import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import log_softmax
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    f1_score,
    log_loss,
    precision_score,
    recall_score,
)
from torchmetrics.functional.classification import binary_calibration_error, multiclass_calibration_error

from aed.base.errors import AedError
from aed.scoring.confidence import (
    TEMPERATURES,
    choose_temperature,
    cross_entropy,
    expected_calibration_error,
    reliability,
)
from aed.scoring.decision import Decision
from aed.scoring.levels import HEADLINE, LEVELS
from aed.scoring.multilabel import average_precisions, choose_thresholds, f1_curve, lwlrap
from aed.scoring.scores import PatchPosteriors, score

NAMES = ("a", "b", "c", "d")
Floats = npt.NDArray[np.float32]


def random_patches(seed: int = 0, clips: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), generator.integers(1, 7, clips))
    target = generator.integers(0, 3, clips)[clip]  # class d never occurs
    posteriors = generator.dirichlet(np.ones(4), len(clip))
    posteriors[np.arange(len(clip)), target] += 0.3
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    return tuple(torch.from_numpy(x) for x in (posteriors.astype(np.float32), target, clip))  # type: ignore[return-value]


def labelled_patches(seed: int = 0, clips: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Multi-label, every patch with its own labels, one decimal of posterior: full of ties; class d never occurs."""
    generator = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), generator.integers(1, 7, clips))
    target = generator.random((len(clip), 4)) < [0.5, 0.2, 0.1, 0.0]
    posteriors = np.clip(generator.random((len(clip), 4)) + 0.3 * target, 0, 1).round(1)
    return torch.from_numpy(posteriors.astype(np.float32)), torch.from_numpy(target).float(), torch.from_numpy(clip)


def test_patch_metrics_are_sklearns():
    posteriors, target, clip = random_patches()
    decided = posteriors.argmax(dim=1)
    scores = score(posteriors, target, clip, NAMES)
    assert scores.metrics["patch_acc"] == pytest.approx(accuracy_score(target, decided))
    assert (scores.patch_confusion.numpy() == confusion_matrix(target, decided, labels=range(4))).all()
    recalls = recall_score(target, decided, labels=range(3), average=None)
    assert [scores.metrics[f"patch_acc/{name}"] for name in "abc"] == pytest.approx(recalls)


@pytest.mark.parametrize("how", ["mean", "max"])
def test_clip_metrics_are_those_of_the_mean_or_greatest_posterior(how):
    posteriors, target, clip = random_patches()
    rows = np.stack([getattr(posteriors[clip == i].numpy(), how)(axis=0) for i in range(40)])
    truth = np.array([target[clip == i][0] for i in range(40)])
    scores = score(posteriors, target, clip, NAMES, Decision(aggregate=how))
    assert scores.metrics["clip_acc"] == pytest.approx(accuracy_score(truth, rows.argmax(axis=1)))
    assert (scores.clip_confusion.numpy() == confusion_matrix(truth, rows.argmax(axis=1), labels=range(4))).all()
    assert np.allclose(scores.clip_posteriors, rows, atol=1e-6)
    expected = float(multiclass_calibration_error(torch.tensor(rows), torch.tensor(truth), 4, n_bins=15))
    assert scores.metrics["clip_ece"] == pytest.approx(expected, abs=1e-6)


def test_a_class_without_clips_has_no_accuracy_but_a_row():
    scores = score(*random_patches(), NAMES)
    assert "clip_acc/d" not in scores.metrics
    assert scores.clip_confusion.shape == (4, 4)


@pytest.mark.parametrize("patches", [random_patches, labelled_patches])
def test_batches_add_up_to_the_whole(patches):
    posteriors, target, clip = patches()
    metric = PatchPosteriors()
    for part in torch.arange(len(clip)).split(7):
        metric.update(posteriors[part], target[part], clip[part])
    assert score(*metric.compute(), NAMES).metrics == score(posteriors, target, clip, NAMES).metrics


def test_rejected_clips_are_counted_apart():
    posteriors, target, clip = random_patches()
    plain, threshold = score(posteriors, target, clip, NAMES), 0.5
    scores = score(posteriors, target, clip, NAMES, Decision(unknown_threshold=threshold))
    kept = scores.clip_posteriors.numpy().max(axis=1) >= threshold
    right = scores.clip_posteriors.numpy().argmax(axis=1) == scores.clip_target.numpy()
    assert 0 < kept.sum() < len(kept)
    assert scores.metrics == plain.metrics | {
        "clip_coverage": pytest.approx(kept.mean()),
        "clip_selective_acc": pytest.approx(right[kept].mean()),
    }
    assert (scores.clip_decided.numpy() == -1).tolist() == (~kept).tolist()
    none = score(posteriors, target, clip, NAMES, Decision(unknown_threshold=1.0)).metrics
    assert none["clip_coverage"] == 0 and "clip_selective_acc" not in none


def naive_lwlrap(posteriors: Floats, target: Floats) -> float:
    """By the definition: for each class the mean precision at its labels, weighted by the class's share of labels."""
    precisions: dict[int, list[float]] = {}
    for row, labels in zip(posteriors, target, strict=True):
        for name in np.flatnonzero(labels):
            over = [other for other in range(len(row)) if row[other] >= row[name]]
            precisions.setdefault(int(name), []).append(sum(labels[other] for other in over) / len(over))
    weights = {name: len(values) / target.sum() for name, values in precisions.items()}
    return float(sum(weights[name] * np.mean(values) for name, values in precisions.items()))


def test_multi_label_metrics_are_sklearns():
    posteriors, target, clip = labelled_patches()
    by_clip = np.stack([posteriors[clip == i].numpy().max(axis=0) for i in range(40)])
    truth = np.stack([target[clip == i].numpy().max(axis=0) for i in range(40)])
    thresholds = (0.3, 0.5, 0.9, 0.7)
    metrics = score(posteriors, target, clip, NAMES, Decision(thresholds=thresholds, aggregate="max")).metrics
    for level, rows, labels in (("patch", posteriors.numpy(), target.numpy()), ("clip", by_clip, truth)):
        decided = rows >= np.array(thresholds, np.float32)
        precisions = [average_precision_score(labels[:, i], rows[:, i]) for i in range(3)]
        each = f1_score(labels[:, :3], decided[:, :3], average=None)
        ece = binary_calibration_error(torch.tensor(rows).flatten(), torch.tensor(labels).flatten().int(), n_bins=15)
        expected = {
            "map": np.mean(precisions),
            "lwlrap": naive_lwlrap(rows, labels),
            "f1": f1_score(labels, decided, average="micro"),
            "f1_macro": np.mean(each),
            "ece": float(ece),
        }
        expected |= {f"ap/{name}": value for name, value in zip("abc", precisions, strict=True)}
        expected |= {f"f1/{name}": value for name, value in zip("abc", each, strict=True)}
        found = {key.removeprefix(f"{level}_"): value for key, value in metrics.items() if key.startswith(f"{level}_")}
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_detector_of_one_class_has_precision_and_recall_and_no_ranking_of_classes():
    posteriors, target, clip = labelled_patches()
    posteriors, target = posteriors[:, :1], target[:, :1]
    metrics = score(posteriors, target, clip, ["glass"], Decision(thresholds=(0.3,), aggregate="max")).metrics
    decided = posteriors[:, 0].numpy() >= np.float32(0.3)
    expected = {
        "map": average_precision_score(target[:, 0], posteriors[:, 0]),
        "precision": precision_score(target[:, 0], decided),
        "recall": recall_score(target[:, 0], decided),
        "f1": f1_score(target[:, 0], decided),
        "threshold": 0.3,
    }
    assert {key: metrics[f"patch_{key}"] for key in expected} == pytest.approx(expected, abs=1e-6)
    assert not {"patch_lwlrap", "clip_lwlrap", "clip_f1_macro"} & set(metrics)


def test_each_task_has_its_main_metric():
    for patches, task in ((random_patches, "single_label"), (labelled_patches, "multi_label")):
        scores = score(*patches(), NAMES)
        assert scores.task == task and scores.headline == HEADLINE[task] == LEVELS[task][1]
        assert all(level in scores.metrics for level in LEVELS[task])


def test_a_decision_of_the_other_task_is_refused():
    with pytest.raises(AedError, match="only a single-label"):
        score(*labelled_patches(), NAMES, Decision(unknown_threshold=0.5))
    with pytest.raises(AedError, match="only a multi-label"):
        score(*random_patches(), NAMES, Decision(thresholds=(0.5,) * 4))


tied = st.integers(1, 6).flatmap(
    lambda width: st.tuples(
        arrays(np.float32, (8, width), elements=st.sampled_from([0.0, 0.25, 0.5, 1.0])),
        arrays(np.float32, (8, width), elements=st.sampled_from([0.0, 1.0])),
    )
)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(tied)
def test_average_precision_and_lwlrap_with_ties_are_those_of_the_definition(rows: tuple[Floats, Floats]):
    posteriors, target = rows
    found = average_precisions(torch.from_numpy(posteriors), torch.from_numpy(target)).numpy()
    for index in range(posteriors.shape[1]):
        if target[:, index].any():
            assert found[index] == pytest.approx(average_precision_score(target[:, index], posteriors[:, index]))
        else:
            assert np.isnan(found[index])
    if target.any():
        assert lwlrap(torch.from_numpy(posteriors), torch.from_numpy(target)) == pytest.approx(
            naive_lwlrap(posteriors, target)
        )


def test_many_rows_are_ranked_in_parts(monkeypatch):
    posteriors, target, _ = labelled_patches()
    whole = average_precisions(posteriors, target), lwlrap(posteriors, target)
    monkeypatch.setattr("aed.scoring.multilabel.CHUNK", 10)
    assert torch.equal(average_precisions(posteriors, target).nan_to_num(), whole[0].nan_to_num())
    assert lwlrap(posteriors, target) == whole[1]


@settings(deadline=None, derandomize=True, max_examples=40)
@given(tied)
def test_no_threshold_beats_the_chosen_one_and_it_lies_between_posteriors(rows: tuple[Floats, Floats]):
    posteriors, target = rows
    chosen = choose_thresholds(torch.from_numpy(posteriors), torch.from_numpy(target))
    for column, truth, threshold in zip(posteriors.T, target.T, chosen, strict=True):
        if not truth.any():
            assert threshold == 0.5
            continue
        by_threshold = {float(t): f1_score(truth, column >= t) for t in np.unique(column)}
        best = max(by_threshold.values())
        greatest = max(t for t, value in by_threshold.items() if value == pytest.approx(best))
        below = max((t for t in by_threshold if t < greatest), default=0.0)
        assert below <= threshold <= greatest and threshold == pytest.approx((below + greatest) / 2)
        assert (column >= np.float32(threshold)).tolist() == (column >= np.float32(greatest)).tolist()
        thresholds, f1 = f1_curve(torch.tensor(column), torch.tensor(truth > 0))
        assert dict(zip(thresholds.tolist(), f1.tolist(), strict=True)) == pytest.approx(by_threshold)


def test_chosen_thresholds_decide_as_promised_in_float32():
    generator = torch.Generator().manual_seed(0)
    posteriors, target = (
        torch.rand(500, 3, generator=generator),
        (torch.rand(500, 3, generator=generator) < 0.3).float(),
    )
    decision = Decision(thresholds=choose_thresholds(posteriors, target))
    decided = decision.decide(posteriors, "multi_label")
    for index in range(3):
        _, f1 = f1_curve(posteriors[:, index], target[:, index] > 0)
        assert f1_score(target[:, index], decided[:, index]) == pytest.approx(float(f1.max()))


def test_cross_entropy_is_sklearns():
    posteriors, target, _ = random_patches()
    posteriors = posteriors.double() / posteriors.double().sum(dim=1, keepdim=True)
    assert float(cross_entropy(posteriors, target)) == pytest.approx(log_loss(target, posteriors, labels=range(4)))
    posteriors, target, _ = labelled_patches()
    inner = posteriors.double().clamp(0.1, 0.9)
    expected = np.mean([log_loss(y, p, labels=[0, 1]) for y, p in zip(target.T, inner.T, strict=True)])
    assert float(cross_entropy(inner, target)) == pytest.approx(expected)
    assert float(cross_entropy(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))) == pytest.approx(-np.log(1e-12))


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_drew_the_labels_is_found(true_temperature: float):
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (20000, 5))
    single = (log_softmax(logits / true_temperature, axis=1) + generator.gumbel(size=logits.shape)).argmax(axis=1)
    several = generator.random(logits.shape) < 1 / (1 + np.exp(-logits / true_temperature))
    for target in (torch.tensor(single), torch.tensor(several).float()):
        found = choose_temperature(torch.from_numpy(logits), target)
        assert found == pytest.approx(true_temperature, rel=0.05)


def test_a_model_that_is_always_right_gets_no_temperature_of_zero():
    logits = 5 * torch.eye(4)
    assert choose_temperature(logits, torch.arange(4)) == pytest.approx(TEMPERATURES[0], rel=1e-2)


def naive_ece(confidence: Floats, right: npt.NDArray[np.bool_], bins: int) -> float:
    total = 0.0
    for index in range(bins):
        top = confidence <= 1 if index == bins - 1 else confidence.astype(float) * bins < index + 1
        members = (confidence.astype(float) * bins >= index) & top
        if members.any():
            total += members.mean() * abs(confidence[members].astype(float).mean() - right[members].mean())
    return total


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    rows=st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.99, 1.0]), st.booleans()), min_size=1, max_size=30),
    bins=st.integers(1, 20),
)
def test_calibration_error_is_that_of_the_definition(rows: list[tuple[float, bool]], bins: int):
    confidence, right = np.array([r[0] for r in rows], np.float32), np.array([r[1] for r in rows])
    found = expected_calibration_error(torch.tensor(confidence)[:, None], torch.tensor(right).float()[:, None], bins)
    assert found == pytest.approx(naive_ece(confidence, right, bins), abs=1e-9)
    counts, sure, _ = reliability(torch.tensor(confidence), torch.tensor(right), bins)
    assert int(counts.sum()) == len(rows)
    assert all(math.isnan(s) == (c == 0) for s, c in zip(sure.tolist(), counts.tolist(), strict=True))
