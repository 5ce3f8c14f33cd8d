"""Windows: their padding in numbers, pools, and zeros around an image."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from aed.export.tflite.assembly import Assembly
from aed.export.tflite.value import Value
from aed.modules.weights.tflite_file import Operator

_SAME, _VALID = 0, 1
"""``Padding`` of the schema."""


def pair(value: Value, operator: Operator, height: str, width: str) -> list[int]:
    """Two settings of an operator as ONNX has them for this image; 1 where they are left out."""
    both = [int(operator.options.get(name, 1)) or 1 for name in (height, width)]
    return both[::-1] if value.is_turned else both


def padding(
    made: Assembly, operator: Operator, value: Value, window: tuple[int, int]
) -> tuple[list[int], tuple[int, int]]:
    """Pads in ONNX's order, and height and width of the output in the file's.

    SAME puts the odd zero behind.

    Args:
        made: The graph.
        operator: Slides a window.
        value: Image that it reads, with zeros around that belong to it.
        window: Its height and width in the file.

    Raises:
        AedError: The output is of another size in the file.
    """
    facts, before, after, sizes = operator.options, [0, 0], [0, 0], []
    for axis, name in enumerate("HW"):
        stride, dilation = (int(facts.get(key, 1)) or 1 for key in (f"Stride{name}", f"Dilation{name}Factor"))
        size, reach = value.shape[1 + axis], (window[axis] - 1) * dilation + 1
        if facts.get("Padding", _SAME) == _VALID:
            steps = max(0, (size - reach) // stride + 1)
        else:
            steps = math.ceil(size / stride)
            total = max(0, (steps - 1) * stride + reach - size)
            before[axis], after[axis] = total // 2, total - total // 2
        sizes.append(steps)
    found = made.output(operator).shape
    if found[:3] != (1, *sizes):
        raise made.refusal(operator, f"needs an output of height and width {sizes}, the file has {found}")
    turned = slice(None, None, -1) if value.is_turned else slice(None)
    own = [*before[turned], *after[turned]]
    return [one + other for one, other in zip(own, value.pads, strict=True)], (sizes[0], sizes[1])


def _pool(made: Assembly, operator: Operator) -> None:
    value = made.image(operator)
    window = int(operator.options.get("FilterHeight", 0)), int(operator.options.get("FilterWidth", 0))
    if min(window) < 1:
        raise made.refusal(operator, "its window has no size; the file is damaged")
    pads, sizes = padding(made, operator, value, window)
    like = replace(value, shape=(1, *sizes, value.shape[3]), pads=(0, 0, 0, 0))
    if operator.kind == "AVERAGE_POOL_2D" and window == value.shape[1:3] and sizes == (1, 1) and not any(pads):
        made.set(operator, "GlobalAveragePool", [value.name], like)
        return
    facts = {
        "kernel_shape": list(window[::-1] if value.is_turned else window),
        "strides": pair(value, operator, "StrideH", "StrideW"),
        "pads": pads,
    }
    if operator.kind == "MAX_POOL_2D":
        made.set(operator, "MaxPool", [value.name], like, **facts)
    else:
        made.set(operator, "AveragePool", [value.name], like, count_include_pad=0, **facts)


def _pad(made: Assembly, operator: Operator) -> None:
    value, around = made.image(operator), made.numbers(operator, 1)
    if len(around) != 8 or min(around) < 0 or any(around[axis] for axis in (0, 1, 6, 7)):
        raise made.refusal(operator, f"paddings {around}; only of height and width")
    if operator.kind == "PADV2" and not _pads_with_zero(made, operator):
        raise made.refusal(operator, "only with 0")
    top, bottom, left, right = around[2:6]
    pads = (left, top, right, bottom) if value.is_turned else (top, left, bottom, right)
    height, width = value.shape[1] + top + bottom, value.shape[2] + left + right
    like = replace(value, shape=(1, height, width, value.shape[3]))
    if made.output(operator).shape != like.shape:
        raise made.refusal(operator, f"needs an output of shape {like.shape}; the file is damaged")
    if _reader_adds_zeros(made, operator):
        made.values[operator.outputs[0]] = replace(like, pads=pads)
        return
    name = made.constant(f"pad_{operator.number}.pads", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64))
    made.set(operator, "Pad", [value.name, name], like)


def _pads_with_zero(made: Assembly, operator: Operator) -> bool:
    tensor, steps = made.tensor(operator, 2), made.tensor(operator, 0).steps
    zero = int(steps.zero[0]) if made.is_int8 and steps is not None else 0
    return tensor.values is not None and tensor.values.size == 1 and int(tensor.values.ravel()[0]) == zero


def _reader_adds_zeros(made: Assembly, operator: Operator) -> bool:
    """Whether one layer alone reads the padded image, pads nothing itself, and takes zeros around as its own.

    A pool does where the zero is the least int8 value: its own padding never wins.
    """
    number = operator.outputs[0]
    readers = [other for other in made.graph.operators if number in other.inputs]
    if len(readers) != 1 or number in made.graph.outputs or readers[0].options.get("Padding") != _VALID:
        return False
    if readers[0].kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
        return readers[0].inputs.index(number) == 0
    steps = made.graph.tensors[number].steps
    is_least = made.is_int8 and steps is not None and steps.zero[0] == -128
    return readers[0].kind == "MAX_POOL_2D" and is_least


WINDOWS: dict[str, Callable[[Assembly, Operator], None]] = {
    "AVERAGE_POOL_2D": _pool,
    "MAX_POOL_2D": _pool,
    "PAD": _pad,
    "PADV2": _pad,
}
"""Operator -> its function."""
