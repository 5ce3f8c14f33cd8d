"""What the manifests of a library say of it, and its texts as their formats can hold them."""

import re
from dataclasses import dataclass
from typing import Literal

import aed

FormatKind = Literal["cmake", "zephyr", "arduino", "platformio", "cmsis", "all"]

FORMATS: tuple[FormatKind, ...] = ("cmake", "zephyr", "arduino", "platformio", "cmsis", "all")

PURPOSE = "Recognises sounds on a microcontroller"

LONGEST = 255
"""Characters of a description: as many as the strictest of the formats takes."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A library that is written.

    Args:
        prefix: Of its names in C; also its own name.
        class_names: Data: whatever a user called them.
        url: Of the project it belongs to.
        headers: Where the headers lie: ``include`` or ``src``.
        public: Names of the headers for programs, sorted.
        streams: Whether it takes samples; else patches.
        files: Paths of all its files, sorted.
    """

    prefix: str
    class_names: tuple[str, ...]
    url: str
    headers: str
    public: tuple[str, ...]
    streams: bool
    files: tuple[str, ...]

    @property
    def name(self) -> str:
        """Lower case, with dashes: a name that PlatformIO and CMSIS-Pack take."""
        return self.prefix.lower().replace("_", "-")

    def inside(self, folder: str, end: str = "") -> tuple[str, ...]:
        """Paths of its files in a folder whose names end so."""
        return tuple(path for path in self.files if path.startswith(f"{folder}/") and path.endswith(end))

    @property
    def description(self) -> str:
        """One line: what it recognises."""
        return shortened(f"{PURPOSE}. {self.classes}")

    @property
    def classes(self) -> str:
        """One line: the names of the classes."""
        return shortened(f"Classes: {', '.join(self.class_names)}")


def version() -> str:
    """The version of this project as Semantic Versioning writes it: ``1.2.0``, ``1.2.0-rc1``.

    Raises:
        ValueError: It has no three numbers.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?[.-]?([0-9A-Za-z.]*)", aed.__version__)
    if found is None:
        raise ValueError(f"version {aed.__version__!r}")
    major, minor, patch, rest = found.groups()
    return f"{major}.{minor}.{patch or 0}" + (f"-{rest}" if rest else "")


def shortened(text: str) -> str:
    """A text as one line of at most :data:`LONGEST` characters that every format can hold: no control characters."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= LONGEST else line[: LONGEST - 3].rstrip() + "..."
