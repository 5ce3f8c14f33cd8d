"""Kernels on every core against sums in NumPy: shapes for each way through them, weights at the bounds of proofs."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from aed.export.curves import LIMIT
from aed.target.boards import board_names, load_board
from aed.target.codegen.generate import kernel_sources, net_sources
from aed.target.codegen.operators.conv import Conv, Depthwise
from aed.target.codegen.operators.elementwise import Add
from aed.target.codegen.operators.gemm import Dense
from aed.target.codegen.operators.mean import GlobalAveragePool
from aed.target.codegen.operators.pool import MaxPool
from aed.target.codegen.plan import make_plan
from aed.target.codegen.program import Layer, Program, Tensor
from aed.target.codegen.window import WindowLayer
from aed.target.emulator import measure, toolchain
from aed.target.host import build_library, net_memory, pointer

pytestmark = pytest.mark.usefixtures("compiles")

BOARDS = [name for name in board_names() if load_board(name).machine]


def windows(image: np.ndarray, layer: WindowLayer, shape: tuple[int, ...], outside: int) -> np.ndarray:
    """What each output sees, ``(height, width, kh, kw, channels)``, of an image ``(height, width, channels)``."""
    height, width, channels = image.shape
    seen = np.full((*shape[:2], *layer.kernel, channels), outside, np.int64)
    for at in np.ndindex(*seen.shape[:4]):
        y, x = (at[i] * layer.stride[i] - layer.pad[i] + at[i + 2] * layer.dilation[i] for i in (0, 1))
        if 0 <= y < height and 0 <= x < width:
            seen[at] = image[y, x]
    return seen


def steps(sums: np.ndarray, factor: np.ndarray, zero: int, slope: np.float32 | None = None) -> np.ndarray:
    value = sums.astype(np.float32) * factor.astype(np.float32)
    if slope is not None:
        value = value * np.clip(value * slope + np.float32(1), np.float32(0), LIMIT)
    return np.clip(np.rint(value) + zero, -128, 127).astype(np.int8)


def products(layer: Layer, x: Tensor, shape: tuple[int, ...], image: np.ndarray) -> np.ndarray:
    """Sums of a layer without its bias, by definition."""
    weight = layer.weight.astype(np.int64)
    if isinstance(layer, Dense):
        return (weight @ image.ravel())[None, None]
    if isinstance(layer, Conv):
        return np.einsum("yxijc,oijc->yxo", windows(image, layer, shape, x.zero), weight)
    repeated = np.repeat(windows(image, layer, shape, x.zero), shape[2] // x.shape[2], axis=4)
    return np.einsum("yxijc,ijc->yxc", repeated, weight)


def computed(layer: Layer, program: Program, values: dict[str, np.ndarray]) -> np.ndarray:
    """The output of a layer, by its definition."""
    x, y = program.ends(layer)
    image = values[x.name].astype(np.int64)
    if isinstance(layer, (Conv, Depthwise)):
        return steps(products(layer, x, y.shape, image) + layer.bias, layer.factor, y.zero, layer.slope)
    if isinstance(layer, MaxPool):
        return windows(image, layer, y.shape, -128).max(axis=(2, 3)).astype(np.int8)
    if isinstance(layer, Add):
        other = program.tensors[layer.inputs[1]]
        one, two = (np.float64(np.float32(part.scale / y.scale)) for part in (x, other))
        real = one * (image - x.zero) + two * (values[other.name].astype(np.int64) - other.zero)
        return np.clip(np.rint(real + y.zero), -128, 127).astype(np.int8)
    assert isinstance(layer, GlobalAveragePool)
    sums = image.sum(axis=(0, 1)) - x.zero * image.shape[0] * image.shape[1]
    return steps(sums[None, None], layer.factor, y.zero)


class Net:
    """A program that grows layer by layer, and its values for some images; weights and zero points are drawn."""

    def __init__(self, shape: tuple[int, int, int], seed: int, images: np.ndarray | None = None) -> None:
        self.draw = np.random.default_rng(seed)
        self.program = Program()
        self.program.input = self.program.output = self.tensor(shape).name
        self.images = self.draw.integers(-128, 128, (3, *shape)).astype(np.int8) if images is None else images
        self.values = [{self.program.input: image} for image in self.images]

    def tensor(self, shape: tuple[int, ...], zero: int | None = None) -> Tensor:
        name = f"t{len(self.program.tensors)}"
        zero = int(self.draw.integers(-60, 60)) if zero is None else zero
        self.program.tensors[name] = Tensor(name, (shape[0], shape[1], shape[2]), np.float32(1), zero)
        return self.program.tensors[name]

    @property
    def last(self) -> Tensor:
        return self.program.tensors[self.program.output]

    @property
    def expected(self) -> np.ndarray:
        return np.stack([values[self.program.output].ravel() for values in self.values])

    def append(self, layer: type[Layer], shape: tuple[int, ...], zero: int | None = None, **facts: object) -> None:
        name, made = f"n{len(self.program.layers)}", self.tensor(shape, zero)
        inputs = facts.pop("inputs", (self.program.output,))
        self.program.layers.append(layer(name=name, inputs=inputs, output=made.name, **facts))
        self.program.output = made.name
        for values in self.values:
            values[made.name] = computed(self.program.layers[-1], self.program, values)

    def summed(self, layer: type[Layer], shape: tuple[int, ...], spread: float = 45, **facts: object) -> None:
        """A layer of products; bias and factor spread its outputs over most steps, or it would hide mistakes."""
        zero = facts.pop("zero", None)
        nothing = np.zeros(shape[2])
        trial = layer(name="", inputs=(), output="", bias=nothing, factor=nothing, **facts)
        sums = [products(trial, self.last, shape, values[self.last.name].astype(np.int64)) for values in self.values]
        flat = np.stack(sums).reshape(-1, shape[2])
        bias = -flat.mean(axis=0).astype(np.int32)
        factor = (spread / np.maximum(flat.std(axis=0), 1)).astype(np.float32)
        self.append(layer, shape, zero, bias=bias, factor=factor, **facts)

    def conv(self, outputs: int, kernel=(1, 1), stride=(1, 1), pad=(0, 0), dilation=(1, 1), pairs=True, **how) -> None:
        weight = self.draw.integers(-127, 128, (outputs, *kernel, self.last.shape[2])).astype(np.int8)
        if not pairs:
            weight[0, ..., 0], weight[1, ..., 0] = -1, -128  # no int16 is -1 + 256 * -128
        facts = {"kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation}
        self.summed(Conv, self.shape(outputs, **facts), weight=weight, **facts, **how)

    def depthwise(self, outputs: int, kernel=(3, 3), stride=(1, 1), pad=(1, 1), dilation=(1, 1), **how) -> None:
        weight = self.draw.integers(-127, 128, (*kernel, outputs)).astype(np.int8)
        facts = {"kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation}
        self.summed(Depthwise, self.shape(outputs, **facts), weight=weight, **facts, **how)

    def shape(self, outputs: int, kernel, stride, pad, dilation) -> tuple[int, int, int]:
        """As much padding on the right and below as on the left and above."""
        sizes = self.last.shape[:2]
        height, width = ((sizes[i] + 2 * pad[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1))
        return height, width, outputs

    def pool(self, kernel, stride, pad) -> None:
        channels, zero = self.last.shape[2], self.last.zero
        facts = {"kernel": kernel, "stride": stride, "pad": pad, "dilation": (1, 1)}
        self.append(MaxPool, self.shape(channels, **facts), zero, **facts)

    def residual(self) -> None:
        """What comes out of a pointwise convolution, and what went in."""
        before = self.program.output
        self.conv(self.last.shape[2])
        self.append(Add, self.last.shape, inputs=(self.program.output, before))

    def mean(self) -> None:
        height, width, channels = self.last.shape
        self.append(GlobalAveragePool, (1, 1, channels), factor=np.array([3 / (height * width)], np.float32))

    def dense(self, outputs: int) -> None:
        weight = self.draw.integers(-127, 128, (outputs, self.last.size)).astype(np.int8)
        self.summed(Dense, (1, 1, outputs), weight=weight)


def many_convolutions(width: int) -> Net:
    """Rows of ``width`` pixels; rows of the kernel that are whole words and not; odd and even numbers of rows."""
    net = Net((9, width, 1), width)
    net.conv(5, (3, 3), pad=(1, 1))  # 9 values of 3 rows, each a word
    net.conv(6, (2, 3), pad=(1, 2), dilation=(1, 2))  # 30 values, none of its rows whole words
    net.conv(8, (3, 3), pad=(1, 1))  # 54 values
    net.conv(7, (3, 3), pad=(1, 1))  # 72 values, 3 rows of 6 words
    net.conv(12, (1, 1), pad=(0, 1))  # a pointwise one with padding
    net.conv(9, (1, 1), (2, 1), pairs=False)  # rows that do not go in pairs
    net.conv(4, (5, 5), pad=(2, 2))
    net.conv(4)  # four values: the loop of the assembly is not entered
    net.conv(20, (1, 3), pad=(0, 1))
    net.conv(36, slope=np.float32(0.02))
    net.conv(2)  # 36 values: once through the loop of eight times four
    return net


def many_depthwise(width: int) -> Net:
    """Kernels of 3 x 3 that slide, with rows above and below the image, and all others."""
    net = Net((9, width, 3), width)
    net.depthwise(3)  # no whole words
    net.depthwise(6)  # two outputs a channel
    net.conv(8)
    net.depthwise(8)
    net.depthwise(8, dilation=(2, 1), pad=(2, 0) if width > 4 else (2, 1))
    net.depthwise(8, (5, 3), pad=(2, 1))
    net.depthwise(8, pad=(2, 3), stride=(1, 2))
    net.depthwise(8, dilation=(1, 2), pad=(1, 2))
    net.depthwise(8, (5, 5), pad=(2, 2))
    net.conv(8, slope=np.float32(0.015))
    net.depthwise(8, slope=np.float32(0.015))
    net.depthwise(8, (5, 5), pad=(2, 3), stride=(1, 2))
    net.depthwise(8, pad=(1, 1), stride=(2, 2))
    net.residual()
    net.pool((3, 2), (1, 1), (1, 1))
    net.depthwise(8, (2, 2), pad=(1, 1))
    net.mean()
    net.dense(5)
    return net


def on_host(net: Net, folder: Path) -> np.ndarray:
    rows = []
    for overlap in (True, False):
        plan = make_plan(net.program, overlap)
        library = build_library(folder / str(overlap), kernel_sources() | net_sources(net.program, plan))
        memory = net_memory(plan)
        rows.append(np.empty((len(net.images), net.last.size), np.int8))
        for image, row in zip(net.images, rows[-1], strict=True):
            library.aed_net_run(memory, pointer(image), pointer(row))
    np.testing.assert_array_equal(*rows)
    return rows[0]


def on_board(net: Net, board: str) -> np.ndarray:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip(
                f"{tool} is not here: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
            )
    images = net.images.reshape(len(net.images), -1)
    return measure.measure_net(net.program, make_plan(net.program), images, load_board(board)).outputs


NETS = {"convolutions": many_convolutions, "depthwise": many_depthwise}


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8, 13])
def test_each_way_through_the_kernels_gives_the_sums(tmp_path, kind, width):
    net = NETS[kind](width)
    assert np.median(net.expected.std(axis=0)) > 10  # no layer has hidden what came before
    np.testing.assert_array_equal(on_host(net, tmp_path), net.expected)


@pytest.mark.parametrize("kind", NETS)
@pytest.mark.parametrize(
    ("board", "width"),
    [*((board, 13) for board in BOARDS), *(("mps2-an505", width) for width in (1, 2, 4, 5, 6))],
)
def test_each_way_through_the_kernels_gives_the_sums_on_a_board(kind, board, width):
    net = NETS[kind](width)
    np.testing.assert_array_equal(on_board(net, board), net.expected)


@pytest.mark.parametrize("options", [("-O3",), ("-Os",), ("-O2", "-DAED_PORTABLE")])
def test_every_level_of_optimisation_gives_the_sums(monkeypatch, options):
    kept = [flag for flag in toolchain.FLAGS if flag != "-O2"]
    monkeypatch.setattr(toolchain, "FLAGS", (*kept, *options))
    for make in NETS.values():
        net = make(7)
        np.testing.assert_array_equal(on_board(net, "mps2-an505"), net.expected)


@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an505"])
@pytest.mark.parametrize(("bias", "pairs"), [(511, True), (512, False)])
def test_sums_at_the_bound_of_the_proof_are_right(tmp_path, board, bias, pairs):
    """Rows of 516 weights and inputs that make the most of them: 516 * 127 * 128 + 512 is 2**23."""
    weight = np.full((4, 1, 1, 516), 127, np.int8)
    weight[2:] = -127
    images = np.full((3, 1, 7, 516), -128, np.int8)
    images[1] = 127
    images[2, :, 3:] = 127
    net = Net((1, 7, 516), 3, images)
    facts = {"bias": np.full(4, bias, np.int32), "factor": np.full(4, 1.4e-5, np.float32)}
    net.append(Conv, (1, 7, 4), 5, weight=weight, **facts)
    source = net_sources(net.program, make_plan(net.program))["aed_net.c"]
    assert ("aed_conv_pairs_row" in source) == pairs
    np.testing.assert_array_equal(on_host(net, tmp_path), net.expected)
    np.testing.assert_array_equal(on_board(net, board), net.expected)


@pytest.mark.parametrize("zero", [-128, -7, 0, 126, 127])
def test_every_zero_point_saturates_at_both_ends(zero):
    net = Net((4, 6, 4), 7)
    net.conv(4, spread=200, zero=zero)
    net.depthwise(4, spread=200, zero=zero)
    assert {-128, 127} <= set(net.expected.ravel().tolist())
    np.testing.assert_array_equal(on_board(net, "mps2-an505"), net.expected)
