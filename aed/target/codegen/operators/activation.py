"""Functions of one value: a table of all 256 steps, as ONNX Runtime itself computes them."""

from dataclasses import dataclass
from typing import ClassVar

import onnx

from aed.target.codegen.program import Int8, Layer, Program, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Lookup(Layer):
    """One value in, one out.

    Args:
        table: ``(256,)``: outputs for -128, -127, ... 127.
    """

    kind: ClassVar[str] = "lookup"
    table: Int8

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Value by value: in place."""
        return 0

    def is_pixelwise(self, program: Program) -> bool:
        """Always."""
        return True

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; the table is a constant."""
        x, y = program.ends(self)
        table = source.array("int8_t", f"table{number}", self.table)
        return [f"aed_lookup({source.addresses[x.name]}, {source.addresses[y.name]}, {y.size}, {table});"]


def _lookup(walk: Walk, node: onnx.NodeProto) -> None:
    x, y = walk.input(node), walk.output(node)
    if x.name in walk.order:
        walk.order[y.name] = walk.order[x.name]
    table = walk.table(node, x, y)
    walk.program.layers.append(Lookup(name=node.name, inputs=(x.name,), output=y.name, table=table))


LOWERINGS: dict[str, Lowering] = {"Clip": _lookup, "Relu": _lookup, "Sigmoid": _lookup}
