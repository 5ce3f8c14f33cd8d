"""What a run logs: rows that stay whole, and one database of MLflow's for runs that begin at once."""

import csv
import gc
import multiprocessing as mp
import os
import sqlite3
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event
from types import SimpleNamespace

import mlflow  # noqa: F401 - before processes are forked
import pytest
import tiny
from filelock import FileLock
from lightning.pytorch.callbacks import Callback, RichProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf

from aed.base.errors import AedError
from aed.base.files import WriteError
from aed.base.loading import loading
from aed.run import loggers, pipeline
from aed.run.tracking import sweeps

pytestmark = pytest.mark.usefixtures("processes")

FORK = mp.get_context("fork")


def node(experiment: str) -> DictConfig:
    return tiny.composed(f"experiment={experiment}", "logger=mlflow", "logger.mlflow.experiment_name=x").logger.mlflow


def begin_one(asked: DictConfig, together) -> None:
    warnings.simplefilter("ignore")
    if together:
        together.wait(60)
    folder = Path(str(os.getpid()))
    run = SimpleNamespace(config=SimpleNamespace(stages=["fit"], resume=False), folder=folder, is_main_process=True)
    logger = pipeline._opened("logger.mlflow", asked, run)
    logger.log_hyperparams({"a": 1})


def begin(asked: DictConfig, number: int) -> list[int | None]:
    together = FORK.Barrier(number) if number > 1 else None
    processes = [FORK.Process(target=begin_one, args=(asked, together)) for _ in range(number)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    return [process.exitcode for process in processes]


def test_first_runs_that_begin_at_once_share_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = node("demo")
    assert begin(asked, 3) == [0] * 3
    with FileLock(tmp_path / ".mlruns.db.lock"):  # where all is there nobody waits for it
        assert begin(asked, 1) == [0]
    with closing(sqlite3.connect("mlruns.db")) as database:
        assert database.execute("SELECT count(*) FROM experiments WHERE name = 'x'").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (4,)


class Kept(Logger):
    """Keeps what it is told."""

    name, version = "kept", 1

    def __init__(self) -> None:
        super().__init__()
        self.told: list[object] = []

    def log_hyperparams(self, params: object, *_: object, **__: object) -> None:
        self.told.append(params)

    def log_metrics(self, metrics: object, step: int | None = None) -> None:
        self.told.append((metrics, step))


def test_a_late_logger_opens_once_a_training_has_shown_that_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, opened, now = Kept(), list[int](), [0.0]
    monkeypatch.setattr(loggers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    late = loggers.LateLogger(lambda: opened.append(1) or kept, ThreadPoolExecutor(1))
    late.log_hyperparams({"a": 1})
    late.log_metrics({"b": 2.0}, 0)
    assert late.opened is None and not opened
    assert not hasattr(late, "experiment"), "Lightning would open it"
    now[0] = loggers.PATIENCE_S + 1
    late.log_metrics({"b": 3.0}, 1)
    assert late.opened is kept and kept.told == [{"a": 1}, ({"b": 2.0}, 0), ({"b": 3.0}, 1)]
    late.open()
    assert len(opened) == 1 and len(kept.told) == 3


def test_a_late_logger_opens_beside_what_goes_on_and_misses_nothing() -> None:
    kept, may_open = Kept(), Event()
    late = loggers.LateLogger(lambda: may_open.wait(10) and kept, ThreadPoolExecutor(1))
    late.log_hyperparams({"a": 1})
    late.begin()
    late.log_metrics({"b": 2.0}, 0)
    assert not kept.told, "it is not waited for"
    may_open.set()
    assert late.opened is kept and kept.told == [{"a": 1}, ({"b": 2.0}, 0)]
    late.log_metrics({"b": 3.0}, 1)
    assert kept.told[-1] == ({"b": 3.0}, 1)


def test_a_late_logger_opens_below_the_search_that_its_run_belongs_to(tmp_path: Path) -> None:
    found = list[Path | None]()
    late = loggers.LateLogger(lambda: found.append(sweeps.sweep_folder()) or Kept(), ThreadPoolExecutor(1))
    with sweeps.below(tmp_path):
        late.begin()
    late.open()
    assert found == [tmp_path]


def test_why_a_late_logger_cannot_be_opened_is_told_once_it_is_needed() -> None:
    def refuse() -> Kept:
        raise AedError("no place")

    late = loggers.LateLogger(refuse, ThreadPoolExecutor(1))
    late.begin()
    with pytest.raises(AedError, match="no place"):
        _ = late.opened


def test_a_server_and_callbacks_of_others_find_their_loggers_open() -> None:
    mlflow_node, ours = node("demo"), [RichProgressBar()]
    assert loggers.can_wait(mlflow_node, ours)
    assert not loggers.can_wait(mlflow_node, [type("Mine", (Callback,), {"__module__": "mine"})()])
    assert not loggers.can_wait(OmegaConf.merge(mlflow_node, {"tracking_uri": "http://127.0.0.1:5000"}), ours)
    assert not loggers.can_wait(DictConfig({"_target_": "mine.Logger"}), ours)


def test_nothing_is_collected_while_libraries_are_loaded() -> None:
    with loading():
        assert not gc.isenabled()
        with loading():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), loading():
        raise KeyError
    assert gc.isenabled()


def test_metrics_stay_whole_where_a_column_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = loggers.MetricsCsv(str(tmp_path), "", "")
    for step, row in enumerate(({"a": 1.0}, {"a": 2.0, "b": 3.0}, {"c": 4.0})):
        logger.log_metrics(row, step)
        logger.save()
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{key: value for key, value in row.items() if value} for row in rows] == [
        {"a": "1.0", "step": "0"},
        {"a": "2.0", "b": "3.0", "step": "1"},
        {"c": "4.0", "step": "2"},
    ]
    before = (tmp_path / "metrics.csv").read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    logger.log_metrics({"d": 5.0}, 3)
    with pytest.raises(WriteError, match=r"metrics\.csv: cannot be written"):
        logger.save()
    assert (tmp_path / "metrics.csv").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
