"""Conv: of all channels, and depthwise. Sums of 32 bits, one float32 factor a channel, rounded half to even."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.target.codegen import costs
from aed.target.codegen.mve import LANES, conv_stream, depthwise_blocks, depthwise_quads, fits_blocks
from aed.target.codegen.packing import bias_pairs, fits_16_bits, kernel_rows, largest_sums, quads, row_pairs, sliding
from aed.target.codegen.program import Float32, Int8, Int32, Program, Tensor, aligned
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk
from aed.target.codegen.whole import whole_factors, whole_swish_factors
from aed.target.codegen.window import POINTER, WindowLayer, is_explicit, pair, row_function, window_of


class Sliding(NamedTuple):
    """A kernel in C that slides over columns of four channels.

    Args:
        function: Its name.
        column: Bytes of a column.
        weights: Bytes of weights that it unpacks.
        at_once: Outputs that it computes at once, with a stride of 1 and of 2.
        cost: Its instructions for a row, of channels, columns of the input and of the output, and stride.
    """

    function: str
    column: int
    weights: int
    at_once: tuple[int, int]
    cost: Callable[[int, int, int, int], float]


SLIDING = {
    (3, 3): Sliding("aed_depthwise_sliding_row", 24, 0, (3, 2), costs.sliding),
    (5, 5): Sliding("aed_depthwise_5x5_row", 40, 240, (6, 6), costs.sliding_5x5),
}
"""By the size of the window."""


@dataclass(frozen=True, kw_only=True)
class _Convolution(WindowLayer):
    """Sums of weighted values of a window, and the HardSwish of them where the layer has one.

    Args:
        slope: Of a HardSwish; None: there is none. With it ``factor`` is of half the steps: :mod:`aed.export.curves`.
    """

    weight: Int8
    bias: Int32
    factor: Float32
    slope: np.float32 | None = None

    def macc(self, program: Program) -> int:
        """Weights times output pixels."""
        height, width, _ = program.tensors[self.output].shape
        return height * width * self.weight.size

    def struct(
        self,
        source: Source,
        kind: str,
        number: int,
        ends: tuple[Tensor, Tensor],
        *,
        mve: Int8,
        others: npt.NDArray[Any],
        more: Sequence[str] = (),
        factors: Int32 | None = None,
        biases: Int32 | None = None,
    ) -> str:
        """Defines the layer with its constants, and returns its name.

        Args:
            source: Collects the constants.
            kind: C type of the layer.
            number: Of the layer.
            ends: Input and output.
            mve: The stream of the kernels for MVE: weights, biases and factors.
            others: The weights as all others read them.
            more: Fields that all others have beside weights, biases and factors.
            factors: Of cores with SMLAD; None: the bits of floats.
            biases: Of cores with SMLAD; None: those of all.
        """
        odd = len(self.bias) % 2  # kernels take two at once
        bias, factor = np.pad(self.bias, (0, odd)), np.pad(self.factor, (0, odd))
        factors = factor.view(np.int32) if factors is None else factors
        weight = source.weights(f"weight{number}", mve=mve, others=others)
        pointers = [
            f".bias = {source.numbers('int32_t', f'bias{number}', bias, bias if biases is None else biases)}",
            f".factor = {source.numbers('float', f'factor{number}', factor, factors)}",
        ]
        fields = [self.window(*ends), f".weight = {weight}"]
        if self.slope is None:
            return source.struct(kind, f"layer{number}", fields, others=[*pointers, *more])
        plain = source.struct(kind, f"plain{number}", fields, others=[*pointers, *more])
        slope = [f".layer = &{plain}, .slope = {c_float(self.slope)}"]
        return source.struct("aed_swish_t", f"layer{number}", slope)

    def whole(self, rows: Int8, y: Tensor, group: int) -> Int32:
        """Factors in whole numbers where they give the same steps; rows ``(out, k)``."""
        largest = largest_sums(rows, self.bias)
        if self.slope is None:
            return whole_factors(self.factor, y.zero, largest, group)
        return whole_swish_factors(self.factor, self.slope, y.zero, largest, group)

    def curve(self, program: Program, pixels: int) -> float:
        """Instructions of the HardSwish of some pixels; 0 without one."""
        return 0.0 if self.slope is None else float(costs.SWISH * pixels * program.tensors[self.output].shape[2])

    def function(self, name: str) -> str:
        """The C function of a row: ``name``, or that with a curve."""
        return name if self.slope is None else f"{name.removesuffix('_row')}_swish_row"


@dataclass(frozen=True, kw_only=True)
class Conv(_Convolution):
    """A convolution.

    Args:
        weight: ``(out, kh, kw, in)``.
        bias: ``(out,)``, the input's zero point folded in.
        factor: ``(out,)``: steps of the output in one unit of the sum.
    """

    kind: ClassVar[str] = "conv"

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Less for a kernel of one pixel: no pixel is read again once the outputs of the pair it is in are written."""
        if self._is_pointwise(x, y):
            height, width, channels = y.shape
            more = height * width * (channels - x.shape[2])
            return aligned(max(more + 2 * x.shape[2], 2 * channels))
        return super().overlap_offset(x, y)

    def kernel_of_rows(self, source: Source, number: int, program: Program) -> tuple[str, str]:
        """The C function of a row, and its struct; rows of weights in pairs, where that is proved to give the sums."""
        x, y = program.ends(self)
        stream = conv_stream(self.weight.reshape(len(self.weight), -1), self.bias, self.factor)
        rows, pitch = kernel_rows(self.weight.reshape(len(self.weight), self.kernel[0], -1))
        pairs = row_pairs(rows, self.bias)
        others = rows if pairs is None else pairs
        factors, biases = (None, None) if pairs is None else (self.whole(rows, y, 2), bias_pairs(self.bias))
        more = [f".values = {rows.shape[1]}, .pitch = {pitch}"]
        layer = self.struct(
            source, "aed_conv_t", number, (x, y), mve=stream, others=others, more=more, factors=factors, biases=biases
        )
        is_pointwise = self.kernel == (1, 1) and x.shape[2] % LANES == 0 and not self.looks_outside(x, y)
        copies = 0 if is_pointwise else 2 * (-(-self.weight[0].size // LANES) * LANES)  # inputs of two pixels
        source.need_scratch(mve=copies, others=self._scratch(rows.shape[1], y))
        mve_row = "aed_pointwise_row" if is_pointwise else "aed_conv_row"
        row = "aed_conv_row" if pairs is None else "aed_conv_pairs_row"
        return row_function(self.function(mve_row), self.function(row)), layer

    def _scratch(self, values: int, y: Tensor) -> int:
        """Bytes: inputs of some pixels as int16, of one as int8; their outputs if the number of channels is odd."""
        _, width, outputs = y.shape
        pixels = 2 if width == 4 else min(width, 3)
        return 2 * pixels * values + values + 4 + pixels * (outputs + 1) * (outputs % 2)

    def instructions(self, program: Program, pixels: int) -> float:
        """With rows of weights in pairs, as nearly all layers have them."""
        x, y = program.ends(self)
        wide = self.weight[0].size // self.kernel[0]
        together, whole = aligned(self.kernel[0] * wide), self.kernel[0] * aligned(wide)
        is_direct = whole <= together and (self.dilation[1] == 1 or self.kernel[1] == 1)
        edges = self.edges(x, y) * pixels // y.shape[1]
        sums = costs.conv(min(together, whole), len(self.weight), pixels, edges, self.kernel, wide, is_direct)
        return sums + self.curve(program, pixels)

    def is_pixelwise(self, program: Program) -> bool:
        """With a kernel of one pixel."""
        return self._is_pointwise(*program.ends(self))

    def _is_pointwise(self, x: Tensor, y: Tensor) -> bool:
        same = x.shape[:2] == y.shape[:2]  # no padding, not even on the right or below
        return self.kernel == (1, 1) == self.stride and same


@dataclass(frozen=True, kw_only=True)
class Depthwise(_Convolution):
    """A convolution of each channel alone.

    Args:
        weight: ``(kh, kw, out)``.
        bias: ``(out,)``, the input's zero point folded in.
        factor: ``(out,)``: steps of the output in one unit of the sum.
    """

    kind: ClassVar[str] = "depthwise"

    def instructions(self, program: Program, pixels: int) -> float:
        """Of the kernel that slides over columns, where the shapes allow it."""
        x, y = program.ends(self)
        rows, channels = pixels / y.shape[1], y.shape[2]
        if self._may_slide(x, y):
            sums = SLIDING[self.kernel].cost(channels, x.shape[1], y.shape[1], self.stride[1])
        else:
            by_fours = channels == x.shape[2] and channels >= 4
            sums = costs.depthwise(channels, self.weight[..., 0].size, y.shape[1], by_fours)
        return rows * sums + self.curve(program, pixels)

    def kernel_of_rows(self, source: Source, number: int, program: Program) -> tuple[str, str]:
        """The C function of a row, and its struct; weights of 3 x 3 in an order of their own where that is possible."""
        x, y = program.ends(self)
        taps = self.weight.reshape(self.kernel[0] * self.kernel[1], -1)
        slides, has_blocks = self._slides(taps, x, y), fits_blocks(taps, x.shape[2])
        others = sliding(taps) if slides and self.kernel == (3, 3) else quads(taps)
        stream = (depthwise_blocks if has_blocks else depthwise_quads)(taps, self.bias, self.factor)
        factors = self.whole(np.ascontiguousarray(taps.T), y, 4) if slides and self.slope is None else None
        layer = self.struct(source, "aed_depthwise_t", number, (x, y), mve=stream, others=others, factors=factors)
        scratch = POINTER * len(taps) + x.shape[2] + 3  # taps of a pixel, and one outside the image
        source.need_scratch(mve=scratch, others=max(scratch, self._columns(y.shape[1]) if slides else 0))
        blocks = "aed_depthwise_3x3_row" if self.kernel == (3, 3) else "aed_depthwise_blocks_row"
        mve_row = blocks if has_blocks else "aed_depthwise_row"
        row = SLIDING[self.kernel].function if slides else "aed_depthwise_row"
        return row_function(self.function(mve_row), self.function(row)), layer

    def _slides(self, taps: Int8, x: Tensor, y: Tensor) -> bool:
        """Whether a kernel that slides over columns gives the sums and steps."""
        steps = self.factor if self.slope is None else 2 * self.factor
        return self._may_slide(x, y) and fits_16_bits(taps, self.bias, steps)

    def _may_slide(self, x: Tensor, y: Tensor) -> bool:
        if self.kernel not in SLIDING or self.stride[1] > 2 or self.dilation[1] > 1:
            return False
        return x.shape[2] % 4 == 0 and x.shape[2] == y.shape[2]

    def _columns(self, width: int) -> int:
        """Bytes under a row of ``width`` outputs, of which several are computed at once."""
        facts = SLIDING[self.kernel]
        at_once = facts.at_once[self.stride[1] - 1]
        columns = self.stride[1] * (-(-width // at_once) * at_once - 1) + self.kernel[1]
        return facts.column * columns + facts.weights


def factor_of(x: Tensor, scales: Float32, y: Tensor, outputs: int, slope: np.float32 | None) -> Float32:
    """ONNX Runtime's factor, ``(outputs,)``: (input scale * weight scale) / output scale, each step in float32.

    With a slope half of that.
    """
    factor = (x.scale * scales.astype(np.float32)) / y.scale * np.float32(1 if slope is None else 0.5)
    return np.broadcast_to(factor, outputs).astype(np.float32)


def folded(bias: Int32, weight: Int8, x: Tensor) -> Int32:
    """``bias`` less what the zero point of ``x`` adds to every sum; ``weight`` has the output first.

    Raises:
        AedError: It does not fit 32 bits.
    """
    sums = weight.reshape(len(bias), -1).astype(np.int64).sum(axis=1)
    result = bias.astype(np.int64) - x.zero * sums
    if np.abs(result).max(initial=0) > np.iinfo(np.int32).max:
        raise AedError("a bias does not fit 32 bits; the model's ranges are broken")
    return np.asarray(result, dtype=np.int32)


def _conv(walk: Walk, node: onnx.NodeProto) -> None:
    facts = walk.attributes(node)
    x, y = walk.input(node), walk.output(node)
    (weight, scales), slope = walk.weight(node), walk.slope(node)
    group, channels = facts.get("group", 1), x.shape[2]
    if weight.ndim != 4:
        raise walk.refusal(node, "only convolutions of images")
    if not is_explicit(facts):
        raise walk.refusal(node, "only explicit padding")
    is_depthwise = group == channels and weight.shape[1] == 1 and group > 1
    if group != 1 and not is_depthwise:
        raise walk.refusal(node, "only group=1 and depthwise")
    outputs = len(weight)
    bias = folded(walk.bias(node, outputs), weight, x)
    packed = weight.transpose(2, 3, 0, 1)[..., 0] if is_depthwise else weight.transpose(0, 2, 3, 1)
    layer = (Depthwise if is_depthwise else Conv)(
        name=node.name,
        inputs=(x.name,),
        output=y.name,
        weight=np.ascontiguousarray(packed),
        bias=bias,
        factor=factor_of(x, scales, y, outputs, slope),
        slope=slope,
        kernel=pair(weight.shape[2:]),
        **window_of(facts),
    )
    walk.program.layers.append(layer)


LOWERINGS: dict[str, Lowering] = {"Conv": _conv}
