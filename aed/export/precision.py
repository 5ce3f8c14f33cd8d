"""Which layers of an int8 graph are int8, and the scale and zero point of what they make."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx

from aed.export.curves import Fused, fused_layers
from aed.export.graph import QDQ, constants, layers, producers, readers

Range = tuple[np.float32, int]
"""Scale and zero point of a tensor."""


@dataclass(frozen=True)
class Int8Layer:
    """A layer of a QDQ graph, with its curve where both are one.

    Args:
        node: Of the layer.
        fused: The layer and its curve; None: it has none.
        output: Name of its output in the float graph.
        quantizer: The node that makes int8 of it; None: it stays float, or only moves int8.
    """

    node: onnx.NodeProto
    fused: Fused | None
    output: str
    quantizer: onnx.NodeProto | None

    @property
    def op(self) -> str:
        """Operator, or two."""
        return self.fused.op if self.fused else str(self.node.op_type)

    @property
    def scale(self) -> str:
        """Constant that is the scale of its int8 output."""
        return self.fused.target_scale if self.fused else str(self.quantizer.input[1]) if self.quantizer else ""


def int8_layers(int8: onnx.ModelProto) -> Iterator[Int8Layer]:
    """The layers of a QDQ graph, in order."""
    fused, read = fused_layers(int8), readers(int8)
    inner = {node.name for layer in fused.values() for node in layer.nodes()} - fused.keys()
    nodes = {node.name: node for node in int8.graph.node}
    for node in layers(int8):
        if node.name in inner:
            continue
        own = fused.get(node.name)
        if own is not None:
            yield Int8Layer(node, own, original_name(own.curve), nodes[f"{node.name}.quantizer"])
            continue
        after = [reader for reader in read.get(node.output[0], []) if reader.op_type == "QuantizeLinear"]
        yield Int8Layer(node, None, original_name(node.output[0]), after[0] if after else None)


def original_name(name: str) -> str:
    """The float graph's name of a tensor; ONNX Runtime renames a graph's output that it quantises."""
    return name.removesuffix("_QuantizeLinear_Input")


def float_layers(int8: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the layers of a QDQ graph that read or write float: left in float by choice or by ONNX Runtime."""
    producer, read = producers(int8), readers(int8)
    arrays = constants(int8)

    def is_int8(node: onnx.NodeProto) -> bool:
        activations = [name for name in node.input if name and name not in arrays]
        held = [arrays[name] for name in node.input if name in arrays and node.op_type not in ("Clip", "Pad")]
        before = all(name in producer and producer[name].op_type == "DequantizeLinear" for name in activations)
        after = [reader for name in node.output for reader in read.get(name, [])]
        real_weights = any(array.dtype.kind == "f" for array in held)
        return before and not real_weights and bool(after) and all(reader.op_type == QDQ[0] for reader in after)

    return tuple(layer.node.name for layer in int8_layers(int8) if layer.fused is None and not is_int8(layer.node))


def activation_ranges(int8: onnx.ModelProto) -> dict[str, Range]:
    """Scale and zero point of every activation of a QDQ graph, by the float graph's tensor names."""
    arrays = constants(int8)
    scales = {layer.fused.curve: layer.fused.target_scale for layer in int8_layers(int8) if layer.fused}
    return {
        original_name(node.input[0]): (
            np.float32(arrays[scales.get(node.input[0], node.input[1])]),
            int(arrays[node.input[2]]),
        )
        for node in int8.graph.node
        if node.op_type == "QuantizeLinear"
    }
