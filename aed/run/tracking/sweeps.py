"""The run of MLflow that stands for a sweep: the runs of its jobs lie below it; in the end it has the summary."""

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from aed.run.folders import SWEEP
from aed.run.search.files import PICTURE, RESULTS, TRIALS
from aed.run.tracking.mlflow_logger import RECORD, MLFlowLogger
from aed.run.tracking.names import metric_name
from aed.scoring import tables

log = logging.getLogger(__name__)

PARENT = "mlflow.parentRunId"
"""Tag by which MLflow shows a run below another."""

_PARTS = {"mean": "", "sd": "sd/", "low": "low/", "high": "high/"}
"""Entry of a metric of the summary -> what its name begins with."""

_FILES = ("summary.json", "summary.csv", "multirun.yaml", RESULTS, TRIALS, PICTURE)
"""In the folder of a sweep or search: what people read."""

_MOST_AT_ONCE = 1000
"""Metrics of a request."""

_above: ContextVar[Path | None] = ContextVar("above", default=None)


@contextmanager
def below(folder: Path) -> Iterator[None]:
    """Has the runs of the block lie below one for a folder, as those of jobs lie below their sweep."""
    token = _above.set(folder)
    try:
        yield
    finally:
        _above.reset(token)


def sweep_folder() -> Path | None:
    """Folder of the sweep or search that this process does a job of; None: of none."""
    if above := _above.get():
        return above
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return None
    return Path(HydraConfig.get().sweep.dir)


def place_below(logger: MLFlowLogger, sweep: Path) -> None:
    """Puts the run of a job below the one of its sweep, which the first job creates.

    Jobs of one sweep may be of several experiments: each experiment has a run for the sweep.

    Args:
        logger: Of the job, opened.
        sweep: Folder of the sweep.
    """
    mark = (sweep / SWEEP).read_text(encoding="ascii") if (sweep / SWEEP).is_file() else ""
    with FileLock(sweep / f"{RECORD}.lock"):
        record = tables.read_json(sweep / RECORD)
        if record.get("sweep") != mark:  # of an earlier sweep in this folder
            record = {"sweep": mark, "runs": {}}
        key = json.dumps([logger._tracking_uri, logger.experiment_id])
        if key not in record["runs"]:
            run = logger.experiment.create_run(str(logger.experiment_id), run_name=str(sweep))
            record["runs"][key] = run.info.run_id
            tables.write_json(sweep / RECORD, record)
    logger.experiment.set_tag(logger.run_id, PARENT, record["runs"][key])


def end(sweep: Path, summary: Mapping[str, Mapping[str, Any]], may_fail: bool = False) -> None:
    """Tells MLflow the summary of a sweep, if any of its jobs has told it something.

    A metric is its mean over the jobs; ``sd/``, ``low/`` and ``high/`` before its name are deviation and interval.
    The sweep has failed where one of its jobs has.

    Args:
        sweep: Its folder.
        summary: As in ``summary.json``.
        may_fail: Whether it is well also where a job has failed.
    """
    record = tables.read_json(sweep / RECORD)
    for key, run_id in record.get("runs", {}).items():
        uri, experiment_id = json.loads(key)
        try:
            _tell(uri, experiment_id, run_id, sweep, summary, may_fail)
        except Exception as error:  # of MLflow, of its server, of the network, of the disk
            log.warning("MLflow, %s: the summary cannot be logged (%s); it lies in %s", uri, error, sweep)


def _tell(
    uri: str, experiment_id: str, run_id: str, sweep: Path, summary: Mapping[str, Mapping[str, Any]], may_fail: bool
) -> None:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client, now = MlflowClient(uri), int(time.time() * 1000)
    values = {
        f"{start}{name}": float(entry[part])
        for name, entry in summary.items()
        for part, start in _PARTS.items()
        if part in entry and not math.isnan(entry[part])
    }
    rows = [Metric(metric_name(name), value, now, 0) for name, value in values.items()]
    for first in range(0, len(rows), _MOST_AT_ONCE):
        client.log_batch(run_id, metrics=rows[first : first + _MOST_AT_ONCE])
    for name in _FILES:
        if (sweep / name).is_file():
            client.log_artifact(run_id, str(sweep / name))
    jobs = client.search_runs([experiment_id], f"tags.`{PARENT}` = '{run_id}'")
    is_well = may_fail or all(job.info.status == "FINISHED" for job in jobs)
    client.set_terminated(run_id, "FINISHED" if is_well else "FAILED")
