"""Feature cache and loader on a made-up set: shapes and noise only.

python scripts/bench_scale.py --folder /tmp/scale [--clips 51000] [--seconds 5] [--workers 2] [--keep]: writes wav files
of noise (16 bit, 16 kHz; 51,000 x 5 s are 8.2 GB), builds their cache in a process of its own, kills that with SIGKILL
when half is done, builds on, starts warm, and loads one random patch of each clip: prints rates, the peak of memory of
all processes (proportional set size: what is shared counts once), bytes on disk, and clips lost to the kill.
The folder is deleted afterwards unless ``--keep``.
"""

import argparse
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import soundfile as sf
from torch.utils.data import DataLoader

from aed.datamodules.cache.store import FeatureCache
from aed.datamodules.patches import ClipLabels, PatchDataset, already_batched
from aed.datamodules.samplers import EvalSampler, TrainSampler
from aed.dsp import PRESETS

CONFIG = PRESETS["yamnet_64x96"]
RATE = 16000


def wav(folder: Path, seconds: float, number: int) -> Path:
    """A wav of noise; each number another one. 1,000 lie in a folder."""
    path = folder / f"{number // 1000:04d}" / f"{number:07d}.wav"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(-8192, 8192, round(seconds * RATE), dtype=np.int16)
        sf.write(path, noise, RATE)
    return path


def make(folder: Path, clips: int, seconds: float, workers: int) -> list[Path]:
    """All files."""
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(partial(wav, folder / "audio", seconds), range(clips), chunksize=500))


def store(folder: Path, workers: int) -> FeatureCache:
    """The cache in ``folder``."""
    return FeatureCache(folder / "cache", CONFIG, workers)


def begun(folder: Path) -> Path:
    """Holds the time at which a build began, imports and the list of files behind it."""
    return folder / "begun"


def clips_done(folder: Path, seen: dict[Path, int] | None = None) -> int:
    """Clips in whole shards; ``seen``: of those looked into before."""
    seen = {} if seen is None else seen
    for path in store(folder, 1).folder.glob("*.json"):
        if path not in seen:
            seen[path] = len(json.loads(path.read_text(encoding="utf-8"))["clips"])
    return sum(seen.values())


def memory_bytes(pid: int) -> int:
    """Proportional set size of a process and all below it."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def build(folder: Path, workers: int, stop_at: int | None = None) -> tuple[float, float]:
    """Builds in a process of its own; returns s, imports not counted, and the peak of bytes.

    Args:
        folder: Of the bench.
        workers: Processes that compute.
        stop_at: Clips after which it is killed.
    """
    command = [sys.executable, __file__, "--folder", str(folder), "--workers", str(workers), "--build-only"]
    peak = 0
    seen: dict[Path, int] = {}
    process = subprocess.Popen(command)
    while process.poll() is None:
        try:
            peak = max(peak, memory_bytes(process.pid))
        except psutil.NoSuchProcess:
            break
        if stop_at is not None and clips_done(folder, seen) >= stop_at:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(1)
    if process.wait() not in (0, -signal.SIGKILL):
        raise SystemExit("the build failed")
    return time.time() - float(begun(folder).read_text(encoding="utf-8")), peak


def files_of(folder: Path) -> list[Path]:
    """The files made before, in order."""
    return sorted((folder / "audio").rglob("*.wav"))


def batches(data: PatchDataset, sampler: object, batch_size: int, workers: int) -> Iterator[int]:
    """Patches of each batch."""
    loader = DataLoader(
        data,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        collate_fn=already_batched,  # type: ignore[arg-type]
    )
    return (len(batch.patches) for batch in loader)


def best_rate(data: PatchDataset, sampler: object, batch_size: int, workers: int, repeat: int = 3) -> float:
    """Patches a second of the best of some epochs; start of the workers not counted, first batch neither."""
    rates = []
    for _ in range(repeat):
        sizes = batches(data, sampler, batch_size, workers)
        next(sizes)
        started = time.perf_counter()
        rates.append(sum(sizes) / (time.perf_counter() - started))
    return max(rates)


def measure(folder: Path, clips: int, workers: int) -> None:
    """Prints every figure."""
    first, peak = build(folder, workers, clips // 2)
    kept, shards = clips_done(folder), list(store(folder, 1).folder.glob("*.json"))
    print(f"killed after    {first:8.1f} s, {kept} clips kept, peak {peak / 1e9:.2f} GB", flush=True)
    before = {path: path.stat().st_mtime_ns for path in shards}
    seconds, peak = build(folder, workers)
    assert all(path.stat().st_mtime_ns == time_ns for path, time_ns in before.items())
    assert clips_done(folder) == clips
    print(f"resumed         {seconds:8.1f} s, {clips - kept} clips, peak {peak / 1e9:.2f} GB", flush=True)
    print(f"both together   {clips / (first + seconds):8.1f} clips/s, keys of files included", flush=True)
    size = [path.stat().st_size for path in (folder / "cache").rglob("*") if path.is_file()]
    audio = sum(path.stat().st_size for path in files_of(folder))
    print(f"on disk         {sum(size) / 1e9:8.2f} GB in {len(size)} files; audio {audio / 1e9:.2f} GB")
    seconds, peak = build(folder, workers)
    print(f"warm start      {seconds:8.1f} s, peak {peak / 1e9:.2f} GB", flush=True)
    loading(folder)


def loading(folder: Path) -> None:
    """Prints what the loader gives."""
    files = files_of(folder)
    cache = store(folder, 1)
    started = time.perf_counter()
    assert not cache.ensure(files)
    features = cache.open(files)
    print(f"ensure and open {time.perf_counter() - started:8.2f} s in a warm process", flush=True)
    targets = np.random.default_rng(0).integers(0, 200, len(files))
    started = time.perf_counter()
    data = PatchDataset(features, ClipLabels(targets), CONFIG)
    print(f"data set        {time.perf_counter() - started:8.2f} s, {len(data)} patches on the grid")
    for name, choice in {
        "grid": {},
        "one per clip": {"patches_per_clip": 1},
        "balanced": {"class_balance": True},
        "balanced, one per clip": {"class_balance": True, "patches_per_clip": 1},
    }.items():
        started = time.perf_counter()
        sampler = TrainSampler(data, 0, True, **choice)  # type: ignore[arg-type]
        made = time.perf_counter()
        count = sum(1 for _ in sampler)
        print(f"epoch, {name:20s} made {made - started:6.2f} s, drawn {time.perf_counter() - made:6.2f} s, {count}")
    random = TrainSampler(data, 0, True, patches_per_clip=1)
    windows = np.array(list(random))
    for size in (32, 64, 256):
        started = time.perf_counter()
        for part in np.array_split(windows, len(windows) // size):
            features.gather(part, CONFIG.patch_frames)
        rate = len(windows) / (time.perf_counter() - started)
        print(f"gather, {size:4d}    {rate:8.0f} patches/s", flush=True)
    for size, workers in ((32, 0), (64, 0), (256, 0), (256, 1), (256, 2)):
        print(
            f"loader, {size:4d}, {workers} workers {best_rate(data, random, size, workers):8.0f} patches/s", flush=True
        )
    print(f"loader, grid in order, 256 {best_rate(data, EvalSampler(data), 256, 0, 1):8.0f} patches/s")


def main() -> None:
    """Makes, builds, kills, builds on, loads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=51000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--build-only", action="store_true", help="used by the script itself")
    parser.add_argument("--load-only", action="store_true", help="over a folder kept before")
    given = parser.parse_args()
    if given.build_only:
        logging.basicConfig(level=logging.INFO, format="    %(asctime)s %(message)s")
        files = files_of(given.folder)
        begun(given.folder).write_text(str(time.time()), encoding="utf-8")
        assert not store(given.folder, given.workers).ensure(files)
        return
    if given.load_only:
        loading(given.folder)
        return
    started = time.perf_counter()
    make(given.folder, given.clips, given.seconds, given.workers)
    print(f"sounds made in  {time.perf_counter() - started:8.1f} s", flush=True)
    measure(given.folder, given.clips, given.workers)
    if not given.keep:
        shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
