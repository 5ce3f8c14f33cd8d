"""What a budget costs in places that a rule was not chosen on: groups of places are left out of the choice in turn."""

from collections.abc import Mapping, Sequence
from math import floor

from aed.scoring.events.family import Option, Shape, best_choices, priced


def alarms_left_out(
    options: Mapping[Shape, Sequence[Sequence[Option]]], cost: int, confused: int | None, shares: Sequence[float]
) -> list[int]:
    """Alarms that a choice for 0, 1, ... ``cost`` quarters raises in places it does not know, ``cost + 1`` numbers.

    Each group of places is left out of the choice of shape and thresholds, whose budget is its share of the time
    smaller, and its alarms are counted; of all groups together they are as long a time as the choice for all has.

    Args:
        options: Of each class, for each shape; they name the alarms of each group.
        cost: Most quarters of alarms.
        confused: As of :func:`aed.scoring.events.family.best_choices`.
        shares: Of the time, for each group.
    """
    raised = [0] * (cost + 1)
    for group, share in enumerate(shares):
        allowed = [floor(quarters * (1 - share) + 1e-9) for quarters in range(cost + 1)]
        best = [
            best_choices([priced(own, group) for own in classes], allowed[-1], confused) for classes in options.values()
        ]
        for quarters, most in enumerate(allowed):
            choice = max((choices[most] for choices in best), key=lambda each: each.rank)
            raised[quarters] += sum(option.groups[group] for option in choice.options if option.groups)
    return raised


def most_within(raised: Sequence[int], alarms: float) -> int:
    """The most quarters up to which no budget raises more than ``alarms`` in places left out; -1: not even 0 do."""
    over = [quarters for quarters, count in enumerate(raised) if count > alarms]
    return over[0] - 1 if over else len(raised) - 1
