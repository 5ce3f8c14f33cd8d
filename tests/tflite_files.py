"""TensorFlow Lite files without TensorFlow: a writer, and nets of random weights in int8 or float."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import flatbuffers
import numpy as np
import tflite

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3
FLOAT32, INT32, INT64, INT8, UINT8, INT16, FLOAT16 = 0, 2, 4, 9, 3, 7, 1
_DTYPES = {FLOAT32: "<f4", INT32: "<i4", INT64: "<i8", INT8: "i1", UINT8: "u1", INT16: "<i2", FLOAT16: "<f2"}

_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4, "RESHAPE": 1, "QUANTIZE": 1, "HARD_SWISH": 1}
"""Of operators, where it is not 2: the first that knows int8."""


@dataclass
class Tensor:
    kind: int
    shape: tuple[int, ...]
    scale: Any = None
    zero: int = 0
    axis: int = 0
    values: np.ndarray | None = None


class Net:
    """A net that grows operator by operator; ``last`` is the number of the tensor that was computed last.

    Args:
        shape: Of the input, channels last.
        is_int8: Values between the operators are int8, with steps that let them spread over the range.
        ends: Types of the input and the output.
        seed: Of the weights.
    """

    def __init__(
        self, shape: tuple[int, ...], is_int8: bool = True, ends: tuple[int, int] = (INT8, FLOAT32), seed: int = 0
    ):
        self.rng, self.is_int8 = np.random.default_rng(seed), is_int8
        self.tensors: list[Tensor] = []
        self.operators: list[tuple[int | str, str, dict[str, Any], list[int], list[int]]] = []
        kind = ends[0] if is_int8 else FLOAT32
        first = Tensor(kind, shape) if kind == FLOAT32 else Tensor(kind, shape, 0.05, 20 + 128 * (kind == UINT8))
        self.inputs, self.last = [self.tensor(first)], 0
        self.end = ends[1] if is_int8 else FLOAT32
        if is_int8 and kind != INT8:
            self.op("QUANTIZE", "QuantizeOptions", {}, [0], Tensor(INT8, shape, 0.05, 20))

    def tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, values: np.ndarray, kind: int, **steps: Any) -> int:
        return self.tensor(Tensor(kind, values.shape, values=values, **steps))

    def op(self, kind: str, options: str, facts: dict[str, Any], inputs: list[int], output: Tensor) -> Self:
        self.last = self.tensor(output)
        self.operators.append((kind, options, facts, inputs, [self.last]))
        return self

    @property
    def now(self) -> Tensor:
        return self.tensors[self.last]

    def made(self, shape: tuple[int, ...], spread: float, zero: int | None = None) -> Tensor:
        """An output whose real values spread by ``spread``."""
        if not self.is_int8:
            return Tensor(FLOAT32, shape)
        zero = int(self.rng.integers(-60, 60)) if zero is None else zero
        return Tensor(INT8, shape, float(spread) / 40, zero)

    def spread(self) -> float:
        return 40 * float(self.now.scale) if self.is_int8 else 2.0

    # --- operators ---------------------------------------------------------------------------------------------

    def conv(
        self,
        outputs: int,
        kernel: tuple[int, int] = (3, 3),
        stride: int = 1,
        padding: int = SAME,
        fused: int = RELU,
        depthwise: bool = False,
        dilation: int = 1,
        per_channel: bool = True,
        zero: int | None = None,
        bias: bool = True,
    ) -> Self:
        x = self.now
        channels = x.shape[3]
        taps = kernel[0] * kernel[1] * (1 if depthwise else channels)
        shape = (1, *kernel, outputs) if depthwise else (outputs, *kernel, channels)
        numbers = self._weights(shape, taps, outputs, 3 if depthwise else 0, per_channel, bias)
        sizes = []
        for size, taps_ in zip(x.shape[1:3], kernel, strict=True):
            reach = (taps_ - 1) * dilation + 1
            sizes.append(-(-size // stride) if padding == SAME else (size - reach) // stride + 1)
        zero = -128 if fused != NONE and zero is None else zero
        facts = {"Padding": padding, "StrideH": stride, "StrideW": stride, "FusedActivationFunction": fused}
        facts |= {"DilationHFactor": dilation, "DilationWFactor": dilation}
        facts |= {"DepthMultiplier": outputs // channels} if depthwise else {}
        name, options = ("DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions") if depthwise else ("CONV_2D", "Conv2DOptions")
        return self.op(
            name, options, facts, [self.last, *numbers], self.made((1, *sizes, outputs), self.spread(), zero)
        )

    def dense(self, outputs: int, fused: int = NONE) -> Self:
        size = int(np.prod(self.now.shape))
        numbers = self._weights((outputs, size), size, outputs, 0, False, True)
        facts = {"FusedActivationFunction": fused}
        output = self.made((1, outputs), 2 * self.spread(), -128 if fused else None)
        return self.op("FULLY_CONNECTED", "FullyConnectedOptions", facts, [self.last, *numbers], output)

    def _weights(
        self, shape: tuple[int, ...], taps: int, outputs: int, axis: int, per_channel: bool, bias: bool
    ) -> list[int]:
        """Weights that keep the spread."""
        if not self.is_int8:
            weight = self.rng.normal(0, (2 / taps) ** 0.5, shape).astype(np.float32)
            offset = self.rng.normal(0, 0.5, outputs).astype(np.float32)
            return [self.constant(weight, FLOAT32), *([self.constant(offset, FLOAT32)] if bias else [])]
        weight = self.rng.integers(-127, 128, shape).astype(np.int8)
        scale = self.rng.uniform(0.7, 1.3, outputs if per_channel else 1) / (73 * taps**0.5)
        scale = scale.astype(np.float32)
        product = np.broadcast_to(np.float32(self.now.scale) * scale, outputs if per_channel else 1)
        offset = (self.rng.normal(0, 0.5, outputs) * self.spread() / product).astype(np.int32)
        numbers = [self.constant(weight, INT8, scale=scale, axis=axis)]
        return [*numbers, *([self.constant(offset, INT32, scale=product)] if bias else [])]

    def add(self, other: int, fused: int = NONE) -> Self:
        output = self.made(self.now.shape, 1.5 * self.spread(), -128 if fused else None)
        return self.op("ADD", "AddOptions", {"FusedActivationFunction": fused}, [self.last, other], output)

    def by_constant(self, kind: str, first: bool = False) -> Self:
        """MUL or ADD of a value for each channel."""
        channels = self.now.shape[-1]
        if self.is_int8:
            values = self.rng.integers(-127, 128, (channels,)).astype(np.int8)
            number = self.constant(values, INT8, scale=0.01 if kind == "MUL" else float(self.now.scale), zero=3)
        else:
            number = self.constant(self.rng.normal(0, 1, channels).astype(np.float32), FLOAT32)
        inputs = [number, self.last] if first else [self.last, number]
        options = {"MUL": "MulOptions", "ADD": "AddOptions"}[kind]
        return self.op(kind, options, {}, inputs, self.made(self.now.shape, self.spread()))

    def pad(self, top: int = 1, bottom: int = 1, left: int = 1, right: int = 1) -> Self:
        x = self.now
        number = self.constant(np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32), INT32)
        shape = (1, x.shape[1] + top + bottom, x.shape[2] + left + right, x.shape[3])
        return self.op("PAD", "PadOptions", {}, [self.last, number], Tensor(x.kind, shape, x.scale, x.zero))

    def pool(self, kind: str, size: int = 2, stride: int = 2, padding: int = VALID) -> Self:
        x = self.now
        sides = [-(-side // stride) if padding == SAME else (side - size) // stride + 1 for side in x.shape[1:3]]
        facts = {"Padding": padding, "StrideH": stride, "StrideW": stride, "FilterHeight": size, "FilterWidth": size}
        output = Tensor(x.kind, (1, *sides, x.shape[3]), x.scale, x.zero)
        return self.op(f"{kind}_POOL_2D", "Pool2DOptions", facts, [self.last], output)

    def mean(self, keep: bool = False, zero: int | None = None) -> Self:
        channels = self.now.shape[3]
        axes = self.constant(np.array([1, 2], np.int32), INT32)
        output = self.made((1, 1, 1, channels) if keep else (1, channels), self.spread() / 3.0717, zero)
        return self.op("MEAN", "ReducerOptions", {"KeepDims": keep}, [self.last, axes], output)

    def moved(self, kind: str, shape: tuple[int, ...], *numbers: int) -> Self:
        x = self.now
        options = {"RESHAPE": "ReshapeOptions", "TRANSPOSE": "TransposeOptions"}[kind]
        constant = self.constant(np.array(numbers or shape, np.int32), INT32)
        return self.op(kind, options, {}, [self.last, constant], Tensor(x.kind, shape, x.scale, x.zero))

    def function(self, kind: str, options: str = "") -> Self:
        fixed = {"LOGISTIC": (1 / 256, -128), "SOFTMAX": (1 / 256, -128), "TANH": (1 / 128, 0)}
        facts = {"Beta": 1.0} if kind == "SOFTMAX" else {}
        output = self.made(self.now.shape, self.spread())
        if self.is_int8 and kind in fixed:
            output.scale, output.zero = fixed[kind]
        return self.op(kind, options, facts, [self.last], output)

    def concat(self, other: int) -> Self:
        x = self.now
        shape = (*x.shape[:-1], x.shape[-1] + self.tensors[other].shape[-1])
        output = Tensor(x.kind, shape, x.scale, x.zero)
        return self.op("CONCATENATION", "ConcatenationOptions", {"Axis": 3}, [self.last, other], output)

    def finish(self, end: str = "SOFTMAX") -> Self:
        """The posteriors, in the type of the output."""
        if end:
            self.function(end, "SoftmaxOptions" if end == "SOFTMAX" else "")
        if self.is_int8 and self.end != INT8:
            x = self.now
            kind, options = (
                ("DEQUANTIZE", "DequantizeOptions") if self.end == FLOAT32 else ("QUANTIZE", "QuantizeOptions")
            )
            output = Tensor(FLOAT32, x.shape) if self.end == FLOAT32 else Tensor(UINT8, x.shape, x.scale, x.zero + 128)
            self.op(kind, options, {}, [self.last], output)
        return self

    # --- writing -----------------------------------------------------------------------------------------------

    def save(
        self, path: Path, output: int | None = None, labels: dict[str, str] | None = None, graphs: int = 1
    ) -> Path:
        """Writes the file; behind it, as the metadata library does, an archive of ``labels``."""
        path.write_bytes(self._content(self.last if output is None else output, graphs))
        if labels:
            with zipfile.ZipFile(path, "a") as archive:
                for name, text in labels.items():
                    archive.writestr(name, text)
        return path

    def _content(self, output: int, graphs: int) -> bytes:
        builder = flatbuffers.Builder(1 << 16)
        codes = list(dict.fromkeys(kind for kind, *_ in self.operators))
        buffers, stored = [self._buffer(builder, b"")], []
        for tensor in self.tensors:
            stored.append(0)
            if tensor.values is not None:
                buffers.append(self._buffer(builder, tensor.values.astype(_DTYPES[tensor.kind]).tobytes()))
                stored[-1] = len(buffers) - 1
        tensors = [self._tensor(builder, tensor, number) for tensor, number in zip(self.tensors, stored, strict=True)]
        operators = [self._operator(builder, codes.index(kind), *rest) for kind, *rest in self.operators]
        parts = {
            "Tensors": _offsets(builder, tensors),
            "Inputs": builder.CreateNumpyVector(np.array(self.inputs, np.int32)),
            "Outputs": builder.CreateNumpyVector(np.array([output], np.int32)),
            "Operators": _offsets(builder, operators),
        }
        graph = _table(builder, "SubGraph", parts)
        parts = {
            "Version": 3,
            "OperatorCodes": _offsets(builder, [_code(builder, kind) for kind in codes]),
            "Subgraphs": _offsets(builder, [graph] * graphs),
            "Buffers": _offsets(builder, buffers),
        }
        builder.Finish(_table(builder, "Model", parts), b"TFL3")
        return bytes(builder.Output())

    def _buffer(self, builder: flatbuffers.Builder, content: bytes) -> int:
        return _table(builder, "Buffer", {"Data": builder.CreateByteVector(content)} if content else {})

    def _tensor(self, builder: flatbuffers.Builder, tensor: Tensor, buffer: int) -> int:
        parts: dict[str, int] = {"Type": tensor.kind, "Buffer": buffer, "HasRank": 1}
        name = builder.CreateString(f"t{buffer}")
        if tensor.scale is not None:
            scale = np.atleast_1d(np.asarray(tensor.scale, np.float32))
            steps = {
                "Scale": builder.CreateNumpyVector(scale),
                "ZeroPoint": builder.CreateNumpyVector(np.full(scale.shape, tensor.zero, np.int64)),
                "QuantizedDimension": tensor.axis,
            }
            parts["Quantization"] = _table(builder, "QuantizationParameters", steps)
        shape = builder.CreateNumpyVector(np.array(tensor.shape, np.int32))
        return _table(builder, "Tensor", parts | {"Shape": shape, "Name": name})

    def _operator(
        self,
        builder: flatbuffers.Builder,
        code: int,
        options: str,
        facts: dict[str, Any],
        inputs: list[int],
        outputs: list[int],
    ) -> int:
        parts: dict[str, int] = {"OpcodeIndex": code}
        if options:
            parts["BuiltinOptions"] = _table(builder, options, facts)
            parts["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, options)
        parts["Inputs"] = builder.CreateNumpyVector(np.array(inputs, np.int32))
        parts["Outputs"] = builder.CreateNumpyVector(np.array(outputs, np.int32))
        return _table(builder, "Operator", parts)


def _code(builder: flatbuffers.Builder, kind: str) -> int:
    code = getattr(tflite.BuiltinOperator, kind, tflite.BuiltinOperator.CUSTOM)
    parts = {"DeprecatedBuiltinCode": min(code, 127), "BuiltinCode": code, "Version": _VERSIONS.get(kind, 2)}
    if code == tflite.BuiltinOperator.CUSTOM:
        parts["CustomCode"] = builder.CreateString(kind)
    return _table(builder, "OperatorCode", parts)


def _table(builder: flatbuffers.Builder, name: str, parts: dict[str, Any]) -> int:
    getattr(tflite, f"{name}Start")(builder)
    for part, value in parts.items():
        getattr(tflite, f"{name}Add{part}")(builder, value)
    return int(getattr(tflite, f"{name}End")(builder))


def _offsets(builder: flatbuffers.Builder, offsets: list[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


# --- nets -----------------------------------------------------------------------------------------------------------


def separable(
    is_int8: bool = True,
    ends: tuple[int, int] = (INT8, FLOAT32),
    turned: bool = True,
    per_channel: bool = True,
    end: str = "SOFTMAX",
    size: tuple[int, int] = (16, 24),
) -> Net:
    """As YAMNet comes out of the converter: turned first, then convolutions, means and a dense layer."""
    net = Net((1, *size, 1), is_int8, ends)
    if turned:
        net.moved("TRANSPOSE", (1, *size[::-1], 1), 0, 2, 1, 3)
    net.conv(8, stride=2, per_channel=per_channel)
    net.conv(8, depthwise=True, per_channel=per_channel, fused=RELU6).conv(12, (1, 1), per_channel=per_channel)
    net.conv(12, depthwise=True, stride=2, per_channel=per_channel).conv(16, (1, 1), per_channel=per_channel)
    return net.mean(zero=-128).dense(4).finish(end)


def residual(is_int8: bool = True) -> Net:
    """As a ResNet comes out: padding of its own, pools, sums, factors of a BatchNorm, and a flattened image."""
    net = Net((1, 16, 24, 1), is_int8, seed=1)
    net.pad(3, 3, 3, 3).conv(8, (7, 7), 2, VALID).pad().pool("MAX", 3, 2)
    side = net.last
    net.conv(8, (1, 1)).conv(8, fused=RELU)
    net.add(side, RELU).by_constant("MUL").by_constant("ADD", first=True)
    net.pad(0, 1, 0, 1).pool("MAX", 2, 2).conv(6, (3, 3), dilation=1, fused=NONE)
    height, width, channels = net.now.shape[1:]
    return net.moved("RESHAPE", (1, height * width * channels)).dense(10, RELU).dense(4).finish()
