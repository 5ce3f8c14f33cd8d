"""The folder a run writes to: its own, and never one that another run is writing to at the same time.

Hydra makes the folder and writes into it before a task begins, hence a callback of Hydra's. A folder named by date and
time is a new one: where two runs begin in the same second, the later one's name gets a number. A folder named by the
user may hold an earlier run; a lock of the system, which ends with its process, tells whether that one still runs.
"""

import itertools
import logging
import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from aed.entry import clear_errors
from aed.errors import AedError, reason
from aed.override import quoted

log = logging.getLogger(__name__)

LOCK = ".run.lock"
"""In a run's or a sweep's folder; it stays, what counts is who holds it."""

FIRST_BYTES = 1 << 20
"""Room that a run needs to begin with."""

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Of torchrun, Lightning and Slurm: which of a run's processes this one is."""

_held: list[FileLock] = []


class OwnFolder(Callback):
    """Hydra callback that gives each run and each sweep a folder of its own, or ends the process with a message."""

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        """Takes ``hydra.run.dir``."""
        with clear_errors(log):
            if rank := next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0):
                _follow(config, rank)
            else:
                folder = _take(config, "hydra.run.dir")
                if any(_is_held(parent) for parent in folder.absolute().parents[:2]):
                    raise AedError(f"hydra.run.dir: {folder} belongs to a sweep that is running; give another folder")

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Takes ``hydra.sweep.dir``; the folders of its jobs lie in there."""
        with clear_errors(log):
            folder = _take(config, "hydra.sweep.dir")
            for lock in folder.rglob(LOCK):
                if lock.parent != folder and _is_held(lock.parent):
                    raise AedError(f"hydra.sweep.dir: a run is writing to {lock.parent}; give another folder")


def _follow(config: DictConfig, rank: int) -> None:
    """Has a further process of a run leave the files of the first alone."""
    if config.hydra.output_subdir is not None:  # Lightning, where it starts them, says so itself
        _set(config, "hydra.output_subdir", None)
        _set(config, "hydra.job.name", f"{config.hydra.job.name}_process_{rank}")


def _take(config: DictConfig, key: str) -> Path:
    """Makes and locks the folder that ``key`` names, as a new one where its name is made from the time.

    Raises:
        AedError: It is in use, or cannot be written.
    """
    asked = Path(str(OmegaConf.select(config, key)))
    parent, _, leaf = key.rpartition(".")
    is_dated = "${now:" in str(OmegaConf.to_container(OmegaConf.select(config, parent), resolve=False)[leaf])  # type: ignore[call-overload, index]
    try:
        folder = _new(asked) if is_dated else _lock(asked)
        if folder is None:
            raise AedError(f"{key}: another run is writing to {asked}; wait until it has ended, or give another folder")
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(FIRST_BYTES))
    except OSError as error:
        if isinstance(error, AedError):
            raise
        raise AedError(f"{key}: {asked} cannot be written ({reason(error)}); give another folder") from error
    if folder != asked:
        _set(config, key, str(folder))
        others = [item for item in config.hydra.overrides.hydra if not item.startswith(f"{key}=")]
        _set(config, "hydra.overrides.hydra", [*others, f"{key}={quoted(str(folder))}"])  # jobs are composed anew
    return folder


def _new(asked: Path) -> Path:
    asked.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = asked if number == 1 else asked.with_name(f"{asked.name}_{number:02d}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        if _lock(folder) is not None:
            return folder
    raise AssertionError("numbers do not end")


def _lock(folder: Path) -> Path | None:
    """Makes and locks a folder for the rest of this process; None: another process has it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except NotImplementedError:
        log.warning("%s: its file system has no locks; see to it that no other run writes there", folder)
    _held.append(lock)
    return folder


def _is_held(folder: Path) -> bool:
    if not (folder / LOCK).is_file():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except (NotImplementedError, OSError):
        return False
    lock.release()
    return False


def _set(config: DictConfig, key: str, value: object) -> None:
    with read_write(config.hydra), open_dict(config.hydra):
        OmegaConf.update(config, key, value)
