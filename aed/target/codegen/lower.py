"""From an int8 QDQ graph to a list of integer layers, channels last: what the C generator writes down.

The arithmetic is that of ONNX Runtime's integer kernels: 32-bit sums, one float32 factor a channel, rounding half to
even, so that C code gives the same bits.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from aed.base.errors import AedError
from aed.export.card import not_for_c
from aed.export.graph import QDQ, attributes, constants, float_layers, input_of, producers, readers, within_range
from aed.export.runtime import open_exact

LARGEST = 32767
"""Height, width or channels: the kernels hold them in 16 bits."""

AS_INT8 = (
    "quantise anew in its run's folder, hydra.run.dir=<folder> stages=[quantize,evaluate] "
    "quantization.float_layers=refused and no quantization.exclude_nodes or quantization.exclude_ops"
)
"""What makes a model for C of one with float layers."""

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tensor:
    """int8 values in memory.

    Args:
        name: Unique.
        shape: ``(height, width, channels)``; a vector is ``(1, 1, n)``.
        scale: Real value of one step.
        zero: Step that stands for 0.
    """

    name: str
    shape: tuple[int, int, int]
    scale: np.float32
    zero: int

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape))

    def real(self, steps: Int8) -> Float32:
        """Real values of ``steps``, any shape."""
        values: Float32 = self.scale * (steps.astype(np.float32) - self.zero)
        return values


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One call of a C kernel.

    Args:
        name: Of the ONNX node.
        kind: ``conv``, ``depthwise``, ``dense``, ``max_pool``, ``average_pool``, ``global_average_pool``, ``mean``,
            ``pad``, ``add``, ``multiply``, ``concat``, ``softmax``, ``lookup``.
        inputs: Tensor names.
        output: Tensor name.
        weight: ``conv`` ``(out, kh, kw, in)``, ``depthwise`` ``(kh, kw, out)``, ``dense`` ``(out, in)``; ``add`` and
            ``multiply`` of a constant ``(channels,)`` or ``(1,)``: its steps, the second input; ``lookup`` ``(256,)``:
            what becomes of -128, -127, ... 127.
        bias: ``(out,)``, the input's zero point folded in.
        factor: ``(out,)``: steps of the output in one unit of the sum; ``softmax`` ``(256,)``: exponentials by
            distance to the largest input, in steps.
        kernel: Height and width.
        stride: Down and across.
        pad: Top, left.
        dilation: Down and across.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output: str
    weight: Int8 | None = None
    bias: Int32 | None = None
    factor: Float32 | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def macc(self, program: "Program") -> int:
        """Multiply-accumulates of one patch."""
        if self.weight is None or self.kind == "lookup":
            return 0
        height, width, _ = program.tensors[self.output].shape
        return int(height * width * self.weight.size)

    @property
    def weight_bytes(self) -> int:
        """Weights, biases and factors."""
        return sum(part.nbytes for part in (self.weight, self.bias, self.factor) if part is not None)


@dataclass
class Program:
    """Layers in order, and the tensors between them.

    Args:
        layers: In order of execution.
        tensors: By name.
        input: Name of the tensor the caller gives.
        output: Name of the tensor the caller gets.
        views: Tensors that are another one's bytes, by name.
    """

    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    input: str = ""
    output: str = ""
    views: dict[str, str] = field(default_factory=dict)


def lower(model: onnx.ModelProto) -> Program:
    """The integer program of an int8 model of ours, with float or int8 input and output.

    Args:
        model: QDQ, batch 1, as :func:`aed.export.quantize.quantize` makes it.

    Raises:
        AedError: An operator, or a form of it, that the C code does not have; names node, operator and shapes.
    """
    if not any(node.op_type in QDQ for node in model.graph.node):
        raise AedError("the model is float, C needs int8: give model_int8.onnx, which the stage quantize makes")
    lowering = _Lowering(model)
    try:
        return lowering.run()
    except AedError as error:
        made, left = {node.name: node for node in model.graph.node}, float_layers(model)
        for node in (made[name] for name in left):
            if node.op_type not in _HANDLERS:
                raise lowering._refuse(node, f"the C code has no {node.op_type}") from error
        if left:
            raise AedError(f"{not_for_c(left)}; {AS_INT8} ({error})") from error
        raise


def sketch(model: onnx.ModelProto) -> Program:
    """What :func:`lower` would give for the int8 version of ``model``, without its numbers: all scales 1, weights 0.

    Args:
        model: Float, batch 1, as :func:`aed.export.onnx.to_onnx` makes it.

    Raises:
        AedError: As :func:`lower`.
    """
    return _Sketch(model).run()


class _Lowering:
    """Walks the graph once; tensors are known by the names of their int8 values."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.arrays, self.made, self.read = constants(model), producers(model), readers(model)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
        self.shapes = {
            value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
            for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        }
        self.program = Program()
        self.alias: dict[str, str] = {}
        self.absorbed: set[str] = set()
        self.order: dict[str, npt.NDArray[np.int64]] = {}

    def run(self) -> Program:
        self.program.input = self._first()
        for node in self._nodes():
            if node.op_type in QDQ or node.output[0] in self.absorbed:
                continue
            if node.op_type not in _HANDLERS:
                raise self._refuse(node, f"the C code has no {node.op_type}")
            _HANDLERS[node.op_type](self, node)
        self.program.output = self._home(self._last())
        if self.program.output in self.order:
            raise AedError("the C code cannot end in a flattened image; end in a Gemm")
        return self.program

    def _nodes(self) -> list[onnx.NodeProto]:
        """What leads to the output, inputs before what reads them; the same however the file lists them."""
        stack = [self.made[self.model.graph.output[0].name]]
        done: dict[str, onnx.NodeProto] = {}
        while stack:
            node = stack[-1]
            before = (self.made[name] for name in node.input if name in self.made)
            missing = next((other for other in before if other.output[0] not in done), None)
            if missing is None:
                done.setdefault(node.output[0], stack.pop())
            else:
                stack.append(missing)
        return list(done.values())

    def _first(self) -> str:
        """Remembers the int8 input and returns its name."""
        given = input_of(self.model).name
        first = self.read[given][0]
        if first.op_type not in QDQ:
            raise self._refuse(first, f"input {given} is float: a layer left in float has no C kernel")
        integer = first.output[0] if first.op_type == "QuantizeLinear" else given
        # its own scale: QuantizeLinear's, or that of the DequantizeLinear that reads int8
        return self._tensor(integer, first, self.shapes[given]).name

    def _last(self) -> str:
        """Name of the int8 output."""
        made: str = self.model.graph.output[0].name
        last = self.made[made]
        if last.op_type != "DequantizeLinear" and made not in self.program.tensors:
            raise self._refuse(last, "its output is float: a layer left in float has no C kernel")
        return last.input[0] if last.op_type == "DequantizeLinear" else made

    def _refuse(self, node: onnx.NodeProto, reason: str) -> AedError:
        shapes = {name: self.shapes.get(name) for name in (*node.input, *node.output) if name in self.shapes}
        return AedError(f"{node.name} ({node.op_type}): {reason}; shapes {shapes}")

    def _home(self, name: str) -> str:
        return self.alias.get(name, name)

    def _tensor(self, name: str, quantizer: onnx.NodeProto | None, shape: list[int]) -> Tensor:
        """Remembers the int8 tensor ``name``, whose scale and zero point ``quantizer`` has."""
        if len(shape) == 4:
            height, width, channels = shape[2], shape[3], shape[1]
        elif len(shape) == 2:
            height, width, channels = 1, 1, shape[1]
        else:
            raise AedError(f"{name}: the C code takes (1, C, H, W) and (1, C), got {shape}")
        if max(height, width, channels) > LARGEST:
            raise AedError(f"{name}: the C code takes sizes up to {LARGEST}, got {shape}")
        scale, zero = np.float32(1), np.int8(0)
        if quantizer is not None:
            held = [self.arrays[key] for key in quantizer.input[1:3] if key in self.arrays]
            if len(held) < 2 or any(part.size != 1 for part in held) or held[1].dtype != np.int8:
                raise self._refuse(quantizer, "only int8 with one scale and zero point a tensor")
            scale, zero = (part.item() for part in held)
        tensor = Tensor(name, (height, width, channels), np.float32(scale), int(zero))
        self.program.tensors[name] = tensor
        return tensor

    def _given(self, node: onnx.NodeProto, number: int = 0) -> Tensor:
        """The int8 tensor behind an input."""
        source = self.made.get(node.input[number])
        if source is None or source.op_type != "DequantizeLinear":
            raise self._refuse(node, f"input {node.input[number]} is float: a layer left in float has no C kernel")
        held = self._home(source.input[0])
        if held not in self.program.tensors:
            raise self._refuse(node, f"input {held} is a constant")
        return self.program.tensors[held]

    def _result(self, node: onnx.NodeProto) -> Tensor:
        """The int8 tensor of the output."""
        following = self.read.get(node.output[0], [])
        after = [reader for reader in following if reader.op_type == "QuantizeLinear"]
        if after:
            return self._tensor(after[0].output[0], after[0], self.shapes[node.output[0]])
        if following and following[0].op_type == "DequantizeLinear":  # int8 that is moved about, or the int8 output
            return self._tensor(node.output[0], following[0], self.shapes[node.output[0]])
        raise self._refuse(node, "its output is float: a layer left in float has no C kernel")

    def _constant(self, node: onnx.NodeProto, number: int) -> npt.NDArray[Any] | None:
        """The int8 constant behind an input, in its own shape; None: the input is computed."""
        source = self.made.get(node.input[number])
        if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in self.arrays:
            return None
        values = self.arrays[source.input[0]]
        if values.dtype != np.int8 or self.arrays[source.input[1]].size != 1:
            raise self._refuse(node, f"its constant {source.input[0]} is not int8 of one scale")
        self._tensor(self._constant_name(node, number), source, [1, values.size])
        return values

    def _constant_name(self, node: onnx.NodeProto, number: int) -> str:
        return f"{node.input[number]}.{node.name}"

    def _weight(self, node: onnx.NodeProto) -> tuple[Int8, Float32]:
        source = self.made.get(node.input[1])
        if source is None or source.op_type != "DequantizeLinear" or source.input[0] not in self.arrays:
            raise self._refuse(node, "its weights are no int8 constants")
        weight = self.arrays[source.input[0]]
        if weight.dtype != np.int8 or np.any(self.arrays[source.input[2]]):
            raise self._refuse(node, "its weights are not symmetric int8")
        return weight, np.atleast_1d(self.arrays[source.input[1]])

    def _bias(self, node: onnx.NodeProto, outputs: int) -> Int32:
        if len(node.input) < 3 or not node.input[2]:
            return np.zeros(outputs, np.int32)
        source = self.made.get(node.input[2])
        if source is None or self.arrays[source.input[0]].dtype != np.int32:
            raise self._refuse(node, "its bias is no int32 constant")
        bias: Int32 = self.arrays[source.input[0]]
        return bias

    def _factor(self, given: Tensor, scales: Float32, made: Tensor, outputs: int) -> Float32:
        """ONNX Runtime's: (input scale * weight scale) / output scale, each step in float32."""
        factor = (given.scale * scales.astype(np.float32)) / made.scale
        return np.broadcast_to(factor, outputs).astype(np.float32)

    def _folded(self, bias: Int32, weight: Int8, given: Tensor) -> Int32:
        """``bias`` less what the input's zero point adds to every sum; ``weight`` has the output first."""
        sums = weight.reshape(len(bias), -1).astype(np.int64).sum(axis=1)
        folded = bias.astype(np.int64) - given.zero * sums
        if np.abs(folded).max(initial=0) > np.iinfo(np.int32).max:
            raise AedError("a bias does not fit 32 bits; the model's ranges are broken")
        return np.asarray(folded, dtype=np.int32)

    def conv(self, node: onnx.NodeProto) -> None:
        facts = attributes(node)
        given, made = self._given(node), self._result(node)
        weight, scales = self._weight(node)
        group, channels = facts.get("group", 1), given.shape[2]
        if weight.ndim != 4:
            raise self._refuse(node, "only convolutions of images")
        if facts.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise self._refuse(node, "only explicit padding")
        depthwise = group == channels and weight.shape[1] == 1 and group > 1
        if group != 1 and not depthwise:
            raise self._refuse(node, "only group=1 and depthwise")
        pads = facts.get("pads", [0, 0, 0, 0])
        outputs = len(weight)
        bias = self._folded(self._bias(node, outputs), weight, given)
        order = (2, 3, 0, 1) if depthwise else (0, 2, 3, 1)
        packed = weight.transpose(order)
        self.program.layers.append(
            Layer(
                name=node.name,
                kind="depthwise" if depthwise else "conv",
                inputs=(given.name,),
                output=made.name,
                weight=np.ascontiguousarray(packed[..., 0] if depthwise else packed),
                bias=bias,
                factor=self._factor(given, scales, made, outputs),
                kernel=(int(weight.shape[2]), int(weight.shape[3])),
                stride=_pair(facts.get("strides", [1, 1])),
                pad=(int(pads[0]), int(pads[1])),
                dilation=_pair(facts.get("dilations", [1, 1])),
            )
        )

    def dense(self, node: onnx.NodeProto) -> None:
        facts = attributes(node)
        if facts.get("alpha", 1.0) != 1.0 or facts.get("beta", 1.0) != 1.0 or facts.get("transA", 0):
            raise self._refuse(node, "only alpha=1, beta=1, transA=0")
        given, made = self._given(node), self._result(node)
        weight, scales = self._weight(node)
        weight = weight if facts.get("transB", 0) else weight.T
        if given.name in self.order:
            weight = weight[:, self.order[given.name]]
        outputs = len(weight)
        self.program.layers.append(
            Layer(
                name=node.name,
                kind="dense",
                inputs=(given.name,),
                output=made.name,
                weight=np.ascontiguousarray(weight),
                bias=self._folded(self._bias(node, outputs), weight, given),
                factor=self._factor(given, scales, made, outputs),
            )
        )

    def pool(self, node: onnx.NodeProto) -> None:
        facts = attributes(node)
        if facts.get("ceil_mode") or facts.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            raise self._refuse(node, "only explicit padding without ceil_mode")
        given, made = self._given(node), self._result(node)
        pads = facts.get("pads", [0, 0, 0, 0])
        if node.op_type == "AveragePool" and any(pads):
            raise self._refuse(node, "only without padding")
        self.program.layers.append(
            Layer(
                name=node.name,
                kind="max_pool" if node.op_type == "MaxPool" else "average_pool",
                inputs=(given.name,),
                output=made.name,
                kernel=_pair(facts["kernel_shape"]),
                stride=_pair(facts.get("strides", [1, 1])),
                pad=(int(pads[0]), int(pads[1])),
                dilation=_pair(facts.get("dilations", [1, 1])),
            )
        )

    def global_pool(self, node: onnx.NodeProto) -> None:
        given, made = self._given(node), self._result(node)
        count = np.float32(given.shape[0] * given.shape[1])
        factor = np.float32(given.scale) / (made.scale * count)
        layer = Layer(
            name=node.name,
            kind="global_average_pool",
            inputs=(given.name,),
            output=made.name,
            factor=np.array([factor], np.float32),
        )
        self.program.layers.append(layer)

    def mean(self, node: onnx.NodeProto) -> None:
        """ReduceMean over the image, which ONNX Runtime computes in float."""
        facts = attributes(node)
        axes = self.arrays[node.input[1]] if len(node.input) > 1 else facts.get("axes", ())
        given, shape = self._given(node), self.shapes[node.input[0]]
        if len(shape) != 4 or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
            raise self._refuse(node, "only over height and width of an image")
        made = self._result(self._seen_as(node))
        self.program.layers.append(Layer(name=node.name, kind="mean", inputs=(given.name,), output=made.name))

    def _seen_as(self, node: onnx.NodeProto) -> onnx.NodeProto:
        """``node``, or what flattens its one pixel while it is still float."""
        following = self.read.get(node.output[0], [])
        if len(following) == 1 and following[0].op_type in ("Flatten", "Reshape", "Squeeze"):
            self.absorbed.add(following[0].output[0])
            return following[0]
        return node

    def pad(self, node: onnx.NodeProto) -> None:
        mode = attributes(node).get("mode", b"constant").decode()
        if mode != "constant":
            raise self._refuse(node, f"mode {mode}; only constant")
        given, made = self._given(node), self._result(node)
        pads = self.arrays.get(node.input[1], np.array([], np.int64)).tolist()
        if len(pads) != 8 or len(node.input) > 3:
            raise self._refuse(node, "only an image, with constant pads")
        if any(pads[axis] for axis in (0, 1, 4, 5)) or min(pads) < 0:
            raise self._refuse(node, f"pads {pads}; only height and width, and no cropping")
        value = 0.0
        if len(node.input) > 2 and node.input[2]:
            source = self.made.get(node.input[2])
            steps = self._constant(node, 2) if source is not None else None
            if steps is not None:
                constant = self.program.tensors.pop(self._constant_name(node, 2))
                value = float(constant.scale) * (int(steps.ravel()[0]) - constant.zero)
            else:
                value = float(self.arrays.get(node.input[2], np.array(np.nan)).ravel()[0])
        if value != 0:
            raise self._refuse(node, f"pads with {value}; only with 0")
        layer = Layer(
            name=node.name,
            kind="pad",
            inputs=(given.name,),
            output=made.name,
            pad=(int(pads[2]), int(pads[3])),
        )
        self.program.layers.append(layer)

    def elementwise(self, node: onnx.NodeProto) -> None:
        """Add and Mul of two activations of one shape, or of one and a constant: one value, or one a channel."""
        kind = {"Add": "add", "Mul": "multiply"}[node.op_type]
        constants = [self._constant(node, number) for number in (0, 1)]
        held = next((number for number in (0, 1) if constants[number] is not None), None)
        if held is None:
            self._both(node, kind)
            return
        if held == 0 and kind == "add":
            raise self._refuse(node, "the constant comes first: the last bit then depends on a layout; swap the inputs")
        given, made, values = self._given(node, 1 - held), self._result(node), constants[held]
        channels = self._by_channel(node, values, given)
        if given.shape != made.shape:
            raise self._refuse(node, "only of equal shapes")
        if given.name in self.order:
            channels = channels if channels.size == 1 else channels[self.order[given.name]]
            self.order[made.name] = self.order[given.name]
        layer = Layer(
            name=node.name,
            kind=kind,
            inputs=(given.name, self._constant_name(node, held)),
            output=made.name,
            weight=np.ascontiguousarray(channels),
        )
        self.program.layers.append(layer)

    def _by_channel(self, node: onnx.NodeProto, values: npt.NDArray[Any] | None, given: Tensor) -> Int8:
        """A constant as ``(1,)`` or ``(channels,)``."""
        assert values is not None
        rank = len(self.shapes[node.output[0]])
        shape = (1,) * (rank - values.ndim) + values.shape
        if values.size != 1 and (len(shape) != rank or shape != (1, given.shape[2], *[1] * (rank - 2))):
            raise self._refuse(node, f"its constant has the shape {values.shape}; only one value, or one a channel")
        flat: Int8 = values.reshape(-1)
        return flat

    def _both(self, node: onnx.NodeProto, kind: str) -> None:
        one, other, made = self._given(node, 0), self._given(node, 1), self._result(node)
        orders = [self.order.get(tensor.name) for tensor in (one, other)]
        if one.shape != made.shape or not _repeats(other.shape, one.shape):
            raise self._refuse(node, "only of equal shapes, or of an image and then one row or pixel of all channels")
        if orders[0] is not None and orders[1] is not None and np.array_equal(orders[0], orders[1]):
            self.order[made.name] = orders[0]
        elif orders != [None, None]:
            raise self._refuse(node, "only of vectors that are flattened alike")
        self.program.layers.append(Layer(name=node.name, kind=kind, inputs=(one.name, other.name), output=made.name))

    def lookup(self, node: onnx.NodeProto) -> None:
        """What makes one value of one value: a table of all 256, as ONNX Runtime itself gives them."""
        given, made = self._given(node), self._result(node)
        if given.name in self.order:
            self.order[made.name] = self.order[given.name]
        layer = Layer(
            name=node.name, kind="lookup", inputs=(given.name,), output=made.name, weight=self._table(node, given, made)
        )
        self.program.layers.append(layer)

    def _table(self, node: onnx.NodeProto, given: Tensor, made: Tensor) -> Int8:
        """Outputs ``(256,)`` of ``node`` for each step of its input."""
        if any(name and name not in self.arrays for name in node.input[1:]):
            raise self._refuse(node, "its bounds are no constants")
        values = [np.array(value) for value in (given.scale, np.int8(given.zero), made.scale, np.int8(made.zero))]
        names = ("given_scale", "given_zero", "made_scale", "made_zero")
        held = dict(zip(names, values, strict=True)) | {name: self.arrays[name] for name in node.input[1:] if name}
        alone = onnx.NodeProto()
        alone.CopyFrom(node)
        alone.input[0], alone.output[0] = "real", "result"
        nodes = [
            helper.make_node("DequantizeLinear", ["steps", *names[:2]], ["real"]),
            alone,
            helper.make_node("QuantizeLinear", ["result", *names[2:]], ["table"]),
        ]
        ends = [helper.make_tensor_value_info(name, onnx.TensorProto.INT8, [256]) for name in ("steps", "table")]
        arrays = [numpy_helper.from_array(array, name) for name, array in held.items()]
        graph = helper.make_graph(nodes, "table", ends[:1], ends[1:], arrays)
        model = helper.make_model(graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version)
        table: Int8 = open_exact(model).run(None, {"steps": np.arange(-128, 128, dtype=np.int8)})[0]
        return table

    def softmax(self, node: onnx.NodeProto) -> None:
        given, made = self._given(node), self._result(node)
        if len(self.shapes[node.output[0]]) != 2 or attributes(node).get("axis", -1) not in (1, -1):
            raise self._refuse(node, "only over the classes of (1, C)")
        if given.size < 2:
            raise self._refuse(node, "over one class it is always 1")
        if made.zero + math.floor(np.float32(1) / made.scale) > 127:
            raise self._refuse(node, "its output scale is too fine: ONNX Runtime wraps round at 1")
        if given.name in self.order:
            self.order[made.name] = self.order[given.name]
        layer = Layer(
            name=node.name,
            kind="softmax",
            inputs=(given.name,),
            output=made.name,
            factor=_exponentials(float(given.scale), given.size),
        )
        self.program.layers.append(layer)

    def concat(self, node: onnx.NodeProto) -> None:
        parts = [self._given(node, number) for number in range(len(node.input))]
        made = self._result(node)
        if attributes(node)["axis"] not in (1, 1 - len(self.shapes[node.output[0]])):
            raise self._refuse(node, "only along channels")
        if any(part.name in self.order for part in parts):
            places, start = [], 0
            for part in parts:
                places.append(start + self.order.get(part.name, np.arange(part.size)))
                start += part.size
            self.order[made.name] = np.concatenate(places)
        layer = Layer(name=node.name, kind="concat", inputs=tuple(part.name for part in parts), output=made.name)
        self.program.layers.append(layer)

    def reshape(self, node: onnx.NodeProto) -> None:
        """No code: the same bytes under another shape; the next weights are put in their order."""
        given, made = self._given(node), self._result(node)
        if (made.scale, made.zero) != (given.scale, given.zero) or made.shape[:2] != (1, 1):
            raise self._refuse(node, "only flattening, with one scale")
        height, width, channels = given.shape
        del self.program.tensors[made.name]
        if height * width > 1:
            flat = Tensor(f"{given.name}.flat", (1, 1, given.size), given.scale, given.zero)
            planes = np.arange(given.size).reshape(channels, height, width)
            self.order[flat.name] = planes.transpose(1, 2, 0).ravel()
            self.program.tensors[flat.name] = flat
            self.program.views[flat.name] = given.name
            self.alias[made.name] = flat.name
        else:
            self.alias[made.name] = given.name


class _Sketch(_Lowering):
    """The same walk through a float graph."""

    def _first(self) -> str:
        given = input_of(self.model).name
        return self._tensor(given, None, self.shapes[given]).name

    def _last(self) -> str:
        made: str = self.model.graph.output[0].name
        return made

    def _given(self, node: onnx.NodeProto, number: int = 0) -> Tensor:
        name = self._home(node.input[number])
        if name not in self.program.tensors:
            raise self._refuse(node, f"input {name} is a constant")
        return self.program.tensors[name]

    def _result(self, node: onnx.NodeProto) -> Tensor:
        """The output, or that of the Relu or Clip after it, which becomes its range."""
        made = node.output[0]
        following = self.read.get(made, [])
        while len(following) == 1 and following[0].op_type in ("Relu", "Clip"):
            if not within_range(following[0], self.made[made], self.arrays):
                break
            made = following[0].output[0]
            self.absorbed.add(made)
            following = self.read.get(made, [])
        return self._tensor(made, None, self.shapes[made])

    def _table(self, node: onnx.NodeProto, given: Tensor, made: Tensor) -> Int8:
        if any(name and name not in self.arrays for name in node.input[1:]):
            raise self._refuse(node, "its bounds are no constants")
        return np.zeros(256, np.int8)

    def _constant(self, node: onnx.NodeProto, number: int) -> npt.NDArray[Any] | None:
        if node.input[number] not in self.arrays:
            return None
        values = self.arrays[node.input[number]]
        self._tensor(self._constant_name(node, number), None, [1, values.size])
        return np.zeros(values.shape, np.int8)

    def _weight(self, node: onnx.NodeProto) -> tuple[Int8, Float32]:
        if node.input[1] not in self.arrays:
            raise self._refuse(node, "its weights are no constants")
        return np.zeros(self.arrays[node.input[1]].shape, np.int8), np.ones(1, np.float32)

    def _bias(self, node: onnx.NodeProto, outputs: int) -> Int32:
        return np.zeros(outputs, np.int32)


def _exponentials(scale: float, number: int) -> Float32:
    """exp of 0, -1, ... -255 steps, times what still lets the sum of ``number`` of them be a float32; ``(256,)``.

    Reference: onnxruntime/contrib_ops/cpu/quantization/qlinear_softmax.cc.
    """
    largest = float(np.finfo(np.float32).max / np.float32(number))
    shift = max(0.0, math.log(largest) - 5.0) / scale
    return np.array([math.exp((shift - step) * scale) for step in range(256)], np.float32)


def _repeats(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether ``part``, again and again, has the shape ``whole``: all of it, a row, a pixel or one value."""
    return any(part == (1,) * axis + whole[axis:] for axis in range(len(whole) + 1))


def _pair(values: Any) -> tuple[int, int]:
    return int(values[0]), int(values[1])


_HANDLERS: dict[str, Callable[[_Lowering, onnx.NodeProto], None]] = {
    "Conv": _Lowering.conv,
    "Gemm": _Lowering.dense,
    "MatMul": _Lowering.dense,
    "MaxPool": _Lowering.pool,
    "AveragePool": _Lowering.pool,
    "GlobalAveragePool": _Lowering.global_pool,
    "ReduceMean": _Lowering.mean,
    "Pad": _Lowering.pad,
    "Add": _Lowering.elementwise,
    "Mul": _Lowering.elementwise,
    "Clip": _Lowering.lookup,
    "Relu": _Lowering.lookup,
    "Sigmoid": _Lowering.lookup,
    "Softmax": _Lowering.softmax,
    "Concat": _Lowering.concat,
    "Flatten": _Lowering.reshape,
    "Reshape": _Lowering.reshape,
}
