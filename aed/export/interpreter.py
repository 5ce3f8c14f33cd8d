"""An ONNX graph run by torch: differentiable, so that int8 can be trained and its errors be followed."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.export.graph import attributes, constants, input_of

Attributes = Mapping[str, Any]


class GraphNet(nn.Module):
    """Run the operators of :data:`OPERATORS`; QuantizeLinear passes the gradient straight through (STE).

    int8 values travel as whole numbers in float32.

    Args:
        model: Float or QDQ, inputs in NCHW order.

    Raises:
        AedError: The graph has another operator.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.input, self.output = input_of(model).name, model.graph.output[0].name
        self.steps = [(node.op_type, list(node.input), node.output[0], attributes(node)) for node in model.graph.node]
        self.names = [node.name for node in model.graph.node]
        for (op, *_), node in zip(self.steps, model.graph.node, strict=True):
            if op not in OPERATORS:
                raise AedError(f"{node.name}: operator {op} cannot be run by torch; it can be {sorted(OPERATORS)}")
        self.constants = {name: _tensor(array) for name, array in constants(model).items()}

    def run(
        self,
        patches: Tensor,
        replaced: Mapping[str, Tensor] | None = None,
        visit: Callable[[str, str, Tensor], Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """Every tensor of the graph, by name.

        Args:
            patches: ``(B, 1, n_mels, patch_frames)``.
            replaced: Tensors to use instead of those that the graph would compute, by name.
            visit: Called with name, operator and output of each node as it runs; returns its replacement.
        """
        values = {**self.constants, self.input: patches, **(replaced or {})}
        for (op, inputs, output, facts), name in zip(self.steps, self.names, strict=True):
            if output not in values:
                arguments = [values[name] if name else None for name in inputs]
                result = OPERATORS[op](facts, *arguments)
                values[output] = visit(name, op, result) if visit else result
        return values

    def forward(self, patches: Tensor) -> Tensor:
        """The graph's output ``(B, num_classes)``."""
        return self.run(patches)[self.output]


def _tensor(array: "np.typing.NDArray[Any]") -> Tensor:
    """int64 shapes stay; all else, int8 and int32 too, becomes float32 (exact up to 2**24, and biases round alike)."""
    return torch.from_numpy(np.array(array if array.dtype == np.int64 else array.astype(np.float32)))


def round_through(value: Tensor) -> Tensor:
    """``value`` rounded half to even, with the gradient of the identity."""
    return value + (value.round() - value).detach()


def _along(value: Tensor, of: Tensor, axis: int) -> Tensor:
    """A scale per channel, in the shape that broadcasts over ``of``; a single one stays."""
    if value.numel() == 1:
        return value.reshape(())
    shape = [1] * of.ndim
    shape[axis] = -1
    return value.reshape(shape)


def quantize(facts: Attributes, value: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    """Steps of ``value``, whole numbers in [-128, 127]."""
    axis = facts.get("axis", 1)
    steps = round_through(value / _along(scale, value, axis)) + _along(zero, value, axis)
    return steps.clamp(-128, 127)


def dequantize(facts: Attributes, steps: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
    """Real values that ``steps`` stand for."""
    axis = facts.get("axis", 1)
    offset = 0 if zero is None else _along(zero, steps, axis)
    return (steps - offset) * _along(scale, steps, axis)


def _padded(facts: Attributes, image: Tensor, value: float = 0.0) -> Tensor:
    """``image`` with the node's explicit padding: ONNX's (top, left, bottom, right), also where they differ."""
    if facts.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise AedError(f"auto_pad={facts['auto_pad'].decode()}: export with explicit padding")
    pads = facts.get("pads")
    if not pads or not any(pads):
        return image
    half = len(pads) // 2
    order = [pads[half * end + axis] for axis in reversed(range(half)) for end in (0, 1)]
    return F.pad(image, order, value=value)


def _conv(facts: Attributes, image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    stride, dilation = facts.get("strides", 1), facts.get("dilations", 1)
    return F.conv2d(_padded(facts, image), weight, bias, stride=stride, dilation=dilation, groups=facts.get("group", 1))


def _gemm(facts: Attributes, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
    a = a.T if facts.get("transA", 0) else a
    b = b.T if facts.get("transB", 0) else b
    product: Tensor = facts.get("alpha", 1.0) * (a @ b)
    return product if c is None else product + facts.get("beta", 1.0) * c


def _filled(facts: Attributes, image: Tensor, value: float) -> Tensor:
    """``image`` with the node's padding and, for ``ceil_mode``, with what its last windows have past that.

    A last window has to begin before the padding after the image.
    """
    padded = _padded(facts, image, value)
    if not facts.get("ceil_mode"):
        return padded
    more = []
    for axis, (taps, stride) in enumerate(zip(facts["kernel_shape"], facts.get("strides", (1, 1)), strict=True)):
        reach = facts.get("dilations", (1, 1))[axis] * (taps - 1) + 1
        start = -(-max(0, padded.shape[2 + axis] - reach) // stride) * stride
        if start >= image.shape[2 + axis] + (facts.get("pads") or [0, 0])[axis]:
            start -= stride
        more.append(max(0, start + reach - padded.shape[2 + axis]))
    return F.pad(padded, (0, more[1], 0, more[0]), value=value)


def _max_pool(facts: Attributes, image: Tensor) -> Tensor:
    filled = _filled(facts, image, float("-inf"))
    return F.max_pool2d(filled, facts["kernel_shape"], facts.get("strides", 1), dilation=facts.get("dilations", 1))


def _average_pool(facts: Attributes, image: Tensor) -> Tensor:
    kernel, stride = facts["kernel_shape"], facts.get("strides", 1)
    if facts.get("ceil_mode") and facts.get("count_include_pad"):
        raise AedError("AveragePool with ceil_mode and count_include_pad: export it anew")
    filled = _filled(facts, image, 0.0)
    mean: Tensor = F.avg_pool2d(filled, kernel, stride)
    if facts.get("count_include_pad") or filled.shape == image.shape:
        return mean
    share: Tensor = F.avg_pool2d(_filled(facts, torch.ones_like(image[:1, :1]), 0.0), kernel, stride)
    return mean / share


def _clip(facts: Attributes, value: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    value = value if low is None else torch.maximum(value, low)
    return value if high is None else torch.minimum(value, high)


def _reshape(facts: Attributes, value: Tensor, shape: Tensor) -> Tensor:
    wanted = [value.shape[axis] if size == 0 else size for axis, size in enumerate(shape.tolist())]
    if wanted and wanted[0] == 1:
        wanted[0] = value.shape[0]  # a graph of one patch run on many
    return value.reshape(wanted)


def _reduce_mean(facts: Attributes, value: Tensor) -> Tensor:
    mean: Tensor = value.mean(dim=facts["axes"], keepdim=bool(facts.get("keepdims", 1)))
    return mean


def _squeeze(facts: Attributes, value: Tensor, axes: Tensor | None = None) -> Tensor:
    return value.squeeze() if axes is None else value.squeeze(tuple(axes.tolist()))


def _unsqueeze(facts: Attributes, value: Tensor, axes: Tensor) -> Tensor:
    rank = value.ndim + len(axes)
    for axis in sorted(int(axis) % rank for axis in axes):
        value = value.unsqueeze(axis)
    return value


def _slice(
    facts: Attributes, value: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, *steps: Tensor
) -> Tensor:
    every = steps[0].tolist() if steps else [1] * len(starts)
    places = [slice(None)] * value.ndim
    axes_ = range(len(starts)) if axes is None else axes.tolist()
    for axis, start, end, step in zip(axes_, starts.tolist(), ends.tolist(), every, strict=True):
        places[axis] = slice(start, end, step)
    return value[tuple(places)]


def _hard_sigmoid(facts: Attributes, value: Tensor) -> Tensor:
    line: Tensor = facts.get("alpha", 0.2) * value + facts.get("beta", 0.5)
    return line.clamp(0, 1)


OPERATORS: dict[str, Callable[..., Tensor]] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": lambda facts, a, b: a @ b,
    "Relu": lambda facts, value: value.relu(),
    "Clip": _clip,
    "Sigmoid": lambda facts, value: value.sigmoid(),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda facts, value: F.hardswish(value),
    "Tanh": lambda facts, value: value.tanh(),
    "Erf": lambda facts, value: value.erf(),
    "LeakyRelu": lambda facts, value: F.leaky_relu(value, facts.get("alpha", 0.01)),
    "PRelu": lambda facts, value, slope: torch.where(value < 0, value * slope, value),
    "Softmax": lambda facts, value: value.softmax(facts.get("axis", -1)),
    "Add": lambda facts, a, b: a + b,
    "Sub": lambda facts, a, b: a - b,
    "Mul": lambda facts, a, b: a * b,
    "Concat": lambda facts, *values: torch.cat(values, facts["axis"]),
    "Pad": lambda facts, value, pads, fill=None: _padded(
        {"pads": pads.tolist()}, value, 0.0 if fill is None else float(fill)
    ),
    "MaxPool": _max_pool,
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda facts, value: value.mean(dim=(2, 3), keepdim=True),
    "GlobalMaxPool": lambda facts, value: value.amax(dim=(2, 3), keepdim=True),
    "ReduceMean": _reduce_mean,
    "ReduceMax": lambda facts, value: value.amax(dim=facts["axes"], keepdim=bool(facts.get("keepdims", 1))),
    "Flatten": lambda facts, value: value.flatten(facts.get("axis", 1)),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": lambda facts, value: value.permute(facts.get("perm", range(value.ndim)[::-1])),
    "Identity": lambda facts, value: value,
}
"""Operator -> function of its attributes and inputs; those that the nets of aed and their int8 graphs have."""
