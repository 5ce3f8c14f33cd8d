"""Nearness: cosines to the means of classes, their weight, and the models and predictions that have them."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_export_int8 import judged
from torch import nn

from aed.base.errors import AedError
from aed.export.card import ModelCard, put_card
from aed.export.embedding import embedding_size, with_embedding, without_embedding
from aed.export.graph import strip_ends
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.export.repair import equalise
from aed.export.search import Search
from aed.inference.classifier import to_event_posteriors, to_nearness, to_posteriors
from aed.inference.detection import Decisions, Detector
from aed.inference.onnx import OnnxClassifier
from aed.inference.prediction import Predictor
from aed.modules.embeddings import outputs_and_embedding
from aed.run.annotated import Annotated, Heard, Truth
from aed.run.nearness import last_layer
from aed.scoring.decision import UNKNOWN_INDEX, Decision
from aed.scoring.events.family import Shape
from aed.scoring.events.lists import EventList
from aed.scoring.events.places import Places
from aed.scoring.held_out import Embedded, best_weight, clusters, held_out_auroc, means_of_classes
from aed.scoring.nearness import Nearness, blend, cosines, direction, mean_direction, unit_steps
from aed.scoring.rule import EventRule
from aed.scoring.scores import score
from aed.target.stedgeai.exchange import with_fixed_batch

STEPS = st.lists(st.integers(-255, 255), min_size=3, max_size=3)
VECTOR = st.lists(st.integers(-127, 127), min_size=3, max_size=3).filter(any)
FRONTEND, CLASSES = nets.FRONTEND, 4


@settings(deadline=None, derandomize=True, max_examples=100)
@given(STEPS, VECTOR)
def test_a_cosine_is_that_of_whole_numbers(steps: list[int], vector: list[int]) -> None:
    found = cosines(np.array([steps], np.float32), np.array([vector], np.int8))[0, 0]
    product = sum(one * other for one, other in zip(steps, vector, strict=True))
    lengths = [np.float32(math.sqrt(sum(value**2 for value in values))) for values in (steps, vector)]
    assert found == (np.float32(product) / (lengths[0] * lengths[1]) if any(steps) else 0)
    assert -1.000001 <= found <= 1.000001


def test_large_embeddings_keep_whole_numbers() -> None:
    """Sums beyond what float32 holds exactly: the order of terms may not matter."""
    random = np.random.default_rng(0)
    steps, vectors = random.integers(-255, 256, (2, 4096)), random.integers(-127, 128, (3, 4096)).astype(np.int8)
    order = random.permutation(4096)
    assert np.array_equal(
        cosines(steps.astype(np.float32), vectors), cosines(steps[:, order].astype(np.float32), vectors[:, order])
    )


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.lists(STEPS.filter(any), min_size=1, max_size=5))
def test_a_mean_has_the_direction_of_the_mean_of_unit_vectors(rows: list[list[int]]) -> None:
    array = np.array(rows, np.float64)
    mean = (array / np.linalg.norm(array, axis=1, keepdims=True)).sum(axis=0)
    if np.abs(mean).max() < 0.01:  # opposite vectors: rounding alone is left
        return
    found = mean_direction(array.astype(np.float32))
    assert np.abs(found - 127 * mean / np.abs(mean).max()).max() <= 0.5 + 127 * len(rows) / 2**14
    assert np.abs(found).max() == 127


def test_what_has_no_direction_is_refused() -> None:
    assert not unit_steps(np.zeros((1, 3), np.float32)).any()
    assert not cosines(np.zeros((1, 3), np.float32), np.ones((2, 3), np.int8)).any()
    with pytest.raises(AedError, match="is 0"):
        direction(np.zeros(3, np.int32))
    with pytest.raises(AedError, match="got 0"):
        mean_direction(np.zeros((0, 3), np.float32))
    vectors = np.array([[1, 2, 3]], np.int8)
    good = asdict(Nearness.of(0.9, vectors))
    assert np.array_equal(Nearness.from_dict(json.loads(json.dumps(good))).vectors, vectors)
    for change, message in (
        ({"weight": 1.5}, "weight"),
        ({"size": 2}, "no vectors of 2"),
        ({"size": 0}, "size"),
        ({"means": "?"}, "base64"),
        ({"means": ""}, "not 0"),
        ({"more": 1}, "more"),
    ):
        with pytest.raises(AedError, match=message):
            Nearness.from_dict(good | change)


def test_groups_are_those_of_the_data_and_the_same_each_time() -> None:
    random = np.random.default_rng(0)
    centres = np.eye(4)[:3] * 9
    rows = np.concatenate([centre + random.normal(0, 0.1, (20, 4)) for centre in centres]).astype(np.float32)
    groups = clusters(rows, 3)
    assert sorted(map(tuple, groups.reshape(3, 20).tolist())) == [(0,) * 20, (1,) * 20, (2,) * 20]
    assert np.array_equal(groups, clusters(rows, 3))
    assert len(np.unique(clusters(rows[:2], 5))) <= 2 and not clusters(np.ones((4, 2), np.float32), 3).any()


def embedded(spread: float, seed: int, labels: int = 4, size: int = 8) -> Embedded:
    """Clips of three patches around an axis for each class, 5 clips a class."""
    random = np.random.default_rng(seed)
    target = np.repeat(np.arange(labels), 15)
    rows = 4 * np.eye(size)[target] + random.normal(0, spread, (len(target), size))
    return Embedded(rows.astype(np.float32), target, np.repeat(np.arange(5 * labels), 3))


def test_the_weight_is_chosen_by_classes_left_out() -> None:
    train, val = embedded(0.3, 0), embedded(0.3, 1)
    vectors, classes = means_of_classes(train, 4, 1)
    assert vectors.shape == (4, 8) and classes.tolist() == [0, 1, 2, 3]
    assert (np.argmax(vectors, axis=1) == classes).all()
    auroc = held_out_auroc(train, val, vectors, classes, "mean", last_layer(0.1))
    assert auroc[1.0] > 0.99  # an axis of its own is far from all others
    assert best_weight({0.0: 0.8, 0.5: 0.8, 1.0: 0.7}) == 0.0 and best_weight({0.5: 0.7, 0.9: 0.8, 1.0: 0.8}) == 0.9
    few = val.without(0).without(1)
    with pytest.raises(AedError, match="at least 3 classes"):
        two = Embedded(few.embeddings, few.target, few.clip - few.clip.min())
        held_out_auroc(train, two, vectors, classes, "mean", last_layer(0.1))
    with pytest.raises(AedError, match="class number 4 has no training patch"):
        means_of_classes(train, 5, 1)


NEAR = Nearness.of(0.75, np.array([[127, 0], [0, 127]], np.int8))


def test_unknown_is_decided_by_the_blend() -> None:
    rule = Decision(unknown_threshold=0.7, nearness=NEAR)
    posteriors, nearness = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8]]), torch.tensor([0.9, 0.5, 0.7])
    assert rule.score(posteriors, nearness).tolist() == pytest.approx([0.9, 0.6, 0.725])
    assert torch.equal(rule.score(posteriors, nearness), blend_of([0.9, 0.9, 0.8], [0.9, 0.5, 0.7]))
    assert rule.decide(posteriors, "single_label", nearness).tolist() == [0, UNKNOWN_INDEX, 1]
    with pytest.raises(AedError, match="needs the nearness"):
        rule.decide(posteriors, "single_label")
    assert Decision.from_dict(json.loads(json.dumps(asdict(rule)))) == rule
    learnable = replace(rule, nearness=replace(NEAR, weight=0.0))
    assert learnable.decide(posteriors, "single_label").tolist() == [0, 0, 1]
    with pytest.raises(AedError, match="nearness: only a single-label model"):
        Decision(nearness=NEAR).check("multi_label", 2)


def test_a_clips_nearness_is_that_of_its_patches() -> None:
    rule = Decision(unknown_threshold=0.7, nearness=NEAR)
    posteriors, nearness = torch.tensor([[0.8, 0.2], [1.0, 0.0], [0.3, 0.7]]), torch.tensor([0.9, 0.5, 0.2])
    scores = score(posteriors, torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), "ab", rule, nearness)
    assert torch.equal(scores.clip_score, blend_of([0.9, 0.7], [0.7, 0.2]))
    assert scores.clip_decided.tolist() == [0, UNKNOWN_INDEX]
    assert scores.metrics["clip_coverage"] == 0.5


def blend_of(posterior: list[float], nearness: list[float]) -> torch.Tensor:
    return torch.from_numpy(blend(np.array(posterior, np.float32), np.array(nearness, np.float32), 0.75))


# ---- models -----------------------------------------------------------------------------------------------


def patches(count: int, seed: int = 0) -> np.ndarray:
    shape = (count, 1, FRONTEND.n_mels, FRONTEND.patch_frames)
    return np.random.default_rng(seed).normal(-4, 2, shape).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nets.PreActivation(CLASSES).eval()


def card_of(net: nn.Module, weight: float = 0.75, threshold: float | None = 0.8, **more: object) -> ModelCard:
    """A card whose means are directions of embeddings of noise."""
    found = outputs_and_embedding(net, torch.from_numpy(patches(CLASSES, 7)))[1].numpy()
    vectors = np.stack([mean_direction(row[None]) for row in found])
    rule = Decision(unknown_threshold=threshold, nearness=Nearness.of(weight, vectors))
    return ModelCard(frontend=FRONTEND, class_names=tuple("abcd"), decision=rule, **more)


def int8_model(net: nn.Module, io: str = "float") -> tuple[onnx.ModelProto, ModelCard]:
    plain = quantize(to_onnx(net, FRONTEND, ExportConfig()), patches(16, 3), QuantizeConfig())
    facts = quantization_facts(plain, QuantizeConfig(io=io), ())
    both = with_embedding(plain)
    return strip_ends(both) if io == "int8" else both, card_of(net, quantization=facts)


def test_the_float_graph_has_the_embedding_of_the_net(net: nn.Module) -> None:
    for dynamic in (False, True):
        plain = to_onnx(net, FRONTEND, ExportConfig(dynamic_batch=dynamic))
        both = with_embedding(plain)
        assert (embedding_size(plain), embedding_size(both)) == (0, 8)
        assert without_embedding(both).graph == plain.graph and without_embedding(plain) is plain
        card = card_of(net)
        outputs = OnnxClassifier(both, card, Path("m.onnx")).outputs(patches(5))
        logits, embedding = outputs_and_embedding(net, torch.from_numpy(patches(5)))
        assert np.allclose(outputs, torch.cat([logits, embedding], dim=1).numpy(), atol=1e-4)
        assert to_posteriors(card, outputs).shape == (5, CLASSES)


def test_the_int8_graph_gives_whole_steps_with_either_ends(net: nn.Module) -> None:
    (model, card), (ends, int8_card) = int8_model(net), int8_model(net, "int8")
    outputs = OnnxClassifier(model, card, Path("m.onnx")).outputs(patches(6))
    assert np.array_equal(outputs, OnnxClassifier(ends, int8_card, Path("m.onnx")).outputs(patches(6)))
    steps = outputs[:, CLASSES:]
    assert np.array_equal(steps, np.rint(steps)) and np.abs(steps).max() > 20
    real = outputs_and_embedding(net, torch.from_numpy(patches(6)))[1].numpy()
    cosine = (steps * real).sum(axis=1) / np.linalg.norm(steps, axis=1) / np.linalg.norm(real, axis=1)
    assert (cosine > 0.99).all()
    plain = OnnxClassifier(without_embedding(model), without_nearness(card), Path("m.onnx"))
    assert np.array_equal(outputs[:, :CLASSES], plain.outputs(patches(6)))


def without_nearness(card: ModelCard) -> ModelCard:
    return replace(card, decision=replace(card.decision, nearness=None))


def test_equalising_leaves_the_embedding_alone() -> None:
    """Channels that are scaled would have other cosines."""
    torch.manual_seed(0)
    layers = (nn.Conv2d(1, 6, 5, 4), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net = nn.Sequential(*layers, nn.Linear(5, CLASSES)).eval()
    plain, own = to_onnx(net, FRONTEND, ExportConfig()), patches(8)
    assert equalise(plain, own, True)[1] == 2
    config = QuantizeConfig(repair=("equalise",), max_drop=0)
    search = Search(plain, own, config, judged(20.0, 0.0), embeds=True)
    best = search.run().float_model
    assert [step.name for step in search.steps if step.kept] == ["static", "equalise"]
    wanted = outputs_and_embedding(net, torch.from_numpy(own))[1].numpy()
    found = OnnxClassifier(with_embedding(best), card_of(net), Path("m.onnx")).outputs(own)[:, CLASSES:]
    assert np.allclose(found, wanted, atol=1e-5)


def test_a_graph_that_does_not_fit_its_card_is_refused(net: nn.Module) -> None:
    plain, card = to_onnx(net, FRONTEND, ExportConfig()), card_of(net)
    with pytest.raises(AedError, match="embedding of 0 values, its card needs 8"):
        OnnxClassifier(plain, card, Path("m.onnx"))
    with pytest.raises(AedError, match="embedding of 8 values, its card needs 0"):
        OnnxClassifier(with_embedding(plain), without_nearness(card), Path("m.onnx"))
    with pytest.raises(AedError, match="gives 4 outputs"):
        to_nearness(card, np.zeros((2, 4), np.float32))
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(AedError, match="the net needs a dense layer at its end"):
        with_embedding(to_onnx(convolution, FRONTEND, ExportConfig()))
    with pytest.raises(AedError, match="does not end in a dense layer"):
        outputs_and_embedding(convolution, torch.zeros(1, 1, 16, 32))


def test_st_s_tool_gets_one_output(net: nn.Module) -> None:
    plain = to_onnx(net, FRONTEND, ExportConfig(dynamic_batch=True))
    one = with_fixed_batch(with_embedding(plain))
    assert [value.name for value in one.graph.output] == [value.name for value in plain.graph.output]


def test_what_is_unknown_by_nearness_is_silent_in_a_stream(net: nn.Module) -> None:
    card = card_of(net)
    outputs = OnnxClassifier(with_embedding(to_onnx(net, FRONTEND, ExportConfig())), card, Path("m.onnx")).outputs(
        patches(40)
    )
    posteriors, nearness = to_posteriors(card, outputs), to_nearness(card, outputs)
    assert nearness is not None
    scores = blend(posteriors.max(axis=1), nearness, 0.75)
    cut = float(np.median(scores))
    some = replace(card, decision=replace(card.decision, unknown_threshold=cut))
    assert np.array_equal(
        to_event_posteriors(some, outputs), np.where((scores >= np.float32(cut))[:, None], posteriors, 0)
    )
    assert np.array_equal(
        to_event_posteriors(without_nearness(some), outputs[:, :CLASSES]), posteriors
    )  # the rule does it


def test_events_that_are_scored_are_those_that_are_detected(net: nn.Module) -> None:
    """A posterior under the threshold of the score is no reason to leave out what is near."""
    card = card_of(net, threshold=0.8)
    model = with_embedding(to_onnx(net, FRONTEND, ExportConfig()))
    detector = Detector(OnnxClassifier(model, card, Path("m.onnx")), EventRule(on=(0.4,)))
    rows = np.zeros((8, CLASSES), np.float32)
    rows[2:4, 1] = 0.5
    starts = np.arange(8) * detector.hop_s
    heard = Heard(("a.wav",), (0,), (Decisions(rows, starts, np.ones(8, np.bool_), None),))
    ((_, events),) = heard.events(detector)
    span = [events[0].onset_s], [events[0].offset_s]
    length_s = np.array([starts[-1] + detector.patch_s])
    truth = Truth(
        ("a.wav",), EventList.of([0], [1], *span), length_s, None, np.array([1]), Places.of([[(0.0, "a.wav")]])
    )
    annotated = Annotated(detector, heard, truth)
    assert len(events) == 1 and annotated.scores(0.2, 2.0).metrics["recall"] == 1
    fitted = annotated.labelled.search([Shape(1, 1.0, 0.0)], detector.rule, 2.0)
    assert max(option.found for option in fitted[Shape(1, 1.0, 0.0)][1]) == 1


def test_a_prediction_names_what_is_near(net: nn.Module) -> None:
    model = with_embedding(to_onnx(net, FRONTEND, ExportConfig()))
    card = card_of(net)
    put_card(model, card)
    predictor = Predictor(OnnxClassifier(model, card, Path("m.onnx")), top=2)
    row = np.array([0.1, 0.5, 0.4, 0.0], np.float32)
    near = predictor.decide(0, 1, row, np.float32(0.95))  # 0.125 + 0.7125 is over 0.8
    assert [name for name, _ in near.named] == ["b", "c"]
    far = predictor.decide(0, 1, row, np.float32(0.85))
    assert (far.label, far.posterior) == ("unknown", 0.5)
