"""Settings as overrides of the command line: those that an error message names can be pasted into a shell."""

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

_NOTHING = object()


def quoted(value: str, has_references: bool = False) -> str:
    """``value`` quoted so that Hydra's command line reads it back unchanged.

    OmegaConf reads ``${`` as a reference and backslashes before it as escapes; Hydra reads backslashes before a quote
    as escapes.

    Args:
        value: Any text.
        has_references: Whether ``${`` in it is meant as a reference.
    """
    escaped = value if has_references else re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", escaped)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


def override(key: str, value: Any) -> str:
    """``key=value``, quoted for a shell and for Hydra: ``frontend.sample_bits=null``.

    Args:
        key: Dotted name.
        value: A number, string, bool or None, or a list or dict of them.
    """
    text = f"{key}={in_hydra(value)}"
    in_double = "'" in text and not re.search(r'["$`!\\]', text)
    return f'"{text}"' if in_double else shlex.quote(text)


def in_hydra(value: Any) -> str:
    """A value in the grammar of Hydra: ``null``, ``[a,b]``, ``{a:1}``."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{in_hydra(own)}" for key, own in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(in_hydra, value)) + "]"
    if not isinstance(value, str):
        return repr(value)
    is_plain = re.fullmatch(r"[A-Za-z_/.][\w./-]*", value, re.ASCII)
    reserved = value.lower() in ("null", "true", "false", "nan", "inf", "yes", "no", "on", "off")
    return value if is_plain and not reserved else quoted(value)


def differing(theirs: Mapping[str, Any], ours: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The overrides that turn ``ours`` into ``theirs``: the keys in which they differ, with the values of ``theirs``.

    Args:
        theirs: Wanted values.
        ours: Present values.
        prefix: Put before each key.
    """
    return [override(f"{prefix}{key}", value) for key, value in theirs.items() if ours.get(key, _NOTHING) != value]


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """Up to three of ``known`` that ``word`` may be a misspelling of, the likeliest first.

    Names that contain ``word`` between underscores come last.

    Args:
        word: As typed.
        known: Names that there are.
        cutoff: Least likeness, 0 to 1.
    """
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), by_lower, n=3, cutoff=cutoff)
    parts = [name for name in by_lower if word.lower() in name.split("_")]
    return [by_lower[name] for name in dict.fromkeys([*close, *parts])][:3]
