"""The feature cache: the log-mel of each clip, computed once per (file content, front end).

One folder per front end (``FrontendConfig.feature_key``) holds shards (``aed/datamodules/shards.py``). A clip's key is
the SHA-256 of its file, so a changed, moved or copied file needs no bookkeeping. Each process computes a shard and
writes it itself: only names travel, and memory does not grow with the data set.
"""

import ctypes
import json
import logging
import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aed.datamodules.keys import Facts, FileKeys, still_has
from aed.datamodules.shards import Array, Features, ShardIndex, write_shard
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import AudioError, load_clip
from aed.errors import AedError

__all__ = ["FeatureCache", "Features"]

log = logging.getLogger(__name__)

SHARD_CLIPS = 256
"""Clips of a shard, at most; 2 million make 8,000 shards."""

SHARDS_PER_WORKER = 128
"""At least so many in a large set: a killed run loses the one at work, less than 1 %."""

FEW_CLIPS = 16
"""So many are computed in this process: starting others would take longer. Also the clips of the smallest shard."""


class Task(NamedTuple):
    """A file to compute: the key of its content, and the facts that key is known by."""

    key: str
    path: Path
    facts: Facts | None


class _Worker:
    """Computes shards; one a process.

    Args:
        folder: Of the front end.
        config: The front end.
        is_stopped: Asked between two clips; what is done by then is kept.
    """

    def __init__(self, folder: Path, config: FrontendConfig, is_stopped: Callable[[], bool]) -> None:
        self.folder, self.is_stopped, self.logmel = folder, is_stopped, LogMel(config)

    def shard(self, tasks: Sequence[Task], advance: Callable[[], object] = bool) -> tuple[int, dict[str, str]]:
        """Computes and writes a shard; returns how many files are dealt with, and the reason for each bad key."""
        finished: dict[str, Array] = {}
        bad: dict[str, str] = {}
        try:
            for task in tasks:
                if self.is_stopped():
                    break
                result = self.compute(task)
                if isinstance(result, str):
                    bad[task.key] = result
                else:
                    finished[task.key] = result
                advance()
        finally:  # Ctrl-C keeps what is done
            if finished:
                write_shard(self.folder, finished)
        return len(finished) + len(bad), bad

    def compute(self, task: Task) -> Array | str:
        """The log-mel ``(n_frames, n_mels)`` of a file, or why there is none (without the file's name)."""
        try:
            wave = load_clip(task.path, self.logmel.config)
            frames = np.ascontiguousarray(self.logmel(torch.from_numpy(wave)).numpy().T)
            return frames if still_has(task.path, task.key, task.facts) else "changed while it was read; start anew"
        except AudioError as error:
            return str(error).removeprefix(f"{task.path}: ")


_worker: _Worker | None = None


def _start_worker(folder: Path, config: FrontendConfig, stop: "mp.synchronize.Event") -> None:
    global _worker
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    torch.set_num_threads(1)
    _worker = _Worker(folder, config, stop.is_set)


def _die_with_parent() -> None:
    """Has Linux end this worker when the run is killed: it would wait for work for ever."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _shard_in_worker(tasks: list[Task]) -> tuple[int, dict[str, str]]:
    assert _worker is not None
    return _worker.shard(tasks)


class FeatureCache:
    """The features of one front end on disk.

    Args:
        root: Cache folder; shared by all runs.
        config: The front end.
        num_workers: Processes that compute; 0: one per CPU.
    """

    def __init__(self, root: Path, config: FrontendConfig, num_workers: int = 0) -> None:
        self.config = config
        self.folder = root / "features" / config.feature_key[:16]
        self.keys = FileKeys(root / "keys")
        self.index = ShardIndex(self.folder, config.n_mels)
        cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
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
        if missing := self._missing(keys):
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                with self._lock():
                    # another run may have built them while this one waited for the lock
                    bad = self._build(self._missing(keys))
            except OSError as error:
                all_bad = self._all_bad(missing) if self.folder.is_dir() else None
                if all_bad is None:
                    raise AedError(
                        f"{self.folder}: the feature cache cannot be written ({error}); {len(missing)} clips need "
                        "about 130 KB each. Set AED_CACHE_DIR or data.cache_dir to a folder with room"
                    ) from error
                bad = all_bad
        return errors | {path: f"{path}: {bad[key]}" for path, key in keys.items() if key in bad}

    def _all_bad(self, missing: list[Task]) -> dict[str, str] | None:
        """The reason for each of ``missing``, or None where one is good: then the cache must be written."""
        worker = _Worker(self.folder, self.config, lambda: False)
        bad: dict[str, str] = {}
        for task in missing:
            result = worker.compute(task)
            if not isinstance(result, str):
                return None
            bad[task.key] = result
        return bad

    def open(self, files: Sequence[Path]) -> Features:
        """The features of ``files``, all of which :meth:`ensure` has found good.

        Raises:
            AedError: One is missing, as when the cache was deleted meanwhile.
        """
        self.index.refresh()
        keys, errors = self.keys(files)
        lacking = [path for path, key in keys.items() if key not in self.index]
        if errors or lacking:
            raise AedError(f"{[*errors, *lacking][0]}: changed, or its features deleted, while in use; start anew")
        return self.index.open([keys[path] for path in files])

    def _missing(self, keys: dict[Path, str]) -> list[Task]:
        """A file for every key without features."""
        self.index.refresh()
        path_of = {key: path for path, key in keys.items() if key not in self.index}
        return [Task(key, path, self.keys.facts(path)) for key, path in path_of.items()]

    @contextmanager
    def _lock(self) -> Iterator[None]:
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

    def _build(self, missing: list[Task]) -> dict[str, str]:
        """Computes and writes ``missing`` shard by shard; returns the reason for each bad key."""
        errors: dict[str, str] = {}
        if not missing:
            return errors
        (self.folder / "frontend.txt").write_text(json.dumps(asdict(self.config), indent=1, sort_keys=True))
        log.info("computing features of %d clips with %d processes", len(missing), self.num_workers)
        size = min(SHARD_CLIPS, max(FEW_CLIPS, len(missing) // (SHARDS_PER_WORKER * self.num_workers)))
        shards = [missing[first : first + size] for first in range(0, len(missing), size)]
        with _Report(len(missing)) as report:
            if len(missing) <= FEW_CLIPS or self.num_workers == 1:
                worker = _Worker(self.folder, self.config, lambda: False)
                for shard in shards:
                    errors |= worker.shard(shard, report.advance)[1]
            else:
                for done, bad in self._in_processes(shards):
                    errors |= bad
                    report.advance(done)
        return errors

    def _in_processes(self, shards: list[list[Task]]) -> Iterator[tuple[int, dict[str, str]]]:
        # forked workers have torch loaded already; each keeps to one thread, as a DataLoader's do
        context = mp.get_context("fork" if sys.platform == "linux" else "spawn")
        stop = context.Event()
        pool = ProcessPoolExecutor(self.num_workers, context, _start_worker, (self.folder, self.config, stop))
        try:
            for future in as_completed([pool.submit(_shard_in_worker, shard) for shard in shards]):
                yield future.result()
        except BrokenProcessPool as error:
            raise AedError(
                "a process that computes features was killed, most likely for want of memory; what is done is kept: "
                "start anew with fewer, data.cache_workers=1"
            ) from error
        finally:
            stop.set()  # after Ctrl-C or an error: shards at work are written as far as they are
            pool.shutdown(wait=True, cancel_futures=True)


class _Report:
    """A bar with time left and rate; where there is no terminal, a line a minute.

    Args:
        total: Clips to compute.
    """

    def __init__(self, total: int) -> None:
        columns = (TextColumn("log-mel features"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.total, self.done, self.started = total, 0, time.monotonic()
        self.told = self.started
        self.bar = Progress(*columns, TextColumn("{task.fields[rate]}"), transient=True)
        self.task = self.bar.add_task("", total=total, rate="")

    def __enter__(self) -> "_Report":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        seconds = time.monotonic() - self.started
        log.info("computed features of %d clips in %.1f s, %.0f clips/s", self.done, seconds, self.done / seconds)

    def advance(self, clips: int = 1) -> None:
        """Counts ``clips`` as done."""
        self.done += clips
        now = time.monotonic()
        rate = self.done / max(now - self.started, 1e-9)
        self.bar.update(self.task, advance=clips, rate=f"{rate:.0f} clips/s")
        if not self.bar.console.is_terminal and now - self.told > 60:
            self.told = now
            left = (self.total - self.done) / max(rate, 1e-9)
            log.info("features: %d of %d clips, %.0f clips/s, %.0f s left", self.done, self.total, rate, left)
