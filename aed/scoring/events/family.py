"""The choice of a rule within a budget of alarms: of a small family of rules, and of a threshold for each class.

Alarms are matched with events of their class alone, so each class has its own curve, and the best thresholds of all
classes together are those of a knapsack whose weights are the alarms to expect, in quarters: it is solved exactly
(Bellman, 1957). Larger families find more in the streams they are fitted on and no more in others.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.scoring.events.alarms import Instants
from aed.scoring.events.joined import Joined
from aed.scoring.events.places import GROUPS
from aed.scoring.events.tail import expected_alarms
from aed.scoring.rule import EventRule, RuleDecisions

QUARTERS = 4
"""Parts of an alarm in which expected ones are counted, rounded up."""

SECTION_HOURS = 3 / 60
"""A section of background counts as no more: what is longer repeats itself, another place does not."""


class Shape(NamedTuple):
    """All of a rule but its thresholds: decisions smoothed over, ``off`` as a share of ``on``, hold-off in s."""

    window: int
    off_share: float
    hold_off_s: float

    def rule(self, base: EventRule, on: Sequence[float | None]) -> EventRule:
        """The rule with thresholds ``on``, one per class; what a shape does not say is that of ``base``."""
        off = tuple(0.0 if value is None else self.off_share * value for value in on)
        shaped = replace(base, on=(0.5,), off=(), smoothing="mean", window=self.window, hold_off_s=self.hold_off_s)
        return replace(shaped, on=tuple(on), off=off)


def shapes(windows: Sequence[int], off_shares: Sequence[float], hold_offs_s: Sequence[float]) -> list[Shape]:
    """Every combination.

    Raises:
        AedError: There is none, or a value is out of its range.
    """
    family = [Shape(*parts) for parts in itertools.product(windows, off_shares, hold_offs_s)]
    if not family:
        raise AedError("windows, off_shares, hold_offs_s: need at least one value each")
    if wrong := [share for share in off_shares if not 0 < share <= 1]:
        raise AedError(f"off_shares: need shares of rule.on in (0, 1], got {wrong[0]:g}")
    for shape in family:
        shape.rule(EventRule(), [0.5])  # which refuses windows and hold-offs
    return family


class Option(NamedTuple):
    """A threshold of a class; None: the class is never on.

    Args:
        threshold: Posterior.
        found: Events that it finds.
        background: Alarms where nothing is.
        confused: Alarms in the time of events of other classes.
        cost: Alarms to expect in other streams as long where nothing is, in quarters.
        groups: Of ``background``, those in each group of places; (): not known.
    """

    threshold: float | None
    found: int
    background: int
    confused: int
    cost: int
    groups: tuple[int, ...] = ()


NEVER_ON = Option(None, 0, 0, 0, 0)


def class_options(
    joined: Joined,
    instants: Instants,
    target: int,
    off_share: float,
    times: RuleDecisions,
    thresholds: Sequence[float],
    most: float = math.inf,
) -> list[Option]:
    """What a class costs and finds at each threshold, the greatest first; before them: that it is never on.

    Args:
        joined: Smoothed as the shape says.
        instants: The decisions of ``joined``.
        target: Class.
        off_share: Of the shape.
        times: Of the shape.
        thresholds: To try.
        most: Alarms where nothing is; thresholds that raise more, beside those of a group of places that could be left
            out, are left out.
    """
    counted, parts = [], instants.group
    looked_at = most if parts is None else math.inf
    for threshold in sorted(thresholds, reverse=True):
        events = joined.events(target, threshold, off_share * threshold, times)
        tally = instants.tally(target, (decision for *_, alarms in events for decision in alarms), looked_at)
        groups = () if parts is None else np.bincount(parts[tally.background], minlength=GROUPS).tolist()
        if len(tally.background) - max(groups, default=0) <= most:
            counts = len(tally.found), len(tally.background), len(tally.confused)
            counted.append(Option(threshold, *counts, 0, tuple(groups)))
    return priced([NEVER_ON, *counted])


def priced(options: Sequence[Option], away: int | None = None) -> list[Option]:
    """The options of a class with their costs; the first one has none.

    Args:
        options: As of :func:`class_options`.
        away: Group of places whose alarms are not known; None: all are.
    """
    first, *others = options
    counts = [option.background - (0 if away is None else option.groups[away]) for option in others]
    expected = expected_alarms([option.threshold or 0.0 for option in others], counts)
    costs = np.ceil(QUARTERS * expected - 1e-9).astype(int).tolist()
    return [first, *(option._replace(cost=cost) for option, cost in zip(others, costs, strict=True))]


def search(
    family: Sequence[Shape],
    base: EventRule,
    hop_s: float,
    thresholds: Sequence[float],
    joined: Callable[[EventRule, RuleDecisions], Joined],
    instants: Callable[[Joined], Instants],
    most: float = math.inf,
) -> dict[Shape, list[list[Option]]]:
    """What each class costs and finds at each threshold, for each shape of a family.

    Args:
        family: Shapes.
        base: Says what shapes do not.
        hop_s: Time from one decision to the next.
        thresholds: To try.
        joined: The recordings, smoothed as a rule says and so far apart as these times need.
        instants: When alarms of their decisions are raised.
        most: As in :func:`class_options`.
    """
    times = {shape: shape.rule(base, [0.5]).decisions(hop_s) for shape in family}
    longest = max(times.values(), key=lambda each: each.hold_off)
    found: dict[Shape, list[list[Option]]] = {}
    for window in dict.fromkeys(shape.window for shape in family):
        smooth = joined(Shape(window, 1.0, 0.0).rule(base, [0.5]), longest)
        when, classes = instants(smooth), range(smooth.values.shape[1])
        for shape in (each for each in family if each.window == window):
            settings = (shape.off_share, times[shape], thresholds, most)
            found[shape] = [class_options(smooth, when, target, *settings) for target in classes]
    return found


class Choice(NamedTuple):
    """Options of all classes together: the one of each, and their sums."""

    options: tuple[Option, ...]

    @property
    def found(self) -> int:
        """Events found."""
        return sum(option.found for option in self.options)

    @property
    def background(self) -> int:
        """Alarms where nothing is."""
        return sum(option.background for option in self.options)

    @property
    def confused(self) -> int:
        """Alarms in the time of events of other classes."""
        return sum(option.confused for option in self.options)

    @property
    def expected(self) -> float:
        """Alarms to expect in other streams as long where nothing is."""
        return sum(option.cost for option in self.options) / QUARTERS

    @property
    def rank(self) -> tuple[int, float]:
        """The more, the better: events found, then the fewer false alarms of both kinds, as they are expected."""
        return self.found, -self.expected - self.confused


def best_choices(options: Sequence[Sequence[Option]], cost: int, confused: int | None = None) -> list[Choice]:
    """The best choice for 0, 1, ... ``cost`` quarters of alarms to expect where nothing is.

    The best finds the most events; of those that find as many, it has the fewest false alarms; of those again, the
    fewest where nothing is and then the greatest threshold of the last class, of the last but one, and so on.

    Args:
        options: Of each class, the preferred of equal ones first.
        cost: Most quarters of alarms to expect where nothing is, over all classes.
        confused: Most alarms in the time of events of other classes; None: any number.
    """
    shape = (cost + 1, (confused or 0) + 1)
    weight = 1 + sum(max(_false(option) for option in own) for own in options)
    best: npt.NDArray[np.int64] = np.zeros(shape, np.int64)
    taken = []
    kept = [_undominated(own, confused is not None) for own in options]
    for own in kept:
        top, which = np.full(shape, np.iinfo(np.int64).min), np.zeros(shape, np.int16)
        for number, option in enumerate(own):
            alarms, others = option.cost, option.confused if confused is not None else 0
            if alarms >= shape[0] or others >= shape[1]:
                continue
            value = option.found * weight - _false(option)
            sums = best[: shape[0] - alarms, : shape[1] - others] + value
            part, chosen = top[alarms:, others:], which[alarms:, others:]
            better = sums > part
            part[better], chosen[better] = sums[better], number
        best = top
        taken.append(which)
    return [_traced(kept, taken, most, shape[1] - 1, confused is not None) for most in range(cost + 1)]


def _false(option: Option) -> int:
    """False alarms of both kinds, in quarters."""
    return option.cost + QUARTERS * option.confused


def _traced(
    kept: Sequence[Sequence[Option]], taken: Sequence[npt.NDArray[np.int16]], alarms: int, others: int, limited: bool
) -> Choice:
    chosen: list[Option] = []
    for own, which in zip(reversed(kept), reversed(taken), strict=True):
        option = own[which[alarms, others]]
        chosen.append(option)
        alarms, others = alarms - option.cost, others - (option.confused if limited else 0)
    return Choice(tuple(reversed(chosen)))


def _undominated(own: Sequence[Option], limited: bool) -> list[Option]:
    """The options but for those that another, or an equal one before, makes superfluous."""
    kept: list[Option] = []
    for option in sorted(own, key=lambda each: (each.cost, -each.found, each.confused)):
        if not any(
            other.found >= option.found
            and other.cost <= option.cost
            and (other.confused <= option.confused or (not limited and other.found > option.found))
            for other in kept
        ):
            kept.append(option)
    return kept


def least_budget(hours: float, sections: int) -> float:
    """The fewest alarms an hour that background can show: with none seen in T hours, at 95 %, it may be 3 / T.

    Args:
        hours: Of background.
        sections: Independent pieces of it: a rule for 1 an hour, fitted on six long ones, had 82 an hour on others.
    """
    shown = min(hours, sections * SECTION_HOURS)
    return 3 / shown if shown > 0 else math.inf
