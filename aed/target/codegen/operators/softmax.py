"""Softmax over the classes."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.export.graph import attributes
from aed.target.codegen.program import Float32, Layer, Program
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Softmax(Layer):
    """Probabilities of a vector.

    Args:
        exponentials: ``(256,)``: by distance to the largest input, in steps.
    """

    kind: ClassVar[str] = "softmax"
    exponentials: Float32

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; the exponentials are a constant."""
        x, y = program.ends(self)
        table = source.array("float", f"exponential{number}", self.exponentials)
        steps = c_float(np.floor(np.float32(1) / y.scale))
        ends = f"{source.addresses[x.name]}, {source.addresses[y.name]}"
        return [f"aed_softmax({ends}, {y.size}, {table}, {steps}, {y.zero});"]


def _softmax(walk: Walk, node: onnx.NodeProto) -> None:
    x, y = walk.input(node), walk.output(node)
    if len(walk.shapes[node.output[0]]) != 2 or attributes(node).get("axis", -1) not in (1, -1):
        raise walk.refusal(node, "only over the classes of (1, C)")
    if x.size < 2:
        raise walk.refusal(node, "over one class it is always 1")
    if y.zero + math.floor(np.float32(1) / y.scale) > 127:
        raise walk.refusal(node, "its output scale is too fine: ONNX Runtime wraps round at 1")
    if x.name in walk.order:
        walk.order[y.name] = walk.order[x.name]
    exponentials = _exponentials(float(x.scale), x.size)
    walk.program.layers.append(Softmax(name=node.name, inputs=(x.name,), output=y.name, exponentials=exponentials))


def _exponentials(scale: float, classes: int) -> Float32:
    """exp of 0, -1, ... -255 steps, times the most that lets the sum of ``classes`` of them be a float32; ``(256,)``.

    Reference: onnxruntime/contrib_ops/cpu/quantization/qlinear_softmax.cc.
    """
    largest = float(np.finfo(np.float32).max / np.float32(classes))
    shift = max(0.0, math.log(largest) - 5.0) / scale
    return np.array([math.exp((shift - step) * scale) for step in range(256)], np.float32)


LOWERINGS: dict[str, Lowering] = {"Softmax": _softmax}
