"""Building a feature cache: each process computes a shard and writes it itself.

Only names travel between processes, and memory does not grow with the data set.
"""

import ctypes
import logging
import multiprocessing as mp
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aed.base.console import PlainConsole
from aed.base.errors import AedError, AudioError
from aed.datamodules.cache.file_keys import Facts, still_has
from aed.datamodules.cache.shards import Clip, write_shard
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import load_measured

log = logging.getLogger(__name__)

SHARD_CLIPS = 256
"""Clips of a shard, at most; 2 million make 8,000 shards."""

SHARD_BYTES = 1 << 28
"""Of a shard, about, whatever its clips are: a process holds one, and 16 recordings of an hour would be 1.5 GB."""

SHARDS_PER_WORKER = 128
"""Smallest number in a large set: a killed run loses the one at work, less than 1 %."""

FEW_CLIPS = 16
"""So many are computed in this process: starting others would take longer. Also the clips of the smallest shard."""


MOST_PROCESSES = 61
"""Of a pool on Windows."""


class Task(NamedTuple):
    """A file to compute: the key of its content, and the facts that key is known by."""

    key: str
    path: Path
    facts: Facts | None


class Worker:
    """Computes shards; one a process.

    Args:
        folder: Of the front end.
        config: The front end.
        is_stopped: Called between two clips; clips computed before it returns true stay in the cache.
    """

    def __init__(self, folder: Path, config: FrontendConfig, is_stopped: Callable[[], bool] = bool) -> None:
        self.folder, self.is_stopped, self.logmel = folder, is_stopped, LogMel(config)

    def shard(self, tasks: Sequence[Task], advance: Callable[[], object] = bool) -> tuple[int, dict[str, str]]:
        """Computes and writes a shard; returns how many files are dealt with, and the reason for each bad key.

        Clips of more than :data:`SHARD_BYTES` make several.
        """
        finished: dict[str, Clip] = {}
        bad: dict[str, str] = {}
        done = size = 0
        try:
            for task in tasks:
                if self.is_stopped():
                    break
                result = self.compute(task)
                if isinstance(result, str):
                    bad[task.key] = result
                else:
                    finished[task.key] = result
                    size += result.frames.nbytes
                if size >= SHARD_BYTES:
                    write_shard(self.folder, finished)
                    finished, size = {}, 0
                done += 1
                advance()
        finally:  # Ctrl-C keeps what is done
            if finished:
                write_shard(self.folder, finished)
        return done, bad

    def compute(self, task: Task) -> Clip | str:
        """The features of a file, or the reason for which it has none (without the file's name)."""
        try:
            wave, length_s = load_measured(task.path, self.logmel.config)
            frames = np.ascontiguousarray(self.logmel(torch.from_numpy(wave)).numpy().T)
            if not still_has(task.path, task.key, task.facts):
                return "changed while it was read; run again"
            return Clip(frames, length_s)
        except AudioError as error:
            return str(error).removeprefix(f"{task.path}: ")


_worker: Worker | None = None


def begin_worker() -> None:
    """Has this process end with its parent, leave Ctrl-C to it, and keep to one thread, as a DataLoader's do."""
    _die_with_parent()
    keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _start_worker(folder: Path, config: FrontendConfig, stop: "mp.synchronize.Event") -> None:
    global _worker
    begin_worker()
    _worker = Worker(folder, config, stop.is_set)


def _die_with_parent() -> None:
    """Has Linux end this worker when the run is killed: it would wait for work for ever."""
    if sys.platform == "linux" and hasattr(signal, "SIGKILL"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def keep_memory() -> None:
    """Has glibc keep what a clip frees for the next one.

    As it is set, arrays of some MB may go back to the kernel after every clip, up to 800 page faults each: as memory
    happens to lie, a build then takes up to half as long again.
    """
    trim_threshold, mmap_threshold, most = -1, -3, 1 << 30
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None:
        mallopt(trim_threshold, most)
        mallopt(mmap_threshold, most)


def _shard_in_worker(tasks: Sequence[Task]) -> tuple[int, dict[str, str]]:
    assert _worker is not None
    return _worker.shard(tasks)


def build(folder: Path, config: FrontendConfig, tasks: Sequence[Task], num_workers: int) -> dict[str, str]:
    """Computes and writes ``tasks`` shard by shard; returns the reason for each bad key.

    Raises:
        AedError: A process was killed.
        WriteError: A shard cannot be written.
    """
    log.info("computing features of %d clips with %d processes", len(tasks), num_workers)
    errors: dict[str, str] = {}
    shards = shards_of(tasks, num_workers)
    with Report(len(tasks)) as report:
        if len(tasks) <= FEW_CLIPS or num_workers == 1:
            worker = Worker(folder, config)
            for shard in shards:
                errors |= worker.shard(shard, report.advance)[1]
        else:
            for done, bad in _in_processes(folder, config, shards, num_workers):
                errors |= bad
                report.advance(done)
    return errors


def shards_of(tasks: Sequence[Task], num_workers: int) -> list[Sequence[Task]]:
    """``tasks`` cut into shards, the same wherever as many workers compute them."""
    size = min(SHARD_CLIPS, max(FEW_CLIPS, len(tasks) // (SHARDS_PER_WORKER * num_workers)))
    return [tasks[first : first + size] for first in range(0, len(tasks), size)]


def _in_processes(
    folder: Path, config: FrontendConfig, shards: Sequence[Sequence[Task]], num_workers: int
) -> Iterator[tuple[int, dict[str, str]]]:
    # forked workers have torch loaded already
    context = mp.get_context("fork" if sys.platform == "linux" and hasattr(os, "fork") else "spawn")
    stop = context.Event()
    most = MOST_PROCESSES if sys.platform == "win32" else num_workers
    pool = ProcessPoolExecutor(min(num_workers, most), context, _start_worker, (folder, config, stop))
    try:
        for future in as_completed([pool.submit(_shard_in_worker, shard) for shard in shards]):
            yield future.result()
    except BrokenProcessPool as error:
        raise AedError(
            "a process that computes features was killed, most likely out of memory; finished features stay "
            "cached; run again with data.cache_workers=1"
        ) from error
    finally:
        stop.set()  # after Ctrl-C or an error: shards at work are written as far as they are
        pool.shutdown(wait=True, cancel_futures=True)


class Report:
    """A bar with time left and rate; where there is no terminal, a line per minute.

    Args:
        total: Of what is computed.
        title: What is computed of each.
        unit: What they are.
    """

    def __init__(self, total: int, title: str = "features", unit: str = "clips") -> None:
        columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.total, self.title, self.unit = total, title, unit
        self.done, self.started = 0, time.monotonic()
        self.reported = self.started
        console = PlainConsole(stderr=True)
        shown = (*columns, TextColumn("{task.fields[rate]}"))
        self.bar = Progress(*shown, transient=True, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=total, rate="")

    def __enter__(self) -> "Report":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        seconds = time.monotonic() - self.started
        rate, unit = self.done / seconds, self.unit
        log.info("computed %s of %d %s in %.1f s, %.0f %s/s", self.title, self.done, unit, seconds, rate, unit)

    def advance(self, number: int = 1) -> None:
        """Counts so many as done."""
        self.done += number
        now = time.monotonic()
        rate = self.done / max(now - self.started, 1e-9)
        self.bar.update(self.task, advance=number, rate=f"{rate:.0f} {self.unit}/s")
        if not self.bar.console.is_terminal and now - self.reported > 60:
            self.reported = now
            left = (self.total - self.done) / max(rate, 1e-9)
            facts = (self.title, self.done, self.total, self.unit, rate, self.unit, left)
            log.info("%s: %d of %d %s, %.0f %s/s, %.0f s left", *facts)
