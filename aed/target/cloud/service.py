"""Requests to the service: boards, versions, an upload that is deleted again, the end of a run."""

import json
import logging
import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aed.base.errors import AedError
from aed.target.boards import Board
from aed.target.cloud.errors import CloudError
from aed.target.cloud.session import Session
from aed.target.cloud.wire import Answer, Limit
from aed.target.stedgeai.parse import number

log = logging.getLogger(__name__)

POLL_S = 2.0
CLEAN_UP_S = 60.0
"""For the deletion of an upload, whatever time is left otherwise."""

STATES = (
    "waiting_for_build", "in_queue", "generating_sources", "copying_sources", "loading_sources", "building", "flashing",
    "validation", "done", "error",
)  # fmt: skip
"""Of a benchmark, as ST's client knows them."""


class Service:
    """The service as one user sees it.

    Args:
        session: Of the user.
    """

    def __init__(self, session: Session) -> None:
        self.session, self.wire, self.endpoints = session, session.wire, session.endpoints

    def boards(self, limit: Limit) -> dict[str, dict[str, Any]]:
        """Name -> the service's description, of the boards in the farm.

        Raises:
            CloudError: See its kinds.
        """
        content = self.session.content(self.session.call("GET", f"{self.endpoints.benchmark}/boards", limit))
        return {name: about for name, about in content.items() if isinstance(about, dict)}

    def queue(self, board: Board, limit: Limit) -> str:
        """The farm's name of a board.

        Raises:
            CloudError: ``board``: it has none.
        """
        known, wanted = self.boards(limit), (board.cloud_name or "").lower()
        for name, about in known.items():
            if name.lower() == wanted:
                if about.get("boardCount") == 0:
                    log.warning("Developer Cloud: the farm reports 0 of %s at the moment", board.cloud_name)
                return board.cloud_name or name
        names = [self.wire.secrets.line(name, 60) for name in sorted(known)[:60]]
        raise CloudError("board", f"board={board.name}: the farm has no {board.cloud_name}; it has {names}")

    def version(self, chosen: str | None, limit: Limit) -> str | None:
        """The version of ST Edge AI Core to ask for; null: the service's own choice.

        Raises:
            AedError: The chosen one is not on offer.
        """
        try:
            answer = self.wire.send("GET", self.endpoints.versions, limit, tries=2)
            rows = self.wire.parse(answer) if answer.status == 200 else None
        except CloudError as error:
            if error.kind == "time":
                raise
            rows = None
        rows = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        known = {row["version"]: row for row in rows if re.fullmatch(r"[\w.-]{1,40}", str(row.get("version")))}
        if chosen is None:
            return next((name for name, row in known.items() if row.get("isLatest") is True), None)
        if known and chosen not in known:
            raise AedError(
                f"cloud.version: Developer Cloud offers {self.wire.secrets.line(str(list(known)))}, got {chosen!r}"
            )
        return chosen

    def wants_text(self, limit: Limit) -> bool:
        """Whether the service is of the older kind, that takes the options as one text, by its own description."""
        try:
            answer = self.wire.send("GET", f"{self.endpoints.benchmark}/api", limit, tries=2)
            value: Any = self.wire.parse(answer) if answer.status == 200 else None
        except CloudError as error:
            if error.kind == "time":
                raise
            return False
        keys = ("paths", "/benchmark/{queue}", "post", "requestBody", "content", "application/json", "schema")
        for key in (*keys, "properties"):
            value = value.get(key) if isinstance(value, dict) else None
        return isinstance(value, dict) and set(value) == {"model", "args"}

    @contextmanager
    def uploaded(self, content: bytes, suffix: str, limit: Limit) -> Iterator[str]:
        """Context with the name of an uploaded model, which nobody else has; deleted at its end, whatever happens.

        Args:
            content: Of the file.
            suffix: By which the tool tells its kind.
            limit: Of time.
        """
        name = f"aed_{uuid.uuid4().hex}{suffix}"
        self.session.signed_on(limit)  # without it there is nothing to delete
        try:
            files = {"file": (name, content, "application/octet-stream")}
            # no other upload has this name: a second copy replaces the first
            answer = self.session.call("POST", f"{self.endpoints.file}/files/models", limit, repeat=True, files=files)
            if self.session.content(answer).get("upload") is not True:
                raise CloudError("service", f"{answer.host}: the upload failed, {self.wire.excerpt(answer)}; try later")
            log.info("Developer Cloud: uploaded %d bytes as %s", len(content), name)
            yield name
        finally:
            self._delete(name)

    def _delete(self, name: str) -> None:
        """Deletes an uploaded model; warns if that fails."""
        try:
            self.session.call("DELETE", f"{self.endpoints.file}/files/models/{name}", self.wire.limit(CLEAN_UP_S))
            log.info("Developer Cloud: deleted %s", name)
        except AedError as error:
            if not (isinstance(error, CloudError) and error.status == 404):
                log.warning("Developer Cloud: %s could not be deleted, it stays in your account (%s)", name, error)

    def wait(self, address: str, limit: Limit) -> dict[str, Any]:
        """The answer of a run that is done.

        Raises:
            CloudError: ``model``: it ended with an error; ``time``: it did not end.
        """
        last = ""
        while True:
            content = self.session.content(answer := self.session.call("GET", address, limit))
            state = content.get("state")
            if not isinstance(state, str) or not state:
                text = f"need a state, got {self.wire.excerpt(answer)}"
                raise CloudError("service", f"{answer.host}: {text}; try later")
            state, shown = state.lower(), self.wire.secrets.line(state.lower(), 60)
            if state != last:
                known = "" if state in STATES else " (a state not known here)"
                log.info("Developer Cloud: %s%s%s", shown, known, _percentage(content))
                last = state
            if state == "done" or (state != "error" and content.get("result")):  # an analysis may not say done
                return content
            if state == "error":
                raise CloudError("model", f"Developer Cloud: the run failed: {self._message(content)}")
            if limit.ends - limit.clock() <= POLL_S:
                raise limit.passed(f"the run is still {shown}")
            self.wire.sleep(POLL_S)

    def _message(self, content: Mapping[str, Any]) -> str:
        """The service's own message of an error."""
        result = content.get("result")
        for source in (content, result if isinstance(result, dict) else {}):
            for key in ("message", "error", "errors", "error_str"):
                if source.get(key):
                    value = source[key]
                    return self.wire.secrets.line(value if isinstance(value, str) else compact(value), 600)
        return "it gives no reason; target=stedgeai shows ST's tool's own messages for the same model"


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))


def identifier(content: Mapping[str, Any], key: str, answer: Answer) -> str:
    """The name of a run, fit for an address.

    Raises:
        CloudError: ``service``: there is none.
    """
    value = content.get(key)
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,128}", text):
        raise CloudError("service", f"{answer.host}: need {key} of the run that was asked for, got none; try later")
    return text


def _percentage(content: Mapping[str, Any]) -> str:
    """The progress, ``, 38 %``, from ``step``, ``totalStep`` and ``progress`` (percent of the step), where known."""
    step, steps, percent = (number(content.get(key)) for key in ("step", "totalStep", "progress"))
    if step is None or percent is None or not steps:
        return ""
    fraction = min(1.0, max(0.0, (step - 1 + percent / 100) / steps))
    return f", {100 * fraction:.0f} %"
