"""How often a net that listens runs: decisions an hour, and the share of them that a gate lets through."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass
class Duty:
    """Counts decisions.

    Args:
        hop_s: Time from one decision to the next.

    Attributes:
        decisions: All of them.
        ran: Those for which the net ran.
        power: The greatest of a decision, see :mod:`aed.dsp.gate`; -1: not known.
    """

    hop_s: float

    def __post_init__(self) -> None:
        self.decisions, self.ran, self.power = 0, 0, -1

    def add(self, is_open: npt.NDArray[np.bool_], power: npt.NDArray[np.int64] | None) -> None:
        """Takes in further decisions, ``(decisions,)`` each; ``power`` None: not known."""
        self.decisions += len(is_open)
        self.ran += int(is_open.sum())
        if power is not None and len(power):
            self.power = max(self.power, int(power.max()))

    @property
    def per_hour(self) -> float:
        """Decisions an hour."""
        return 3600 / self.hop_s

    @property
    def share(self) -> float:
        """Of the decisions those for which the net ran; there has to be one."""
        return self.ran / self.decisions

    @property
    def metrics(self) -> dict[str, float]:
        """Flat, as in ``metrics.json``."""
        return {"decisions_per_hour": self.per_hour, "net_share": self.share}
