"""Budgets that hold in places that a rule was not chosen on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aed.base.errors import AedError
from aed.datamodules.sources.sections import backgrounds
from aed.scoring.events.family import NEVER_ON, QUARTERS, Option, Shape, priced, shapes
from aed.scoring.events.fitting import Labelled, best_rule
from aed.scoring.events.left_out import alarms_left_out, most_within
from aed.scoring.events.lists import EventList
from aed.scoring.events.places import GROUPS, Places, grouped
from aed.scoring.rule import EventRule

NOTHING = EventList.of([], [], [], [])


def test_a_time_is_of_the_place_that_is_heard():
    places = Places.of([[(0.0, "a"), (4.0, "b")], [(3.0, "b"), (5.0, "c")]])  # what is heard first begins at 0
    numbers = np.array([0, 0, 0, 1, 1, 0])
    assert places.at(numbers, np.array([0.0, 3.9, 4.0, 0.5, 7.0, np.inf])).tolist() == [0, 0, 1, 1, 2, 1]
    other = places.among([1])
    assert other.recording.tolist() == [0, 0] and other.at(np.array([0, 0]), np.array([1.0, 6.0])).tolist() == [1, 2]


def test_hours_are_those_in_which_nothing_is():
    places = Places.of([[(0.0, "a"), (60.0, "b")], [(0.0, "a")]])
    events = EventList.of([0, 0, 1], [0, 1, 0], [10, 12, 50], [20, 30, 60])
    hours = places.hours(events, np.array([100.0, 60.0]), 2.0)
    assert (hours * 3600).tolist() == pytest.approx([60 - 22 + 50, 40], abs=0.51)


def test_groups_are_about_as_long():
    hours = np.random.default_rng(0).exponential(size=200)
    filled = np.bincount(grouped(hours), hours)
    assert len(filled) == GROUPS and filled.max() - filled.min() < 0.05 * hours.sum() / GROUPS
    assert sorted(grouped(np.array([1.0, 2.0, 0.5]))) == [0, 1, 2], "of fewer places each is a group"


def test_the_interval_is_over_places():
    """Forty places of an hour, all alarms in one of them: as likely none as many."""
    places = Places.of([[(0.0, number)] for number in range(40)])
    hours = places.hours(NOTHING, np.full(40, 3600.0), 2.0)
    one, each = np.full(20, 7), np.repeat(np.arange(40), 2)[:20]
    low, high = places.interval(one, np.arange(20.0), hours)
    assert low == 0 and high == pytest.approx(3 * 20 / 40)  # as many as three draws of forty
    narrow = places.interval(each, np.arange(20.0), hours)
    assert 0.1 < narrow[0] < 0.5 < narrow[1] < 1.0
    assert Places.of([[(0.0, "a")]]).interval(one * 0, np.arange(20.0), np.array([1.0])) is None


def test_what_is_left_out_is_counted_where_it_was_not_seen():
    """Three groups of a third of the time: the second one's nine alarms cost what the others do not show."""
    counts = {0.9: (0, 9, 0), 0.8: (1, 9, 0), 0.6: (1, 9, 1)}
    own = [Option(one, 2 + place, sum(parts), 0, 0, parts) for place, (one, parts) in enumerate(counts.items())]
    raised = alarms_left_out({Shape(1, 1.0, 0.0): [priced([NEVER_ON, *own])]}, QUARTERS * 20, None, [1 / 3] * 3)
    assert raised[0] == 0, "no choice without alarms to expect finds anything"
    enough = QUARTERS * 3  # two alarms of the others are within two thirds of it, the nine are not
    assert raised[enough] == 9 and raised[-1] == sum(counts[0.6])
    first = next(quarters for quarters, count in enumerate(raised) if count >= 9)
    assert 0 < first <= enough and most_within(raised, 8.0) == first - 1 and most_within(raised, 11.0) == QUARTERS * 20


RATE_S = 10.0
"""From one decision to the next: far apart, so that each is an alarm of its own."""


def made(draw: np.random.Generator, clumped: float) -> Labelled:
    """Two classes; sixty places of three minutes, some of which resemble a class, and an hour of events."""
    rows, onsets = [], np.arange(0, 3600, 20.0)
    for _ in range(60):
        logits = draw.normal(-4, 1.5, (18, 2)) + clumped * draw.normal(0, 2, 2)
        rows.append((1 / (1 + np.exp(-logits))).astype(np.float32))
    target = draw.integers(2, size=len(onsets))
    logits = np.full((360, 2), -9.0)
    logits[::2][np.arange(180), target] = draw.normal(0, 3, 180)
    rows.append((1 / (1 + np.exp(-logits))).astype(np.float32))
    starts = [np.arange(len(own)) * RATE_S for own in rows]
    events = EventList.of(np.full(180, 60), target, onsets, onsets + 5)
    length_s = np.array([180.0] * 60 + [3600.0])
    places = Places.of([[(0.0, number)] for number in range(61)])
    return Labelled(rows, starts, events, length_s, RATE_S, 1.0, None, places)


def rate(labelled: Labelled, shape: Shape, thresholds: list[float | None]) -> int:
    """Alarms on background that a rule raises in other streams."""
    found = 0
    for target, threshold in enumerate(thresholds):
        if threshold is not None:
            found += sum(int((own[:, target] >= np.float32(threshold)).sum()) for own in labelled.posteriors[:60])
    return found


@pytest.mark.parametrize("clumped", [0.0, 1.0])
@pytest.mark.usefixtures("computes")
def test_a_budget_holds_in_new_places(clumped):
    """On average over many choices, whether alarms are independent or come in clumps."""
    draw, family, came, blind = np.random.default_rng(0), shapes((1,), (1.0,), (0.0,)), [], []
    for _ in range(40):
        seen, new = made(draw, clumped), made(draw, clumped)
        for places, into in ((seen.places, came), (None, blind)):
            own = Labelled(*(getattr(seen, name) for name in list(Labelled.__dataclass_fields__)[:-1]), places)
            fitted = best_rule(own, family, EventRule(repeat_s=RATE_S / 2), 2.0, 2.0)
            thresholds = [option.threshold for option in fitted.choice.options]
            into.append(rate(new, fitted.shape, thresholds) / fitted.hours)
    assert 0.2 < np.mean(came) <= 2.0 + 0.5
    assert np.mean(came) <= np.mean(blind) + 1e-9


@pytest.mark.usefixtures("computes")
def test_where_one_place_alone_raises_more_than_the_budget_nothing_is_chosen():
    """Without that place no threshold costs anything, and the best of these raises all its alarms."""
    seen = made(np.random.default_rng(0), 0.0)
    for place, own in enumerate(seen.posteriors[:60]):
        own[:, 0] = 0.9 if place == 7 else 0.0
    lively = seen.posteriors[60][:, 0]
    seen.posteriors[60][:, 0] = np.where(lively > 0.9, 0.999, np.where(lively > 0.5, 0.85, 0.0))
    own = replace(seen, posteriors=[rows * np.float32([1, 0]) for rows in seen.posteriors])
    family, base = shapes((1,), (1.0,), (0.0,)), EventRule(repeat_s=RATE_S / 2)
    fitted = best_rule(own, family, base, 2.0, 2.0)
    assert fitted.spent == -1 and fitted.elsewhere == 18 and fitted.choice.found == 0 < fitted.best_within.found
    assert best_rule(own, family, base, 6.0, 2.0).choice.found > 0, "18 alarms in three hours are within that"


def test_a_list_names_what_is_heard(tmp_path: Path):
    files = [tmp_path / name for name in ("a.wav", "b.wav")]
    assert backgrounds(files) == [[(0.0, str(file))] for file in files]
    rows = ["filename,onset,background", "a.wav,10.5,yard", "a.wav,0,street"]
    (tmp_path / "backgrounds.csv").write_text("\n".join(rows) + "\n")
    assert backgrounds(files) == [[(0.0, "street"), (10.5, "yard")], [(0.0, str(files[1]))]]


@pytest.mark.parametrize(
    ("row", "words"),
    [("a.wav,x,yard", "row 1: need seconds"), ("a.wav,-1,yard", "got onset '-1'"), ("a.wav,0,", "background ''")],
)
def test_a_damaged_list_is_refused(tmp_path: Path, row: str, words: str):
    (tmp_path / "backgrounds.csv").write_text(f"filename,onset,background\n{row}\n")
    with pytest.raises(AedError, match=words):
        backgrounds([tmp_path / "a.wav"])


def test_a_list_without_its_columns_is_refused(tmp_path: Path):
    (tmp_path / "backgrounds.csv").write_text("filename,onset,place\na.wav,0,yard\n")
    with pytest.raises(AedError, match="background"):
        backgrounds([tmp_path / "a.wav"])
