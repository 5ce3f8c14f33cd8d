"""The parts of ``aed_net.c`` that layers fill: constants, addresses of tensors, scratch memory.

Cores with MVE want their weights in another order than all others, and other scratch memory: the text holds both, and
the macro ``AED_MVE`` of ``aed_kernels.h`` chooses. One text so serves all cores.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.target.codegen.text import c_float, c_lines


class Source:
    """Collects the definitions that the calls of kernels refer to.

    ``addresses``: tensor name -> C expression of the address that the layer being written finds it at.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.constants: list[str] = []
        self._scratch = {"mve": 0, "others": 0}

    def array(self, kind: str, name: str, values: npt.NDArray[Any], *, mve: bool = True) -> str:
        """Defines a constant array of the C type ``kind`` and returns its name; ``mve``: cores with MVE want it too."""
        text = _array(kind, name, values)
        self.constants.append(text if mve else chosen("", text))
        return name

    def numbers(self, kind: str, name: str, values: npt.NDArray[Any], words: npt.NDArray[np.int32]) -> str:
        """Defines a constant array of cores without MVE, and returns its name.

        Args:
            kind: C type.
            name: Of the array.
            values: Its values.
            words: int32 that cores with SMLAD have instead.
        """
        texts = [_array("int32_t", name, words), _array(kind, name, values)]
        self.constants.append(chosen("", f"#if AED_SMLAD\n{texts[0]}#else\n{texts[1]}#endif\n"))
        return name

    def weights(self, name: str, *, mve: npt.NDArray[Any], others: npt.NDArray[Any]) -> str:
        """Defines a constant array in two orders, int8 or int16, and returns its name.

        Args:
            name: Of the array.
            mve: For cores with MVE.
            others: For all others.
        """
        texts = [_array(f"{values.dtype}_t", name, values) for values in (mve, others)]
        self.constants.append(chosen(*texts))
        return name

    def struct(
        self, kind: str, name: str, fields: Sequence[str], *, mve: Sequence[str] = (), others: Sequence[str] = ()
    ) -> str:
        """Defines a constant struct and returns its name.

        Args:
            kind: C type.
            name: Of the struct.
            fields: ``.in_h = 3``.
            mve: Fields that only cores with MVE have.
            others: Fields that all others have.
        """
        same, *both = ("".join(f"    {field},\n" for field in part) for part in (fields, mve, others))
        self.constants.append(f"static const {kind} {name} = {{\n{same}{chosen(*both)}}};\n")
        return name

    def need_scratch(self, *, mve: int, others: int) -> None:
        """Reserves at least so many bytes, on cores with MVE and on all others, which a kernel gets as ``scratch``."""
        self._scratch = {"mve": max(self._scratch["mve"], mve, 1), "others": max(self._scratch["others"], others, 1)}

    @property
    def scratch_words(self) -> dict[str, int]:
        """Words of 64 bits of the scratch memory: aligned for all that kernels keep; ``mve`` and ``others``."""
        return {core: -(-size // 8) for core, size in self._scratch.items()}


def _array(kind: str, name: str, values: npt.NDArray[Any]) -> str:
    flat = values.ravel()
    text = [c_float(value) for value in flat] if flat.dtype.kind == "f" else [str(value) for value in flat.tolist()]
    align = "\n    __attribute__((aligned(4)))" if kind in ("int8_t", "int16_t") else ""  # read as words
    return f"static const {kind} {name}[{len(text)}]{align} = {{\n{c_lines(text)}\n}};\n"


def chosen(mve: str, others: str) -> str:
    """Definitions of which the compiler sees those for its core."""
    if mve == others:
        return mve
    return f"#if AED_MVE\n{mve}#else\n{others}#endif\n" if mve else f"#if !AED_MVE\n{others}#endif\n"
