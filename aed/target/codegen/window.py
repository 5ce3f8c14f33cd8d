"""Layers that slide a window over an image: their geometry as fields of C structs, and the overlap they allow."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from aed.target.codegen.program import Layer, Program, Rows, Tensor, aligned
from aed.target.codegen.source import Source

POINTER = 8
"""Bytes of a pointer, at most."""


@dataclass(frozen=True, kw_only=True)
class WindowLayer(Layer):
    """A layer whose output rows need only some rows of the input.

    Args:
        kernel: Height and width.
        stride: Down and across.
        pad: Top and left.
        dilation: Down and across.
    """

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def rows(self, index: int, program: Program) -> Rows:
        """Those under the window."""
        return Rows(self.kernel[0], self.stride[0], self.pad[0], self.dilation[0])

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Enough that no output row overwrites an input row that it or a later row needs."""
        height, width, channels = y.shape
        row = x.shape[1] * x.shape[2]
        least = 0
        for down in range(height):
            first = max(0, down * self.stride[0] - self.pad[0])
            if first >= x.shape[0]:  # padding alone
                break
            least = max(least, (down + 1) * width * channels - first * row)
        return aligned(least)

    def looks_outside(self, x: Tensor, y: Tensor) -> bool:
        """Whether a window of the output ``y`` looks past the image ``x``, on any side."""
        ends = (
            (size - 1) * step + (taps - 1) * apart
            for size, step, taps, apart in zip(y.shape, self.stride, self.kernel, self.dilation, strict=False)
        )
        return self.pad != (0, 0) or any(end >= size for end, size in zip(ends, x.shape, strict=False))

    def edges(self, x: Tensor, y: Tensor) -> int:
        """Pixels of a row of ``y`` whose windows look past the left or right end of ``x``."""
        last = x.shape[1] - 1 - (self.kernel[1] - 1) * self.dilation[1]
        starts = (column * self.stride[1] - self.pad[1] for column in range(y.shape[1]))
        return sum(not 0 <= start <= last for start in starts)

    def window(self, x: Tensor, y: Tensor) -> str:
        """The field ``window`` of the layer's struct, an ``aed_window_t``."""
        sizes = [
            f".in_w = {x.shape[1]}, .in_c = {x.shape[2]}, .out_w = {y.shape[1]}, .out_c = {y.shape[2]}",
            f".k_h = {self.kernel[0]}, .k_w = {self.kernel[1]}",
            f".stride_w = {self.stride[1]}, .pad_left = {self.pad[1]}, .dilation_w = {self.dilation[1]}",
            f".in_zero = {x.zero}, .out_zero = {y.zero}",
        ]
        return ".window = {\n" + "".join(f"        {line},\n" for line in sizes) + "    }"

    @abstractmethod
    def kernel_of_rows(self, source: Source, number: int, program: Program) -> tuple[str, str]:
        """The C function that makes a row of the output, and the name of the struct that tells it of the layer.

        Args:
            source: Collects the constants, and the size of the scratch memory.
            number: Index of the layer, part of the names of its constants.
            program: Holds the tensors; of a layer that is pixelwise as for :meth:`call`.
        """

    def call(self, source: Source, number: int, program: Program) -> list[str]:
        """C statement that makes a row of the output."""
        function, layer = self.kernel_of_rows(source, number, program)
        return [f"{function}(rows, out, &{layer}, scratch);"]


def row_function(mve: str, others: str) -> str:
    """The C function of a row: one for cores with MVE and one for all others."""
    return mve if mve == others else f"AED_ROW({mve}, {others})"


def window_of(facts: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Stride, padding and dilation of an ONNX node, as arguments of a :class:`WindowLayer`.

    Args:
        facts: Attributes of the node; padding is explicit.
    """
    return {
        "stride": pair(facts.get("strides", [1, 1])),
        "pad": pair(facts.get("pads", [0, 0])),
        "dilation": pair(facts.get("dilations", [1, 1])),
    }


def is_explicit(facts: dict[str, Any]) -> bool:
    """Whether the padding of a node consists of numbers, not of a rule."""
    return facts.get("auto_pad", b"NOTSET") in (b"NOTSET", b"VALID")


def pair(values: Any) -> tuple[int, int]:
    """The first two of ``values``, as whole numbers."""
    return int(values[0]), int(values[1])
