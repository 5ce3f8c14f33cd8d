"""Addresses that users give: they lie in records and logs, so no password is in them."""

from urllib.parse import urlsplit

from aed.base.errors import AedError


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
        has_user = "://" in address and "@" in urlsplit(address).netloc
    except ValueError as error:
        raise AedError(f"{key}: no address ({error})") from error
    if has_user:
        raise AedError(f"{key}: an address with a name or password in it would be kept in records; set {variables}")
