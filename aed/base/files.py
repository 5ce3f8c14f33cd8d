"""Writing files so that a killed run or a full disk leaves the old file or the whole new one.

A file is written beside its place under a temporary name and renamed. Its writer holds a lock of the system on it,
which ends with the writer however it ends: what a killed writer left is told from what a living one is at, and removed
by the next that writes there.
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
"""Seconds after which a temporary file is a dead writer's where no lock can tell, as on another machine."""

PROBE_BYTES = 1 << 20
"""A disk without this room is taken for the reason why a library failed to write there."""

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.(?:(?P<machine>[0-9a-f]{8})-)?[0-9a-f]{32}\.(?P<end>tmp|old)")

_looked_through: set[Path] = set()


class WriteError(AedError, OSError):
    """A file cannot be written: disk full, no right to; what was there before is untouched."""


def _machine() -> str:
    """Of this boot of this machine, 8 hex digits: processes of the same see each other's locks, in containers too."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        boot = f"{platform.node()} {uuid.getnode()}"
    return hashlib.sha256(boot.encode()).hexdigest()[:8]


def _temporary(path: Path, end: str = "tmp") -> Path:
    # what stands for a folder has to tell its name; a file's in full could be too long for the file system
    name = path.name if end == "old" else path.name[:40]
    return path.with_name(f".{name}.{_machine()}-{uuid.uuid4().hex}.{end}")


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Calls ``write`` on a temporary file, flushes it to disk, then renames it to ``path``.

    Raises:
        WriteError: It cannot be written.
    """
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a device or pipe: nothing to keep whole
            with path.open("wb") as file:
                write(file)
            return
        path = Path(os.path.realpath(path))  # through a link to the file itself
        path.parent.mkdir(parents=True, exist_ok=True)
        _clean(path.parent)
        temporary, opened = _open_locked(path)
        try:
            with opened as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
                if fcntl:  # within the lock
                    temporary.replace(path)
            if not fcntl:  # Windows renames no open file
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except BrokenPipeError:  # the reader of a pipe has had enough
        raise
    except OSError as error:
        raise refused(path, error) from error


def refused(path: Path, error: OSError) -> WriteError:
    """What to raise where ``path`` cannot be written, and nothing was put in its place."""
    return WriteError(f"{path}: cannot be written ({reason(error)}); what was there before is untouched")


def _open_locked(path: Path) -> tuple[Path, IO[bytes]]:
    """A new temporary file beside ``path``, locked."""
    while True:
        temporary = _temporary(path)
        file = temporary.open("xb")
        _lock(file.fileno())
        if temporary.exists():
            return temporary, file
        file.close()  # taken for a dead writer's before it was locked


def _lock(descriptor: int) -> None:
    if fcntl:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def _clean(folder: Path) -> None:
    """Removes what dead writers left in ``folder``; once a process, for a folder may hold many files."""
    if folder in _looked_through:
        return
    _looked_through.add(folder)
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names alone
            if found := _TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    _remove_dead(folder / name, found)


def _remove_dead(path: Path, found: re.Match[str]) -> None:
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
        here = bool(free) and found["machine"] == _machine()
        if not here and time.time() - path.stat().st_mtime < LEFT_S:
            return
        place = path.with_name(found["name"])
        if found["end"] == "old" and not place.exists():  # killed between taking the old away and putting the new there
            path.rename(place)
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Removes a file where that is possible: not in a read-only folder, nor, on Windows, while it is open."""
    with suppress(OSError):
        path.unlink()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(content: Any) -> str:
    """``content`` as lines of JSON; a float that is no number, or infinite, is null: JSON has none."""
    return json.dumps(_finite(content), indent=1, allow_nan=False) + "\n"


def _finite(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


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
    folder = folder.resolve()
    with ExitStack() as locks:
        made, old = _temporary(folder), _temporary(folder, "old")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            locks.enter_context(_only_writer(folder))
            _clean(folder.parent)
            check_place(folder, mark)
            made.mkdir()
            _lock_folder(made, locks)
            yield made
            if folder.exists():
                _lock_folder(folder, locks)
                folder.rename(old)
            made.rename(folder)
        except AedError:
            raise
        except OSError as error:
            raise refused(folder, error) from error
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            for path in (made, old):
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Keeps others from filling ``folder`` meanwhile, through a file beside it that goes with its writer."""
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
            except FileNotFoundError:  # the writer before took it away
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)  # within the lock
            return


def _lock_folder(folder: Path, locks: ExitStack) -> None:
    if fcntl:
        descriptor = os.open(folder, os.O_RDONLY)
        locks.callback(os.close, descriptor)
        _lock(descriptor)


@contextmanager
def temporary_folder(prefix: str | None = None, place: str | Path | None = None) -> Iterator[Path]:
    """A folder that is gone after the block; an error of the system about its disk names that disk.

    Args:
        prefix: Of its name.
        place: Where it lies, else where the system's temporary files do.

    Raises:
        WriteError: It cannot be made, or a file that is not named, or lies in it, cannot be written.
    """
    try:
        place = Path(place or tempfile.gettempdir())
    except FileNotFoundError as error:
        raise WriteError(f"TMPDIR: {error.strerror}; set TMPDIR to a folder with room") from error
    try:
        made = tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True)
    except OSError as error:
        raise _no_room(place, error) from error
    with made as name:
        try:
            yield Path(name)
        except AedError:
            raise
        except OSError as error:
            written = error.filename2 or error.filename  # copying tells both
            if error.errno in DISK and (written is None or str(written).startswith(name)):
                raise _no_room(place, error) from error
            raise
        except Exception as error:  # of a library that does not pass on the system's reason
            try:
                (Path(name) / "probe").write_bytes(bytes(PROBE_BYTES))
            except OSError as full:
                raise _no_room(place, full) from error
            raise


def _no_room(place: Path, error: OSError) -> WriteError:
    return WriteError(f"TMPDIR ({place}): {reason(error)}; set TMPDIR to another folder")
