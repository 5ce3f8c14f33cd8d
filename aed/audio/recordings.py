"""Recordings in folders, and outputs that must not overwrite them."""

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
    """Recordings in ``folder`` and its subfolders, without hidden ones, sorted by path.

    Formats that cannot be read are included: the reader refuses them and says how to convert them. Links are followed;
    a folder reached twice, for example by a link to a parent, is listed once.

    Raises:
        AedError: A folder cannot be read.
    """
    return sorted(_walk(folder))


def recordings_below(folder: Path) -> list[Path]:
    """As :func:`list_recordings`; a path that is not UTF-8, which no report could hold, is escaped: it names no file.

    A warning says how many there are.

    Raises:
        AedError: A folder cannot be read.
    """
    paths = list_recordings(folder)
    escaped = [_escaped(path) for path in paths]
    if odd := [path for path, real in zip(escaped, paths, strict=True) if path != real]:
        log.warning(
            "%s: the names of %d files are not UTF-8 (first: %s); rename them", _escaped(folder), len(odd), odd[0]
        )
    return escaped


def is_recording(name: str) -> bool:
    """Whether a file has the name of a recording; macOS writes ``._x.wav`` beside ``x.wav``, which is none."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in _SUFFIXES  # noqa: PTH122 - a name


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> NoReturn:
        raise AedError(f"{error.filename}: cannot be read ({error.strerror})") from error

    seen: set[Path] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = Path(parent).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in names if is_recording(name))


def _escaped(path: Path) -> Path:
    return Path(str(path).encode("utf-8", "backslashreplace").decode())


_MODELS = (".onnx", ".ckpt", ".h5", ".keras", ".tflite", ".pt")


def check_output(key: str, path: Path, inputs: Iterable[str | Path] = ()) -> None:
    """Refuses an output that would overwrite an input, or any recording or model.

    Args:
        key: Name of the output on the command line.
        path: The file to write.
        inputs: Files that the command reads.

    Raises:
        AedError: ``path`` is one of ``inputs``, a recording or a model.
    """
    if not path.is_file():  # new, or a device
        return
    if any(Path(name).exists() and path.samefile(name) for name in map(str, inputs)):
        raise AedError(f"{key}: {path} is read by this command; name another file")
    if path.suffix.lower() in _SUFFIXES or path.suffix.lower() in _MODELS:
        raise AedError(f"{key}: {path} is a recording or a model; name another file, {key}=result.csv")
