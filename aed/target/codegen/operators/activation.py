"""Functions of one value: a table of all 256 steps, as ONNX Runtime itself computes them.

What is computed of one value in several nodes, ``x * sigmoid(x)`` for example, is one table, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.export.graph import CURVES
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

    def instructions(self, program: Program, pixels: int) -> float:
        """A load each of value and table, and a store."""
        return 6.0 * pixels * program.tensors[self.output].shape[2]

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; the table is a constant."""
        x, y = program.ends(self)
        table = source.array("int8_t", f"table{number}", self.table)
        return [f"aed_lookup({source.addresses[x.name]}, {source.addresses[y.name]}, {y.size}, {table});"]


def append_function(walk: Walk, node: onnx.NodeProto, inputs: Mapping[int, Tensor], y: Tensor) -> bool:
    """Appends ``node`` as one table, if all its inputs come from one tensor, value by value.

    Tables between that tensor and ``node`` which nothing else reads are left out.

    Args:
        node: What it computes for a value depends on that value alone.
        inputs: Number of an input -> its tensor; the other inputs are constants.
        y: The output.
    """
    every = np.arange(-128, 128, dtype=np.int8)
    steps, roots, inner = {}, set(), set()
    for index, tensor in inputs.items():
        here = sum(other is tensor for other in inputs.values())
        root, table = tensor.name, every
        if tensor.name in walk.functions and walk.num_readers(tensor) == here and tensor.name != walk.graph_output():
            root, table = walk.functions[tensor.name]
            inner.add(tensor.name)
        roots.add(root)
        steps[index] = tensor, table
    if len(roots) > 1:
        return False
    root = roots.pop()
    table = walk.table(node, steps, y)
    walk.program.layers = [layer for layer in walk.program.layers if layer.output not in inner]
    for name in inner:
        del walk.program.tensors[name]
    walk.functions[y.name] = root, table
    if root in walk.order:
        walk.order[y.name] = walk.order[root]
    walk.program.layers.append(Lookup(name=node.name, inputs=(root,), output=y.name, table=table))
    return True


def _lookup(walk: Walk, node: onnx.NodeProto) -> None:
    walk.need_constant_bounds(node)
    append_function(walk, node, {0: walk.input(node)}, walk.output(node))


LOWERINGS: dict[str, Lowering] = dict.fromkeys(("Clip", "Relu", *CURVES), _lookup)
