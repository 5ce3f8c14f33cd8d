"""Flatten, Reshape, Squeeze, Unsqueeze, Transpose: no code, the same bytes under another shape."""

import numpy as np
import numpy.typing as npt
import onnx

from aed.export.graph import VIEWS, attributes
from aed.target.codegen.program import Tensor
from aed.target.codegen.walk import Lowering, Walk


def _view(walk: Walk, node: onnx.NodeProto) -> None:
    """The tensor becomes a view; ``walk.order`` has the order of its values where it is not that of its shape."""
    x, y = walk.moved_input(node), walk.output(node)
    if (y.scale, y.zero) != (x.scale, x.zero):
        raise walk.refusal(node, "only with one scale")
    shapes = [walk.shapes[name] for name in (node.input[0], node.output[0])]
    order = walk.order.get(x.name, _in_memory(walk, shapes[0]))
    if node.op_type == "Transpose":
        axes = attributes(node).get("perm", range(len(shapes[0]))[::-1])
        order = np.argsort(np.arange(x.size).reshape(shapes[0]).transpose(axes).ravel())[order]
    del walk.program.tensors[y.name]
    in_place = np.array_equal(order, _in_memory(walk, shapes[1]))
    if in_place and x.shape == y.shape and x.name not in walk.order:
        walk.alias[y.name] = x.name
        return
    name = f"{y.name}.view"
    walk.program.tensors[name] = Tensor(name, y.shape if in_place else (1, 1, x.size), x.scale, x.zero)
    walk.program.views[name] = walk.program.views.get(x.name, x.name)
    walk.alias[y.name] = name
    if not in_place:
        walk.order[name] = order


def _in_memory(walk: Walk, shape: list[int]) -> npt.NDArray[np.int64]:
    """Index in ONNX of each value of a tensor that lies in memory channels last, and turned if the walk is."""
    places = np.arange(np.prod(shape)).reshape(shape)
    if len(shape) == 4 and walk.turned:
        places = places.swapaxes(2, 3)
    return np.moveaxis(places, 1, -1).ravel() if len(shape) > 1 else places


LOWERINGS: dict[str, Lowering] = dict.fromkeys(VIEWS, _view)
