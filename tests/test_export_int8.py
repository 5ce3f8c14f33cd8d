"""Quantisation, its error report, repair and fine-tuning, on nets that are hard on int8."""

import math
import shlex
from dataclasses import replace
from typing import Any

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from onnx import numpy_helper

from aed.base.errors import AedError
from aed.export import fidelity, qat, repair
from aed.export.evidence import JudgedModel, difference
from aed.export.footprint import footprint
from aed.export.graph import constants, copy_of, strip_ends
from aed.export.interpreter import GraphNet
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.precision import activation_ranges, float_layers
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.export.search import Judge, Search

pytestmark = pytest.mark.usefixtures("computes")

CALIBRATION = nets.patches(24, seed=1).numpy()
PATCHES = nets.patches(32, seed=2).numpy()
FLOAT = {name: to_onnx(nets.make(name), nets.FRONTEND, ExportConfig()) for name in nets.NAMES}
INT8 = {name: quantize(FLOAT[name], CALIBRATION, QuantizeConfig()) for name in nets.NAMES}


def run_exactly(model: onnx.ModelProto, patches: np.ndarray, input_name: str = "patches") -> np.ndarray:
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {input_name: patch[None]})[0] for patch in patches])


def median_sqnr(name: str, int8: onnx.ModelProto) -> float:
    expected = fidelity.outputs(FLOAT[name], PATCHES)
    return float(np.median(fidelity.sqnr_db(expected, fidelity.outputs(int8, PATCHES) - expected)))


# --- the graph ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.NAMES)
def test_the_int8_graph_is_clean(name):
    model = INT8[name]
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    ops = [node.op_type for node in model.graph.node]
    assert not {"Relu", "Clip", "Constant", "BatchNormalization", "Identity"} & set(ops)
    used = {name for node in model.graph.node for name in node.input}
    assert {item.name for item in model.graph.initializer} <= used
    assert float_layers(model) == ()
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("name", nets.NAMES)
def test_weights_are_symmetric_per_channel_and_biases_int32(name):
    arrays, given = constants(INT8[name]), constants(FLOAT[name])
    weights = [key for key in arrays if key.endswith("_quantized") and arrays[key].ndim > 1]
    assert weights
    for key in weights:
        original, scale = given[key.removesuffix("_quantized")], arrays[key.replace("_quantized", "_scale")]
        assert arrays[key].dtype == np.int8
        assert not arrays[key.replace("_quantized", "_zero_point")].any()
        axis = 0 if original.shape[0] == len(scale) else 1
        peak = np.abs(original).max(axis=tuple(number for number in range(original.ndim) if number != axis))
        np.testing.assert_allclose(scale, peak / 127, rtol=1e-6)
        shape = [-1 if number == axis else 1 for number in range(original.ndim)]
        np.testing.assert_array_equal(arrays[key], np.rint(original / scale.reshape(shape)))
    biases = [key for key in arrays if key.endswith("_quantized") and arrays[key].ndim == 1]
    assert biases and all(arrays[key].dtype == np.int32 for key in biases)


@pytest.mark.parametrize("name", nets.NAMES)
def test_ranges_are_the_least_and_largest_calibration_values(name):
    net = GraphNet(FLOAT[name])
    with torch.no_grad():
        values = net.run(torch.from_numpy(CALIBRATION))
    for tensor, (scale, zero) in activation_ranges(INT8[name]).items():
        low, high = min(0.0, float(values[tensor].min())), max(0.0, float(values[tensor].max()))
        if {node.op_type for node in FLOAT[name].graph.node if tensor in node.output} <= {
            "Flatten",
            "MaxPool",
            "AveragePool",
        }:
            continue  # they share their input's range
        assert scale == pytest.approx((high - low) / 255, rel=1e-4), tensor
        assert zero == round(-128 - low / scale), tensor


def test_a_norm_that_cannot_fold_loses_nothing_but_rounding_of_its_output():
    name, batch = "pre_activation", torch.from_numpy(PATCHES)
    with torch.no_grad():
        exact, rounded = GraphNet(FLOAT[name]).run(batch), GraphNet(INT8[name]).run(batch)
    ranges = activation_ranges(INT8[name])
    node = next(node for node in FLOAT[name].graph.node if node.name == "norm1")
    factor, offset = (constants(FLOAT[name])[key] for key in node.input[1:])
    given = rounded["stem_DequantizeLinear_Output"].numpy()
    wanted = np.maximum(given * factor.reshape(1, -1, 1, 1) + offset.reshape(1, -1, 1, 1), 0)
    after = FLOAT[name].graph.node[2].output[0]
    got = rounded[f"{after}_DequantizeLinear_Output"].numpy()
    assert exact[after].min() == 0  # the ReLU behind it
    assert np.abs(got - wanted).max() <= 0.502 * ranges[after][0]


@pytest.mark.parametrize("calibration", ["minmax", "averaged", "percentile", "entropy"])
@pytest.mark.parametrize("per_channel", [True, False])
def test_every_scheme_gives_a_usable_model_twice_the_same(calibration, per_channel):
    config = QuantizeConfig(calibration=calibration, per_channel=per_channel)
    first, second = (quantize(FLOAT["yamnet"], CALIBRATION, config) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)
    assert median_sqnr("yamnet", first) > 15
    scales = [array for key, array in constants(first).items() if key.endswith("conv.weight_scale")]
    assert scales and all((array.size > 1) == per_channel for array in scales)


def test_a_percentile_cuts_outliers_off():
    wild = CALIBRATION.copy()
    wild[0, 0, 0, 0] = 1000
    ranges = {
        percentile: activation_ranges(
            quantize(FLOAT["yamnet"], wild, QuantizeConfig(calibration="percentile", percentile=percentile))
        )["patches"][0]
        for percentile in (99.0, 100.0)
    }
    assert ranges[100.0] == pytest.approx(1009.2 / 255, rel=0.02)
    assert ranges[99.0] < 0.1 * ranges[100.0]


def test_given_ranges_are_kept_whatever_the_patches():
    again = quantize(FLOAT["awkward"], 5 * CALIBRATION, QuantizeConfig(), ranges=activation_ranges(INT8["awkward"]))
    assert again.SerializeToString(deterministic=True) == INT8["awkward"].SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"exclude_nodes": ("side",)}, ("side",)),
        ({"exclude_ops": ("Gemm",)}, ("head",)),
        ({"exclude_nodes": ("deep",)}, ("deep",)),
        ({"exclude_ops": ("Conv",)}, None),
    ],
)
def test_excluded_layers_stay_float(changes, left):
    int8 = quantize(FLOAT["awkward"], CALIBRATION, QuantizeConfig(**changes))
    if left is None:
        left = tuple(node.name for node in FLOAT["awkward"].graph.node if node.op_type == "Conv")
    assert set(left) <= set(float_layers(int8))
    held = {key for key in constants(int8) if key.endswith(".weight")}
    assert {f"{name}.weight" for name in left} <= held
    facts = quantization_facts(int8, QuantizeConfig(**changes), ())
    assert facts.float_layers == float_layers(int8)
    assert facts.note == f"has float layers: not for C: {', '.join(facts.float_layers)}"


def test_averaged_ranges_are_the_means_of_those_of_each_patch():
    wild = CALIBRATION.copy()
    wild[0, 0, 0, 0] = 1000
    low, high = wild.min(axis=(1, 2, 3)), wild.max(axis=(1, 2, 3))
    for calibration, span in (("averaged", high.mean() - low.mean()), ("minmax", high.max() - low.min())):
        int8 = quantize(FLOAT["yamnet"], wild, QuantizeConfig(calibration=calibration))
        assert activation_ranges(int8)["patches"][0] == pytest.approx(span / 255, rel=1e-5)


@pytest.mark.parametrize("name", nets.NAMES)
def test_an_int8_input_alone_is_the_same_model_without_its_first_step(name):
    facts = quantization_facts(INT8[name], QuantizeConfig(io="int8_in"), ("a.wav",))
    bare = strip_ends(INT8[name], output=False)
    first, last = (value.type.tensor_type.elem_type for value in (bare.graph.input[0], bare.graph.output[0]))
    assert (first, last, facts.io) == (onnx.TensorProto.INT8, onnx.TensorProto.FLOAT, "int8_in")
    steps = np.rint(PATCHES / np.float32(facts.input_scale)) + facts.input_zero_point
    got = run_exactly(bare, steps.clip(-128, 127).astype(np.int8))
    np.testing.assert_array_equal(got, run_exactly(INT8[name], PATCHES))
    both = strip_ends(bare)
    assert both.SerializeToString(deterministic=True) == strip_ends(INT8[name]).SerializeToString(deterministic=True)


@pytest.mark.parametrize("name", nets.NAMES)
def test_int8_ends_are_the_same_model_without_its_first_and_last_step(name):
    facts = quantization_facts(INT8[name], QuantizeConfig(io="int8"), ("a.wav",))
    bare = strip_ends(INT8[name])
    types = {value.type.tensor_type.elem_type for value in (*bare.graph.input, *bare.graph.output)}
    assert types == {onnx.TensorProto.INT8}
    steps = np.rint(PATCHES / np.float32(facts.input_scale)) + facts.input_zero_point
    got = run_exactly(bare, steps.clip(-128, 127).astype(np.int8)).astype(np.float32)
    real = np.float32(facts.output_scale) * (got - facts.output_zero_point)
    np.testing.assert_array_equal(real, run_exactly(INT8[name], PATCHES))


def test_int8_ends_need_quantised_ends():
    int8 = quantize(FLOAT["awkward"], CALIBRATION, QuantizeConfig(exclude_nodes=("head",)))
    for io in ("int8", "int8_in"):
        with pytest.raises(AedError, match=f"io={io}: the first or the last layer"):
            quantization_facts(int8, QuantizeConfig(io=io), ())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, r"quantization\.method"),
        ({"calibration": "mean"}, r"quantization\.calibration"),
        ({"io": "uint8"}, r"quantization\.io"),
        ({"percentile": 10.0}, r"quantization\.percentile"),
        ({"n_calibration": 0}, r"quantization\.n_calibration"),
        ({"max_drop": -1.0}, r"quantization\.max_drop"),
        ({"repair": ("pray",)}, r"quantization\.repair"),
        ({"repair": "bias"}, r"quantization\.repair"),
        ({"repair": ("float",)}, r"quantization\.repair.*quantization\.float_layers"),
        ({"float_layers": "yes"}, r"quantization\.float_layers: need one of \('refused', 'allowed'\)"),
        ({"exclude_nodes": (1,)}, r"quantization\.exclude_nodes"),
        ({"qat_epochs": 0}, r"quantization\.qat_epochs"),
        ({"qat_lr": 0.0}, r"quantization\.qat_lr"),
    ],
)
def test_settings_out_of_range_are_named(changes, message):
    with pytest.raises(AedError, match=message):
        QuantizeConfig(**changes)


@pytest.mark.parametrize(
    ("patches", "changes", "message"),
    [
        (CALIBRATION[:0], {}, "no calibration patches"),
        (np.full_like(CALIBRATION[:2], np.nan), {}, "NaN"),
        (CALIBRATION, {"exclude_nodes": ("nowhere",)}, r"nowhere.*it has"),
    ],
)
def test_what_cannot_be_quantised_is_said(patches, changes, message):
    with pytest.raises(AedError, match=message):
        quantize(FLOAT["awkward"], patches, QuantizeConfig(**changes))


# --- the interpreter ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.NAMES)
def test_the_interpreter_runs_float_graphs_as_onnx_runtime_does(name):
    with torch.no_grad():
        got = GraphNet(FLOAT[name])(torch.from_numpy(PATCHES)).numpy()
    expected = run_exactly(FLOAT[name], PATCHES)
    np.testing.assert_allclose(got, expected, atol=1e-5 * max(1, np.abs(expected).max()), rtol=1e-4)


@pytest.mark.parametrize("name", nets.NAMES)
def test_the_interpreter_rounds_int8_graphs_as_onnx_runtime_does(name):
    with torch.no_grad():
        got = GraphNet(INT8[name])(torch.from_numpy(PATCHES)).numpy()
    step = quantization_facts(INT8[name], QuantizeConfig(), ()).output_scale
    assert np.abs(got - run_exactly(INT8[name], PATCHES)).max() <= 1.001 * step


def test_an_operator_the_interpreter_lacks_is_named():
    model = copy_of(FLOAT["awkward"])
    model.graph.node[0].op_type = "LSTM"
    with pytest.raises(AedError, match="LSTM"):
        GraphNet(model)


# --- the report ---------------------------------------------------------------------------------------------------


def test_sqnr_is_the_ratio_of_energies():
    signal = np.ones((3, 4), np.float32)
    noise = np.array([[0.1] * 4, [0.01] * 4, [0] * 4], np.float32)
    np.testing.assert_allclose(fidelity.sqnr_db(signal, noise), [20, 40, 200], rtol=1e-5)


@pytest.mark.parametrize("name", nets.NAMES)
def test_layer_errors_are_those_of_the_layers(name):
    rows = fidelity.layer_errors(FLOAT[name], INT8[name], PATCHES, footprint(FLOAT[name]))
    assert [row.name for row in rows] == [
        node.name for node in INT8[name].graph.node if node.op_type not in ("QuantizeLinear", "DequantizeLinear")
    ]
    with torch.no_grad():
        values = GraphNet(FLOAT[name]).run(torch.from_numpy(PATCHES))
        rounded = GraphNet(INT8[name]).run(torch.from_numpy(PATCHES))
    for row, node in zip(
        rows, (node for node in INT8[name].graph.node if not node.op_type.endswith("Linear")), strict=True
    ):
        tensor = node.output[0].removesuffix("_QuantizeLinear_Input")
        exact = values[tensor].numpy().astype(np.float64)
        other = rounded[f"{tensor}_DequantizeLinear_Output" if tensor != "output" else "output"].numpy()
        sqnr = 10 * np.log10(np.square(exact).sum() / np.square(exact - other).sum())
        assert row.sqnr_db == pytest.approx(sqnr, abs=0.3), tensor
        assert row.activation_min == pytest.approx(exact.min(), abs=1e-4)
        assert row.activation_max == pytest.approx(exact.max(), rel=1e-4)
        assert row.precision == "int8"
    assert sum(row.macc for row in rows) == footprint(FLOAT[name]).macc


def test_saturation_is_the_share_outside_the_range():
    rows = fidelity.layer_errors(FLOAT["yamnet"], INT8["yamnet"], 3 * PATCHES, footprint(FLOAT["yamnet"]))
    scale, zero = activation_ranges(INT8["yamnet"])["backbone.0.relu"]
    with torch.no_grad():
        values = GraphNet(FLOAT["yamnet"]).run(torch.from_numpy(3 * PATCHES))["backbone.0.relu"].numpy()
    expected = (values > (127.5 - zero) * scale).mean()
    assert 0 < expected < 1
    assert rows[0].saturated == pytest.approx(expected, rel=1e-3)
    assert rows[0].weight_max == pytest.approx(constants(FLOAT["yamnet"])["backbone.0.conv.weight"].max())


# --- repair -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.NAMES)
@pytest.mark.parametrize("per_channel", [True, False])
def test_equalisation_leaves_the_function_as_it_is(name, per_channel):
    equal, pairs = repair.equalise(FLOAT[name], CALIBRATION, per_channel)
    assert pairs == {"yamnet": 11, "pre_activation": 3, "awkward": 0, "uneven": 3}[name]
    expected = run_exactly(FLOAT[name], PATCHES)
    np.testing.assert_allclose(run_exactly(equal, PATCHES), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("per_channel", [True, False])
def test_equalisation_mends_uneven_channels(per_channel):
    config = QuantizeConfig(per_channel=per_channel)
    before = median_sqnr("uneven", quantize(FLOAT["uneven"], CALIBRATION, config))
    equal, _ = repair.equalise(FLOAT["uneven"], CALIBRATION, per_channel)
    after = median_sqnr("uneven", quantize(equal, CALIBRATION, config))
    assert after > before + 6


@pytest.mark.parametrize("name", ["pre_activation", "awkward"])
def test_bias_correction_takes_the_mean_error_away(name):
    config = QuantizeConfig(per_channel=False)
    int8 = quantize(FLOAT[name], CALIBRATION, config)
    _, corrected, most = repair.correct_biases(FLOAT[name], int8, CALIBRATION, config)
    exact = run_exactly(FLOAT[name], CALIBRATION).mean(axis=0)
    before, after = (np.abs(run_exactly(model, CALIBRATION).mean(axis=0) - exact).max() for model in (int8, corrected))
    assert most > 0 and after < 0.5 * before
    assert activation_ranges(corrected) == activation_ranges(int8)


CLIPS = 200


def verdict(points: float) -> JudgedModel:
    """Of a model that gets ``points`` of the clips wrong: the first ones."""
    wrong = round(CLIPS * points / 100)
    hits = torch.arange(CLIPS) >= wrong
    return JudgedModel(float(hits.float().mean()), torch.stack([hits, ~hits], dim=1).float(), torch.zeros(CLIPS).long())


def judged(*drops: float) -> Judge:
    """A judge that says 90 % of the first model, and of the next what is lost to that; the last for ever."""
    answers = [10.0, *(10 + drop for drop in drops)]
    return lambda model: verdict(answers.pop(0) if len(answers) > 1 else answers[0])


def searched(*drops: float, **changes: Any) -> Search:
    changes = {"repair": ("equalise", "bias")} | changes
    return Search(FLOAT["uneven"], CALIBRATION, QuantizeConfig(**changes), judged(*drops))


@pytest.mark.parametrize(
    ("drops", "tried", "kept", "outcome"),
    [
        ((0,), ["static"], ["static"], "within"),
        ((0.5,), ["static"], ["static"], "within"),
        ((1.0,), ["static"], ["static"], "not evident"),  # two clips
        ((3, 0.5), ["static", "equalise"], ["static", "equalise"], "within"),
        ((3, 3, 3), ["static", "equalise", "bias"], ["static"], "beyond"),
        ((3, 2, 2), ["static", "equalise", "bias"], ["static"], "beyond"),  # gains of two clips
        ((6, 4, 1), ["static", "equalise", "bias"], ["static", "equalise", "bias"], "not evident"),
        ((3, 5, 0.5), ["static", "equalise", "bias"], ["static", "bias"], "within"),
    ],
)
def test_only_what_is_evident_counts(drops, tried, kept, outcome):
    search = searched(*drops)
    best = search.run()
    assert [step.name for step in search.steps] == tried
    assert [step.name for step in search.steps if step.kept] == kept
    assert best.score == max(step.score for step in search.steps if step.kept)
    assert search.outcome == outcome
    assert search.steps[0].gain == pytest.approx(-drops[0], abs=1e-3)
    assert all(step.low > 0 for step in search.steps[1:] if step.kept)
    assert float_layers(best.int8) == ()


def test_a_better_sqnr_alone_keeps_nothing():
    """Equalisation gains many dB on this net."""
    search = searched(5, 5)
    search.run()
    static, equalise = search.steps[:2]
    assert equalise.sqnr_db > static.sqnr_db + 6 and not equalise.kept


def test_max_drop_is_held_against_the_interval():
    evident = difference(verdict(13), verdict(10))
    assert 0.5 < evident.low < 1.6 < evident.points
    for limit, tried in ((evident.low - 0.01, 3), (evident.low + 0.01, 1)):
        search = searched(3, max_drop=limit)
        search.run()
        assert len(search.steps) == tried


def test_layers_are_left_in_float_only_if_allowed_and_not_all(caplog):
    refused = searched(20)
    assert float_layers(refused.run().int8) == ()
    refused.conclude()
    assert "INT8 IS WORSE: it loses 20.00 points (90 % interval" in caplog.text
    assert "on 200 judging clips, beyond quantization.max_drop=0.5, after repair by equalise, bias" in caplog.text
    assert "quantization.float_layers=allowed" in caplog.text and "quantization=qat" in caplog.text
    search = searched(20, 16, 12, float_layers="allowed", repair=())
    best = search.run()
    assert [step.name for step in search.steps] == ["static", "float", "float"]  # half of four layers
    assert [step.detail.count(",") for step in search.steps[1:]] == [0, 1]
    assert search.steps[-1].sqnr_db > search.steps[0].sqnr_db
    assert set(search.steps[-1].detail.removeprefix("in float: ").split(", ")) <= set(float_layers(best.int8))


def test_two_layers_are_left_in_float_where_one_gains_too_little():
    search = searched(20, 20, 10, float_layers="allowed", repair=())
    search.run()
    assert [step.kept for step in search.steps] == [True, False, True]


def test_allowed_layers_stay_in_int8_where_nothing_is_gained():
    search = searched(20, float_layers="allowed")
    assert float_layers(search.run().int8) == ()
    assert [step.name for step in search.steps] == ["static", "equalise", "bias", "float", "float"]


@pytest.mark.parametrize(("drop", "kept"), [(2, True), (1, True), (2.5, False)])
def test_what_was_asked_for_is_taken_unless_it_is_worse(drop, kept):
    search = searched(2, drop, repair=())
    best = search.run()
    assert (search.try_requested("qat", best.float_model, best.int8, "", best.reference) is not best) == kept


def test_a_loss_that_no_clip_shows_is_unknown_and_calls_for_nothing(caplog):
    nothing = JudgedModel(math.nan, torch.rand(20, 2), torch.zeros(20, 2))
    search = Search(FLOAT["uneven"], CALIBRATION, QuantizeConfig(float_layers="allowed"), lambda model: nothing)
    best = search.run()
    assert search.outcome == "unknown" and [step.name for step in search.steps] == ["static"]
    search.conclude()
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "INT8 COULD NOT BE JUDGED: none of the 20 judging clips has a class" in record.getMessage()
    assert search.try_requested("qat", best.float_model, best.int8, "", best.reference) is not best, "it was asked for"


def test_a_loss_that_is_total_is_measured():
    """No clip is right any more: what the interval divides by is 0 at its end."""
    answers = iter([0, 100, 100, 100])
    search = Search(
        FLOAT["uneven"], CALIBRATION, QuantizeConfig(repair=("equalise", "bias")), lambda model: verdict(next(answers))
    )
    search.run()
    assert search.outcome == "beyond" and search.loss.points == 100


@pytest.mark.parametrize("names", [("a, b", "c [d]"), ("/net/Conv", "it's ${x}"), ("plain",)])
def test_settings_that_can_leave_float_can_be_typed_back(names):
    config = QuantizeConfig(exclude_nodes=names, exclude_ops=("Gemm",), float_layers="allowed")
    typed = shlex.split(" ".join(config.may_leave_float))
    read = OverridesParser.create().parse_overrides(typed)
    values = {item.key_or_group: item.value() for item in read}
    tree = OmegaConf.create({key.removeprefix("quantization."): value for key, value in values.items()})
    again = OmegaConf.to_container(tree, resolve=True)
    assert QuantizeConfig(**again) == config


def test_a_loss_that_chance_explains_is_told_quietly(caplog):
    search = searched(1)
    search.run()
    with caplog.at_level("INFO"):
        search.conclude()
    (record,) = caplog.records
    assert record.levelname == "INFO" and "int8 loses 1.00 points" in record.getMessage()


def test_what_may_not_be_tried_is_not():
    search = searched(9, repair=())
    search.run()
    assert [step.name for step in search.steps] == ["static"]


# --- fine-tuning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", nets.NAMES)
@pytest.mark.parametrize("per_channel", [True, False])
def test_fake_quantisation_is_that_of_onnx_runtime(name, per_channel):
    int8 = quantize(FLOAT[name], CALIBRATION, QuantizeConfig(per_channel=per_channel))
    net = qat.FakeQuantNet(FLOAT[name], int8)
    with torch.no_grad():
        got = net(torch.from_numpy(PATCHES)).numpy()
    expected = run_exactly(int8, PATCHES)
    step = quantization_facts(int8, QuantizeConfig(), ()).output_scale
    assert np.abs(got - expected).max() <= 1.001 * step
    for key, array in net.trained().items():
        np.testing.assert_allclose(array, constants(FLOAT[name])[key], rtol=1e-6)


def test_every_weight_and_bias_learns():
    net = qat.FakeQuantNet(FLOAT["pre_activation"], INT8["pre_activation"])
    net(torch.from_numpy(CALIBRATION)).square().sum().backward()
    gradients = [parameter.grad for parameter in net.parameters()]
    assert len(gradients) == 2 * sum(node.op_type in ("Conv", "Gemm") for node in FLOAT["pre_activation"].graph.node)
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)


def divergence(model: onnx.ModelProto, int8: onnx.ModelProto) -> float:
    """Mean Kullback-Leibler divergence of int8 posteriors from float ones, nats."""
    exact, rounded = (torch.from_numpy(run_exactly(graph, PATCHES)).log_softmax(dim=1) for graph in (model, int8))
    return float(torch.nn.functional.kl_div(rounded, exact, log_target=True, reduction="batchmean"))


def test_fine_tuning_brings_int8_nearer_to_float_in_the_same_graph():
    torch.manual_seed(3)
    net = nets.Uneven(spread=30.0).eval()
    with torch.no_grad():  # logits as far apart as those of a trained net
        scale = 2 / net(torch.from_numpy(PATCHES)).std()
        net.head.weight.mul_(scale)
        net.head.bias.mul_(scale)
    model = to_onnx(net, nets.FRONTEND, ExportConfig())
    config = QuantizeConfig(method="qat", per_channel=False)
    int8 = quantize(model, CALIBRATION, config)
    many = nets.patches(512, seed=3)
    tuned, made, student = qat.fine_tune(model, int8, lambda epoch: many.split(32), config, CALIBRATION, "single_label")
    assert divergence(model, made) < 0.2 * divergence(model, int8)
    assert [(n.op_type, list(n.input), list(n.output)) for n in made.graph.node] == [
        (n.op_type, list(n.input), list(n.output)) for n in int8.graph.node
    ]
    assert activation_ranges(made) == activation_ranges(int8)
    with torch.no_grad():
        fake = student(many).numpy()
    exact = run_exactly(made, many.numpy())
    agreement = (fake.argmax(axis=1) == exact.argmax(axis=1)).mean()
    assert qat.agreement(student, made, many.numpy()) == pytest.approx(agreement)
    assert agreement >= 0.995
    assert not np.array_equal(constants(tuned)["head.weight"], constants(model)["head.weight"])


def test_layers_left_in_float_stay_so_through_fine_tuning():
    int8 = quantize(FLOAT["awkward"], CALIBRATION, QuantizeConfig(exclude_nodes=("side",)))
    config = replace(QuantizeConfig(), qat_epochs=1)
    batches = nets.patches(16)
    _, made, _ = qat.fine_tune(FLOAT["awkward"], int8, lambda epoch: [batches], config, CALIBRATION, "single_label")
    assert float_layers(made) == float_layers(int8)


def test_fine_tuning_that_diverges_says_so():
    config = QuantizeConfig(method="qat", qat_lr=1e37, qat_epochs=3)
    batches = nets.patches(64).split(8)
    with pytest.raises(AedError, match="qat_lr"):
        qat.fine_tune(FLOAT["awkward"], INT8["awkward"], lambda epoch: batches, config, CALIBRATION, "single_label")


def test_the_numbers_of_the_tiny_helper_are_real():
    """The nets really are hard or easy in the way their tests rely on."""
    assert median_sqnr("yamnet", INT8["yamnet"]) > 25
    assert median_sqnr("uneven", INT8["uneven"]) < 30
    weights = {item.name: numpy_helper.to_array(item) for item in FLOAT["uneven"].graph.initializer}
    peaks = np.abs(weights["first.weight"]).max(axis=(1, 2, 3))
    assert peaks.max() / peaks.min() > 100


def test_a_repair_that_cannot_run_leaves_the_others(monkeypatch, caplog):
    def fail(*arguments):
        raise AedError("operator HardSigmoid cannot be run by torch")

    monkeypatch.setattr("aed.export.search.equalise", fail)
    search = searched(5, 4)
    search.run()
    assert [step.name for step in search.steps] == ["static", "bias"]
    assert "repair by equalise is left out" in caplog.text


def test_layers_are_compared_with_the_graph_they_stand_for():
    search = searched(5, 0, repair=("equalise",))
    best = search.run()
    assert [step.name for step in search.steps if step.kept] == ["static", "equalise"]
    rows = fidelity.layer_errors(best.reference, best.int8, PATCHES, footprint(FLOAT["uneven"]))
    assert min(row.sqnr_db for row in rows if row.sqnr_db is not None) > 15
    assert max(row.saturated for row in rows) < 0.02
