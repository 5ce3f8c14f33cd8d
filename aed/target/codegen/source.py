"""The parts of ``aed_net.c`` that layers fill: constants, addresses of tensors, scratch memory."""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from aed.target.codegen.text import c_float, c_lines


class Source:
    """Collects the definitions that the calls of kernels refer to.

    ``addresses``: tensor name -> C expression of the address that the layer being written finds it at.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.constants: list[str] = []
        self.scratch_bytes = 0

    def array(self, kind: str, name: str, values: npt.NDArray[Any]) -> str:
        """Defines a constant array of the C type ``kind`` and returns its name."""
        flat = values.ravel()
        text = [c_float(value) for value in flat] if flat.dtype.kind == "f" else [str(value) for value in flat.tolist()]
        align = "\n    __attribute__((aligned(4)))" if kind == "int8_t" else ""
        self.constants.append(f"static const {kind} {name}[{len(text)}]{align} = {{\n{c_lines(text)}\n}};\n")
        return name

    def struct(self, kind: str, name: str, fields: Sequence[str]) -> str:
        """Defines a constant struct of the C type ``kind`` and returns its name; ``fields``: ``.in_h = 3``."""
        inside = "".join(f"    {field},\n" for field in fields)
        self.constants.append(f"static const {kind} {name} = {{\n{inside}}};\n")
        return name

    def need_scratch(self, size: int) -> None:
        """Reserves at least ``size`` bytes, which a kernel gets as ``scratch``."""
        self.scratch_bytes = max(self.scratch_bytes, size)
