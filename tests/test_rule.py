"""The event rule: a stream in blocks, all of it at once, and cases that can be followed by hand."""

from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.scoring.rule import Alarm, EventRule, RuleEvent, RuleState, events_of_class

SECONDS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 5.0])
RULES = st.builds(
    EventRule,
    on=st.tuples(st.floats(0.3, 0.9)),
    off=st.one_of(st.just(()), st.tuples(st.floats(0, 0.3))),
    smoothing=st.sampled_from(["mean", "exponential"]),
    window=st.integers(1, 5),
    weight=st.floats(0.1, 1),
    shortest_s=SECONDS,
    gap_s=SECONDS,
    hold_off_s=SECONDS,
    repeat_s=st.sampled_from([1.0, 3.0, 10.0]),
)


def posteriors(seed: int, decisions: int, classes: int = 2) -> np.ndarray:
    """Random walks between 0 and 1, so that a class is on for a while."""
    steps = np.random.default_rng(seed).normal(0, 0.25, (decisions, classes)).cumsum(axis=0)
    return (np.abs((steps + 1) % 4 - 2) / 2).astype(np.float32)


def run(rule: EventRule, rows: np.ndarray, cuts: tuple[int, ...] = (), **changes: float) -> tuple[list, list]:
    state = RuleState(rule, rows.shape[1], 1.0, **changes)
    alarms, events = [], []
    for block in np.split(rows, sorted(cuts)):
        raised, ended = state.add(block)
        alarms += raised
        events += ended
    return alarms, events + state.finish()


@settings(deadline=None, derandomize=True)
@given(rule=RULES, seed=st.integers(0, 999), length=st.integers(0, 200), cuts=st.lists(st.integers(0, 200), max_size=9))
def test_a_stream_is_a_batch_however_it_is_cut(rule, seed, length, cuts):
    rows = posteriors(seed, length)
    assert run(rule, rows, tuple(cuts)) == run(rule, rows)


@settings(deadline=None, derandomize=True, max_examples=300)
@given(rule=RULES, seed=st.integers(0, 999), length=st.integers(1, 200))
@pytest.mark.usefixtures("computes")
def test_all_of_a_class_at_once_gives_the_events_of_the_stream(rule, seed, length):
    rows = posteriors(seed, length)
    alarms, events = run(rule, rows)
    smooth = RuleState(rule, 2, 1.0).smoothed(rows)
    on, off = rule.thresholds(2)
    for target in range(2):
        found = list(events_of_class(smooth[:, target], on[target], off[target], rule.decisions(1.0)))
        wanted = sorted((event.first, event.last, list(event.alarms)) for event in events if event.target == target)
        assert found == wanted
        assert [alarm.decision for alarm in alarms if alarm.target == target] == sorted(
            decision for _, _, raised in found for decision in raised
        )
    for event in events:
        assert event.peak == smooth[event.first : event.last + 1, event.target].max()


@settings(deadline=None, derandomize=True)
@given(rule=RULES, seed=st.integers(0, 999))
def test_laws_of_alarms(rule, seed):
    alarms, events = run(rule, posteriors(seed, 300))
    times = rule.decisions(1.0)
    for target in range(2):
        raised = [alarm.decision for alarm in alarms if alarm.target == target]
        begins = {event.alarms[0] for event in events if event.target == target}
        for before, after in pairwise(raised):
            assert after - before > times.hold_off if after in begins else after - before >= times.repeat
        own = sorted((event.first, event.last) for event in events if event.target == target)
        assert all(second[0] - first[1] > times.gap for first, second in pairwise(own))
    assert all(event.alarms and event.last - event.first + 1 >= times.shortest for event in events)


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_hysteresis_gap_and_hold_off_by_hand():
    rows = column(0, 0.6, 0.4, 0.2, 0.7, 0, 0, 0, 0.9, 0.9, 0)
    rule = EventRule(on=(0.5,), off=(0.3,))
    assert [(event.first, event.last) for event in run(rule, rows)[1]] == [(1, 2), (4, 4), (8, 9)]
    assert [(event.first, event.last) for event in run(replace(rule, gap_s=1), rows)[1]] == [(1, 4), (8, 9)]
    held = run(replace(rule, hold_off_s=7), rows)
    # the alarm of decision 1 holds until 8: the event at 4 is none, that at 8 begins with its second decision
    assert held[0] == [Alarm(1, 0, np.float32(0.6)), Alarm(9, 0, np.float32(0.9))]
    assert held[1] == [
        RuleEvent(1, 2, 0, np.float32(0.6), (1,)),
        RuleEvent(8, 9, 0, np.float32(0.9), (9,)),
    ]
    assert [event.alarms for event in run(replace(rule, shortest_s=2), rows)[1]] == [(2,), (9,)]


def test_what_lasts_raises_alarms_again():
    alarms, events = run(EventRule(on=(0.5,), repeat_s=4), column(*[0.9] * 10))
    assert [alarm.decision for alarm in alarms] == [0, 4, 8] and len(events) == 1


def test_smoothing_by_hand():
    rows = column(1, 0, 0.5, 1)
    mean = RuleState(EventRule(window=2), 1, 1.0).smoothed(rows)[:, 0]
    np.testing.assert_array_equal(mean, np.float32([1, 0.5, 0.25, 0.75]))
    moving = RuleState(EventRule(smoothing="exponential", weight=0.5), 1, 1.0).smoothed(rows)[:, 0]
    np.testing.assert_array_equal(moving, np.float32([1, 0.5, 0.5, 0.75]))


def test_unknown_decisions_count_as_nothing():
    rows = np.float32([[0.5, 0.3], [0.9, 0.1]])
    assert run(EventRule(on=(0.2,)), rows, unknown_threshold=0.6)[1] == [RuleEvent(1, 1, 0, np.float32(0.9), (1,))]


def test_times_are_at_least_as_long_as_said():
    rule = EventRule(shortest_s=1.44, gap_s=0.73, hold_off_s=3)
    assert rule.decisions(0.72) == (2, 2, 5, 14)
    assert EventRule().decisions(0.72)[:3] == (1, 0, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"on": ()}, "rule.on"),
        ({"on": (1.5,)}, r"rule.on: need numbers in \[0, 1\]"),
        ({"on": (None, None)}, "could never raise an alarm"),
        ({"on": (0.4,), "off": (0.5,)}, "rule.off: 0.5 is over rule.on, 0.4"),
        ({"window": 0}, "rule.window: need 1 to 64"),
        ({"window": True}, "rule.window"),
        ({"weight": 0.0}, "rule.weight"),
        ({"smoothing": "median"}, "mean or exponential"),
        ({"gap_s": -1.0}, "rule.gap_s"),
        ({"hold_off_s": float("inf")}, "rule.hold_off_s"),
        ({"repeat_s": 0.0}, "flood of alarms"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(values, words):
    with pytest.raises(AedError, match=words):
        EventRule(**values)


def test_a_rule_keeps_through_json_and_knows_its_classes():
    rule = EventRule(on=(0.5, None, 0.7), off=(0.4, 0.4, 0.4), window=3)
    assert EventRule.from_dict({key: list(v) if isinstance(v, tuple) else v for key, v in asdict(rule).items()}) == rule
    with pytest.raises(AedError, match="one per class; got 3"):
        rule.check(2)
    with pytest.raises(AedError, match="rule: unknown"):
        EventRule.from_dict({"treshold": 0.5})
    never = RuleState(rule, 3, 1.0)
    assert not never.add(np.float32([[0, 1, 0]]))[0]
