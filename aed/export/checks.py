"""Checks of an ONNX graph's constants: weights that are numbers, scales and zero points that can be used."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[Any]

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
"""Operators whose constants are weights; elsewhere infinity is in use, as the bound of a Clip or in a mask."""


def broken_constants(model: onnx.ModelProto) -> Iterator[str]:
    """Constants that make no sense, in words, each with its name and what to do."""
    arrays = _constants(model)
    for words in _not_finite(model, arrays):
        yield f"{words}: the training diverged, or the file is damaged; train or export it anew"
    for words in _steps(model, arrays):
        yield f"{words}: the file is damaged; export or quantise it anew"


def _constants(model: onnx.ModelProto) -> dict[str, Array]:
    """The arrays of initializers and Constant nodes, by name."""
    inside = [
        (node.output[0], item.t)
        for node in model.graph.node
        if node.op_type == "Constant"
        for item in node.attribute
        if item.HasField("t")
    ]
    tensors = [*((item.name, item) for item in model.graph.initializer), *inside]
    return {name: numpy_helper.to_array(tensor) for name, tensor in tensors}


def _not_finite(model: onnx.ModelProto, arrays: dict[str, Array]) -> Iterator[str]:
    """Constants that hold NaN, and weights that hold infinity."""
    weights = {name for node in model.graph.node if node.op_type in _WEIGHTED for name in node.input}
    for name, array in arrays.items():
        if array.dtype.kind != "f":
            continue
        if wrong := int(np.isnan(array).sum()):
            yield f"{wrong} of the {array.size} values of {name} are NaN"
        elif name in weights and (wrong := int(np.isinf(array).sum())):
            yield f"{wrong} of the {array.size} values of {name} are infinite"


def _steps(model: onnx.ModelProto, arrays: dict[str, Array]) -> Iterator[str]:
    """Scales and zero points of QuantizeLinear and DequantizeLinear that cannot be used.

    ONNX, "QuantizeLinear" and "DequantizeLinear"; scales of another type than float are refused by ONNX's checker.
    """
    held = {name: array.dtype for name, array in arrays.items()}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = arrays.get(node.input[1])
        zero = arrays.get(node.input[2]) if len(node.input) > 2 else None
        kind = held.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if scale is not None and (wrong := _wrong_scales(scale, is_bias=kind == np.int32)):
            yield f"{wrong} of the {scale.size} scales in {node.input[1]} are no normal numbers over 0 of float32"
        if zero is None:
            continue
        if zero.dtype.kind == "f" or (kind is not None and zero.dtype != kind):
            yield f"the zero point {node.input[2]} is {zero.dtype}, need {kind or 'int8'}"
        elif zero.dtype == np.int32 and zero.any():
            yield f"the zero point {node.input[2]} of an int32 tensor is not 0"
        if node.op_type == "QuantizeLinear":
            held[node.output[0]] = zero.dtype


def _wrong_scales(scale: Array, is_bias: bool) -> int:
    """How many are not finite, not over 0, or denormal.

    A bias has the product of two scales, which is denormal where a channel is nearly dead, and only weights count it.
    """
    if scale.dtype.kind != "f":
        return scale.size if scale.dtype.kind in "iub" else 0
    least = np.finfo(scale.dtype).smallest_subnormal if is_bias else np.finfo(scale.dtype).tiny
    return int((~(np.isfinite(scale) & (scale >= least))).sum())
