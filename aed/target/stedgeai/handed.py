"""What the tool gets: our ONNX file in a form that it takes, or a file of Keras or TensorFlow Lite as it is."""

from dataclasses import dataclass
from pathlib import Path

import onnx

from aed.base.errors import AedError
from aed.export.curves import need_separate
from aed.export.graph import OF_OTHERS, load_model
from aed.modules.weights.tflite_file import TfliteGraph
from aed.target.stedgeai.exchange import data_types, with_fixed_batch
from aed.target.stedgeai.options import DataType

_TYPES: dict[str, DataType] = {"FLOAT32": "float32", "INT8": "int8", "UINT8": "uint8"}


@dataclass(frozen=True)
class Handed:
    """A file for the tool.

    Args:
        suffix: Of its name, by which the tool tells its kind.
        content: Its bytes.
        ends: Data types of input and output.
        model: Our model; None: it is a file of others.
    """

    suffix: str
    content: bytes
    ends: tuple[DataType, DataType]
    model: onnx.ModelProto | None


def handed(path: Path) -> Handed:
    """The file for the tool, from a model's.

    Raises:
        AedError: It is missing, or no model that the tool takes.
    """
    suffix = path.suffix.lower()
    if suffix not in OF_OTHERS:
        model = load_model(path)
        need_separate(model, path, "ST Edge AI")
        content = with_fixed_batch(model).SerializeToString(deterministic=True)
        return Handed(".onnx", content, data_types(model), model)
    if not path.is_file():
        raise AedError(f"{path}: no such model")
    ends: tuple[DataType, DataType] = ("float32", "float32")
    if suffix == ".tflite":
        ends = tflite_ends(TfliteGraph.read(path))
    return Handed(suffix, path.read_bytes(), ends, None)


def tflite_ends(graph: TfliteGraph) -> tuple[DataType, DataType]:
    """Data types of the one input and the one output.

    Raises:
        AedError: There are several, or one is of another type.
    """
    kinds = [[graph.tensors[number].kind for number in numbers] for numbers in (graph.inputs, graph.outputs)]
    if any(len(own) != 1 or own[0] not in _TYPES for own in kinds):
        raise AedError(f"{graph.path}: need one input and one output of {', '.join(_TYPES)}, got {kinds}")
    return _TYPES[kinds[0][0]], _TYPES[kinds[1][0]]
