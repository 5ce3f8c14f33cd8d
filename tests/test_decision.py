import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, softmax

from aed.base.errors import AedError
from aed.dsp.aggregate import clip_posteriors
from aed.scoring.decision import UNKNOWN_INDEX, Decision, task_of, to_posteriors

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(0, 3, (50, 7))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_posteriors_are_scipys_softmax_and_sigmoid(temperature: float) -> None:
    logits = torch.from_numpy(LOGITS)
    assert np.allclose(to_posteriors(logits, "single_label", temperature), softmax(LOGITS / temperature, axis=1))
    assert np.allclose(Decision(temperature).posteriors(logits, "multi_label"), expit(LOGITS / temperature))


@settings(deadline=None, derandomize=True, max_examples=50)
@given(temperature=st.floats(0.05, 20.0))
def test_temperature_changes_no_single_label_decision(temperature: float) -> None:
    logits = torch.from_numpy(LOGITS)
    plain, tempered = (
        d.decide(d.posteriors(logits, "single_label"), "single_label") for d in (Decision(), Decision(temperature))
    )
    assert plain.tolist() == tempered.tolist() == LOGITS.argmax(axis=1).tolist()


def test_a_row_is_unknown_where_its_greatest_posterior_is_under_the_threshold() -> None:
    posteriors = torch.tensor([[0.6, 0.4], [0.25, 0.75], [0.5, 0.5], [torch.nan, torch.nan]])
    decision = Decision(unknown_threshold=0.6)
    assert decision.decide(posteriors, "single_label").tolist() == [0, 1, UNKNOWN_INDEX, UNKNOWN_INDEX]
    assert decision.known(posteriors).tolist() == [True, True, False, False]
    assert Decision().decide(posteriors, "single_label").tolist() == [0, 1, 0, 0]


def test_each_class_has_its_threshold_and_reaching_it_is_a_yes() -> None:
    posteriors = torch.tensor([[0.5, 0.5, 0.5], [0.2, 0.9, 0.49], [torch.nan] * 3])
    assert Decision().decide(posteriors, "multi_label").int().tolist() == [[1, 1, 1], [0, 1, 0], [0, 0, 0]]
    own = Decision(thresholds=(0.2, 0.9, 0.4))
    assert own.decide(posteriors, "multi_label").int().tolist() == [[1, 0, 1], [1, 1, 1], [0, 0, 0]]


def test_a_decision_outlives_json() -> None:
    decision = Decision(1.3, (0.1, 0.7), None, "max")
    assert Decision.from_dict(json.loads(json.dumps(asdict(decision)))) == decision
    with pytest.raises(AedError, match="unknown \\['treshold'\\]"):
        Decision.from_dict({"treshold": 0.5})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("temperature", "1"),
        ("thresholds", (0.5, 1.5)),
        ("thresholds", 0.5),
        ("thresholds", (True,)),
        ("unknown_threshold", -0.1),
        ("unknown_threshold", float("nan")),
        ("aggregate", "median"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(AedError, match=f"decision.{name}: need"):
        Decision(**{name: value})


def test_what_does_not_fit_the_task_is_refused() -> None:
    posteriors = torch.full((2, 3), 0.4)
    with pytest.raises(AedError, match="only a multi-label"):
        Decision(thresholds=(0.5,) * 3).decide(posteriors, "single_label")
    with pytest.raises(AedError, match="only a single-label"):
        Decision(unknown_threshold=0.5).decide(posteriors, "multi_label")
    with pytest.raises(AedError, match="need 3, one per class, got 2"):
        Decision(thresholds=(0.5, 0.5)).decide(posteriors, "multi_label")


def test_the_task_of_a_target() -> None:
    assert task_of(torch.zeros(3, dtype=torch.int64)) == "single_label"
    assert task_of(torch.zeros(3, 2)) == "multi_label"


@settings(deadline=None, derandomize=True, max_examples=50)
@given(clips=st.lists(st.integers(0, 5), min_size=1, max_size=30), seed=st.integers(0, 1000))
def test_the_maximum_over_a_clips_patches_is_numpys(clips: list[int], seed: int) -> None:
    posteriors = np.random.default_rng(seed).random((len(clips), 3), dtype=np.float32)
    result = clip_posteriors(torch.from_numpy(posteriors), torch.tensor(clips), 6, "max").numpy()
    for clip in range(6):
        rows = posteriors[np.array(clips) == clip]
        assert np.isnan(result[clip]).all() if not len(rows) else (result[clip] == rows.max(axis=0)).all()
