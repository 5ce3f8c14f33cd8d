"""A layer and its HardSwish in one: the graph against whole numbers of numpy, C against the graph, torch, reports."""

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from test_target_net import EMULATED, arm, check, expected, inputs, need  # noqa: F401 (arm is a fixture)
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.export import fidelity, qat, repair
from aed.export.card import ModelCard
from aed.export.curves import LARGEST_SUM, fused_layers, in_real_values, need_separate
from aed.export.footprint import footprint
from aed.export.graph import constants, copy_of, input_of, load_model, save_model, strip_ends
from aed.export.interpreter import GraphNet
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.precision import activation_ranges, float_layers
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import _session, open_session
from aed.target.boards import load_board
from aed.target.cloud import backend as cloud
from aed.target.codegen.lower import lower, sketch
from aed.target.codegen.plan import make_plan
from aed.target.emulator import measure
from aed.target.stedgeai.backend import StEdgeAi

pytestmark = pytest.mark.usefixtures("computes")

CALIBRATION = nets.patches(16, seed=1).numpy()
PATCHES = nets.patches(16, seed=5).numpy()
LEVELS = ort.GraphOptimizationLevel


class Gated(nn.Module):
    """A block of MobileNetV3: expanded, depthwise, squeeze and excite, narrowed, added."""

    def __init__(self, channels: int, wide: int, kernel: int, gate: type[nn.Module], act: type[nn.Module]) -> None:
        super().__init__()
        self.wide = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), act())
        self.deep = nn.Sequential(nn.Conv2d(wide, wide, kernel, 1, kernel // 2, groups=wide), act())
        self.down, self.up, self.gate = nn.Linear(wide, 5), nn.Linear(5, wide), gate()
        self.narrow = nn.Conv2d(wide, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.deep(self.wide(x))
        scale = self.gate(self.up(self.down(y.mean(dim=(2, 3))).relu()))
        return x + self.narrow(y * scale[:, :, None, None])


class Swishing(nn.Module):
    """Stem, blocks, a last 1x1 convolution, a hidden dense layer: each with a curve."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        draw = np.random.default_rng(seed)
        channels, wide = int(draw.integers(3, 13)), int(draw.integers(2, 9)) * int(draw.choice([1, 4]))
        act = draw.choice([nn.Hardswish, nn.Hardswish, nn.SiLU])
        gate = draw.choice([nn.Sigmoid, nn.Hardsigmoid])
        self.stem = nn.Sequential(nn.Conv2d(1, channels, 3, int(draw.integers(1, 3)), 1), nn.Hardswish())
        kernels = (int(kernel) for kernel in draw.choice([1, 3, 5], 2))
        self.blocks = nn.Sequential(*(Gated(channels, wide, kernel, gate, act) for kernel in kernels))
        self.last = nn.Sequential(nn.Conv2d(channels, 2 * wide, 1), nn.Hardswish(), nn.AdaptiveAvgPool2d(1))
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(2 * wide, 7), nn.Hardswish())
        self.head = nn.Linear(7, 4)
        with torch.no_grad():
            for part in self.modules():
                if isinstance(part, nn.Conv2d):
                    part.weight *= float(draw.uniform(0.7, 2))
                    part.weight *= torch.from_numpy(draw.uniform(0.3, 3, (len(part.weight), 1, 1, 1))).float()

    def forward(self, patches: Tensor) -> Tensor:
        return self.head(self.hidden(self.last(self.blocks(self.stem(patches)))))


def graph(seed: int = 0) -> onnx.ModelProto:
    torch.manual_seed(seed)
    net = Swishing(seed)
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = None
    net.train()(torch.from_numpy(CALIBRATION))
    return to_onnx(net.eval(), nets.FRONTEND, ExportConfig())


FLOAT = graph()
FUSED, SEPARATE = (quantize(FLOAT, CALIBRATION, QuantizeConfig(curves=curves)) for curves in ("fused", "separate"))


def with_outputs(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    more = copy_of(model)
    more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return more


# --- exact ----------------------------------------------------------------------------------------------------------


def sums_of(layer: onnx.NodeProto, values: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Whole numbers, by 64-bit integers of torch and numpy."""
    if layer.op_type == "Gemm":
        return values @ weight.T + bias
    facts = {item.name: onnx.helper.get_attribute_value(item) for item in layer.attribute}
    top, left, bottom, right = facts.get("pads", [0] * 4)
    padded = np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)))
    seen = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], axis=(2, 3))
    down, across = facts.get("strides", [1, 1])
    seen = seen[:, :, ::down, ::across]
    group, outputs = facts.get("group", 1), len(weight)
    parts = seen.reshape(len(values), group, -1, *seen.shape[2:])
    rows = weight.reshape(group, outputs // group, *weight.shape[1:])
    sums = np.einsum("ngchwij,gocij->ngohw", parts, rows).reshape(len(values), outputs, *seen.shape[2:4])
    return sums + bias[:, None, None]


def oracle(model: onnx.ModelProto, name: str, steps: np.ndarray) -> np.ndarray:
    """int8 outputs of a fused layer for its int8 inputs: sums in 64 bits, then one float32 operation at a time."""
    fused, arrays = fused_layers(model)[name], constants(model)
    source, target, zero = (arrays[part] for part in (fused.source_scale, fused.target_scale, fused.target_zero))
    values = steps.astype(np.int64) - int(arrays[fused.source_zero])
    sums = sums_of(fused.layer, values, arrays[fused.weight].astype(np.int64), arrays[fused.bias].astype(np.int64))
    assert np.abs(sums).max() < LARGEST_SUM
    one = np.float32(1)
    factor = np.atleast_1d(source * arrays[fused.weight_scale] / target * np.float32(0.5))
    factor = factor.reshape(-1, *[1] * (sums.ndim - 2))
    half = sums.astype(np.float32) * factor
    gate = np.clip(half * (target * np.float32(2 / 3)) + one, np.float32(0), np.nextafter(np.float32(2), np.float32(0)))
    assert half.dtype == gate.dtype == np.float32
    return np.clip(np.rint(half * gate) + int(zero), -128, 127).astype(np.int8)


def runs(model: onnx.ModelProto, names: list[str]) -> list[dict[str, np.ndarray]]:
    """The named tensors for all patches, from sessions of all optimisation levels, and from the fast one."""
    found = []
    sessions = [open_session(with_outputs(model, names)), _session(with_outputs(model, names), exact=True)]
    for level in (LEVELS.ORT_DISABLE_ALL, LEVELS.ORT_ENABLE_BASIC, LEVELS.ORT_ENABLE_EXTENDED, LEVELS.ORT_ENABLE_ALL):
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.add_session_config_entry("session.qdqisint8allowed", "1")
        content = with_outputs(model, names).SerializeToString()
        sessions.append(ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]))
    for session in sessions:
        parts = [session.run(names, {input_of(model).name: patch[None]}) for patch in PATCHES]
        whole = [np.concatenate(part) for part in zip(*parts, strict=True)]
        # the fast session holds int8 as uint8, moved by 128
        steps = [(part.astype(np.int16) - 128).astype(np.int8) if part.dtype == np.uint8 else part for part in whole]
        found.append(dict(zip(names, steps, strict=True)))
    return found


def test_sessions_give_whole_numbers_at_every_level_of_optimisation():
    fused = fused_layers(FUSED)
    assert len(fused) >= 5 and {layer.layer.op_type for layer in fused.values()} == {"Conv", "Gemm"}
    names = sorted({name for layer in fused.values() for name in (layer.source, layer.target)})
    for values in runs(FUSED, names):
        for name, layer in fused.items():
            np.testing.assert_array_equal(values[layer.target], oracle(FUSED, name, values[layer.source]), name)
            assert len(np.unique(values[layer.target])) > 20


def test_the_int8_layer_is_nearer_to_float_than_with_int8_between():
    """Weights are the same, so what is left is the rounding between the two."""
    wanted = fidelity.outputs(FLOAT, PATCHES)
    fused, separate = (
        np.median(fidelity.sqnr_db(wanted, fidelity.outputs(int8, PATCHES) - wanted)) for int8 in (FUSED, SEPARATE)
    )
    assert fused > separate
    names = [layer.curve for layer in fused_layers(FUSED).values()]
    rows = {
        kind: {row.name: row for row in fidelity.layer_errors(FLOAT, int8, PATCHES, footprint(FLOAT))}
        for kind, int8 in (("fused", FUSED), ("separate", SEPARATE))
    }
    first = next(iter(fused_layers(FUSED).values()))
    assert rows["fused"][first.layer.name].sqnr_db > rows["separate"][first.curve].sqnr_db
    assert rows["fused"][first.layer.name].op == "Conv + HardSwish"
    assert not set(names) & rows["fused"].keys() and set(names) <= rows["separate"].keys()


def test_a_sum_that_float32_may_not_hold_stays_separate():
    """All weights alike and of the largest size: 2**24 over 127 times 255 inputs are one too many."""

    def net(channels: int) -> nn.Module:
        wide = nn.Sequential(nn.Conv2d(1, channels, 1), nn.ReLU(), nn.Conv2d(channels, 3, 1), nn.Hardswish())
        with torch.no_grad():
            wide[2].weight.fill_(0.5)
            wide[2].bias.zero_()
        return nn.Sequential(wide, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()

    most = (LARGEST_SUM - 1) // (127 * 255)
    for channels, count in ((most, 1), (most + 1, 0)):
        int8 = quantize(to_onnx(net(channels), nets.FRONTEND, ExportConfig()), CALIBRATION, QuantizeConfig())
        assert len(fused_layers(int8)) == count
        assert not float_layers(int8)


def test_graphs_without_curves_do_not_change():
    for name in nets.NAMES:
        model = to_onnx(nets.make(name), nets.FRONTEND, ExportConfig())
        made = [quantize(model, CALIBRATION, QuantizeConfig(curves=curves)) for curves in ("fused", "separate")]
        assert made[0].SerializeToString(deterministic=True) == made[1].SerializeToString(deterministic=True)


def test_a_changed_operation_is_no_fused_layer():
    """Else the C would compute what the file does not say."""
    name = next(iter(fused_layers(FUSED)))
    changes = []
    for part in ("shifted", "gate", "slope", "factor", "half"):
        other = copy_of(FUSED)
        (node,) = (node for node in other.graph.node if node.name == f"{name}.{part}")
        node.input[1] = "aed.half" if node.input[1] != "aed.half" else "aed.one"
        changes.append(other)
    changes.append(copy_of(FUSED))
    for item in changes[-1].graph.initializer:
        if item.name == "aed.limit":
            item.CopyFrom(numpy_helper.from_array(np.array(6, np.float32), item.name))
    for other in changes:
        assert name not in fused_layers(other)
        with pytest.raises(AedError):
            lower(other)


def test_excluded_layers_are_not_fused():
    name = next(iter(fused_layers(FUSED)))
    int8 = quantize(FLOAT, CALIBRATION, QuantizeConfig(exclude_nodes=(name,)))
    assert name in float_layers(int8) and name not in fused_layers(int8)


# --- torch ----------------------------------------------------------------------------------------------------------


def test_torch_runs_the_layers_in_real_values():
    with torch.no_grad():
        got = GraphNet(in_real_values(FUSED))(torch.from_numpy(PATCHES)).numpy()
    scale, _ = activation_ranges(FUSED)["output"]
    assert np.abs(got - fidelity.outputs(FUSED, PATCHES)).max() < 2.5 * scale
    assert in_real_values(SEPARATE) is SEPARATE


def test_ranges_are_those_of_the_curves():
    ranges, separate = activation_ranges(FUSED), activation_ranges(SEPARATE)
    between = {layer.layer.output[0].removesuffix(".sum") for layer in fused_layers(FUSED).values()}
    assert ranges.keys() == separate.keys() - between
    assert all(ranges[name] == separate[name] for name in ranges)
    again = quantize(FLOAT, CALIBRATION[:1], QuantizeConfig(), ranges=ranges)
    assert activation_ranges(again) == ranges


@pytest.mark.usefixtures("trains")
def test_fine_tuning_rounds_after_the_curve_and_gives_a_fused_graph():
    config = QuantizeConfig(method="qat", qat_epochs=2, qat_lr=0.02)
    student = qat.FakeQuantNet(FLOAT, FUSED)
    assert qat.agreement(student, FUSED, PATCHES) == 1
    assert len(student.weights) == sum(node.op_type in ("Conv", "Gemm") for node in FLOAT.graph.node)
    batches = [torch.from_numpy(PATCHES)]
    _, tuned, _ = qat.fine_tune(FLOAT, FUSED, lambda epoch: batches, config, CALIBRATION, "single_label")
    assert fused_layers(tuned).keys() == fused_layers(FUSED).keys()
    assert activation_ranges(tuned) == activation_ranges(FUSED)
    name = next(iter(fused_layers(FUSED)))
    weights = [constants(int8)[fused_layers(int8)[name].weight] for int8 in (FUSED, tuned)]
    assert not np.array_equal(*weights)


def test_biases_are_corrected_through_the_curve():
    """A net whose first biases are moved: correction brings them back, in units of the layer."""
    moved = copy_of(FLOAT)
    name = next(iter(fused_layers(FUSED)))
    (layer,) = (node for node in moved.graph.node if node.name == name)
    for item in moved.graph.initializer:
        if item.name == layer.input[2]:
            item.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(item) + np.float32(0.3), item.name))
    ranges = activation_ranges(FUSED)
    int8 = quantize(moved, CALIBRATION, QuantizeConfig(), ranges=ranges)
    _, corrected, most = repair.correct_biases(FLOAT, int8, CALIBRATION, QuantizeConfig())
    assert fused_layers(corrected).keys() == fused_layers(FUSED).keys()
    assert 0.2 < most < 0.6


# --- C --------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("compiles")
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(1, 10**6))
def test_c_of_drawn_nets_with_curves_gives_the_bits_of_onnx_runtime(tmp_path_factory, seed):
    need("gcc", "gcc")
    model = graph(seed)
    int8 = quantize(model, CALIBRATION, QuantizeConfig())
    assert fused_layers(int8)
    before, after = sketch(model), lower(int8)
    assert [(layer.name, layer.kind) for layer in before.layers] == [(layer.name, layer.kind) for layer in after.layers]
    assert make_plan(before).size == make_plan(after).size
    check(tmp_path_factory.mktemp("curves"), int8)


@pytest.mark.usefixtures("compiles")
@pytest.mark.parametrize("board", EMULATED)
def test_emulated_cores_give_the_same_bits(arm, board):  # noqa: F811
    program = lower(FUSED)
    assert any(layer.kind == "depthwise" for layer in program.layers)
    steps = inputs(program, 6)
    got = measure.measure_net(program, make_plan(program), steps, load_board(board)).outputs
    np.testing.assert_array_equal(got, expected(FUSED, program, steps))


def test_int8_ends_leave_fused_layers_whole():
    assert fused_layers(strip_ends(FUSED)).keys() == fused_layers(FUSED).keys()


def test_vendors_tools_are_told_of_fused_layers_before_they_run(tmp_path):
    path, board = tmp_path / "model_int8.onnx", load_board("b-u585i-iot02a")
    card = ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd"))
    save_model(path, copy_of(FUSED), card)
    for action in (lambda: StEdgeAi().analyze(path, board, tmp_path / "out"), lambda: cloud._handed(path)):
        with pytest.raises(AedError, match=r"model_int8.onnx: \d+ layers have their HardSwish .*curves=separate"):
            action()
    save_model(path, copy_of(SEPARATE), card)
    need_separate(load_model(path), path, "ST Edge AI")
