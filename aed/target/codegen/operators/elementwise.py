"""Add and Mul: of two activations of which one may be a part of the other's shape, or of one and a constant."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from aed.target.codegen.operators.activation import append_function
from aed.target.codegen.program import Int8, Layer, Program, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk


@dataclass(frozen=True, kw_only=True)
class Elementwise(Layer):
    """Two inputs, the second repeated where it is smaller.

    Args:
        weight: ``(channels,)`` or ``(1,)``: steps of a constant second input; None: it is computed.
    """

    weight: Int8 | None = None

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Value by value; but a smaller input is read again and again."""
        return 0 if x.size == y.size else None

    def macc(self, program: Program) -> int:
        """Of a constant: one a value."""
        height, width, _ = program.tensors[self.output].shape
        return 0 if self.weight is None else int(height * width * self.weight.size)

    def calls(self, source: Source, number: int, program: Program, numbers: str) -> list[str]:
        """C statements: one call where the kernel itself repeats the second input, else one for each part of it.

        Args:
            source: Collects a constant second input.
            number: Of the layer.
            program: Holds the tensors.
            numbers: Arguments after the sizes.
        """
        (x, y), other = program.ends(self), program.tensors[self.inputs[1]]
        addresses = [source.addresses[x.name], source.addresses.get(other.name, ""), source.addresses[y.name]]
        if self.weight is not None:
            addresses[1] = source.array("int8_t", f"constant{number}", self.weight)
        kernel = f"aed_{self.kind}"
        if self.weight is not None or _repeats(other.shape, y.shape):
            return [f"{kernel}({', '.join(addresses)}, {y.size}, {other.size}, {numbers});"]
        count, period = _parts(other.shape, y.shape)
        size, turn = y.size // count, other.size // period
        turned = "part" if turn == count else f"part % {turn}"
        steps = [f"part * {size}", f"{turned} * {period}", f"part * {size}"]
        arguments = ", ".join(f"{address} + {step}" for address, step in zip(addresses, steps, strict=True))
        return [
            f"for (int32_t part = 0; part < {count}; ++part) {{",
            f"    {kernel}({arguments}, {size}, {period}, {numbers});",
            "}",
        ]


@dataclass(frozen=True, kw_only=True)
class Add(Elementwise):
    """A sum."""

    kind: ClassVar[str] = "add"

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; one factor per input."""
        (x, y), other = program.ends(self), program.tensors[self.inputs[1]]
        factors = f"{c_float(x.scale / y.scale)}, {c_float(other.scale / y.scale)}"
        zeros = f"{x.zero}, {other.zero}, {y.zero}"
        return self.calls(source, number, program, f"{factors}, {zeros}")


@dataclass(frozen=True, kw_only=True)
class Multiply(Elementwise):
    """A product."""

    kind: ClassVar[str] = "multiply"

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; one factor."""
        (x, y), other = program.ends(self), program.tensors[self.inputs[1]]
        factor = c_float(x.scale * other.scale / y.scale)
        zeros = f"{x.zero}, {other.zero}, {y.zero}"
        return self.calls(source, number, program, f"{factor}, {zeros}")


def _add(walk: Walk, node: onnx.NodeProto) -> None:
    _append(walk, node, Add)


def _multiply(walk: Walk, node: onnx.NodeProto) -> None:
    _append(walk, node, Multiply)


def _append(walk: Walk, node: onnx.NodeProto, layer: type[Elementwise]) -> None:
    constants = [walk.constant(node, index) for index in (0, 1)]
    index = next((index for index in (0, 1) if constants[index] is not None), None)
    if index is None:
        _append_both(walk, node, layer)
        return
    x, y, values = walk.input(node, 1 - index), walk.output(node), constants[index]
    assert values is not None
    if x.shape != y.shape:
        raise walk.refusal(node, "only of equal shapes")
    if values.size == 1:
        del walk.program.tensors[walk.constant_name(node, index)]
        append_function(walk, node, {1 - index: x}, y)
        return
    if index == 0 and layer is Add:
        raise walk.refusal(node, "the constant comes first: the last bit then depends on a layout; swap the inputs")
    weight = by_channel(walk, node, values, x)
    if x.name in walk.order:
        weight = weight[walk.order[x.name]]
        walk.order[y.name] = walk.order[x.name]
    walk.program.layers.append(
        layer(
            name=node.name,
            inputs=(x.name, walk.constant_name(node, index)),
            output=y.name,
            weight=np.ascontiguousarray(weight),
        )
    )


def by_channel(walk: Walk, node: onnx.NodeProto, values: npt.NDArray[np.int8], x: Tensor) -> Int8:
    """A constant as ``(channels,)``.

    Raises:
        AedError: It has another shape.
    """
    rank = len(walk.shapes[node.output[0]])
    shape = (1,) * (rank - values.ndim) + values.shape
    if len(shape) != rank or shape != (1, x.shape[2], *[1] * (rank - 2)):
        raise walk.refusal(node, f"its constant has the shape {values.shape}; only one value, or one per channel")
    return values.reshape(-1)


def _append_both(walk: Walk, node: onnx.NodeProto, layer: type[Elementwise]) -> None:
    x, other, y = walk.input(node, 0), walk.input(node, 1), walk.output(node)
    if x.shape == other.shape == y.shape and append_function(walk, node, {0: x, 1: other}, y):
        return
    if layer is Multiply and x.shape != y.shape:  # exact, and so in either order
        x, other = other, x
    if x.shape != y.shape or any(size not in (1, whole) for size, whole in zip(other.shape, y.shape, strict=True)):
        raise walk.refusal(node, "only of equal shapes, or of an image and then a part of it to repeat")
    orders = [walk.order.get(tensor.name) for tensor in (x, other)]
    if orders[0] is not None and orders[1] is not None and np.array_equal(orders[0], orders[1]):
        walk.order[y.name] = orders[0]
    elif orders != [None, None]:
        raise walk.refusal(node, "only of vectors that are flattened alike")
    walk.program.layers.append(layer(name=node.name, inputs=(x.name, other.name), output=y.name))


def _repeats(part: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether ``part``, again and again, has the shape ``whole``: all of it, a row, a pixel or one value."""
    return any(part == (1,) * axis + whole[axis:] for axis in range(len(whole) + 1))


def _parts(part: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, int]:
    """Pieces of ``whole`` in which so many values of ``part`` repeat, the largest there are: their number, the values.

    Pieces of whole rows have a pixel or a value of ``part`` each, pieces of one pixel have a value.
    """
    height, width, channels = whole
    if part[1] == 1:
        return height, channels if part[2] == channels else 1
    return height * width, 1


LOWERINGS: dict[str, Lowering] = {"Add": _add, "Mul": _multiply}
