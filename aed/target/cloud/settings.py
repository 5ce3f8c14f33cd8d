"""Settings of ST Edge AI Developer Cloud."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aed.base.extras import need
from aed.target.protocol import Backend


@dataclass(frozen=True, kw_only=True)
class CloudSettings:
    """ST Edge AI Developer Cloud; user, password or token come from the environment.

    Args:
        version: Of ST Edge AI Core; null: the newest on offer.
        optimization: What the tool minimises.
        token_file: File that stores the tokens of a sign-on, readable by its owner only; null: none.
        timeout_s: Seconds for all of it; a busy farm may need more.
    """

    version: str | None = None
    optimization: Literal["balanced", "time", "ram"] = "balanced"
    token_file: str | None = None
    timeout_s: float = 1800.0

    def backend(self) -> Backend:
        """The cloud.

        Raises:
            AedError: The extra ``cloud`` is not installed.
        """
        need("requests", "target=cloud")
        from aed.target.cloud.backend import Cloud

        token_file = Path(self.token_file).expanduser() if self.token_file else None
        return Cloud(self.version, self.optimization, timeout_s=self.timeout_s, token_file=token_file)
