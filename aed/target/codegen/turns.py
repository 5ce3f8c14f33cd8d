"""The order of stages as a table in which a part that comes again and again stands once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

COST = 40
"""Bytes of the code that goes back to the beginning of a turn, about: where a table is shorter by less, it stays."""


@dataclass(frozen=True)
class Turns:
    """The steps of a schedule whose input comes row by row.

    Args:
        steps: As in :class:`aed.target.codegen.schedule.Schedule`, those of a turn once.
        begin: Where in ``steps`` a turn begins.
        end: Where it ends.
        times: How often it runs; 1: nothing is repeated.
    """

    steps: tuple[int, ...]
    begin: int = 0
    end: int = 0
    times: int = 1


def in_turns(steps: tuple[int, ...]) -> Turns:
    """The shortest table of ``steps``; a turn begins with a row of the input, -1, as ``steps`` do."""
    starts = [index for index, step in enumerate(steps) if step < 0] + [len(steps)]
    rows = [steps[start:end] for start, end in pairwise(starts)]
    best = Turns(steps)
    for period in range(1, len(rows) // 2 + 1):
        for first, last in _alike(rows, period):
            times = (last - first) // period
            begin, end = starts[first], starts[first + period]
            shorter = Turns(steps[:end] + steps[starts[first + times * period] :], begin, end, times)
            if len(shorter.steps) + COST * (best.times == 1) < len(best.steps):
                best = shorter
    return best


def _alike(rows: Sequence[tuple[int, ...]], period: int) -> Iterator[tuple[int, int]]:
    """The longest parts ``[first, last)`` of ``rows`` in which each is that of ``period`` rows before."""
    first = 0
    for row in range(period, len(rows) + 1):
        if row == len(rows) or rows[row] != rows[row - period]:
            if row - first >= 2 * period:
                yield first, row
            first = row - period + 1
