"""ONNX graphs: reading and writing whole files, and the few questions all stages ask of them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.export.card import ModelCard, put_card, read_card
from aed.export.checks import broken_constants

Array = npt.NDArray[Any]

QDQ = ("QuantizeLinear", "DequantizeLinear")


VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose")
"""Operators that move values and compute none."""

CURVES = ("Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Erf", "LeakyRelu")
"""Functions of one value whose int8 form is a table; what ONNX Runtime gives for a value depends on nothing else."""


OF_OTHERS = (".tflite", ".keras", ".h5")
"""Suffixes of models of other tools, which ``aed import_model`` reads."""


def need_own(path: Path) -> None:
    """Refuses a model of another tool by its suffix.

    Raises:
        AedError: It is one.
    """
    if path.suffix.lower() in OF_OTHERS:
        raise AedError(f"{path}: a model of another tool; import it first: aed import_model {path}")


def load_model(path: Path) -> onnx.ModelProto:
    """The checked ONNX model of a file.

    Raises:
        AedError: The file is missing, or no whole ONNX model, or its weights, scales or zero points cannot be used.
    """
    need_own(path)
    if not path.is_file():
        raise AedError(f"{path}: no such model")
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf and the checker have no common base class
        reason = str(error).strip().splitlines()
        raise AedError(f"{path}: not a whole ONNX model ({reason[0] if reason else type(error).__name__})") from error
    if not (model.graph.node and model.graph.input and model.graph.output):
        raise AedError(f"{path}: not a whole ONNX model (the graph is empty)")
    if broken := next(broken_constants(model), None):
        raise AedError(f"{path}: {broken}")
    return model


def read_model_card(model: onnx.ModelProto, path: Path) -> ModelCard:
    """The card that ``model``, from ``path``, has to have.

    Raises:
        AedError: It has none, or one that cannot be used.
    """
    card = read_card(model, str(path))
    if card is None:
        raise AedError(f"{path}: no model card inside; export it anew")
    return card


def save_model(path: Path, model: onnx.ModelProto, card: ModelCard) -> None:
    """Writes ``model`` with ``card`` in it; the same model and card give the same bytes.

    Raises:
        AedError: The file cannot be written; an old one is then untouched.
    """
    put_card(model, card)
    write_whole(path, lambda file: file.write(model.SerializeToString(deterministic=True)))


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Deep copy of a model."""
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return twin


def graph_sha256(model: onnx.ModelProto) -> str:
    """SHA-256 of the graph, hex; without metadata."""
    return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()


def constants(model: onnx.ModelProto) -> dict[str, Array]:
    """The arrays of all initializers, by name."""
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def replace_constants(model: onnx.ModelProto, arrays: dict[str, Array]) -> None:
    """Replaces the initializers by ``arrays`` of the same names."""
    for item in model.graph.initializer:
        if item.name in arrays:
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(arrays[item.name]), item.name))


def layers(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """The nodes that compute something: all but QuantizeLinear and DequantizeLinear, in order."""
    return (node for node in model.graph.node if node.op_type not in QDQ)


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The node that computes each tensor."""
    return {name: node for node in model.graph.node for name in node.output}


def readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor."""
    by_tensor: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            by_tensor.setdefault(name, []).append(node)
    return by_tensor


def input_of(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The one input that is no initializer.

    Raises:
        AedError: There is not exactly one.
    """
    names = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in names]
    if len(inputs) != 1:
        raise AedError(f"the graph needs one input, got {[item.name for item in inputs]}")
    only: onnx.ValueInfoProto = inputs[0]
    return only


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node, by name."""
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def within_range(node: onnx.NodeProto, before: onnx.NodeProto | None, arrays: dict[str, Array]) -> bool:
    """Whether ``node``, a Clip or Relu, is nothing but the int8 range of the output of the node before it.

    A range always has 0 in it, so both bounds have to. An operator that only moves integers has the range of its input.

    Args:
        node: Operator of opset 11 or later.
        before: The node that computes its input; None: it is the graph's input.
        arrays: The graph's constants.
    """
    if before is None or before.op_type in (*VIEWS, "Slice"):
        return False
    bounds = [name for name in node.input[1:] if name]
    if node.op_type == "Relu" or not bounds:
        return True
    low, high = (node.input[1], node.input[2] if len(node.input) > 2 else "")
    return (
        all(name in arrays for name in bounds)
        and (not low or float(arrays[low]) <= 0)
        and (not high or float(arrays[high]) >= 0)
    )


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` without foreign opset domains, unused constants and dates; changed in place, and checked."""
    used = {node.domain for node in model.graph.node} | {""}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    read = {name for node in model.graph.node for name in node.input} | {out.name for out in model.graph.output}
    nodes = [node for node in model.graph.node if read.intersection(node.output)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    weights = sorted((item for item in model.graph.initializer if item.name in read), key=lambda item: item.name)
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    del model.graph.value_info[:]
    model.graph.name = "aed"
    model.producer_name, model.producer_version, model.doc_string = "aed", "", ""
    onnx.checker.check_model(model)
    return model


def strip_ends(int8: onnx.ModelProto, output: bool = True) -> onnx.ModelProto:
    """A QDQ graph with int8 ends: without its first QuantizeLinear and the last DequantizeLinear of each output.

    Args:
        int8: Left as it is; ends that are int8 already stay, and those that something else than these two computes.
        output: Whether outputs become int8, too.
    """
    model = copy_of(int8)
    made, read, renamed, moved, dropped = producers(model), readers(model), {}, {}, set()
    for value in filter(_is_float, model.graph.input):
        first = read[value.name][0]
        if first.op_type == "QuantizeLinear":
            dropped.add(first.name)
            renamed[first.output[0]] = value.name
            value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    for value in filter(_is_float, model.graph.output if output else ()):
        last = made[value.name]
        if last.op_type == "DequantizeLinear":
            dropped.add(last.name)
            moved[last.input[0]] = value.name
            value.type.tensor_type.elem_type = onnx.TensorProto.INT8
    nodes = [node for node in model.graph.node if node.name not in dropped]
    for node in nodes:
        node.output[:] = [moved.get(name, name) for name in node.output]
        node.input[:] = [{**renamed, **moved}.get(name, name) for name in node.input]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return tidy(model)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
