"""ST's Developer Cloud on this machine: every state, and every fault when asked for."""

import json
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

USER, PASSWORD = "someone@example.org", 'pa&s"s <wörd>+%'
TOKEN, FRESH, REFRESH, CODE = "tok-3f9a17c2d4", "fresh-81bb20e6aa", "refresh-55d0c9e1f7", "code-77aa01be"
SECRETS = (PASSWORD, TOKEN, FRESH, REFRESH, CODE)

STATES = ("waiting_for_build", "in_queue", "generating_sources", "copying_sources", "loading_sources", "building")
STATES += ("flashing", "validation", "done")

INFO: dict[str, Any] = {
    "json_schema_version": "2.0",
    "environment": {
        "device": "stm32 family - 0x482 - STM32U5xx @160MHz",
        "tools": [{"name": "ST.EdgeAI.Core", "version": "4.0.1-20581 7ed50de05", "arguments": "analyze"}],
        "generated_model": {"generated_time": "2026-09-12T00:08:54"},
    },
    "graphs": [
        {
            "nodes": [{"name": "conv_0", "type": "conv2d", "macc": 50000}, {"name": "gemm_1", "macc": 2420}],
            "exec_time": {"cycles": 989572, "duration_ms": 6.185, "cycles_by_macc": 18.9},
        }
    ],
    "memory_footprint": {
        "weights": 39904, "activations": 10144, "io": [0, 0], "kernel_flash": 5746, "kernel_ram": 288,
        "toolchain_flash": 732, "toolchain_ram": 0, "series": "stm32u5",
    },
    "memory_pools": [
        {"name": "POOL_0_RAM", "address": "0x20000000", "used_size_bytes": 10144, "rights": "ACC_WRITE"},
        {"name": "HYPER", "address": "0x90000000", "used_size_bytes": 77, "rights": "ACC_WRITE"},
        {"name": "weights", "used_size_bytes": 39904, "rights": "ACC_READ"},
    ],
    "validation": {"val_metrics": [{"desc": "X-cross #1", "acc": "n.a.", "rmse": 0.01, "cos": 0.999, "mae": "?"}]},
}  # fmt: skip

OLD_REPORT: dict[str, Any] = {
    "rom_size": 39904, "ram_size": [10144], "rom_n_macc": 52420, "cli_version_str": "8.1.0-19520",
    "val_metrics": [{"desc": "X-cross #1", "rmse": 0.01}],
}  # fmt: skip
OLD_GRAPH: dict[str, Any] = {
    "memory_footprint": {"weights": 39904, "activations": 10144, "kernel_flash": 5746, "kernel_ram": 288},
    "exec_time": {"cycles": 989572, "duration_ms": 6.185, "device": "STM32U5xx"},
    "memory_pools": [{"name": "EXTERNAL_RAM", "used_size": 5}],
}

Fault = Callable[["Handler"], None]


@dataclass
class FakeCloud:
    """What it does and what it saw.

    ``faults``: by ``METHOD /path`` (a regular expression): each is played once, in order; the last for ever if it is
    wrapped in :func:`always`.
    """

    url: str = ""
    token: str = TOKEN
    states: list[str] = field(default_factory=lambda: list(STATES))
    answer: dict[str, Any] = field(default_factory=lambda: {"info": INFO, "report": {}, "graph": None})
    extra: dict[str, Any] = field(default_factory=dict)
    stringified: bool = False
    versions: Any = field(default_factory=lambda: [{"version": "3.0.0"}, {"version": "4.0.1", "isLatest": True}])
    boards: Any = field(default_factory=lambda: {"B-U585I-IOT02A": {"boardCount": 2, "deviceCpu": "M33"}, "broken": 3})
    page: str = ""
    after: str = ""
    action: str = "/idp/login?x=1&amp;y=2"
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    models: dict[str, bytes] = field(default_factory=dict)
    uploaded: list[bytes] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    tokens_seen: list[tuple[str, str]] = field(default_factory=list)
    started: list[tuple[str, Any]] = field(default_factory=list)
    passwords: int = 0
    forms: list[dict[str, str]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def fail(self, where: str, *faults: Fault) -> None:
        self.faults.setdefault(where, []).extend(faults)

    def environment(self, **more: str) -> dict[str, str]:
        places = {
            "STM32AI_SERVICE_URL": "/api/stm32ai", "USER_SERVICE_URL": "/api/user", "FILE_SERVICE_URL": "/api/file",
            "BENCHMARK_SERVICE_URL": "/api/bench", "VERSIONS_URL": "/versions.json", "SSO_URL": "/sso",
            "CALLBACK_URL": "/callback",
        }  # fmt: skip
        return {name: self.url + path for name, path in places.items()} | more


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cloud: FakeCloud

    def log_message(self, *args: object) -> None:
        pass

    def send(self, status: int, content: Any = None, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_any(self) -> None:
        cloud, path = self.cloud, urlsplit(self.path).path
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        key = f"{self.command} {path}"
        cloud.seen.append(key)
        bearer = self.headers.get("Authorization", "")
        if bearer:
            cloud.tokens_seen.append((key, bearer))
        for where, faults in cloud.faults.items():
            if faults and re.fullmatch(where, key):
                fault = faults[0]
                if not getattr(fault, "stays", False):
                    faults.pop(0)
                fault(self)
                return
        free = ("/sso", "/idp", "/api/user/login", "/versions.json", "/api/bench/api")
        if not path.startswith(free) and bearer != f"Bearer {cloud.token}":
            self.send(401, {"message": f"bad token {bearer}"})
            return
        for method, pattern, answer in ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, path)):
                answer(self, *found.groups())
                return
        self.send(404, {"message": f"no {key}"})

    do_GET = do_POST = do_DELETE = do_any

    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), keep_blank_values=True).items()}

    def get_boards(self) -> None:
        self.send(200, self.cloud.boards)

    def get_versions(self) -> None:
        self.send(200, self.cloud.versions)

    def get_api(self) -> None:
        names = ("model", "args") if self.cloud.stringified else ("model", "version", "optimization")
        schema = {"schema": {"properties": {name: {} for name in names}}}
        body = {"requestBody": {"content": {"application/json": schema}}}
        self.send(200, {"paths": {"/benchmark/{queue}": {"post": body}}})

    def part(self, name: str) -> tuple[str, bytes]:
        head, _, rest = self.body.partition(f'name="{name}"'.encode())[2].partition(b"\r\n\r\n")
        file = re.search(rb'filename="([^"]+)"', head)
        boundary = self.body.split(b"\r\n", 1)[0]
        return (file.group(1).decode() if file else ""), rest.split(b"\r\n" + boundary)[0]

    def post_model(self) -> None:
        name, content = self.part("file")
        self.cloud.models[name] = content
        self.cloud.uploaded.append(content)
        self.send(200, {"upload": True})

    def delete_model(self, name: str) -> None:
        self.cloud.deleted.append(name)
        known = self.cloud.models.pop(name, None) is not None
        self.send(200 if known else 404, {"deleted": known})

    def post_benchmark(self, queue: str) -> None:
        asked = json.loads(self.body)
        assert asked["model"] in self.cloud.models
        self.cloud.started.append((queue, asked))
        self.send(200, {"benchmarkId": "run-17", "model": asked["model"], "args": {}})

    def get_benchmark(self, run: str) -> None:
        states = self.cloud.states
        state = states.pop(0) if len(states) > 1 else states[0]
        content: dict[str, Any] = {"state": state, "board": "B-U585I-IOT02A", "step": 2, "totalStep": 4, "progress": 50}
        if state == "done":
            content["benchmark"] = self.cloud.answer
        self.send(200, content | self.cloud.extra)

    def post_analyze(self) -> None:
        asked = json.loads(self.part("args")[1])
        assert self.part("model")[1] == self.cloud.models[asked["model"]]
        self.cloud.started.append(("analyze", asked))
        self.send(200, {"runtimeId": 99})

    def get_run(self, run: str) -> None:
        states = self.cloud.states
        state = states.pop(0) if len(states) > 1 else states[0]
        self.send(200, {"state": state} | ({"result": self.cloud.answer} if state == "done" else {}))

    def get_sign_on(self) -> None:
        form = (
            f'<html><body><form id="search" action="/find"><input name="q"></form><form id="f"\n method="post" '
            f'action="{self.cloud.action}"><input type="hidden" name="lt" value="LT-1&amp;2" /></form></body></html>'
        )
        self.send(200, (self.cloud.page or form).encode())

    def post_password(self) -> None:
        cloud, given = self.cloud, self.form()
        cloud.forms.append(given)
        cloud.passwords += 1
        if cloud.after:
            self.send(200, cloud.after.encode())
        elif (given["username"], given["password"], given["lt"]) != (USER, PASSWORD, "LT-1&2"):
            left = "You have provided the wrong password. You have 4 attempts left after which it will expire."
            self.send(200, f"<p>{left} You typed {given['password']}</p>".encode())
        else:
            self.send(302, b"", Location="/idp/next")

    def get_next(self) -> None:
        self.send(302, b"", Location=f"{self.cloud.url}/callback?code={quote(CODE)}&state=1")

    def post_callback(self) -> None:
        if self.form().get("code") == CODE:
            self.send(200, {"access_token": TOKEN, "refresh_token": REFRESH, "expires_at": 1})
        else:
            self.send(400, {"message": f"bad {self.body.decode()}"})

    def post_refresh(self) -> None:
        if self.form().get("refresh_token") == REFRESH:
            self.cloud.token = FRESH
            self.send(200, {"access_token": FRESH})
        else:
            self.send(400, {})


ROUTES: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("GET", "/api/bench/boards", Handler.get_boards),
    ("GET", "/versions.json", Handler.get_versions),
    ("GET", "/api/bench/api", Handler.get_api),
    ("POST", "/api/file/files/models", Handler.post_model),
    ("DELETE", "/api/file/files/models/(aed_[0-9a-f]{32}.(?:onnx|tflite|keras|h5))", Handler.delete_model),
    ("POST", "/api/bench/benchmark/(b-u585i-iot02a)", Handler.post_benchmark),
    ("GET", "/api/bench/benchmark/(run-17)", Handler.get_benchmark),
    ("POST", "/api/stm32ai/analyze", Handler.post_analyze),
    ("GET", "/api/stm32ai/run/(99)", Handler.get_run),
    ("GET", "/sso/as/authorization.oauth2", Handler.get_sign_on),
    ("POST", "/idp/login", Handler.post_password),
    ("GET", "/idp/next", Handler.get_next),
    ("POST", "/api/user/login/callback", Handler.post_callback),
    ("POST", "/api/user/login/refresh", Handler.post_refresh),
)


def status(code: int, content: Any = None, **headers: str) -> Fault:
    """Answers with a status; without content it sends back what it was sent, credentials and all."""

    def play(handler: Handler) -> None:
        echo = {"message": f"{dict(handler.headers)} {handler.body[:4000].decode(errors='replace')}"}
        handler.send(code, echo if content is None else content, **headers)

    return play


def drop(handler: Handler) -> None:
    """Closes the connection without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(2)


def cut(handler: Handler) -> None:
    """Promises more than it sends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"state": "do')
    drop(handler)


def silent(handler: Handler) -> None:
    """Answers when the test is over."""
    handler.cloud.released.wait(20)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """Sends a byte now and then: never silent, never done."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(400):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        if handler.cloud.released.wait(0.05):
            break
    handler.close_connection = True


def drip_head(handler: Handler) -> None:
    """As :func:`drip`, in the header."""
    for _ in range(400):
        handler.wfile.write(b"H")
        handler.wfile.flush()
        if handler.cloud.released.wait(0.05):
            break
    handler.close_connection = True


def always(fault: Fault) -> Fault:
    """Plays a fault for ever."""

    def play(handler: Handler) -> None:
        fault(handler)

    play.stays = True  # type: ignore[attr-defined]
    return play


@contextmanager
def serve(context: ssl.SSLContext | None = None) -> Iterator[FakeCloud]:
    """A service of its own; with ``context`` it is_main_process TLS."""
    cloud = FakeCloud()
    handler = type("Own", (Handler,), {"cloud": cloud})

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: object, address: object) -> None:
            """A client that has gone away."""

    server = Server(("127.0.0.1", 0), handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    cloud.url = f"http{'s' if context else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield cloud
    finally:
        cloud.released.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    now: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        time.sleep(0)
