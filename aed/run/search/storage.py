"""Where a study is kept: a sqlite file, a journal, a database server or Optuna's own, each opened with clear errors.

A journal is locked by the system, whose lock ends with its process, and a line that a killed process left half written
is cut before the next one is written. A database file is created by one process, never by two.
"""

import contextlib
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock

from aed.base.errors import AedError, in_brief
from aed.base.extras import install_command, is_installed, need

if TYPE_CHECKING:
    import optuna

VARIABLE = "AED_SEARCH_STORAGE"
"""Of the environment: a storage whose address holds a password, which no command line should."""

DATABASE = "study.db"
"""In the folder of a search."""

BUSY_S = 120
"""Seconds that a process waits for another one that writes to the same sqlite file."""

PATIENCE_S = 10.0
"""Seconds in which a server has to answer at first."""

_PROXY = "grpc://"
_JOURNAL = (".journal", ".log")


def address(storage: str | None, folder: Path) -> str:
    """Where the study is: what is typed, else what the environment says, else a file in the folder.

    Raises:
        AedError: A password is typed, or the address cannot be read.
    """
    found = storage or os.environ.get(VARIABLE) or f"sqlite:///{folder.resolve() / DATABASE}"
    try:
        user, _, _ = found.partition("://")[2].rpartition("@")
        has_password = ":" in user or "password" in urlsplit(found).query.lower()
    except ValueError as error:
        raise AedError(f"storage: no address of a database: {error}") from error
    if storage and has_password:
        raise AedError(f"storage: holds a password, which others can see; put it into the environment as {VARIABLE}")
    return found


def shown(storage: str) -> str:
    """A text without the user, the password and the options of an address in it."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://\S*@", "://", storage))


@contextmanager
def alone(storage: str, folder: Path) -> Iterator[None]:
    """Keeps other processes of this machine, and of those that share the folder, from the same block."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _file(storage)
    place = path.with_name(f".{path.name}.lock") if path else folder / ".study.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(place):
        yield


def open_storage(storage: str) -> "optuna.storages.BaseStorage":
    """The storage at an address; a file is created.

    Raises:
        AedError: A package is missing, the file is damaged, or no server answers.
    """
    need("optuna", "aed search")
    with clear(storage):
        if storage.startswith(_PROXY):
            return _proxy(storage)
        if storage.endswith(_JOURNAL):
            return _journal(Path(storage.removeprefix("journal://")))
        return _database(storage)


@contextmanager
def clear(storage: str) -> Iterator[None]:
    """Turns errors of a storage into sentences.

    Raises:
        AedError: Says what failed.
    """
    import json

    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    kinds: tuple[type[Exception], ...] = (sqlalchemy.exc.SQLAlchemyError, StorageInternalError, ConnectionError)
    with contextlib.suppress(ImportError):
        import grpc

        kinds = (*kinds, grpc.RpcError)
    where = f"storage={shown(storage)}"
    try:
        yield
    except AedError:
        raise
    except json.JSONDecodeError as error:
        raise AedError(
            f"{where}: line {error.doc[:40]!r} is no entry of a journal; the file is damaged: restore a copy, or begin "
            "another study"
        ) from error
    except ImportError as error:  # of a database's driver
        lacking = error.name or getattr(error.__cause__, "name", None)
        raise AedError(f"{where}: needs the package {lacking}: pip install {lacking}") from error
    except kinds as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        text = shown(_words(cause))
        raise AedError(f"{where}: does not answer, or is no study: {text}; start the server, or check it") from error


def _words(error: BaseException) -> str:
    details = getattr(error, "details", None)
    return str(details()) if callable(details) else in_brief(error)


def _file(storage: str) -> Path | None:
    """The file of a storage that is one."""
    if storage.startswith("sqlite:///"):
        return Path(storage.removeprefix("sqlite:///"))
    return Path(storage.removeprefix("journal://")) if storage.endswith(_JOURNAL) else None


def _database(storage: str) -> "optuna.storages.BaseStorage":
    import optuna
    from sqlalchemy.exc import ArgumentError

    if path := _file(storage):
        path.parent.mkdir(parents=True, exist_ok=True)
    wait = {"connect_args": {"timeout": BUSY_S}} if path else {"pool_pre_ping": True}
    try:
        return optuna.storages.RDBStorage(storage, engine_kwargs=wait)
    except ArgumentError as error:
        raise AedError(
            f"storage={shown(storage)}: need sqlite:///<file>, a file that ends in .journal, grpc://<host>:<port>, or "
            "the address of a database, postgresql://<host>/<name>"
        ) from error


def _proxy(storage: str) -> "optuna.storages.BaseStorage":
    import optuna

    if not is_installed("grpc"):
        raise AedError(f"storage={shown(storage)} needs grpcio: {install_command('optuna')}")
    import grpc

    parts = urlsplit(storage)
    if not (parts.hostname and parts.port):
        raise AedError(f"storage={shown(storage)}: need grpc://<host>:<port>")
    with grpc.insecure_channel(f"{parts.hostname}:{parts.port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
        except grpc.FutureTimeoutError as error:
            raise AedError(f"storage={shown(storage)}: no server answers; start it, or check the address") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.GrpcStorageProxy(host=parts.hostname, port=parts.port)


def _journal(path: Path) -> "optuna.storages.BaseStorage":
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
