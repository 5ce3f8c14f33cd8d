"""The tables that a search prints: the front, the winners, and where they stand beside the shipped recipes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aed.base.console import PlainConsole, printable
from aed.run.search.costs import Costs
from aed.run.search.files import TRIALS
from aed.run.search.front import dominates
from aed.run.search.plan import Plan
from aed.run.search.results import Row, rows_of
from aed.run.search.winners import Winner, candidates, points

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_SHOWN = 12
"""Most points of the front in the table."""


def print_results(
    plan: Plan, trials: "Sequence[FrozenTrial]", winners: Sequence[Winner], refused: Mapping[int, str]
) -> None:
    """Prints the front and the winners, and how many points were cut, given up or failed."""
    rows = {row.number: row for row in rows_of(plan, trials)}
    best = candidates(trials, plan.objectives)
    console = PlainConsole()
    console.print(_front_table(plan, rows, best))
    if len(best) > _SHOWN:
        console.print(f"{len(best) - _SHOWN} more in {TRIALS}")
    for state, number in sorted(Counter(row.state for row in rows.values()).items()):
        first = next((row.why for row in rows.values() if row.state == state and row.why), "")
        console.print(f"{state}: {number}" + (f", the first: {printable(first)}" if first else ""))
    for line in _shipped(plan, trials, rows):
        console.print(line)
    for number, why in refused.items():
        console.print(f"trial {number} is no winner: {printable(why)}")
    if winners:
        console.print(_winner_table(winners))


def _front_table(plan: Plan, rows: Mapping[int, Row], best: Sequence[int]) -> Table:
    table = Table(
        title=f"no trial is better than these; {plan.metric}, costs estimated", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for heading in ("trial", "score, %", "M instr./s", "flash, KiB", "RAM, KiB"):
        table.add_column(heading, justify="right")
    table.add_column("net")
    for row in (rows[number] for number in best[:_SHOWN]):
        assert row.score is not None and row.costs is not None
        table.add_row(str(row.number), f"{100 * row.score:.2f}", *_cells(row.costs), printable(row.words))
    return table


def _winner_table(winners: Sequence[Winner]) -> Table:
    source = " and ".join(sorted({winner.source for winner in winners}))
    title = f"winners: the score, clips of val and test in %, costs in int8 {source} (estimated before training)"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("trial", "score", "val int8", "test", "test int8", "M instr./s", "flash, KiB", "RAM, KiB"):
        table.add_column(heading, justify="right")
    for winner in winners:
        validated = "-" if winner.validated is None else f"{100 * winner.validated:.2f}"
        tested = [f"{100 * winner.tested[model]:.2f}" for model in ("float", "int8")]
        if winner.between:
            tested[-1] += " ({:.1f} .. {:.1f})".format(*(100 * end for end in winner.between))
        pairs = zip(_cells(winner.costs), _cells(winner.estimated), strict=True)
        costs = [f"{own} ({before})" for own, before in pairs]
        table.add_row(str(winner.number), f"{100 * winner.score:.2f}", validated, *tested, *costs)
    return table


def _cells(costs: Costs) -> list[str]:
    return [
        f"{costs.instructions / 1e6:.2f}",
        f"{costs.flash_bytes / 1024:.1f}",
        f"{costs.ram_bytes / 1024:.1f}",
    ]


def _shipped(plan: Plan, trials: "Sequence[FrozenTrial]", rows: Mapping[int, Row]) -> list[str]:
    """A line for each shipped recipe that was trained: which trials are better in every way."""
    found = points(trials, plan.objectives)
    lines = []
    for number, own in found.items():
        if not rows[number].shipped:
            continue
        better = [str(other) for other, values in found.items() if dominates(values, own)]
        words = f"no trial is better than {rows[number].words}, where it starts from (trial {number})"
        if better:
            words = (
                f"in nothing worse than {rows[number].words} (trial {number}), and better: trials {', '.join(better)}"
            )
        lines.append(printable(words))
    return lines
