"""The program of a net: integer layers in order and the tensors between them, which the C generator writes down."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from aed.target.codegen.source import Source

ALIGNMENT = 4
"""Bytes: kernels load four int8 at once."""

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Float32 = npt.NDArray[np.float32]


def aligned(size: int) -> int:
    """``size`` in bytes, rounded up to a multiple of :data:`ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Tensor:
    """int8 values in memory.

    Args:
        name: Unique.
        shape: ``(height, width, channels)``; a vector is ``(1, 1, n)``.
        scale: Real value of one step.
        zero: Zero point: the step that stands for 0.
    """

    name: str
    shape: tuple[int, int, int]
    scale: np.float32
    zero: int

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape))

    def real(self, steps: Int8) -> Float32:
        """Real values of ``steps``, any shape."""
        values: Float32 = self.scale * (steps.astype(np.float32) - self.zero)
        return values


@dataclass(frozen=True)
class Rows:
    """Rows of an input for row ``y`` of an output: ``count`` from ``y * stride - pad`` on, ``dilation`` apart.

    Those outside the image are padding; a ``pad`` under 0 skips the first rows.
    """

    count: int = 1
    stride: int = 1
    pad: int = 0
    dilation: int = 1

    def last(self, y: int) -> int:
        """The last row for row ``y``."""
        return y * self.stride - self.pad + (self.count - 1) * self.dilation


@dataclass(frozen=True, kw_only=True)
class Layer(ABC):
    """One call of a C kernel; every operator in ``operators/`` has a subclass, whose arrays are its constants.

    Args:
        name: Of the ONNX node.
        inputs: Tensor names; in the methods, ``x`` is the first input and ``y`` the output.
        output: Tensor name.
    """

    kind: ClassVar[str]
    """The kernel's name, for reports."""

    name: str
    inputs: tuple[str, ...]
    output: str

    @abstractmethod
    def call(self, source: Source, number: int, program: "Program") -> list[str]:
        """C statements that make the output: all of it or, where :meth:`rows` says which inputs that takes, a row.

        Args:
            source: Collects the constants; has the addresses of tensors.
            number: Index of the layer, part of the names of its constants.
            program: Holds the tensors. Of a layer that is pixelwise they are flat: one row of the image, or all of its
                rows as a long one.
        """

    def rows(self, index: int, program: "Program") -> Rows | None:
        """Rows of an input for one row of the output; None: all, and at once.

        Args:
            index: Of the input.
            program: Holds the tensors.
        """
        return Rows() if self.is_pixelwise(program) else None

    def parts(self, program: "Program", every: int = 0, hop: int = 0) -> "tuple[tuple[Layer, ...], Tensor] | None":
        """Layers that do the same row by row, and the tensor between them; None: it is one of them already.

        Args:
            program: Holds the tensors.
            every: In a stream, rows of the input between two outputs; 0: one output, of a patch.
            hop: The same in rows of the program's input.
        """
        return None

    def is_pixelwise(self, program: "Program") -> bool:
        """Whether each pixel of the output is made of the pixels at its place: rows may then be joined or cut."""
        return False

    def overlap_offset(self, x: Tensor, y: Tensor) -> int | None:
        """Bytes by which input ``x`` must lie above output ``y`` that overwrites it; None: they may not overlap."""
        return None

    def macc(self, program: "Program") -> int:
        """Multiply-accumulates of one patch."""
        return 0

    def instructions(self, program: "Program", pixels: int) -> float:
        """Estimate, on a core with SMLAD, for a run that makes ``pixels`` pixels of the output.

        Here of values that are changed from one scale to another, one by one.
        """
        return 12.0 * pixels * program.tensors[self.output].shape[2]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants: weights, biases, factors, tables."""
        return sum(value.nbytes for value in self._constants())

    def _constants(self) -> Iterator[npt.NDArray[Any]]:
        values = (getattr(self, item.name) for item in fields(self))
        return (value for value in values if isinstance(value, np.ndarray))


@dataclass
class Program:
    """Layers in order, and the tensors between them.

    Args:
        layers: In order of execution.
        tensors: By name.
        input: Name of the tensor that the caller fills.
        output: Name of the tensor that the caller reads.
        views: Tensors that share another tensor's bytes: name -> name of that tensor.
        turned: Whether the rows of images are ONNX's columns.
        embedding: Name of the tensor that the last bytes of the output are a copy of; "": there is none.
    """

    layers: list[Layer] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    input: str = ""
    output: str = ""
    views: dict[str, str] = field(default_factory=dict)
    turned: bool = False
    embedding: str = ""

    @property
    def num_embedded(self) -> int:
        """Values of the embedding."""
        return self.tensors[self.embedding].size if self.embedding else 0

    def real(self, steps: Int8) -> Float32:
        """Outputs ``(N, size)`` as a classifier has them: real values and, of the embedding, steps from its zero on."""
        end, y = steps.shape[1] - self.num_embedded, self.tensors[self.output]
        if not self.embedding:
            return y.real(steps)
        embedding = steps[:, end:].astype(np.float32) - self.tensors[self.embedding].zero
        both: Float32 = np.concatenate([y.real(steps[:, :end]), embedding], axis=1)
        return both

    def images(self, steps: Int8) -> Int8:
        """Inputs ``(N, size)`` of the program as ONNX has them: ``(N, C, H, W)``."""
        images = steps.reshape(-1, *self.tensors[self.input].shape)
        return np.ascontiguousarray(images.transpose((0, 3, 2, 1) if self.turned else (0, 3, 1, 2)))

    def ends(self, layer: Layer) -> tuple[Tensor, Tensor]:
        """``x``, the first input of ``layer``, and ``y``, its output."""
        return self.tensors[layer.inputs[0]], self.tensors[layer.output]

    @property
    def macc(self) -> int:
        """Multiply-accumulates of one patch."""
        return sum(layer.macc(self) for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants of all layers."""
        return sum(layer.weight_bytes for layer in self.layers)
