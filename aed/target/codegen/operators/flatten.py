"""Flatten and Reshape: no code, the same bytes under another shape."""

import numpy as np
import onnx

from aed.target.codegen.program import Tensor
from aed.target.codegen.walk import Lowering, Walk


def _flatten(walk: Walk, node: onnx.NodeProto) -> None:
    """The tensor becomes a view; where the image has several pixels, ``walk.order`` has the order of its values."""
    x, y = walk.input(node), walk.output(node)
    if (y.scale, y.zero) != (x.scale, x.zero) or y.shape[:2] != (1, 1):
        raise walk.refusal(node, "only flattening, with one scale")
    height, width, channels = x.shape
    del walk.program.tensors[y.name]
    if height * width > 1:
        flat = Tensor(f"{x.name}.flat", (1, 1, x.size), x.scale, x.zero)
        planes = np.arange(x.size).reshape(channels, *walk.turn((height, width)))
        walk.order[flat.name] = (planes.T if walk.turned else planes.transpose(1, 2, 0)).ravel()
        walk.program.tensors[flat.name] = flat
        walk.program.views[flat.name] = x.name
        walk.alias[y.name] = flat.name
    else:
        walk.alias[y.name] = x.name


LOWERINGS: dict[str, Lowering] = {"Flatten": _flatten, "Reshape": _flatten}
