import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score, roc_curve

from aed.base.errors import AedError
from aed.scoring.rejection import choose_unknown_threshold, judge_rejection, keeping_threshold, risk_coverage

CLIPS = st.lists(st.tuples(st.sampled_from([0.2, 0.4, 0.5, 0.6, 0.9, 1.0]), st.booleans()), min_size=1, max_size=25)


def tensors(rows: list[tuple[float, bool]]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])


def random_clips(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    confidence = generator.beta(4, 1.5, 300).astype(np.float32)
    right = generator.random(300) < confidence
    unseen = generator.beta(2, 2, 200).astype(np.float32)
    return torch.from_numpy(confidence), torch.from_numpy(right), torch.from_numpy(unseen)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(CLIPS)
def test_risk_and_coverage_are_those_of_each_threshold(rows: list[tuple[float, bool]]) -> None:
    confidence, right = tensors(rows)
    coverage, risk = risk_coverage(confidence, right)
    expected = []
    for threshold in sorted(set(confidence.tolist()), reverse=True):
        kept = [ok for value, ok in zip(confidence.tolist(), right.tolist(), strict=True) if value >= threshold]
        expected.append((len(kept) / len(rows), 1 - sum(kept) / len(kept)))
    assert [pytest.approx(pair) for pair in expected] == list(zip(coverage.tolist(), risk.tolist(), strict=True))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(rows=CLIPS, keep=st.sampled_from([0.05, 0.5, 0.7, 0.95, 1.0]))
def test_the_threshold_keeps_enough_right_clips_and_no_greater_one_does(
    rows: list[tuple[float, bool]], keep: float
) -> None:
    confidence, right = tensors(rows)
    if not right.any():
        with pytest.raises(AedError, match="no validation clip is decided rightly"):
            choose_unknown_threshold(confidence, right, keep)
        return
    threshold, sure = choose_unknown_threshold(confidence, right, keep), confidence[right].double()
    assert (sure >= threshold).double().mean() >= keep - 1e-12
    least = confidence[confidence >= threshold].min()  # the threshold lies halfway under a confidence that is needed
    assert (sure > least).double().mean() < keep - 1e-12
    under = confidence[confidence < threshold]
    assert threshold == pytest.approx(float(least + (under.max() if len(under) else 0)) / 2)


def test_a_share_of_whole_clips_is_not_rounded_up() -> None:
    assert keeping_threshold(torch.arange(100.0), 0.07) == 93.0


@pytest.mark.parametrize("keep", [0.0, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(keep: float) -> None:
    with pytest.raises(AedError, match="keep: need a share"):
        choose_unknown_threshold(torch.tensor([0.5]), torch.tensor([True]), keep)


@pytest.mark.parametrize("decimals", [7, 1])  # 1: full of ties
def test_figures_are_sklearns_and_those_of_loops(decimals: int) -> None:
    confidence, right, unseen = (x if x.dtype == torch.bool else x.round(decimals=decimals) for x in random_clips())
    found = judge_rejection(confidence, right, 0.6, unseen)
    truth, values = np.repeat([1, 0], [300, 200]), torch.cat([confidence, unseen]).numpy()
    false_alarms, hits, _ = roc_curve(truth, values, drop_intermediate=False)
    kept = confidence >= 0.6
    assert found.auroc == pytest.approx(roc_auc_score(truth, values))
    assert found.fpr95 == pytest.approx(false_alarms[hits >= 0.95 - 1e-12].min())
    assert found.unseen_rejected == pytest.approx((unseen < 0.6).double().mean())
    assert (found.clips, found.unseen_clips, found.threshold) == (300, 200, 0.6)
    assert found.acc == pytest.approx(right.double().mean())
    assert found.coverage == pytest.approx(kept.double().mean())
    assert found.selective_acc == pytest.approx(right[kept].double().mean())
    risks = [
        1 - right[confidence >= value].double().mean() for value in confidence
    ]  # of each clip as the last one kept
    assert found.aurc == pytest.approx(np.mean(risks))


def test_confidence_that_sorts_right_from_wrong_has_the_least_area() -> None:
    right = torch.tensor([True] * 6 + [False] * 4)
    best = judge_rejection(torch.linspace(1, 0.1, 10), right, 0.5).aurc
    worst = judge_rejection(torch.linspace(0.1, 1, 10), right, 0.5).aurc
    assert best == pytest.approx(sum(k / (6 + k) for k in range(1, 5)) / 10)
    guess = judge_rejection(torch.full((10,), 0.5), right, 0.5).aurc
    assert guess == pytest.approx(0.4)
    assert worst > guess > best


def test_what_is_not_known_is_left_out_of_the_content() -> None:
    confidence, right, unseen = random_clips()
    alone = judge_rejection(confidence, right, 1.0)
    assert alone.coverage == 0 and "selective_acc" not in alone.content()
    assert alone.auroc is None and "auroc" not in alone.content() and alone.content()["unseen_clips"] == 0
    assert judge_rejection(confidence, right, 0.5, unseen[:0]) == judge_rejection(confidence, right, 0.5)
    assert json.loads(json.dumps(judge_rejection(confidence, right, 0.5, unseen).content()))["unseen_clips"] == 200
