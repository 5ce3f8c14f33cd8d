"""Addresses of ST's Developer Cloud, each of which an environment variable of ST's own client can replace."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import quote, urlsplit

from aed.base.errors import AedError

BASE = "https://stedgeai-dc.st.com"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def check_address(url: str, name: str) -> str:
    """``url`` without a slash at its end, if credentials may be sent there: https, or http on this machine.

    Raises:
        AedError: They may not.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise AedError(f"{name}: not an address") from None
    plain = parts.scheme == "http" and host in LOOPBACK
    if not (host and (parts.scheme == "https" or plain)) or "@" in parts.netloc or parts.query or parts.fragment:
        raise AedError(f"{name}: need https://host/path without user, query and fragment (http for this machine only)")
    return url.rstrip("/")


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Addresses of the services.

    Args:
        stm32ai: Analysis; null: beside the others, by version.
        user: Tokens.
        file: Uploaded models.
        benchmark: Boards and runs on them.
        versions: JSON list of the versions on offer.
        sso: Single sign-on.
        client_id: Of the web client, for the sign-on.
        callback: Where the sign-on leads; never opened.
    """

    stm32ai: str | None = None
    user: str = f"{BASE}/api/user_service"
    file: str = f"{BASE}/api/file"
    benchmark: str = f"{BASE}/api/benchmark"
    versions: str = f"{BASE}/assets/versions.json"
    sso: str = "https://sso.st.com"
    client_id: str = "oidc_prod_client_app_stm32ai"
    callback: str = f"{BASE}/callback"

    def __post_init__(self) -> None:
        """Refuses addresses to which no credentials may go.

        Raises:
            AedError: One is such.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and item.name != "client_id":
                object.__setattr__(self, item.name, check_address(value, VARIABLES[item.name]))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """As :data:`VARIABLES` in the environment say.

        Raises:
            AedError: A variable holds no address that will do.
        """
        return cls(**{key: environment[name] for key, name in VARIABLES.items() if environment.get(name)})

    def analysis(self, version: str | None) -> str:
        """Address of the analysis service of a version; null: the service's own choice."""
        if self.stm32ai is not None:
            return self.stm32ai
        parts = urlsplit(self.versions)
        middle = f"{quote(version, safe='')}/" if version else ""
        return f"{parts.scheme}://{parts.netloc}/api/{middle}stm32ai"


VARIABLES = {
    "stm32ai": "STM32AI_SERVICE_URL",
    "user": "USER_SERVICE_URL",
    "file": "FILE_SERVICE_URL",
    "benchmark": "BENCHMARK_SERVICE_URL",
    "versions": "VERSIONS_URL",
    "sso": "SSO_URL",
    "client_id": "CLIENTID",
    "callback": "CALLBACK_URL",
}
"""Names in the environment, those of ST's client."""
