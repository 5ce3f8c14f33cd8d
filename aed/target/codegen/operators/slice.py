"""Slice: a part of an image without rows or columns at its sides."""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from aed.target.codegen.program import Layer, Program, Rows
from aed.target.codegen.source import Source
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Slice(Layer):
    """What is left of an image.

    Args:
        above: Rows that are left out before the first that stays.
        left: Pixels of a row, likewise.
    """

    kind: ClassVar[str] = "slice"
    above: int
    left: int

    def rows(self, index: int, program: Program) -> Rows:
        """One, some rows further down."""
        return Rows(pad=-self.above)

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statement that copies the pixels of a row that stay."""
        _, width, channels = program.tensors[self.output].shape
        row = source.addresses[self.inputs[0]]
        return [f"memcpy(out, {row} + {self.left * channels}, {width * channels});"]

    def instructions(self, program: Program, pixels: int) -> float:
        """Of a copy, measured on a Cortex-M33."""
        return 0.6 * pixels * program.tensors[self.output].shape[2]


def _slice(walk: Walk, node: onnx.NodeProto) -> None:
    x, y, shape = walk.input(node), walk.output(node), walk.shapes[node.input[0]]
    constants = [walk.arrays[name].tolist() for name in node.input[1:] if name in walk.arrays]
    if len(constants) < max(3, len(node.input) - 1) or len(shape) != 4:
        raise walk.refusal(node, "only of an image, with constant starts, ends and axes")
    starts, _, axes, *rest = constants
    steps = rest[0] if rest else [1]
    first = {axis % 4: start for axis, start in zip(axes, starts, strict=True)}
    if not first.keys() <= {2, 3} or any(step != 1 for step in steps):
        raise walk.refusal(node, f"axes {axes}, steps {steps}; only height and width, and without steps")
    if (y.scale, y.zero) != (x.scale, x.zero):
        raise walk.refusal(node, "only with one scale")
    top, left = walk.turn([slice(first.get(axis), None).indices(shape[axis])[0] for axis in (2, 3)])
    walk.program.layers.append(Slice(name=node.name, inputs=(x.name,), output=y.name, above=top, left=left))


LOWERINGS: dict[str, Lowering] = {"Slice": _slice}
