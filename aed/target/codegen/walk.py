"""The walk through an ONNX graph that collects a program; the operators it meets are in ``operators/``."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from aed.base.errors import AedError
from aed.export.curves import FUSED, fused_layers, slope_of
from aed.export.graph import QDQ, attributes, constants, input_of, producers, readers, within_range
from aed.export.runtime import open_exact
from aed.target.codegen.program import Float32, Int8, Int32, Program, Tensor

LARGEST = 32767
"""Height, width or channels: the kernels hold them in 16 bits."""

_LEFT_FLOAT = "a layer left in float has no C kernel"


class Walk:
    """Goes through an int8 QDQ graph once; tensors are known by the names of their int8 values.

    Operators read a node with the methods below and append a layer to ``program.layers``. A flattened image keeps
    its bytes, so its values come channels last where ONNX has them channels first: ``order[name]`` holds, for each
    value of such a vector in memory, its index in ONNX; operators pass it on or put their constants in that order.
    ``functions[name]`` holds, for each tensor that is a table of another one, that one's name and the table.

    With ``turned`` images are (width, height, channels), so that the rows of a patch are its frames: operators get
    attributes and weights with height and width swapped, and where an order of pixels counts they keep ONNX's.

    Args:
        model: Batch 1.
        turned: Whether rows and columns of all images change places.
    """

    def __init__(self, model: onnx.ModelProto, turned: bool = False) -> None:
        self.model, self.turned = model, turned
        self.arrays, self.producers, self.readers = constants(model), producers(model), readers(model)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        self.shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        }
        self.program = Program(turned=turned)
        self.order: dict[str, npt.NDArray[np.int64]] = {}
        self.functions: dict[str, tuple[str, Int8]] = {}
        self.alias: dict[str, str] = {}
        self.fused = fused_layers(model)
        inner = (node for layer in self.fused.values() for node in layer.nodes() if node.name != layer.layer.name)
        self.absorbed: set[str] = {node.output[0] for node in inner}

    def run(self, operators: Mapping[str, "Lowering"]) -> Program:
        """The program of the whole graph.

        Args:
            operators: ONNX operator -> what appends its layers.

        Raises:
            AedError: An operator, or a form of it, has no C kernel.
        """
        self.program.input = self.add_graph_input()
        for node in self._nodes():
            if node.op_type in QDQ or node.output[0] in self.absorbed:
                continue
            if node.op_type not in operators:
                raise self.refusal(node, f"the C code has no {node.op_type}")
            operators[node.op_type](self, node)
        end = self.home(self.graph_output())
        if end in self.order:
            raise AedError("the C code cannot end in a flattened image; end in a Gemm")
        self.program.output = self.program.views.get(end, end)
        if self.program.output == self.program.input:
            raise AedError("the C code cannot return its input; the net computes nothing")
        return self.program

    def _nodes(self) -> list[onnx.NodeProto]:
        """The nodes that lead to the output, producers before readers; the same however the file lists them."""
        stack = [self.producers[self.model.graph.output[0].name]]
        done: dict[str, onnx.NodeProto] = {}
        while stack:
            node = stack[-1]
            before = (self.producers[name] for name in node.input if name in self.producers)
            missing = next((other for other in before if other.output[0] not in done), None)
            if missing is None:
                done.setdefault(node.output[0], stack.pop())
            else:
                stack.append(missing)
        return list(done.values())

    def add_graph_input(self) -> str:
        """Adds the int8 input of the graph and returns its name."""
        name = input_of(self.model).name
        first = self.readers[name][0]
        if first.op_type not in QDQ:
            raise self.refusal(first, f"input {name} is float: {_LEFT_FLOAT}")
        integer = first.output[0] if first.op_type == "QuantizeLinear" else name
        # its own scale: QuantizeLinear's, or that of the DequantizeLinear that reads int8
        return self.add_tensor(integer, first, self.shapes[name]).name

    def graph_output(self) -> str:
        """Name of the int8 output of the graph."""
        name: str = self.model.graph.output[0].name
        last = self.producers[name]
        if last.op_type != "DequantizeLinear" and name not in self.program.tensors:
            raise self.refusal(last, f"its output is float: {_LEFT_FLOAT}")
        return last.input[0] if last.op_type == "DequantizeLinear" else name

    def refusal(self, node: onnx.NodeProto, reason: str) -> AedError:
        """The error for a node that has no C kernel: node, operator, reason and shapes."""
        shapes = {name: self.shapes.get(name) for name in (*node.input, *node.output) if name in self.shapes}
        return AedError(f"{node.name} ({node.op_type}): {reason}; shapes {shapes}")

    def turn(self, pair: Sequence[int]) -> tuple[int, int]:
        """Height and width, or what else belongs to them, as in the program."""
        height, width = (int(value) for value in pair)
        return (width, height) if self.turned else (height, width)

    def attributes(self, node: onnx.NodeProto) -> dict[str, Any]:
        """The attributes of a node by name; those of height and width as in the program."""
        facts = attributes(node)
        for name in ("kernel_shape", "strides", "dilations"):
            if len(facts.get(name, ())) == 2:
                facts[name] = list(self.turn(facts[name]))
        if len(facts.get("pads", ())) == 4:
            facts["pads"] = [*self.turn(facts["pads"][:2]), *self.turn(facts["pads"][2:])]
        return facts

    def home(self, name: str) -> str:
        """The tensor whose bytes one of that name is."""
        return self.alias.get(name, name)

    def add_tensor(self, name: str, quantizer: onnx.NodeProto | None, shape: list[int]) -> Tensor:
        """Adds the int8 tensor ``name`` to the program.

        Args:
            name: Of the int8 values.
            quantizer: Has its scale and zero point; None: they are not known yet, 1 and 0.
            shape: In ONNX, ``(1, C, H, W)``, ``(1, C, W)`` or ``(1, C)``.

        Raises:
            AedError: The shape or the quantisation is one that the kernels do not take.
        """
        if not 2 <= len(shape) <= 4 or shape[0] != 1:
            raise AedError(f"{name}: the C code takes (1, C, H, W), (1, C, W) and (1, C), got {shape}")
        (height, width), channels = self.turn([1, 1, *shape[2:]][-2:]), shape[1]
        if max(height, width, channels) > LARGEST:
            raise AedError(f"{name}: the C code takes sizes up to {LARGEST}, got {shape}")
        scale, zero = np.float32(1), np.int8(0)
        if quantizer is not None:
            parts = [self.arrays[key] for key in quantizer.input[1:3] if key in self.arrays]
            if len(parts) < 2 or any(part.size != 1 for part in parts) or parts[1].dtype != np.int8:
                raise self.refusal(quantizer, "only int8 with one scale and zero point a tensor")
            scale, zero = (part.item() for part in parts)
        tensor = Tensor(name, (height, width, channels), np.float32(scale), int(zero))
        self.program.tensors[name] = tensor
        return tensor

    def input(self, node: onnx.NodeProto, index: int = 0) -> Tensor:
        """The int8 tensor behind an input, values in the order of its shape, or a vector in ``order``.

        Raises:
            AedError: It is float or a constant, or an image whose values were moved about.
        """
        tensor = self.moved_input(node, index)
        if tensor.name in self.order and len(self.shapes[node.input[index]]) > 2:
            raise self.refusal(node, f"input {node.input[index]} was transposed or reshaped, which moves its values")
        return tensor

    def moved_input(self, node: onnx.NodeProto, index: int = 0) -> Tensor:
        """The int8 tensor behind an input, in whatever order.

        Raises:
            AedError: It is float or a constant.
        """
        source = self.producers.get(node.input[index])
        if source is None or source.op_type != "DequantizeLinear":
            raise self.refusal(node, f"input {node.input[index]} is float: {_LEFT_FLOAT}")
        name = self.home(source.input[0])
        if name not in self.program.tensors:
            raise self.refusal(node, f"input {name} is a constant")
        return self.program.tensors[name]

    def output(self, node: onnx.NodeProto) -> Tensor:
        """Adds the int8 tensor of the output, of a layer with a curve that of the curve.

        Raises:
            AedError: It is float.
        """
        if fused := self.fused.get(node.name):
            ends = helper.make_node("QuantizeLinear", ["", fused.target_scale, fused.target_zero], [fused.target])
            return self.add_tensor(fused.target, ends, self.shapes[fused.curve])
        following = self.readers.get(node.output[0], [])
        after = [reader for reader in following if reader.op_type == "QuantizeLinear"]
        if after:
            return self.add_tensor(after[0].output[0], after[0], self.shapes[node.output[0]])
        if following and following[0].op_type == "DequantizeLinear":  # int8 that is moved about, or the int8 output
            return self.add_tensor(node.output[0], following[0], self.shapes[node.output[0]])
        raise self.refusal(node, f"its output is float: {_LEFT_FLOAT}")

    def constant(self, node: onnx.NodeProto, index: int) -> npt.NDArray[Any] | None:
        """The int8 constant behind an input, in its own shape; None: the input is computed.

        Its scale is that of the tensor :meth:`constant_name`, which is added.
        """
        source = self.producers.get(node.input[index])
        if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in self.arrays:
            return None
        values = self.arrays[source.input[0]]
        if values.dtype != np.int8 or self.arrays[source.input[1]].size != 1:
            raise self.refusal(node, f"its constant {source.input[0]} is not int8 of one scale")
        self.add_tensor(self.constant_name(node, index), source, [1, values.size])
        return values

    def constant_name(self, node: onnx.NodeProto, index: int) -> str:
        """Name of the tensor of a constant input."""
        return f"{node.input[index]}.{node.name}"

    def slope(self, node: onnx.NodeProto) -> np.float32 | None:
        """The slope of the HardSwish that is part of a layer, as :mod:`aed.export.curves` says; None: it has none."""
        fused = self.fused.get(node.name)
        return None if fused is None else slope_of(self.arrays[fused.target_scale].item())

    def weight(self, node: onnx.NodeProto) -> tuple[Int8, Float32]:
        """The second input as symmetric int8 weights, and their scales ``(1,)`` or ``(outputs,)``.

        Those of a convolution are ``(out, in, height, width)``, as in the program.
        """
        if fused := self.fused.get(node.name):
            return self._upright(self.arrays[fused.weight]), np.atleast_1d(self.arrays[fused.weight_scale])
        source = self.producers.get(node.input[1])
        if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in self.arrays:
            raise self.refusal(node, "its weights are no int8 constants")
        weight = self.arrays[source.input[0]]
        if weight.dtype != np.int8 or np.any(self.arrays[source.input[2]]):
            raise self.refusal(node, "its weights are not symmetric int8")
        return self._upright(weight), np.atleast_1d(self.arrays[source.input[1]])

    def _upright(self, weight: Int8) -> Int8:
        return weight.swapaxes(2, 3) if self.turned and weight.ndim == 4 else weight

    def bias(self, node: onnx.NodeProto, outputs: int) -> Int32:
        """The third input, ``(outputs,)``; zeros where there is none."""
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(outputs, np.int32)
        if fused := self.fused.get(node.name):
            return np.asarray(self.arrays[fused.bias], np.int32)
        source = self.producers.get(node.input[2])
        if source is None or self.arrays[source.input[0]].dtype != np.int32:
            raise self.refusal(node, "its bias is no int32 constant")
        bias: Int32 = self.arrays[source.input[0]]
        return bias

    def num_readers(self, tensor: Tensor) -> int:
        """How many operators read ``tensor``, the graph's output counted as one."""
        made = [node.output[0] for node in self.readers.get(tensor.name, []) if node.op_type == "DequantizeLinear"]
        return sum(max(1, len(self.readers.get(name, []))) for name in made)

    def table(self, node: onnx.NodeProto, steps: Mapping[int, tuple[Tensor, Int8]], y: Tensor) -> Int8:
        """Outputs ``(256,)`` of ``node`` for 256 values of its inputs, as ONNX Runtime computes them.

        Args:
            node: Its other inputs are constants.
            steps: Number of an input -> its tensor and the 256 steps it has.
            y: The output.
        """
        alone = onnx.NodeProto()
        alone.CopyFrom(node)
        alone.output[0] = "result"
        nodes: list[onnx.NodeProto] = []
        known: dict[str, npt.NDArray[Any]] = {}
        feed: dict[str, Int8] = {}
        for index, name in enumerate(node.input):
            if index in steps:
                tensor, values = steps[index]
                feed[f"steps{index}"] = values
                scale, zero = np.array(tensor.scale), np.array(tensor.zero, np.int8)
            elif name in self.arrays or not name:
                known |= {name: self.arrays[name]} if name else {}
                continue
            else:
                integer, scale, zero = (self.arrays[part] for part in self.producers[name].input)
                known[f"steps{index}"] = integer.reshape(-1)
            known |= {f"scale{index}": scale, f"zero{index}": zero}
            alone.input[index] = f"real{index}"
            parts = [f"{part}{index}" for part in ("steps", "scale", "zero")]
            nodes.append(helper.make_node("DequantizeLinear", parts, [alone.input[index]]))
        known |= {"y_scale": np.array(y.scale), "y_zero": np.array(y.zero, np.int8)}
        nodes += [alone, helper.make_node("QuantizeLinear", ["result", "y_scale", "y_zero"], ["table"])]
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.INT8, [256]) for name in (*feed, "table")]
        arrays = [numpy_helper.from_array(array, name) for name, array in known.items()]
        graph = helper.make_graph(nodes, "table", ends[:-1], ends[-1:], arrays)
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        table: Int8 = open_exact(model).run(None, feed)[0]
        return table

    def need_constant_bounds(self, node: onnx.NodeProto) -> None:
        """Refuses a node whose further inputs, such as the bounds of a Clip, are computed."""
        if any(name and name not in self.arrays for name in node.input[1:]):
            raise self.refusal(node, "its bounds are no constants")


class Sketch(Walk):
    """The same walk through a float graph: the program it will have as int8, all scales 1 and all weights 0."""

    def add_graph_input(self) -> str:
        """Adds the input of the graph and returns its name."""
        name = input_of(self.model).name
        return self.add_tensor(name, None, self.shapes[name]).name

    def graph_output(self) -> str:
        """Name of the output of the graph."""
        name: str = self.model.graph.output[0].name
        return name

    def moved_input(self, node: onnx.NodeProto, index: int = 0) -> Tensor:
        """The tensor of an input."""
        name = self.home(node.input[index])
        if name not in self.program.tensors:
            raise self.refusal(node, f"input {name} is a constant")
        return self.program.tensors[name]

    def output(self, node: onnx.NodeProto) -> Tensor:
        """Adds the tensor of the output, or of the Relu or Clip after it, which becomes its range, or of its curve."""
        name = node.output[0]
        following = self.readers.get(name, [])
        if self.slope(node) is not None:
            name = following[0].output[0]
            self.absorbed.add(name)
            following = self.readers.get(name, [])
        while len(following) == 1 and following[0].op_type in ("Relu", "Clip"):
            if not within_range(following[0], self.producers[name], self.arrays):
                break
            name = following[0].output[0]
            self.absorbed.add(name)
            following = self.readers.get(name, [])
        return self.add_tensor(name, None, self.shapes[name])

    def slope(self, node: onnx.NodeProto) -> np.float32 | None:
        """1, if a HardSwish alone reads the output of a layer; else None."""
        after = self.readers.get(node.output[0], [])
        is_fused = node.op_type in FUSED and [reader.op_type for reader in after] == ["HardSwish"]
        return np.float32(1) if is_fused and node.output[0] != self.graph_output() else None

    def num_readers(self, tensor: Tensor) -> int:
        """How many operators read ``tensor``, the graph's output counted as one."""
        return len(self.readers.get(tensor.name, [])) or 1

    def table(self, node: onnx.NodeProto, steps: Mapping[int, tuple[Tensor, Int8]], y: Tensor) -> Int8:
        """Zeros ``(256,)``."""
        return np.zeros(256, np.int8)

    def constant(self, node: onnx.NodeProto, index: int) -> npt.NDArray[Any] | None:
        """Zeros in the shape of a constant input; None: the input is computed."""
        if node.input[index] not in self.arrays:
            return None
        values = self.arrays[node.input[index]]
        self.add_tensor(self.constant_name(node, index), None, [1, values.size])
        return np.zeros(values.shape, np.int8)

    def weight(self, node: onnx.NodeProto) -> tuple[Int8, Float32]:
        """Zeros in the shape of the weights, one scale."""
        if node.input[1] not in self.arrays:
            raise self.refusal(node, "its weights are no constants")
        return self._upright(np.zeros(self.arrays[node.input[1]].shape, np.int8)), np.ones(1, np.float32)

    def bias(self, node: onnx.NodeProto, outputs: int) -> Int32:
        """Zeros ``(outputs,)``."""
        return np.zeros(outputs, np.int32)


Lowering = Callable[[Walk, onnx.NodeProto], None]
"""Checks a node and appends its layers to the program of the walk, or raises :meth:`Walk.refusal`."""
