"""Loggers of a run: metrics as csv, and MLflow's database, which several runs may begin with at once."""

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from omegaconf import DictConfig

from aed.base.errors import reason
from aed.base.files import WriteError
from aed.scoring.tables import write_rows

_SQLITE = "sqlite:///"


class MetricsCsv(CSVLogger):
    """``metrics.csv``, which is whole at any time: Lightning's is overwritten where a column is added."""

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
