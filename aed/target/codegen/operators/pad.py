"""Pad: zeros around an image."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx

from aed.export.graph import attributes
from aed.target.codegen.operators.pool import Pool
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Pad(Pool):
    """A larger image; where it has no input, it has zeros."""

    kind: ClassVar[str] = "pad"
    row: ClassVar[str] = "aed_pad_row"


def _pad(walk: Walk, node: onnx.NodeProto) -> None:
    mode = attributes(node).get("mode", b"constant").decode()
    if mode != "constant":
        raise walk.refusal(node, f"mode {mode}; only constant")
    x, y = walk.input(node), walk.output(node)
    pads = walk.arrays.get(node.input[1], np.array([], np.int64)).tolist()
    if len(pads) != 8 or len(node.input) > 3:
        raise walk.refusal(node, "only an image, with constant pads")
    if any(pads[axis] for axis in (0, 1, 4, 5)) or min(pads) < 0:
        raise walk.refusal(node, f"pads {pads}; only height and width, and no cropping")
    if (value := _value(walk, node)) != 0:
        raise walk.refusal(node, f"pads with {value}; only with 0")
    layer = Pad(name=node.name, inputs=(x.name,), output=y.name, pad=walk.turn(pads[2:4]))
    walk.program.layers.append(layer)


def _value(walk: Walk, node: onnx.NodeProto) -> float:
    """The real value of the padding; not a number where it is computed."""
    if len(node.input) < 3 or not node.input[2]:
        return 0.0
    steps = walk.constant(node, 2) if node.input[2] in walk.producers else None
    if steps is None:
        return float(walk.arrays.get(node.input[2], np.array(np.nan)).ravel()[0])
    constant = walk.program.tensors.pop(walk.constant_name(node, 2))
    return float(constant.scale) * (int(steps.ravel()[0]) - constant.zero)


LOWERINGS: dict[str, Lowering] = {"Pad": _pad}
