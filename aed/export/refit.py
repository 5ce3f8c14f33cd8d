"""The last dense layer solved anew, so that it makes of int8 embeddings what float makes of its own.

Least squares in closed form, towards the float model's outputs: no labels, so temperature and thresholds keep their
meaning. A ridge keeps directions that hardly vary as they are. The error of all layers before is in the embeddings, so
what is regular in it is taken back, and values that int8 made noisy count less.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.export.embedding import EMBEDDING, last_dense, with_embedding
from aed.export.fidelity import outputs
from aed.export.graph import attributes, constants, copy_of, producers, replace_constants
from aed.export.precision import activation_ranges, float_layers
from aed.export.quantize import Patches, QuantizeConfig, quantize

RIDGE = 1.0
"""Of the mean variance of a value of the embedding."""

Doubles = npt.NDArray[np.float64]


def solved(embeddings: npt.NDArray[Any], wanted: npt.NDArray[Any], weight: npt.NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Weights ``(classes, size)`` and biases ``(classes,)`` of least squares.

    Args:
        embeddings: ``(N, size)``.
        wanted: ``(N, classes)``.
        weight: ``(classes, size)``: what the ridge pulls to.
    """
    rows, goal = embeddings.astype(np.float64), wanted.astype(np.float64)
    mean, centre = rows.mean(axis=0), goal.mean(axis=0)
    covariance = (rows - mean).T @ (rows - mean)
    ridge = RIDGE * np.trace(covariance) / len(covariance) or 1.0
    right = (rows - mean).T @ (goal - centre) + ridge * weight.T.astype(np.float64)
    solution = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), right).T
    return solution, centre - solution @ mean


def refit(
    model: onnx.ModelProto,
    candidate: onnx.ModelProto,
    int8: onnx.ModelProto,
    patches: Patches,
    config: QuantizeConfig,
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """``candidate`` and its int8 form with a last layer that makes the outputs of ``model`` of int8 embeddings.

    Args:
        model: Float; its outputs are wanted.
        candidate: Float; whose int8 form ``int8`` is. Left as it is.
        int8: QDQ with float ends; its ranges stay.
        patches: ``(N, 1, n_mels, patch_frames)`` of training clips.
        config: Scheme.

    Raises:
        AedError: The graph does not end in a dense layer with a bias.
    """
    dense, arrays = last_dense(candidate, producers(candidate)), constants(candidate)
    names = list(dense.input[1:])
    if dense.op_type != "Gemm" or len(names) != 2 or any(name not in arrays for name in names):
        raise AedError(f"the graph does not end in a dense layer with a bias, but in {dense.op_type} ({dense.name})")
    if model.graph.output[0].name != dense.output[0]:
        raise AedError("the graph does not end in the outputs of a dense layer")
    is_turned = bool(attributes(dense).get("transB", 0))
    weight = arrays[names[0]] if is_turned else arrays[names[0]].T
    weight, bias = solved(outputs(with_embedding(int8), patches, EMBEDDING), outputs(model, patches), weight)
    fitted = copy_of(candidate)
    new = {names[0]: weight if is_turned else weight.T, names[1]: bias}
    replace_constants(fitted, {name: array.astype(np.float32) for name, array in new.items()})
    ranges = activation_ranges(int8)
    return fitted, quantize(fitted, patches[:1], config, ranges=ranges, float_layers=float_layers(int8))
