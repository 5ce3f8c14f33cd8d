"""Sources of credentials: the environment, a token file where the settings name one, a person at a terminal."""

import getpass
import json
import os
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aed.target.cloud.errors import CloudError
from aed.target.cloud.login import Tokens, usable

TOKEN = "STEDGEAI_CLOUD_TOKEN"
PAIRS = (("STEDGEAI_CLOUD_USER", "STEDGEAI_CLOUD_PASSWORD"), ("stmai_username", "stmai_password"))
"""Ours, then those of ST's client."""


@dataclass(frozen=True)
class Account:
    """User and password of myST."""

    user: str = field(repr=False)
    password: str = field(repr=False)


def token_in(environment: Mapping[str, str]) -> Tokens | None:
    """The token of the environment, if there is one.

    Raises:
        CloudError: ``credentials``: it is no token.
    """
    text = environment.get(TOKEN, "").strip()
    if not text:
        return None
    token = usable(text.removeprefix("Bearer "))
    if token is None:
        raise CloudError("credentials", f"{TOKEN}: need one word of ASCII; copy the token again")
    return Tokens(token)


def account_in(environment: Mapping[str, str]) -> Account | None:
    """User and password of the environment, if they are there.

    Raises:
        CloudError: ``credentials``: one of a pair is missing.
    """
    for pair in PAIRS:
        user, password = (environment.get(name, "") for name in pair)
        if user and password:
            return Account(user, password)
        if user or password:
            there, missing = pair if user else pair[::-1]
            raise CloudError("credentials", f"{there} is set and {missing} is not; set both, or {TOKEN}")
    return None


def ask_account() -> Account:
    """User and password of a person.

    Raises:
        CloudError: ``credentials``: nobody is there to be asked.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        names = " and ".join(PAIRS[0])
        raise CloudError(
            "credentials", f"Developer Cloud: no credentials; set {TOKEN}, or {names} (a free myST account)"
        )
    try:
        print("myST user: ", end="", file=sys.stderr, flush=True)
        user = sys.stdin.readline().strip()
        password = getpass.getpass("myST password: ") if user else ""
    except EOFError:
        user = password = ""
    if not (user and password):
        raise CloudError("credentials", "Developer Cloud: need user and password")
    return Account(user, password)


def load_tokens(path: Path) -> Tokens | None:
    """The tokens of a file, if it is there.

    Raises:
        CloudError: ``credentials``: others may read it, or it is damaged.
    """
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise CloudError("credentials", f"{path}: others may read it; chmod 600 it, or delete it")
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        content = None
    access = usable(content.get("access_token")) if isinstance(content, dict) else None
    if access is None:
        raise CloudError("credentials", f"{path}: cannot be read or holds no token; delete it")
    return Tokens(access, usable(content.get("refresh_token")))


def save_tokens(path: Path, tokens: Tokens) -> None:
    """Writes tokens to a file that only its owner may read.

    Raises:
        CloudError: ``credentials``: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    content = json.dumps({"access_token": tokens.access, "refresh_token": tokens.refresh})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CloudError("credentials", f"{path}: the token cannot be written ({error.strerror})") from None
