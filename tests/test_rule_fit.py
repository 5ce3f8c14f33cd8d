"""The choice of a rule within a budget: against brute force, and of a model on recordings made here."""

import csv
import itertools
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listeners import level_model, recording

from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card
from aed.run.detect import detect_files
from aed.run.rule_changes import RuleChanges
from aed.run.rule_fit import FitConfig, _nearest, check_budget
from aed.run.stream_report import verdict
from aed.scoring.events.alarms import Alarms, Instants, background_hours, count_alarms
from aed.scoring.events.bootstrap import recall_interval
from aed.scoring.events.family import (
    NEVER_ON,
    QUARTERS,
    Choice,
    Option,
    Shape,
    best_choices,
    class_options,
    least_budget,
    search,
    shapes,
)
from aed.scoring.events.joined import Joined
from aed.scoring.events.lists import EventList
from aed.scoring.events.stream import THRESHOLDS, StreamScores
from aed.scoring.events.tail import expected_alarms
from aed.scoring.rule import EventRule, RuleState

# --- the choice -----------------------------------------------------------------------------------------------------

OPTIONS = st.lists(st.builds(Option, st.floats(0.1, 0.9), *map(partial(st.integers, 0), (6, 5, 4, 9))), max_size=5)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(
    classes=st.lists(OPTIONS, min_size=1, max_size=3), most=st.integers(0, 12), confused=st.none() | st.integers(0, 5)
)
def test_no_choice_within_the_budget_is_better(classes, most, confused):
    own = [[NEVER_ON, *options] for options in classes]
    every = [Choice(tuple(combination)) for combination in itertools.product(*own)]
    for cost, choice in enumerate(best_choices(own, most, confused)):
        allowed = [
            each
            for each in every
            if QUARTERS * each.expected <= cost and (confused is None or each.confused <= confused)
        ]
        assert choice in every and choice in allowed
        assert choice.rank == max(each.rank for each in allowed)


HOP_S, PATCH_S, CLASSES = 0.5, 1.0, 3


def streams(seed: int) -> tuple[list[np.ndarray], list[np.ndarray], EventList]:
    """Posteriors that wander up to very near 1, of four recordings of 60 decisions, and events in them."""
    draw = np.random.default_rng(seed)
    rows = [(1 / (1 + np.exp(-draw.normal(0, 6, (60, CLASSES))))).astype(np.float32) for _ in range(4)]
    numbers, onsets = np.repeat(np.arange(4), 3), np.tile([3.0, 12.0, 20.0], 4) + draw.uniform(0, 4, 12)
    return (
        rows,
        [np.arange(60) * HOP_S] * 4,
        EventList.of(numbers, draw.integers(CLASSES, size=12), onsets, onsets + 1.5),
    )


@pytest.mark.parametrize("seed", range(3))
def test_a_fitted_rule_costs_what_the_search_said(seed):
    """Against the rule itself, recording by recording, and the alarms it raises."""
    rows, starts, reference = streams(seed)
    base = EventRule(gap_s=1.0, shortest_s=0.5, repeat_s=3.0)

    def joined(rule, times):
        return Joined.of([RuleState(rule, CLASSES, HOP_S).smoothed(own) for own in rows], starts, times)

    def instants(smooth):
        return Instants(reference, smooth.recording, smooth.start_s + PATCH_S, 2.0)

    family = shapes((1, 3), (0.5, 1.0), (0.0, 4.0))
    found = search(family, base, HOP_S, (0.2, 0.6, 0.999999), joined, instants)
    assert list(found) == family
    for shape, classes in found.items():
        for place in range(1, 4):
            choice = Choice(tuple(own[place] for own in classes))
            rule = shape.rule(base, [own.threshold for own in choice.options])
            raised = []
            for number, own in enumerate(rows):
                first, _ = RuleState(rule, CLASSES, HOP_S).add(own)
                raised += [(number, each.target, each.decision * HOP_S + PATCH_S) for each in first]
            numbers, targets, times_s = np.array(raised).reshape(-1, 3).T
            alarms = Alarms(numbers.astype(np.int64), targets.astype(np.int64), times_s)
            counted = count_alarms(reference, alarms, CLASSES, np.full(4, 31.0))
            assert [each.found for each in choice.options] == counted.found.tolist()
            assert [each.background for each in choice.options] == counted.background.tolist()
            assert [each.confused for each in choice.options] == counted.confused.sum(axis=1).tolist()


def test_a_shape_keeps_what_it_does_not_say():
    rule = Shape(2, 0.6, 3.0).rule(EventRule(gap_s=1.5, smoothing="exponential"), [0.9, None])
    assert rule == EventRule(on=(0.9, None), off=(0.54, 0.0), window=2, hold_off_s=3.0, gap_s=1.5)


def test_thresholds_reach_where_few_alarms_are():
    values = np.float32(THRESHOLDS)
    assert (np.diff(values) > 0).all() and 0 < values[0] < 0.001 and (values > 1 - 1e-6).sum() > 5 and values[-1] < 1


def test_too_many_alarms_are_not_looked_at():
    values = np.float32([[0.9], [0.1]] * 20)
    joined = Joined.of([values], [np.arange(40.0)], EventRule().decisions(1.0))
    none = Instants(EventList.of([], [], [], []), joined.recording, joined.start_s, 2.0)
    arguments = (joined, none, 0, 1.0, EventRule().decisions(1.0), (0.5, 0.95))
    assert [option[:4] for option in class_options(*arguments)] == [NEVER_ON[:4], (0.95, 0, 0, 0), (0.5, 0, 20, 0)]
    assert class_options(*arguments, most=19) == [NEVER_ON, Option(0.95, 0, 0, 0, 0)]


@pytest.mark.parametrize("width", [0.7, 2.0])
def test_alarms_of_a_chosen_threshold_are_those_that_come(width):
    """Thresholds chosen for 0 to 3 alarms in one stream, in many others: what is counted is one too little."""
    draw = np.random.default_rng(0)

    def counts(levels: np.ndarray) -> list[int]:
        return [int((levels >= math.log(one / (1 - one))).sum()) for one in falling]

    falling = sorted(THRESHOLDS, reverse=True)
    chosen: dict[int, list[tuple[float, float]]] = {number: [] for number in range(4)}
    for _ in range(300):
        seen, others = draw.logistic(-2, width, 200), draw.logistic(-2, width, (20, 200))
        found = counts(seen)
        expected = expected_alarms(falling, found)
        for number, pairs in chosen.items():
            place = np.searchsorted(found, number, side="right") - 1  # the lowest threshold with so few
            level = math.log(falling[place] / (1 - falling[place]))
            pairs.append((float((others >= level).sum(axis=1).mean()), expected[place]))
    for number, pairs in chosen.items():
        came, said = np.mean(pairs, axis=0)
        assert said == pytest.approx(came, rel=0.15) and came > number + 0.4
    assert expected_alarms(falling, [0] * len(falling)).max() == 0
    found = counts(draw.logistic(-2, width, 2000))
    many = expected_alarms(falling, found)
    assert (np.diff(many) >= 0).all() and (many >= found).all() and many[-1] == found[-1]


# --- what can be shown ----------------------------------------------------------------------------------------------


def test_a_budget_needs_hours_and_sections():
    check_budget(1, hours=3, sections=60)
    check_budget(10, hours=0.3, sections=6)
    for hours, sections, least in ((2.9, 200, 3 / 2.9), (12, 59, 60 / 59), (0.5, 6, 10)):
        with pytest.raises(AedError, match=f"in {sections} independent sections.*ask for {least:.3g} or more"):
            check_budget(1, hours, sections)
    assert least_budget(0, 5) == math.inf


def test_the_interval_of_a_recall_is_over_clips():
    """Forty clips of equally many events, half of them found whole: a binomial distribution of clips."""
    unit = np.repeat(np.arange(40), 9)
    low, high = recall_interval(unit < 20, unit)
    chances = np.cumsum([math.comb(40, k) / 2**40 for k in range(41)])
    exact = [np.searchsorted(chances, level) / 40 for level in (0.025, 0.975)]
    assert (low, high) == pytest.approx(exact, abs=0.026)
    half = 1.96 * math.sqrt(0.25 / 360)
    assert high - low > 4 * half, "events of a clip are no independent witnesses"
    assert recall_interval(unit < 20, 0 * unit) is None


@settings(deadline=None, derandomize=True)
@given(onsets=st.lists(st.integers(0, 90), max_size=6), slack=st.integers(0, 4))
def test_background_is_where_no_alarm_would_be_in_the_time_of_an_event(onsets, slack):
    length_s, numbers = np.array([60.0, 95.0]), [int(onset > 50) for onset in onsets]
    events = EventList.of(numbers, [0] * len(onsets), onsets, np.array(onsets) + 5)
    times = [np.arange(0.5, length) for length in length_s.tolist()]
    instants = Instants(events, np.repeat([0, 1], [60, 95]), np.concatenate(times), float(slack))
    assert background_hours(events, length_s, float(slack)) * 3600 == pytest.approx(155 - len(instants.events))


# --- a model --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return level_model(tmp_path_factory.mktemp("model") / "model.onnx")


class Place:
    """Validation and test recordings: two loud events each, and blips in which nothing is that are less loud."""

    def __init__(self, folder: Path, blip: float) -> None:
        self.folder = folder
        for split in ("val", "test"):
            (folder / split).mkdir(parents=True)
            blips = [(second, second + 0.7, blip) for second in (1, 12, 16, 20, 24)]
            recording(folder / split / "one.wav", (4.0, 6.0), *blips, seconds=30)
            recording(folder / split / "two.wav", (5.0, 6.0), (16, 16.7, blip), seconds=20)
            rows = ["filename,onset,offset,label,clip", "one.wav,4,6,loud,a", "two.wav,5,6,loud,b"]
            (folder / f"{split}.csv").write_text("\n".join(rows) + "\n")

    def fit(self, model: Path, **changes: object) -> str:
        """Fits with a budget of 2 alarms in the 39 s of background."""
        names = {"alarms_per_hour": 200.0, "windows": [1, 2]} | {key: changes.pop(key) for key in {*changes} & KEYS}
        arguments = {
            "files": [str(self.folder / "val")],
            "reference": str(self.folder / "val.csv"),
            "output": str(self.folder / "fitted.onnx"),
        }
        detect_files(str(model), **arguments | changes, action="fit", config=FitConfig(**names))
        return arguments["output"]


KEYS = set(FitConfig.__dataclass_fields__)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    # seconds of recordings show nothing an hour: for these tests they do
    monkeypatch.setattr("aed.run.rule_fit.least_budget", lambda hours, sections: 1.0)
    return Place(tmp_path, 0.003)  # whose posteriors are 1 - 1e-5


def test_a_rule_is_fitted_written_and_tested(model, place, capsys):
    before = model.read_bytes()
    facts = {"test_files": str(place.folder / "test"), "test_reference": str(place.folder / "test.csv")}
    places = {key: str(place.folder / name) for key, name in {"scores": "x.json", "det": "x.png"}.items()}
    output = place.fit(model, candidates=str(place.folder / "x.csv"), **facts, **places)
    said = " ".join(capsys.readouterr().out.split())
    assert "validation" in said and "the budget, 200, is inside" in said
    assert "95 % over clips: 1.000 to 1.000" in said
    assert model.read_bytes() == before
    old, new = (read_model_card(load_model(Path(path)), Path(path)) for path in (model, output))
    assert replace(new, rule=old.rule) == old and new.rule.on[1:] == (None, None) and new.rule.on[0] > 0.5
    assert (place.folder / "x.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((place.folder / "x.csv").read_text().splitlines()))
    assert {(row["window"], row["off_share"], row["hold_off_s"]) for row in rows if row["miss_rate"] == "0"} >= {
        ("1", "0.6", "0"), ("2", "1", "3"),
    }  # fmt: skip
    scores = json.loads((place.folder / "x.json").read_text())
    assert scores["metrics"]["recall"] == 1 and scores["metrics"]["background_per_hour"] <= 200
    assert scores["rule"]["on"] == list(new.rule.on)
    # the copy detects by its rule: less than the model's own, which takes the blips for events
    for path, alarms in ((model, 8), (output, 2)):
        detect_files(str(path), [str(place.folder / "test")], format="csv")
        assert len(capsys.readouterr().out.splitlines()) == 1 + alarms


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"alarms_per_hour": None}, "alarms_per_hour: action=fit needs a budget over 0, got None"),
        ({"alarms_per_hour": -1.0}, "needs a budget over 0, got -1.0"),
        ({"most_confused": -1.0}, "most_confused: need 0 or more"),
        ({"windows": []}, "need at least one value each"),
        ({"windows": [0]}, "rule.window: need 1 to 64"),
        ({"off_shares": [1.5]}, r"off_shares: need shares of rule.on in \(0, 1\], got 1.5"),
        ({"hold_offs_s": [-1.0]}, "rule.hold_off_s: need 0 or more"),
        ({"output": None}, "output: action=fit writes a copy"),
        ({"output": "x.csv"}, "output: action=fit writes a copy"),
        ({"reference": None}, "action=fit: needs reference"),
        ({"on": "c"}, "on=runtime"),
        ({"test_reference": "x.csv"}, "test_files: give recordings to test on"),
        ({"test_files": "val"}, "test_reference: say what occurs"),
        ({"test_files": "val", "test_reference": "val.csv"}, "one.wav is a validation recording, too"),
        ({"ambient": "val"}, "ambient: .*one.wav is one of the annotated recordings"),
    ],
)
def test_a_fit_that_cannot_be_is_refused(model, place, monkeypatch, changes, words):
    monkeypatch.chdir(place.folder)
    with pytest.raises(AedError, match=words):
        place.fit(model, **changes)
    assert not (place.folder / "fitted.onnx").exists()


def test_a_copy_does_not_replace_its_model(model, place):
    with pytest.raises(AedError, match="is the model that is read"):
        place.fit(model, output=str(model))


def test_settings_of_a_fit_need_a_fit(model, place):
    with pytest.raises(AedError, match="alarms_per_hour: only action=fit reads it"):
        detect_files(str(model), [str(place.folder / "val")], config=FitConfig(alarms_per_hour=1.0))


def test_a_budget_that_no_rule_meets_names_the_nearest(model, tmp_path, monkeypatch):
    monkeypatch.setattr("aed.run.rule_fit.least_budget", lambda hours, sections: 1.0)
    place = Place(tmp_path, 0.9)  # louder than the events
    with pytest.raises(AedError, match=r"with so few; the nearest has \d+ an hour and finds [12] of 2 events"):
        place.fit(model)
    unheard = _nearest({Shape(1, 1.0, 0.0): [[NEVER_ON]]}, 1.0, 3.0, 5, None)
    assert "no rule finds an event with so few, and none with more" in unheard
    (tmp_path / "val.csv").write_text("filename,onset,offset,label\none.wav,,,\ntwo.wav,,,\n")
    with pytest.raises(AedError, match="names no event"):
        place.fit(model)


def test_seconds_cannot_show_an_hourly_budget(model, tmp_path):
    place = Place(tmp_path, 0.003)
    reason = r"cannot be shown by 0.0\d+ h without events in 2 independent sections"
    with pytest.raises(AedError, match=reason):
        place.fit(model)
    rows = [f"one.wav,{second},{second + 1}" for second in range(30)]
    (tmp_path / "val" / "sections.csv").write_text("\n".join(["filename,onset,offset", *rows]) + "\n")
    with pytest.raises(AedError, match="in 31 independent sections"):
        place.fit(model)


def test_an_ambient_recording_is_background(model, place, capsys):
    quiet = recording(place.folder / "quiet.wav", (3, 3.7, 0.3), (10, 12, 0.3), seconds=20)
    scores = place.folder / "x.json"
    arguments = {
        "reference": str(place.folder / "val.csv"),
        "scores": str(scores),
        "rule": RuleChanges(on=[0.99999999]),
    }
    detect_files(str(model), [str(place.folder / "val")], **arguments, output=str(place.folder / "x.txt"))
    alone = json.loads(scores.read_text())["metrics"]
    detect_files(
        str(model), [str(place.folder / "val")], **arguments, ambient=str(quiet), output=str(place.folder / "x.txt")
    )
    both = json.loads(scores.read_text())["metrics"]
    assert both["hours"] - alone["hours"] == pytest.approx(20 / 3600)
    assert both["background_hours"] - alone["background_hours"] == pytest.approx(20 / 3600)
    assert both["background/loud"] == alone["background/loud"] + 2 and both["recall"] == alone["recall"] == 1


@pytest.mark.parametrize(("over", "says"), [({}, ""), ({"low": 0.0, "high": 9.0}, "; over places: 0.00 to 9.00")])
def test_the_verdict_is_by_the_exact_interval_and_by_that_over_places(over, says):
    nothing = EventList.of([], [], [], [])
    four = Alarms(np.zeros(4, np.int64), np.zeros(4, np.int64), np.arange(4.0))
    counted = count_alarms(nothing, four, 1, np.array([3 * 3600.0]))
    metrics = {f"background_over_places/{end}": value for end, value in over.items()}
    result = StreamScores(metrics, counted, [])
    assert f"4 background alarms in 3 h, an hour 1.33 (95 %: 0.36 to 3.41{says})" in verdict(result, 1.0)
    assert verdict(result, 1.0).endswith("is inside") and verdict(result, 9.5).endswith("is over it: kept")
    assert verdict(result, 0.3).endswith("is inside" if over else "is under it: not kept")
