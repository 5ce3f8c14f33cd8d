"""The backend: a model goes up, is run on a board of ST's farm, its figures come back, the upload is deleted."""

import hashlib
import logging
import math
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from aed.base.errors import AedError
from aed.export.curves import need_separate
from aed.export.embedding import without_embedding
from aed.export.graph import OF_OTHERS, copy_of, graph_sha256, load_model
from aed.target.boards import Board, need_backend
from aed.target.cloud.answer import RunResult, read_answer
from aed.target.cloud.endpoints import Endpoints
from aed.target.cloud.errors import CloudError
from aed.target.cloud.service import Service, compact, identifier
from aed.target.cloud.session import Session
from aed.target.cloud.wire import Wire
from aed.target.report import Report
from aed.target.stedgeai.handed import handed

log = logging.getLogger(__name__)

LIMITS = (
    "inference_ms and cycles are of a board in ST's farm, on random inputs; flash_bytes and ram_bytes are weights and "
    "activations with ST's runtime library, without firmware, front end and stack"
)


class Cloud:
    """ST Edge AI Developer Cloud; tried only against a local stand-in of the service.

    Credentials come from the environment: ``STEDGEAI_CLOUD_TOKEN``, or ``STEDGEAI_CLOUD_USER`` and
    ``STEDGEAI_CLOUD_PASSWORD``, or ST's ``stmai_username`` and ``stmai_password``; without them a person at a
    terminal is asked. They go to the service alone, never into a log, message or file but ``token_file``.
    A model of this project goes up without its card, so without file names of clips; a file of others as it is.

    Args:
        version: Of ST Edge AI Core; null: the newest on offer.
        optimization: What the tool minimises.
        timeout_s: Limit of everything, s. A busy farm may need more than its default.
        request_s: Limit of one request, s.
        token_file: Stores the tokens of a sign-on, readable by its owner only; null: none.
        environment: Null: of this process.
        clock: Seconds.
        sleep: Waits a number of seconds.
    """

    name = "cloud"

    def __init__(
        self,
        version: str | None = None,
        optimization: Literal["balanced", "time", "ram"] = "balanced",
        timeout_s: float = 900.0,
        request_s: float = 30.0,
        token_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        for key, seconds in (("cloud.timeout_s", timeout_s), ("request_s", request_s)):
            if not (seconds > 0 and math.isfinite(seconds)):
                raise AedError(f"{key}: need seconds above 0, got {seconds}")
        if version is not None and not re.fullmatch(r"[\w.-]{1,40}", version):
            raise AedError(f"cloud.version: need one such as 4.0.1, got {version!r}")
        self.version, self.optimization, self.timeout_s = version, optimization, timeout_s
        environment = os.environ if environment is None else environment
        self._wire, self._endpoints = Wire(request_s, clock=clock, sleep=sleep), Endpoints.from_environment(environment)
        self._session = Session(self._wire, self._endpoints, environment, token_file)
        self.service = Service(self._session)

    def __repr__(self) -> str:
        return f"Cloud(version={self.version!r}, optimization={self.optimization!r}, timeout_s={self.timeout_s:g})"

    def benchmark(self, model: Path, board: Board, folder: Path) -> Report:
        """Memory, and time measured on a board of the farm.

        Args:
            model: ONNX, or a file of Keras or TensorFlow Lite.
            board: With a cloud name.
            folder: For the service's reports.

        Raises:
            CloudError: See its kinds.
        """
        need_backend(board, self.name)
        content, suffix, facts = _handed(model)
        limit = self._wire.limit(self.timeout_s)
        queue = self.service.queue(board, limit)
        version = self.service.version(self.version, limit)
        with self.service.uploaded(content, suffix, limit) as name:
            asked: dict[str, Any] = {"optimization": self.optimization} | ({"version": version} if version else {})
            if board.neural_art:
                asked |= {"target": board.series or "stm32n6", "stNeuralArt": "default"}
                asked |= {"atonnOptions": {"enable-epoch-controller": True}}
            options = {"args": compact(asked)} if self.service.wants_text(limit) else asked
            address = f"{self._endpoints.benchmark}/benchmark"
            queued, body = f"{address}/{quote(queue.lower(), safe='')}", {"model": name, **options}
            started = self._session.call("POST", queued, limit, board=board, json=body)
            run = identifier(self._session.content(started), "benchmarkId", started)
            log.info("Developer Cloud: %s waits for a %s", model.name, queue)
            done = self.service.wait(f"{address}/{run}", limit)
        result = self._result(done.get("benchmark"), run, folder)
        if "inference_ms" not in result.cost.figures:
            log.warning("Developer Cloud: run %s is done, but no time came with it", self._wire.secrets.line(run))
        return self._report("benchmark", board, result, version, {"run": run, **facts})

    def analyze(self, model: Path, board: Board, folder: Path) -> Report:
        """Memory and multiply-accumulates, as ST's tool counts them; nothing is run.

        Args:
            model: ONNX, or a file of Keras or TensorFlow Lite.
            board: With a cloud name and a series.
            folder: For the service's reports.

        Raises:
            CloudError: See its kinds.
        """
        need_backend(board, self.name)
        if board.series is None:
            raise AedError(f"board={board.name}: its file names no series, which the analysis needs")
        content, suffix, facts = _handed(model)
        limit = self._wire.limit(self.timeout_s)
        version = self.service.version(self.version, limit)
        with self.service.uploaded(content, suffix, limit) as name:
            asked: dict[str, Any] = {"model": name, "target": board.series, "optimization": self.optimization}
            asked |= {"stNeuralArt": "default"} if board.neural_art else {}
            address = self._endpoints.analysis(version)
            files = {"model": (name, content, "application/octet-stream")}
            # args and the file in one form, as ST's client sends them; the analysis changes nothing, so may be repeated
            data = {"args": compact(asked)}
            started = self._session.call("POST", f"{address}/analyze", limit, repeat=True, data=data, files=files)
            run = identifier(self._session.content(started), "runtimeId", started)
            done = self.service.wait(f"{address}/run/{run}", limit)
        result = self._result(done.get("result"), run, folder)
        return self._report("analyze", board, result, version, {"run": run, **facts})

    def _result(self, content: object, run: str, folder: Path) -> RunResult:
        """The figures of a run that is done.

        Raises:
            CloudError: ``service``: there are none.
        """
        try:
            result = read_answer(content if isinstance(content, dict) else {}, folder, self._wire.secrets)
        except RecursionError:
            result = read_answer({}, folder, self._wire.secrets)
        if not result.cost.figures:
            text = "is done, but no figure came with it; try later"
            raise CloudError("service", f"Developer Cloud: run {self._wire.secrets.line(run)} {text}")
        return result

    def _report(
        self, action: str, board: Board, result: RunResult, version: str | None, more: Mapping[str, str]
    ) -> Report:
        """The report of a run."""
        tools = {"ST Edge AI Core": result.tool, "ST Edge AI Developer Cloud": version or ""}
        return Report(
            target=self.name,
            action=action,
            board=board.name,
            core=board.core,
            net=result.cost,
            tools={name: text for name, text in tools.items() if text},
            limits=LIMITS if action == "benchmark" else LIMITS.split("; ")[1],
            details={**self._wire.secrets.clean_json(more), "optimization": self.optimization, **result.details},
        )


def _handed(path: Path) -> tuple[bytes, str, dict[str, str]]:
    """What goes up: a model without its metadata, or a file of others; its suffix; a SHA-256 that tells which it was.

    Raises:
        AedError: It is missing, or no whole ONNX model.
    """
    if path.suffix.lower() in OF_OTHERS:
        content = handed(path).content
        return content, path.suffix.lower(), {"file_sha256": hashlib.sha256(content).hexdigest()}
    model = load_model(path)
    need_separate(model, path, "ST Edge AI")
    bare = copy_of(without_embedding(model))
    del bare.metadata_props[:]
    return bare.SerializeToString(deterministic=True), ".onnx", {"graph_sha256": graph_sha256(model)}
