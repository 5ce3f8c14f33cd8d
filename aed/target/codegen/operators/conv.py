"""Conv: of all channels, and depthwise. Sums of 32 bits, one float32 factor a channel, rounded half to even."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.target.codegen.program import Float32, Int8, Int32, Program, Tensor, aligned
from aed.target.codegen.source import Source
from aed.target.codegen.walk import Lowering, Walk
from aed.target.codegen.window import POINTER, WindowLayer, is_explicit, pair, window_of


@dataclass(frozen=True, kw_only=True)
class _Convolution(WindowLayer):
    """Sums of weighted values of a window."""

    weight: Int8
    bias: Int32
    factor: Float32

    def macc(self, program: Program) -> int:
        """Weights times output pixels."""
        height, width, _ = program.tensors[self.output].shape
        return height * width * self.weight.size


@dataclass(frozen=True, kw_only=True)
class Conv(_Convolution):
    """A convolution.

    Args:
        weight: ``(out, kh, kw, in)``.
        bias: ``(out,)``, the input's zero point folded in.
        factor: ``(out,)``: steps of the output in one unit of the sum.
    """

    kind: ClassVar[str] = "conv"
    row: ClassVar[str] = "aed_conv_row"

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Less for a kernel of one pixel: it reads two pixels before it writes either."""
        if self._is_pointwise(x, y):
            height, width, channels = y.shape
            return aligned(max(0, height * width * (channels - x.shape[2])))
        return super().overlap_offset(x, y)

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; rows of weights, filled with zeros to a multiple of 16 columns."""
        x, y = program.ends(self)
        rows = self.weight.reshape(len(self.weight), -1)
        packed = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 16)))
        fields = [self.window(x, y), *sum_fields(source, number, packed, self.bias, self.factor)]
        layer = source.struct("aed_conv_t", f"layer{number}", fields)
        return [self.row_call(source, layer, 4 * packed.shape[1])]

    def instructions(self, program: Program, pixels: int) -> float:
        """As measured on a Cortex-M33 for blocks of three pixels, two, and one."""
        threes, rest = divmod(pixels, 3)
        return (0.72 * 3 * threes + (0.0, 1.35, 0.9 * 2)[rest]) * self.weight.size + 5.0 * pixels * len(self.weight)

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
    row: ClassVar[str] = "aed_depthwise_row"

    def instructions(self, program: Program, pixels: int) -> float:
        """As measured on a Cortex-M33."""
        return 3.0 * pixels * self.weight.size

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; weights of four channels beside each other, tap after tap."""
        x, y = program.ends(self)
        taps = self.kernel[0] * self.kernel[1]
        rows = self.weight.reshape(taps, -1)
        quads = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))).reshape(taps, -1, 4).transpose(1, 0, 2)
        fields = [self.window(x, y), *sum_fields(source, number, quads, self.bias, self.factor)]
        layer = source.struct("aed_depthwise_t", f"layer{number}", fields)
        return [self.row_call(source, layer, POINTER * taps + x.shape[2] + 3)]


def sum_fields(source: Source, number: int, weight: npt.NDArray[np.int8], bias: Int32, factor: Float32) -> list[str]:
    """Defines the constants of a layer that sums products, and returns the fields that point to them."""
    return [
        f".weight = {source.array('int8_t', f'weight{number}', weight)}",
        f".bias = {source.array('int32_t', f'bias{number}', bias)}",
        f".factor = {source.array('float', f'factor{number}', factor)}",
    ]


def factor_of(x: Tensor, scales: Float32, y: Tensor, outputs: int) -> Float32:
    """ONNX Runtime's factor, ``(outputs,)``: (input scale * weight scale) / output scale, each step in float32."""
    factor = (x.scale * scales.astype(np.float32)) / y.scale
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
    weight, scales = walk.weight(node)
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
        factor=factor_of(x, scales, y, outputs),
        kernel=pair(weight.shape[2:]),
        **window_of(facts),
    )
    walk.program.layers.append(layer)


LOWERINGS: dict[str, Lowering] = {"Conv": _conv}
