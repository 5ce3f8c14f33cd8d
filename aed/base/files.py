"""Writing files so that a killed run or a full disk leaves the old file or the whole new one.

A file is written under a temporary name in the same folder and then renamed. Its writer holds a lock on it, which the
system releases when the process ends, however it ends: the next writer in that folder removes files without a lock.
"""

import hashlib
import json
import math
import os
import platform
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from aed.base.errors import DISK, AedError, reason

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LEFT_S = 86_400.0
"""Age in seconds at which a temporary file is removed where locks cannot be seen, as those of another machine."""

PROBE_BYTES = 1 << 20
"""A disk with less room is reported as the reason why a library failed to write there."""

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?:(?P<machine>[0-9a-f]{8})-)?[0-9a-f]{32}\.(?P<end>tmp|old)")

_looked_through: set[Path] = set()


class WriteError(AedError, OSError):
    """A file cannot be written (disk full, no permission); the previous content is unchanged."""


def _machine() -> str:
    """Identifier of this boot of this machine, 8 hex digits: processes with the same see each other's locks."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = f"{platform.node()} {uuid.getnode()}"
    return hashlib.sha256(boot.encode()).hexdigest()[:8]


def _temporary(path: Path, end: str = "tmp") -> Path:
    # a replaced folder is restored by its full name; a file's full name could become too long for the file system
    name = path.name if end == "old" else path.name[:40]
    return path.with_name(f".{name}.{_machine()}-{uuid.uuid4().hex}.{end}")


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls ``write`` on a temporary file, flushes it to disk, then renames it to ``path``.

    Raises:
        WriteError: It cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a device or pipe has no previous content
            with path.open("wb") as file:
                write(file)
            return
        path = Path(os.path.realpath(path))  # of a link, the file it points to
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean(path.parent)
        temporary, opened = _open_locked(path)
        try:
            with opened as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                if fcntl:  # while the lock is held
                    temporary.replace(path)
            if not fcntl:  # Windows renames no open file
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except BrokenPipeError:  # the reader of a pipe has closed it
        raise
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> WriteError:
    """The error to raise if ``path`` cannot be written and its previous content is unchanged."""
    return WriteError(f"{path}: cannot be written ({reason(error)}); what was there before is untouched")


def _open_locked(path: Path) -> tuple[Path, IO[bytes]]:
    """A new temporary file beside ``path``, locked."""
    while True:
        temporary = _temporary(path)
        file = temporary.open("xb")
        _lock(file.fileno())
        if temporary.exists():
            return temporary, file
        file.close()  # removed by another process before it was locked


def _lock(descriptor: int) -> None:
    if fcntl:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _clean(folder: Path) -> None:
    """Removes temporary files of ended writers from ``folder``; once per process, as a folder may hold many files."""
    if folder in _looked_through:
        return
    _looked_through.add(folder)
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names are enough
            if match := _TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    _remove_dead(folder / name, match)


def _remove_dead(path: Path, match: re.Match[str]) -> None:
    if path.is_symlink():
        return
    with ExitStack() as stack:
        free = None
        if fcntl:
            descriptor = os.open(path, os.O_RDONLY)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free = True
            except BlockingIOError:
                return
            except OSError:
                pass
        here = bool(free) and match["machine"] == _machine()
        if not here and time.time() - path.stat().st_mtime < LEFT_S:
            return
        original = path.with_name(match["name"])
        if match["end"] == "old" and not original.exists():  # killed between the two renames of whole_folder
            path.rename(original)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file if possible; it stays in a read-only folder and, on Windows, while it is open."""
    with suppress(OSError):
        path.unlink()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(content: Any, indent: int | None = 1) -> str:
    """``content`` as JSON, indented or in one line; NaN and infinite floats become null, since JSON has none."""
    return json.dumps(_finite(content), indent=indent, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def check_replaceable(folder: Path, mark: str) -> None:
    """Refuses a folder that :func:`whole_folder` would not replace.

    Raises:
        AedError: It holds something else.
    """
    if folder.exists() and not (folder / mark).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise AedError(f"{folder} holds something else; choose a new folder")


@contextmanager
def whole_folder(folder: Path, mark: str) -> Iterator[Path]:
    """Yields a new folder that replaces ``folder`` when the block succeeds; after an error nothing is changed.

    Args:
        folder: New, empty, or one that holds ``mark`` and is then replaced.
        mark: Name of a file that the block writes.

    Raises:
        AedError: ``folder`` holds something else.
        WriteError: It cannot be written.
    """
    folder = folder.resolve()
    with ExitStack() as locks:
        new, old = _temporary(folder), _temporary(folder, "old")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(_only_writer(folder))
            _clean(folder.parent)
            check_replaceable(folder, mark)
            new.mkdir()
            _lock_folder(new, locks)
            yield new
            if folder.exists():
                _lock_folder(folder, locks)
                folder.rename(old)
            new.rename(folder)
        except AedError:
            raise
        except OSError as error:
            raise refused(folder, error) from error
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            for path in (new, old):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keeps other processes from writing ``folder`` during the block, by a lock file beside it."""
    if not fcntl:
        yield
        return
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with path.open("ab") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WriteError(f"{folder}: another process is writing it; wait until it has ended") from error
            except OSError:  # a file system without locks
                pass
            try:
                if not os.path.samestat(path.stat(), os.fstat(file.fileno())):
                    continue
            except FileNotFoundError:  # removed by the previous writer
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # while the lock is held
            return


def _lock_folder(folder: Path, locks: ExitStack) -> None:
    if fcntl:
        descriptor = os.open(folder, os.O_RDONLY)
        locks.callback(os.close, descriptor)
        _lock(descriptor)


@contextmanager
def temporary_folder(prefix: str | None = None, parent: str | Path | None = None) -> Iterator[Path]:
    """Yields a folder that is removed after the block; an error caused by its disk names that disk.

    Args:
        prefix: Of its name.
        parent: The folder it is created in; default: the system's folder for temporary files.

    Raises:
        WriteError: The folder cannot be created, or a file in it, or one that the error does not name, not written.
    """
    try:
        parent = Path(parent or tempfile.gettempdir())
    except FileNotFoundError as error:
        raise WriteError(f"TMPDIR: {error.strerror}; set TMPDIR to a folder with room") from error
    try:
        temporary = tempfile.TemporaryDirectory(prefix=prefix, dir=parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(parent, error) from error
    with temporary as name:
        try:
            yield Path(name)
        except AedError:
            raise
        except OSError as error:
            written = error.filename2 or error.filename  # an error of copying names both
            if error.errno in DISK and (written is None or str(written).startswith(name)):
                raise _no_room(parent, error) from error
            raise
        except Exception as error:  # of a library that hides the system's reason
            try:
                (Path(name) / "probe").write_bytes(bytes(PROBE_BYTES))
            except OSError as full:
                raise _no_room(parent, full) from error
            raise


def _no_room(folder: Path, error: OSError) -> WriteError:
    return WriteError(f"TMPDIR ({folder}): {reason(error)}; set TMPDIR to another folder")
