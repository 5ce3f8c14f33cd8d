"""Sounds learned from a few examples: the decision, and its limits from classes that play them."""

import numpy as np
import pytest
from test_nearness import embedded

from aed.base.errors import AedError
from aed.scoring.held_out import Embedded, by_clip, clip_classes, means_of_classes
from aed.scoring.learning import TAKEN, Learner, choose_limits, learned
from aed.scoring.nearness import Nearness, cosines, mean_direction

RULE = Nearness.of(0.5, np.array([[1, 0]], np.int8), (0.6, -0.1))


def test_a_learned_sound_is_heard_within_its_limits() -> None:
    nearness = np.array([0.5, 0.5, 0.5, 0.5, 0.75, 0.2], np.float32)
    to_sounds = np.array(
        [[0.7, 0.9], [0.59, -1], [0.61, 0.5], [0.8, 0.8], [0.8, 0.8], [-1, -1]], np.float32
    )  # the fifth is too near to the classes
    assert learned(RULE, nearness, to_sounds).tolist() == [1, -1, 0, 0, -1, -1]


def test_a_learner_compares_with_the_mean_of_its_examples() -> None:
    learner, random = Learner(2, 5), np.random.default_rng(0)
    examples, others = (random.integers(-100, 100, (count, 5)).astype(np.float32) for count in (3, 7))
    assert learner.cosines(others).tolist() == [[-1, -1]] * 7
    learner.learn(1, examples)
    assert np.array_equal(learner.cosines(others)[:, 1], cosines(others, mean_direction(examples)[None])[:, 0])
    assert set(learner.cosines(others)[:, 0].tolist()) == {-1}
    with pytest.raises(AedError, match="sound: need 0 to 1, got 2"):
        learner.learn(2, examples)
    with pytest.raises(AedError, match="is 0"):
        learner.learn(0, np.zeros((2, 5), np.float32))


def blurred(seed: int) -> Embedded:
    """Classes that overlap somewhat."""
    return embedded(1.2, seed, labels=6, size=8)


def test_limits_keep_most_of_a_sound_and_take_little_of_the_others() -> None:
    train, val = blurred(0), blurred(1)
    vectors, classes = means_of_classes(train, 6, 1)
    least, margin = choose_limits(train, val, vectors, classes, "mean")
    rule, truth = Nearness.of(0.5, vectors, (least, margin)), clip_classes(val)
    found, taken = [], []
    for label in range(6):
        learner = Learner(1, 8)
        learner.learn(0, train.embeddings[train.target == label])
        near = cosines(val.embeddings, vectors[classes != label]).max(axis=1)
        rows = by_clip(np.stack([near, learner.cosines(val.embeddings)[:, 0]], axis=1), val.clip, "mean")
        heard = learned(rule, rows[:, 0], rows[:, 1:]) == 0
        found.append(heard[truth == label].mean())
        taken.append(heard[truth != label].mean())
    assert np.mean(found) > 0.8 and np.mean(taken) <= 3 * TAKEN
    assert (least, margin) == choose_limits(train, val, vectors, classes, "mean")
    with pytest.raises(AedError, match="of the same classes"):
        choose_limits(train, Embedded(val.embeddings, val.target + 6, val.clip), vectors, classes, "mean")
