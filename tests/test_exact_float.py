"""Int8 layers computed in float32: every bit is that of integer arithmetic, on whatever CPU."""

import nets
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from aed.export.exact_float import UNFUSED, in_float
from aed.export.graph import copy_of, input_of, strip_ends
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import _session

PATCHES = nets.patches(24, seed=1).numpy()


def both(model: onnx.ModelProto, feeds: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every int8 tensor, by the graph in float and by the integers."""
    shown = copy_of(model)
    made = {name for node in shown.graph.node if node.op_type == "QuantizeLinear" for name in node.output}
    present = {value.name for value in shown.graph.output}
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(made - present))
    whole = in_float(shown)
    assert whole is not None
    sessions = _session(whole, exact=True, without=UNFUSED), _session(shown, exact=True)
    found = []
    for session in sessions:
        parts = [session.run(None, {input_of(model).name: feed}) for feed in feeds]
        found.append([np.concatenate(part) for part in zip(*parts, strict=True)])
    return list(zip(*found, strict=True))


@pytest.mark.parametrize("name", nets.NAMES)
@pytest.mark.parametrize("strip", [False, True])
def test_every_net_gives_the_bits_of_integers(name, strip):
    model = quantize(to_onnx(nets.make(name), nets.FRONTEND, ExportConfig()), PATCHES[:16], QuantizeConfig())
    feeds = [patch[None] for patch in PATCHES]
    if strip:
        model, random = strip_ends(model), np.random.default_rng(0)
        feeds = [random.integers(-128, 128, feed.shape).astype(np.int8) for feed in feeds]
    tensors = both(model, feeds)
    assert len(tensors) > 3
    for got, expected in tensors:
        np.testing.assert_array_equal(got, expected)
    assert max(len(np.unique(expected)) for _, expected in tensors) > 100


def layer(
    weights: np.ndarray, bias: np.ndarray, zero: int, target: tuple[float, int], relu: bool, sides: int = 2
) -> onnx.ModelProto:
    """int8 -> dequantised -> 1x1 convolution over so many axes -> (Relu) -> int8."""
    outputs = len(weights)
    scales = np.linspace(0.001, 0.004, outputs, dtype=np.float32)
    arrays = {
        "w": weights.astype(np.int8)[(..., *[None] * sides)],
        "w_scale": scales,
        "w_zero": np.zeros(outputs, np.int8),
    }
    arrays |= {"b": bias.astype(np.int32), "b_scale": scales * np.float32(0.05), "b_zero": np.zeros(outputs, np.int32)}
    arrays |= {"x_scale": np.float32(0.05), "x_zero": np.int8(zero)}
    arrays |= {"y_scale": np.float32(target[0]), "y_zero": np.int8(target[1])}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["x_float"], "x_float"),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["w_float"], "w_float", axis=0),
        helper.make_node("DequantizeLinear", ["b", "b_scale", "b_zero"], ["b_float"], "b_float", axis=0),
        helper.make_node("Conv", ["x_float", "w_float", "b_float"], ["sum"], "conv"),
        *([helper.make_node("Relu", ["sum"], ["active"], "relu")] if relu else []),
        helper.make_node("QuantizeLinear", ["active" if relu else "sum", "y_scale", "y_zero"], ["y"], "y"),
    ]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.INT8, [1, channels, 16, 1][: 2 + sides])
        for name, channels in (("x", weights.shape[1]), ("y", outputs))
    ]
    constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    channels=st.sampled_from([1, 3, 8, 64, 500]),
    zero=st.integers(-128, 127),
    target=st.tuples(st.floats(1e-3, 2.0), st.integers(-128, 127)),
    relu=st.booleans(),
    most=st.sampled_from([1, 20, 127]),
    sides=st.sampled_from([1, 2]),
)
def test_any_layer_is_that_of_64_bit_integers(seed, channels, zero, target, relu, most, sides):
    random = np.random.default_rng(seed)
    weights, bias = random.integers(-most, most + 1, (16, channels)), random.integers(-5000, 5000, 16)
    model = layer(weights, bias, zero, (target[0], -128 if relu else target[1]), relu, sides)
    x = random.integers(-128, 128, (1, channels, 16, 1)[: 2 + sides]).astype(np.int8)
    sums = np.einsum("oc,nc...->no...", weights, x.astype(np.int64) - zero) + bias.reshape(-1, *[1] * sides)
    [(got, exact)] = both(model, [x])
    np.testing.assert_array_equal(got, exact)
    scales = np.linspace(0.001, 0.004, 16, dtype=np.float32)
    ratio = np.float32(0.05) * scales / np.float32(target[0])
    steps = np.rint(sums.astype(np.float32) * ratio.reshape(-1, *[1] * sides)) + (-128 if relu else target[1])
    np.testing.assert_array_equal(got, np.clip(steps, -128, 127))


@pytest.mark.parametrize(("channels", "is_exact"), [(518, True), (519, False)])
def test_a_layer_whose_sums_a_float_does_not_hold_stays_integer(channels, is_exact):
    """518 products of 127 and 255 are below 2**24, 519 are not."""
    model = layer(np.full((16, channels), 127), np.zeros(16), -128, (1.0, 0), relu=False)
    assert (in_float(model) is not None) == is_exact


def test_a_layer_that_onnx_runtime_computes_in_float_stays_as_it_is():
    """A Relu whose zero is not the least int8 is none of the integers' range."""
    clipped = layer(np.ones((16, 8)), np.zeros(16), 0, (0.1, -128), relu=True)
    assert in_float(clipped) is not None
    assert in_float(layer(np.ones((16, 8)), np.zeros(16), 0, (0.1, -100), relu=True)) is None
    shifted = layer(np.ones((16, 8)), np.zeros(16), 0, (0.1, 0), relu=False)
    for item in shifted.graph.initializer:
        if item.name == "w_zero":
            item.CopyFrom(numpy_helper.from_array(np.ones(16, np.int8), "w_zero"))
    assert in_float(shifted) is None
