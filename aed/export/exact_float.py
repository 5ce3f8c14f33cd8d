"""Int8 layers computed in float32 without any rounding: their sums are whole numbers that a float holds.

A CPU that multiplies int8 no faster than float has float kernels that are better tuned: a convolution of whole numbers
by these takes a third of the time. Every product and every partial sum is a whole number below 2**24, so no order of
summation changes the result. What follows is what ONNX Runtime does with its int32 sums: one product with the ratio of
the scales in float32, rounded half to even, clipped to int8.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from aed.export.graph import attributes, constants, copy_of, producers, readers
from aed.export.precision import int8_layers

UNFUSED = ("ConvMulFusion",)
"""Optimisations of ONNX Runtime that would multiply weights by the ratio of the scales, and thus round them."""

_EXACT = 2**24
"""Whole numbers below it are floats."""

_ACTIVATIONS = ("Relu",)


@dataclass(frozen=True)
class _Layer:
    """A convolution or dense layer of int8.

    Args:
        node: Of the layer.
        source: Dequantises its input.
        weights: ``(outputs, ...)``, whole numbers.
        bias: ``(outputs,)``, whole numbers; None: it has none.
        ratio: ``(outputs,)``: scale of the sums over that of the output.
        activation: Between it and its quantiser; None: nothing.
        quantizer: Of its output.
    """

    node: onnx.NodeProto
    source: onnx.NodeProto
    weights: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32] | None
    ratio: npt.NDArray[np.float32]
    activation: onnx.NodeProto | None
    quantizer: onnx.NodeProto


def in_float(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """``model`` with those int8 layers in float32 whose outputs stay what they are in every bit.

    Args:
        model: QDQ; left as it is.

    Returns:
        A graph for a session without :data:`UNFUSED`; None: no layer can be computed so.
    """
    found = {layer.node.name: layer for layer in _layers(model)}
    if not found:
        return None
    twin = copy_of(model)
    replaced = {node.name for layer in found.values() for node in (layer.activation, layer.quantizer) if node}
    nodes = []
    for node in twin.graph.node:
        if node.name in found:
            new, arrays = _in_float(found[node.name])
            nodes += new
            twin.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
        elif node.name not in replaced:
            nodes.append(node)
    del twin.graph.node[:]
    twin.graph.node.extend(nodes)
    return twin


def _in_float(layer: _Layer) -> tuple[list[onnx.NodeProto], dict[str, npt.NDArray[np.float32]]]:
    """The nodes of a layer from int8 to int8, and their constants."""
    node, name = layer.node, f"{layer.node.name}.whole"
    ratio = layer.ratio.reshape(1, -1, *[1] * (layer.weights.ndim - 2))
    arrays: dict[str, npt.NDArray[np.float32]] = {f"{name}.weight": layer.weights, f"{name}.ratio": ratio}
    arrays[f"{name}.one"] = np.ones((), np.float32)
    operands = [f"{name}.input", f"{name}.weight"]
    if layer.bias is not None:
        arrays[f"{name}.bias"] = layer.bias
        operands.append(f"{name}.bias")
    sums = helper.make_node(node.op_type, operands, [f"{name}.sums"], node.name)
    sums.attribute.extend(node.attribute)
    given, zero = layer.source.input[0], layer.source.input[2]
    nodes = [
        helper.make_node("DequantizeLinear", [given, f"{name}.one", zero], operands[:1], operands[0]),
        sums,
        helper.make_node("Mul", [f"{name}.sums", f"{name}.ratio"], [f"{name}.steps"], f"{name}.steps"),
    ]
    last = nodes[-1].output[0]
    if layer.activation is not None:
        nodes.append(helper.make_node(layer.activation.op_type, [last], [f"{name}.active"], layer.activation.name))
        last = f"{name}.active"
    made, target = layer.quantizer.output[0], layer.quantizer.input[2]
    nodes.append(helper.make_node("QuantizeLinear", [last, f"{name}.one", target], [made], layer.quantizer.name))
    return nodes, arrays


def _layers(model: onnx.ModelProto) -> list[_Layer]:
    """The layers that can be computed so."""
    arrays, made, read = constants(model), producers(model), readers(model)
    shown = {value.name for value in model.graph.output}
    curved = {node.name for layer in int8_layers(model) if layer.fused for node in layer.fused.nodes()}
    found = []
    for node in model.graph.node:
        if node.op_type not in ("Conv", "Gemm") or node.name in curved or not node.name:
            continue
        operands = [made.get(name) for name in node.input if name]
        after = _only_reader(node, read, shown)
        activation = after if after is not None and after.op_type in _ACTIVATIONS else None
        quantizer = _only_reader(activation, read, shown) if activation is not None else after
        if quantizer is None or quantizer.op_type != "QuantizeLinear":
            continue
        known = (*operands, quantizer)
        if any(part is None or part.op_type not in ("DequantizeLinear", "QuantizeLinear") for part in known):
            continue
        if layer := _layer(node, [part for part in operands if part], activation, quantizer, arrays):
            found.append(layer)
    return found


def _only_reader(node: onnx.NodeProto, read: dict[str, list[onnx.NodeProto]], shown: set[str]) -> onnx.NodeProto | None:
    after = read.get(node.output[0], [])
    return after[0] if len(after) == 1 and node.output[0] not in shown else None


def _layer(
    node: onnx.NodeProto,
    operands: list[onnx.NodeProto],
    activation: onnx.NodeProto | None,
    quantizer: onnx.NodeProto,
    arrays: dict[str, npt.NDArray[np.generic]],
) -> _Layer | None:
    """The layer; None where a constant is missing or of another kind, or a sum may be too large."""
    source, weights, *rest = operands
    ends = [(part.input[1], part.input[2]) for part in (source, quantizer) if len(part.input) > 2]
    if len(ends) < 2 or any(name not in arrays or arrays[name].size != 1 for pair in ends for name in pair):
        return None
    (scale, zero), (target_scale, target_zero) = ends
    held = [part.input[0] for part in (weights, *rest)]
    if any(name not in arrays for name in (*held, weights.input[1])) or arrays[zero].dtype != np.int8:
        return None
    if len(weights.input) > 2 and (weights.input[2] not in arrays or arrays[weights.input[2]].any()):
        return None
    if activation is not None and int(arrays[target_zero].item()) != -128:
        return None  # ONNX Runtime does not make one integer layer of these
    kernel = arrays[held[0]]
    settings = attributes(node)
    if node.op_type == "Gemm" and (
        settings.get("transA", 0) or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0
    ):
        return None
    axis = 0 if node.op_type == "Conv" or settings.get("transB", 0) else 1
    outputs = kernel.shape[axis]
    scales = np.asarray(arrays[weights.input[1]], dtype=np.float32)
    if scales.size not in (1, outputs) or (scales.size > 1 and attributes(weights).get("axis", 1) != axis):
        return None
    bias = np.asarray(arrays[held[1]], dtype=np.int64) if rest else np.zeros(outputs, np.int64)
    offset = int(arrays[zero].item())
    most = np.abs(np.moveaxis(kernel, axis, 0).astype(np.int64)).reshape(outputs, -1).sum(axis=1)
    if bias.shape != (outputs,) or (most * max(127 - offset, 128 + offset) + np.abs(bias)).max() >= _EXACT:
        return None
    ratio = np.float32(arrays[scale].item()) * scales / np.float32(arrays[target_scale].item())
    return _Layer(
        node,
        source,
        kernel.astype(np.float32),
        bias.astype(np.float32) if rest else None,
        np.broadcast_to(ratio, (outputs,)).astype(np.float32),
        activation,
        quantizer,
    )
