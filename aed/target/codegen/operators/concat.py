"""Concat: tensors beside each other, along channels."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.export.graph import attributes
from aed.target.codegen.program import Layer, Program
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Concat(Layer):
    """Each input is written to its channels of the output, in the output's scale."""

    kind: ClassVar[str] = "concat"

    def is_pixelwise(self, program: Program) -> bool:
        """Always: along channels."""
        return True

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; one call per input."""
        lines, start = [], 0
        y = program.tensors[self.output]
        height, width, depth = y.shape
        for name in self.inputs:
            part = program.tensors[name]
            scales = f"{c_float(part.scale)}, {c_float(y.scale)}, {part.zero}, {y.zero}"
            sizes = f"{height * width}, {part.shape[2]}, {depth}"
            target = f"{source.addresses[y.name]} + {start}"
            lines.append(f"aed_requantise({source.addresses[name]}, {target}, {sizes}, {scales});")
            start += part.shape[2]
        return lines


def _concat(walk: Walk, node: onnx.NodeProto) -> None:
    parts = [walk.input(node, index) for index in range(len(node.input))]
    y = walk.output(node)
    if attributes(node)["axis"] not in (1, 1 - len(walk.shapes[node.output[0]])):
        raise walk.refusal(node, "only along channels")
    if any(part.name in walk.order for part in parts):
        orders, start = [], 0
        for part in parts:
            orders.append(start + walk.order.get(part.name, np.arange(part.size)))
            start += part.size
        walk.order[y.name] = np.concatenate(orders)
    walk.program.layers.append(Concat(name=node.name, inputs=tuple(part.name for part in parts), output=y.name))


LOWERINGS: dict[str, Lowering] = {"Concat": _concat}
