"""A TensorFlow Lite file as an ONNX graph: which of its ends stay, what it is, and the walk through its operators."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx
from onnx import helper

from aed.base.errors import AedError, in_brief
from aed.export.forms import in_one_form
from aed.export.graph import tidy
from aed.export.tflite.assembly import Assembly
from aed.export.tflite.moving import MOVING
from aed.export.tflite.operators import OPERATORS
from aed.export.tflite.value import IMAGE, TURNED, Value
from aed.modules.weights.tflite import real
from aed.modules.weights.tflite_file import Operator, TfliteGraph, TfliteTensor

INPUT, OUTPUT = "patches", "output"

_OPSET, _IR = 17, 8
"""As of the graphs that are exported here."""

_DAMAGED: tuple[type[Exception], ...] = (
    *(IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, AssertionError),
    *(onnx.checker.ValidationError, onnx.shape_inference.InferenceError),
)
"""Errors that a file ends in whose parts contradict each other."""

_ENDS = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A file as a graph.

    Args:
        model: Patches ``(1, 1, n_mels, patch_frames)`` float32 in, logits ``(1, num_classes)`` float32 out; of an int8
            file QDQ, with the file's own steps.
        is_int8: Whether it is.
        task: ``multi_label`` where the file ended in a sigmoid.
        has_posteriors: Whether a softmax or sigmoid stood at the end, which is left out.
        num_classes: Outputs.
    """

    model: onnx.ModelProto
    is_int8: bool
    task: Literal["single_label", "multi_label"]
    has_posteriors: bool
    num_classes: int


def patch_of(graph: TfliteGraph) -> tuple[int, int]:
    """Height and width of the one input.

    Raises:
        AedError: It is no patch of features.
    """
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise AedError(f"{graph.path}: need one input and one output, got {len(graph.inputs)} and {len(graph.outputs)}")
    shape = graph.tensors[graph.inputs[0]].shape
    if (len(shape) == 2 and shape[0] == 1) or len(shape) == 1:
        raise AedError(
            f"{graph.path}: takes {shape[-1]} samples, not patches of features: its front end is part of the net; of "
            "Google's YAMNet there is model=yamnet_audioset, and model.net.weights=google for training"
        )
    if shape[0] != 1 or len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 1) or min(shape) < 1:
        raise AedError(f"{graph.path}: need an input (1, n_mels, patch_frames, 1), got {shape}")
    return shape[1], shape[2]


def convert(graph: TfliteGraph, is_turned: bool) -> Converted:
    """The graph of a file; a softmax or sigmoid at its end is left out.

    Args:
        graph: Of a file whose input is a patch: :func:`patch_of`.
        is_turned: Whether the file takes (frames, mels).

    Raises:
        AedError: An operator, or a form of it, has no counterpart, or a part of an int8 net is float.
    """
    try:
        return _converted(graph, is_turned)
    except _DAMAGED as error:
        raise AedError(
            f"{graph.path}: damaged TensorFlow Lite model ({in_brief(error)}); copy or convert it again"
        ) from error


def _converted(graph: TfliteGraph, is_turned: bool) -> Converted:
    size, graph = patch_of(graph), _with_constants(graph)
    last, end = _last(graph)
    path = {operator.outputs[0]: operator for operator in graph.operators if operator.outputs}
    is_int8 = any(graph.tensors[number].kind == "INT8" for number in path if graph.tensors[number].values is None)
    made = Assembly(graph, is_int8)
    _begin(made, is_turned)
    for operator in _needed(graph, last, path):
        if operator.outputs[0] in made.values:  # the input's own rounding
            continue
        if operator.kind == "DEQUANTIZE" or operator.kind not in OPERATORS:
            made.output(operator)  # first whether it is float
            raise made.refusal(
                operator, f"no counterpart here; export the net as ONNX, or of {', '.join(sorted(OPERATORS))}"
            )
        OPERATORS[operator.kind](made, operator)
    classes = graph.tensors[last].shape
    return Converted(
        model=_finished(made, last, size[::-1] if is_turned else size),
        is_int8=is_int8,
        task="multi_label" if end == "LOGISTIC" else "single_label",
        has_posteriors=end != "",
        num_classes=int(np.prod(classes)),
    )


def _with_constants(graph: TfliteGraph) -> TfliteGraph:
    """``graph`` with the constants that it makes of smaller types, float16 or int8, when it starts."""
    tensors, rest = list(graph.tensors), []
    for operator in graph.operators:
        source = tensors[operator.inputs[0]] if operator.inputs and operator.inputs[0] >= 0 else None
        if operator.kind == "DEQUANTIZE" and source is not None and source.values is not None:
            tensors[operator.outputs[0]] = TfliteTensor("FLOAT32", source.shape, None, real(source))
        else:
            rest.append(operator)
    return replace(graph, tensors=tuple(tensors), operators=tuple(rest))


def _last(graph: TfliteGraph) -> tuple[int, str]:
    """Number of the tensor of logits, and the operator that makes posteriors of them; "": there is none."""
    made = {number: operator for operator in graph.operators for number in operator.outputs}
    number, seen = graph.outputs[0], set[int]()
    while (operator := made.get(number)) is not None and operator.kind in _ENDS and number not in seen:
        seen.add(number)
        number = operator.inputs[0]
    if operator is not None and operator.kind in ("SOFTMAX", "LOGISTIC"):
        if operator.options.get("Beta", 1.0) != 1.0:
            raise AedError(f"{graph.path}: {operator}: beta {operator.options['Beta']:g}; only 1")
        return operator.inputs[0], operator.kind
    return number, ""


def _needed(graph: TfliteGraph, last: int, path: dict[int, Operator]) -> list[Operator]:
    """The operators that lead to tensor ``last``, in the file's order."""
    needed, left = set(), [last]
    while left:
        operator = path.get(left.pop())
        if operator is not None and operator.number not in needed:
            needed.add(operator.number)
            left += operator.inputs[:1] if operator.kind in MOVING else operator.inputs  # of a RESHAPE: not the shape
    return [operator for operator in graph.operators if operator.number in needed]


def _begin(made: Assembly, is_turned: bool) -> None:
    """Adds the input, float, and its int8 steps: those of the file's input, or those that it is rounded to first."""
    graph, number = made.graph, made.graph.inputs[0]
    shape = graph.tensors[number].shape
    value = Value(INPUT, TURNED if is_turned else IMAGE, (*shape[:3], 1))
    first = [number]
    if made.is_int8:
        first, steps = _first_steps(graph)
        constants = made.steps_of(steps, INPUT)
        made.add("QuantizeLinear", [INPUT, *constants], f"{INPUT}.int8")
        made.add("DequantizeLinear", [f"{INPUT}.int8", *constants], f"{INPUT}.real")
        value = replace(value, name=f"{INPUT}.real")
    elif graph.tensors[number].kind != "FLOAT32":
        raise AedError(f"{graph.path}: a float net with an input of {graph.tensors[number].kind.lower()}; need float32")
    if len(shape) == 3:
        seen = made.seen_as(value, shape, (0, 2, 1) if is_turned else (0, 1, 2))
        assert seen is not None
        value = seen
    made.values |= dict.fromkeys(first, value)


def _first_steps(graph: TfliteGraph) -> tuple[list[int], TfliteTensor]:
    """Numbers of the tensors that are the input in int8, and the first of them."""
    number = graph.inputs[0]
    tensor = graph.tensors[number]
    if tensor.kind == "INT8":
        return [number], _checked(graph, tensor)
    readers = [operator for operator in graph.operators if number in operator.inputs]
    if not readers or any(operator.kind != "QUANTIZE" for operator in readers):
        raise AedError(
            f"{graph.path}: an int8 net whose input of {tensor.kind.lower()} goes to "
            f"{' and '.join(sorted({operator.kind for operator in readers})) or 'nothing'} first; convert it with "
            "converter.inference_input_type = tf.int8"
        )
    first = [operator.outputs[0] for operator in readers]
    rounded = _checked(graph, graph.tensors[first[0]])
    assert rounded.steps is not None
    wanted = _ends(rounded)
    if any(_ends(_checked(graph, graph.tensors[other])) != wanted for other in first):
        raise AedError(f"{graph.path}: its input is rounded to int8 in two ways")
    if tensor.kind == "UINT8" and _ends(tensor, 128) == wanted:
        return first, rounded
    if tensor.kind != "FLOAT32":
        raise AedError(f"{graph.path}: its input of {tensor.kind.lower()} is rounded anew to int8; need one rounding")
    return first, rounded


def _checked(graph: TfliteGraph, tensor: TfliteTensor) -> TfliteTensor:
    steps = tensor.steps
    if tensor.kind != "INT8" or steps is None or len(steps.scale) != 1 or not -128 <= steps.zero[0] <= 127:
        raise AedError(f"{graph.path}: its input has no scale and zero point of int8; the file is damaged")
    return tensor


def _ends(tensor: TfliteTensor, shift: int = 0) -> tuple[float, int] | None:
    """Scale and zero point, the latter less ``shift``."""
    steps = tensor.steps
    return None if steps is None else (float(steps.scale[0]), int(steps.zero[0]) - shift)


def _finished(made: Assembly, last: int, size: tuple[int, int]) -> onnx.ModelProto:
    """The whole graph, checked."""
    graph, value = made.graph, made.values.get(last)
    if value is None or not made.nodes:
        raise AedError(f"{graph.path}: nothing computes its output; the file is damaged")
    classes = int(np.prod(value.shape))
    if value.shape[0] != 1 or value.shape[-1] != classes or value.order is not None:
        raise AedError(f"{graph.path}: need outputs (1, classes), got {value.shape}")
    name = made.reshaped(value, [1, classes])
    end = next((node for node in made.nodes if node.output[0] == name), None)
    if end is None:
        raise AedError(f"{graph.path}: its output is its input; the net computes nothing")
    for node in made.nodes:
        node.input[:] = [OUTPUT if read == name else read for read in node.input]
    end.output[0] = OUTPUT
    shapes = {INPUT: [1, 1, *size], OUTPUT: [1, classes]}
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    onnx_graph = helper.make_graph(made.nodes, "aed", ends[:1], ends[1:], made.constants)
    model = helper.make_model(onnx_graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)
    return tidy(model if made.is_int8 else tidy(in_one_form(model)))
