"""Where a study is kept: a sqlite file, a journal, a database server or Optuna's own, each opened with clear errors.

A database file is created by one process, never by two.
"""

import contextlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from aed.base.addresses import check_address, without_credentials
from aed.base.errors import AedError, in_brief, reason
from aed.base.extras import install_command, is_installed, need
from aed.run.search.journal import open_journal

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
        AedError: A name or password is typed, or the address cannot be read.
    """
    if storage:
        check_address("storage", storage, VARIABLE)
    return storage or os.environ.get(VARIABLE) or f"sqlite:///{folder.resolve() / DATABASE}"


@contextmanager
def alone(storage: str, folder: Path) -> Iterator[None]:
    """Keeps other processes of this machine, and of those that share the folder, from the same block."""
    path = _file(storage)
    place = path.with_name(f".{path.name}.lock") if path else folder / ".study.lock"
    lock = FileLock(place)
    with clear(storage):
        folder.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


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
            return open_journal(Path(storage.removeprefix("journal://")))
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
    where = f"storage={without_credentials(storage)}"
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
        text = without_credentials(_words(cause))
        raise AedError(f"{where}: does not answer, or is no study: {text}; start the server, or check it") from error
    except OSError as error:
        path = f"{error.filename}: " if error.filename else ""
        raise AedError(f"{where}: {path}{reason(error)}; what was written before is untouched") from error


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
            f"storage={without_credentials(storage)}: need sqlite:///<file>, a file that ends in .journal, "
            "grpc://<host>:<port>, or the address of a database, postgresql://<host>/<name>"
        ) from error


def _proxy(storage: str) -> "optuna.storages.BaseStorage":
    import optuna

    where = f"storage={without_credentials(storage)}"
    if not is_installed("grpc"):
        raise AedError(f"{where} needs grpcio: {install_command('optuna')}")
    import grpc

    host, _, port = storage.removeprefix(_PROXY).rstrip("/").rpartition(":")
    if not (host and port.isdecimal() and int(port) < 2**16):
        raise AedError(f"{where}: need grpc://<host>:<port>")
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=PATIENCE_S)
        except grpc.FutureTimeoutError as error:
            raise AedError(f"{where}: no server answers; start it, or check the address") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.storages.GrpcStorageProxy(host=host, port=int(port))
