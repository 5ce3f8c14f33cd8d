"""One form for what exporters write in several: reductions as pools, curves as one operator, padding in numbers.

Each function takes and returns a float graph of the same outputs, and changes it in place.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper, numpy_helper, shape_inference

from aed.export.graph import Array, attributes, constants, producers, readers

Shapes = dict[str, list[int]]
"""Sizes of each tensor; a batch that is left open has 0."""

_POOLS = {"ReduceMean": "AveragePool", "ReduceMax": "MaxPool"}
_REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "ReduceProd")


def in_one_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` in the forms that quantiser, interpreter and C know."""
    for change in (
        _padding_in_numbers,
        _sums_and_products,
        _curves,
        _hard_sigmoids_as_ranges,
        _nothing_moved,
        _reductions_as_pools,
        _nothing_moved,
        _larger_first,
        _constants_of_their_own,
    ):
        change(model)
    return model


def shapes_of(model: onnx.ModelProto, strict: bool = True) -> Shapes:
    """The sizes of every tensor that is computed; not ``strict``: up to the first node that contradicts them."""
    graph = shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True).graph
    return {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.input, *graph.output)
    }


def _replace_nodes(model: onnx.ModelProto, replaced: Callable[[onnx.NodeProto], Iterable[onnx.NodeProto]]) -> None:
    nodes = [part for node in model.graph.node for part in replaced(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _set(node: onnx.NodeProto, **facts: object) -> None:
    """Gives ``node`` attributes; None takes one away."""
    kept = [item for item in node.attribute if item.name not in facts]
    del node.attribute[:]
    node.attribute.extend(
        [*kept, *(helper.make_attribute(name, value) for name, value in facts.items() if value is not None)]
    )


def _constant(model: onnx.ModelProto, name: str, array: Array) -> str:
    """Adds a constant and returns its name."""
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return name


# --- windows ------------------------------------------------------------------------------------------------------


def _padding_in_numbers(model: onnx.ModelProto) -> None:
    """``pads`` in place of ``auto_pad``; ONNX Runtime has no SAME with dilation."""
    by_rule = [node for node in model.graph.node if attributes(node).get("auto_pad", b"NOTSET") != b"NOTSET"]
    if not by_rule:
        return
    arrays = constants(model)
    for node in by_rule:  # in order: the sizes before it are known once the nodes before it have numbers
        facts = attributes(node)
        rule = facts["auto_pad"].decode()
        kernel = facts.get("kernel_shape") or arrays[node.input[1]].shape[2:]
        before, after = [0] * len(kernel), [0] * len(kernel)
        if rule.startswith("SAME"):
            sizes = shapes_of(model)[node.input[0]][2:]
            ones = [1] * len(kernel)
            strides, dilations = facts.get("strides", ones), facts.get("dilations", ones)
            for axis, (size, taps, stride, dilation) in enumerate(zip(sizes, kernel, strides, dilations, strict=True)):
                steps = math.ceil(size / stride)
                total = max(0, (steps - 1) * stride + (taps - 1) * dilation + 1 - size)
                before[axis] = total // 2 if rule == "SAME_UPPER" else total - total // 2
                after[axis] = total - before[axis]
        _set(node, auto_pad=None, pads=[*before, *after])


def ceil_in_numbers(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model``, as torch exports it, with padding behind the image in place of ``ceil_mode``; changed in place.

    Windows of torch's pools begin before the padding behind the image; opset 17 says nothing of it. A mean does not
    count what lies past the image and its padding, yet ONNX Runtime's int8 kernel does where ``count_include_pad`` is
    set: so padding that counts becomes a node of its own.
    """
    for node in list(model.graph.node):
        facts = attributes(node)
        if node.op_type in ("MaxPool", "AveragePool") and facts.get("ceil_mode"):
            kernel, ones = facts["kernel_shape"], [1] * len(facts["kernel_shape"])
            strides, dilations = facts.get("strides", ones), facts.get("dilations", ones)
            ahead = list(facts.get("pads") or [0, 0] * len(kernel))
            behind = [ahead.pop() for _ in kernel][::-1]
            needed = []
            for axis, size in enumerate(shapes_of(model, strict=False)[node.input[0]][2:]):
                reach, edge = dilations[axis] * (kernel[axis] - 1) + 1, ahead[axis] + size
                start = math.ceil((edge + behind[axis] - reach) / strides[axis]) * strides[axis]
                start -= strides[axis] if start >= edge else 0
                needed.append(max(0, start + reach - edge))
            if any(more >= taps for more, taps in zip(needed, kernel, strict=True)):  # ONNX Runtime refuses such pads
                continue
            if facts.get("count_include_pad"):
                counted = [min(more, padded) for more, padded in zip(needed, behind, strict=True)]
                _pad_before(model, node, [*ahead, *counted])
                ahead, needed = [0] * len(kernel), [more - part for more, part in zip(needed, counted, strict=True)]
                _set(node, count_include_pad=0)
            _set(node, ceil_mode=None, pads=[*ahead, *needed])
    return model


def _pad_before(model: onnx.ModelProto, node: onnx.NodeProto, pads: list[int]) -> None:
    """Inserts a Pad of height and width, if there is anything to pad."""
    if any(pads):
        name, half = f"{node.output[0]}.padded", len(pads) // 2
        around = _constant(model, f"{name}.pads", np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64))
        place = list(model.graph.node).index(node)
        model.graph.node.insert(place, helper.make_node("Pad", [node.input[0], around], [name], name))
        model.graph.node[place + 1].input[0] = name


def _reductions_as_pools(model: onnx.ModelProto) -> None:
    """Means and maxima over axes of an image as pools, which int8 kernels have; a Reshape drops the axes.

    A vector of each channel, which is what a mean over one axis leaves, is an image of one row here.
    """
    shapes = shapes_of(model)
    outputs = {value.name for value in model.graph.output}

    def replaced(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        if node.op_type == "GlobalMaxPool":
            _set(node, kernel_shape=shapes[node.input[0]][2:])
            node.op_type = "MaxPool"
            return [node]
        if node.op_type not in _POOLS or node.input[0] not in shapes:
            return [node]
        facts, source, target = attributes(node), node.input[0], node.output[0]
        shape, name = shapes[source], node.name or target
        axes = sorted(axis % len(shape) for axis in facts.get("axes", ()))
        is_end = target in outputs and not facts.get("keepdims", 1)
        if len(shape) not in (3, 4) or not all(shape[1:]) or not axes or axes[0] < 2 or is_end:
            return [node]
        nodes = []
        if len(shape) == 3:
            source = f"{name}.row"
            row = _constant(model, f"{source}.shape", np.array([0, shape[1], 1, shape[2]], np.int64))
            nodes.append(helper.make_node("Reshape", [node.input[0], row], [source], source))
            shape, axes = [*shape[:2], 1, shape[2]], [2, 3]
        kernel = [size if axis in axes else 1 for axis, size in enumerate(shape) if axis > 1]
        op = _POOLS[node.op_type]
        if len(axes) == 2 and op == "AveragePool":
            op, kernel = "GlobalAveragePool", []
        kept = facts.get("keepdims", 1) and len(shapes[node.input[0]]) == 4
        pooled = target if kept else f"{name}.pooled"
        pool = helper.make_node(op, [source], [pooled], name)
        _set(pool, kernel_shape=kernel or None)
        nodes.append(pool)
        if not kept and len(shapes[target]) == 2:
            nodes.append(helper.make_node("Flatten", [pooled], [target], f"{name}.flat", axis=1))
        elif not kept:
            flat = _constant(model, f"{name}.flat.shape", np.array([0, *shapes[target][1:]], np.int64))
            nodes.append(helper.make_node("Reshape", [pooled, flat], [target], f"{name}.flat"))
        return nodes

    _replace_nodes(model, replaced)


# --- element by element -------------------------------------------------------------------------------------------


def _sums_and_products(model: onnx.ModelProto) -> None:
    """Add and Mul in place of Sub and Div of a constant, which int8 kernels do not have."""
    arrays = constants(model)
    for node in model.graph.node:
        array = arrays.get(node.input[1]) if node.op_type in ("Sub", "Div") else None
        if array is None or array.dtype.kind != "f" or (node.op_type == "Div" and not array.all()):
            continue
        array = array.astype(np.float64)
        other = -array if node.op_type == "Sub" else 1 / array
        node.input[1] = _constant(model, f"{node.output[0]}.other", other.astype(np.float32))
        node.op_type = {"Sub": "Add", "Div": "Mul"}[node.op_type]


def _curves(model: onnx.ModelProto) -> None:
    """HardSigmoid and HardSwish in place of the sums, clips and products that they are written with."""
    for made in (_hard_sigmoid, _hard_swish, _hard_swish_at_once):
        graph = _Known(producers(model), readers(model), constants(model))
        for node in model.graph.node:
            if node.op_type == "Mul" and (found := made(node, graph)):
                source, op, facts = found
                node.op_type, node.input[:] = op, [source]
                _set(node, **facts)
        _drop_unread(model)


Found = tuple[str, str, dict[str, float]] | None
"""Input, operator and attributes of what a node turns out to be."""


@dataclass(frozen=True)
class _Known:
    """What is known of each tensor's name: the node that makes it, those that read it, its value if it is constant."""

    before: dict[str, onnx.NodeProto]
    after: dict[str, list[onnx.NodeProto]]
    arrays: dict[str, Array]

    def value(self, name: str) -> float:
        """The constant ``name`` if it is one value; else not a number."""
        array = self.arrays.get(name)
        return float(array.ravel()[0]) if array is not None and array.size == 1 else math.nan

    def is_about(self, name: str, value: float) -> bool:
        """Whether ``name`` is a constant of this one value, but for rounding."""
        return math.isclose(self.value(name), value, rel_tol=1e-6)

    def maker(self, name: str, op: str) -> onnx.NodeProto | None:
        """The node that makes ``name``, if it is an ``op`` and one node alone reads it."""
        node = self.before.get(name)
        return node if node is not None and node.op_type == op and len(self.after[name]) <= 1 else None

    def clipped(self, name: str) -> str:
        """x, if ``name`` is x + 3 clipped to 0 .. 6 and nothing else reads it; else nothing."""
        clip = self.maker(name, "Clip")
        if clip is None or len(clip.input) < 3:
            return ""
        add = self.maker(clip.input[0], "Add")
        if add is None or self.value(clip.input[1]) != 0 or self.value(clip.input[2]) != 6:
            return ""
        return next((_other(add, three) for three in add.input if self.is_about(three, 3)), "")


def _other(node: onnx.NodeProto, name: str) -> str:
    """The one of two inputs that is not ``name``."""
    return str(node.input[1] if node.input[0] == name else node.input[0])


def _hard_sigmoid(node: onnx.NodeProto, graph: _Known) -> Found:
    """clip(x + 3, 0, 6) / 6."""
    for sixth in node.input:
        if graph.is_about(sixth, 1 / 6) and (source := graph.clipped(_other(node, sixth))):
            return source, "HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}
    return None


def _hard_swish(node: onnx.NodeProto, graph: _Known) -> Found:
    """x HardSigmoid(x)."""
    for name in node.input:
        if (gate := graph.maker(name, "HardSigmoid")) is None:
            continue
        facts = attributes(gate)
        usual = math.isclose(facts.get("alpha", 0.2), 1 / 6, rel_tol=1e-6) and facts.get("beta", 0.5) == 0.5
        if usual and gate.input[0] == _other(node, name):
            return gate.input[0], "HardSwish", {}
    return None


def _hard_swish_at_once(node: onnx.NodeProto, graph: _Known) -> Found:
    """(x clip(x + 3, 0, 6)) / 6."""
    for sixth in node.input:
        product = graph.maker(_other(node, sixth), "Mul")
        if product is None or not graph.is_about(sixth, 1 / 6):
            continue
        for part in product.input:
            source = graph.clipped(part)
            if source and source == _other(product, part):
                return source, "HardSwish", {}
    return None


def _hard_sigmoids_as_ranges(model: onnx.ModelProto) -> None:
    """The line of a HardSigmoid in the weights of the layer that it alone reads; its ends are a Clip.

    A Clip of a layer's output is a range of int8 values, which takes no code and no second rounding.
    """
    arrays, before, after = constants(model), producers(model), readers(model)
    outputs = {value.name for value in model.graph.output}
    for node in model.graph.node:
        layer = before.get(node.input[0]) if node.op_type == "HardSigmoid" else None
        if layer is None or layer.op_type not in ("Conv", "Gemm") or len(after[node.input[0]]) > 1:
            continue
        facts = attributes(layer)
        if node.input[0] in outputs or facts.get("alpha", 1.0) != 1.0 or facts.get("beta", 1.0) != 1.0:
            continue
        if any(name not in arrays for name in layer.input[1:]):
            continue
        line, name = attributes(node), layer.output[0]
        alpha, beta = (np.float64(line.get(key, usual)) for key, usual in (("alpha", 0.2), ("beta", 0.5)))
        weight = arrays[layer.input[1]].astype(np.float64)
        is_turned = layer.op_type == "Gemm" and not facts.get("transB", 0)
        bias = arrays[layer.input[2]] if len(layer.input) > 2 else np.zeros(weight.shape[1 if is_turned else 0])
        lined = _constant(model, f"{name}.lined", (alpha * weight).astype(np.float32))
        offset = _constant(model, f"{name}.offset", (alpha * bias + beta).astype(np.float32))
        layer.input[:] = [layer.input[0], lined, offset]
        bounds = [_constant(model, f"{name}.{end}", np.array(end, np.float32)) for end in (0, 1)]
        node.op_type, node.input[:] = "Clip", [node.input[0], *bounds]
        _set(node, alpha=None, beta=None)


def _larger_first(model: onnx.ModelProto) -> None:
    """The first input of Add and Mul has the output's shape, a constant is the second.

    ONNX Runtime's int8 sum of an image and a part of it depends in its last bit on which comes first, and on the
    layout that its optimiser chose; with the image first it does not.
    """
    shapes, arrays = shapes_of(model), constants(model)
    for node in model.graph.node:
        if node.op_type in ("Add", "Mul"):
            one, other = node.input
            smaller = shapes.get(one) != shapes.get(other) == shapes.get(node.output[0])
            if other not in arrays and (one in arrays or smaller):
                node.input[:] = [other, one]


def _constants_of_their_own(model: onnx.ModelProto) -> None:
    """Bounds of a Clip that are values elsewhere, and biases that are alike, become copies.

    The quantiser makes a value int8, also where it is a bound, and gives each bias a scale and a name of its own.
    """
    arrays = constants(model)
    taken = {name for node in model.graph.node if node.op_type != "Clip" for name in node.input}
    biases: set[str] = set()
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            is_bias = node.op_type in ("Conv", "Gemm") and index == 2
            shared = name in (biases if is_bias else taken if node.op_type == "Clip" else ())
            biases |= {name} if is_bias else set()
            if shared and name in arrays:
                node.input[index] = _constant(model, f"{node.output[0]}.own{index}", arrays[name])


# --- moved about --------------------------------------------------------------------------------------------------


def moves_nothing(node: onnx.NodeProto, shapes: Shapes, arrays: dict[str, Array]) -> bool:
    """Whether the output of ``node`` is its first input under another shape, value for value."""
    facts = attributes(node)
    shape = shapes.get(node.input[0], []) if node.input else []
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"):
        return True
    if node.op_type == "Transpose":
        wide = [axis for axis in facts.get("perm", range(len(shape))[::-1]) if shape[axis] != 1]
        return wide == sorted(wide)
    if node.op_type == "Concat":
        return len(node.input) == 1
    if node.op_type == "Slice":
        steps = arrays.get(node.input[4], np.zeros(1)) if len(node.input) > 4 else np.ones(1)
        return shape == shapes.get(node.output[0]) and bool((steps == 1).all())
    axes = facts.get("axes", ())
    return node.op_type in _REDUCTIONS and bool(axes) and all(shape[axis] == 1 for axis in axes)


def _nothing_moved(model: onnx.ModelProto) -> None:
    """One Reshape, or none, in place of several nodes that move nothing; a lone Flatten or Reshape stays."""
    shapes, arrays, before = shapes_of(model), constants(model), producers(model)
    outputs = {value.name for value in model.graph.output}
    same: dict[str, str] = {}

    def replaced(node: onnx.NodeProto) -> list[onnx.NodeProto]:
        node.input[:] = [same.get(name, name) for name in node.input]
        if not moves_nothing(node, shapes, arrays) or node.input[0] not in shapes:
            return [node]
        source, count = node.input[0], 1
        while source in before and moves_nothing(before[source], shapes, arrays):
            source, count = before[source].input[0], count + 1
        target = node.output[0]
        one, other = shapes[source], shapes[target]
        if one and one == other and target not in outputs:
            same[target] = source
            return []
        if (
            not (one and other and all(other[1:]))
            or one[0] != other[0]
            or (count == 1 and node.op_type in ("Flatten", "Reshape"))
        ):
            return [node]
        if len(other) == 2:
            return [helper.make_node("Flatten", [source], [target], node.name, axis=1)]
        shape = _constant(model, f"{target}.shape", np.array([0, *other[1:]], np.int64))
        return [helper.make_node("Reshape", [source, shape], [target], node.name)]

    _replace_nodes(model, replaced)
    _drop_unread(model)


def _drop_unread(model: onnx.ModelProto) -> None:
    """Leaves out nodes whose outputs nothing reads any more."""
    read = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if read.intersection(node.output):
            kept.append(node)
            read.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
