"""The operators of TensorFlow Lite that have a counterpart, each a function that adds its nodes.

Reference: https://github.com/tensorflow/tensorflow/tree/master/tensorflow/lite/kernels.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aed.export.graph import Array
from aed.export.tflite.assembly import Assembly
from aed.export.tflite.moving import MOVING
from aed.export.tflite.value import Value
from aed.export.tflite.windows import WINDOWS, padding, pair
from aed.modules.weights.tflite_file import Operator

# --- layers with weights ---------------------------------------------------------------------------------------------


def _conv(made: Assembly, operator: Operator) -> None:
    value, stored = made.image(operator), made.tensor(operator, 1).values
    is_depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    if stored is None or stored.ndim != 4:
        raise made.refusal(operator, "its weights are no constant of four axes")
    channels = value.shape[3]
    axis, outputs = (3, stored.shape[3]) if is_depthwise else (0, stored.shape[0])
    if (outputs % channels if is_depthwise else stored.shape[3] != channels) or (is_depthwise and len(stored) != 1):
        raise made.refusal(operator, f"its weights {stored.shape} do not fit {channels} channels")
    # (out, height, width, in), depthwise (1, height, width, out) -> (out, in, height, width)
    order = (3, 0, 1, 2) if is_depthwise else (0, 3, 1, 2)
    turned = (*order[:2], order[3], order[2]) if value.is_turned else order
    weight = stored.transpose(turned)
    pads, sizes = padding(made, operator, value, (stored.shape[1], stored.shape[2]))
    like = replace(value, shape=(1, *sizes, outputs), pads=(0, 0, 0, 0))
    facts = {
        "kernel_shape": list(weight.shape[2:]),
        "strides": pair(value, operator, "StrideH", "StrideW"),
        "dilations": pair(value, operator, "DilationHFactor", "DilationWFactor"),
        "pads": pads,
        "group": channels if is_depthwise else 1,
    }
    made.set(operator, "Conv", [value.name, *_weights(made, operator, weight, axis)], like, **facts)


def _dense(made: Assembly, operator: Operator) -> None:
    value, stored = made.input(operator), made.tensor(operator, 1).values
    if operator.options.get("WeightsFormat") or stored is None or stored.ndim != 2:
        raise made.refusal(operator, "its weights are no constant (outputs, inputs) in their usual order")
    size = int(np.prod(value.shape))
    if size != stored.shape[1] or value.shape[0] != 1:
        raise made.refusal(operator, f"its weights {stored.shape} do not fit one vector of {size} values")
    outputs, shape = len(stored), made.output(operator).shape
    inputs = [made.reshaped(value, [1, size]), *_weights(made, operator, stored[:, value.indices()], 0)]
    made.set(operator, "Gemm", inputs, Value("", (0, 1), (1, outputs)), transB=1)
    if len(shape) != 2:
        made.view(operator, made.values[operator.outputs[0]], shape)


def _weights(made: Assembly, operator: Operator, weight: Array, axis: int) -> list[str]:
    """Adds weights, outputs first, and bias as constants; returns the names of their real values.

    Args:
        made: The graph.
        operator: Theirs.
        weight: Arranged.
        axis: Of the outputs in the file's weights.
    """
    tensor, name = made.tensor(operator, 1), f"{operator.kind.lower()}_{operator.number}"
    outputs = len(weight)
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] >= 0
    bias = made.tensor(operator, 2) if has_bias else None
    if bias is not None and (bias.values is None or bias.values.size != outputs):
        raise made.refusal(operator, f"its bias is no constant of {outputs} values")
    if not made.is_int8:
        if tensor.kind not in ("FLOAT32", "FLOAT16") or (bias is not None and bias.kind not in ("FLOAT32", "FLOAT16")):
            raise made.refusal(
                operator,
                f"{tensor.kind.lower()} weights for float values (dynamic range quantisation); convert it to int8 with "
                "converter.representative_dataset, or without optimizations",
            )
        names = [made.constant(f"{name}.weight", weight.astype(np.float32))]
        if bias is not None and bias.values is not None:
            names.append(made.constant(f"{name}.bias", bias.values.astype(np.float32).ravel()))
        return names
    steps, source = tensor.steps, made.tensor(operator, 0).steps
    if tensor.kind != "INT8" or steps is None or steps.zero.any():
        raise made.refusal(operator, f"need int8 weights whose zero point is 0, got {tensor.kind.lower()}")
    if len(steps.scale) not in (1, outputs) or (len(steps.scale) > 1 and steps.axis != axis):
        raise made.refusal(operator, f"has {len(steps.scale)} scales for {outputs} outputs; the file is damaged")
    assert source is not None
    scale = steps.scale if len(steps.scale) > 1 else steps.scale[0]
    names = [made.quantised(f"{name}.weight", weight, scale, np.zeros(np.shape(scale), np.int8))]
    if bias is None:
        return names
    product = source.scale[0] * steps.scale
    if bias.kind != "INT32" or bias.steps is None or not np.allclose(bias.steps.scale, product, rtol=1e-3):
        raise made.refusal(operator, "need an int32 bias in steps of input times weights; the file is damaged")
    assert bias.values is not None
    each = np.broadcast_to(product, outputs).astype(np.float32)
    return [*names, made.quantised(f"{name}.bias", bias.values.ravel(), each, np.zeros(outputs, np.int32))]


# --- sums, products, means -------------------------------------------------------------------------------------------


def _elementwise(made: Assembly, operator: Operator) -> None:
    kind = {"ADD": "Add", "MUL": "Mul"}[operator.kind]
    fixed = [index for index in (0, 1) if made.tensor(operator, index).values is not None]
    if len(fixed) == 2:
        raise made.refusal(operator, "both its inputs are constants")
    if fixed:
        value = made.input(operator, 1 - fixed[0])
        other = _constant(made, operator, fixed[0], value)
        made.set(operator, kind, [value.name, other], value)
        return
    one, two = made.input(operator, 0), made.input(operator, 1)
    if int(np.prod(one.shape)) < int(np.prod(two.shape)):
        one, two = two, one
    fits = one.layout == two.layout and all(b in (1, a) for a, b in zip(one.shape, two.shape, strict=True))
    alike = np.array_equal(one.indices(), two.indices()) if one.shape == two.shape else one.order is two.order is None
    if not (fits and alike) or made.output(operator).shape != one.shape:
        raise made.refusal(operator, "only of two values of one shape, or of an image and a part of it to repeat")
    made.set(operator, kind, [one.name, two.name], one)


def _constant(made: Assembly, operator: Operator, index: int, value: Value) -> str:
    """Adds a constant input, arranged as the other one is; returns the name of its real values."""
    tensor, name = made.tensor(operator, index), f"{operator.kind.lower()}_{operator.number}.constant"
    assert tensor.values is not None
    if made.output(operator).shape != value.shape or tensor.values.ndim > len(value.shape):
        raise made.refusal(operator, "its constant is larger than what it is added to or multiplied with")
    array = tensor.values.reshape((1,) * (len(value.shape) - tensor.values.ndim) + tensor.values.shape)
    if value.order is not None and array.size > 1:
        array = np.broadcast_to(array, value.shape).reshape(1, -1)[:, value.order]
    array = array.transpose(value.layout) if array.ndim == len(value.layout) else array
    if array.size == 1:
        array = array.reshape(())
    if not made.is_int8:
        if tensor.kind not in ("FLOAT32", "FLOAT16"):
            raise made.refusal(operator, f"a constant of {tensor.kind.lower()} in a float net")
        return made.constant(name, array.astype(np.float32))
    if tensor.kind != "INT8" or tensor.steps is None or len(tensor.steps.scale) != 1:
        raise made.refusal(operator, "need a constant of int8 with one scale")
    return made.quantised(name, array, tensor.steps.scale[0], np.array(tensor.steps.zero[0], np.int8))


def _mean(made: Assembly, operator: Operator) -> None:
    value = made.image(operator)
    if sorted(axis % 4 for axis in made.numbers(operator, 1)) != [1, 2]:
        raise made.refusal(operator, "only over height and width")
    channels = value.shape[3]
    made.set(operator, "GlobalAveragePool", [value.name], Value("", value.layout, (1, 1, 1, channels)))
    if not operator.options.get("KeepDims"):
        made.view(operator, made.values[operator.outputs[0]], (1, channels))


def _concat(made: Assembly, operator: Operator) -> None:
    parts = [made.input(operator, index) for index in range(len(operator.inputs))]
    rank = len(parts[0].shape)
    axis = int(operator.options.get("Axis", 0)) % rank
    alike = all(part.layout == parts[0].layout and part.order is None for part in parts)
    if rank not in (2, 4) or axis != rank - 1 or not alike:
        raise made.refusal(operator, "only of images beside each other along channels")
    shape = (*parts[0].shape[:-1], sum(part.shape[-1] for part in parts))
    made.set(operator, "Concat", [part.name for part in parts], replace(parts[0], shape=shape), axis=1)


# --- functions of one value ------------------------------------------------------------------------------------------

_FUNCTIONS = {"LOGISTIC": "Sigmoid", "TANH": "Tanh", "HARD_SWISH": "HardSwish", "RELU": "Relu", "QUANTIZE": "Clip"}


def _function(made: Assembly, operator: Operator) -> None:
    value = made.input(operator)
    made.set(operator, _FUNCTIONS[operator.kind], [value.name], value)


def _relu6(made: Assembly, operator: Operator) -> None:
    value, name = made.input(operator), f"relu6_{operator.number}"
    ends = [made.constant(f"{name}.{end}", np.array(end, np.float32)) for end in (0, 6)]
    made.set(operator, "Clip", [value.name, *ends], value)


OPERATORS: dict[str, Callable[[Assembly, Operator], None]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _conv,
    "FULLY_CONNECTED": _dense,
    "ADD": _elementwise,
    "MUL": _elementwise,
    "MEAN": _mean,
    "CONCATENATION": _concat,
    "RELU6": _relu6,
    **dict.fromkeys(_FUNCTIONS, _function),
    **WINDOWS,
    **MOVING,
}
"""TensorFlow Lite's operator -> what adds its nodes, or raises :meth:`Assembly.refusal`."""
