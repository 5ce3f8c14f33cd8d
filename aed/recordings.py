"""Which files of a folder are recordings."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from aed.dsp.formats import AUDIO_SUFFIXES, FOREIGN_SUFFIXES
from aed.errors import AedError

log = logging.getLogger(__name__)

_SUFFIXES = frozenset(AUDIO_SUFFIXES) | FOREIGN_SUFFIXES


def recordings_below(folder: Path) -> list[Path]:
    """Recordings below ``folder`` in the order of their paths, none of them hidden.

    Also those of kinds that cannot be read: whoever tries says so, and what to do. Links are followed; a folder
    reached twice, as by a link to one above, counts once. A path that is not UTF-8, which no report could hold, is
    given escaped: there is no such file then.

    Raises:
        AedError: A folder cannot be read.
    """
    found = sorted(_walk(folder))
    escaped = [_escaped(path) for path in found]
    if odd := [path for path, given in zip(escaped, found, strict=True) if path != given]:
        log.warning(
            "%s: the names of %d files are not UTF-8 (first: %s); rename them", _escaped(folder), len(odd), odd[0]
        )
    return escaped


def is_recording(name: str) -> bool:
    """Whether a file is called as recordings are; macOS leaves ``._x.wav`` beside ``x.wav``, which is none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES  # noqa: PTH122 - a name


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> NoReturn:
        raise AedError(f"{error.filename}: cannot be read ({error.strerror})") from error

    seen: set[Path] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(place, name) for name in names if is_recording(name))


def _escaped(path: Path) -> Path:
    return Path(str(path).encode("utf-8", "backslashreplace").decode())
