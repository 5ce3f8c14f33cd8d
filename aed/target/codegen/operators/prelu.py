"""PRelu: a slope below 0, one for all values or one for each channel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.target.codegen.operators.activation import append_function
from aed.target.codegen.operators.elementwise import by_channel
from aed.target.codegen.program import Float32, Layer, Program, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Prelu(Layer):
    """Real values, as ONNX Runtime computes it.

    Args:
        slope: ``(channels,)``: factor of values below 0.
    """

    kind: ClassVar[str] = "prelu"
    slope: Float32

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Value by value: in place."""
        return 0

    def is_pixelwise(self, program: Program) -> bool:
        """Always."""
        return True

    def macc(self, program: Program) -> int:
        """One a value."""
        return program.tensors[self.output].size

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; the slopes are a constant."""
        x, y = program.ends(self)
        height, width, channels = y.shape
        slope = source.array("float", f"slope{number}", self.slope)
        ends, sizes = f"{source.addresses[x.name]}, {source.addresses[y.name]}", f"{height * width}, {channels}"
        return [f"aed_prelu({ends}, {sizes}, {slope}, {c_float(x.scale)}, {c_float(y.scale)}, {x.zero}, {y.zero});"]


def _prelu(walk: Walk, node: onnx.NodeProto) -> None:
    x, y = walk.input(node), walk.output(node)
    steps = walk.constant(node, 1)
    if steps is None:
        raise walk.refusal(node, "its slope is no constant")
    slope = walk.program.tensors.pop(walk.constant_name(node, 1))
    if steps.size == 1:
        append_function(walk, node, {0: x}, y)
        return
    values = slope.real(by_channel(walk, node, steps, x))
    if x.name in walk.order:
        values = values[walk.order[x.name]]
        walk.order[y.name] = walk.order[x.name]
    values = np.ascontiguousarray(values, np.float32)
    walk.program.layers.append(Prelu(name=node.name, inputs=(x.name,), output=y.name, slope=values))


LOWERINGS: dict[str, Lowering] = {"PRelu": _prelu}
