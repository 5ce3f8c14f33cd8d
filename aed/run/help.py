"""Help of the verbs and their keys as text; imports nothing but the standard library.

The doors' docstrings say what a verb is for, with examples. ``keys.json``, which :mod:`aed.run.reference` writes, has
an entry for each key of each verb:

- ``key``, ``type``, ``meaning``; ``default`` as one types it, where there is one; ``choices``.
- ``with``: the options of a group, ``data=folder``, that bring the key, where not all do.
- ``options`` (of a group of files or classes): name -> description.
- ``defaults``: option of a group -> the default that it brings instead.
- ``file``: what gives it another default than the signature; ``experiments``: name -> value that it has there.
- ``library``: whose class it is a parameter of, where it is not ours.
"""

import ast
import functools
import inspect
import io
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aed.base.errors import AedError
from aed.base.overrides import nearest

KEYS = Path(__file__).with_name("keys.json")
_DOORS = Path(__file__).parents[1]
_ORDER = (
    "data",
    "train",
    "evaluate",
    "predict",
    "benchmark",
    "deploy",
    "models",
    "import_keras",
    "doctor",
    "cli",
    "help",
)
"""The way from recordings to a board; further verbs come after it."""

OPTIONS = (
    ("-m", "A run for each combination of values separated by commas: seed=0,1,2"),
    ("--cfg job", "Print the composed configuration instead of running"),
    ("--hydra-help", "Options of Hydra, which reads the keys"),
)
"""Of each verb that has keys."""


@dataclass(frozen=True)
class Door:
    """Docstring of a verb's door.

    Args:
        summary: First line.
        text: Further paragraphs.
        usage: Lines that show the command.
        examples: Commands and what each does.
    """

    summary: str
    text: str
    usage: tuple[str, ...]
    examples: tuple[tuple[str, str], ...]


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for the page of its verb."""
    return not {"--help", "-h"}.isdisjoint(arguments)


def show(text: str) -> None:
    """Prints a page, also where the reader of a pipe ends early or the output's encoding lacks a character."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def verbs() -> list[str]:
    """The names of all verbs."""
    names = {path.stem for path in _DOORS.glob("*.py") if not path.stem.startswith("_")}
    return [*(name for name in _ORDER if name in names), *sorted(names.difference(_ORDER))]


def door(verb: str) -> Door:
    """What the docstring of a verb's door says."""
    source = (_DOORS / f"{verb}.py").read_text(encoding="utf-8")
    first, *blocks = inspect.cleandoc(ast.get_docstring(ast.parse(source)) or "").split("\n\n")
    sections = {"Usage": "", "Examples": ""}
    texts = []
    for block in blocks:
        title, _, rest = block.partition(":\n")
        if title in sections:
            sections[title] = textwrap.dedent(rest)
        else:
            texts.append(" ".join(block.split()))
    examples = re.findall(r"^(\S.*)\n((?:[ ]+.*\n?)*)", sections["Examples"], re.MULTILINE)
    return Door(
        " ".join(first.split()),
        "\n\n".join(texts),
        tuple(sections["Usage"].splitlines()),
        tuple((command, " ".join(text.split())) for command, text in examples),
    )


@functools.cache
def content() -> dict[str, Any]:
    """What ``keys.json`` holds."""
    loaded: dict[str, Any] = json.loads(KEYS.read_text(encoding="utf-8"))
    return loaded


def entries(verb: str) -> list[dict[str, Any]]:
    """The keys of a verb."""
    own: list[dict[str, Any]] = content()["verbs"].get(verb, [])
    return own


def overview() -> str:
    """The page of ``aed`` alone."""
    width = max(map(len, verbs()))
    lines = ["aed: from a folder of labelled sounds to a microcontroller that recognises them", ""]
    lines += ["  aed <verb> [key=value ...]", ""]
    for verb in verbs():
        lines += _wrapped(f"  {verb:<{width}}  {door(verb).summary}", width + 4)
    lines += [
        "",
        "  aed <verb> --help    the verb's examples and keys",
        "  aed help <key>       a key: aed help data.split",
    ]
    lines += ["", "Start with", "  aed train experiment=demo", "  aed doctor"]
    return "\n".join(lines)


def page(verb: str) -> str:
    """The page of a verb: purpose, examples, every key."""
    own, keys = door(verb), entries(verb)
    lines = [*_wrapped(f"aed {verb}: {own.summary[:1].lower()}{own.summary[1:]}", 2), ""]
    if own.text:
        lines += [*_wrapped(own.text, 0), ""]
    lines += [f"  {line}" for line in own.usage]
    lines += ["", "Examples"] if own.examples else []
    for command, text in own.examples:
        lines += [f"  {command}", *_wrapped(f"      {text}", 6)]
    if not keys:
        return "\n".join(lines)
    lines += ["", "Options"]
    lines += [f"  {option:<14}{text}" for option, text in OPTIONS]
    for section, own_keys in sections(keys).items():
        lines += ["", section]
        for entry in own_keys:
            lines += _entry(entry)
    return "\n".join([*lines, "", "aed help <key> says which of these verbs take it and what the experiments set."])


def sections(keys: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Title -> keys: what chooses files first, then by the part before the last dot."""
    found: dict[str, list[dict[str, Any]]] = {"Choices of files and classes": [], "Keys": []}
    for entry in keys:
        prefix = entry["key"].rpartition(".")[0]
        title = "Choices of files and classes" if "options" in entry else f"Keys {prefix}.*" if prefix else "Keys"
        found.setdefault(title, []).append(entry)
    # what is not ours comes last
    return {title: own for title, own in sorted(found.items(), key=lambda item: _is_foreign(item[1])) if own}


def _is_foreign(keys: Sequence[dict[str, Any]]) -> bool:
    return any("library" in entry or entry["key"].startswith("hydra.") for entry in keys)


def _entry(entry: dict[str, Any]) -> Iterator[str]:
    """Lines of a key on a page."""
    yield from _wrapped(f"  {_head(entry)}", 6)
    yield from _wrapped(f"      {entry['meaning']}", 6)
    if options := entry.get("options"):
        if entry["key"] == "experiment":
            width = max(map(len, options))
            for name, text in options.items():
                yield from _wrapped(f"        {name:<{width}}  {text}".rstrip(), width + 10)
        else:
            yield from _wrapped(f"      {', '.join(options)}", 6)
    if "with" in entry:
        yield from _wrapped(f"      only with {with_options(entry['with'])}", 6)
    for default, options in other_defaults(entry).items():
        yield from _wrapped(f"      {default} with {with_options(options)}", 6)


def other_defaults(entry: dict[str, Any]) -> dict[str, list[str]]:
    """Default -> the options of a group that bring it."""
    found: dict[str, list[str]] = {}
    for option, default in entry.get("defaults", {}).items():
        found.setdefault("required" if default is None else default, []).append(option)
    return found


def with_options(options: Sequence[str]) -> str:
    """``data=folder, esc10``."""
    group = options[0].partition("=")[0]
    return f"{group}={', '.join(option.partition('=')[2] for option in options)}"


def _head(entry: dict[str, Any]) -> str:
    """``key=default`` and the type or choices."""
    kind = ", ".join(entry["choices"]) if "choices" in entry else entry["type"]
    kind = "" if "options" in entry or kind == "any" else f"  ({kind})"
    return f"{entry['key']}={entry['default']}{kind}" if "default" in entry else f"{entry['key']}=...{kind}  required"


def _width() -> int:
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))


def _wrapped(text: str, indent: int) -> list[str]:
    start = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.lstrip(),
        _width(),
        initial_indent=start,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def explain(word: str) -> str:
    """What a verb or a key is, all verbs that take it together.

    Args:
        word: A verb; a key, with ``=`` where a verb has its name; the end of a key (``lr``); the start of several
            (``data.clips``).

    Raises:
        AedError: Names the nearest.
    """
    known = {entry["key"] for verb in content()["verbs"] for entry in entries(verb)}
    if word in verbs():
        return page(word) + (f"\n\naed help {word}= explains the key {word}." if word in known else "")
    wanted = word.partition("=")[0].lstrip("+~").rstrip(".*")
    exact = [key for key in known if key.replace("/", ".") == wanted.replace("/", ".")]
    inside = [key for key in known if key.startswith(f"{wanted}.")]
    names = sorted(exact or [key for key in known if key.endswith(f".{wanted}")] or inside)
    if not names:
        ends = {key.rpartition(".")[2]: key for key in sorted(known, reverse=True)}
        near = nearest(wanted, [*known, *verbs()]) or [ends[end] for end in nearest(wanted.rpartition(".")[2], ends)]
        raise AedError(
            f"{word}: no verb or key; did you mean aed help {near[0]}?" if near else f"{word}: no verb or key"
        )
    blocks = ["\n".join(_explained(name)) for name in names]
    if exact and inside:
        blocks.append("\n".join(_wrapped(f"Keys below it: {', '.join(sorted(inside))}", 2)))
    return "\n\n".join(blocks)


def _explained(name: str) -> Iterator[str]:
    """Lines about a key of that name."""
    found = [(verb, entry) for verb in verbs() for entry in entries(verb) if entry["key"] == name]
    seen: list[dict[str, Any]] = []
    for _, entry in found:
        if entry in seen:
            continue
        seen.append(entry)
        takers = [verb for verb, other in found if other == entry]
        yield from _wrapped(_head(entry), 4)
        yield from _wrapped(f"    {entry['meaning']}", 4)
        for option, text in entry.get("options", {}).items():
            yield from _wrapped(f"      {option}: {text}" if text else f"      {option}", 8)
        if "with" in entry:
            yield from _wrapped(f"    only with {with_options(entry['with'])}", 4)
        for default, options in other_defaults(entry).items():
            yield from _wrapped(f"    default {default} with {with_options(options)}", 6)
        if "file" in entry:
            yield f"    default from {entry['file']}"
        if own := entry.get("experiments"):
            yield from _wrapped("    experiments: " + ", ".join(f"{key} {value}" for key, value in own.items()), 6)
        yield f"    taken by: {', '.join(f'aed {verb}' for verb in dict.fromkeys(takers))}"
