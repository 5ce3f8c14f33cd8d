"""A tensor while a graph is assembled: its name in ONNX, and how its axes there are those of the file."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IMAGE, TURNED = (0, 3, 1, 2), (0, 3, 2, 1)
"""Layouts of an image: as it stands in the file, and with height and width changed for each other."""


@dataclass(frozen=True)
class Value:
    """A tensor that is computed.

    Args:
        name: Of its real values in ONNX.
        layout: Axis of the file for each axis in ONNX.
        shape: In the file.
        order: Of a vector that was an image: index in the file of each value in ONNX; None: the same.
        pads: Zeros around the image that the layer which reads it adds: top, left, bottom, right of ONNX's axes.
    """

    name: str
    layout: tuple[int, ...]
    shape: tuple[int, ...]
    order: npt.NDArray[np.int64] | None = None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    @property
    def is_turned(self) -> bool:
        """Whether height and width have changed places."""
        return self.layout == TURNED

    def indices(self) -> npt.NDArray[np.int64]:
        """Index in the file of each value in ONNX, flat."""
        if self.order is not None:
            return self.order
        return np.arange(int(np.prod(self.shape))).reshape(self.shape).transpose(self.layout).ravel()

    def sizes(self) -> list[int]:
        """The shape in ONNX."""
        return [self.shape[axis] for axis in self.layout]
