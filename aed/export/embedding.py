"""The embedding of a model, the input of its last dense layer, as a second output of its graph."""

import onnx
from onnx import TensorProto, helper

from aed.base.errors import AedError
from aed.export.graph import QDQ, VIEWS, constants, copy_of, producers, tidy

EMBEDDING = "embedding"
"""Name of the output ``(N, size)``."""

_AFTER = (*QDQ, *VIEWS, "Softmax", "Mul", "Identity")
"""Operators that may follow the last dense layer."""


def embedding_size(model: onnx.ModelProto) -> int:
    """Values of the embedding that a graph has as its second output; 0: it has none."""
    own = [value for value in model.graph.output[1:] if value.name == EMBEDDING]
    return int(own[0].type.tensor_type.shape.dim[1].dim_value) if own else 0


def with_embedding(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of ``model`` whose second output is its embedding, float, in a QDQ graph dequantised.

    Args:
        model: Float or QDQ with float ends, one output.

    Raises:
        AedError: It does not end in a dense layer.
    """
    twin = copy_of(model)
    arrays, before = constants(twin), producers(twin)
    dense = last_dense(twin, before)
    source, weight = dense.input[0], before.get(dense.input[1])
    kernel = arrays.get(weight.input[0] if weight is not None else dense.input[1])
    if kernel is None:
        raise _refusal(f"the weights of {dense.name} are no constant")
    is_turned = dense.op_type == "Gemm" and any(item.name == "transB" and item.i for item in dense.attribute)
    producer = before.get(source)
    if producer is not None and producer.op_type == "DequantizeLinear":
        node = helper.make_node("DequantizeLinear", list(producer.input), [EMBEDDING], EMBEDDING)
    else:
        node = helper.make_node("Identity", [source], [EMBEDDING], EMBEDDING)
    twin.graph.node.append(node)
    value = helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, [1, kernel.shape[1 if is_turned else 0]])
    value.type.tensor_type.shape.dim[0].CopyFrom(twin.graph.output[0].type.tensor_type.shape.dim[0])
    twin.graph.output.append(value)
    return tidy(twin)


def without_embedding(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` or, where its second output is its embedding, a copy without that."""
    if not embedding_size(model):
        return model
    twin = copy_of(model)
    kept = [value for value in twin.graph.output if value.name != EMBEDDING]
    del twin.graph.output[:]
    twin.graph.output.extend(kept)
    return tidy(twin)


def last_dense(model: onnx.ModelProto, before: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """The dense layer that makes the outputs."""
    node = before.get(model.graph.output[0].name)
    while node is not None and node.op_type in _AFTER:
        node = before.get(node.input[0])
    if node is None or node.op_type not in ("Gemm", "MatMul", "Add"):
        raise _refusal("the graph ends in " + ("its input" if node is None else f"{node.op_type} ({node.name})"))
    if node.op_type == "Add":  # a MatMul and its bias
        first = before.get(node.input[0])
        if first is None or first.op_type != "MatMul":
            raise _refusal(f"the graph ends in Add ({node.name})")
        return first
    return node


def _refusal(reason: str) -> AedError:
    return AedError(f"decision.means: the net needs a dense layer at its end, whose input is the embedding; {reason}")
