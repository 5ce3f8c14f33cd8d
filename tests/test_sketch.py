"""What is said of a net before training, by its float graph, and what its int8 graph gives: one law over many nets."""

import itertools
from collections.abc import Iterator

import nets
import numpy as np
import onnx
import pytest
import torch
from test_target_net import check, need
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.export import fidelity
from aed.export.graph import constants, within_range
from aed.export.interpreter import GraphNet
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.precision import float_layers
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.target.codegen.lower import lower, sketch
from aed.target.codegen.program import Program

pytestmark = pytest.mark.usefixtures("compiles")

CALIBRATION = nets.patches(4, seed=1).numpy()


class Joined(nn.Module):
    """Two branches of one input, joined."""

    def __init__(self, one: nn.Module, other: nn.Module, kind: str) -> None:
        super().__init__()
        self.one, self.other, self.kind = one, other, kind

    def forward(self, x: Tensor) -> Tensor:
        one, other = self.one(x), self.other(x)
        if self.kind == "concat":
            return torch.cat([one, other], dim=1)
        return one + other if self.kind == "add" else one * other


def conv(inputs: int, outputs: int = 3, kernel: int = 3) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


def row(channels: int, kind: str, first: bool = False) -> nn.Module:
    """The mean over frequency joined with every band, as in BC-ResNet; ``first``: the row before the image."""
    pool = nn.Sequential(nn.AvgPool2d((16, 1)), nn.Conv2d(channels, channels, 1))
    parts = (pool, nn.Identity()) if first else (nn.Identity(), pool)
    return Joined(*parts, kind)


class Squeeze(nn.Module):
    """Squeeze and excite: a factor for each channel, from the mean or the maximum of all."""

    def __init__(self, channels: int, mean: bool = True) -> None:
        super().__init__()
        self.down, self.up, self.mean = nn.Linear(channels, 3), nn.Linear(3, channels), mean

    def forward(self, x: Tensor) -> Tensor:
        whole = x.mean(dim=(2, 3)) if self.mean else x.amax(dim=(2, 3))
        return x * self.up(self.down(whole).relu()).sigmoid()[:, :, None, None]


FIRST = {
    "conv": lambda: conv(1),
    "norm": lambda: nn.BatchNorm2d(1),
    "max": lambda: nn.MaxPool2d(2),
    "average": lambda: nn.AvgPool2d(2),
    "padded_max": lambda: nn.MaxPool2d(3, 2, padding=1),
    "padded_average": lambda: nn.AvgPool2d(3, 2, padding=1),
    "pad": lambda: nn.ZeroPad2d((1, 0, 2, 1)),
    "flatten": nn.Flatten,
    "relu": nn.ReLU,
    "clamp": lambda: nn.Hardtanh(-6.0, -1.0),
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "branches": lambda: Joined(nn.ReLU(), conv(1), "concat"),
    "double": lambda: Joined(nn.Identity(), nn.MaxPool2d(3, 1, padding=1), "add"),
    "row": lambda: row(1, "add"),
    "gate": lambda: row(1, "multiply"),
    "row_first": lambda: row(1, "add", first=True),
    "tanh": nn.Tanh,
    "gelu": nn.GELU,
    "hardswish": nn.Hardswish,
    "prelu": lambda: nn.Sequential(nn.PReLU(), conv(1), nn.PReLU(3)),
    "squeeze": lambda: nn.Sequential(conv(1), Squeeze(3)),
    "column": lambda: Joined(nn.AvgPool2d((1, 32)), nn.Identity(), "multiply"),
    "ceil": lambda: nn.AvgPool2d(3, 2, padding=1, ceil_mode=True),
    "same": lambda: nn.Conv2d(1, 3, (2, 3), padding="same"),
    "elu": nn.ELU,
}  # fmt: skip
MIDDLE = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "bounded": lambda: nn.Hardtanh(0.25, 2.0),
    "twice": lambda: nn.Sequential(nn.ReLU(), nn.Hardtanh(0.1, 1.0)),
    "silu": nn.SiLU,
}
LAST = ("flat", "mean", "flat_relu", "flat_bounded", "bare", "hidden")


class Net(nn.Module):
    """One of each table, and a head."""

    def __init__(self, first: str, middle: str, last: str) -> None:
        super().__init__()
        self.first, self.middle, self.last = FIRST[first](), MIDDLE[middle](), last
        with torch.no_grad():
            size = self._features(torch.zeros(1, 1, nets.FRONTEND.n_mels, nets.FRONTEND.patch_frames)).shape[1]
        self.head = nn.Linear(size, 4)
        self.more = nn.Linear(4, 3)

    def _features(self, x: Tensor) -> Tensor:
        x = self.middle(self.first(x))
        return x.mean(dim=(2, 3)) if self.last == "mean" and x.ndim == 4 else x.flatten(1)

    def forward(self, patches: Tensor) -> Tensor:
        features = self._features(patches)
        if self.last == "bare":
            return features
        logits = self.head(features)
        ends = {
            "flat_relu": torch.relu,
            "flat_bounded": lambda x: x.clamp(0.1, 2.0),
            "hidden": lambda x: self.more(x.relu()),
        }
        return ends.get(self.last, lambda x: x)(logits)


def topologies() -> Iterator[tuple[str, str, str]]:
    """Every pair of first and last parts; the middles in turn."""
    for (first, last), middle in zip(itertools.product(FIRST, LAST), itertools.cycle(MIDDLE)):
        yield first, middle, last


def made(names: tuple[str, str, str]) -> onnx.ModelProto:
    torch.manual_seed(0)
    return to_onnx(nets.settled(Net(*names)), nets.FRONTEND, ExportConfig())


def judged(program_of, model: onnx.ModelProto) -> Program | str:
    try:
        return program_of(model)
    except AedError as error:
        return str(error)


def shape(program: Program) -> list[tuple[str, str, tuple[int, ...], int]]:
    return [
        (layer.name, layer.kind, program.tensors[layer.output].shape, len(layer.inputs)) for layer in program.layers
    ]


ALL = list(topologies())


@pytest.mark.parametrize("first", FIRST)
def test_what_the_check_before_training_says_is_so(first):
    """The same layers, or a refusal in both; and none is left in float where there is a form in C."""
    for names in (names for names in ALL if names[0] == first):
        model = made(names)
        int8 = quantize(model, CALIBRATION, QuantizeConfig())
        before, after = judged(sketch, model), judged(lower, int8)
        if isinstance(before, Program):
            assert isinstance(after, Program), (names, after)
            assert shape(before) == shape(after), names
            assert not float_layers(int8), names
        else:
            assert isinstance(after, str), (names, before)
        moved = names[2] == "bare" and first in WIDE
        assert isinstance(before, Program) == (first not in REFUSED and not moved), (names, before)


REFUSED = ("elu",)
WIDE = ("conv", "branches", "prelu", "squeeze", "same")
"""Parts with several channels: flattened, they are in another order than ONNX's."""


def test_the_law_is_tried_on_many_nets_of_every_kind():
    assert len(ALL) >= 100
    assert {names[1] for names in ALL} == set(MIDDLE)


@pytest.mark.parametrize(
    "names",
    [
        ("flatten", "silu", "flat_bounded"),
        ("max", "bounded", "hidden"),
        ("average", "twice", "flat"),
        ("relu", "silu", "mean"),
        ("clamp", "relu", "flat_relu"),
        ("branches", "silu", "flat"),
        ("row", "silu", "flat_bounded"),
        ("gate", "relu6", "mean"),
        ("column", "silu", "bare"),
    ],
    ids="-".join,
)
def test_c_gives_the_bits_of_onnx_runtime(tmp_path, names):
    need("gcc", "gcc")
    outputs = check(tmp_path, quantize(made(names), CALIBRATION, QuantizeConfig()), 24)
    assert len(np.unique(outputs, axis=0)) > 1


# --- bounds that no int8 range has ---------------------------------------------------------------------------------


def bounded(low: float, high: float) -> onnx.ModelProto:
    torch.manual_seed(0)
    parts = [nn.Conv2d(1, 6, 3, 2), nn.Hardtanh(low, high), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten()]
    return to_onnx(nn.Sequential(*parts, nn.Linear(8 * 5 * 13, 4)).eval(), nets.FRONTEND, ExportConfig())


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [
        (0.5, 3.0, True),
        (-3.0, -0.5, True),
        (0.0, 6.0, False),
        (-1.0, 1.0, False),
        (-2.0, 0.0, False),
        (0.0, 0.3, False),
    ],
)
def test_no_bound_is_lost(low, high, kept, method):
    model, patches = bounded(low, high), nets.patches(32, seed=2)
    int8 = quantize(model, CALIBRATION, QuantizeConfig(calibration=method, percentile=99.9))
    assert ("Clip" in {node.op_type for node in int8.graph.node}) == kept
    assert not float_layers(int8) and len(int8.graph.output) == 1
    with torch.no_grad():
        values = GraphNet(int8).run(100 * patches)
    after = values[next(name for name in values if name.startswith("1_Dequantize"))]
    step = float(constants(int8)["1_scale"])
    assert after.min() >= low - 0.51 * step and after.max() <= high + 0.51 * step
    expected = fidelity.outputs(model, patches.numpy())
    error = fidelity.outputs(int8, patches.numpy()) - expected
    if method == "minmax":
        assert np.median(fidelity.sqnr_db(expected, error)) > 25


def test_what_a_range_does_for_a_clip():
    def clip(*bounds: str) -> onnx.NodeProto:
        return onnx.helper.make_node("Clip", ["x", *bounds], ["y"])

    arrays = {"low": np.array(-1, np.float32), "high": np.array(1, np.float32)}
    conv, view = (onnx.helper.make_node(op, ["w"], ["x"]) for op in ("Conv", "Flatten"))
    for node, known, expected in (
        (clip("low", "high"), arrays, True),
        (clip(), arrays, True),
        (clip("", "high"), arrays, True),
        (clip("low", "high"), {"low": arrays["low"]}, False),
        (clip("high"), arrays, False),
        (clip("", "low"), arrays, False),
        (onnx.helper.make_node("Relu", ["x"], ["y"]), {}, True),
    ):
        assert within_range(node, conv, known) == expected
        assert not within_range(node, view, known) and not within_range(node, None, known)


def test_an_input_that_is_clipped_first_has_int8_ends():
    facts = quantization_facts(
        quantize(made(("clamp", "silu", "flat")), CALIBRATION, QuantizeConfig()), QuantizeConfig(io="int8"), ()
    )
    assert facts.input_scale == pytest.approx((CALIBRATION.max() - CALIBRATION.min()) / 255, rel=1e-4)
