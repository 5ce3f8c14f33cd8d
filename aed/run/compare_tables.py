"""Printed tables of a comparison of runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from aed.base.console import PlainConsole
from aed.run.costs import Costs
from aed.run.tested import Tested
from aed.scoring.compared import Compared
from aed.scoring.paired import Difference
from aed.scoring.pictures.canvas import plural
from aed.scoring.tables import MANY, one_of

_STYLE: dict[str, Any] = {"box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}

_COSTS = (
    ("macc", "M MACC", 1e6, 2),
    ("instructions", "M instr.", 1e6, 2),
    ("inference_ms", "ms", 1, 2),
    ("weights_bytes", "weights", 1024, 1),
    ("activations_bytes", "activations", 1024, 1),
    ("flash_bytes", "flash", 1024, 1),
    ("ram_bytes", "RAM", 1024, 1),
)
"""Figure, heading, unit, digits."""

_OF_THE_NET = ("weights_bytes", "activations_bytes")
"""What flash and RAM of a whole program contain."""


def print_scores(
    names: Sequence[str],
    tested: Mapping[str, Sequence[Tested]],
    intervals: Mapping[str, Sequence[tuple[float, float]]],
) -> None:
    """Prints the share of clips that each run decides rightly, with its interval.

    Args:
        names: Of the runs.
        tested: Model -> decisions of each run.
        intervals: Model -> interval of each run.
    """
    sides = tested["float"]
    number = len(sides[0].right)
    what = "classes all rightly named" if sides[0].task == "multi_label" else "decided rightly"
    table = Table(**_STYLE, title=f"test clips {what}, %", caption=one_of(number))
    for heading in ("run", "seeds", *(text for model in tested for text in (model, "95 % interval"))):
        table.add_column(heading, justify="left" if heading == "run" else "right")
    for at, name in enumerate(names):
        cells = [
            text
            for model, of_model in tested.items()
            for text in (f"{100 * of_model[at].right.mean():.2f}", _range(*intervals[model][at]))
        ]
        table.add_row(name, str(len(sides[at].seeds)), *cells)
    PlainConsole().print(table)


def print_differences(first: str, rows: Sequence[Compared]) -> None:
    """Prints how each run differs from the first, in all and in parts of the clips, and what that says.

    Args:
        first: Name of the run that the others are compared with.
        rows: Of all runs, models and parts.
    """
    console = PlainConsole()
    every = [row for row in rows if row.scope == "all"]
    console.print(_table("all clips", "model", first, every, [row.model for row in every]))
    for row in every:
        console.print(verdict(row, first))
    model = rows[-1].model  # int8, if there is one
    for scope in ("class", "fold"):
        own = [row for row in rows if row.model == model and row.scope == scope]
        shown = sorted(own, key=lambda row: -abs(row.difference.value))[:MANY] if len(own) > MANY else own
        if shown:
            table = _table(f"{model}, each {scope}", scope, first, shown, [row.name for row in shown])
            table.caption = _left_out(len(own) - len(shown))
            console.print(table)


def _table(what: str, column: str, first: str, rows: Sequence[Compared], names: Sequence[str]) -> Table:
    """A row for each difference; where all are of one run it stands in the title."""
    runs = list(dict.fromkeys(row.run for row in rows))
    is_one = len(runs) == 1
    table = Table(**_STYLE, title=f"{what}, points{' of ' + runs[0] if is_one else ''} over {first}")
    for heading in (column,) if is_one else ("run", column):
        table.add_column(heading)
    for heading in ("clips", "difference", "95 % interval", "better", "worse", "p"):
        table.add_column(heading, justify="right")
    for row, name in zip(rows, names, strict=True):
        table.add_row(*(() if is_one else (row.run,)), name, *_cells(row.difference, row.p_holm))
    return table


def verdict(row: Compared, first: str) -> str:
    """What a difference over all clips says, in a sentence."""
    own = row.difference
    clips = abs(own.value) * own.clips
    if not own.better + own.worse:
        return f"{row.run}, {row.model}: right about the same clips as {first}"
    size = f"{100 * own.value:+.2f} points, {clips:.3g} of {plural(own.clips, 'clip')}"
    if row.p_holm < 0.05:
        return f"{row.run}, {row.model}: {'better' if own.value > 0 else 'worse'} than {first}: {size}"
    return f"{row.run}, {row.model}: {size}: no difference to {first} is shown"


def _cells(own: Difference, p: float) -> list[str]:
    share = f"{100 * own.value:+.2f}"
    return [str(own.clips), share, _range(own.low, own.high, "+.1f"), str(own.better), str(own.worse), f"{p:.3g}"]


def _range(low: float, high: float, spec: str = ".1f") -> str:
    return f"{format(100 * low, spec)} .. {format(100 * high, spec)}"


def _left_out(number: int) -> str:
    return f"the greatest differences; {number} more in differences.csv (output=...)" if number else ""


def print_costs(names: Sequence[str], costs: Sequence[Costs]) -> None:
    """Prints what the int8 nets cost for a patch, as far as it is known.

    Args:
        names: Of the runs.
        costs: Of each run.
    """
    parts = [(name, part) for name, own in zip(names, costs, strict=True) for part in own]
    is_linked = all("flash_bytes" in part for _, part in parts)
    columns = [
        column
        for column in _COSTS
        if any(column[0] in part for _, part in parts) and not (is_linked and column[0] in _OF_THE_NET)
    ]
    if not columns:
        return
    boards = sorted({str(part["board"]) for _, part in parts})
    place = f" on {boards[0]}" if len(boards) == 1 and boards[0] else ""
    words = ("run", "part") if len(boards) == 1 else ("run", "part", "board")
    table = Table(**_STYLE, title=f"int8, one patch{place}, sizes in KiB")
    for heading in (*words, *(heading for _, heading, _, _ in columns), "source"):
        table.add_column(heading, justify="left" if heading in (*words, "source") else "right")
    for name, part in parts:
        cells = [f"{float(part[key]) / unit:.{digits}f}" if key in part else "-" for key, _, unit, digits in columns]
        table.add_row(name, *(str(part[word]) or "-" for word in words[1:]), *cells, str(part["source"]))
    PlainConsole().print(table)
