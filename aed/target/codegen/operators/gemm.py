"""Gemm and MatMul: a convolution of one pixel."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.export.graph import attributes
from aed.target.codegen.operators.conv import Conv, factor_of, folded
from aed.target.codegen.program import Tensor
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Dense(Conv):
    """A matrix product, by the kernel of :class:`Conv`.

    Args:
        weight: ``(out, in)``.
    """

    kind: ClassVar[str] = "dense"

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """No overlap: every output needs the whole input."""
        return None


def _gemm(walk: Walk, node: onnx.NodeProto) -> None:
    facts = attributes(node)
    if facts.get("alpha", 1.0) != 1.0 or facts.get("beta", 1.0) != 1.0 or facts.get("transA", 0):
        raise walk.refusal(node, "only alpha=1, beta=1, transA=0")
    x, y = walk.input(node), walk.output(node)
    (weight, scales), slope = walk.weight(node), walk.slope(node)
    weight = weight if facts.get("transB", 0) else weight.T
    if x.name in walk.order:
        weight = weight[:, walk.order[x.name]]
    outputs = len(weight)
    layer = Dense(
        name=node.name,
        inputs=(x.name,),
        output=y.name,
        weight=np.ascontiguousarray(weight),
        bias=folded(walk.bias(node, outputs), weight, x),
        factor=factor_of(x, scales, y, outputs, slope),
        slope=slope,
    )
    walk.program.layers.append(layer)


LOWERINGS: dict[str, Lowering] = {"Gemm": _gemm, "MatMul": _gemm}
