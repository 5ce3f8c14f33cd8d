"""Heads that are solved for: those of scikit-learn, stationary by numerical gradients, and the laws they obey."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from scipy.spatial.distance import cdist
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression

from aed.base.errors import AedError
from aed.modules.closed_form import Head, class_means, clip_weights, discriminant, softmax_regression

Array = npt.NDArray[np.float64]
HEADS = {"softmax": softmax_regression, "lda": discriminant, "means": class_means}


def clouds(seed: int = 0, rows: int = 120, size: int = 7, classes: int = 4) -> tuple[Array, npt.NDArray[np.int64]]:
    """Overlapping Gaussians of unequal sizes and deviations, far from 0."""
    random = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(classes), random.choice(classes, rows - classes, p=[0.4, 0.3, 0.2, 0.1])])
    centres = random.normal(size=(classes, size))
    noise = random.normal(size=(rows, size)) * np.geomspace(0.1, 2, size)
    return 5 + 3 * (centres[targets] + noise), targets


def scaled(embeddings: Array) -> tuple[Array, float]:
    """Around 0 with a root mean square of 1, as the penalty sees them; the scale."""
    centred = embeddings - embeddings.mean(axis=0)
    spread = float(np.sqrt(np.square(centred).mean()))
    return centred / spread, spread


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("strength", [0.01, 0.3])
def test_a_regression_is_sklearns(strength: float, smoothing: float) -> None:
    embeddings, targets = clouds()
    values, spread = scaled(embeddings)
    # a smoothed target is each class in turn, with its share as the weight
    classes = np.arange(4)
    shares = np.where(targets[:, None] == classes, 1 - smoothing, 0) + smoothing / 4
    oracle = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000)
    oracle.fit(np.repeat(values, 4, axis=0), np.tile(classes, len(targets)), sample_weight=shares.ravel())

    head = softmax_regression(embeddings, targets, 4, strength=strength, smoothing=smoothing)

    np.testing.assert_allclose(head.weight * spread, oracle.coef_, atol=1e-4)
    logits, theirs = head.logits(embeddings), values @ oracle.coef_.T + oracle.intercept_
    np.testing.assert_allclose(
        logits - logits.mean(axis=1, keepdims=True), theirs - theirs.mean(axis=1, keepdims=True), atol=2e-4
    )


def test_a_regression_is_stationary() -> None:
    embeddings, targets = clouds(rows=60, size=3)
    random = np.random.default_rng(1)
    weights = random.uniform(0.2, 3, len(targets))
    head = softmax_regression(embeddings, targets, 4, strength=0.2, smoothing=0.3, weights=weights)
    shares = weights / weights.sum()
    spread = np.sqrt((shares @ np.square(embeddings - shares @ embeddings)).mean())
    goal = np.where(targets[:, None] == np.arange(4), 0.7, 0) + 0.3 / 4

    def objective(solved: Array) -> float:
        weight, bias = solved[:12].reshape(4, 3), solved[12:]
        logits = embeddings @ weight.T + bias
        logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        errors = -(goal * logs).sum(axis=1) * shares * len(targets)
        return 0.5 * float(np.square(weight * spread).sum()) + 0.2 * float(errors.sum())

    gradient = approx_fprime(np.concatenate([head.weight.ravel(), head.bias]), objective, 1e-6)

    assert np.abs(gradient).max() < 2e-3
    assert np.abs(approx_fprime(np.zeros(16), objective, 1e-6)).max() > 1  # it is no flat objective


@pytest.mark.parametrize("shrinkage", [0.01, 0.1, 0.7, 1.0])
def test_a_discriminant_is_sklearns(shrinkage: float) -> None:
    embeddings, targets = clouds()
    oracle = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage).fit(embeddings, targets)

    head = discriminant(embeddings, targets, 4, shrinkage=shrinkage)

    theirs = oracle.decision_function(embeddings)
    logits = head.logits(embeddings)
    # posteriors alone are given: logits may differ by what is common to all classes
    np.testing.assert_allclose(logits - logits[:, :1], theirs - theirs[:, :1], rtol=1e-8, atol=1e-8)


def test_means_name_the_nearest_direction() -> None:
    embeddings, targets = clouds()
    middle = np.stack([embeddings[targets == label].mean(axis=0) for label in range(4)])
    far = cdist(embeddings - middle.mean(axis=0), middle - middle.mean(axis=0), "cosine")

    logits = class_means(embeddings, targets, 4).logits(embeddings)

    np.testing.assert_array_equal(logits.argmax(axis=1), far.argmin(axis=1))
    lengths = np.linalg.norm(embeddings - middle.mean(axis=0), axis=1)
    np.testing.assert_allclose(logits / lengths[:, None] * lengths.mean(), 16 * (1 - far), rtol=1e-9)


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=5, deadline=None)
def test_a_weight_is_a_repetition(solve: Callable[..., Head], seed: int) -> None:
    embeddings, targets = clouds(seed, rows=40)
    times = np.random.default_rng(seed).integers(1, 4, len(targets))
    more = {"strength": 0.5 / times.mean()} if solve is softmax_regression else {}  # the penalty knows no repetitions
    fewer = {"strength": 0.5} if more else {}

    weighted = solve(embeddings, targets, 4, weights=times.astype(float), **fewer)
    repeated = solve(np.repeat(embeddings, times, axis=0), np.repeat(targets, times), 4, **more)

    np.testing.assert_allclose(weighted.logits(embeddings), repeated.logits(embeddings), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-4, 0.5, 1e4]))
@settings(max_examples=5, deadline=None)
def test_scale_mean_and_order_do_not_matter(solve: Callable[..., Head], seed: int, scale: float) -> None:
    embeddings, targets = clouds(seed, rows=40)
    order = np.random.default_rng(seed).permutation(len(targets))
    moved = scale * (embeddings + np.arange(embeddings.shape[1]))

    here, there = solve(embeddings, targets, 4), solve(moved[order], targets[order], 4)

    np.testing.assert_allclose(here.logits(embeddings), there.logits(moved), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
def test_a_value_that_never_moves_has_no_weight(solve: Callable[..., Head]) -> None:
    embeddings, targets = clouds()
    embeddings[:, 2] = 0

    head = solve(embeddings, targets, 4)

    assert np.abs(head.weight[:, 2]).max() < 1e-12
    assert np.isfinite(head.bias).all()


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
def test_one_patch_a_class_is_enough(solve: Callable[..., Head]) -> None:
    embeddings = np.random.default_rng(0).normal(size=(4, 6))
    targets = np.array([2, 0, 3, 1])

    logits = solve(embeddings, targets, 4).logits(embeddings)

    np.testing.assert_array_equal(logits.argmax(axis=1), targets)


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
def test_all_alike_is_no_error(solve: Callable[..., Head]) -> None:
    head = solve(np.ones((4, 3)), np.arange(4), 4)
    np.testing.assert_allclose(head.logits(np.ones((1, 3))).std(), 0, atol=1e-9)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_each_clip_counts_once(clips: list[int]) -> None:
    weights = clip_weights(np.array(clips))

    sums = [weights[np.array(clips) == clip].sum() for clip in set(clips)]
    np.testing.assert_allclose(sums, len(clips) / len(set(clips)))
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize("solve", HEADS.values(), ids=HEADS)
def test_what_cannot_be_used_is_said(solve: Callable[..., Head]) -> None:
    embeddings, targets = clouds()
    with pytest.raises(AedError, match="NaN"):
        solve(np.where(embeddings > 8, np.nan, embeddings), targets, 4)
    with pytest.raises(AedError, match="of 3 classes: got class number 3"):
        solve(embeddings, targets, 3)
    with pytest.raises(AedError, match="a class for each embedding"):
        solve(embeddings[:5], targets, 4)


@pytest.mark.parametrize("solve", [discriminant, class_means])
def test_a_class_without_patches_is_said(solve: Callable[..., Head]) -> None:
    embeddings, targets = clouds()
    with pytest.raises(AedError, match="class number 1 has no training patch"):
        solve(embeddings[targets != 1], targets[targets != 1], 4)
