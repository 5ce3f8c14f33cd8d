"""Values of a command line as Hydra's grammar reads them, quoted where it would take them for something else."""

import os
import re
from collections.abc import Set
from itertools import pairwise
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from aed.base.overrides import quoted

_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_QUOTED_ELEMENT = re.compile(rf"\s*(?:{_QUOTED.pattern})\s*(?=[,)\]}}]|$)", re.DOTALL)
_CLOSING = {")": "(", "]": "[", "}": "{"}


class Reader:
    """Reads values as Hydra does.

    Args:
        is_sweep: Whether commas separate values of a sweep.
    """

    def __init__(self, is_sweep: bool) -> None:
        self.is_sweep, self.parser = is_sweep, OverridesParser.create()

    def parsed(self, value: str) -> Override | None:
        """None where Hydra cannot read it."""
        try:
            return self.parser.parse_override(f"key={value}")
        except HydraException:
            return None

    def is_clear(self, key: str, value: str, texts: Set[str], lists: Set[str]) -> bool:
        """Whether Hydra reads a value right whatever type the key has; then nothing has to be composed.

        Args:
            key: With dots.
            value: As typed.
            texts: Last parts of keys that may be text.
            lists: Of those that may be lists of text.
        """
        name = key.rpartition(".")[2]
        override = self.parsed(value)
        if override is None or name in lists or key.startswith("hydra."):  # some of Hydra's names are anybody's
            return False
        is_plain = not override.is_sweep_override() and self._is_plain(override._value, value)
        return is_plain or name not in texts

    def text(self, value: str) -> str:
        """A text, quoted if necessary; with ``-m`` a sweep over the texts between commas."""
        override = self.parsed(value)
        if self.is_sweep and not _exists(value) and (override is None or override.is_sweep_override()):
            if override is not None and not getattr(override._value, "simple_form", False):
                return value  # range(1,3)
            if len(parts := _elements(value)) > 1:
                return ",".join(map(self._single, parts))
        return self._single(value)

    def _single(self, value: str) -> str:
        override = self.parsed(value)
        if override is not None and not override.is_sweep_override() and self._is_plain(override._value, value):
            return value
        return quoted(value, has_references=_has_references(value) and not _exists(value))

    def texts(self, value: str) -> str:
        """A list of texts; a single text stands for a list of it."""
        is_list = value.startswith("[") and value.endswith("]") and not _exists(value)
        elements = _elements(value[1:-1]) if is_list else []
        if elements and all(map(_QUOTED.fullmatch, elements)):  # thousands of recordings, as with_files gives them
            return value
        override = self.parsed(value)
        if override is not None and (override.is_sweep_override() or override._value is None):
            return value
        several = _elements(value) if self.is_sweep and is_list else []
        if len(several) > 1:  # lists
            return ",".join(map(self.texts, several))
        if is_list:
            return f"[{','.join(map(self._element, elements))}]"
        if override is not None and not isinstance(override._value, str | int | float | QuotedString):
            return value
        return value if value.startswith("${") or not value else f"[{self._element(value)}]"

    def _element(self, value: str) -> str:
        """A text of a list, where more marks have a meaning of their own."""
        quoted_value = self._single(value)
        return (
            quoted_value
            if quoted_value != value or re.fullmatch(r"[\w./-]+|'.*'|\".*\"", value, re.DOTALL)
            else quoted(value)
        )

    @staticmethod
    def _is_plain(parsed: Any, value: str) -> bool:
        """Whether Hydra reads what a text means: itself, the content of Hydra's quotes, or null."""
        if isinstance(parsed, QuotedString):
            return not _exists(value)
        return parsed is None or (type(parsed) in (str, int) and value == str(parsed))


def _elements(text: str) -> list[str]:
    """Parts between the commas that are not in quotes, nor in brackets or braces that are closed again."""
    bounds = [-1, *_separating(text), len(text)]
    elements = [text[before + 1 : after].strip() for before, after in pairwise(bounds)]
    return elements if elements[-1] else elements[:-1]


def _separating(text: str) -> list[int]:
    """Positions of those commas; a bracket without a partner means itself."""
    commas: list[int] = []
    opened: list[tuple[str, int]] = []
    position, may_be_quoted = 0, True
    while position < len(text):
        if may_be_quoted and (match := _QUOTED_ELEMENT.match(text, position)):
            position, may_be_quoted = match.end(), False
            continue
        mark = text[position]
        if mark == ",":
            commas.append(position)
        elif mark in _CLOSING.values():
            opened.append((mark, len(commas)))
        elif partners := [index for index, (other, _) in enumerate(opened) if other == _CLOSING.get(mark)]:
            del commas[opened[partners[-1]][1] :], opened[partners[-1] :]
        position, may_be_quoted = position + 1, mark in ",([{"
    return commas


def _exists(value: str) -> bool:
    """Whether a file or folder is called so, whatever its characters mean elsewhere."""
    return bool(value) and os.path.lexists(value)


def _has_references(value: str) -> bool:
    """Whether OmegaConf finds a reference in a text, ``${...}``."""
    try:
        return bool(OmegaConf.create({"key": value})._get_node("key")._is_interpolation())  # type: ignore[union-attr]
    except OmegaConfBaseException:
        return False
