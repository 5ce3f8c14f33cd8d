"""MaxPool, also over the whole image or an axis of it, and AveragePool."""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from aed.target.codegen import costs
from aed.target.codegen.program import Program, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk
from aed.target.codegen.window import WindowLayer, is_explicit, pair, window_of


@dataclass(frozen=True, kw_only=True)
class Pool(WindowLayer):
    """A kernel that takes ``aed_pool_t`` and both scales."""

    row: ClassVar[str]
    """The C function that makes a row of the output."""

    def kernel_of_rows(self, source: Source, number: int, program: Program) -> tuple[str, str]:
        """The C function of a row, and its struct."""
        x, y = program.ends(self)
        order = f".by_column = {int(program.turned)}"
        layer = source.struct("aed_pool_t", f"layer{number}", [self.window(x, y), *self.fields(x, y), order])
        return self.row, layer

    def fields(self, x: Tensor, y: Tensor) -> list[str]:
        """Fields of ``aed_pool_t`` beside the window."""
        return [f".in_scale = {c_float(x.scale)}, .out_scale = {c_float(y.scale)}"]


@dataclass(frozen=True, kw_only=True)
class MaxPool(Pool):
    """The largest value in each window."""

    kind: ClassVar[str] = "max_pool"
    row: ClassVar[str] = "aed_max_pool_row"

    def instructions(self, program: Program, pixels: int) -> float:
        """Of four channels at once, as nearly all layers have."""
        return costs.max_pool(program.tensors[self.output].shape[2], self.kernel[0] * self.kernel[1], pixels)


@dataclass(frozen=True, kw_only=True)
class AveragePool(Pool):
    """The mean of each window.

    Args:
        count: What a sum is divided by; 0: the pixels of the window that are in the image.
    """

    kind: ClassVar[str] = "average_pool"
    row: ClassVar[str] = "aed_average_pool_row"
    count: int

    def instructions(self, program: Program, pixels: int) -> float:
        """Of sums of floats, four channels at once, and of two divisions."""
        taps = self.kernel[0] * self.kernel[1]
        return pixels * (60.0 + program.tensors[self.output].shape[2] * (35 + 10.4 * taps))

    def fields(self, x: Tensor, y: Tensor) -> list[str]:
        """Fields of ``aed_pool_t`` beside the window."""
        return [*super().fields(x, y), f".count = {self.count}"]


def _max_pool(walk: Walk, node: onnx.NodeProto) -> None:
    kernel, window = _window(walk, node)
    x, y = walk.input(node), walk.output(node)
    walk.program.layers.append(MaxPool(name=node.name, inputs=(x.name,), output=y.name, kernel=kernel, **window))


def _average_pool(walk: Walk, node: onnx.NodeProto) -> None:
    kernel, window = _window(walk, node)
    facts = walk.attributes(node)
    if window["dilation"] != (1, 1):
        raise walk.refusal(node, "only without dilation")
    x, y = walk.input(node), walk.output(node)
    count = kernel[0] * kernel[1] if facts.get("count_include_pad") else 0
    layer = AveragePool(name=node.name, inputs=(x.name,), output=y.name, kernel=kernel, count=count, **window)
    walk.program.layers.append(layer)


def _window(walk: Walk, node: onnx.NodeProto) -> tuple[tuple[int, int], dict[str, tuple[int, int]]]:
    """Kernel, and stride, padding and dilation, of a pool."""
    facts = walk.attributes(node)
    if not is_explicit(facts):
        raise walk.refusal(node, "only explicit padding")
    if len(walk.shapes[node.input[0]]) != 4:
        raise walk.refusal(node, "only over images")
    return pair(facts["kernel_shape"]), window_of(facts)


def _maximum(walk: Walk, node: onnx.NodeProto) -> None:
    """GlobalMaxPool, and ReduceMax over height, width or both."""
    x, shape, facts = walk.input(node), walk.shapes[node.input[0]], walk.attributes(node)
    axes = facts.get("axes", ()) if node.op_type == "ReduceMax" else (2, 3)
    axes = sorted(int(axis) % 4 for axis in axes)
    if len(shape) != 4 or axes not in ([2], [3], [2, 3]) or (len(axes) == 1 and not facts.get("keepdims", 1)):
        raise walk.refusal(node, "only over height and width of an image, or one of them that is kept as an axis")
    y = walk.output(node)
    kernel = walk.turn((shape[2] if 2 in axes else 1, shape[3] if 3 in axes else 1))
    walk.program.layers.append(MaxPool(name=node.name, inputs=(x.name,), output=y.name, kernel=kernel))


LOWERINGS: dict[str, Lowering] = {
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalMaxPool": _maximum,
    "ReduceMax": _maximum,
}
