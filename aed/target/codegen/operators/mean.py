"""GlobalAveragePool and ReduceMean: the mean of each channel over an image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.export.graph import attributes
from aed.target.codegen.program import Float32, Layer, Program, Rows, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk

SUM = 4
"""Bytes of a sum."""


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Layer):
    """ONNX Runtime's integer kernel.

    Args:
        factor: ``(1,)``: steps of the output in one unit of the sum.
    """

    kind: ClassVar[str] = "global_average_pool"
    factor: Float32

    def parts(self, program: Program, every: int = 0, hop: int = 0) -> tuple[tuple[Layer, ...], Tensor]:
        """Sums that grow row by row, and the means of the last ones; in a stream sums of rows, and means of some."""
        x, y = program.ends(self)
        sums = Tensor(f"{y.name}.sums", (x.shape[0], 1, SUM * x.shape[2]), x.scale, x.zero)
        given: tuple[str, ...] = (x.name, sums.name)
        read: tuple[str, ...] = (sums.name,)
        taken, last = Rows(pad=1 - x.shape[0]), Rows()
        if every:
            given, read, taken = (x.name,), (sums.name, program.input), Rows(count=x.shape[0], stride=every)
            # a decision about a patch comes with its last column, even if the net's last window ends before it
            last = Rows(stride=hop, pad=1 - program.tensors[program.input].shape[0])
        layers = (
            RowSums(name=f"{self.name}.sums", inputs=given, output=sums.name),
            MeanOfSums(
                name=self.name,
                inputs=read,
                output=y.name,
                factor=self.factor,
                pixels=x.shape[0] * x.shape[1],
                taken=taken,
                last=last,
            ),
        )
        return layers, sums

    def instructions(self, program: Program, pixels: int) -> float:
        """Of sums of four channels, two pixels a turn, and of steps."""
        x, _ = program.ends(self)
        return 1.2 * x.size + 25.0 * x.shape[2]

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; all values are arguments."""
        x, y = program.ends(self)
        height, width, channels = x.shape
        numbers = f"{height * width}, {channels}, {x.zero}, {y.zero}, {c_float(self.factor[0])}"
        return [f"aed_global_average_pool({source.addresses[x.name]}, {source.addresses[y.name]}, {numbers});"]


@dataclass(frozen=True, kw_only=True)
class RowSums(Layer):
    """int32 sums of each channel over the pixels of a row and, if they are its second input, the sums before it."""

    kind: ClassVar[str] = "row_sums"

    def rows(self, index: int, program: Program) -> Rows:
        """A row of the image, and the sums before it."""
        return Rows(pad=index)

    def instructions(self, program: Program, pixels: int) -> float:
        """Of sums of four channels, two pixels a turn."""
        _, width, channels = program.tensors[self.inputs[0]].shape
        return channels / 4 * (42 + 4.5 * width)

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel."""
        _, width, channels = program.tensors[self.inputs[0]].shape
        before = "rows[1]" if len(self.inputs) > 1 else "NULL"
        return [f"aed_row_sums(rows[0], {before}, out, {width}, {channels});"]


@dataclass(frozen=True, kw_only=True)
class MeanOfSums(Layer):
    """Means of sums.

    Args:
        factor: ``(1,)``: steps of the output in one unit of the sum.
        pixels: In a mean.
        taken: The sums it is made of.
        last: Of a second input, the row that it waits for and does not use: the last of the patch.
    """

    kind: ClassVar[str] = "mean_of_sums"
    factor: Float32
    pixels: int
    taken: Rows
    last: Rows = Rows()  # noqa: RUF009 - frozen

    def rows(self, index: int, program: Program) -> Rows:
        """The last sums, or those of all rows."""
        return self.last if index else self.taken

    def instructions(self, program: Program, pixels: int) -> float:
        """Of sums, channel by channel, and of steps."""
        return program.tensors[self.output].size * (14.0 + 7 * self.taken.count)

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel."""
        x, y = program.ends(self)
        numbers = f"{self.pixels}, {y.size}, {x.zero}, {y.zero}, {c_float(self.factor[0])}"
        return [f"aed_mean_of_sums(rows, {self.taken.count}, out, {numbers});"]


@dataclass(frozen=True, kw_only=True)
class Mean(Layer):
    """ReduceMean, which ONNX Runtime computes in float."""

    kind: ClassVar[str] = "mean"

    def instructions(self, program: Program, pixels: int) -> float:
        """Of a sum of floats."""
        x, _ = program.ends(self)
        return 12.0 * x.size + 120.0 * x.shape[2]

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; all values are arguments."""
        x, y = program.ends(self)
        (height, width, channels), scales = x.shape, f"{c_float(x.scale)}, {c_float(y.scale)}"
        # ONNX's next pixel, and how many pixels before its next row begins
        sizes = f"{height * width}, {channels}, " + (f"{width}, {height}" if program.turned else "1, 1")
        return [
            f"aed_mean({source.addresses[x.name]}, {source.addresses[y.name]}, {sizes}, {scales}, {x.zero}, {y.zero});"
        ]


def _global_average_pool(walk: Walk, node: onnx.NodeProto) -> None:
    x, y = walk.input(node), walk.output(node)
    pixels = np.float32(x.shape[0] * x.shape[1])
    factor = np.array([np.float32(x.scale) / (y.scale * pixels)], np.float32)
    walk.program.layers.append(GlobalAveragePool(name=node.name, inputs=(x.name,), output=y.name, factor=factor))


def _reduce_mean(walk: Walk, node: onnx.NodeProto) -> None:
    axes = walk.arrays[node.input[1]] if len(node.input) > 1 else attributes(node).get("axes", ())
    x, shape = walk.input(node), walk.shapes[node.input[0]]
    if len(shape) != 4 or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
        raise walk.refusal(node, "only over height and width of an image")
    y = walk.output(_flattened(walk, node))
    walk.program.layers.append(Mean(name=node.name, inputs=(x.name,), output=y.name))


def _flattened(walk: Walk, node: onnx.NodeProto) -> onnx.NodeProto:
    """``node``, or the node after it that flattens its one pixel while it is still float."""
    following = walk.readers.get(node.output[0], [])
    if len(following) == 1 and following[0].op_type in ("Flatten", "Reshape", "Squeeze"):
        walk.absorbed.add(following[0].output[0])
        return following[0]
    return node


LOWERINGS: dict[str, Lowering] = {"GlobalAveragePool": _global_average_pool, "ReduceMean": _reduce_mean}
