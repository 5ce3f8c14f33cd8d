"""Operators one by one: int8 against float, C against ONNX Runtime bit for bit, and the forms they are exported in."""

from collections.abc import Callable
from functools import partial

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from test_target_net import EMULATED, arm, check, expected, inputs, need, run_on_host  # noqa: F401 (arm is a fixture)
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.export import fidelity, forms, qat
from aed.export.curves import fused_layers
from aed.export.graph import constants, copy_of, input_of
from aed.export.interpreter import GraphNet
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx
from aed.export.precision import activation_ranges, float_layers
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import _session, open_session
from aed.modules.nets import BCResNet, MobileNetAS
from aed.target.boards import load_board
from aed.target.codegen.lower import lower, sketch
from aed.target.codegen.plan import make_plan
from aed.target.emulator import measure

CALIBRATION = nets.patches(16, seed=1).numpy()
PATCHES = nets.patches(16, seed=5)


class Call(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Gate(nn.Module):
    """Squeeze and excite as EfficientAT writes it: with dense layers, squeezed, stacked, its maximum taken."""

    def __init__(self, channels: int, whole: Callable[[Tensor], Tensor], gate: nn.Module) -> None:
        super().__init__()
        self.down, self.up, self.whole, self.gate = nn.Linear(channels, 3), nn.Linear(3, channels), whole, gate

    def forward(self, x: Tensor) -> Tensor:
        scale = self.whole(x)
        narrow = self.up(self.down(scale.squeeze(2).squeeze(2)).relu())
        return torch.stack([self.gate(narrow).view(scale.size()) * x], dim=0).max(dim=0)[0]


class Side(nn.Module):
    """An image joined with what a second branch makes of it, in either order."""

    def __init__(self, branch: nn.Module, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.branch, self.join = branch, join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, self.branch(x))


def conv(inputs: int = 1, outputs: int = 5, kernel: int = 3) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def gate_of_convs(channels: int) -> nn.Module:
    """Squeeze and excite with 1x1 convolutions."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 3, 1), nn.ReLU(), nn.Conv2d(3, channels, 1), nn.Hardsigmoid()
    )


def slopes(number: int) -> nn.Module:
    part = nn.PReLU(number)
    part.weight.data = torch.linspace(-0.3, 1.4, number)
    return part


mean = Call(lambda x: x.mean(dim=(2, 3), keepdim=True))
functional = nn.functional

CURVES = {
    "sigmoid": nn.Sigmoid,
    "hard_sigmoid": nn.Hardsigmoid,
    "hard_sigmoid_by_hand": lambda: Call(lambda x: functional.relu6(x + 3) / 6),
    "hard_swish": nn.Hardswish,
    "hard_swish_by_hand": lambda: Call(lambda x: x * functional.relu6(x + 3) / 6),
    "hard_swish_in_another_order": lambda: Call(lambda x: x * (functional.relu6(3 + x) / 6)),
    "swish": nn.SiLU,
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "leaky": lambda: nn.LeakyReLU(0.13),
    "slope": nn.PReLU,
    "square": lambda: Call(lambda x: x * x),
    "line": lambda: Call(lambda x: (x - 0.3) / 1.7),
    "twice": lambda: nn.Sequential(nn.Hardswish(), nn.Tanh()),
}
"""Functions of one value."""

OTHERS = {
    "relu_after_a_curve": lambda: nn.Sequential(nn.Hardswish(), nn.ReLU()),
    "slopes": lambda: slopes(5),
    "largest_of_all": lambda: nn.AdaptiveMaxPool2d(1),
    "largest": lambda: Call(lambda x: x.amax(dim=(2, 3))),
    "largest_of_a_row": lambda: Call(lambda x: x.max(dim=3)[0]),
    "largest_of_a_column": lambda: Call(lambda x: x.amax(dim=2, keepdim=True)),
    "mean_of_a_row": lambda: Call(lambda x: x.mean(3)),
    "mean_of_a_column": lambda: Call(lambda x: x.mean(2, keepdim=True)),
    "mean_of_rows_and_largest_of_columns": lambda: Call(lambda x: x.mean(2).amax(2) + x.mean(2).mean(2)),
    "average_ceil": lambda: nn.AvgPool2d(3, 2, ceil_mode=True),
    "average_ceil_padded": lambda: nn.AvgPool2d((3, 4), (2, 3), padding=(1, 2), ceil_mode=True),
    "average_ceil_without_padding": lambda: nn.AvgPool2d((3, 4), 3, (1, 2), True, count_include_pad=False),
    "average_padded": lambda: nn.AvgPool2d((3, 2), (2, 1), padding=1),
    "average_without_padding": lambda: nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
    "max_ceil": lambda: nn.MaxPool2d((2, 3), (3, 2), ceil_mode=True),
    "max_ceil_padded": lambda: nn.MaxPool2d(3, 2, padding=1, dilation=2, ceil_mode=True),
    "same": lambda: nn.Conv2d(5, 4, (4, 3), padding="same"),
    "same_dilated": lambda: nn.Conv2d(5, 5, (4, 3), padding="same", dilation=(2, 3), groups=5),
    "valid": lambda: nn.Conv2d(5, 4, (4, 3), padding="valid"),
    "gate_by_mean": lambda: Gate(5, mean, nn.Sigmoid()),
    "gate_by_largest": lambda: Gate(5, Call(lambda x: x.amax(dim=(2, 3), keepdim=True)), nn.Hardsigmoid()),
    "gate_by_convolutions": lambda: Side(gate_of_convs(5), torch.mul),
    "gate_of_a_pixel": lambda: Side(nn.Sequential(nn.Conv2d(5, 1, 1), nn.Sigmoid()), torch.mul),
    "gate_of_a_frame": lambda: Side(nn.Sequential(nn.AvgPool2d((16, 1)), nn.Conv2d(5, 1, 1), nn.Sigmoid()), torch.mul),
    "gate_of_a_band": lambda: Side(nn.Sequential(nn.AvgPool2d((1, 32)), nn.Conv2d(5, 1, 1), nn.Sigmoid()), torch.mul),
    "row": lambda: Side(nn.AvgPool2d((16, 1)), torch.add),
    "row_first": lambda: Side(nn.AvgPool2d((16, 1)), lambda x, y: y + x),
    "column": lambda: Side(nn.AvgPool2d((1, 32)), torch.add),
    "column_first": lambda: Side(nn.AvgPool2d((1, 32)), lambda x, y: y + x),
    "pixel_first": lambda: Side(nn.Conv2d(5, 1, 1), lambda x, y: y + x),
    "constants_first": lambda: Call(lambda x: torch.arange(5.0).view(5, 1, 1) + torch.arange(2.0, 7).view(5, 1, 1) * x),
    "in_and_out": lambda: Call(lambda x: x.unsqueeze(0).squeeze(0).relu()),
    "part": lambda: Call(lambda x: x[:, :, 1:, 3:-2]),
    "part_from_the_end": lambda: Call(lambda x: x[..., -7:, :9].relu()),
    "part_beside_it": lambda: Side(nn.Conv2d(5, 5, (3, 5)), lambda x, y: x[:, :, 1:-1, 2:-2] + y),
    "all_of_it": lambda: Call(lambda x: x[:, :5, -16:]),
    "pixel_turned": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), Call(lambda x: x.permute(0, 2, 3, 1).squeeze(1))),
    "channels_last": lambda: Call(lambda x: x.permute(0, 2, 3, 1).flatten(1)),
    "frames_then_channels": lambda: Call(lambda x: x.mean(2).permute(0, 2, 1).flatten(1)),
}
"""Functions of an image of five channels."""

LONE = ("sigmoid", "hard_swish", "swish", "leaky", "slope", "largest_of_a_row", "average_ceil_padded", "max_ceil")
"""Also tried as what a net begins with."""


def made(parts: list[nn.Module]) -> tuple[nn.Module, onnx.ModelProto, onnx.ModelProto]:
    """A net of these parts and a dense layer, its float and its int8 graph."""
    torch.manual_seed(0)
    net = nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(4))
    net(PATCHES[:1])
    model = to_onnx(net.eval(), nets.FRONTEND, ExportConfig())
    return net, model, quantize(model, CALIBRATION, QuantizeConfig())


CASES = {name: lambda make=make: [conv(), make()] for name, make in (CURVES | OTHERS).items()}
CASES |= {f"{name}_alone": lambda name=name: [(CURVES | OTHERS)[name]()] for name in LONE}
CASES |= {"flatten_alone": lambda: []}


def steps_off(model: onnx.ModelProto, int8: onnx.ModelProto) -> dict[str, tuple[onnx.NodeProto, float]]:
    """Each node, and by how many steps its int8 output differs at most from what float makes of its int8 inputs.

    Values outside the range count as its ends.
    """
    ranges = activation_ranges(int8)
    quantised = {
        node.input[0].removesuffix("_QuantizeLinear_Input"): node.output[0]
        for node in int8.graph.node
        if node.op_type == "QuantizeLinear"
    }
    more = copy_of(int8)
    more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in quantised.values())
    session = _session(more, exact=True)
    names = [output.name for output in session.get_outputs()]
    runs = [session.run(None, {input_of(int8).name: patch[None]}) for patch in PATCHES.numpy()]
    steps = {name: np.concatenate(parts) for name, parts in zip(names, zip(*runs, strict=True), strict=True)}
    real = {
        name: torch.from_numpy(float(ranges[name][0]) * (steps[integer].astype(np.float32) - ranges[name][1]))
        for name, integer in quantised.items()
    }
    nodes, off = {node.name: node for node in model.graph.node}, {}

    def visit(name: str, op: str, value: Tensor) -> Tensor:
        held = nodes[name].output[0]
        if held not in real:  # a layer whose Relu or Clip is its range
            return value
        scale, zero = (float(part) for part in ranges[held])
        inside = value.clamp(scale * (-128 - zero), scale * (127 - zero))
        off[name] = nodes[name], float((inside - real[held]).abs().max()) / scale
        return real[held]

    GraphNet(model).run(real[input_of(model).name], visit=visit)
    return off


def check_steps(model: onnx.ModelProto, int8: onnx.ModelProto) -> None:
    """Half a step; more where there are int8 constants, weights or slopes, a range for a Relu, or a fused curve."""
    held = constants(model)
    fused = {layer.curve for layer in fused_layers(int8).values()}
    off = steps_off(model, int8)
    assert off
    for name, (node, steps) in off.items():
        is_weighted = node.op_type in ("Relu", "Clip") or any(other in held for other in node.input) or name in fused
        assert steps < (6 if is_weighted else 0.51), name


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("name", CASES)
def test_an_operator_is_right_in_float_in_int8_and_in_c(tmp_path, name):
    need("gcc", "gcc")
    net, model, int8 = made(CASES[name]())
    difference_to_torch(fidelity.outputs(model, PATCHES.numpy()), net, PATCHES.numpy())
    assert not float_layers(int8)
    check_steps(model, int8)
    before, after = sketch(model), lower(int8)
    assert [(layer.name, layer.kind) for layer in before.layers] == [(layer.name, layer.kind) for layer in after.layers]
    assert make_plan(before).size == make_plan(after).size
    steps = inputs(after, 24)
    outputs = expected(int8, after, steps)
    np.testing.assert_array_equal(run_on_host(tmp_path, after, steps), outputs)
    assert len(np.unique(outputs, axis=0)) > 5


@pytest.mark.parametrize("name", CURVES)
def test_a_function_of_one_value_is_one_table_or_a_part_of_the_layer_before_it(name):
    _, _, int8 = made([conv(), CURVES[name]()])
    kinds = ["conv", "dense"] if name.startswith("hard_s") else ["conv", "lookup", "dense"]
    assert [layer.kind for layer in lower(int8).layers] == kinds


def test_a_table_that_others_read_too_stays():
    """The sigmoid is read twice: once to gate its input, once as it is."""
    part = Call(lambda x: torch.cat([x * x.sigmoid(), x.sigmoid()], dim=1))
    _, _, int8 = made([conv(), part])
    assert [layer.kind for layer in lower(int8).layers] == ["conv", "lookup", "multiply", "concat", "dense"]


@pytest.mark.parametrize("name", ["sigmoid", "hard_sigmoid", "hard_swish", "tanh", "gelu", "leaky", "slope", "slopes"])
def test_the_fast_session_gives_the_bits_of_the_exact_one(name):
    _, _, int8 = made(CASES[name]())
    fast, exact = open_session(int8), _session(int8, exact=True)
    for patch in PATCHES.numpy():
        feed = {input_of(int8).name: patch[None]}
        np.testing.assert_array_equal(fast.run(None, feed)[0], exact.run(None, feed)[0])


@pytest.mark.parametrize(
    ("operator", "a", "b", "c"),
    [
        ("Add", (0.07635153830051422, -6), (0.03718582168221474, -118), (0.08763252198696136, -31)),
        ("Mul", (0.07731549441814423, -128), (0.0028294832445681095, -128), (0.025286884978413582, -128)),
    ],
)
def test_a_result_of_any_two_values_is_that_of_exact_arithmetic(operator, a, b, c):
    """With scales of a real net for which ONNX Runtime's results of uint8 and of int8 differ in one and four pairs."""
    scales = {"a": a, "b": b, "c": c}
    nodes, arrays = [], []
    for name, (scale, zero) in scales.items():
        ends = [f"{name}_scale", f"{name}_zero"]
        arrays += map(numpy_helper.from_array, (np.float32(scale), np.int8(zero)), ends)
        source = "sum" if name == "c" else name
        nodes.append(helper.make_node("QuantizeLinear", [source, *ends], [f"{name}_steps"]))
        nodes.append(helper.make_node("DequantizeLinear", [f"{name}_steps", *ends], [f"{name}_value"]))
    nodes.insert(4, helper.make_node(operator, ["a_value", "b_value"], ["sum"]))
    shape = [1, 1, 256, 256]
    given, (made,) = (
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in names]
        for names in (("a", "b"), ("c_value",))
    )
    graph = helper.make_graph(nodes, "sum", given, [made], arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    levels = {
        name: (np.arange(-128, 128) - zero).astype(np.float32) * np.float32(scales[name][0])
        for name, (_, zero) in scales.items()
    }
    every = np.meshgrid(levels["a"], levels["b"], indexing="ij")
    feed = {name: values[None, None] for name, values in zip("ab", every, strict=True)}
    fast, exact = (session.run(None, feed)[0] for session in (open_session(model), _session(model, exact=True)))
    np.testing.assert_array_equal(fast, exact)
    assert len(np.unique(fast)) > 100


@pytest.mark.parametrize("curve", ["HardSigmoid", "HardSwish", "Tanh", "Erf", "Sigmoid", "LeakyRelu"])
def test_a_curve_depends_on_nothing_but_its_value(curve):
    """Else a table could not have the bits of an array: so it is with ONNX Runtime's Elu and Softplus."""
    node = helper.make_node(curve, ["x"], ["y"])
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "curve", ends[:1], ends[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    for _ in range(5):
        every = np.float32(draw.uniform(0.01, 0.1)) * (np.arange(256) - draw.integers(0, 256)).astype(np.float32)
        table = session.run(None, {"x": every})[0]
        for size in (*range(1, 40), 255, 70001):
            index = draw.integers(0, 256, size)
            np.testing.assert_array_equal(session.run(None, {"x": every[index]})[0], table[index])


# --- drawn ----------------------------------------------------------------------------------------------------------


class Joined(nn.Module):
    """An image and a part of it, of drawn sizes and ranges, added or multiplied."""

    def __init__(self, draw: np.random.Generator) -> None:
        super().__init__()
        channels = int(draw.integers(1, 9))
        axes = [axis for axis in (2, 3) if draw.integers(0, 2)]
        outputs = channels if draw.integers(0, 2) else 1
        self.first, self.other = nn.Conv2d(1, channels, 3), nn.Conv2d(channels, outputs, 1)
        self.other.weight.data *= float(draw.uniform(0.1, 8))
        self.other.bias.data += float(draw.uniform(-4, 4))
        self.curve = [nn.Identity(), nn.Sigmoid(), nn.ReLU(), nn.Tanh()][int(draw.integers(0, 4))]
        self.axes, self.swapped, self.is_sum = axes, bool(draw.integers(0, 2)), bool(draw.integers(0, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        part = self.curve(self.other(x))
        for axis in self.axes:
            part = part.mean(dim=axis, keepdim=True) if axis == 2 else part.amax(dim=axis, keepdim=True)
        one, other = (part, x) if self.swapped else (x, part)
        return one + other if self.is_sum else one * other


def drawn(seed: int) -> list[nn.Module]:
    """A part of a drawn kind and size."""
    draw = np.random.default_rng(seed)
    kernel, stride = ([int(value) for value in draw.integers(1, high, 2)] for high in (6, 4))
    pads = [int(draw.integers(0, size // 2 + 1)) for size in kernel]
    ceil, include = (bool(value) for value in draw.integers(0, 2, 2))
    channels = int(draw.integers(1, 9))
    kind = draw.choice(["join", "average", "max", "slopes", "same"])
    if kind == "join":
        return [Joined(draw)]
    before = nn.Conv2d(1, channels, 3)
    before.bias.data += float(draw.uniform(-3, 3))
    if kind == "average":
        return [before, nn.AvgPool2d(kernel, stride, pads, ceil, count_include_pad=include)]
    if kind == "max":
        return [before, nn.MaxPool2d(kernel, stride, pads, ceil_mode=ceil), nn.Hardswish()]
    if kind == "slopes":
        part = nn.PReLU(channels)
        part.weight.data = torch.from_numpy(draw.uniform(-2, 2, channels).astype(np.float32))
        return [before, part]
    return [before, nn.Conv2d(channels, 3, kernel, padding="same", dilation=int(draw.integers(1, 4)))]


@pytest.mark.usefixtures("compiles")
@settings(deadline=None, derandomize=True, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_drawn_operators_are_right_in_float_in_int8_and_in_c(tmp_path_factory, seed):
    torch.manual_seed(seed)
    net, model, int8 = made(drawn(seed))
    difference_to_torch(fidelity.outputs(model, PATCHES.numpy()), net, PATCHES.numpy())
    check_steps(model, int8)
    program = lower(int8)
    steps = inputs(program, 6)
    got = run_on_host(tmp_path_factory.mktemp("drawn"), program, steps)
    np.testing.assert_array_equal(got, expected(int8, program, steps))


# --- forms ----------------------------------------------------------------------------------------------------------


def one_window(op: str, size: int, **facts: object) -> onnx.ModelProto:
    """A graph of one convolution or pool over an image of ``size`` x ``size + 3`` pixels and two channels."""
    weights = np.random.default_rng(0).standard_normal((3, 2, *facts["kernel_shape"])).astype(np.float32)
    node = helper.make_node(op, ["x", "w"] if op == "Conv" else ["x"], ["y"], op, **facts)
    ends = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, size, size + 3]),
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None),
    ]
    arrays = [numpy_helper.from_array(weights, "w")] if op == "Conv" else []
    graph = helper.make_graph([node], "window", ends[:1], ends[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: onnx.ModelProto, array: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": array})[0]


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("rule", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_padding_by_rule_becomes_numbers(op, rule):
    for size, kernel, stride in ((7, (3, 2), (2, 1)), (8, (4, 3), (3, 2)), (9, (2, 5), (1, 3)), (6, (2, 2), (2, 2))):
        model = one_window(op, size, kernel_shape=kernel, strides=stride, auto_pad=rule)
        array = np.random.default_rng(1).standard_normal((1, 2, size, size + 3)).astype(np.float32)
        wanted = run(model, array)
        changed = forms.in_one_form(copy_of(model))
        assert {item.name for node in changed.graph.node for item in node.attribute} >= {"pads"}
        assert "auto_pad" not in {item.name for node in changed.graph.node for item in node.attribute}
        np.testing.assert_allclose(run(changed, array), wanted, atol=1e-6)
        with torch.no_grad():
            np.testing.assert_allclose(GraphNet(changed)(torch.from_numpy(array)).numpy(), wanted, atol=1e-5)


def test_int8_averages_do_not_count_what_is_not_there():
    """ONNX Runtime's int8 kernel divides by the whole window where ``count_include_pad`` meets ``ceil_mode``."""
    pool = nn.AvgPool2d(3, 2, ceil_mode=True)
    model = to_onnx(nn.Sequential(conv(), pool, nn.Flatten(), nn.Linear(640, 4)).eval(), nets.FRONTEND, ExportConfig())
    theirs = copy_of(model)
    (node,) = (node for node in theirs.graph.node if node.op_type == "AveragePool")
    assert not {"ceil_mode", "count_include_pad"} & {item.name for item in node.attribute if item.i}
    facts = {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1, "count_include_pad": 1}
    node.CopyFrom(helper.make_node("AveragePool", node.input, node.output, node.name, **facts))
    patches = PATCHES.numpy()
    wanted = fidelity.outputs(model, patches)
    np.testing.assert_allclose(fidelity.outputs(theirs, patches), wanted, atol=1e-5)
    ratios = []
    for graph in (model, theirs):
        int8 = quantize(graph, CALIBRATION, QuantizeConfig())
        ratios.append(np.median(fidelity.sqnr_db(wanted, fidelity.outputs(int8, patches) - wanted)))
    assert ratios[0] > 30 > 25 > ratios[1]


def test_a_bound_that_another_operator_uses_stays_a_bound():
    """1 is an offset and a bound at once; the offset becomes int8."""
    _, _, int8 = made([conv(), Call(lambda x: (x + 1).tanh()), nn.Hardtanh(0.25, 1.0)])
    assert "lookup" in [layer.kind for layer in lower(int8).layers]
    assert not float_layers(int8)


@pytest.mark.parametrize(
    "name", ["hard_sigmoid_by_hand", "hard_swish", "hard_swish_by_hand", "hard_swish_in_another_order"]
)
def test_a_curve_written_by_hand_is_one_operator(name):
    _, model, _ = made([conv(), CURVES[name]()])
    wanted = "HardSwish" if "swish" in name else "Clip"  # the line of a HardSigmoid is in the weights
    assert [node.op_type for node in model.graph.node] == ["Conv", wanted, "Flatten", "Gemm"]


@pytest.mark.usefixtures("trains")
def test_a_net_whose_layers_have_equal_biases_can_be_fine_tuned():
    """As an untrained one has: all 0, which the exporter stores once."""
    twins = [nn.Conv2d(5, 5, 3), nn.ReLU(), nn.Conv2d(5, 5, 3)]
    for part in twins[::2]:
        nn.init.zeros_(part.bias)
    _, model, int8 = made([conv(), *twins])
    assert len({node.input[2] for node in model.graph.node if node.op_type == "Conv"}) == 3
    config = QuantizeConfig(method="qat", qat_epochs=1)
    _, tuned, _ = qat.fine_tune(model, int8, lambda epoch: [PATCHES], config, CALIBRATION, "single_label")
    assert len(lower(tuned).layers) == 4


def test_what_only_looks_like_a_curve_is_none():
    for part in (lambda x: functional.relu6(x + 2) / 6, lambda x: functional.hardtanh(x + 3, 0, 5) / 6):
        _, model, _ = made([conv(), Call(part)])
        assert not {"HardSigmoid", "HardSwish"} & {node.op_type for node in model.graph.node}


# --- what C does not have -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (Call(lambda x: x.permute(0, 1, 3, 2).relu()), r"\(Relu\): .*transposed or reshaped, which moves its values"),
        (Call(lambda x: x.reshape(1, 20, 4, 32).sigmoid()), r"\(Sigmoid\): .*transposed or reshaped"),
        (Call(lambda x: x.mean(dim=1, keepdim=True).sigmoid() * x), r"\(ReduceMean\): only over height and width"),
        (Call(lambda x: x.mean(2, keepdim=True) + x.mean(3, keepdim=True)), r"\(Add\): only of equal shapes"),
        (nn.ELU(), "the C code has no Elu"),
        (Call(lambda x: x[:, 1:4]), r"\(Slice\): axes \[1\], .*only height and width"),
        (Call(lambda x: x[..., ::2]), r"\(Slice\): .*steps \[2\].*without steps"),
    ],
)
def test_what_c_cannot_do_is_named(part, message):
    _, model, int8 = made([conv(), part])
    for program_of, graph in ((lower, int8), (sketch, model)):
        with pytest.raises(AedError, match=message):
            program_of(graph)


def test_a_net_that_only_returns_its_input_is_refused():
    model = to_onnx(nn.Flatten(), nets.FRONTEND, ExportConfig())
    with pytest.raises(AedError, match="the net computes nothing"):
        sketch(model)


def test_a_sum_whose_constant_comes_first_is_refused_where_the_export_did_not_turn_it():
    _, _, int8 = made([conv(), Call(lambda x: x.relu() + torch.arange(5.0).view(5, 1, 1))])
    (add,) = (node for node in int8.graph.node if node.op_type == "Add")
    add.input[:] = add.input[::-1]
    with pytest.raises(AedError, match=r"\(Add\): the constant comes first"):
        lower(int8)


# --- whole nets -----------------------------------------------------------------------------------------------------


class Inverted(nn.Module):
    """Two blocks of MobileNetV3, one of them with squeeze and excite."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6), nn.Hardswish())
        self.deep = nn.Sequential(
            nn.Conv2d(6, 6, 3, padding=1, groups=6, bias=False), nn.BatchNorm2d(6), nn.Hardswish()
        )
        self.gate, self.narrow = Gate(6, mean, nn.Sigmoid()), nn.Conv2d(6, 6, 1)
        self.slopes, self.side = slopes(6), nn.Sequential(nn.AvgPool2d((8, 1)), nn.Conv2d(6, 6, (1, 2), padding="same"))
        self.pool, self.head = nn.AvgPool2d(3, 2, 1, ceil_mode=True), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.narrow(self.gate(self.deep(x)))
        x = self.pool(self.side(x) + self.slopes(x))
        x = x * x.amax(dim=3, keepdim=True).sigmoid()
        return self.head(torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1))


def whole(name: str) -> onnx.ModelProto:
    torch.manual_seed(0)
    mobilenet = partial(MobileNetAS, 5, width=0.2, cut="x12")
    net = {"inverted": Inverted, "bcresnet": lambda: BCResNet(5), "mobilenet": mobilenet}[name]()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None  # the statistics of what it is given once, as after a training
    net.train()(torch.from_numpy(CALIBRATION))
    net.eval()
    return quantize(to_onnx(net, nets.FRONTEND, ExportConfig()), CALIBRATION, QuantizeConfig())


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("name", ["inverted", "bcresnet", "mobilenet"])
def test_whole_nets_give_the_bits_of_onnx_runtime(tmp_path, name):
    need("gcc", "gcc")
    outputs = check(tmp_path, whole(name), 24)
    assert len(np.unique(outputs, axis=0)) > 12


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("board", EMULATED)
def test_emulated_cores_give_the_same_bits(arm, board):  # noqa: F811
    model = whole("inverted")
    program = lower(model)
    kinds = {layer.kind for layer in program.layers}
    assert {"lookup", "prelu", "average_pool", "max_pool", "multiply", "add", "global_average_pool"} < kinds
    steps = inputs(program, 4)
    got = measure.measure_net(program, make_plan(program), steps, load_board(board)).outputs
    np.testing.assert_array_equal(got, expected(model, program, steps))
