"""The rule of a family that finds the most events within a budget of alarms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf

import numpy as np

from aed.scoring.events.alarms import Instants, background_hours
from aed.scoring.events.family import NEVER_ON, QUARTERS, Choice, Option, Shape, best_choices, search
from aed.scoring.events.joined import Joined
from aed.scoring.events.left_out import alarms_left_out, most_within
from aed.scoring.events.lists import EventList, Seconds
from aed.scoring.events.places import Places, grouped
from aed.scoring.events.stream import THRESHOLDS
from aed.scoring.events.tail import HIGHEST
from aed.scoring.rule import EventRule, Floats, RuleDecisions, RuleState


@dataclass(frozen=True)
class Labelled:
    """What a model decides of recordings, beside what occurs in them.

    Args:
        posteriors: ``(decisions, C)`` of each recording.
        starts: ``(decisions,)`` of each, when each patch starts, s.
        events: That occur.
        length_s: ``(recordings,)``.
        hop_s: Time from one decision to the next.
        patch_s: Length of a patch.
        unknown_threshold: As of :class:`aed.scoring.rule.RuleState`.
        places: Of the recordings; None: not known, and what a rule costs elsewhere is not asked of places left out.
    """

    posteriors: Sequence[Floats]
    starts: Sequence[Seconds]
    events: EventList
    length_s: Seconds
    hop_s: float
    patch_s: float
    unknown_threshold: float | None = None
    places: Places | None = None

    def joined(self, rule: EventRule, times: RuleDecisions) -> Joined:
        """All decisions, smoothed as a rule says."""

        def smoothed(rows: Floats) -> Floats:
            return RuleState(rule, rows.shape[1], self.hop_s, self.unknown_threshold).smoothed(rows)

        return Joined.of(list(map(smoothed, self.posteriors)), self.starts, times)

    def place_hours(self, slack_s: float) -> Seconds | None:
        """Hours of each place where nothing is; None: places are not known."""
        return None if self.places is None else self.places.hours(self.events, self.length_s, slack_s)

    def search(
        self, family: Sequence[Shape], base: EventRule, slack_s: float, most: float = inf
    ) -> dict[Shape, list[list[Option]]]:
        """As :func:`aed.scoring.events.family.search`, with alarms at the ends of patches."""
        hours = self.place_hours(slack_s)
        group = None if self.places is None or hours is None else grouped(hours)

        def instants(joined: Joined) -> Instants:
            own = None
            if self.places is not None and group is not None:
                own = group[self.places.at(joined.recording, joined.start_s + self.patch_s / 2)]
            return Instants(self.events, joined.recording, joined.start_s + self.patch_s, slack_s, own)

        return search(family, base, self.hop_s, THRESHOLDS, self.joined, instants, most)


@dataclass(frozen=True)
class Fitted:
    """Candidates, and the chosen one.

    Args:
        shape: Of the rule.
        choice: Thresholds of the rule, and what they find and cost; it finds nothing where none does.
        base: Rule that says what shapes do not.
        best: The best choices of each shape for 0, 1, ... quarters of alarms to expect.
        spent: Quarters of alarms that the choice may cost; -1: even one for none raises more elsewhere.
        elsewhere: Alarms of such a choice in places it was made without; None: places are not known.
        budget: Alarms an hour where nothing is.
        hours: Of background.
        events: That occur.
    """

    shape: Shape
    choice: Choice
    base: EventRule
    best: Mapping[Shape, Sequence[Choice]]
    spent: int
    elsewhere: int | None
    budget: float
    hours: float
    events: int

    @property
    def rule(self) -> EventRule:
        """The rule.

        Raises:
            AedError: It finds nothing.
        """
        return self.shape.rule(self.base, [own.threshold for own in self.choice.options])

    @property
    def best_within(self) -> Choice:
        """The best choice within the budget, whatever it raises in places that it is made without."""
        most = most_quarters(self.budget, self.hours)
        return max((choices[most] for choices in self.best.values()), key=lambda choice: choice.rank)

    @property
    def recall(self) -> float:
        """Share of the events that the rule finds."""
        return self.choice.found / self.events


def most_quarters(budget: float, hours: float) -> int:
    """Quarters of alarms that a budget an hour allows in some hours."""
    return floor(QUARTERS * budget * hours + 1e-9)


def best_rule(
    labelled: Labelled,
    family: Sequence[Shape],
    base: EventRule,
    budget: float,
    slack_s: float,
    confused: int | None = None,
    beyond: int = 1,
) -> Fitted:
    """The rule of a family that finds the most events within a budget, the first of equals.

    Where places are known the budget holds for others, too: no more alarms are expected than such a choice raises in
    places that it is made without.

    Args:
        labelled: Validation, with at least one event.
        family: Shapes.
        base: Says what shapes do not.
        budget: Alarms an hour where nothing is, over all classes.
        slack_s: Time after an event in which an alarm still finds it.
        confused: Most alarms in the time of events of other classes; None: any number.
        beyond: Candidates are kept up to so many times the budget.
    """
    hours = background_hours(labelled.events, labelled.length_s, slack_s)
    most = most_quarters(budget, hours)
    options = labelled.search(family, base, slack_s, max(beyond * budget * hours, 2 * HIGHEST))
    best = {shape: best_choices(own, beyond * most, confused) for shape, own in options.items()}
    spent, elsewhere = most, None
    place_hours = labelled.place_hours(slack_s)
    if place_hours is not None and (place_hours > 0).sum() > 1:
        shares = np.bincount(grouped(place_hours), place_hours) / place_hours.sum()
        raised = alarms_left_out(options, most, confused, shares.tolist())
        spent = most_within(raised, budget * hours)
        elsewhere = raised[max(spent, 0)]
    shape = max(best, key=lambda each: best[each][max(spent, 0)].rank)
    choice = best[shape][spent] if spent >= 0 else Choice((NEVER_ON,) * len(options[shape]))
    return Fitted(shape, choice, base, best, spent, elsewhere, budget, hours, len(labelled.events))
