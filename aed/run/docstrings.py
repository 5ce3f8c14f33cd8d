"""Explanations of parameters in docstrings of Google's style, and types of annotations, as plain text."""

import functools
import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Argument:
    """Explanation of a parameter.

    Args:
        type: As the docstring has it in brackets; empty where it has none.
        text: Its meaning.
    """

    type: str
    text: str


_SECTION = re.compile(r"^( *)(?:Args|Arguments):\s*$", re.MULTILINE)
_ENTRY = re.compile(r"\*{0,2}(\w+(?:, \w+)*)\s*(?:\((.*?)\))?\s*: *(.*)", re.DOTALL)


@functools.cache
def type_hints(target: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters of a class or function; empty where they cannot be resolved."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except NameError:  # types that a library imports for type checkers only, as some of torch's schedules
        return {}


@functools.cache
def arguments(target: Callable[..., Any]) -> dict[str, Argument]:
    """The parameters that the docstrings of a class, of its ``__init__`` and of its bases, or of a function explain."""
    sources: list[Any] = [target]
    if inspect.isclass(target):
        sources = [source for base in reversed(target.__mro__[:-1]) for source in (base, vars(base).get("__init__"))]
    found: dict[str, Argument] = {}
    for source in sources:
        found |= _explained(inspect.cleandoc(getattr(source, "__doc__", None) or ""))
    return found


def _explained(text: str) -> dict[str, Argument]:
    section = _SECTION.search(text)
    if not section:
        return {}
    outer, lines = len(section[1]), text[section.end() :].strip("\n").split("\n")
    inner = min((_indent(line) for line in lines[:1] if line.strip()), default=outer)
    blocks: list[list[str]] = []
    for line in lines:
        if line.strip() and _indent(line) <= outer:
            break
        if line.strip() and _indent(line) == inner:
            blocks.append([line])
        elif blocks:
            blocks[-1].append(line)
    found: dict[str, Argument] = {}
    for block in blocks:
        words = " ".join(line.strip() for line in block).strip()
        if match := _ENTRY.match(words):
            found |= {name: Argument(_without_optional(match[2] or ""), match[3]) for name in match[1].split(", ")}
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _without_optional(text: str) -> str:
    return plain(re.sub(r",? *optional", "", text))


def plain(text: str) -> str:
    """Text of a docstring without marks of reStructuredText."""
    text = re.sub(r":\w+(?::\w+)?:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text)
    text = re.sub(r"`([^`<]+?)\s*<[^`]*>`_+", r"\1", text)
    text = re.sub(r"`{1,2}([^`]+)`{1,2}_*", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def first_sentence(text: str) -> str:
    """The first sentence, without the default, with a capital and a full stop; an initial ends none."""
    text = re.sub(r"\s*\([^()]*\bdefault\b[^()]*(?:\([^()]*\)[^()]*)*\)", "", plain(text), flags=re.IGNORECASE)
    text = re.sub(r"\.?\s*Defaults?(?: to)?: .*", "", text)
    sentence = re.split(r"(?<=[^.\d]\.)(?<!\b[A-Z]\.)\s+(?=[A-Z])", text.strip())[0].strip().rstrip(".")
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""


def type_text(annotation: Any) -> str:
    """The types of an annotation that can be typed on a command line."""
    if annotation is type(None):
        return "null"
    if annotation in (bool, int, float, str):
        return str(annotation.__name__)
    if annotation is Path:
        return "path"
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        # sorted: Python caches Unions, and int | float may come back as float | int
        names = {own for item in inner if (own := type_text(item))}
        return " or ".join(sorted(names, key=lambda name: (name == "null", name)))
    if origin is typing.Literal:
        return " or ".join(map(str, inner))
    if origin in (list, tuple) or annotation in (list, tuple):
        items = list(dict.fromkeys(own for item in inner if item is not Ellipsis and (own := type_text(item))))
        return f"list of {' or '.join(items)}" if items else "list"
    if origin is dict or annotation is dict:
        return "mapping"
    return ""
