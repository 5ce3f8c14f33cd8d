"""Layers that slide a window over an image: their geometry as fields of C structs, and the overlap they allow."""

from dataclasses import dataclass
from typing import Any, ClassVar

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

    row: ClassVar[str]
    """The C function that computes a row of the output."""

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

    def window(self, x: Tensor, y: Tensor) -> str:
        """The field ``window`` of the layer's struct, an ``aed_window_t``."""
        sizes = [
            f".in_h = {x.shape[0]}, .in_w = {x.shape[1]}, .in_c = {x.shape[2]}",
            f".out_h = {y.shape[0]}, .out_w = {y.shape[1]}, .out_c = {y.shape[2]}",
            f".k_h = {self.kernel[0]}, .k_w = {self.kernel[1]}",
            f".stride_h = {self.stride[0]}, .stride_w = {self.stride[1]}",
            f".pad_top = {self.pad[0]}, .pad_left = {self.pad[1]}",
            f".dilation_h = {self.dilation[0]}, .dilation_w = {self.dilation[1]}",
            f".in_zero = {x.zero}, .out_zero = {y.zero}",
        ]
        return ".window = {\n" + "".join(f"        {line},\n" for line in sizes) + "    }"

    def row_call(self, source: Source, layer: str, *, mve: int = 0, others: int = 0, mve_row: str | None = None) -> str:
        """C statement that makes a row of the output.

        Args:
            source: Keeps the size of the scratch memory.
            layer: Name of the layer's struct.
            mve: Bytes of scratch memory that a row needs on cores with MVE.
            others: Those on all others.
            mve_row: The function for cores with MVE; None: that for all.
        """
        source.need_scratch(mve=mve, others=others)
        row = self.row if mve_row in (None, self.row) else f"AED_ROW({mve_row}, {self.row})"
        return f"{row}(rows, out, &{layer}, scratch);"


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
