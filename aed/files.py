"""Writing files so that a killed run or a full disk leaves the old file or the whole new one."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from aed.errors import AedError


class WriteError(AedError, OSError):
    """A file cannot be written: disk full, no right to; what was there before is untouched."""


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls ``write`` on a temporary file, flushes it to disk, then renames it to ``path``.

    Raises:
        WriteError: It cannot be written.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # a device or pipe: nothing to keep whole
        with path.open("wb") as file:
            write(file)
        return
    path = path.resolve()  # through a link to the file itself
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written ({error}); what was there before is untouched") from error
    finally:
        temporary.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_place(folder: Path, mark: str) -> None:
    """Refuses a folder that :func:`whole_folder` would not replace.

    Raises:
        AedError: It holds something else.
    """
    if folder.exists() and not (folder / mark).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise AedError(f"{folder} holds something else; give a new folder")


@contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``folder`` when the block ends well; else nothing is changed.

    Args:
        folder: New, empty, or one that holds ``mark`` and is then replaced.
        mark: Name of a file that the block writes.

    Raises:
        AedError: ``folder`` holds something else.
        WriteError: It cannot be written.
    """
    check_place(folder, mark)
    folder = folder.resolve()
    token = uuid.uuid4().hex
    made, old = (folder.with_name(f".{folder.name}.{token}.{end}") for end in ("tmp", "old"))
    try:
        made.mkdir(parents=True)
        yield made
        if folder.exists():
            folder.rename(old)
        made.rename(folder)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be written ({error}); what was there before is untouched") from error
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for path in (made, old):
            shutil.rmtree(path, ignore_errors=True)
