"""Weights and labels of TensorFlow Lite files, without TensorFlow.

Behind the model itself a zip archive with text files may lie (https://ai.google.dev/edge/litert/models/metadata).
"""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aed.base.archives import DAMAGED_ZIP, read_member
from aed.base.errors import AedError
from aed.modules.weights.tflite_file import TfliteGraph, TfliteTensor

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators with weights and a bias."""


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
    graph = TfliteGraph.read(path)
    weighted = [operator for operator in graph.operators if operator.kind in WEIGHTED]
    try:
        return [Layer(*(real(graph.tensors[number]) for number in operator.inputs[1:3])) for operator in weighted]
    except (ValueError, IndexError, TypeError, AttributeError) as error:
        raise AedError(f"{path}: damaged TensorFlow Lite model ({error!r}); copy or convert it again") from error


def real(tensor: TfliteTensor) -> npt.NDArray[np.float32]:
    """The values of a constant: scale * (q - zero point), with a scale per tensor or per channel."""
    values, steps = tensor.values, tensor.steps
    assert values is not None
    if steps is None:
        return values.astype(np.float32)
    axes = [1] * values.ndim
    axes[steps.axis] = -1
    # float64, so that the product is rounded once
    scale, zero = steps.scale.astype(np.float64).reshape(axes), steps.zero.reshape(axes)
    product: npt.NDArray[np.float32] = (scale * (values.astype(np.int64) - zero)).astype(np.float32)
    return product


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


_MOST_LABEL_BYTES = 1 << 20
"""Of a list of labels, unpacked."""


def label_files(path: Path) -> list[tuple[str, ...]]:
    """The lines of each text file in the archive behind a ``.tflite``; none where there is no archive."""
    if not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in set(archive.namelist()) if name.endswith(".txt"))
            texts = [read_member(archive, name, _MOST_LABEL_BYTES).decode("utf-8-sig") for name in names]
    except (AedError, *DAMAGED_ZIP) as error:
        raise AedError(f"{path}: the archive with its labels is damaged ({error}); give class_names=[...]") from error
    return [tuple(line.strip() for line in text.splitlines() if line.strip()) for text in texts]
