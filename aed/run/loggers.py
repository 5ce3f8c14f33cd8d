"""Loggers of a run: those installed, metrics as csv, MLflow's database, which several runs may create at once."""

import csv
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from omegaconf import DictConfig

from aed.base.errors import reason
from aed.base.extras import install_command, is_installed, need
from aed.base.files import WriteError
from aed.scoring.tables import write_rows

log = logging.getLogger(__name__)

METRICS_CSV = ExperimentWriter.NAME_METRICS_FILE
"""File of a run: a row per epoch and split."""

PATIENCE_S = 20.0
"""Of a training, until a :class:`LateLogger` opens."""

_SQLITE = "sqlite:///"
_PACKAGES = {"MLFlowLogger": ("mlflow",), "TensorBoardLogger": ("tensorboard", "tensorboardX")}
"""Class of a logger -> the packages of which it needs any one."""


def installed(loggers: DictConfig) -> dict[str, DictConfig]:
    """The configured loggers whose packages are installed; a warning names the others.

    ``logger=default`` asks for all kinds, so that a smaller installation logs to those it has. A logger that is asked
    for alone is not replaced.

    Args:
        loggers: Name -> configuration of a logger, or nothing.

    Raises:
        AedError: Loggers are configured and none is installed.
    """
    wanted = {str(key): node for key, node in loggers.items() if node}
    missing = {key: packages[0] for key, node in wanted.items() if (packages := _missing(node))}
    usable = {key: node for key, node in wanted.items() if key not in missing}
    if not usable:
        for key, package in missing.items():
            need(package, f"logger={key}")
    if missing:
        log.warning(
            "logger: metrics go to %s alone; not installed: %s (%s; logger=csv silences this warning)",
            " and ".join(usable),
            ", ".join(missing.values()),
            install_command(next(iter(missing.values()))),
        )
    return usable


def _missing(node: DictConfig) -> tuple[str, ...]:
    """The packages of which a logger needs one, where none is installed."""
    packages = _PACKAGES.get(str(node.get("_target_")).rpartition(".")[2], ())
    return () if any(map(is_installed, packages)) else packages


def without_finished(loggers: dict[str, DictConfig], folder: Path) -> dict[str, DictConfig]:
    """The loggers but for :class:`MetricsCsv` where the folder has its file: opening it would delete the rows.

    For runs that do not train: the learning curves of the training stay.

    Args:
        loggers: Name -> configuration of a logger.
        folder: Folder of the run.
    """
    if not (folder / METRICS_CSV).exists():
        return loggers
    return {key: node for key, node in loggers.items() if not is_csv(node)}


def is_csv(node: DictConfig) -> bool:
    """Whether a node of the configuration describes :class:`MetricsCsv`."""
    return bool(node.get("_target_") == f"{MetricsCsv.__module__}.{MetricsCsv.__qualname__}")


def can_wait(node: DictConfig, callbacks: Sequence[Callback]) -> bool:
    """Whether a node of the configuration describes a logger that takes long to open, and that nobody needs at once.

    A server may refuse, which is to be known before hours of training; a callback of others may write by the logger's
    ``experiment``, which a :class:`LateLogger` has not.

    Args:
        node: Configuration of a logger.
        callbacks: Of the trainer.
    """
    kind, uri = str(node.get("_target_")).rpartition(".")[2], str(node.get("tracking_uri") or "")
    are_ours = all(type(callback).__module__.startswith(("aed.", "lightning.")) for callback in callbacks)
    return kind in _PACKAGES and not uri.startswith(("http:", "https:")) and are_ours


class LateLogger(Logger):
    """A logger that is opened when nobody waits any more, and is then told all that it has missed.

    That is after the first table of scores, beside the stages that follow; in a training that takes longer, once it has
    shown that it does.

    Args:
        opening: Opens the logger.
        pool: In whose thread.
    """

    def __init__(self, opening: Callable[[], Logger], pool: Executor) -> None:
        super().__init__()
        self._opening, self._pool, self._made = opening, pool, time.monotonic()
        self._begun: Future[Logger] | None = None
        self._logger: Logger | None = None
        self._missed: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def begin(self) -> None:
        """Begins to open the logger, and does not wait for it; once."""
        if self._begun is None:
            self._begun = self._pool.submit(copy_context().run, self._opening)

    def open(self) -> Logger:
        """The logger, open, and told what has come so far."""
        self.begin()
        if self._logger is None:
            assert self._begun is not None
            self._logger, missed = self._begun.result(), self._missed
            for name, arguments, named in missed:
                getattr(self._logger, name)(*arguments, **named)
        return self._logger

    @property
    def opened(self) -> Logger | None:
        """The logger, once it is open; None: nothing has begun to open it."""
        return self.open() if self._begun else None

    def _tell(self, name: str, *arguments: Any, **named: Any) -> None:
        if self._begun is None or not self._begun.done():
            self._missed.append((name, arguments, named))
        else:
            getattr(self.open(), name)(*arguments, **named)

    @property
    def name(self) -> str | None:
        """Of the logger; None before it is open."""
        return self._logger.name if self._logger else None

    @property
    def version(self) -> int | str | None:
        """Of the logger; None before it is open."""
        return self._logger.version if self._logger else None

    def log_hyperparams(self, params: Any, *arguments: Any, **named: Any) -> None:
        """Passes hyperparameters on."""
        self._tell("log_hyperparams", params, *arguments, **named)

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Passes metrics on."""
        if time.monotonic() - self._made > PATIENCE_S:
            self.open()
        self._tell("log_metrics", dict(metrics), step)

    def save(self) -> None:
        """Passes on that what was logged is to be saved."""
        self._tell("save")

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Passes on that a checkpoint was saved."""
        self._tell("after_save_checkpoint", checkpoint_callback)

    def finalize(self, status: str) -> None:
        """Passes on how the training ended."""
        self._tell("finalize", status)


class MetricsCsv(CSVLogger):
    """``metrics.csv``, which is whole at any time: Lightning's is overwritten where a column is added."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Does nothing: settings are in ``.hydra/config.yaml``."""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The writer of the rows."""
        if self._experiment is None:
            self._experiment = _Writer(log_dir=self.log_dir)
        return self._experiment


class _Writer(ExperimentWriter):
    def save(self) -> None:
        try:
            super().save()
        except OSError as error:
            raise WriteError(f"{self.metrics_file_path}: cannot be written ({reason(error)})") from error

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        path = Path(self.metrics_file_path)
        with path.open(newline="", encoding="utf-8") as file:
            rows = [[row.get(name, "") for name in fieldnames] for row in csv.DictReader(file)]
        write_rows(path, fieldnames, rows)


@contextmanager
def creating(node: DictConfig) -> Iterator[None]:
    """Has one run after the other create the tables and the experiment that MLflow's database lacks.

    MLflow looks for tables and then creates them, so of two runs in a fresh folder one fails. Where nothing is
    missing no run waits.

    Args:
        node: Configuration of a logger.
    """
    uri = str(node.get("tracking_uri") or "")
    if not uri.startswith(_SQLITE) or _has_experiment(Path(uri.removeprefix(_SQLITE)), str(node.experiment_name)):
        yield
        return
    database = Path(uri.removeprefix(_SQLITE)).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock")):
        yield


def _has_experiment(database: Path, name: str) -> bool:
    """Whether the database has the experiment, and hence all tables, which are created first."""
    if not database.is_file():
        return False
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute("SELECT 1 FROM experiments WHERE name = ?", (name,)).fetchone() is not None
    except sqlite3.Error:  # half created
        return False
