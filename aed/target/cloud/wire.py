"""HTTP with limits: on the time of a request and of everything, on sizes, on repetitions.

A request runs in a thread of its own, so that name look-ups and servers that send byte by byte cannot pass the limit
and Ctrl-C acts at once. No redirection is followed here. Certificates are checked; those of a company's proxy go
into ``REQUESTS_CA_BUNDLE``, as for every program that uses requests.
"""

import email.utils
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.auth import AuthBase

from aed.target.cloud.errors import CloudError
from aed.target.cloud.secrets import Secrets

log = logging.getLogger(__name__)

TRIES = 5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 20.0
LISTEN_S = 0.2
"""Between two looks whether Ctrl-C was pressed, where the system does not interrupt a waiting thread."""

MOST_BYTES = 64 << 20
UPLOAD_BYTES_PER_S = 20_000
"""Slowest connection on which an upload is not cancelled."""


@dataclass(frozen=True)
class Answer:
    """Answer of a server.

    Args:
        status: Of HTTP.
        body: Whole.
        headers: Lower-case names.
        url: Of the request.
    """

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    url: str = field(repr=False)

    @property
    def host(self) -> str:
        """Of the server, for messages."""
        return urlsplit(self.url).netloc

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", errors="replace")


@dataclass(frozen=True)
class _NoAnswer:
    """Why there is no answer.

    Args:
        reason: In words.
        sent: The server may have received the request.
        final: Trying again would not help.
        slow: A limit passed.
    """

    reason: str
    sent: bool
    final: bool = False
    slow: bool = False


@dataclass(frozen=True)
class Limit:
    """Time by which everything has to be over.

    Args:
        ends: On ``clock``, s.
        total_s: For messages.
        clock: Seconds.
    """

    ends: float
    total_s: float
    clock: Callable[[], float]

    def left(self) -> float:
        """Seconds that are left.

        Raises:
            CloudError: None.
        """
        left = self.ends - self.clock()
        if left <= 0:
            raise self.passed("without an answer")
        return left

    def passed(self, state: str) -> CloudError:
        """The error to raise when there is no time left."""
        return CloudError("time", f"Developer Cloud: {self.total_s:g} s have passed, {state}; try later or allow more")


class _Bearer(AuthBase):
    """A token, or none; as it is no other, requests does not look into ``~/.netrc``."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class Wire:
    """Sends requests.

    Args:
        request_s: Limit of one request, s; an upload gets more where it is large.
        tries: Of a request that may be repeated.
        clock: Seconds.
        sleep: Waits a number of seconds.
        secrets: Never shown.
    """

    def __init__(
        self,
        request_s: float = 30.0,
        tries: int = TRIES,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        secrets: Secrets | None = None,
    ) -> None:
        self.request_s, self.tries, self.clock, self.sleep = request_s, tries, clock, sleep
        self.secrets = secrets or Secrets()

    def limit(self, total_s: float) -> Limit:
        """A limit that begins now."""
        return Limit(self.clock() + total_s, total_s, self.clock)

    def send(
        self,
        method: str,
        url: str,
        limit: Limit,
        *,
        token: str | None = None,
        repeat: bool | None = None,
        session: requests.Session | None = None,
        most_bytes: int = MOST_BYTES,
        tries: int | None = None,
        **content: Any,
    ) -> Answer:
        """The server's answer, whatever its status, once nothing is left to try.

        Args:
            method: Of HTTP.
            url: Checked by the caller.
            limit: Of everything.
            token: Bearer token.
            repeat: Whether the server may receive it twice; null: GET and DELETE may. A request that the server never
                received, or refused with 429 or 503, is repeated in any case.
            session: With its cookies; null: none.
            most_bytes: Of the answer.
            tries: Null: as many as usual.
            content: ``data``, ``json``, ``files``, ``params``, ``headers`` of requests.

        Raises:
            CloudError: ``network``: no answer; ``time``: a limit has passed.
        """
        repeat = method in ("GET", "DELETE") if repeat is None else repeat
        tries = tries or self.tries
        for turn in range(1, tries + 1):
            came = self._once(method, url, limit, token, session, most_bytes, content)
            if isinstance(came, Answer):
                busy = came.status in (429, 503)
                again = busy or (repeat and came.status >= 500)
                reason, asked = f"status {came.status}", _retry_after(came.headers) if busy else None
            else:
                again, reason, asked = (repeat or not came.sent) and not came.final, came.reason, None
            if not again or turn == tries:
                break
            wait = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (turn - 1)) * random.uniform(0.5, 1.0)
            wait = wait if asked is None else asked
            if wait >= limit.left():
                break
            log.info("%s: %s; trying again in %.1f s", urlsplit(url).netloc, reason, wait)
            self.sleep(wait)
        if isinstance(came, Answer):
            return came
        unknown = "; whether it began is not known" if came.sent and not repeat else ""
        raise CloudError(
            "time" if came.slow else "network",
            f"{urlsplit(url).netloc}: {came.reason}{unknown}; check network, proxy (https_proxy) and firewall, then "
            "run it again",
        )

    def parse(self, answer: Answer) -> Any:
        """The JSON of an answer; clean it of credentials before it is shown or written.

        Raises:
            CloudError: ``service``: it is none.
        """
        try:
            return json.loads(answer.body.decode("utf-8"))
        except (ValueError, RecursionError):
            pass
        raise CloudError("service", f"{answer.host}: need JSON, got {self.excerpt(answer)}; try later")

    def excerpt(self, answer: Answer) -> str:
        """The beginning of an answer, fit to be shown."""
        return repr(self.secrets.line(answer.text[:20_000])) if answer.body else "nothing"

    def _once(
        self,
        method: str,
        url: str,
        limit: Limit,
        token: str | None,
        session: requests.Session | None,
        most_bytes: int,
        content: Mapping[str, Any],
    ) -> Answer | _NoAnswer:
        """One try, in a thread that is left behind when the limit passes."""
        left = limit.left()
        allowed = self.request_s + sum(len(part[1]) for part in content.get("files", {}).values()) / UPLOAD_BYTES_PER_S
        allowed = min(allowed, left)
        silence_s = min(allowed, self.request_s)
        over = threading.Event()
        came: list[Answer | _NoAnswer] = []

        def work() -> None:
            came.append(_exchange(method, url, _Bearer(token), session, silence_s, most_bytes, over, content))

        thread = threading.Thread(target=work, daemon=True, name="aed-cloud")
        try:
            thread.start()
            ends = time.monotonic() + allowed
            while thread.is_alive() and (wait := ends - time.monotonic()) > 0:
                thread.join(min(wait, LISTEN_S))
        finally:
            over.set()
        if came:
            return came[0]
        return _NoAnswer(f"no whole answer within {allowed:.3g} s", sent=True, slow=True)


def _exchange(
    method: str,
    url: str,
    auth: AuthBase,
    session: requests.Session | None,
    silence_s: float,
    most_bytes: int,
    over: threading.Event,
    content: Mapping[str, Any],
) -> Answer | _NoAnswer:
    """One request and its whole answer. Errors are turned into texts here: theirs may hold addresses and headers."""
    own = session or requests.Session()
    try:
        with own.request(
            method, url, auth=auth, timeout=silence_s, allow_redirects=False, stream=True, **content
        ) as response:
            body = bytearray()
            for chunk in response.iter_content(1 << 14):
                body += chunk
                if over.is_set():
                    return _NoAnswer("cancelled", sent=True)
                if len(body) > most_bytes:
                    return _NoAnswer(f"its answer is larger than {most_bytes} bytes", sent=True, final=True)
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, bytes(body), headers, url)
    except requests.exceptions.SSLError:
        reason = (
            "no TLS connection that can be trusted (behind a company's proxy set REQUESTS_CA_BUNDLE to its certificate)"
        )
        return _NoAnswer(reason, sent=False, final=True)
    except requests.exceptions.ProxyError:
        return _NoAnswer("the proxy does not let it through", sent=False)
    except requests.exceptions.ConnectTimeout:
        return _NoAnswer("no connection in time", sent=False, slow=True)
    except requests.exceptions.Timeout:
        return _NoAnswer(f"silent for {silence_s:.3g} s", sent=True, slow=True)
    except requests.exceptions.ConnectionError as error:
        cause = getattr(error.args[0] if error.args else None, "reason", None)
        if isinstance(cause, urllib3.exceptions.NameResolutionError):
            return _NoAnswer("its name is not known", sent=False)
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            return _NoAnswer("connection refused or unreachable", sent=False)
        return _NoAnswer("the connection was dropped", sent=True)
    except requests.exceptions.RequestException as error:
        return _NoAnswer(f"the connection was dropped ({type(error).__name__})", sent=True)
    except Exception as error:  # out of a thread it would be printed, credentials included
        return _NoAnswer(f"the exchange failed ({type(error).__name__})", sent=True)
    finally:
        if session is None:
            own.close()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks to wait: a number or a date."""
    text = headers.get("retry-after", "").strip()
    if text.isdigit() and len(text) < 9:
        return float(text)
    try:
        then = email.utils.parsedate_to_datetime(text)
        return max(0.0, then.timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None
