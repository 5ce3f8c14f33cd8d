"""From user and password to a token, as a browser does it: OpenID Connect with ST's sign-on page.

The page has no documented interface: it is read as ST's own client of 2023 to 2026 reads it.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import requests

from aed.target.cloud.endpoints import LOOPBACK, Endpoints
from aed.target.cloud.errors import CloudError
from aed.target.cloud.wire import Answer, Limit, Wire

MOST_HOPS = 10
MOST_PAGE_BYTES = 4 << 20
AGENT = {"User-Agent": "Mozilla/5.0 (compatible; aed)"}

ELSEWHERE = (
    "sign in at https://stedgeai-dc.st.com in a browser to see why, and give the token of its settings page in "
    "STEDGEAI_CLOUD_TOKEN"
)

WRONG = re.compile(r"wrong password\. You have (\d{1,4}) attempts? left", re.IGNORECASE)
BLOCKED = re.compile(r"exceeded \d{1,4} login attempts|account (?:is|has been) (?:blocked|locked)", re.IGNORECASE)


@dataclass(frozen=True)
class Tokens:
    """Tokens of a sign-on.

    Args:
        access: For every request.
        refresh: Renews the access token; null: the service sent none.
    """

    access: str = field(repr=False)
    refresh: str | None = field(default=None, repr=False)


class _Page(HTMLParser):
    """Forms of a page (action and hidden inputs by name) and its words."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.forms: list[tuple[str, dict[str, str]]] = []
        self._words: list[str] = []
        self.feed(text)
        self.close()
        self.words = " ".join(" ".join(self._words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collects forms and their inputs."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((values.get("action", ""), {}))
        elif tag == "input" and self.forms and "name" in values:
            self.forms[-1][1][values["name"]] = values.get("value", "")

    def handle_data(self, data: str) -> None:
        """Collects words."""
        self._words.append(data)


def sign_on(wire: Wire, endpoints: Endpoints, user: str, password: str, limit: Limit) -> Tokens:
    """Tokens for a user.

    The password is sent once, whatever happens: after five wrong ones the account is blocked.

    Args:
        wire: Sends.
        endpoints: Addresses.
        user: Of myST.
        password: Of myST.
        limit: Of everything.

    Raises:
        CloudError: ``credentials``, ``blocked``, or the page is not as it was.
    """
    wire.secrets.add(user, password)
    with requests.Session() as session:
        session.headers.update(AGENT)
        question = {
            "response_type": "code",
            "client_id": endpoints.client_id,
            "scope": "openid",
            "redirect_uri": endpoints.callback,
            "response_mode": "query",
        }
        start = wire.send(
            "GET", f"{endpoints.sso}/as/authorization.oauth2", limit, session=session, params=question,
            most_bytes=MOST_PAGE_BYTES,
        )  # fmt: skip
        page = _follow(wire, endpoints, session, start, limit)
        if not isinstance(page, Answer):
            raise _unknown("leads back without a sign-on")
        action, mark = _form(page)
        target = _allowed(endpoints, _joined(page.url, action))
        wire.secrets.add(mark)
        fields = {"username": user, "password": password, "_eventId": "Login", "lt": mark}
        sent = wire.send(
            "POST", target, limit, session=session, data=fields, tries=1, repeat=False, most_bytes=MOST_PAGE_BYTES
        )
        if sent.status == 200:
            _refuse(sent)
        code = _follow(wire, endpoints, session, sent, limit)
    if isinstance(code, Answer):
        raise _unknown(f"answered {code.status} where a code was due")
    wire.secrets.add(code)
    answer = wire.send(
        "POST", f"{endpoints.user}/login/callback", limit, data={"redirect_url": endpoints.callback, "code": code}
    )
    if answer.status != 200:
        raise CloudError("service", f"{answer.host}: no token for the sign-on (status {answer.status}); {ELSEWHERE}")
    return read_tokens(wire, answer)


def refresh(wire: Wire, endpoints: Endpoints, token: str, limit: Limit) -> Tokens | None:
    """New tokens for a refresh token; None: it is used up or refused."""
    answer = wire.send("POST", f"{endpoints.user}/login/refresh", limit, data={"refresh_token": token})
    if answer.status != 200:
        return None
    tokens = read_tokens(wire, answer)
    return Tokens(tokens.access, tokens.refresh or token)


def read_tokens(wire: Wire, answer: Answer) -> Tokens:
    """The tokens in an answer.

    Raises:
        CloudError: ``service``: there are none.
    """
    content = wire.parse(answer)
    texts = {key: content.get(key) for key in ("access_token", "refresh_token")} if isinstance(content, dict) else {}
    access, more = usable(texts.get("access_token")), usable(texts.get("refresh_token"))
    if access is None:
        raise CloudError("service", f"{answer.host}: the sign-on gave no token; {ELSEWHERE}")
    wire.secrets.add(access, more)
    return Tokens(access, more)


def usable(token: Any) -> str | None:
    """``token`` where it can stand in a header."""
    return token if isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]{1,16000}", token) else None


def _form(page: Answer) -> tuple[str, str]:
    """Action and ``lt`` of the sign-on form."""
    if page.status != 200:
        raise _unknown(f"answered {page.status}")
    for action, inputs in _Page(page.text).forms:
        if inputs.get("lt"):
            return action, inputs["lt"]
    raise _unknown("has no form as it had")


def _refuse(page: Answer) -> None:
    """Raises the error that a page shown after the password stands for."""
    words = _Page(page.text).words
    if BLOCKED.search(words):
        raise CloudError(
            "blocked",
            "Developer Cloud: the account is blocked after too many wrong passwords; set a new one with "
            "'Forgot Password' at https://my.st.com",
        )
    if wrong := WRONG.search(words):
        raise CloudError(
            "credentials",
            f"Developer Cloud: wrong user or password, {wrong.group(1)} attempts left before the account is blocked; "
            "correct STEDGEAI_CLOUD_USER and STEDGEAI_CLOUD_PASSWORD",
        )
    raise _unknown("shows a page that is not known (terms to accept, a second factor, a password that has expired?)")


def _follow(wire: Wire, endpoints: Endpoints, session: requests.Session, answer: Answer, limit: Limit) -> Answer | str:
    """The first page that is no redirection, or the code that comes with the one to the callback, never opened."""
    for _ in range(MOST_HOPS):
        if answer.status not in (301, 302, 303, 307, 308):
            return answer
        if not answer.headers.get("location"):
            raise _unknown("redirects nowhere")
        target = _joined(answer.url, answer.headers["location"])
        if _same(target, endpoints.callback):
            codes = parse_qs(urlsplit(target).query).get("code", [])
            if not codes:
                raise _unknown("refused, it gave no code")
            return codes[0]
        answer = wire.send("GET", _allowed(endpoints, target), limit, session=session, most_bytes=MOST_PAGE_BYTES)
    raise _unknown(f"redirects more than {MOST_HOPS} times")


def _same(url: str, callback: str) -> bool:
    """Whether an address is the callback, whatever its query."""
    return _parts(url)[:3] == _parts(callback)[:3]


def _joined(page: str, target: str) -> str:
    """The absolute address of ``target``, a link on ``page``; empty where it is no address."""
    try:
        return urljoin(page, target)
    except ValueError:
        return ""


def _parts(url: str) -> tuple[str, str, str]:
    """Scheme, host with port, and path; empty where it is no address."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.netloc, parts.path.rstrip("/")
    except ValueError:
        return "", "", ""


def _allowed(endpoints: Endpoints, url: str) -> str:
    """``url`` where the sign-on may lead: ST's hosts by https; this machine if it began here.

    Raises:
        CloudError: ``service``: it leads elsewhere.
    """
    home = urlsplit(endpoints.sso)
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _unknown("leads to an address that is none") from None
    known = {urlsplit(own).hostname for own in (endpoints.sso, endpoints.user, endpoints.callback)}
    safe = parts.scheme == "https" and (host in known or host == "st.com" or host.endswith(".st.com"))
    local = parts.scheme == "http" and host in LOOPBACK and home.scheme == "http"
    if "@" in parts.netloc or not (safe or local):
        raise _unknown(f"leads to {parts.scheme[:10]}://{host[:100]}, to which no password is sent")
    return url


def _unknown(what: str) -> CloudError:
    return CloudError("service", f"Developer Cloud: the sign-on page {what}; {ELSEWHERE}")
