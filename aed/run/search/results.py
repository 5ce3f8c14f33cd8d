"""What a search leaves for people: a row a trial as csv and JSON, and a picture."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aed.run.search.costs import Costs
from aed.run.search.files import PICTURE, RESULTS, TRIALS
from aed.run.search.plan import Plan, point_of
from aed.run.search.study import BEHIND, CUT, KILLED, SAME, SHIPPED, WHY
from aed.run.search.winners import Winner, candidates
from aed.run.search.work import COSTS, CPU, CURVE, SECONDS, trial_in_short
from aed.scoring import tables
from aed.scoring.pictures.pareto import Dot, plot_pareto

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

_STATES = ((CUT, "cut"), (SAME, "same"), (KILLED, "killed"), (BEHIND, "given up"), (WHY, "failed"))
_NAMES = {"COMPLETE": "trained", "FAIL": "failed"}
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


def summary_of(plan: Plan, trials: "Sequence[FrozenTrial]", winners: Sequence[Winner]) -> dict[str, dict[str, float]]:
    """For the run of MLflow that all trials lie below: how many there are of each state, and what the best is.

    As the summary of a multirun is; each has one value.
    """
    states = Counter(row.state for row in rows_of(plan, trials))
    values = {f"search/{state}": float(count) for state, count in states.items()}
    for best in winners[:1]:
        values |= {"search/best_trial": float(best.number), f"search/best_{plan.metric}": best.score}
        values |= {name.replace("search/", "search/best_"): value for name, value in best.costs.metrics().items()}
        values |= {f"search/best_test_{model}": value for model, value in best.tested.items()}
    return {name: {"mean": value} for name, value in values.items()}


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
