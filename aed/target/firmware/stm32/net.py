"""The net with the ends that ST's audio firmware wants: int8 in, float probabilities out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from aed.base.errors import AedError
from aed.base.files import sha256_of
from aed.export.card import ModelCard, Quantization
from aed.export.graph import constants, copy_of, input_of, producers, readers, tidy
from aed.export.tflite import patch_of
from aed.modules.weights.tflite_file import TfliteGraph
from aed.target.stedgeai.handed import tflite_ends


def input_steps(card: ModelCard, path: Path) -> Quantization:
    """Quantisation of the net's input, which the firmware does itself.

    Raises:
        AedError: The model is not int8, or its first layer is float.
    """
    facts = card.quantization
    if facts is None or facts.input_scale is None or facts.input_zero_point is None:
        what = "is a float model" if facts is None else "has a first layer in float"
        raise AedError(f"{path}: {what}; ST's firmware writes int8 patches: give a model_int8.onnx")
    return facts


def check_original(original: Path, card: ModelCard) -> None:
    """Refuses a file that is not the one a model was imported from, or whose ends are not the firmware's.

    Raises:
        AedError: Says which, and what to do.
    """
    if original.suffix.lower() != ".tflite":
        raise AedError(f"stm32.original={original}: need the .tflite that the model was imported from")
    graph = TfliteGraph.read(original)
    imported = card.weights or {}
    if sha256_of(original) != imported.get("sha256"):
        raise AedError(
            f"stm32.original={original}: not the file that the model was imported from, {imported.get('file', 'none')}"
        )
    if (ends := tflite_ends(graph)) != ("int8", "float32"):
        raise AedError(
            f"stm32.original={original}: {ends[0]} in and {ends[1]} out, ST's firmware has int8 in and float32 out: "
            "leave stm32.original out, or convert with converter.inference_input_type = tf.int8"
        )
    if patch_of(graph) != (card.frontend.n_mels, card.frontend.patch_frames):
        raise AedError(
            f"stm32.original={original}: takes (frames, mels), ST's firmware writes (mels, frames); leave "
            "stm32.original out"
        )
    last = [operator.kind for operator in graph.operators[-2:]]
    if last != ["SOFTMAX", "DEQUANTIZE"] or card.decision.temperature != 1:
        raise AedError(
            f"stm32.original={original}: ends in {' and '.join(last)}, ST's firmware needs the model's own "
            "probabilities; leave stm32.original out"
        )


def firmware_model(model: onnx.ModelProto, card: ModelCard, path: Path) -> tuple[onnx.ModelProto, ModelCard]:
    """``model`` with int8 input, float output, the card's temperature and a softmax, and its card.

    Args:
        model: int8 (QDQ); left as it is.
        card: Its own.
        path: Where it is from, for messages.

    Raises:
        AedError: The firmware cannot use it.
    """
    if card.task != "single_label":
        raise AedError(
            f"{path}: task {card.task}, but ST's firmware names one class, the most likely; use target=c, a library "
            "that decides about each class"
        )
    facts = input_steps(card, path)
    twin = copy_of(model)
    source = input_of(twin)
    if source.type.tensor_type.elem_type == TensorProto.FLOAT:
        _strip_input(twin, source, path)
    _finish_output(twin, card, facts)
    return tidy(twin), replace(card, outputs="probabilities")


def _strip_input(model: onnx.ModelProto, source: onnx.ValueInfoProto, path: Path) -> None:
    """Removes the first QuantizeLinear, in place."""
    first = readers(model)[source.name]
    if [node.op_type for node in first] != ["QuantizeLinear"]:
        raise AedError(f"{path}: its input is not quantised at once; ST's firmware writes int8 patches")
    quantised = first[0].output[0]
    model.graph.node.remove(first[0])
    for node in model.graph.node:
        node.input[:] = [source.name if name == quantised else name for name in node.input]
    source.type.tensor_type.elem_type = TensorProto.INT8


def _finish_output(model: onnx.ModelProto, card: ModelCard, facts: Quantization) -> None:
    """Dequantises an int8 output and turns logits into probabilities, in place.

    The temperature needs no operator where it can divide the scale of the output.
    """
    result = model.graph.output[0]
    temperature = card.decision.temperature if card.outputs == "logits" else 1.0
    last = producers(model)[result.name]
    ends: list[tuple[str, list[str]]] = []

    def constant(name: str, value: Any, dtype: type[np.generic]) -> str:
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype), name))
        return name

    if result.type.tensor_type.elem_type == TensorProto.INT8:
        assert facts.output_scale is not None
        scale = constant("end.scale", facts.output_scale / temperature, np.float32)
        ends.append(("DequantizeLinear", [scale, constant("end.zero", facts.output_zero_point, np.int8)]))
        result.type.tensor_type.elem_type = TensorProto.FLOAT
    elif temperature != 1 and last.op_type == "DequantizeLinear":
        last.input[1] = constant("end.scale", constants(model)[last.input[1]] / temperature, np.float32)
    elif temperature != 1:
        ends.append(("Div", [constant("end.temperature", temperature, np.float32)]))
    if card.outputs == "logits":
        ends.append(("Softmax", []))  # its default axis is the last
    for kind, more in ends:
        name = f"end.{kind}"
        model.graph.node.append(helper.make_node(kind, [result.name, *more], [name], name))
        result.name = name
