"""A server for one page, for this machine alone: the files it is given, and what the page may write."""

import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aed.base.errors import AedError
from aed.run.page_store import PageStore

log = logging.getLogger(__name__)

HOST = "127.0.0.1"

MOST_BYTES = 32 << 20
"""Of a request: ten minutes of sound and more."""

TIMEOUT_S = 30.0

TYPES = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "json": "application/json",
    "wasm": "application/wasm",
}


class PageServer(ThreadingHTTPServer):
    """Serves a page under a path that only who started it knows.

    Args:
        files: Name -> content of the page's files; no other file is ever read.
        policy: Content-Security-Policy.
        store: What the page may write.
        port: 0: any that is free.

    Raises:
        AedError: The port is taken.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes], policy: str, store: PageStore, port: int = 0) -> None:
        self.files, self.policy, self.store = dict(files), policy, store
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            raise AedError(f"port={port}: {error}; take another, or port=0 for any that is free") from error

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no news."""
        log.debug("a request ended early", exc_info=True)

    @property
    def url(self) -> str:
        """Of the page, with the token."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = TIMEOUT_S
    server_version, sys_version = "aed", ""

    def do_GET(self) -> None:
        name = self._name()
        if name is None or name not in self.server.files:
            self._answer(HTTPStatus.NOT_FOUND, b"not found\n", "text/plain")
            return
        ending = name.rpartition(".")[2]
        self._answer(HTTPStatus.OK, self.server.files[name], TYPES[ending])

    do_HEAD = do_GET

    def do_POST(self) -> None:
        name = self._name()
        # a page of another origin may send requests, but not in the name of this one
        if name not in ("clip", "rule") or self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            self._refuse(HTTPStatus.FORBIDDEN, "not allowed")
            return
        size = self.headers.get("Content-Length", "")
        if not (size.isascii() and size.isdigit() and len(size) < 10 and int(size) <= MOST_BYTES):
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"need a length of up to {MOST_BYTES} bytes")
            return
        body = self.rfile.read(int(size))
        try:
            self._json(HTTPStatus.OK, {"message": self._write(name, body)})
        except AedError as error:
            self._json(HTTPStatus.OK, {"error": str(error)})  # of what the user typed, not of the page

    def _write(self, name: str, body: bytes) -> str:
        """Does what the page asks for, and says what was done."""
        if name == "rule":
            try:
                thresholds = json.loads(body)
            except ValueError as error:
                raise AedError(f"rule: no JSON ({error})") from error
            if not isinstance(thresholds, dict):
                raise AedError("rule: need on and off")
            return f"{self.server.store.write_rule(thresholds)} has these thresholds."
        asked = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        label, origin = (asked.get(key, [""])[0] for key in ("label", "origin"))
        return self.server.store.save_clip(body, label, origin)

    def _name(self) -> str | None:
        """The file that is asked for; None: not for this machine, or without the token."""
        hosts = {f"{own}:{self.server.server_port}" for own in (HOST, "localhost")}
        token, _, name = urlsplit(self.path).path.removeprefix("/").partition("/")
        if self.headers.get("Host") not in hosts or not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return None
        return name or "index.html"

    def _refuse(self, status: HTTPStatus, error: str) -> None:
        self.close_connection = True  # the body was not read
        self._json(status, {"error": error})

    def _json(self, status: HTTPStatus, content: dict[str, str]) -> None:
        self._answer(status, json.dumps(content).encode(), TYPES["json"])

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": f"{self.server.policy}; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """To the log of the program, without the token."""
        log.debug("%s", (format % args).replace(self.server.token, "..."))
