"""Writing files so that a killed run or a full disk leaves the old file or the whole new one."""

import os
import uuid
from collections.abc import Callable
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
