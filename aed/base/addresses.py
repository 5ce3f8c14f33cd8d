"""Addresses that users give: they lie in records and logs, so no password is in them."""

import re
from urllib.parse import parse_qsl, urlsplit

from aed.base.errors import AedError

_SECRETS = ("password", "passwd", "pwd", "secret", "token")
"""Parts of the names of options that hold one."""


def check_address(key: str, address: str, variables: str) -> None:
    """Refuses an address with a password in it: it would lie in records and logs.

    Args:
        key: That has the address.
        address: A path or URL.
        variables: Of the environment that take the credentials instead.

    Raises:
        AedError: There is one, or a name.
    """
    try:
        has_credentials = "://" in address and _has_credentials(address)
    except ValueError as error:
        raise AedError(f"{key}: no address ({error})") from error
    if has_credentials:
        raise AedError(f"{key}: an address with a name or password in it would be kept in records; set {variables}")


def _has_credentials(address: str) -> bool:
    parts, rest = urlsplit(address), address.partition("://")[2]
    before = rest.rpartition("@")[0]  # with a / in a password, the host seems to end there
    has_user = "@" in parts.netloc or (":" in before and not rest.startswith("/"))
    options = [name.lower() for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return has_user or any(secret in name for name in options for secret in _SECRETS)


def without_credentials(text: str) -> str:
    """A text without the user, the password and the options of an address in it."""
    return re.sub(r"(://[^\s?]*)\?\S*", r"\1", re.sub(r"://\S*@", "://", text))
