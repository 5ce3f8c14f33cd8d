"""Choices that every delivery and measurement of the C code has."""

from typing import Literal, get_args

PlanKind = Literal["auto", "layers", "rows"]
"""``layers``: each layer for the whole patch, then the next. ``rows``: a row of each layer at a time, as far as that
takes the least RAM. ``auto``: the same where it hardly costs instructions."""

PLAN_KINDS: tuple[str, ...] = get_args(PlanKind)
