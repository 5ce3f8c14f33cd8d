"""MLflow's run of a folder: one and the same for whatever stages work there, below the run of its sweep."""

import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from aed.base.addresses import check_address
from aed.base.errors import AedError
from aed.run.tracking.names import flat, metric_name
from aed.scoring import tables

log = logging.getLogger(__name__)

RECORD = ".mlflow.json"
"""In the folder of a run or sweep: its run of MLflow."""

_CREDENTIALS = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
_ANSWER_S = 10.0
_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
"""MLflow's own, 7 times 120 s, would hold a training for a quarter of an hour where a server has gone."""

_AT_ONCE = 100
"""Most parameters of one request."""


class MLFlowLogger(loggers.MLFlowLogger):
    """A run in MLflow's database or on its server.

    Lightning's logger leaves letters out of names, so that two may become one, cuts settings after 250 letters, and
    ends the run with the training. Once the server fails, nothing more is told to it, which is said once: a training
    is worth more than its log.
    """

    is_continued = False
    """Whether the run was begun by an earlier command; its parameters stay."""

    ends_with_training = True
    """Whether MLflow is told that the run has ended when Lightning has; else :meth:`end` tells it."""

    lost = ""
    """Why nothing more is told to MLflow."""

    def attempt(self, what: str, call: Any, *arguments: Any, **named: Any) -> Any:
        """Calls ``call``; where it fails, says so, and from then on does nothing.

        Args:
            what: Is told, for the message.
            call: Of MLflow.
            arguments: Its.
            named: Its.
        """
        if self.lost:
            return None
        try:
            return call(*arguments, **named)
        except Exception as error:  # of MLflow, of its server, of the network, of the disk
            self.lost = (str(error).strip().splitlines() or [type(error).__name__])[0]
            log.warning(
                "MLflow, %s: %s cannot be logged (%s); nothing more of this run is told to it, all of it lies in the "
                "run's folder",
                self._tracking_uri,
                what,
                self.lost,
            )
            return None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Tells settings, each up to 6,000 letters; of a continued run those that it lacks."""
        from mlflow.entities import Param

        def tell() -> None:
            known = self.experiment.get_run(self.run_id).data.params if self.is_continued else {}
            named = {metric_name(key): text for key, text in flat(params).items()}
            new = [Param(key, text) for key, text in named.items() if key not in known]
            for first in range(0, len(new), _AT_ONCE):
                self.experiment.log_batch(self.run_id, params=new[first : first + _AT_ONCE])

        self.attempt("the settings", tell)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Tells metrics, also those that are no number."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [
            Metric(metric_name(f"{self._prefix}-{key}" if self._prefix else key), float(value), now, step or 0)
            for key, value in metrics.items()
        ]
        self.attempt("metrics", lambda: self.experiment.log_batch(self.run_id, metrics=rows))

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Ends the run where no stages follow; logs the checkpoints that were asked for."""
        if self.ends_with_training:
            self.attempt("its end", super().finalize, status)
        elif self._checkpoint_callback and self._initialized:
            self.attempt("checkpoints", self._scan_and_log_checkpoints, self._checkpoint_callback)

    def end(self, status: str) -> None:
        """Tells how the run ended.

        Args:
            status: ``FINISHED``, ``FAILED`` or ``KILLED``.
        """
        self.attempt("its end", lambda: self.experiment.set_terminated(self.run_id, status))


def is_mlflow(node: DictConfig) -> bool:
    """Whether a node of the configuration describes :class:`MLFlowLogger`."""
    return bool(node.get("_target_") == f"{MLFlowLogger.__module__}.{MLFlowLogger.__qualname__}")


def check(key: str, node: DictConfig) -> None:
    """Refuses a server that cannot be used, before anything waits for it.

    Args:
        key: Of the logger.
        node: Its configuration.

    Raises:
        AedError: Its address holds a password, or nothing answers there.
    """
    uri = str(node.get("tracking_uri") or "")
    check_address(f"{key}.tracking_uri", uri, _CREDENTIALS)
    address = urlsplit(uri)
    if address.scheme not in ("http", "https"):
        return
    for name, value in _RETRIES.items():
        os.environ.setdefault(name, value)
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), _ANSWER_S).close()
    except (OSError, ValueError) as error:
        raise AedError(
            f"{key}.tracking_uri: {uri} does not answer ({error}); start 'mlflow server', or do without: logger=csv"
        ) from error


def known_run(node: DictConfig, folder: Path) -> dict[str, str]:
    """The argument of :class:`MLFlowLogger` by which it goes on with the run of a folder; {}: it begins one.

    Args:
        node: Configuration of the logger.
        folder: Of the run.
    """
    record = tables.read_json(folder / RECORD)
    is_same = record.get("tracking_uri") == node.get("tracking_uri") and not node.get("run_id")
    return {"run_id": str(record["run_id"])} if is_same and record.get("run_id") else {}


def open_run(logger: MLFlowLogger, folder: Path, known: Mapping[str, str]) -> bool:
    """Opens the run and notes it in the folder; whether it can be used.

    Args:
        logger: Not yet opened.
        folder: Of the run.
        known: Of :func:`known_run`.

    Raises:
        AedError: The server refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        _ = logger.experiment  # creates the database
        if known:
            logger.is_continued = True
            logger.experiment.update_run(logger.run_id, status="RUNNING")
    except MlflowException as error:
        if known:  # deleted there
            return False
        text = str(error).strip().splitlines()[0]
        hint = f"; set {_CREDENTIALS}" if any(code in text for code in ("401", "403")) else ""
        raise AedError(f"MLflow, {logger._tracking_uri}: {text}{hint}, or do without: logger=csv") from error
    tables.write_json(folder / RECORD, {"tracking_uri": logger._tracking_uri, "run_id": logger.run_id})
    return True
