"""What a search leaves for people: a table, a picture, csv and JSON."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aed.base.console import PlainConsole, printable
from aed.run.search.costs import Costs
from aed.run.search.front import dominates
from aed.run.search.plan import Plan, point_of
from aed.run.search.study import BEHIND, CUT, KILLED, SAME, SHIPPED, WHY
from aed.run.search.winners import Winner, candidates, points
from aed.run.search.work import COSTS, CPU, CURVE, SECONDS, trial_in_short
from aed.scoring import tables
from aed.scoring.pictures.pareto import Dot, plot_pareto

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

TRIALS, RESULTS, PICTURE = "trials.csv", "search.json", "pareto.png"
"""In the folder of a search."""

_STATES = ((CUT, "cut"), (SAME, "same"), (KILLED, "killed"), (BEHIND, "given up"), (WHY, "failed"))
_NAMES = {"COMPLETE": "trained", "FAIL": "failed"}
_SHOWN = 12
"""Most points of the front in the table."""

_HEAD = ("trial", "state", "why", "shipped", "front", "winner", "score", "instructions_per_s", "flash_bytes")
_COLUMNS = (*_HEAD, "ram_bytes", "load", "seconds", "cpu_seconds", "net")


@dataclass(frozen=True)
class Row:
    """A trial in words and figures.

    Args:
        number: Its number.
        state: ``trained``, ``given up``, ``cut``, ``same``, ``failed``, ``killed``, ``running`` or ``waiting``.
        words: Net and parameters.
        why: Why it is not trained to its end.
        shipped: Whether it is the recipe that a family starts from.
        score: Of the validation clips.
        costs: Estimated; None: it has none.
        seconds: Wall seconds of its training.
        cpu_seconds: CPU seconds of its training.
        command: That trains the same.
        parameters: Name -> value.
        curve: Score of each epoch.
    """

    number: int
    state: str
    words: str
    why: str
    shipped: bool
    score: float | None
    costs: Costs | None
    seconds: float
    cpu_seconds: float
    command: str
    parameters: Mapping[str, Any]
    curve: Sequence[float]


def rows_of(plan: Plan, trials: "Sequence[FrozenTrial]") -> list[Row]:
    """A row for each trial that has its parameters."""
    return [_row(plan, trial) for trial in trials if trial.params]


def _row(plan: Plan, trial: "FrozenTrial") -> Row:
    own = trial.user_attrs
    key, state = next(((key, word) for key, word in _STATES if key in own), ("", ""))
    family, chosen = point_of(trial.params, plan.families)
    return Row(
        number=trial.number,
        state=state or _NAMES.get(trial.state.name, trial.state.name.lower()),
        words=trial_in_short(trial, plan.families),
        why=str(own.get(key, "")),
        shipped=SHIPPED in own,
        score=trial.values[0] if trial.state.name == "COMPLETE" else None,
        costs=Costs(**own[COSTS]) if COSTS in own else None,
        seconds=float(own.get(SECONDS, 0)),
        cpu_seconds=float(own.get(CPU, 0)),
        command=shlex.join(["aed", "train", *plan.overrides(family, chosen)]),
        parameters={"net": family.name, **chosen},
        curve=own.get(CURVE, ()),
    )


def write_results(
    plan: Plan, trials: "Sequence[FrozenTrial]", winners: Sequence[Winner], refused: Mapping[int, str], folder: Path
) -> None:
    """Writes ``trials.csv``, ``search.json`` and ``pareto.png``.

    Args:
        plan: Of the search.
        trials: So far.
        winners: Tested, the best first; none as long as the search goes on.
        refused: Candidates that are no winners, and why.
        folder: Of the search.
    """
    rows, best = rows_of(plan, trials), candidates(trials, plan.objectives)
    won = [winner.number for winner in winners]
    keys = sorted({key for row in rows for key in row.parameters} - {"net"})
    cells = []
    for row in rows:
        figures = _figures(row.costs)
        marks = (row.why, int(row.shipped), int(row.number in best), _place(won, row.number))
        score = "" if row.score is None else f"{row.score:.6f}"
        chosen = [row.parameters.get(key, "") for key in keys]
        seconds = (row.seconds, row.cpu_seconds)
        cells.append([row.number, row.state, *marks, score, *figures, *seconds, row.parameters["net"], *chosen])
    tables.write_rows(folder / TRIALS, (*_COLUMNS, *keys), cells)
    content = {
        "board": plan.board.name,
        "limits": asdict(plan.limits),
        "metric": plan.metric,
        "objectives": list(plan.objectives),
        "states": Counter(row.state for row in rows),
        "trials": [asdict(row) for row in rows],
        "front": best,
        "winners": [winner.content() for winner in winners],
        "no winners": {str(number): why for number, why in refused.items()},
    }
    tables.write_json(folder / RESULTS, content)
    plot_pareto(folder / PICTURE, _dots(rows, best, won), plan.metric, f"{plan.board.name}: {len(rows)} points")


def _place(won: Sequence[int], number: int) -> int | str:
    return won.index(number) + 1 if number in won else ""


def _figures(costs: Costs | None) -> list[float | str]:
    if costs is None:
        return [""] * 4
    load = "" if costs.load is None else round(costs.load, 6)
    return [round(costs.instructions), round(costs.flash_bytes), round(costs.ram_bytes), load]


def _dots(rows: Sequence[Row], best: Sequence[int], won: Sequence[int]) -> list[Dot]:
    kinds = {True: "winner", False: "front"}
    return [
        Dot(
            (row.costs.instructions / 1e6, row.costs.flash_bytes / 1024, row.costs.ram_bytes / 1024),
            100 * row.score,
            kinds[row.number in won] if row.number in best else "shipped" if row.shipped else "other",
            str(row.number),
        )
        for row in rows
        if row.score is not None and row.costs is not None
    ]


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
    title = f"winners: the score, clips of val and test in %, costs in int8 {source}"
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("trial", "score", "val int8", "test", "test int8", "M instr./s", "flash, KiB", "RAM, KiB"):
        table.add_column(heading, justify="right")
    for winner in winners:
        validated = "-" if winner.validated is None else f"{100 * winner.validated:.2f}"
        tested = [f"{100 * winner.tested[model]:.2f}" for model in ("float", "int8")]
        table.add_row(str(winner.number), f"{100 * winner.score:.2f}", validated, *tested, *_cells(winner.costs))
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
