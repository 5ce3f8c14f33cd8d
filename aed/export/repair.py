"""Repairs where int8 loses accuracy: equalise channels across layers, correct biases.

Equalisation: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
arXiv:1906.04721. With a weight scale for each channel, a channel's activations take the place of its weights
(G. Xiao et al., "SmoothQuant", arXiv:2211.10438). Bias correction is the empirical one of the former paper.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from aed.export.curves import in_real_values
from aed.export.graph import attributes, constants, copy_of, readers, replace_constants
from aed.export.interpreter import GraphNet
from aed.export.precision import activation_ranges, float_layers
from aed.export.quantize import Patches, QuantizeConfig, quantize

_CHANNELWISE = {"Relu", "LeakyRelu", "PRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
"""Operators f with f(s x) = s f(x) for a scale s > 0 of each channel."""

_BIASED = ("Conv", "Gemm")

BIAS_PATCHES = 64
"""Patches over which bias correction takes its means: all their activations are in memory at once."""

MOST_SCALE = 64.0
"""Of equalisation: a channel is not scaled by more, either way."""


def equalise(model: onnx.ModelProto, patches: Patches, per_channel: bool) -> tuple[onnx.ModelProto, int]:
    """``model`` with channels of neighbouring layers brought to like ranges, and how many pairs there were.

    The function of the graph stays the same: the factor that a layer's channel is divided by multiplies the next layer.

    Args:
        model: Float; left as it is.
        patches: Their activations give the ranges, with ``per_channel``.
        per_channel: Whether weights have a scale per channel, so that only activations need it in the first layer.
    """
    equal = copy_of(model)
    pairs = list(_pairs(equal))
    arrays = {name: array.astype(np.float64) for name, array in constants(equal).items() if array.dtype.kind == "f"}
    peaks = _channel_peaks(equal, patches, [a.output[0] for a, _ in pairs]) if per_channel else {}
    for _ in range(1 if per_channel else 10):
        for a, b in pairs:
            w_a, w_b = arrays[a.input[1]], arrays[b.input[1]]
            depthwise = b.op_type == "Conv" and attributes(b).get("group", 1) > 1
            second = _peak(w_b, 0 if depthwise else _input_axis(b))
            first = peaks[a.output[0]] if per_channel else _peak(w_a, _output_axis(a))
            alive = (first > 0) & (second > 0)
            ratio = np.where(
                alive, first if depthwise and per_channel else np.sqrt(first / np.where(alive, second, 1)), 1
            )
            ratio = np.where(alive, ratio / np.exp(np.log(ratio[alive]).mean() if alive.any() else 0), 1)
            scale = np.clip(ratio, 1 / MOST_SCALE, MOST_SCALE)
            arrays[a.input[1]] = w_a / _shaped(scale, w_a, _output_axis(a))
            if len(a.input) > 2 and a.input[2]:
                arrays[a.input[2]] = arrays[a.input[2]] / scale
            arrays[b.input[1]] = w_b * _shaped(scale, w_b, 0 if depthwise else _input_axis(b))
            peaks = {name: peak / scale if name == a.output[0] else peak for name, peak in peaks.items()}
    replace_constants(equal, {name: array.astype(np.float32) for name, array in arrays.items()})
    return equal, len(pairs)


def _pairs(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Neighbouring layers between which a channel may be scaled: no other node reads what is between."""
    read, arrays = readers(model), constants(model)
    weighted = {node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    outputs = {value.name for value in model.graph.output}
    for a in model.graph.node:
        if a.name not in weighted or any(uses[name] > 1 for name in a.input[1:] if name):
            continue
        node, is_image = a, a.op_type == "Conv"
        while node.output[0] not in outputs and len(following := read.get(node.output[0], [])) == 1:
            node = following[0]
            if node.name in weighted:
                own_weights = node.input[1] in arrays and uses[node.input[1]] == 1
                if own_weights and _channels(arrays[a.input[1]], a) == _channels_in(arrays[node.input[1]], node):
                    yield a, node
                break
            if node.op_type not in _CHANNELWISE and not (node.op_type in ("Flatten", "Reshape") and is_image):
                break


def _channels(weight: npt.NDArray[Any], node: onnx.NodeProto) -> int:
    return int(weight.shape[_output_axis(node)])


def _channels_in(weight: npt.NDArray[Any], node: onnx.NodeProto) -> int:
    """Channels ``node`` reads, 0 where they cannot be scaled one by one."""
    if node.op_type == "Gemm":
        return int(weight.shape[_input_axis(node)])
    group = attributes(node).get("group", 1)
    if group == 1:
        return int(weight.shape[1])
    return int(weight.shape[0]) if weight.shape[0] == group and weight.shape[1] == 1 else 0


def _output_axis(node: onnx.NodeProto) -> int:
    return 0 if node.op_type == "Conv" or attributes(node).get("transB", 0) else 1


def _input_axis(node: onnx.NodeProto) -> int:
    return 1 if node.op_type == "Conv" or attributes(node).get("transB", 0) else 0


def _peak(weight: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    others = tuple(number for number in range(weight.ndim) if number != axis)
    return np.asarray(np.abs(weight).max(axis=others))


def _shaped(scale: npt.NDArray[np.float64], weight: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    return scale.reshape([-1 if number == axis else 1 for number in range(weight.ndim)])


def _channel_peaks(model: onnx.ModelProto, patches: Patches, names: list[str]) -> dict[str, npt.NDArray[np.float64]]:
    """Largest absolute activation of each channel of the named tensors."""
    net = GraphNet(model)
    peaks: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for part in torch.split(torch.from_numpy(patches), BIAS_PATCHES):
            values = net.run(part)
            for name in names:
                peak = values[name].abs().amax(dim=[axis for axis in range(values[name].ndim) if axis != 1])
                peaks[name] = torch.maximum(peaks[name], peak) if name in peaks else peak
    return {name: peak.double().numpy() for name, peak in peaks.items()}


def correct_biases(
    model: onnx.ModelProto, int8: onnx.ModelProto, patches: Patches, config: QuantizeConfig
) -> tuple[onnx.ModelProto, onnx.ModelProto, float]:
    """``model`` and its int8 form with biases that cancel the mean error of each channel, and the largest change.

    One pass from first to last layer, so that each sees the layers before it corrected; the ranges stay.

    Args:
        model: Float; left as it is.
        int8: Its QDQ graph.
        patches: Over the first of which the mean is taken.
        config: Scheme.
    """
    batch = torch.from_numpy(patches[:BIAS_PATCHES])
    wanted: dict[str, torch.Tensor] = {}
    changes: dict[str, torch.Tensor] = {}
    biases = {node.name: node.input[2] for node in model.graph.node if node.op_type in _BIASED and len(node.input) > 2}

    def remember(name: str, op: str, value: torch.Tensor) -> torch.Tensor:
        if name in biases:
            wanted[name] = _channel_mean(value)
        return value

    def correct(name: str, op: str, value: torch.Tensor) -> torch.Tensor:
        if name not in biases:
            return value
        changes[name] = (wanted[name] - _channel_mean(value)).float()
        return value + changes[name].reshape([1, -1] + [1] * (value.ndim - 2))

    with torch.no_grad():
        GraphNet(model).run(batch, visit=remember)
        GraphNet(in_real_values(int8)).run(batch, visit=correct)
    corrected, arrays = copy_of(model), constants(model)
    replace_constants(
        corrected, {biases[name]: arrays[biases[name]] + change.numpy() for name, change in changes.items()}
    )
    ranges = activation_ranges(int8)
    requantized = quantize(corrected, patches, config, ranges=ranges, float_layers=float_layers(int8))
    return corrected, requantized, max((float(change.abs().max()) for change in changes.values()), default=0.0)


def _channel_mean(value: torch.Tensor) -> torch.Tensor:
    return value.double().mean(dim=[axis for axis in range(value.ndim) if axis != 1])
