"""Names of classes as they can be drawn: short enough, in the fonts that this machine has."""

import functools
import logging
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

FIRST_CHOICE = "DejaVu Sans"
"""Comes with Matplotlib."""

PREFERRED = ("Noto Sans CJK", "Noto Sans", "Source Han Sans", "WenQuanYi", "Microsoft YaHei", "PingFang", "Hiragino")
"""Begin the names of families that are tried before others for what :data:`FIRST_CHOICE` does not have."""

BOXES = ("Last Resort", "Adobe Blank")
"""Begin the names of families that have a box, or nothing, for every character."""

MAX_COLUMNS = 26
"""Of a shown name; a character of East Asia takes two."""


def families_for(text: str) -> list[str]:
    """Font families that together draw ``text`` as far as this machine can, the first of them Matplotlib's own."""
    return [FIRST_CHOICE, *_fallbacks(frozenset(_missing(text)))[0]]


def undrawable(text: str) -> set[str]:
    """Characters of ``text`` that no font of this machine has."""
    missing = _missing(text)
    return set(_fallbacks(frozenset(missing))[1]) & missing


def drawable(text: str) -> str:
    """``text`` with ``?`` for each character that no font has, in a single line."""
    plain = "".join(" " if unicodedata.category(own) in ("Cc", "Zl", "Zp") else own for own in text)
    lost = undrawable(plain)
    return "".join("?" if own in lost else own for own in plain)


def shown_names(names: Sequence[str]) -> list[str]:
    """The names of classes as pictures show them: drawable, shortened in the middle, still all different.

    A name without a letter left becomes ``class 3``, counted from 1 in the order of ``names``.
    """
    lost = undrawable("".join(names))
    shown = []
    for number, name in enumerate(names, 1):
        rest = [own for own in name if own not in lost and own.isalnum()]
        readable = drawable(name) if len(rest) == sum(own.isalnum() for own in name) else f"class {number}"
        if rest and readable.startswith("class "):
            readable += f": {drawable(name)}"
        # a label that begins with _ is left out of legends
        shown.append(_shortened(f" {readable}" if readable.startswith("_") else readable))
    count = Counter(shown)
    return [name if count[name] == 1 else f"{name} #{number}" for number, name in enumerate(shown, 1)]


def _shortened(name: str) -> str:
    if sum(map(_columns, name)) <= MAX_COLUMNS:
        return name
    half = (MAX_COLUMNS - 1) // 2
    return f"{_first(name, half).rstrip()}…{_first(name[::-1], half)[::-1].lstrip()}"


def _first(text: str, columns: int) -> str:
    """As many first characters of ``text`` as fit."""
    total = 0
    for number, own in enumerate(text):
        total += _columns(own)
        if total > columns:
            return text[:number]
    return text


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _missing(text: str) -> set[str]:
    """Printable characters of ``text`` that :data:`FIRST_CHOICE` does not have."""
    if text.isascii():
        return set()
    known = _first_choice()
    return {own for own in text if ord(own) not in known and unicodedata.category(own)[0] != "C"}


@functools.cache
def _first_choice() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont(FIRST_CHOICE)).get_charmap())


_reported: set[str] = set()
"""Characters that the log has named."""


@functools.lru_cache(maxsize=64)
def _fallbacks(missing: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families that draw the ``missing`` characters, and the characters that none has, logged once."""
    rest, families = set(missing), []
    for family, path in _system_fonts() if missing else ():
        if has := {own for own in rest if ord(own) in _characters(path)}:
            families.append(family)
            rest -= has
        if not rest:
            break
    if unknown := rest - _reported:
        _reported.update(unknown)
        log.warning(
            "no font here has %s: pictures show numbers of classes, or ?, instead; install one, say "
            "apt install fonts-noto-cjk",
            " ".join(sorted(unknown)[:20]),
        )
    return tuple(families), frozenset(rest)


def _system_fonts() -> Iterator[tuple[str, str]]:
    """Family and file of each upright font of normal weight, preferred families first, by name."""
    from matplotlib.font_manager import findSystemFonts, fontManager

    known = {Path(entry.fname) for entry in fontManager.ttflist}
    for path in sorted(findSystemFonts()):
        if Path(path) not in known:  # installed since Matplotlib listed them
            try:
                fontManager.addfont(path)
            except (OSError, RuntimeError, ValueError):  # not a font that Matplotlib reads
                continue
    upright = {
        entry.name: entry.fname for entry in fontManager.ttflist if entry.style == "normal" and entry.weight == 400
    }
    # Noto Sans CJK first of all: one family has all of East Asia
    order = {family: [not family.startswith(start) for start in PREFERRED] for family in upright}
    families = sorted(upright, key=lambda family: (order[family], family))
    yield from ((family, upright[family]) for family in families if not family.startswith(BOXES))


@functools.lru_cache(maxsize=256)
def _characters(path: str) -> frozenset[int]:
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):  # a font that is damaged or gone
        return frozenset()
