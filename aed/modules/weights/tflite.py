"""Weights and labels of TensorFlow Lite files, without TensorFlow.

A ``.tflite`` is a FlatBuffer, whose schema the package ``tflite`` holds; behind it a zip archive with text files may
lie (https://ai.google.dev/edge/litert/models/metadata).
"""

import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.extras import need

_DTYPES = {0: "<f4", 9: "i1", 2: "<i4"}
"""NumPy's name of a ``TensorType``: FLOAT32, INT8, INT32."""

_OPERATORS = (3, 4, 9)
"""``BuiltinOperator``: CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED."""


class Layer(NamedTuple):
    """Weights and bias of a layer as real values, float32.

    Args:
        weight: Convolution ``(out, height, width, in)``, depthwise ``(1, height, width, channels)``, fully connected
            ``(out, in)``.
        bias: ``(out,)``.
    """

    weight: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]


def read_tflite(path: Path) -> list[Layer]:
    """The convolutions and fully connected layers of a ``.tflite``, in their order, dequantised.

    Not by name: a converter that fuses operators gives a tensor the names of several.

    Raises:
        AedError: The file is no TensorFlow Lite model, or tflite is not installed.
    """
    need("tflite", str(path))
    import tflite  # type: ignore[import-untyped]

    data = path.read_bytes()
    if not tflite.Model.ModelBufferHasIdentifier(data, 0):
        raise AedError(f"{path}: not a TensorFlow Lite model")
    try:
        model = tflite.Model.GetRootAs(data)
        graph = model.Subgraphs(0)
        operators = [graph.Operators(number) for number in range(graph.OperatorsLength())]
        return [
            Layer(*(_real(model, graph.Tensors(operator.Inputs(number))) for number in (1, 2)))
            for operator in operators
            if _code(model, operator) in _OPERATORS
        ]
    except (struct.error, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise AedError(f"{path}: damaged TensorFlow Lite model ({error!r})") from error


def _code(model: Any, operator: Any) -> int:
    """Operator code; old files have it in a field of one byte alone."""
    code = model.OperatorCodes(operator.OpcodeIndex())
    return int(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))


def _real(model: Any, tensor: Any) -> npt.NDArray[np.float32]:
    """The values of a constant: scale * (q - zero point), with a scale per tensor or per channel."""
    stored = model.Buffers(tensor.Buffer()).DataAsNumpy()
    values = stored.view(_DTYPES[tensor.Type()]).reshape(tensor.ShapeAsNumpy())
    steps = tensor.Quantization()
    if steps is None or not steps.ScaleLength():
        return values.astype(np.float32)  # type: ignore[no-any-return]
    axes = [1] * values.ndim
    axes[steps.QuantizedDimension()] = -1
    # float64, so that the product is rounded once
    scale, zero = steps.ScaleAsNumpy().astype(np.float64).reshape(axes), steps.ZeroPointAsNumpy().reshape(axes)
    real: npt.NDArray[np.float32] = (scale * (values.astype(np.int64) - zero)).astype(np.float32)
    return real


def read_labels(path: Path, member: str) -> tuple[str, ...]:
    """The lines of a text file in the archive behind a ``.tflite``.

    Args:
        path: The model.
        member: Name in the archive.

    Raises:
        AedError: There is no such archive or member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.read(member).decode().splitlines())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise AedError(f"{path}: no {member} inside ({error})") from error
