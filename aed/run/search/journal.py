"""A study in a file of lines, each an entry, which several processes and machines may write.

It is locked by the system, whose lock ends with its process, and a line that a killed process left half written is cut
before the next one is written.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

if TYPE_CHECKING:
    import optuna


def open_journal(path: Path) -> "optuna.storages.BaseStorage":
    """The storage in a file; it is created."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    class SystemLock:
        """Ends with its process; Optuna's own locks outlive one that is killed."""

        def __init__(self) -> None:
            self._lock = FileLock(path.with_name(f".{path.name}.writing"))

        def acquire(self) -> bool:
            self._lock.acquire()
            return True

        def release(self) -> None:
            self._lock.release()

    class Journal(JournalFileBackend):
        """A journal whose last line is whole before another one is written."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lock.acquire()  # this process may hold it several times
            try:
                cut_half_line(path)
                super().append_logs(logs)
            finally:
                lock.release()

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = SystemLock()
    return JournalStorage(Journal(str(path), lock_obj=lock))  # type: ignore[arg-type]


def cut_half_line(path: Path) -> None:
    """Cuts what comes after the last end of a line: a process was killed as it wrote that."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end, step = size, 4096
        while end:
            start = max(0, end - step)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        if end < size:
            file.truncate(end)
