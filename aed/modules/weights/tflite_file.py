"""The graph of a TensorFlow Lite file, without TensorFlow: tensors, operators and what they are set to.

A ``.tflite`` is a FlatBuffer whose schema the package ``tflite`` holds; reading it runs nothing of it.
Reference: https://github.com/tensorflow/tensorflow/blob/master/tensorflow/compiler/mlir/lite/schema/schema.fbs.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.extras import need

_DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT8": "i1", "UINT8": "u1", "INT32": "<i4", "INT64": "<i8"}
"""NumPy's name of those ``TensorType`` whose values can be read."""

_WINDOW = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", (*_WINDOW, "DilationHFactor", "DilationWFactor")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_WINDOW, "DilationHFactor", "DilationWFactor")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "MAX_POOL_2D": ("Pool2DOptions", (*_WINDOW, "FilterHeight", "FilterWidth")),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat", "KeepNumDims")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "MUL": ("MulOptions", ("FusedActivationFunction",)),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
    "SOFTMAX": ("SoftmaxOptions", ("Beta",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
}
"""Operator -> the table of its settings, and those that are read."""

LARGEST_BYTES = 256 << 20
"""Of a file: no net for a microcontroller is near it."""


@dataclass(frozen=True, eq=False)
class Steps:
    """real = scale * (q - zero).

    Args:
        scale: ``(1,)``, or one for each channel, float32.
        zero: Of the same shape, int64.
        axis: Of the channels.
    """

    scale: npt.NDArray[np.float32]
    zero: npt.NDArray[np.int64]
    axis: int


@dataclass(frozen=True, eq=False)
class TfliteTensor:
    """A tensor.

    Args:
        kind: TensorFlow Lite's name of the type, ``INT8``.
        shape: As in the file, channels last.
        steps: None: it has no scale.
        values: Of a constant, in ``shape``; None: it is computed.
    """

    kind: str
    shape: tuple[int, ...]
    steps: Steps | None
    values: npt.NDArray[Any] | None


@dataclass(frozen=True)
class Operator:
    """An operator.

    Args:
        number: Place in the file, from 0 on.
        kind: TensorFlow Lite's name, ``CONV_2D``; of a custom one ``CUSTOM <its name>``.
        options: Settings by the schema's names, numbers.
        inputs: Numbers of tensors; -1: left out.
        outputs: Numbers of tensors.
    """

    number: int
    kind: str
    options: dict[str, float]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        return f"operator {self.number}, {self.kind}"


@dataclass(frozen=True, eq=False)
class TfliteGraph:
    """The one graph of a file.

    Args:
        path: The file.
        tensors: By number.
        operators: In order.
        inputs: Numbers of the tensors that a caller fills.
        outputs: Numbers of the tensors that a caller reads.
    """

    path: Path
    tensors: tuple[TfliteTensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The graph of a file.

        Raises:
            AedError: It is missing, damaged, no TensorFlow Lite model, or one of several graphs; or tflite is missing.
        """
        need("tflite", str(path))
        if not path.is_file():
            raise AedError(f"{path}: no such file")
        if path.stat().st_size > LARGEST_BYTES:
            raise AedError(f"{path}: has over {LARGEST_BYTES >> 20} MiB; no net for a microcontroller is as large")
        try:
            return cls(path, *_graph(path))
        except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise AedError(f"{path}: damaged TensorFlow Lite model ({error!r}); copy or convert it again") from error


def _graph(path: Path) -> tuple[Any, ...]:
    import tflite  # type: ignore[import-untyped]

    data = path.read_bytes()
    if len(data) < 8 or not tflite.Model.ModelBufferHasIdentifier(data, 0):
        raise AedError(f"{path}: not a TensorFlow Lite model")
    model = tflite.Model.GetRootAs(data)
    if model.SubgraphsLength() != 1:
        raise AedError(
            f"{path}: has {model.SubgraphsLength()} graphs, one calls the others (an if or a loop); need a net of one"
        )
    graph = model.Subgraphs(0)
    tensors = tuple(_tensor(model, graph.Tensors(number)) for number in range(graph.TensorsLength()))
    names = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
    operators = tuple(
        _operator(number, graph.Operators(number), model, names) for number in range(graph.OperatorsLength())
    )
    inputs, outputs = (_numbers(of, graph) for of in (graph.Inputs, graph.Outputs))
    for number in (*inputs, *outputs, *(n for operator in operators for n in (*operator.inputs, *operator.outputs))):
        if not -1 <= number < len(tensors):
            raise IndexError(f"there is no tensor {number}")
    return tensors, operators, inputs, outputs


def _numbers(read: Callable[[int], int], table: Any) -> tuple[int, ...]:
    count = getattr(table, f"{read.__name__}Length")()
    return tuple(int(read(number)) for number in range(count))


def _tensor(model: Any, tensor: Any) -> TfliteTensor:
    import tflite

    kinds = {code: name for name, code in vars(tflite.TensorType).items() if isinstance(code, int)}
    kind = kinds.get(tensor.Type(), f"type {tensor.Type()}")
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    if tensor.Sparsity() is not None:
        kind = f"sparse {kind}"
    stored, values = model.Buffers(tensor.Buffer()), None
    if stored.DataLength() and kind in _DTYPES:
        values = stored.DataAsNumpy().view(_DTYPES[kind]).reshape(shape)
    return TfliteTensor(kind, shape, _steps(tensor.Quantization()), values)


def _steps(table: Any) -> Steps | None:
    if table is None or not table.ScaleLength():
        return None
    scale = table.ScaleAsNumpy().astype(np.float32)
    zero = table.ZeroPointAsNumpy().astype(np.int64) if table.ZeroPointLength() else np.zeros(1, np.int64)
    zero = np.broadcast_to(zero, scale.shape).copy()
    if not (np.isfinite(scale).all() and (scale >= np.finfo(np.float32).tiny).all()):
        raise ValueError("a scale is no normal number over 0")
    return Steps(scale, zero, int(table.QuantizedDimension()))


def _operator(number: int, operator: Any, model: Any, names: dict[int, str]) -> Operator:
    import tflite

    code = model.OperatorCodes(operator.OpcodeIndex())
    # old files have the code in a field of one byte alone
    builtin = int(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
    kind = names.get(builtin, f"operator code {builtin}")
    if kind == "CUSTOM":
        text = (code.CustomCode() or b"").decode("ascii", "replace")
        kind = f"CUSTOM {text[:60]!r}"
    options: dict[str, float] = {}
    if kind in _OPTIONS:
        table, fields = _OPTIONS[kind]
        settings, union = getattr(tflite, table)(), operator.BuiltinOptions()
        if union is not None:  # left out where all have their defaults
            settings.Init(union.Bytes, union.Pos)
            options = {field: getattr(settings, field)() for field in fields}
    return Operator(number, kind, options, _numbers(operator.Inputs, operator), _numbers(operator.Outputs, operator))
