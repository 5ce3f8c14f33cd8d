"""The feature cache by Dask distributed: processes of this machine, or the workers of a scheduler that is there.

Machines share the cache's folder and the recordings. Each task is a shard; no lock is held while they compute.
"""

import logging
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aed.base.errors import AedError
from aed.base.extras import need
from aed.datamodules.cache import parts
from aed.datamodules.cache.building import Report, Task, shards_of
from aed.datamodules.cache.fingerprint import fingerprint
from aed.datamodules.cache.store import FeatureCache

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger(__name__)

_ANSWER_S = 15.0
"""A scheduler that is silent for so long is not there."""

_OF_PROCESSES = {
    "distributed.worker.multiprocessing-method": "fork" if sys.platform == "linux" else "spawn",
    "distributed.worker.profile.enabled": False,
}
"""Of processes on this machine: as those of the pool they need not import torch anew; none is looked at as it works."""

_PER_THREAD = 2
"""Tasks that wait at a thread: it never idles, and a set of millions is not sent at once."""


def ensure_by_dask(cache: FeatureCache, files: Sequence[Path], scheduler: str | None = None) -> dict[Path, str]:
    """As :meth:`FeatureCache.ensure`, by Dask: computes what is missing; the reason for each file without features.

    Shards that were whole when a build ended early, however it did, are kept.

    Args:
        cache: In a folder that all machines see under the same path.
        files: Recordings, which all of them see.
        scheduler: Address, ``tcp://host:8786``; None: ``cache.num_workers`` processes of this machine.

    Raises:
        AedError: No scheduler answers, a worker cannot compute the same features, or a shard cannot be written.
    """
    need("distributed", "aed data build")
    keys, errors = cache.keys(files)
    with cache.locked():
        parts.join(cache.folder)
    bad: dict[str, str] = {}
    if missing := cache.missing(keys):
        where = f"scheduler={scheduler}" if scheduler else "processes of this machine"
        cache.describe()
        with parts.new_build(cache.folder) as build:
            try:
                with _quiet(), _client(scheduler, cache.num_workers) as client, _in_words(where):
                    threads = _check(client, where, cache, build, missing[0].path)
                    log.info("computing features of %d clips with %d threads, %s", len(missing), threads, where)
                    bad = _compute(client, cache, build, missing, threads)
            finally:
                with cache.locked():
                    joined = parts.join(cache.folder, build)
                if joined:
                    log.info("%d shards joined in %s", joined, cache.folder)
        if lacking := [task for task in cache.missing(keys) if task.key not in bad]:
            raise AedError(
                f"{where}: {len(lacking)} of {len(missing)} recordings have no features though every shard was said to "
                f"be whole, {lacking[0].path} first; was {cache.folder} changed meanwhile? Run again"
            )
    return errors | {path: f"{path}: {bad[key]}" for path, key in keys.items() if key in bad}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Dask's own lines and tracebacks out of the log: what matters of them is said in words."""
    import distributed.client
    import distributed.deploy.local  # noqa: F401 - their loggers are there now

    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "distributed"]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


@contextmanager
def _client(scheduler: str | None, num_workers: int) -> Iterator["Client"]:
    import dask
    from distributed import Client, LocalCluster

    if scheduler is None:
        with (
            dask.config.set(_OF_PROCESSES),
            LocalCluster(
                n_workers=num_workers,
                threads_per_worker=1,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # without one, port 8787 of all interfaces
                silence_logs=logging.CRITICAL,
            ) as cluster,
            Client(cluster) as client,
        ):
            yield client
        return
    try:
        client = Client(scheduler, timeout=_ANSWER_S)
    except (OSError, ValueError, TimeoutError) as error:
        raise AedError(
            f"scheduler={scheduler}: does not answer ({error}); start one, 'dask scheduler', and workers, 'dask worker "
            "ADDRESS', or leave scheduler= out for processes of this machine"
        ) from error
    with client:
        yield client


@contextmanager
def _in_words(where: str) -> Iterator[None]:
    """Errors of Dask as one that says what to do."""
    from distributed import KilledWorker
    from distributed.comm import CommClosedError

    try:
        yield
    except AedError:
        raise
    except KilledWorker as error:
        raise AedError(
            f"{where}: several workers died at one shard, most likely out of memory; whole shards stay; run again with "
            "fewer threads a worker"
        ) from error
    except (CommClosedError, OSError, TimeoutError) as error:
        raise AedError(f"{where}: {_GONE} ({error})") from error
    except Exception as error:  # a future that was cancelled as the connection was lost
        if "ancelled" not in type(error).__name__:
            raise
        raise AedError(f"{where}: {_GONE}") from error


_GONE = "the scheduler has gone while features were computed; whole shards stay; start it and run again"


def _asking() -> Callable[..., Any]:
    """A function that travels whole, so that it runs where this package is not installed, too."""

    def ask(frontend: Any, token: str, clip: str) -> Any:
        from pathlib import Path

        try:
            from aed.datamodules.cache.fingerprint import fingerprint
        except ImportError as error:
            return f"has no aed[dask] ({error})"
        try:
            found = fingerprint(frontend)
        except Exception as error:
            return f"cannot compute this front end ({error})"
        return found, Path(token).is_file(), Path(clip).is_file()

    return ask


def _check(client: "Client", where: str, cache: FeatureCache, build: Path, clip: Path) -> int:
    """The number of threads of the workers, all of which compute what this machine would, and see its files."""
    try:
        client.wait_for_workers(1, timeout=_ANSWER_S)
    except TimeoutError as error:
        raise AedError(f"{where}: has no worker; start some: dask worker ADDRESS") from error
    own, frontend = fingerprint(asdict(cache.config)), asdict(cache.config)
    token = build / f"{uuid.uuid4().hex}.token"
    token.touch()
    answers = client.run(_asking(), frontend, str(token.absolute()), str(clip.absolute()), on_error="return")
    for worker, answer in answers.items():
        _check_answer(f"{where}: worker {worker}", own, answer, cache.folder, clip)
    token.unlink()
    return sum(client.nthreads().values())


def _check_answer(worker: str, own: Mapping[str, str], answer: Any, folder: Path, clip: Path) -> None:
    if not isinstance(answer, tuple):
        raise AedError(f"{worker} {answer}; install the same there: pip install 'aed[dask]=={version('aed')}'")
    found, sees_folder, sees_clip = answer
    for name, value in own.items():
        if found.get(name) != value:
            raise AedError(
                f"{worker} has {name} {found.get(name)}, this machine {value}: features would differ; install the same "
                "on both and start the worker anew"
            )
    if not sees_folder:
        raise AedError(f"{worker} does not see {folder}; set data.cache_dir to a folder that all machines share")
    if not sees_clip:
        raise AedError(f"{worker} does not see {clip}; recordings have to lie under the same path on all machines")


def _compute(client: "Client", cache: FeatureCache, build: Path, tasks: Sequence[Task], threads: int) -> dict[str, str]:
    """Has the workers compute, a few tasks at a time; the reason for each bad key."""
    from distributed import as_completed

    frontend, bad = asdict(cache.config), dict[str, str]()
    place = str(build.absolute())

    def send(number: int, shard: Sequence[Task]) -> Any:
        plain = [(task.key, str(task.path.absolute()), task.facts) for task in shard]
        return client.submit(parts.compute, place, frontend, number, plain, pure=False, key=f"{build.name}-{number}")

    waiting = iter(enumerate(shards_of(tasks, threads)))
    running = as_completed([send(*item) for item in islice(waiting, _PER_THREAD * threads)])
    with Report(len(tasks)) as report:
        for future in running:
            result = future.result()
            if "error" in result:
                raise AedError(
                    f"a worker: {result['error']}; whole shards of all workers stay; make room and run again"
                )
            bad |= result["bad"]
            report.advance(result["done"])
            if item := next(waiting, None):
                running.add(send(*item))
    return bad
