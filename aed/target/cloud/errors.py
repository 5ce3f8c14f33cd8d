"""Errors of the service, in kinds that a program can distinguish."""

from typing import Literal

from aed.base.errors import AedError

Kind = Literal["credentials", "blocked", "network", "service", "board", "model", "time"]
"""``credentials``: refused or missing; ``blocked``: the account; ``network``: the service cannot be reached;
``service``: its answer cannot be used; ``board``: it has none of that name; ``model``: it cannot build or run
this model; ``time``: a limit has passed."""


class CloudError(AedError):
    """An error of ST's Developer Cloud.

    Args:
        kind: Cause.
        message: What happened and what to do; free of credentials.
        status: Of HTTP, where that is what happened.
    """

    def __init__(self, kind: Kind, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.status = status
