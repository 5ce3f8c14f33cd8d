"""Which files of a folder are recordings."""

import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

from aed.audio.formats import AUDIO_SUFFIXES, FOREIGN_SUFFIXES
from aed.base.errors import AedError

log = logging.getLogger(__name__)

_SUFFIXES = frozenset(AUDIO_SUFFIXES) | FOREIGN_SUFFIXES


def list_recordings(folder: Path) -> list[Path]:
    """Recordings below ``folder`` in the order of their paths, none of them hidden.

    Also those of kinds or names that cannot be read: opening one says what to do. Links are followed; a folder
    reached twice, as by a link to one above, appears once.

    Raises:
        AedError: A folder cannot be read.
    """
    return sorted(_walk(folder))


def recordings_below(folder: Path) -> list[Path]:
    """As :func:`list_recordings`, with a path that is not UTF-8, which no report could hold, escaped.

    There is no such file then; a warning says how many there are.

    Raises:
        AedError: A folder cannot be read.
    """
    found = list_recordings(folder)
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


_MODELS = (".onnx", ".ckpt", ".h5", ".keras", ".tflite", ".pt")


def check_output(key: str, path: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuses to write a table or report over what it was made of, or over any recording or model.

    Args:
        key: Of the command line.
        path: To be written.
        inputs: Files that are read.

    Raises:
        AedError: It would be lost.
    """
    if not path.is_file():  # new, or a device
        return
    if any(Path(name).exists() and path.samefile(name) for name in map(str, inputs)):
        raise AedError(f"{key}: {path} is read by this command; give another file")
    if path.suffix.lower() in _SUFFIXES or path.suffix.lower() in _MODELS:
        raise AedError(f"{key}: {path} is a recording or a model; give another file, {key}=result.csv")
