"""The last layer solved anew on int8 embeddings: least squares against numpy's, and when it is kept."""

import nets
import numpy as np
import onnx
import pytest
from test_curves import CALIBRATION, FLOAT, FUSED, PATCHES
from test_export_int8 import judged

from aed.base.errors import AedError
from aed.export import fidelity
from aed.export.embedding import EMBEDDING, with_embedding
from aed.export.graph import constants, copy_of, replace_constants
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.precision import activation_ranges
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.refit import RIDGE, refit, solved
from aed.export.search import Search

pytestmark = pytest.mark.usefixtures("computes")

MANY = nets.patches(300, seed=9).numpy()


def sqnr(int8, model=FLOAT) -> float:
    wanted = fidelity.outputs(model, PATCHES)
    return float(np.median(fidelity.sqnr_db(wanted, fidelity.outputs(int8, PATCHES) - wanted)))


def test_least_squares_are_those_of_an_augmented_system():
    """A ridge is rows of its root below the others; the mean is a column of ones that has none."""
    draw = np.random.default_rng(0)
    rows, weight = draw.standard_normal((50, 6)) + 3, draw.standard_normal((4, 6))
    goal = rows @ weight.T + draw.standard_normal((50, 4))
    found, bias = solved(rows, goal, weight)
    ridge = RIDGE * np.square(rows - rows.mean(axis=0)).sum() / 6
    system = np.block([[rows, np.ones((50, 1))], [np.sqrt(ridge) * np.eye(6), np.zeros((6, 1))]])
    right = np.concatenate([goal, np.sqrt(ridge) * weight.T])
    wanted = np.linalg.lstsq(system, right, rcond=None)[0]
    np.testing.assert_allclose(found, wanted[:-1].T, rtol=1e-8)
    np.testing.assert_allclose(bias, wanted[-1], rtol=1e-8)


def test_without_noise_the_layer_stays_what_it_is():
    draw = np.random.default_rng(0)
    rows, weight = draw.standard_normal((50, 6)), draw.standard_normal((4, 6))
    rows[:, 5] = 0  # a value that never varies
    found, bias = solved(rows, rows @ weight.T + 2, weight)
    np.testing.assert_allclose(found, weight, rtol=1e-8)
    np.testing.assert_allclose(bias, 2, rtol=1e-8)


def moved() -> onnx.ModelProto:
    """The net with other biases in its first layer, as if int8 had moved them."""
    twin, name = copy_of(FLOAT), FLOAT.graph.node[0].input[2]
    replace_constants(twin, {name: constants(twin)[name] + np.float32(0.3)})
    return twin


def test_the_layers_before_stay_and_the_outputs_come_nearer_to_float():
    candidate = moved()
    int8 = quantize(candidate, CALIBRATION, QuantizeConfig())
    fitted, again = refit(FLOAT, candidate, int8, MANY, QuantizeConfig())
    before, after = constants(candidate), constants(fitted)
    assert {name for name in before if not np.array_equal(before[name], after[name])} == set(
        fitted.graph.node[-1].input[1:]
    )
    assert activation_ranges(again) == activation_ranges(int8)
    embeddings = [fidelity.outputs(with_embedding(graph), PATCHES, EMBEDDING) for graph in (int8, again)]
    np.testing.assert_array_equal(*embeddings)
    assert sqnr(again) > sqnr(int8) + 6


def test_another_end_is_refused():
    model = to_onnx(nets.make("yamnet"), nets.FRONTEND, ExportConfig(softmax=True))
    with pytest.raises(AedError, match="does not end in the outputs of a dense layer"):
        refit(model, model, quantize(model, CALIBRATION, QuantizeConfig()), MANY, QuantizeConfig())


def search(model, *drops: float, **changes) -> Search:
    made = Search(model, CALIBRATION, QuantizeConfig(**changes), judged(*drops), training=lambda: MANY)
    made.run()
    return made


def test_a_net_with_curves_is_repaired_whatever_its_loss():
    made = search(FLOAT, 0, 0)
    assert [step.name for step in made.steps] == ["static", "bias", "head"]
    assert made.steps[2].detail == "least squares over 300 patches"
    assert [step.name for step in search(FLOAT, 0, 0, repair=()).steps] == ["static"]


def test_a_head_is_kept_if_it_scores_no_less_and_is_nearer(monkeypatch):
    """The first model has one weight scale a tensor, so that the other is nearer."""
    monkeypatch.setattr("aed.export.search.refit", lambda model, candidate, *others: (candidate, FUSED))
    coarse = {"per_channel": False, "repair": ("head",)}
    assert sqnr(FUSED) > sqnr(quantize(FLOAT, CALIBRATION, QuantizeConfig(per_channel=False)))
    for drops, kept in (((0, 0), True), ((2, 1), True), ((0, 1), False)):
        made = search(FLOAT, *drops, **coarse)
        assert [step.kept for step in made.steps] == [True, kept]
        assert (made.best.int8 is FUSED) == kept


def test_a_head_that_is_no_nearer_is_not_kept(monkeypatch):
    monkeypatch.setattr("aed.export.search.refit", lambda model, candidate, int8, *others: (candidate, int8))
    assert [step.kept for step in search(FLOAT, 0, 0, repair=("head",)).steps] == [True, False]


@pytest.mark.parametrize(("drop", "sizes"), [(0, [300, 600]), (1, [300])])
def test_a_head_that_is_kept_is_solved_from_all_training_clips(monkeypatch, drop: float, sizes: list[int]):
    """Judged is that of the clips that do not judge, and one that is not kept is not solved again."""
    solved_from, all_of_them = [], np.concatenate([MANY, MANY])

    def nearer(model, candidate, int8, patches, config):
        solved_from.append(len(patches))
        return copy_of(candidate), copy_of(FUSED)

    monkeypatch.setattr("aed.export.search.refit", nearer)
    config = QuantizeConfig(per_channel=False, repair=("head",))
    given = {"training": lambda: MANY, "every": lambda: all_of_them}
    made = Search(FLOAT, CALIBRATION, config, judged(0, drop), **given)
    best = made.run()
    assert solved_from == sizes and [step.kept for step in made.steps] == [True, not drop]
    written = "" if drop else "; written: over 600 of all clips"
    assert made.steps[1].detail == f"least squares over 300 patches{written}"
    assert (best.int8 == FUSED) == (not drop)


def test_nearness_is_that_on_judging_clips():
    others = nets.patches(40, seed=11).numpy()
    made = Search(FLOAT, CALIBRATION, QuantizeConfig(repair=()), judged(0, 0), judging=others)
    int8 = made.run().int8
    wanted = fidelity.outputs(FLOAT, others)
    noise = fidelity.outputs(int8, others) - wanted
    assert made.steps[0].sqnr_db == pytest.approx(float(np.median(fidelity.sqnr_db(wanted, noise))))


def test_other_nets_are_refitted_last_where_int8_is_evidently_worse():
    model = to_onnx(nets.make("uneven"), nets.FRONTEND, ExportConfig())
    assert [step.name for step in search(model, 0).steps] == ["static"]
    assert [step.name for step in search(model, 10, 10, 10, 0).steps] == ["static", "equalise", "bias", "head"]
