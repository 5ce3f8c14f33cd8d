"""The feature cache by Dask beside the pool of processes, in turn, on the same made-up clips.

python scripts/bench_dask.py --folder /tmp/dask [--clips 4000] [--seconds 5] [--workers 2] [--repeat 3]: writes wav
files of noise (16 bit, 16 kHz), builds their cache by each in turn, and prints clips a second with and without the
start of the workers, and the ratio of the medians. Content is hashed before, once. The folder is deleted afterwards.
"""

import argparse
import logging
import shutil
import time
from pathlib import Path
from statistics import median

from bench_scale import CONFIG, make

from aed.datamodules.cache import building
from aed.datamodules.cache.machines import ensure_by_dask
from aed.datamodules.cache.store import FeatureCache


class Timed(building.Report):
    """Keeps the seconds from the first shard's start to the end; workers have started by then."""

    seconds = 0.0

    def __exit__(self, *error: object) -> None:
        Timed.seconds = time.monotonic() - self.started
        super().__exit__(*error)


def build(folder: Path, files: list[Path], workers: int, by_dask: bool) -> tuple[float, float]:
    """Seconds of a build into a new cache: all of it, and computing alone."""
    cache = FeatureCache(folder / "cache", CONFIG, workers)
    shutil.rmtree(cache.folder, ignore_errors=True)
    started = time.monotonic()
    assert (ensure_by_dask(cache, files) if by_dask else cache.ensure(files)) == {}
    return time.monotonic() - started, Timed.seconds


def main() -> None:
    """Makes the sounds, builds, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    for name, default in (("--clips", 4000), ("--workers", 2), ("--repeat", 3)):
        parser.add_argument(name, type=int, default=default)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    from aed.datamodules.cache import machines

    building.Report = machines.Report = Timed  # type: ignore[misc]
    files = make(given.folder, given.clips, given.seconds, given.workers)
    FeatureCache(given.folder / "cache", CONFIG).keys(files)
    rates: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(given.repeat):
        for by_dask, found in rates.items():
            whole, computing = build(given.folder, files, given.workers, by_dask)
            found.append((given.clips / whole, given.clips / computing))
            name = "Dask" if by_dask else "pool"
            print(f"{name}  {found[-1][0]:7.1f} clips/s, {found[-1][1]:7.1f} without the start", flush=True)
    for column, what in enumerate(("whole", "without the start")):
        pool, dask = (median(row[column] for row in rates[by_dask]) for by_dask in (False, True))
        print(f"{what}: Dask {dask:.1f}, pool {pool:.1f} clips/s, ratio {dask / pool:.3f}")
    shutil.rmtree(given.folder)


if __name__ == "__main__":
    main()
