"""The feature cache: the log-mel of each clip, computed once per (file content, front end).

One folder per front end (``FrontendConfig.feature_key``) holds shards: ``<name>.npy``, all frames of up to 256
clips one after the other, ``(frames, n_mels)`` float32, and ``<name>.json``, which says where each clip lies.
A clip's key is the SHA-256 of its file, so a changed, moved or copied file needs no bookkeeping. A shard is
written under a temporary name and renamed, its json last: what a killed run leaves is either whole or ignored.
"""

import ctypes
import hashlib
import json
import logging
import multiprocessing as mp
import os
import signal
import sys
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock, Timeout
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import AudioError, load_clip
from aed.errors import AedError
from aed.files import write_whole

log = logging.getLogger(__name__)

SHARD_CLIPS = 256
"""What a killed run may lose; 2 million clips make 8,000 shards."""

FEW_CLIPS = 16
"""So many are computed in this process: starting others would take longer."""

Array = npt.NDArray[np.float32]


def file_key(path: Path) -> str:
    """SHA-256 of a file's content, hex; read anew only when size or time of change differ.

    Raises:
        AudioError: The file cannot be read.
    """
    try:
        stat = path.stat()
        return _digest(path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else str(error)
        raise AudioError(f"{path}: {reason}") from error


@lru_cache(maxsize=1 << 17)
def _digest(path: Path, size: int, mtime_ns: int, ctime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _try_key(path: Path) -> str | AudioError:
    try:
        return file_key(path)
    except AudioError as error:
        return error


_logmel: LogMel | None = None


def _start_worker(config: FrontendConfig, is_child: bool = True) -> None:
    global _logmel
    if is_child:
        _die_with_parent()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
        torch.set_num_threads(1)
    _logmel = LogMel(config)


def _die_with_parent() -> None:
    """Has Linux end this worker when the run is killed: it would wait for work for ever."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _compute(path: Path) -> Array | str:
    """The log-mel ``(n_frames, n_mels)`` of a file, or why there is none (without the file's name)."""
    assert _logmel is not None
    try:
        wave = load_clip(path, _logmel.config)
    except AudioError as error:
        return str(error).removeprefix(f"{path}: ")
    return np.ascontiguousarray(_logmel(torch.from_numpy(wave)).numpy().T)


@dataclass(frozen=True)
class Features:
    """Memory-mapped log-mel of a list of clips.

    Args:
        shards: ``(frames, n_mels)`` each.
        shard: ``(num_clips,)`` shard of each clip.
        start: ``(num_clips,)`` its first frame there.
        n_frames: ``(num_clips,)`` its frames.
    """

    shards: list[Array]
    shard: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    n_frames: npt.NDArray[np.int64]

    def gather(self, windows: npt.NDArray[np.int64], patch_frames: int) -> Array:
        """Patches ``(len(windows), n_mels, patch_frames)``; ``windows`` ``(N, 2)`` holds clip and first frame."""
        n_mels = self.shards[0].shape[1]
        rows = np.empty((len(windows), patch_frames, n_mels), dtype=np.float32)
        shard, first = self.shard[windows[:, 0]], self.start[windows[:, 0]] + windows[:, 1]
        for row, (index, frame) in enumerate(zip(shard.tolist(), first.tolist(), strict=True)):
            rows[row] = self.shards[index][frame : frame + patch_frames]
        return rows.transpose(0, 2, 1)

    def clip(self, index: int) -> Array:
        """One clip's log-mel ``(n_mels, n_frames)``."""
        frames = slice(self.start[index], self.start[index] + self.n_frames[index])
        frame_rows: Array = self.shards[self.shard[index]][frames]
        return frame_rows.T


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
        self.num_workers = (
            num_workers or len(os.sched_getaffinity(0))
            if sys.platform == "linux"
            else (num_workers or os.cpu_count() or 1)
        )

    def ensure(self, files: Sequence[Path]) -> dict[Path, str]:
        """Computes what is missing; returns the reason for each file that has no features.

        Args:
            files: Recordings; several may have the same content.

        Raises:
            AedError: The cache cannot be written.
        """
        keys, errors = self._keys(files)
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

    def _all_bad(self, missing: dict[str, Path]) -> dict[str, str] | None:
        """The reason for each of ``missing``, or None where one is good: then the cache must be written."""
        _start_worker(self.config, is_child=False)
        bad: dict[str, str] = {}
        for key, path in missing.items():
            result = _compute(path)
            if not isinstance(result, str):
                return None
            bad[key] = result
        return bad

    def open(self, files: Sequence[Path]) -> Features:
        """The features of ``files``, all of which :meth:`ensure` has found good.

        Raises:
            AedError: One is missing, as when the cache was deleted meanwhile.
        """
        index = self._index()
        keys, errors = self._keys(files)
        lacking = [path for path, key in keys.items() if key not in index]
        if errors or lacking:
            raise AedError(f"{[*errors, *lacking][0]}: changed, or its features deleted, while in use; start anew")
        where = [index[keys[path]] for path in files]
        names = sorted({name for name, _, _ in where})
        return Features(
            shards=[np.load(self.folder / f"{name}.npy", mmap_mode="r") for name in names],
            shard=np.array([names.index(name) for name, _, _ in where], dtype=np.int64),
            start=np.array([start for _, start, _ in where], dtype=np.int64),
            n_frames=np.array([frames for _, _, frames in where], dtype=np.int64),
        )

    def _keys(self, files: Sequence[Path]) -> tuple[dict[Path, str], dict[Path, str]]:
        """Key of each readable file, and the reason for each other one."""
        with ThreadPoolExecutor(4) as pool:  # hashing lets go of the interpreter lock
            found = list(zip(files, pool.map(_try_key, files), strict=True))
        keys = {path: key for path, key in found if isinstance(key, str)}
        return keys, {path: str(error) for path, error in found if not isinstance(error, str)}

    def _index(self, damaged: list[Path] | None = None) -> dict[str, tuple[str, int, int]]:
        """Key -> (shard, first frame, frames), of whole shards only; ``damaged`` collects the others."""
        damaged = [] if damaged is None else damaged
        index: dict[str, tuple[str, int, int]] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                facts = json.loads(path.read_text())
                frames = len(np.load(path.with_suffix(".npy"), mmap_mode="r"))
                clips = {key: (path.stem, int(start), int(count)) for key, start, count in facts["clips"]}
                if any(start + count > frames for _, start, count in clips.values()):
                    raise ValueError(f"{frames} frames are fewer than its clips say")
            except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
                log.warning("%s: not a whole shard (%s); its clips are computed anew", path, error)
                if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
                    damaged.append(path)  # other trouble, such as too many open files, may pass
                continue
            index |= clips
        return index

    def _missing(self, keys: dict[Path, str]) -> dict[str, Path]:
        """Key -> a file of that content, for every key without features."""
        index = self._index()
        return {key: path for path, key in keys.items() if key not in index}

    @contextmanager
    def _lock(self) -> Iterator[None]:
        lock = FileLock(self.folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s: another run is computing features; waiting for it", self.folder)
            lock.acquire()
        try:
            damaged: list[Path] = []
            self._index(damaged)
            for useless in (*self.folder.glob("*.tmp"), *damaged):
                useless.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def _build(self, missing: dict[str, Path]) -> dict[str, str]:
        """Computes and writes ``missing`` shard by shard; returns the reason for each bad key."""
        errors: dict[str, str] = {}
        if not missing:
            return errors
        (self.folder / "frontend.txt").write_text(json.dumps(asdict(self.config), indent=1, sort_keys=True))
        log.info("computing features of %d clips with %d processes", len(missing), self.num_workers)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # small sets: several shards, written while the next clips are computed
        shard_clips = min(SHARD_CLIPS, max(FEW_CLIPS, len(missing) // 8))
        with Progress(*columns, transient=True) as progress:
            task = progress.add_task("log-mel features", total=len(missing))
            finished: dict[str, Array] = {}
            results = self._compute_all(list(missing.values()))
            try:
                for (key, path), result in zip(missing.items(), results, strict=True):
                    progress.advance(task)
                    if isinstance(result, str):
                        errors[key] = result
                    elif _try_key(path) == key:
                        finished[key] = result
                    else:
                        errors[key] = "changed while it was read; start anew"
                    if len(finished) == shard_clips:
                        self._write_shard(finished)
                        finished = {}
            finally:  # Ctrl-C keeps what is done
                if finished:
                    self._write_shard(finished)
                results.close()
        return errors

    def _compute_all(self, files: list[Path]) -> Generator[Array | str, None, None]:
        """The result of :func:`_compute` for each file, in order."""
        if len(files) <= FEW_CLIPS or self.num_workers == 1:
            _start_worker(self.config, is_child=False)
            yield from map(_compute, files)
            return
        # forked workers have torch loaded already; each keeps to one thread, as a DataLoader's do
        context = mp.get_context("fork" if sys.platform == "linux" else "spawn")
        pool = ProcessPoolExecutor(self.num_workers, context, _start_worker, (self.config,))
        try:
            for first in range(0, len(files), 4 * SHARD_CLIPS):  # bounds what waits in memory
                yield from pool.map(_compute, files[first : first + 4 * SHARD_CLIPS], chunksize=4)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _write_shard(self, clips: dict[str, Array]) -> None:
        name = hashlib.sha256("".join(clips).encode()).hexdigest()[:16]
        starts = np.cumsum([0] + [len(frames) for frames in clips.values()]).tolist()
        rows = [[key, start, len(frames)] for (key, frames), start in zip(clips.items(), starts, strict=False)]
        frames = np.concatenate(list(clips.values()))
        write_whole(self.folder / f"{name}.npy", lambda file: np.save(file, frames))
        write_whole(self.folder / f"{name}.json", lambda file: file.write(json.dumps({"clips": rows}).encode()))
