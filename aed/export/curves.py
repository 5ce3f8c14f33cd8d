"""A layer and its HardSwish as one int8 layer: sums of whole numbers, the function of the sum, and only then int8.

ONNX Runtime's quantiser rounds to int8 between the two, which costs the accuracy of nets with such activations; without
that pair it computes the layer in float, whose sums depend on their order. So the layer is written with standard
operators that are exact in any order and on any CPU: int8 values as whole numbers in float32, whose sums are exact
below 2**24 (proved here for all inputs), then int32, and single operations of float32 from there on. In steps of the
output::

    half = sum * (input scale * weight scale / output scale / 2)
    step = round(half * clip(half * slope + 1, 0, 2)) + zero point,  slope = 2 / 3 output scale

which is x (x + 3) / 6 for -3 < x < 3. The upper end is the float32 before 2: then both ends are one saturation of the
bits on a core with the DSP extension. The scales stay constants of the graph, which says what it computes of them.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from aed.base.errors import AedError
from aed.export.graph import Array, attributes, constants, copy_of, producers, readers, tidy

FUSED = ("Conv", "Gemm")
"""Operators that are one layer with the curve after them."""

LARGEST_SUM = 2**24
"""Whole numbers up to this, and so all sums of them in any order, are exact in float32."""

LIMIT = np.array(0x3FFFFFFF, np.int32).view(np.float32)[()]
"""The largest float32 below 2."""

_CONSTANTS: dict[str, np.float32] = {
    "aed.zero": np.float32(0),
    "aed.half": np.float32(0.5),
    "aed.two_thirds": np.float32(2 / 3),
    "aed.one": np.float32(1),
    "aed.limit": np.float32(LIMIT),
}


@dataclass(frozen=True, kw_only=True)
class Fused:
    """A layer and its curve in one; names of tensors and constants of the graph.

    Args:
        layer: The node of the layer, as it stands in the graph.
        curve: Name of the curve's output in the float graph.
        source: int8 input.
        source_scale: Its scale.
        source_zero: Its zero point.
        weight: int8 weights.
        weight_scale: Their scale, or one for each output.
        bias: int32; "": there is none.
        target: int8 output.
        target_scale: Its scale.
        target_zero: Its zero point.
    """

    layer: onnx.NodeProto
    curve: str
    source: str
    source_scale: str
    source_zero: str
    weight: str
    weight_scale: str
    bias: str
    target: str
    target_scale: str
    target_zero: str

    @property
    def op(self) -> str:
        """Both operators, for reports."""
        return f"{self.layer.op_type} + HardSwish"

    def nodes(self) -> list[onnx.NodeProto]:
        """The nodes that are the layer in an int8 graph."""
        name = self.layer.name

        def node(op: str, part: str, *inputs: str, **facts: Any) -> onnx.NodeProto:
            return helper.make_node(op, list(inputs), [f"{name}.{part}"], f"{name}.{part}", **facts)

        weight, bias = self.layer.input[1], self.layer.input[2] if self.bias else ""
        to_float, to_int32 = int(onnx.TensorProto.FLOAT), int(onnx.TensorProto.INT32)
        made = [
            node("DequantizeLinear", "input", self.source, "aed.one", self.source_zero),
            helper.make_node("Cast", [self.weight], [weight], f"{name}.weights", to=to_float),
        ]
        if bias:
            made.append(helper.make_node("Cast", [self.bias], [bias], f"{name}.biases", to=to_float))
        layer = onnx.NodeProto()
        layer.CopyFrom(self.layer)
        layer.input[0], layer.output[0] = f"{name}.input", f"{name}.sum"
        end = [self.curve, "aed.one", self.target_zero]
        return [
            *made,
            layer,
            node("Cast", "int32", f"{name}.sum", to=to_int32),
            node("Mul", "unit", self.source_scale, self.weight_scale),
            node("Div", "steps", f"{name}.unit", self.target_scale),
            node("Mul", "factor", f"{name}.steps", "aed.half"),
            node("DequantizeLinear", "half", f"{name}.int32", f"{name}.factor", axis=1),
            node("Mul", "slope", self.target_scale, "aed.two_thirds"),
            node("Mul", "sloped", f"{name}.half", f"{name}.slope"),
            node("Add", "shifted", f"{name}.sloped", "aed.one"),
            node("Clip", "gate", f"{name}.shifted", "aed.zero", "aed.limit"),
            helper.make_node("Mul", [f"{name}.half", f"{name}.gate"], [self.curve], f"{name}.curve"),
            helper.make_node("QuantizeLinear", end, [self.target], f"{name}.quantizer"),
        ]

    def real_nodes(self) -> list[onnx.NodeProto]:
        """The same layer in real values: what ONNX Runtime would sum in float, and torch can differentiate."""
        name = self.layer.name
        weight, bias = self.layer.input[1], self.layer.input[2] if self.bias else ""
        axis = 1 if self.layer.op_type == "Gemm" and not attributes(self.layer).get("transB", 0) else 0
        unit = f"{name}.unit"
        source = [self.source, self.source_scale, self.source_zero]
        made = [
            helper.make_node("DequantizeLinear", source, [f"{name}.input"], f"{name}.input"),
            helper.make_node(
                "DequantizeLinear", [self.weight, self.weight_scale], [weight], f"{name}.weights", axis=axis
            ),
        ]
        if bias:
            made.append(helper.make_node("Mul", [self.source_scale, self.weight_scale], [unit], unit))
            made.append(helper.make_node("DequantizeLinear", [self.bias, unit], [bias], f"{name}.biases", axis=0))
        layer = onnx.NodeProto()
        layer.CopyFrom(self.layer)
        layer.input[0], layer.output[0] = f"{name}.input", f"{name}.sum"
        end = [self.curve, self.target_scale, self.target_zero]
        return [
            *made,
            layer,
            helper.make_node("HardSwish", [f"{name}.sum"], [self.curve], f"{name}.curve"),
            helper.make_node("QuantizeLinear", end, [self.target], f"{name}.quantizer"),
        ]


def fuse(int8: onnx.ModelProto, excluded: Collection[str] = ()) -> onnx.ModelProto:
    """A QDQ graph with each layer and the HardSwish that alone reads it as one; ``int8`` itself if there are none.

    A layer whose sums are not proved to stay below :data:`LARGEST_SUM` keeps int8 before its curve.

    Args:
        int8: With int8 before and after each curve; left as it is.
        excluded: Names of nodes that shall stay what they are.
    """
    found = {pair.layer.name: pair for pair in _pairs(int8) if not {pair.layer.name, pair.curve} & set(excluded)}
    if not found:
        return int8
    model, after = copy_of(int8), readers(int8)
    rewritten = {name for pair in found.values() for name in (*pair.layer.input[1:], pair.curve, pair.target)}
    for pair in found.values():  # int8 between the two
        quantizer = after[pair.layer.output[0]][0]
        rewritten |= {quantizer.output[0], after[quantizer.output[0]][0].output[0]}
    nodes = [
        part
        for node in model.graph.node
        if node.output[0] not in rewritten
        for part in (found[node.name].nodes() if node.name in found else [node])
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(numpy_helper.from_array(np.array(array), name) for name, array in _CONSTANTS.items())
    return tidy(model)


def _pairs(int8: onnx.ModelProto) -> Iterator[Fused]:
    """Layers with a curve in a graph that has int8 between them."""
    arrays, before, after = constants(int8), producers(int8), readers(int8)

    def only(name: str, op: str) -> onnx.NodeProto | None:
        """The one reader of a tensor, if it is an ``op``."""
        nodes = after.get(name, [])
        return nodes[0] if len(nodes) == 1 and nodes[0].op_type == op else None

    outputs = {value.name for value in int8.graph.output}
    for layer in int8.graph.node:
        if layer.op_type not in FUSED:
            continue
        name = layer.output[0]
        for op in ("QuantizeLinear", "DequantizeLinear", "HardSwish", "QuantizeLinear"):
            node = only(name, op) if name not in outputs else None
            if node is None:
                break
            name, curve = node.output[0], name
        else:
            assert node is not None
            ends = [before.get(part) for part in layer.input]
            facts = attributes(layer)
            plain = facts.get("alpha", 1.0) == facts.get("beta", 1.0) == 1.0 and not facts.get("transA", 0)
            if not plain or any(end is None or end.op_type != "DequantizeLinear" for end in ends):
                continue
            if any(len(after[name]) > 1 for name in layer.input[1:]):  # weights of two layers
                continue
            source, weight, *bias = [list(end.input) for end in ends if end is not None]
            pair = Fused(
                layer=layer,
                curve=curve,
                source=source[0],
                source_scale=source[1],
                source_zero=source[2],
                weight=weight[0],
                weight_scale=weight[1],
                bias=bias[0][0] if bias else "",
                target=node.output[0],
                target_scale=node.input[1],
                target_zero=node.input[2],
            )
            if _is_exact(pair, arrays):
                yield pair


def _is_exact(pair: Fused, arrays: dict[str, Array]) -> bool:
    """Whether all sums are whole numbers that float32 holds, and their factors far from the ends of float32."""
    names = (pair.weight, pair.weight_scale, pair.source_scale, pair.source_zero, pair.target_scale, pair.target_zero)
    if any(name not in arrays for name in names) or pair.source in arrays:
        return False
    weight, zero = arrays[pair.weight].astype(np.int64), int(arrays[pair.source_zero])
    if pair.layer.op_type == "Gemm" and not attributes(pair.layer).get("transB", 0):
        weight = weight.T
    largest = max(127 - zero, 128 + zero)
    sums = np.abs(weight.reshape(len(weight), -1)).sum(axis=1) * largest
    if pair.bias:
        sums = sums + np.abs(arrays[pair.bias].astype(np.int64))
    with np.errstate(all="ignore"):
        factor = factor_of(arrays[pair.source_scale], arrays[pair.weight_scale], arrays[pair.target_scale])
    return bool((sums < LARGEST_SUM).all() and (factor < 1e6).all())


def factor_of(source: Array, weight: Array, target: Array) -> Array:
    """``input scale * weight scale / output scale / 2``, each step in float32, as the graph computes it."""
    half: Array = (source * weight) / target * _CONSTANTS["aed.half"]
    return half


def slope_of(target: float) -> np.float32:
    """``2 / 3 output scale`` in float32, as the graph computes it."""
    return np.float32(target) * _CONSTANTS["aed.two_thirds"]


def fused_layers(int8: onnx.ModelProto) -> dict[str, Fused]:
    """The layers of an int8 graph that have their curve in them, by name; exactly those that :func:`fuse` writes."""
    nodes = {node.name: node for node in int8.graph.node}
    arrays = constants(int8)
    if any(name not in arrays or arrays[name].tolist() != value.item() for name, value in _CONSTANTS.items()):
        return {}
    found = {}
    for layer in int8.graph.node:
        parts = [nodes.get(f"{layer.name}.{part}") for part in ("input", "weights", "unit", "steps", "quantizer")]
        if layer.op_type not in FUSED or any(part is None for part in parts):
            continue
        source, weight, unit, steps, end = (part for part in parts if part is not None)
        bias = nodes.get(f"{layer.name}.biases")
        fused = Fused(
            layer=layer,
            curve=end.input[0],
            source=source.input[0],
            source_scale=unit.input[0],
            source_zero=source.input[2],
            weight=weight.input[0],
            weight_scale=unit.input[1],
            bias=bias.input[0] if bias is not None else "",
            target=end.output[0],
            target_scale=steps.input[1],
            target_zero=end.input[2],
        )
        if all(node.name in nodes and node == nodes[node.name] for node in fused.nodes()) and _is_exact(fused, arrays):
            found[layer.name] = fused
    return found


def need_separate(model: onnx.ModelProto, path: Path, reader: str) -> None:
    """Refuses a graph with fused layers where a vendor's tool shall read it, which knows a QDQ pair after each layer.

    Args:
        model: int8 or float.
        path: Its file.
        reader: The tool.

    Raises:
        AedError: It has some.
    """
    if fused := fused_layers(model):
        raise AedError(
            f"{path}: {len(fused)} layers have their HardSwish in them, which {reader} cannot read as int8; quantise "
            "with quantization.curves=separate, and take the accuracy that is reported for that model"
        )


def in_real_values(int8: onnx.ModelProto) -> onnx.ModelProto:
    """``int8`` with fused layers in real values, for torch; ``int8`` itself if there are none."""
    fused = fused_layers(int8)
    if not fused:
        return int8
    model = copy_of(int8)
    inner = {node.name for layer in fused.values() for node in layer.nodes()} - fused.keys()
    nodes = [
        part
        for node in int8.graph.node
        if node.name not in inner
        for part in (fused[node.name].real_nodes() if node.name in fused else [node])
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model
