"""C that is the same for every model: the files in ``c/``."""

from collections.abc import Iterable
from importlib.resources import files

EXACT = "aed_exact.h"
"""What makes floats the same with every compiler; each C file that has some includes it first."""


def fixed_sources(names: Iterable[str]) -> dict[str, str]:
    """File name -> content of some of them."""
    folder = files("aed.target.codegen") / "c"
    return {name: (folder / name).read_text(encoding="utf-8") for name in names}
