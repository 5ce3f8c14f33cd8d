"""Download and unpack published archives; an interruption leaves no partial file or folder."""

import errno
import hashlib
import http.client
import logging
import lzma
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from urllib import request
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from aed.base.console import PlainConsole
from aed.base.errors import AedError

CHUNK_BYTES = 1 << 16
"""Bytes per step of the progress bar: 0.6 s on a line of 100 kB/s."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}")

_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # a password is needed; its subclass NotImplementedError: unknown compression
    ValueError,  # offsets out of range, undecodable names
)
"""Exceptions of zipfile that mean a bad archive rather than a failing machine."""

LOG = logging.getLogger(__name__)


def fetch(url: str, path: Path, *, digest: str | None, advice: str, timeout_s: float = 30) -> Path:
    """Downloads ``url`` to ``path`` unless the file exists already, and returns ``path``.

    Of several processes that call this at once, the first downloads and the others wait. An interrupted download
    leaves only ``<path>.lock``.

    Args:
        url: http or https address.
        path: File to write; its folder is created.
        digest: ``sha256:<hex>`` or ``md5:<hex>`` of the file, ``None`` where none is published.
        advice: Sentence for a user without network: which file to put where. Ends the message of a failed
            download.
        timeout_s: Longest wait for data from the server, s.

    Returns:
        ``path``.

    Raises:
        AedError: The address or the digest is malformed, another file is at ``path``, the server cannot be
            reached or stops early, the disk is full, or the file received has another digest.
    """
    expected = None if digest is None else digest.lower()
    if expected is not None and not _DIGEST.fullmatch(expected):
        raise AedError(f"digest of {url} must be sha256:<64 hex digits> or md5:<32 hex digits>, got {digest!r}")
    try:
        if urlsplit(url).scheme not in ("http", "https"):
            raise AedError(f"Cannot download {url}: the address must start with http:// or https://. {advice}")
        # before the lock, so that a data folder without write permission will do
        if _is_present(path, url, expected):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path):
            if not _is_present(path, url, expected):
                _download(url, path, expected, advice, timeout_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise AedError(f"Cannot download {url} to {path}: {_cause(error)}. {advice}") from error
    return path


def unpack_zip(archive: Path, folder: Path, *, strip: int = 1, only: Callable[[str], bool] | None = None) -> Path:
    """Unpacks ``archive`` into ``folder``, completely or, after an error, not at all, and returns ``folder``.

    Members with at most ``strip`` path components, and folders without files, are skipped.

    Args:
        archive: Zip file.
        folder: Folder to create; may exist if it is empty.
        strip: Leading path components to remove from every name.
        only: Whether to unpack a member, by its name without those components, ``/`` between the others.

    Returns:
        ``folder``.

    Raises:
        AedError: ``folder`` is not empty, the archive is damaged, holds nothing to unpack, a link or a name
            that leads out of ``folder``, or the disk is too full.
    """
    with _unpack_errors(archive, folder):
        if folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None):
            raise AedError(f"{folder} must not exist or be an empty folder; delete it or move it away")
        with zipfile.ZipFile(archive) as source:
            infos = source.infolist()
    members = _select_members(infos, archive, strip, only)
    with _unpack_errors(archive, folder):
        # a link to a folder on a larger disk stays a link
        _extract(archive, members, folder.resolve())
    LOG.info("unpacked %d files of %s to %s", len(members), archive, folder)
    return folder


def _is_present(path: Path, url: str, expected: str | None) -> bool:
    """Whether ``path`` holds the file with the expected digest; any file where there is none."""
    if not path.exists():
        return False
    if not path.is_file():
        raise AedError(f"{path} must be a file or not exist, it is a folder; delete it or move it away")
    if expected is None:
        return True
    algorithm = expected.partition(":")[0]
    with path.open("rb") as file:
        hasher = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    actual = f"{algorithm}:{hasher.hexdigest()}"
    if actual != expected:
        raise AedError(
            f"{path} is not the file at {url}: expected {expected}, found {actual}. "
            f"Delete it to have it downloaded again, or move it away if it is your own."
        )
    return True


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the lock of ``path``, so that no other process downloads it."""
    # the lock file stays: deleting it would let a waiting process and a new one both hold it
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        LOG.info("waiting for another process that downloads %s", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(url: str, path: Path, expected: str | None, advice: str, timeout_s: float) -> None:
    """Receives the file and renames it to ``path`` once it is complete and has the expected digest."""
    # a fixed name, safe under the lock: the partial file of a killed process is overwritten
    part = path.with_name(f".{path.name}.part")
    algorithm = "sha256" if expected is None else expected.partition(":")[0]
    LOG.info("downloading %s", url)
    try:
        actual = _receive(url, part, path.name, algorithm, timeout_s)
        if expected is not None and actual != expected:
            raise AedError(
                f"The file received from {url} is damaged or another one: expected {expected}, "
                f"received {actual}. {advice}"
            )
        if path.exists():
            raise FileExistsError(errno.EEXIST, "a file appeared there meanwhile and was not replaced")
        LOG.info("wrote %s (%s, %s)", path, decimal(part.stat().st_size), actual)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _receive(url: str, part: Path, name: str, algorithm: str, timeout_s: float) -> str:
    """Downloads ``url`` to ``part`` and returns its digest ``<algorithm>:<hex>``; ``name`` labels the progress bar."""
    hasher = hashlib.new(algorithm, usedforsecurity=False)
    # some hosts refuse Python's default user agent
    message = request.Request(url, headers={"User-Agent": "aed"})
    with _http_opener().open(message, timeout=timeout_s) as response:
        if response.status != http.client.OK:
            raise ConnectionError(f"HTTP status {response.status} {response.reason}, not 200")
        total: int | None = response.length
        _check_space(part.parent, total or 0)
        with part.open("wb") as file, _bar(name, total) as advance:
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                hasher.update(chunk)
                advance(len(chunk))
            received = file.tell()
    # read(n) ends without an error when the connection is closed early
    if total is not None and received != total:
        raise ConnectionError(f"the connection ended after {received} of {total} bytes")
    return f"{algorithm}:{hasher.hexdigest()}"


def _http_opener() -> request.OpenerDirector:
    """Opener for http and https only; urllib's default also follows redirections to ftp."""
    opener = request.OpenerDirector()
    for handler in (
        request.ProxyHandler(),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
        request.HTTPDefaultErrorHandler(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _cause(error: Exception) -> str:
    """Cause of a failed download in one line."""
    cause = error.reason if isinstance(error, URLError) and not isinstance(error, HTTPError) else error
    return str(cause) or type(cause).__name__


def _check_space(folder: Path, needed_bytes: int) -> None:
    """Raises OSError if the disk of ``folder`` has fewer free bytes than needed."""
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        needed, free = decimal(needed_bytes), decimal(free_bytes)
        raise OSError(errno.ENOSPC, f"{needed} are needed and {free} free", str(folder))


@contextmanager
def _bar(name: str, total_bytes: int | None) -> Iterator[Callable[[int], None]]:
    """Shows a progress bar on the terminal; yields the function that advances it by a number of bytes."""
    console = PlainConsole(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    # if stderr is a file, the log lines are enough
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total_bytes)
        yield lambda num_bytes: progress.advance(task, num_bytes)


def _select_members(
    infos: Iterable[zipfile.ZipInfo], archive: Path, strip: int, only: Callable[[str], bool] | None
) -> dict[str, zipfile.ZipInfo]:
    """Members to unpack, by their name below the folder."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = _stripped_name(info.filename, archive, strip)
        if not name or info.filename.endswith(("/", "\\")) or (only is not None and not only(name)):
            continue
        # in archives written on Unix the upper half is the file's mode
        if stat.S_ISLNK(info.external_attr >> 16):
            raise AedError(f"{archive}: member {info.filename!r} is a link; nothing was unpacked")
        if name in members:
            twins = f"{members[name].filename!r} and {info.filename!r}"
            raise AedError(f"{archive}: members {twins} would both become {name!r}; nothing was unpacked")
        members[name] = info
    if not members:
        raise AedError(f"{archive} holds nothing to unpack; it is not the expected archive")
    return members


def _stripped_name(name: str, archive: Path, strip: int) -> str:
    """A member's ``name`` without its first ``strip`` components; empty if it has no others.

    Raises:
        AedError: The name leads out of the folder on this or another system.
    """
    # Windows rules are stricter: both slashes separate, and there are drives
    path = PureWindowsPath(name)
    stripped = "/".join(path.parts[strip:])
    # Windows drops dots and spaces at the end, so ".. " is ".." there
    climbs = any(not part.strip(". ") for part in path.parts)
    if path.drive or path.root or climbs or PureWindowsPath(stripped).drive:
        raise AedError(f"{archive}: member {name!r} leads out of the folder; nothing was unpacked")
    return stripped


def _extract(archive: Path, members: Mapping[str, zipfile.ZipInfo], folder: Path) -> None:
    """Writes the members to a new folder beside ``folder``, then renames it to ``folder``."""
    total = sum(info.file_size for info in members.values())
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_space(folder.parent, total)
    with (
        zipfile.ZipFile(archive) as source,
        tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temp,
        _bar(archive.name, total) as advance,
    ):
        # inside the temporary folder, which other users cannot enter
        fresh = Path(temp) / folder.name
        for name, info in members.items():
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # mode x: on a case-insensitive file system A.wav must not overwrite a.wav
            with source.open(info) as member, target.open("xb") as file:
                while chunk := member.read(CHUNK_BYTES):
                    file.write(chunk)
                    advance(len(chunk))
        # Windows does not rename onto an empty folder
        if folder.exists():
            folder.rmdir()
        fresh.rename(folder)


@contextmanager
def _unpack_errors(archive: Path, folder: Path) -> Iterator[None]:
    """Turns exceptions of zipfile and of the disk into AedError."""
    try:
        yield
    except _DAMAGE as error:
        cause = str(error) or type(error).__name__
        raise AedError(f"{archive} is damaged or of an unknown kind: {cause}. Fetch it again.") from error
    except OSError as error:
        raise AedError(f"Cannot unpack {archive} to {folder}: {error}") from error
