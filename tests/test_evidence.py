"""Intervals of paired differences, against likelihoods maximised by brute force, published figures and enumeration."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial
from sklearn.metrics import average_precision_score

from aed.export import evidence
from aed.export.evidence import JudgedModel, difference, weighted_map
from aed.scoring.intervals import Z90, Z95, paired_interval


def accuracy(right: list[bool]) -> JudgedModel:
    """Of a model that gets these clips right; two classes, all clips of the first."""
    posteriors = torch.tensor([[0.9, 0.1] if hit else [0.1, 0.9] for hit in right])
    return JudgedModel(sum(right) / len(right), posteriors, torch.zeros(len(right), dtype=torch.int64))


counts = st.tuples(st.integers(0, 30), st.integers(0, 30), st.integers(1, 100)).map(
    lambda drawn: (drawn[0], drawn[1], sum(drawn))
)


@settings(deadline=None, derandomize=True)
@given(counts=counts)
def test_an_interval_holds_the_measured_difference_and_mirrors(counts):
    gained, lost, number = counts
    low, high = paired_interval(gained, lost, number)
    assert -1 <= low <= (gained - lost) / number <= high <= 1 and low < high
    assert paired_interval(lost, gained, number) == (-high, -low)


def log_likelihood(gained: int, lost: int, number: int, only_lost: float, share: float) -> float:
    parts = ((gained, only_lost + share), (lost, only_lost), (number - gained - lost, 1 - 2 * only_lost - share))
    return sum(count * math.log(max(part, 1e-300)) for count, part in parts if count)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(counts=counts)
def test_its_ends_are_where_the_score_test_just_accepts(counts):
    """The nuisance share is found by search here, by formula there."""
    gained, lost, number = counts
    for end, side in zip(paired_interval(gained, lost, number), (1, -1), strict=True):
        if abs(end) > 0.999:
            continue
        bounds = (max(0.0, -end), (1 - end) / 2)
        found = minimize_scalar(
            lambda share, end=end: -log_likelihood(gained, lost, number, share, end), bounds=bounds, method="bounded",
            options={"xatol": 1e-10},
        )  # fmt: skip
        only_lost = max(found.x, bounds[0])
        deviation = math.sqrt(number * max(2 * only_lost + end - end * end, 1e-12))
        assert side * (gained - lost - number * end) / deviation == pytest.approx(Z90, rel=2e-3)


def all_counts(most: int) -> np.ndarray:
    """``(3, outcomes)``: gained, lost and pairs of every outcome of up to ``most`` pairs, gained no less than lost."""
    return np.array(
        [
            (gained, lost, number)
            for number in range(1, most + 1)
            for lost in range(number // 2 + 1)
            for gained in range(lost, number - lost + 1)
        ]
    ).T


@pytest.mark.usefixtures("computes")
def test_every_outcome_of_few_pairs_has_the_interval_of_the_score_test():
    """The nuisance share is where the likelihood's slope changes sign, halved for all outcomes at once."""
    outcomes = all_counts(60)
    intervals = np.array([paired_interval(*map(int, outcome)) for outcome in outcomes.T])
    gained, lost, number = outcomes.astype(float)
    measured = (gained - lost) / number
    assert (intervals[:, 0] >= -1).all() and (intervals[:, 1] <= 1).all()
    assert (intervals[:, 0] <= measured).all() and (measured <= intervals[:, 1]).all()
    for end, side in zip(intervals.T, (1, -1), strict=True):
        inside = np.abs(end) < 1
        assert (side * (measured[~inside] - end[~inside]) == 0).all()  # at an end of the scale: nothing is beyond
        share, b, c, n = end[inside], gained[inside], lost[inside], number[inside]
        low, high = np.maximum(0, -share), (1 - share) / 2
        for _ in range(60):
            middle = (low + high) / 2
            with np.errstate(divide="ignore", invalid="ignore"):
                rising = np.where(b > 0, b / (middle + share), 0) + np.where(c > 0, c / middle, 0)
                rising -= np.where(n > b + c, 2 * (n - b - c) / (1 - 2 * middle - share), 0)
            low, high = np.where(rising > 0, middle, low), np.where(rising > 0, high, middle)
        deviations = (b - c - n * share) / np.sqrt(n * (2 * low + share - share**2))
        np.testing.assert_allclose(side * deviations, Z90, rtol=1e-6)


def test_where_all_pairs_flip_one_way_the_interval_is_that_of_the_closed_form():
    """Int8 that is totally broken. No pair agrees, so the nuisance share is (1 - d) / 2 and the variance 1 - d^2."""
    for number in (*range(1, 1001), 10**5):
        square = Z90**2
        near = (square - number) / (square + number)
        assert paired_interval(0, number, number) == (-1, pytest.approx(near, abs=1e-9))
        assert paired_interval(number, 0, number) == (pytest.approx(-near, abs=1e-9), 1)


def test_a_published_interval():
    """Airway hyper-responsiveness of 21 children, Fagerland et al. 2014: -0.286, 95 % interval -0.517 to -0.026."""
    assert paired_interval(1, 7, 21, Z95) == pytest.approx((-0.517, -0.026), abs=6e-4)


@pytest.mark.parametrize("shares", [(0.02, 0.02), (0.05, 0.01), (0.1, 0.1), (0.0, 0.02)])
def test_true_differences_are_missed_as_rarely_as_is_said(shares):
    """All outcomes of 80 clips, each with its probability: one side errs in about 5 %."""
    number, (gain, loss) = 80, shares
    missed = 0.0
    for gained in range(25):
        for lost in range(25):
            chance = multinomial.pmf([gained, lost, number - gained - lost], number, [gain, loss, 1 - gain - loss])
            if chance > 1e-9:
                missed += chance * (paired_interval(gained, lost, number)[0] > gain - loss)
    assert missed < 0.075


@pytest.mark.parametrize(
    ("gained", "lost", "evident"),
    [(0, 0, False), (1, 0, False), (2, 0, False), (3, 0, True), (4, 1, False), (6, 1, True)],
)
def test_clips_that_flip_one_way_are_evidence(gained, lost, evident):
    before = [False] * gained + [True] * (80 - gained)
    after = [True] * (80 - lost) + [False] * lost
    found = difference(accuracy(before), accuracy(after))
    assert found.points == pytest.approx(100 * (gained - lost) / 80)
    assert (found.low > 0) == evident
    assert f"{found.points:.2f} points (90 % interval" in str(found)


def labels(seed: int, noise: float, size: tuple[int, int] = (60, 4)) -> JudgedModel:
    draw = np.random.default_rng(0)
    target = (draw.uniform(size=size) < 0.3).astype(np.float32)
    base = target + draw.normal(size=size)
    scores = base + noise * np.random.default_rng(seed).normal(size=size)
    posteriors = torch.from_numpy(np.round(1 / (1 + np.exp(-scores)), 2)).float()  # some equal
    precision = [average_precision_score(target[:, k], posteriors[:, k].numpy()) for k in range(size[1])]
    return JudgedModel(float(np.mean(precision)), posteriors, torch.from_numpy(target))


def test_weights_count_clips_as_scikit_learn_does():
    verdict, draw = labels(1, 0.2), np.random.default_rng(2)
    weights = np.stack([np.ones(60), draw.integers(0, 4, 60), draw.uniform(0.1, 2, 60)])
    expected = [
        np.mean(
            [
                average_precision_score(verdict.target[:, k], verdict.posteriors[:, k].numpy(), sample_weight=row)
                for k in range(4)
            ]
        )
        for row in weights
    ]
    np.testing.assert_allclose(weighted_map(verdict, torch.from_numpy(weights)).numpy(), expected, rtol=1e-6)
    assert expected[0] == pytest.approx(verdict.score)


def test_average_precision_that_is_lost_is_evident_and_noise_is_not():
    right, alike, worse = labels(1, 0.0), labels(2, 0.02), labels(3, 2.0)
    lost, same = difference(worse, right), difference(right, alike)
    assert lost.low > 0 and lost.low < lost.points < lost.high
    assert same.low < 0 < same.high or same.points == 0
    assert difference(worse, right) == lost, "the same each time"
    assert difference(right, right).low == difference(right, right).high == 0


@pytest.mark.parametrize(("density", "steps"), [(0.02, 1000), (0.3, 1000), (0.3, 3)])
def test_each_resample_has_the_score_of_the_clips_it_drew(density, steps):
    draw = np.random.default_rng(4)
    target = (draw.uniform(size=(90, 3)) < density).astype(np.float32)
    target[0] = 1
    scores = np.round(1 / (1 + np.exp(-draw.normal(size=target.shape) - target)) * steps) / steps
    verdict = JudgedModel(0.5, torch.from_numpy(scores).float(), torch.from_numpy(target))
    draws = np.random.default_rng(0).multinomial(90, np.full(90, 1 / 90), evidence.RESAMPLES)
    for counts, found in list(zip(draws, verdict.resampled.tolist(), strict=True))[:25]:
        chosen = np.repeat(np.arange(90), counts)
        there = [k for k in range(3) if target[chosen, k].any()]
        ap = [average_precision_score(target[chosen, k], scores[chosen, k].astype(np.float32)) for k in there]
        assert found == pytest.approx(np.mean(ap) if ap else math.nan, abs=1e-12, nan_ok=True)


def test_where_no_clip_has_a_class_nothing_is_evident():
    empty = JudgedModel(float("nan"), torch.rand(5, 2), torch.zeros(5, 2))
    assert difference(empty, empty).low == -100
