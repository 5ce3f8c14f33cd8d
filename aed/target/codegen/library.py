"""C that is compiled beside what is generated."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Library:
    """Files to compile, with options.

    Args:
        units: C files.
        options: For the compiler.
    """

    units: tuple[Path, ...]
    options: tuple[str, ...]
