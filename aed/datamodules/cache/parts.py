"""Shards that machines have built apart, each attempt in a folder of its own, and how they join the cache.

``<front end>/.parts/<build>/<number>-<attempt>/`` holds the shards of one attempt at one task; when they are whole,
``<number>.json`` says so: its receipt. Nothing is locked until receipts are joined.
"""

import json
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import get_ident
from typing import Any

import torch
from filelock import FileLock, Timeout

from aed.base.errors import AedError
from aed.base.files import WriteError, write_whole
from aed.datamodules.cache.building import Task, Worker, keep_memory
from aed.datamodules.cache.file_keys import Facts
from aed.dsp.frontend import FrontendConfig

log = logging.getLogger(__name__)

PARTS = ".parts"
_LOCK = ".lock"


@contextmanager
def new_build(folder: Path) -> Iterator[Path]:
    """A folder for the parts of a build, whose lock shows that it is at work.

    Args:
        folder: Of the front end.
    """
    build = folder / PARTS / uuid.uuid4().hex
    build.mkdir(parents=True)
    with FileLock(build / _LOCK):
        yield build


def compute(build: str, frontend: Mapping[str, Any], number: int, tasks: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Computes and writes the shards of one task, in any process that sees the folder; a receipt, or an error.

    A task that was done is not done again: where a machine dies, those that it had finished are asked for anew.

    Args:
        build: Folder of :func:`new_build`.
        frontend: ``dataclasses.asdict`` of it.
        number: Of the task.
        tasks: Key, path and facts of each recording, as plain values.
    """
    receipt = Path(build) / f"{number}.json"
    if receipt.is_file():
        return dict(json.loads(receipt.read_bytes()))
    worker = _worker(json.dumps(frontend, sort_keys=True), get_ident())
    worker.folder = Path(build) / f"{number}-{uuid.uuid4().hex}"
    try:
        done, bad = worker.shard(
            [Task(key, Path(path), Facts(*facts) if facts else None) for key, path, facts in tasks]
        )
        result = {"done": done, "bad": bad, "folder": worker.folder.name}
        content = json.dumps(result).encode()
        write_whole(receipt, lambda file: file.write(content))
    except WriteError as error:
        shutil.rmtree(worker.folder, ignore_errors=True)
        return {"error": str(error)}
    return result


@lru_cache(maxsize=64)
def _worker(frontend: str, _: int) -> Worker:
    """What computes in this thread."""
    keep_memory()
    torch.set_num_threads(1)
    return Worker(Path(), FrontendConfig.from_dict(json.loads(frontend)))


def join(folder: Path, build: Path | None = None) -> int:
    """Moves the shards that have receipts into the cache, by renaming, and removes what is left; how many shards.

    For the holder of the cache's lock. Builds that are at work join their own parts.

    Args:
        folder: Of the front end.
        build: The caller's own, whose lock it holds; None: those of builds that have ended before.
    """
    builds = [build] if build else [path for path in (folder / PARTS).glob("*") if path.is_dir() and not _is_held(path)]
    count = 0
    for own in builds:
        for receipt in sorted(own.glob("*.json")):
            with suppress(ValueError, KeyError, TypeError):  # damaged: its shards are computed anew
                count += _move(own / Path(json.loads(receipt.read_bytes())["folder"]).name, folder)
        shutil.rmtree(own, ignore_errors=True)
    with suppress(OSError):  # others are at work
        (folder / PARTS).rmdir()
    return count


def _move(part: Path, folder: Path) -> int:
    """The array first: a shard is there when its json is."""
    whole = [path for path in sorted(part.glob("*.json")) if path.with_suffix(".npy").is_file()]
    for path in whole:
        path.with_suffix(".npy").replace(folder / f"{path.stem}.npy")
        path.replace(folder / path.name)
    return len(whole)


def _is_held(build: Path) -> bool:
    try:
        FileLock(build / _LOCK).acquire(timeout=0).lock.release()
    except Timeout:
        return True
    except OSError as error:
        raise AedError(f"{build}: cannot be looked into ({error}); delete it if no build is at work") from error
    return False
