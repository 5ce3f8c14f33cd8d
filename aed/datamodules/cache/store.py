"""The feature cache: the log-mel of each clip, computed once per (file content, front end).

One folder per front end (``FrontendConfig.feature_key``) holds shards (``shards.py``). A clip's key is a digest
of its file, so a changed, moved or copied file needs no bookkeeping.
"""

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock, Timeout

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.datamodules.cache.building import Task, Worker, build
from aed.datamodules.cache.features import Features
from aed.datamodules.cache.file_keys import FileKeys
from aed.datamodules.cache.shards import ShardIndex
from aed.dsp.frontend import FrontendConfig

log = logging.getLogger(__name__)


class FeatureCache:
    """The features of one front end on disk.

    Args:
        root: Cache folder; shared by all runs.
        config: The front end.
        num_workers: Processes that compute; 0: one per CPU.
    """

    def __init__(self, root: Path, config: FrontendConfig, num_workers: int = 0) -> None:
        self.config, self.root = config, root
        self.folder = root / "features" / config.feature_key[:16]
        self.keys = FileKeys(root / "keys")
        self.index = ShardIndex(self.folder, config.n_mels)
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.num_workers = num_workers or cpus

    def ensure(self, files: Sequence[Path]) -> dict[Path, str]:
        """Computes what is missing; returns the reason for each file that has no features.

        Args:
            files: Recordings; several may have the same content.

        Raises:
            AedError: The cache cannot be written, or a process was killed.
        """
        keys, errors = self.keys(files)
        bad: dict[str, str] = {}
        if missing := self.missing(keys):
            try:
                with self.locked():
                    # another run may have built them while this one waited for the lock
                    if missing := self.missing(keys):
                        self.describe()
                        bad = build(self.folder, self.config, missing, self.num_workers)
            except OSError as error:
                all_bad = self._all_bad(missing) if self.folder.is_dir() else None
                if all_bad is None:
                    raise AedError(
                        f"{self.folder}: the feature cache cannot be written ({error}); {len(missing)} clips need "
                        "about 130 KB each. Set AED_CACHE_DIR or data.cache_dir to a folder with room"
                    ) from error
                bad = all_bad
        return errors | {path: f"{path}: {bad[key]}" for path, key in keys.items() if key in bad}

    def describe(self) -> None:
        """Writes the front end, for people."""
        facts = json.dumps(asdict(self.config), indent=1, sort_keys=True)
        write_whole(self.folder / "frontend.txt", lambda file: file.write(facts.encode()))

    def _all_bad(self, missing: list[Task]) -> dict[str, str] | None:
        """The reason for each of ``missing``, or None where one is good: then the cache must be written."""
        worker = Worker(self.folder, self.config)
        bad: dict[str, str] = {}
        for task in missing:
            result = worker.compute(task)
            if not isinstance(result, str):
                return None
            bad[task.key] = result
        return bad

    def open(self, files: Sequence[Path]) -> Features:
        """The features of ``files``, which :meth:`ensure` has computed.

        Raises:
            AedError: One is missing, as when the cache was deleted meanwhile.
        """
        keys = self._found(files)
        return self.index.open([keys[path] for path in files])

    def lengths(self, files: Sequence[Path]) -> dict[Path, float]:
        """Lengths of whole recordings, s, as stored with their features; no file is opened.

        Args:
            files: As of :meth:`open`. What cannot be read after ``max_length_s`` has no known end: infinite.

        Raises:
            AedError: As :meth:`open`.
        """
        return {path: self.index.length_s(key) for path, key in self._found(files).items()}

    def _found(self, files: Sequence[Path]) -> dict[Path, str]:
        """The keys of files that have features."""
        self.index.refresh()
        keys, errors = self.keys(files)
        lacking = [path for path, key in keys.items() if key not in self.index]
        if errors or lacking:
            raise AedError(f"{[*errors, *lacking][0]}: changed, or its features deleted, while in use; run again")
        return keys

    def missing(self, keys: dict[Path, str]) -> list[Task]:
        """A file for every key without features."""
        self.index.refresh()
        path_of = {key: path for path, key in keys.items() if key not in self.index}
        return [Task(key, path, self.keys.facts(path)) for key, path in path_of.items()]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the lock of the folder, which is made, and rid of what killed runs have left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another run is computing features; waiting for it", self.folder)
            lock.acquire()
        try:
            self.index.clean()
            yield
        finally:
            lock.release()
