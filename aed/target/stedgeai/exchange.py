"""Numbers to and from the tool: inputs as the C code wants them, outputs as those of ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.export.card import read_card
from aed.export.embedding import without_embedding
from aed.export.graph import copy_of, input_of
from aed.target.stedgeai.options import DataType

Array = npt.NDArray[np.float32]

_TYPES: dict[int, DataType] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
}


def with_fixed_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model``, or a copy of what the tool takes: one output, and one patch at a time where its batch size is open."""
    model = without_embedding(model)
    ends = (input_of(model), *model.graph.output)
    if all(value.type.tensor_type.shape.dim and value.type.tensor_type.shape.dim[0].dim_value for value in ends):
        return model
    twin = copy_of(model)
    for value in (input_of(twin), *twin.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_value = 1
    del twin.graph.value_info[:]
    return twin


def to_inputs(patches: Array, model: onnx.ModelProto, path: Path, channels_last: bool) -> npt.NDArray[Any]:
    """``patches`` in the shape and type of the C code's input.

    The tool keeps the model's own order of axes; only for Neural-ART it is set to channels-last. With one channel both
    have the same bytes. Not tried on the real tool: that it wants the array in the order the C code has.
    """
    shape = [dim.dim_value for dim in input_of(model).type.tensor_type.shape.dim][1:]
    if sorted(shape) != sorted(patches.shape[1:]):
        raise AedError(f"{path}: takes inputs of shape (N, {shape}), got patches {patches.shape}")
    if channels_last and shape[0] == 1:
        shape = [*shape[1:], 1]
    shaped = np.ascontiguousarray(patches, dtype=np.float32).reshape(len(patches), *shape)
    if (kind := data_types(model)[0]) == "float32":
        return shaped
    scale, zero = _end(model, path, "input")
    span = np.iinfo(kind)
    steps: npt.NDArray[Any] = np.clip(np.rint(shaped / np.float32(scale)) + zero, span.min, span.max).astype(kind)
    return steps


def to_real(outputs: npt.NDArray[Any], model: onnx.ModelProto, path: Path) -> Array:
    """Outputs of the C code as float32."""
    if np.issubdtype(outputs.dtype, np.floating):
        return outputs.astype(np.float32)
    scale, zero = _end(model, path, "output")
    real: Array = np.float32(scale) * (outputs.astype(np.float32) - np.float32(zero))
    return real


def data_types(model: onnx.ModelProto) -> tuple[DataType, DataType]:
    """Types of input and output, which the tool gets as options: else it would choose int8."""
    kinds = (value.type.tensor_type.elem_type for value in (input_of(model), model.graph.output[0]))
    first, last = (_TYPES.get(kind, "float32") for kind in kinds)
    return first, last


def _end(model: onnx.ModelProto, path: Path, name: str) -> tuple[float, int]:
    """Scale and zero point of an int8 input or output."""
    card = read_card(model, str(path))
    facts = card.quantization if card else None
    scale, zero = (getattr(facts, f"{name}_{part}", None) for part in ("scale", "zero_point"))
    if scale is None or zero is None:
        raise AedError(f"{path}: int8 {name} without scale and zero point; a model card gives them")
    return float(scale), int(zero)


def agreement(outputs: Array, expected: Array) -> dict[str, float]:
    """Cosine similarity and root of the mean square difference over all values."""
    ours, theirs = outputs.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    figures = {"rmse": float(np.sqrt(np.mean((ours - theirs) ** 2)))}
    if (norms := float(np.linalg.norm(ours) * np.linalg.norm(theirs))) > 0:
        figures["cos"] = min(1.0, float(ours @ theirs) / norms)
    return {key: value for key, value in figures.items() if np.isfinite(value)}
