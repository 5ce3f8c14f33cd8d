"""Add and Mul: of two activations of which one may be a part of the other's shape, or of one and a constant."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx

from aed.target.codegen.operators.activation import append_function
from aed.target.codegen.program import Int8, Layer, Program, Rows, Tensor
from aed.target.codegen.source import Source
from aed.target.codegen.text import c_float
from aed.target.codegen.walk import Lowering, Walk
from aed.target.codegen.whole import whole_product, whole_sum


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

    each: ClassVar[float]
    """Instructions of a value."""

    def instructions(self, program: Program, pixels: int) -> float:
        """The same for each value."""
        return self.each * pixels * program.tensors[self.output].shape[2]

    def macc(self, program: Program) -> int:
        """Of a constant: one a value."""
        height, width, _ = program.tensors[self.output].shape
        return 0 if self.weight is None else int(height * width * self.weight.size)

    def rows(self, index: int, program: Program) -> Rows | None:
        """A row each; of a second input that is one row itself, that one again and again."""
        height = program.tensors[self.output].shape[0]
        return Rows() if program.tensors[self.inputs[index]].shape[0] == height else None

    def is_pixelwise(self, program: Program) -> bool:
        """Where the second input, if it is smaller, is the same in all rows."""
        x, other = (program.tensors[name].shape for name in self.inputs)
        return self.weight is not None or x == other or other[0] == 1

    def calls(self, source: Source, number: int, program: Program, numbers: str, whole: str | None) -> list[str]:
        """C statements for a row: one call where the kernel itself repeats the second input, else one for each pixel.

        Args:
            source: Collects a constant second input.
            number: Of the layer.
            program: Holds the tensors.
            numbers: Arguments after the sizes.
            whole: Those of the kernel of whole numbers; None: it would give other outputs.
        """
        (x, y), other = program.ends(self), program.tensors[self.inputs[1]]
        if self.weight is None:
            second, (wide, deep) = source.addresses[other.name], other.shape[1:]
        else:
            second, (wide, deep) = source.array("int8_t", f"constant{number}", self.weight), (1, self.weight.size)
        first, out = source.addresses[x.name], source.addresses[y.name]
        width, channels = y.shape[1:]

        def statement(ends: str) -> str:
            kernel = f"aed_{self.kind}({ends}, {numbers})"
            return f"{kernel};" if whole is None else f"AED_WHOLE({kernel}, aed_{self.kind}_whole({ends}, {whole}));"

        if deep == channels or wide == 1:
            return [statement(f"{first}, {second}, {out}, {width * channels}, {wide * deep}")]
        place, step = "x" if wide == width else f"x % {wide}", f"x * {channels}"
        return [
            f"for (int32_t x = 0; x < {width}; ++x) {{",
            f"    {statement(f'{first} + {step}, {second} + {place}, {out} + {step}, {channels}, 1')}",
            "}",
        ]


@dataclass(frozen=True, kw_only=True)
class Add(Elementwise):
    """A sum."""

    kind: ClassVar[str] = "add"
    each: ClassVar[float] = 6.2

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; one factor per input."""
        (x, y), other = program.ends(self), program.tensors[self.inputs[1]]
        factors, zeros = (x.scale / y.scale, other.scale / y.scale), (x.zero, other.zero, y.zero)
        found = whole_sum(*map(float, factors), *zeros)
        numbers = [*map(c_float, factors), *map(str, zeros)]
        return self.calls(source, number, program, ", ".join(numbers), found and ", ".join(map(str, found)))


@dataclass(frozen=True, kw_only=True)
class Multiply(Elementwise):
    """A product."""

    kind: ClassVar[str] = "multiply"
    each: ClassVar[float] = 5.2

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statements that call the kernel; one factor."""
        (x, y), other = program.ends(self), program.tensors[self.inputs[1]]
        factor = x.scale * other.scale / y.scale
        numbers = f"{c_float(factor)}, {x.zero}, {other.zero}, {y.zero}"
        found = whole_product(float(factor), x.zero, other.zero, y.zero)
        is_repeated = other.size < y.size and other.shape[2] == y.shape[2]
        scratch = "scratch" if found and is_repeated else "NULL"
        if scratch != "NULL":
            source.need_scratch(mve=0, others=4 * other.shape[1] * other.shape[2])
        whole = found and f"{found[0]}, {found[1]}, {x.zero}, {other.zero}, {scratch}"
        return self.calls(source, number, program, numbers, whole)


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


LOWERINGS: dict[str, Lowering] = {"Add": _add, "Mul": _multiply}
