"""Choices that every delivery and measurement of the C code has."""

from dataclasses import dataclass
from typing import Literal

PlanKind = Literal["auto", "layers", "rows", "stream"]


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How the C runs the net.

    Args:
        plan: ``layers``: each layer for the whole patch, then the next. ``rows``: a row of each layer at a time, as far
            as that takes the least RAM. ``auto``: one of them, the least RAM at no more than a few percent more
            instructions. ``stream``: each column of features once, for nets without padding along time.
        hop: Columns between two decisions of a stream, a multiple of the net's stride along time; null: the front end's
            ``patch_hop``.
    """

    plan: PlanKind = "auto"
    hop: int | None = None


AUTO = PlanSettings()
"""The default."""
