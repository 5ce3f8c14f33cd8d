"""The folder a run writes to: its own, and never one that another run is writing to at the same time.

Hydra makes the folder and writes into it before a task begins, hence a callback of Hydra's. A folder named by date and
time is a new one: where two runs begin in the same second, the later one's name gets a number. A folder named by the
user may hold an earlier run; a lock of the system, which ends with its process, shows whether that one still runs.
"""

import itertools
import logging
import os
import tempfile
import uuid
from collections import Counter
from pathlib import Path

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from aed.base.errors import AedError, reason
from aed.base.overrides import quoted
from aed.settings.entry import clear_errors

log = logging.getLogger(__name__)

LOCK = ".run.lock"
"""In a run's or a sweep's folder; the file stays, the lock on it is held by a running process."""

SWEEP = ".run.sweep"
"""In the folders of a sweep and its jobs: which sweep last wrote there."""

_THIS_SWEEP = "AED_SWEEP"
"""Variable with the sweep's identifier, for its jobs, in whichever process they run."""

_ONE_EACH = "give each job its own, 'hydra.sweep.subdir=${hydra.job.num}'"

FIRST_BYTES = 1 << 20
"""Room that a run needs to begin with."""

_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")
"""Of torchrun, Lightning and Slurm: which of a run's processes this one is."""

_held: list[FileLock] = []


class OwnFolder(Callback):
    """Hydra callback that gives each run, sweep and job a folder of its own, or ends the process with a message."""

    def __init__(self) -> None:
        self.job: FileLock | None = None

    def on_run_start(self, config: DictConfig, **_: object) -> None:
        """Takes ``hydra.run.dir``."""
        with clear_errors(log):
            if number := rank():
                _follow(config, number)
            else:
                folder = _take(config, "hydra.run.dir")
                (folder / SWEEP).unlink(missing_ok=True)

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Takes ``hydra.sweep.dir``; the folders of its jobs lie in there."""
        with clear_errors(log):
            _check_jobs(config)
            folder = _take(config, "hydra.sweep.dir")
            for lock in folder.rglob(LOCK):
                if lock.parent != folder and is_held(lock.parent):
                    raise AedError(f"hydra.sweep.dir: a run is writing to {lock.parent}; give another folder")
            os.environ[_THIS_SWEEP] = uuid.uuid4().hex
            (folder / SWEEP).write_text(os.environ[_THIS_SWEEP], encoding="ascii")

    def on_job_start(self, config: DictConfig, **_: object) -> None:
        """Takes the folder of a sweep's job, in the process of that job."""
        if config.hydra.mode != RunMode.MULTIRUN or rank():
            return
        with clear_errors(log):
            folder = Path(config.hydra.runtime.output_dir)
            if (lock := lock_folder(folder)) is None:
                raise AedError(f"hydra.sweep.subdir: {folder} is being written to already; {_ONE_EACH}")
            self.job, mark, sweep = lock, folder / SWEEP, os.environ.get(_THIS_SWEEP)
            if sweep and mark.is_file() and mark.read_text(encoding="ascii") == sweep:
                raise AedError(f"hydra.sweep.subdir: an earlier job of this sweep wrote to {folder}; {_ONE_EACH}")
            mark.write_text(sweep or "", encoding="ascii")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: object) -> None:
        """Releases the folder of a sweep's job: of a thousand jobs not all can be held."""
        if self.job is not None:
            self.job.release()
            self.job = None


def rank() -> int:
    """Which of a run's processes this one is."""
    return next((int(os.environ[name]) for name in _RANKS if name in os.environ), 0)


def _check_jobs(config: DictConfig) -> None:
    """Refuses one folder for several jobs, where the names are known before the jobs begin."""
    hydra = config.hydra
    subdir = str(OmegaConf.to_container(hydra.sweep, resolve=False)["subdir"])  # type: ignore[call-overload, index]
    if "hydra.job.num" in subdir:  # the rule, and every job its own
        return
    is_basic = hydra.sweeper.get("_target_", "").endswith(".BasicSweeper") and not hydra.sweeper.get("params")
    try:
        folders = _job_folders(config) if is_basic else [subdir] * (1 if "${" in subdir else 2)
    except (HydraException, OmegaConfBaseException):  # the sweeper, which is next, says so
        return
    name, count = Counter(folders).most_common(1)[0]
    if count > 1:
        raise AedError(f"hydra.sweep.subdir: {name or 'nothing'} is one folder for several jobs; {_ONE_EACH}")


def _job_folders(config: DictConfig) -> list[str]:
    """``hydra.sweep.subdir`` of each job of Hydra's own sweeper."""
    loader = GlobalHydra.instance().config_loader()
    typed = OverridesParser.create(loader).parse_overrides(list(config.hydra.overrides.task))
    (jobs,) = BasicSweeper.split_arguments(typed, None)
    if len(jobs) == 1:
        return [""]
    composed = (loader.load_sweep_config(config, job) for job in jobs)
    return [os.path.normpath(str(OmegaConf.select(job, "hydra.sweep.subdir"))) for job in composed]


def _follow(config: DictConfig, rank: int) -> None:
    """Has a further process of a run write no files of the first."""
    if config.hydra.output_subdir is not None:  # Lightning, where it starts them, says so itself
        _set(config, "hydra.output_subdir", None)
        _set(config, "hydra.job.name", f"{config.hydra.job.name}_process_{rank}")


def _take(config: DictConfig, key: str) -> Path:
    """Creates and locks the folder that ``key`` names, a new one where the name contains the time.

    Raises:
        AedError: It is in use, or cannot be written.
    """
    name = OmegaConf.select(config, key)
    if name in (None, ""):
        raise AedError(f"{key}: names no folder; give one, {key}=outputs/mine, or leave it out")
    asked = Path(str(name))
    parent, _, leaf = key.rpartition(".")
    is_dated = "${now:" in str(OmegaConf.to_container(OmegaConf.select(config, parent), resolve=False)[leaf])  # type: ignore[call-overload, index]
    folder = claim(asked, key, is_dated)
    if folder != asked:
        _set(config, key, str(folder))
        others = [item for item in config.hydra.overrides.hydra if not item.startswith(f"{key}=")]
        _set(config, "hydra.overrides.hydra", [*others, f"{key}={quoted(str(folder))}"])  # jobs are composed anew
    return folder


def claim(asked: Path, key: str, is_dated: bool) -> Path:
    """Creates and locks a folder for this process.

    Args:
        asked: Folder to write to.
        key: What names it, for messages.
        is_dated: Whether it is to be a new one: the name gets a number where the folder exists.

    Raises:
        AedError: It is in use, or cannot be written.
    """
    try:
        for above in asked.resolve().parents:  # before anything is created there
            if (above / SWEEP).is_file() and is_held(above):
                raise AedError(f"{key}: {asked} belongs to a sweep that is running; give another folder")
        folder, lock = _new(asked) if is_dated else (asked, lock_folder(asked))
        if lock is None:
            raise AedError(f"{key}: another run is writing to {asked}; wait until it has ended, or give another folder")
        _held.append(lock)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(FIRST_BYTES))
    except OSError as error:
        if isinstance(error, AedError):
            raise
        raise AedError(f"{key}: {asked} cannot be written ({reason(error)}); give another folder") from error
    return folder


def release() -> None:
    """Lets others write to the folders of this process before it ends."""
    while _held:
        _held.pop().release()


def _new(asked: Path) -> tuple[Path, FileLock]:
    asked.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = asked if number == 1 else asked.with_name(f"{asked.name}_{number:02d}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        if (lock := lock_folder(folder)) is not None:
            return folder, lock
    raise AssertionError("numbers do not end")


def lock_folder(folder: Path) -> FileLock | None:
    """Creates a folder and locks it until the lock is released; None: another process holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except NotImplementedError:
        log.warning("%s: its file system has no locks; make sure that no other run writes there", folder)
    return lock


def is_held(folder: Path) -> bool:
    """Whether a running process writes to a folder."""
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
