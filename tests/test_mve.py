"""Kernels for MVE, each layer alone on an emulated Cortex-M55, against sums of numpy.

The input, the output and the weights of a layer lie at the ends of memories: an access past them is a fault.
"""

import re
import shutil
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from aed.base.errors import AedError
from aed.target.boards import load_board
from aed.target.codegen.generate import kernel_sources, net_sources
from aed.target.codegen.mve import fits_blocks
from aed.target.codegen.operators.conv import Conv, Depthwise
from aed.target.codegen.operators.elementwise import Add, Multiply
from aed.target.codegen.operators.gemm import Dense
from aed.target.codegen.operators.mean import GlobalAveragePool, MeanOfSums, RowSums
from aed.target.codegen.operators.pool import AveragePool, MaxPool
from aed.target.codegen.plan import make_plan
from aed.target.codegen.program import Layer, Program, Rows, Tensor
from aed.target.emulator import toolchain
from aed.target.emulator.qemu import run_program

pytestmark = pytest.mark.usefixtures("compiles")

BOARD = load_board("mps3-an547")
MEMORIES = {"in": (0x20000000, 0x20080000), "weight": (0x01000000, 0x01200000), "out": (0x21300000, 0x21400000)}
"""Where each lies: at the end, or at the start; beyond the first two and above the third there is nothing."""

F32 = np.float32


@pytest.fixture(autouse=True)
def arm() -> None:
    for tool in ("arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip(
                f"{tool} is not here: apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm"
            )


@dataclass(frozen=True)
class Case:
    """A layer, its input and the output that it should have."""

    program: Program
    steps: np.ndarray
    wanted: np.ndarray
    sums: np.ndarray | None = None  # of a convolution


def case(layer: Layer, steps: np.ndarray, wanted: np.ndarray, x: Tensor, y: Tensor) -> Case:
    tensors = {"in": x, "out": y}
    if isinstance(layer, Add | Multiply) and layer.weight is not None:
        tensors["constant"] = Tensor("constant", (1, 1, layer.weight.size), x.scale, 3)
    return Case(Program([layer], tensors, "in", "out"), steps.reshape(-1), wanted.reshape(-1))


def tensor(name: str, shape: tuple[int, ...], zero: int, scale: float = 0.05) -> Tensor:
    height, width, channels = shape
    return Tensor(name, (height, width, channels), F32(scale), zero)


def rounded(sums: np.ndarray, factor: np.ndarray, zero: int) -> np.ndarray:
    """Steps of sums: one factor a channel, halves to even."""
    return np.clip(np.rint(sums.astype(F32) * factor.astype(F32)) + zero, -128, 127).astype(np.int8)


def windows(
    image: np.ndarray, out: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], pad: tuple[int, int],
    dilation: tuple[int, int], value: int,
) -> np.ndarray:  # fmt: skip
    """``(H, W, kh, kw, C)``: the inputs of each output, ``value`` outside the image."""
    made = np.full((*out, *kernel, image.shape[2]), value, np.int64)
    for y, x, i, j in np.ndindex(*out, *kernel):
        row, column = y * stride[0] - pad[0] + i * dilation[0], x * stride[1] - pad[1] + j * dilation[1]
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            made[y, x, i, j] = image[row, column]
    return made


def conv(
    draw: np.random.Generator, shape: tuple[int, int, int], outputs: int, kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1), pad: tuple[int, int] = (0, 0), after: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1), multiplier: int = 0, edges: bool = False,
) -> Case:  # fmt: skip
    """A convolution; with ``multiplier`` a depthwise one.

    Args:
        after: Padding below and on the right.
        edges: Many weights are -128.
    """
    height, width = (
        (size + first + last - (taps - 1) * apart - 1) // step + 1
        for size, first, last, taps, apart, step in zip(shape, pad, after, kernel, dilation, stride, strict=False)
    )
    image = draw.integers(-128, 128, shape).astype(np.int8)
    outputs = outputs or shape[2] * multiplier
    x, y = tensor("in", shape, -7), tensor("out", (height, width, outputs), 5)
    bias = draw.integers(-3000, 3000, outputs).astype(np.int32)
    seen = windows(image, (height, width), kernel, stride, pad, dilation, x.zero)
    size = (*kernel, outputs) if multiplier else (outputs, *kernel, shape[2])
    weight = draw.integers(-128 if edges else -127, 128, size).astype(np.int8)
    if edges:
        weight[draw.random(size) < 0.5] = -128
    if multiplier:
        sums = (np.repeat(seen, multiplier, axis=4) * weight).sum(axis=(2, 3)) + bias
    else:
        sums = np.einsum("yxijc,oijc->yxo", seen, weight.astype(np.int64)) + bias
    factor = (draw.uniform(0.3, 2.0, outputs) * 60 / np.abs(sums).mean()).astype(F32)  # some saturate
    wanted = rounded(sums, factor, y.zero)
    kind = Depthwise if multiplier else Conv
    facts = {"kernel": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    layer = kind(name="a", inputs=("in",), output="out", weight=weight, bias=bias, factor=factor, **facts)
    return replace(case(layer, image, wanted, x, y), sums=sums.reshape(-1, outputs))


def with_swish(made: Case) -> Case:
    """The same convolution with a HardSwish that has all three parts of its curve in the range of its outputs."""
    (layer,), y = made.program.layers, made.program.tensors["out"]
    assert isinstance(layer, Conv | Depthwise) and made.sums is not None
    half, slope = layer.factor * F32(0.5), F32(0.05)
    value = made.sums.astype(F32) * half
    gate = np.clip(value * slope + F32(1), F32(0), np.nextafter(F32(2), F32(0)))
    wanted = np.clip(np.rint(value * gate) + y.zero, -128, 127).astype(np.int8)
    return replace(
        made,
        program=replace(made.program, layers=[replace(layer, factor=half, slope=slope)]),
        wanted=wanted.reshape(-1),
    )


def dense(draw: np.random.Generator, inputs: int, outputs: int) -> Case:
    made = conv(draw, (1, 1, inputs), outputs)
    layer = made.program.layers[0]
    assert isinstance(layer, Conv)
    weight = layer.weight.reshape(outputs, inputs)
    twin = Dense(name="a", inputs=("in",), output="out", weight=weight, bias=layer.bias, factor=layer.factor)
    return Case(Program([twin], made.program.tensors, "in", "out"), made.steps, made.wanted, made.sums)


def max_pool(draw: np.random.Generator, shape: tuple[int, int, int], same: bool) -> Case:
    kernel, stride, pad, out = (3, 3), (2, 2), (1, 1), tuple((size + 1) // 2 for size in shape[:2])
    image = draw.integers(-128, 128, shape).astype(np.int8)
    x, y = tensor("in", shape, -7), tensor("out", (*out, shape[2]), -7 if same else 4, 0.05 if same else 0.07)
    most = windows(image, out, kernel, stride, pad, (1, 1), -128).max(axis=(2, 3))
    changed = np.clip(np.rint(x.scale * (most + 7).astype(F32) / y.scale) + 4, -128, 127)
    layer = MaxPool(name="a", inputs=("in",), output="out", kernel=kernel, stride=stride, pad=pad)
    return case(layer, image, (most if same else changed).astype(np.int8), x, y)


def mean(draw: np.random.Generator, shape: tuple[int, int, int], low: int, high: int) -> Case:
    image = draw.integers(low, high + 1, shape).astype(np.int8)
    x, y = tensor("in", shape, -7), tensor("out", (1, 1, shape[2]), 5)
    factor = np.array([1.3 / (shape[0] * shape[1])], F32)
    sums = (image.astype(np.int64) - x.zero).sum(axis=(0, 1))
    layer = GlobalAveragePool(name="a", inputs=("in",), output="out", factor=factor)
    return case(layer, image, rounded(sums, factor, y.zero), x, y)


def row_sums(draw: np.random.Generator, shape: tuple[int, int, int]) -> Case:
    """Sums of rows, int32, as the bytes they are."""
    image = draw.integers(-128, 128, shape).astype(np.int8)
    x, y = tensor("in", shape, -7), tensor("out", (shape[0], 1, 4 * shape[2]), -7)
    wanted = image.sum(axis=1, dtype=np.int32).astype("<i4").view(np.int8)
    return case(RowSums(name="a", inputs=("in",), output="out"), image, wanted, x, y)


def mean_of_sums(draw: np.random.Generator, rows: int, channels: int) -> Case:
    sums = draw.integers(-900, 900, (rows, channels)).astype("<i4")
    x, y = tensor("in", (rows, 1, 4 * channels), -7), tensor("out", (1, 1, channels), 5)
    factor = np.array([0.06], F32)
    facts = {"factor": factor, "pixels": 10 * rows, "taken": Rows(count=rows)}
    layer = MeanOfSums(name="a", inputs=("in",), output="out", **facts)
    return case(layer, sums.view(np.int8), rounded(sums.sum(axis=0) + 70 * rows, factor, y.zero), x, y)


def average_pool(draw: np.random.Generator, shape: tuple[int, int, int], count: int) -> Case:
    """Real values, added one after the other and divided by those inside the image, or by ``count``."""
    kernel, stride, pad = (3, 2), (2, 1), (1, 1)
    image = draw.integers(-128, 128, shape).astype(np.int8)
    out = ((shape[0] + 1) // 2, shape[1] + 1)
    x, y = tensor("in", shape, -7), tensor("out", (*out, shape[2]), 5, 0.02)
    real = x.scale * (image - F32(x.zero))
    wanted = np.empty((*out, shape[2]), np.int8)
    for at in np.ndindex(*out):
        rows, columns = (
            range(max(0, place * step - 1), min(size, place * step - 1 + taps))
            for place, step, size, taps in zip(at, stride, shape, kernel, strict=False)
        )
        total = np.zeros(shape[2], F32)
        for row, column in product(rows, columns):
            total = total + real[row, column]
        mean = total / F32(count or len(rows) * len(columns)) / y.scale
        wanted[at] = np.clip(np.rint(mean + F32(y.zero)), -128, 127)
    layer = AveragePool(name="a", inputs=("in",), output="out", kernel=kernel, stride=stride, pad=pad, count=count)
    return case(layer, image, wanted, x, y)


def fused(one: np.ndarray, other: np.ndarray, third: np.ndarray) -> np.ndarray:
    """``one * other + third`` of float32, rounded once: in float64 the product is exact, and these sums nearly so."""
    return (one.astype(np.float64) * other.astype(np.float64) + third.astype(np.float64)).astype(F32)


def elementwise(draw: np.random.Generator, kind: type[Add | Multiply], shape: tuple[int, int, int], size: int) -> Case:
    """With a constant of ``size`` values; 0: the input with itself."""
    image = draw.integers(-128, 128, shape).astype(np.int8)
    x, y = tensor("in", shape, -7), tensor("out", shape, 5)
    weight = draw.integers(-128, 128, size).astype(np.int8) if size else None
    other, zero = (image, -7) if weight is None else (np.resize(weight, image.shape), 3)
    one = image.astype(F32)
    if kind is Add:
        factor = x.scale / y.scale
        fixed = F32(5) - fused(factor, F32(-7), factor * F32(zero))
        value = fused(one, factor, fused(other.astype(F32), factor, fixed))
    else:
        product = (image.astype(np.int64) + 7) * (other.astype(np.int64) - zero)
        value = product.astype(F32) * F32(x.scale * x.scale / y.scale) + F32(5)
    wanted = np.clip(np.rint(value), -128, 127).astype(np.int8)
    layer = kind(name="a", inputs=("in", "in" if weight is None else "constant"), output="out", weight=weight)
    return case(layer, image, wanted, x, y)


def all_cases() -> dict[str, Case]:
    draw = np.random.default_rng(0)
    cases = {f"pointwise {k} to {o}": conv(draw, (3, 5, k), o) for k, o in
             ((16, 8), (32, 24), (48, 16), (64, 13), (80, 8), (96, 3), (5, 10), (12, 7))}  # fmt: skip
    for k in (16, 80):
        cases[f"pointwise, even, {k}"] = conv(draw, (2, 4, k), 16)
    cases |= {
        "pointwise, stride": conv(draw, (5, 7, 32), 9, stride=(2, 3)),
        "pointwise, padded": conv(draw, (3, 4, 16), 8, pad=(1, 1), after=(1, 1)),
        "3 x 3": conv(draw, (4, 5, 8), 16, (3, 3), pad=(1, 1), after=(1, 1)),
        "3 x 3, stride": conv(draw, (6, 8, 1), 20, (3, 3), stride=(2, 2), after=(1, 1)),
        "3 x 3, wide": conv(draw, (3, 6, 20), 8, (3, 3), pad=(1, 1), after=(1, 1)),
        "3 x 3, one column": conv(draw, (4, 1, 16), 8, (3, 3), pad=(1, 1), after=(1, 1)),
        "3 x 3, two columns": conv(draw, (4, 2, 16), 8, (3, 3), pad=(1, 1), after=(1, 1)),
        "5 x 5, stride": conv(draw, (7, 9, 3), 9, (5, 5), stride=(2, 2), pad=(2, 2), after=(2, 2)),
        "dilated": conv(draw, (5, 6, 4), 8, (3, 3), pad=(2, 2), after=(2, 2), dilation=(2, 2)),
        "1 x 5": conv(draw, (2, 6, 6), 12, (1, 5)),
        "edges": conv(draw, (2, 3, 32), 8, edges=True),
        "dense": dense(draw, 256, 10),
        "dense, small": dense(draw, 33, 3),
    }
    around = {"pad": (1, 1), "after": (1, 1)}
    for channels in (4, 8, 12, 16, 20, 48, 5, 7):
        cases[f"depthwise {channels}"] = conv(draw, (4, 5, channels), 0, (3, 3), multiplier=1, **around)
    for width in (1, 2, 3):
        cases[f"depthwise, {width} columns"] = conv(draw, (2, width, 16), 0, (3, 3), multiplier=1, **around)
    cases |= {
        "depthwise, stride": conv(draw, (6, 9, 32), 0, (3, 3), (2, 2), multiplier=1, after=(1, 1)),
        "depthwise, stride, odd": conv(draw, (5, 7, 24), 0, (3, 3), (2, 2), multiplier=1, **around),
        "depthwise, dilated": conv(
            draw, (5, 7, 16), 0, (3, 3), dilation=(2, 2), multiplier=1, pad=(2, 2), after=(2, 2)
        ),
        "depthwise 5 x 5": conv(draw, (5, 6, 24), 0, (5, 5), multiplier=1, pad=(2, 2), after=(2, 2)),
        "depthwise 2 x 2": conv(draw, (5, 6, 16), 0, (2, 2), multiplier=1),
        "depthwise 1 x 1": conv(draw, (2, 3, 16), 0, (1, 1), multiplier=1),
        "depthwise 3 x 1": conv(draw, (4, 3, 20), 0, (3, 1), multiplier=1, pad=(1, 0), after=(1, 0)),
        "depthwise, multiplier": conv(draw, (4, 5, 6), 0, (3, 3), multiplier=2, **around),
        "depthwise, edges": conv(draw, (4, 5, 16), 0, (3, 3), multiplier=1, edges=True, **around),
    }
    cases |= {f"{name}, swish": with_swish(made) for name, made in cases.items()}
    for channels in (5, 16, 20):
        for same in (True, False):
            cases[f"max {channels} {same}"] = max_pool(draw, (5, 6, channels), same)
    cases |= {
        "mean": mean(draw, (3, 5, 13), -128, 127),
        "mean of 8": mean(draw, (3, 5, 8), -128, 127),
        "mean of the least": mean(draw, (20, 30, 8), -128, -128),
        "mean of the most": mean(draw, (20, 30, 16), 127, 127),
    }
    for channels in (3, 8, 13):
        cases[f"sums of rows {channels}"] = row_sums(draw, (4, 300 if channels == 3 else 5, channels))
        cases[f"mean of sums {channels}"] = mean_of_sums(draw, 5, channels)
        for count in (0, 6):
            cases[f"average {channels} {count}"] = average_pool(draw, (5, 4, channels), count)
    for kind in (Add, Multiply):
        for size in (0, 1, 7):
            cases[f"{kind.kind} {size}"] = elementwise(draw, kind, (3, 5, 7), size)
        cases[f"{kind.kind} 40"] = elementwise(draw, kind, (2, 3, 40), 40)
    return cases


def unit(number: int, made: Case) -> str:
    """The net of a case as a file of C whose constants lie in RAM, and its run; all names have a number."""
    sources = net_sources(made.program, make_plan(made.program))
    text = sources["aed_net.c"].replace("aed_net_run", f"aed_net_run_{number}")
    (first, size), weight = (made.steps.size, made.wanted.size), MEMORIES["weight"]
    header = sources["aed_net.h"].replace("aed_net_run", f"aed_net_run_{number}")
    text = text.replace('#include "aed_net.h"', header).replace("static const", "static")
    text = re.sub(r"    memcpy\(out, \(const int8_t \*\)net->arena[^;]*;\n", "", text)  # it is not there, see below
    streamed, layer = "weight0" in text, "plain0" if "plain0" in text else "layer0"
    moved = f"""
    const uint32_t bytes = sizeof weight0;
    {layer}.weight = memcpy((void *)(at_end ? {weight[1]:#x}u - bytes : {weight[0]:#x}u), weight0, bytes);
"""
    return f"""#include <string.h>
#include "semihost.h"
{text}
int case_{number}(int32_t from, int32_t to, int at_end);
int case_{number}(int32_t from, int32_t to, int at_end) {{
    int8_t *const in = (int8_t *)(at_end ? {MEMORIES["in"][1]:#x}u - {first}u : {MEMORIES["in"][0]:#x}u);
    int8_t *const out = (int8_t *)({MEMORIES["out"][1]:#x}u - {size}u);
    {moved if streamed else "(void)at_end;"}
    memset(out - 64, 99, {size}u + 64u);
    if (aed_read(from, in, {first}u) != {first}u) {{
        return 71;
    }}
    static aed_net net;
    stages[0].out = out - (int8_t *)net.arena; /* not the arena */
    aed_net_run_{number}(&net, in, out);
    for (int i = 1; i <= 64; ++i) {{
        if (out[-i] != 99) {{
            return 75;
        }}
    }}
    return aed_write(to, out, {size}u) ? 73 : 0;
}}
"""


def outputs(folder: Path, cases: list[Case], flags: tuple[str, ...]) -> list[np.ndarray]:
    """Outputs of all cases on the board, with all at the end of its memory and with inputs and weights at the start."""
    numbers = range(len(cases))
    calls = "".join(f"    if ((code = case_{n}(from, to, at_end)) != 0) {{ return code; }}\n" for n in numbers)
    main = f"""#include "semihost.h"
{"".join(f"int case_{n}(int32_t from, int32_t to, int at_end);" + chr(10) for n in numbers)}
static int all(int32_t from, int32_t to, int at_end) {{
    int code;
{calls}    return 0;
}}
int main(void) {{
    const int32_t from = aed_open("input.bin", 1), to = aed_open("output.bin", 5);
    const int code = all(from, to, 1);
    return code != 0 ? code : all(from, to, 0);
}}
"""
    sources = kernel_sources() | toolchain.harness_sources() | {"main.c": main}
    sources |= {f"case_{number}.c": unit(number, made) for number, made in enumerate(cases)}
    elf = toolchain.build(folder, sources, BOARD, flags)
    content = b"".join(made.steps.tobytes() for made in cases) * 2
    raw = np.frombuffer(run_program(elf, folder / "run", content, BOARD, count=False), np.int8)
    ends = np.cumsum([made.wanted.size for made in cases] * 2)
    assert ends[-1] == raw.size
    return np.split(raw, ends[:-1])


@pytest.mark.parametrize("flags", [(), ("-DAED_INTRINSICS",), ("-O0",)], ids=["assembly", "intrinsics", "unoptimised"])
def test_each_layer_alone_gives_the_right_bits_and_stays_inside_its_memory(tmp_path, flags):
    cases = all_cases()
    got = outputs(tmp_path, list(cases.values()), flags)
    for (name, made), at_end, at_start in zip(cases.items(), got, got[len(cases) :], strict=False):
        np.testing.assert_array_equal(at_end, made.wanted, name)
        np.testing.assert_array_equal(at_start, made.wanted, name)
        assert len(np.unique(made.wanted)) > 2 or "of the" in name, name


def test_every_kernel_is_among_them():
    text = "".join(net_sources(made.program, make_plan(made.program))["aed_net.c"] for made in all_cases().values())
    kernels = "".join(body for name, body in kernel_sources().items() if name.endswith("_mve.c"))
    functions = set(re.findall(r"^void (aed_\w+)\(", kernels, re.M))
    functions |= {name for pair in re.findall(r"^AED_BOTH_ROWS\((\w+), (\w+),", kernels, re.M) for name in pair}
    assert "aed_pointwise_row" in functions and functions <= set(re.findall(r"aed_\w+", text))


@pytest.mark.parametrize(
    "address", [MEMORIES["in"][0] - 1, MEMORIES["weight"][0] - 1, *(end for _, end in MEMORIES.values())]
)
def test_an_access_past_such_a_memory_is_a_fault(tmp_path, address):
    text = f"int main(void) {{ return *(volatile signed char *){address:#x}u; }}"
    elf = toolchain.build(tmp_path, {**toolchain.harness_sources(), "main.c": text}, BOARD)
    with pytest.raises(AedError, match="a fault of the core"):
        run_program(elf, tmp_path / "run", b"", BOARD)


def test_blocks_need_sums_of_two_products_that_fit_16_bits():
    fits = np.full((9, 16), 127, np.int8)
    assert fits_blocks(fits, 16) and 128 * (127 + 127) <= 32767 < 128 * (127 + 129)
    edge = fits.copy()
    edge[:2, 5] = -128
    assert not fits_blocks(edge, 16)
    apart = fits.copy()  # 128 * 255 = 32640; a last tap is alone
    apart[1, 5] = apart[8, 5] = -128
    assert fits_blocks(apart, 16)
    assert not fits_blocks(fits, 8) and not fits_blocks(fits[:, :6], 6)
