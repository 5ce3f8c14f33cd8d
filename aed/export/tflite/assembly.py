"""The ONNX graph that grows while the operators of a TensorFlow Lite file are read one after the other.

A tensor is known by its number in the file. Its values in ONNX are those of the file with other axes: ``layout`` says
which axis of the file each of ONNX's is, (0, 3, 1, 2) for an image, whose channels ONNX has before height and width.
A TRANSPOSE only changes that, so that a net that turns its input gets turned kernels and no node. A flattened image
has an ``order``: for each value in ONNX its index in the file; the layer that reads it gets its weights in that order.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from aed.base.errors import AedError
from aed.export.graph import Array
from aed.export.tflite.value import IMAGE, TURNED, Value
from aed.modules.weights.tflite_file import Operator, TfliteGraph, TfliteTensor

LARGEST = 1 << 24
"""Values of a tensor: a damaged file may claim any shape."""

_ACTIVATIONS: dict[int, list[float]] = {0: [], 1: [0.0], 3: [0.0, 6.0]}
"""``ActivationFunctionType`` NONE, RELU and RELU6 -> their ends."""


class Assembly:
    """Nodes and constants so far.

    Args:
        graph: The file's.
        is_int8: Whether values are int8 between the layers.
    """

    def __init__(self, graph: TfliteGraph, is_int8: bool) -> None:
        self.graph, self.is_int8 = graph, is_int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: dict[int, Value] = {}
        self._reshaped: dict[tuple[str, tuple[int, ...]], str] = {}
        self.num_readers = Counter(number for operator in graph.operators for number in operator.inputs)

    def refusal(self, operator: Operator, reason: str) -> AedError:
        """The error for an operator that has no counterpart."""
        shapes = [self.graph.tensors[number].shape for number in operator.inputs if number >= 0]
        return AedError(f"{self.graph.path}: {operator}, inputs {shapes}: {reason}")

    def tensor(self, operator: Operator, index: int) -> TfliteTensor:
        """The tensor of an input.

        Raises:
            AedError: It is left out.
        """
        if index >= len(operator.inputs) or operator.inputs[index] < 0:
            raise self.refusal(operator, f"has no input {index}; the file is damaged")
        return self.graph.tensors[operator.inputs[index]]

    def input(self, operator: Operator, index: int = 0) -> Value:
        """The computed value of an input.

        Raises:
            AedError: It is a constant, or nothing has computed it.
        """
        self.tensor(operator, index)
        value = self.values.get(operator.inputs[index])
        if value is None:
            raise self.refusal(operator, f"its input {index} is no value that the operators before it compute")
        return value

    def image(self, operator: Operator, index: int = 0) -> Value:
        """The computed image of an input, channels where ONNX has them.

        Raises:
            AedError: It is none.
        """
        value = self.input(operator, index)
        if len(value.shape) == 4:
            for layout in (value.layout, IMAGE, TURNED):
                if layout in (IMAGE, TURNED) and (seen := self.seen_as(value, value.shape, layout)):
                    return seen
        raise self.refusal(operator, f"need an image (1, height, width, channels) as input {index}, got {value.shape}")

    def numbers(self, operator: Operator, index: int) -> list[int]:
        """The whole numbers of a constant input.

        Raises:
            AedError: It is computed, or holds others.
        """
        values = self.tensor(operator, index).values
        if values is None or values.dtype.kind != "i":
            raise self.refusal(operator, f"its input {index} is no constant of whole numbers")
        return [int(number) for number in values.ravel()]

    def output(self, operator: Operator) -> TfliteTensor:
        """The tensor of the one output.

        Raises:
            AedError: There are several, or it is of another type than the net's values.
        """
        if len(operator.outputs) != 1:
            raise self.refusal(operator, f"need one output, got {len(operator.outputs)}")
        tensor = self.graph.tensors[operator.outputs[0]]
        self.check_type(operator, tensor)
        return tensor

    def check_type(self, operator: Operator, tensor: TfliteTensor) -> None:
        """Refuses a computed tensor that is not what the net computes with.

        Raises:
            AedError: Says what to do.
        """
        if not tensor.shape or min(tensor.shape) < 1 or int(np.prod(tensor.shape, dtype=float)) > LARGEST:
            raise self.refusal(operator, f"an output of shape {tensor.shape}; {LARGEST:,} values at most")
        wanted = "INT8" if self.is_int8 else "FLOAT32"
        if tensor.kind != wanted:
            advice = (
                "a float part of an int8 net, which C does not have; convert the whole net to int8 "
                "(converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8])"
                if self.is_int8 and tensor.kind == "FLOAT32"
                else f"need {wanted.lower()}"
            )
            raise self.refusal(operator, f"computes {tensor.kind.lower()}: {advice}")
        if self.is_int8:
            steps = tensor.steps
            if steps is None or len(steps.scale) != 1 or not -128 <= steps.zero[0] <= 127:
                raise self.refusal(operator, "its output has no scale and zero point of int8; the file is damaged")

    # --- writing ---------------------------------------------------------------------------------------------------

    def constant(self, name: str, array: Array) -> str:
        """Adds a constant and returns its name."""
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def quantised(self, name: str, array: Array, scale: Array, zero: Array, axis: int = 0) -> str:
        """Adds a constant of whole numbers and its real values; returns the name of these."""
        steps = [self.constant(f"{name}.scale", scale), self.constant(f"{name}.zero", zero)]
        self.add("DequantizeLinear", [self.constant(name, array), *steps], f"{name}.real", axis=axis)
        return f"{name}.real"

    def add(self, kind: str, inputs: list[str], name: str, **facts: Any) -> None:
        """Adds a node of one output, both called ``name``."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **facts))

    def set(self, operator: Operator, kind: str, inputs: list[str], like: Value, **facts: Any) -> None:
        """Adds the node of an operator, its int8 steps and its fused activation; keeps its value.

        Args:
            operator: Of one output.
            kind: ONNX's operator.
            inputs: Names.
            like: The value's layout, shape and order; its name is not used.
            facts: Attributes.
        """
        tensor, name = self.output(operator), f"{operator.kind.lower()}_{operator.number}"
        self.add(kind, inputs, name, **facts)
        real = self._in_steps(tensor, name)
        if limits := self._limits(operator, tensor):
            name = f"{name}.clip"
            ends = [self.constant(f"{name}.{number}", np.array(end, np.float32)) for number, end in enumerate(limits)]
            self.add("Clip", [real, *ends], name)
            real = self._in_steps(tensor, name)
        self.values[operator.outputs[0]] = replace(like, name=real)

    def _in_steps(self, tensor: TfliteTensor, name: str) -> str:
        """Rounds a value to its int8 steps; returns the name of their real values."""
        if not self.is_int8:
            return name
        assert tensor.steps is not None
        steps = self.steps_of(tensor, name)
        self.add("QuantizeLinear", [name, *steps], f"{name}.int8")
        self.add("DequantizeLinear", [f"{name}.int8", *steps], f"{name}.real")
        return f"{name}.real"

    def steps_of(self, tensor: TfliteTensor, name: str) -> list[str]:
        """Adds scale and zero point of an int8 tensor as constants; returns their names."""
        assert tensor.steps is not None
        zero = np.int8(tensor.steps.zero[0])
        return [self.constant(f"{name}.scale", tensor.steps.scale[0]), self.constant(f"{name}.zero", np.array(zero))]

    def _limits(self, operator: Operator, tensor: TfliteTensor) -> list[float]:
        """Ends of the fused activation, where the int8 range alone does not do its work; [] : there are none."""
        fused = operator.options.get("FusedActivationFunction", 0)
        if fused not in _ACTIVATIONS:
            raise self.refusal(operator, "its fused activation is neither RELU nor RELU6")
        ends = _ACTIVATIONS[int(fused)]
        if ends and self.is_int8:
            assert tensor.steps is not None
            zero, scale = int(tensor.steps.zero[0]), float(tensor.steps.scale[0])
            if zero == -128 and (len(ends) == 1 or zero + round(6 / scale) >= 127):
                return []
        return ends

    # --- moving values about -----------------------------------------------------------------------------------------

    def seen_as(self, value: Value, shape: tuple[int, ...], layout: tuple[int, ...]) -> Value | None:
        """The same values under another shape and layout, if they lie in the same order; None: they do not."""
        wanted = Value("", layout, shape)
        if value.layout == layout and value.shape == shape and value.order is None:
            return value
        if not np.array_equal(value.indices(), wanted.indices()):
            return None
        return replace(wanted, name=self.reshaped(value, wanted.sizes()))

    def view(self, operator: Operator, value: Value, shape: tuple[int, ...]) -> None:
        """Keeps a value under another shape as the output of an operator.

        Raises:
            AedError: It would be an image whose values are elsewhere.
        """
        if len(shape) == 2:
            order = value.indices()
            flat = Value(self.reshaped(value, list(shape)), (0, 1), shape)
            in_order = np.array_equal(order, np.arange(len(order)))
            self.values[operator.outputs[0]] = flat if in_order else replace(flat, order=order)
            return
        layouts = (IMAGE, TURNED) if len(shape) == 4 else (tuple(range(len(shape))),)
        seen = next((seen for layout in layouts if (seen := self.seen_as(value, shape, layout))), None)
        if seen is None:
            raise self.refusal(operator, f"moves the values of an image to other places, {value.shape} to {shape}")
        self.values[operator.outputs[0]] = seen

    def reshaped(self, value: Value, sizes: list[int]) -> str:
        """Adds a node that gives a value another shape in ONNX; returns its name."""
        if value.sizes() == sizes:
            return value.name
        key = value.name, tuple(sizes)
        if key not in self._reshaped:
            self._reshaped[key] = self._reshape(value, sizes)
        return self._reshaped[key]

    def _reshape(self, value: Value, sizes: list[int]) -> str:
        name = f"{value.name.removesuffix('.real')}.as_{'x'.join(map(str, sizes))}"
        if len(sizes) == 2:
            self.add("Flatten", [value.name], name, axis=1)
        else:
            self.add("Reshape", [value.name, self.constant(f"{name}.shape", np.array(sizes, np.int64))], name)
        before = next((node for node in reversed(self.nodes) if node.output[0] == value.name), None)
        if before is None or before.op_type != "DequantizeLinear":  # the float input of the graph
            return name
        self.add("QuantizeLinear", [name, *before.input[1:]], f"{name}.int8")
        self.add("DequantizeLinear", [f"{name}.int8", *before.input[1:]], f"{name}.real")
        return f"{name}.real"
