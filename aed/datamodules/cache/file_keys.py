"""The content of a file as a BLAKE2b digest, read once and from then on known by the file's size, times and inode.

A set of 51,000 clips is 8 GB, which a second run would otherwise read again. What a run has read it leaves in
``<cache>/keys/*.json``, each written whole: no lock, so several runs and machines may share the folder.
"""

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from aed.audio.formats import bad_name
from aed.base.errors import AudioError
from aed.base.files import remove, write_whole

log = logging.getLogger(__name__)

SETTLED_NS = 2_000_000_000
"""A file changed less long ago may change again without a change of its times: file systems count in ms to s."""

SAVE_FILES = 1 << 15
"""So many new keys are written at a time: what a killed run reads anew, 5 GB of 5 s clips."""

FEW_FILES = 32
"""So many a thread reads at a time: handing over each alone takes as long as its digest."""


class Facts(NamedTuple):
    """Size, times and inode of a file: they change with its content."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


def file_facts(path: Path) -> Facts:
    """The facts of a file.

    Raises:
        AudioError: There is no such file, or it cannot be asked.
    """
    try:
        os.fspath(path).encode()  # no library reads, and no report holds, a name that is not UTF-8
        stat = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    return Facts(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def file_key(path: Path) -> str:
    """BLAKE2b of a file's content, 256 bits in hex; where a CPU lacks SHA instructions, 1.7 times as fast as SHA-256.

    Raises:
        AudioError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, partial(hashlib.blake2b, digest_size=32)).hexdigest()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError | ValueError) -> AudioError:
    if isinstance(error, UnicodeEncodeError):
        return AudioError(bad_name(path))
    return AudioError(f"{path}: {'no such file' if isinstance(error, FileNotFoundError) else error}")


def still_has(path: Path, key: str, facts: Facts | None) -> bool:
    """Whether a file has the content it had; rereads it only if size or times changed.

    Raises:
        AudioError: The file cannot be read.
    """
    return file_facts(path) == facts or file_key(path) == key


class FileKeys:
    """The keys of files, remembered in a folder.

    Args:
        folder: Of the record; created with the first entry.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, tuple[Facts, str]] | None = None

    def __call__(self, files: Sequence[Path]) -> tuple[dict[Path, str], dict[Path, str]]:
        """Key of each readable file, and the reason for each other one."""
        known = self._load() if self._known is None else self._known
        keys: dict[Path, str] = {}
        errors: dict[Path, str] = {}
        waiting: list[Path] = []
        for path in dict.fromkeys(files):
            try:
                facts = file_facts(path)
            except AudioError as error:
                errors[path] = str(error)
                continue
            stored = known.get(os.path.abspath(path))  # noqa: PTH100 - a link stays one
            if stored and stored[0] == facts:
                keys[path] = stored[1]
            else:
                waiting.append(path)
        if len(waiting) > SAVE_FILES // 32:
            log.info("hashing %d files", len(waiting))
        with ThreadPoolExecutor(4) as pool:  # hashing lets go of the interpreter lock
            for first in range(0, len(waiting), SAVE_FILES):
                part = waiting[first : first + SAVE_FILES]
                new: dict[str, tuple[Facts, str]] = {}
                few = [part[at : at + FEW_FILES] for at in range(0, len(part), FEW_FILES)]
                for path, result in zip(part, chain.from_iterable(pool.map(_try_keys, few)), strict=True):
                    if isinstance(result, AudioError):
                        errors[path] = str(result)
                        continue
                    key, settled = result
                    keys[path] = key
                    if settled:
                        new[os.path.abspath(path)] = settled, key  # noqa: PTH100
                known |= new
                self._save(new)
        return {path: keys[path] for path in files if path in keys}, errors

    def facts(self, path: Path) -> Facts | None:
        """Stored size, times and inode; None if the file must be reread."""
        stored = (self._known or {}).get(os.path.abspath(path))  # noqa: PTH100
        return stored[0] if stored else None

    def _load(self) -> dict[str, tuple[Facts, str]]:
        self._known = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                rows = json.loads(path.read_bytes())
                self._known |= {name: (Facts(*map(int, facts)), str(key)) for name, (*facts, key) in rows.items()}
            except (OSError, ValueError, TypeError, AttributeError) as error:
                log.warning("%s: not readable (%s); its files are read anew", path, error)
                if not isinstance(error, OSError):
                    remove(path)
        return self._known

    def _save(self, new: dict[str, tuple[Facts, str]]) -> None:
        if not new:
            return
        rows = {name: [*facts, key] for name, (facts, key) in new.items()}
        name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.json"  # later ones count
        try:
            write_whole(self.folder / name, lambda file: file.write(json.dumps(rows).encode()))
        except OSError as error:  # a read-only or full cache: the next run reads the files again
            log.debug("%s", error)


def _try_keys(paths: Sequence[Path]) -> list[tuple[str, Facts | None] | AudioError]:
    return [_try_key(path) for path in paths]


def _try_key(path: Path) -> tuple[str, Facts | None] | AudioError:
    """Key, and the facts it may be known by: None where the file changes, or did a moment ago."""
    try:
        now, before = time.time_ns(), file_facts(path)
        key = file_key(path)
        is_settled = max(before.mtime_ns, before.ctime_ns) < now - SETTLED_NS and file_facts(path) == before
        return key, before if is_settled else None
    except AudioError as error:
        return error
