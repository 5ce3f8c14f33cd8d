"""The prefix of all names of a library: two libraries with prefixes of their own can be in one firmware.

The C is written, compiled and tested here with ``aed``; all files of a delivery are renamed here.
"""

import re

from aed.base.errors import AedError

DEFAULT = "aed"
"""The prefix that sources in this repository have."""

LONGEST = 31
"""Characters; C99 promises no more of a name to a linker, though all that are used today take more."""

_NAME = re.compile(r'(?P<text>(?<!#include )"(?:\\.|[^"\\\n])*")|((?<!\w)|(?<=-D))(?P<stem>aed|AED)(?=_|\b(?!\.\w))')
"""A string, which stays (a class may be called ``aed_x``), or the prefix of a name; ``aed deploy`` has none."""

_KEYWORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while alignas alignof and
asm bool catch class compl concept consteval constexpr constinit delete explicit export false friend mutable namespace
new noexcept not nullptr operator or private protected public requires template this throw true try typeid typename
using virtual xor main
"""
_TARGETS = "c m all clean edit_cache help install package package_source preinstall rebuild_cache test"
_RESERVED = frozenset((_KEYWORDS + _TARGETS).split())
"""Keywords of C and C++; names that CMake keeps for itself, for the prefix is its target's name too."""


def check_prefix(prefix: str, key: str = "c.prefix") -> None:
    """Refuses a text that cannot begin the names of a library.

    Args:
        prefix: Of all names.
        key: Of the configuration.

    Raises:
        AedError: It is no identifier of C, begins or ends with an underscore, is a keyword, or is too long.
    """
    if not isinstance(prefix, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*", prefix):
        raise AedError(
            f"{key}: need a name of C, letters, digits and single underscores inside, such as {key}=doorbell; got "
            f"{prefix!r}"
        )
    if prefix.lower() in _RESERVED:
        raise AedError(f"{key}: {prefix} means something else in C, C++ or CMake; add to it: {key}={prefix}_sound")
    if len(prefix) > LONGEST:
        raise AedError(f"{key}: need at most {LONGEST} characters, got {len(prefix)}")


def renamed(text: str, prefix: str) -> str:
    """A source, build file or document with the names of another prefix: ``doorbell_net_run``, ``DOORBELL_CLASSES``.

    Args:
        text: With the names of :data:`DEFAULT`.
        prefix: Checked.
    """
    if prefix == DEFAULT:
        return text
    names = {"aed": prefix, "AED": prefix.upper()}
    return _NAME.sub(lambda match: match["text"] or names[match["stem"]], text)
