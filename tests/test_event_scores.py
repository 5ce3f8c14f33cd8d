"""Scores of events against published figures and other implementations."""

import re
import zipfile
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.scoring.events.alarms import Alarms, count_alarms, most_per_hour, poisson_interval
from aed.scoring.events.collars import Collars, best_matching, event_based
from aed.scoring.events.counts import EventCounts, macro
from aed.scoring.events.intersection import PSDS1, PSDS2, Criteria, intersect, psds
from aed.scoring.events.lists import EventList, shared_time
from aed.scoring.events.segments import segment_based

# --- DESED: a published system's detections with sed_eval's own text; psds_eval 0.5.3 on 50 operating points --------


@pytest.fixture(scope="module")
def desed() -> Path:
    folder = Path(__file__).parents[2] / "shared/golden/desed"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


ROW = r"^ *(\S+) +\| (\d+) +(\d+) +\| ([\d.]+)% +([\d.]+)% +([\d.]+)% +\| ([\d.]+)"
"""Of a class: name, references, detections, F1, precision, recall, error rate."""


class Desed:
    """The validation set: recordings, classes, events."""

    def __init__(self, folder: Path) -> None:
        lengths = pd.read_csv(folder / "durations.tsv", sep="\t")
        truth = pd.read_csv(folder / "ground_truth.tsv", sep="\t").dropna(subset=["onset"])
        self.folder, self.length_s = folder, lengths["duration"].to_numpy(np.float64)
        self.recordings = {name: number for number, name in enumerate(lengths["filename"])}
        self.classes = {name: number for number, name in enumerate(sorted(truth["event_label"].unique()))}
        self.reference = self.events(truth)
        self.detected = self.events(pd.read_csv(folder / "predictions_0.5.csv", index_col=0))

    def events(self, rows: pd.DataFrame) -> EventList:
        places = rows["filename"].map(self.recordings), rows["event_label"].map(self.classes)
        return EventList.of(*places, rows["onset"], rows["offset"])

    def points(self) -> list[EventList]:
        with zipfile.ZipFile(self.folder / "operating_points.zip") as archive:
            names = [name for name in sorted(archive.namelist()) if name.endswith(".tsv")]
            return [self.events(pd.read_csv(archive.open(name), sep="\t")) for name in names]

    def check(self, counts: EventCounts, published: str) -> None:
        """Every F1, precision, recall and error rate of the text, to its printed digit."""
        total = counts.micro
        blocks = re.split(r"Class-wise (?:average )?metrics", (self.folder / published).read_text())
        for block, values in (
            (blocks[0], (total.f1[0], total.precision[0], total.recall[0], counts.micro_error_rate)),
            (blocks[1], [macro(part) for part in (counts.f1, counts.precision, counts.recall, counts.error_rate)]),
        ):
            for name, value in zip(("F1", "Precision", "Recall", "ER"), values, strict=True):
                printed = re.search(rf"{name}\)? *: ([\d.]+)", block)[1]
                assert f"{value if name == 'ER' else 100 * value:.2f}" == printed, name
        rows = re.findall(ROW, blocks[2], re.MULTILINE)
        assert len(rows) == len(self.classes)
        for name, references, detections, *printed in rows:
            index = next(number for label, number in self.classes.items() if label.startswith(name.rstrip(".")))
            assert (counts.references[index], counts.detections[index]) == (int(references), int(detections))
            own = [f"{100 * part[index]:.1f}" for part in (counts.f1, counts.precision, counts.recall)]
            assert [*own, f"{counts.error_rate[index]:.2f}"] == printed


def test_event_scores_of_desed_are_the_published_ones(desed):
    data = Desed(desed)
    counts = event_based(data.reference, data.detected, 10, len(data.recordings), Collars(0.2, 0.2))
    data.check(counts, "published_event_f1.txt")


def test_segment_scores_of_desed_are_the_published_ones(desed):
    data = Desed(desed)
    data.check(segment_based(data.reference, data.detected, 10, len(data.recordings)), "published_segment_f1.txt")


@pytest.mark.parametrize(("scenario", "value"), [(PSDS1, 0.3534929830293312), (PSDS2, 0.5483290261164439)])
def test_psds_of_desed_is_that_of_psds_eval(desed, scenario, value):
    """Values of psds_eval 0.5.3 (numpy 1.26, pandas 2.1) for the same files."""
    data = Desed(desed)
    assert psds(data.reference, data.points(), 10, data.length_s, scenario)[0] == pytest.approx(value, abs=1e-12)


def test_intersection_f1_of_desed_is_that_of_psds_eval(desed):
    data = Desed(desed)
    rates = intersect(data.reference, data.detected, 10, Criteria(0.5, 0.5, 0.3), data.length_s)
    assert macro(rates.f1) == pytest.approx(0.6616795490079955, abs=1e-12)
    assert rates.f1[data.classes["Dishes"]] == pytest.approx(0.37543453070683663, abs=1e-12)


# --- parts ----------------------------------------------------------------------------------------------------------


@settings(deadline=None, derandomize=True)
@given(rows=st.integers(0, 4), columns=st.integers(0, 4), bits=st.integers(0, 2**16 - 1))
def test_no_other_matching_is_larger(rows, columns, bits):
    fits = np.array([bits >> place & 1 for place in range(rows * columns)], np.bool_).reshape(rows, columns)
    matched = best_matching(fits)
    pairs = [(row, column) for row, column in enumerate(matched.tolist()) if column >= 0]
    assert len({column for _, column in pairs}) == len(pairs) and all(fits[pair] for pair in pairs)
    orders = permutations([*range(columns), *[None] * rows], rows)
    assert len(pairs) == max(
        sum(column is not None and bool(fits[row, column]) for row, column in enumerate(order)) for order in orders
    )


def test_a_class_that_is_never_there_has_no_score():
    reference, detected = EventList.of([0], [0], [1], [2]), EventList.of([0], [1], [1], [2])
    counts = event_based(reference, detected, 3, 1)
    assert counts.f1[0] == 0 and counts.f1[1] == 0 and np.isnan(counts.f1[2]) and counts.substitutions == 1
    assert np.isnan(counts.recall[1]) and macro(counts.f1) == 0
    assert counts.micro_error_rate == 1
    nothing = EventList.of([], [], [], [])
    assert np.isnan(event_based(nothing, nothing, 2, 1).micro.f1[0])


def test_segments_count_what_touches_them():
    reference, detected = EventList.of([0], [0], [0.5], [2.0]), EventList.of([0, 0], [0, 1], [1.2, 1.9], [1.4, 2.1])
    counts = segment_based(reference, detected, 2, 1)
    assert (counts.references.tolist(), counts.detections.tolist(), counts.hits.tolist()) == ([2, 0], [1, 2], [1, 0])
    assert counts.substitutions == 0  # the miss is in the first second, the false ones are in the second and third


def test_alarms_are_hits_duplicates_confusions_or_background():
    reference = EventList.of([0, 0, 1], [0, 1, 0], [10, 11, 5], [12, 13, 6])
    times = [(0, 0, 9.9), (0, 0, 10.5), (0, 0, 13.9), (0, 1, 10.9), (0, 1, 14.0), (1, 1, 6.0), (1, 0, 8.1)]
    alarms = Alarms(*(np.array(part) for part in zip(*times, strict=True)))
    counts = count_alarms(reference, alarms, 2, np.array([3600.0, 3600.0]))
    assert counts.found.tolist() == [1, 1] and counts.is_found.tolist() == [True, True, False]
    assert counts.duplicates.tolist() == [1, 0]
    assert counts.confused.tolist() == [[0, 0], [2, 0]]  # before its onset in another's time, and in recording 1
    assert counts.background.tolist() == [2, 0]
    np.testing.assert_allclose(counts.delay_s, [0.5, 3.0])
    assert counts.recall.tolist() == [0.5, 1.0]
    assert counts.confused_per_100_events == pytest.approx(200 / 3)
    # of two hours, 10 to 15 s of one and 5 to 8 s of the other are not background
    assert counts.background_hours == pytest.approx(2 - 8 / 3600)
    assert counts.background_per_hour == pytest.approx(2 / (2 - 8 / 3600))


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(0, 0.0, 3.688879), (1, 0.025318, 5.571643), (10, 4.795389, 18.390356), (100, 81.363991, 121.626794)],
)
def test_intervals_of_rates_are_the_tabled_ones(count, low, high):
    """Garwood's limits as chi-squared quantiles give them."""
    assert poisson_interval(count, 2.0) == pytest.approx((low / 2, high / 2), abs=1e-6)


def test_no_alarm_in_an_hour_is_up_to_three():
    assert most_per_hour(0, 1.0) == pytest.approx(2.9957323)
    with pytest.raises(AedError, match="count of 0 or more"):
        poisson_interval(-1, 1.0)


@pytest.mark.parametrize(
    "values", [([0], [0], [2], [1]), ([0], [0], [-1], [1]), ([0], [0], [float("nan")], [1]), ([0, 1], [0], [0], [1])]
)
def test_events_that_cannot_be_are_refused(values):
    with pytest.raises(AedError, match="events:"):
        EventList.of(*values)


@settings(deadline=None, derandomize=True)
@given(times=st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 20), st.integers(0, 9)), max_size=30))
def test_pairs_share_time_as_each_with_each_does(times):
    """Long and short, nested and touching ones, in recordings of which some have none."""
    lists = []
    for own in (True, False):
        rows = [(number, on / 10, (on + length) / 10) for number, is_own, on, length in times if is_own == own]
        numbers, onset_s, offset_s = zip(*rows, strict=True) if rows else ([], [], [])
        lists.append(EventList.of(numbers, [0] * len(rows), onset_s, offset_s))
    one, other = lists
    pairs = [
        (i, j, min(one.offset_s[i], other.offset_s[j]) - max(one.onset_s[i], other.onset_s[j]))
        for i in range(len(one))
        for j in range(len(other))
        if one.recording[i] == other.recording[j]
    ]
    assert list(zip(*shared_time(one, other), strict=True)) == [pair for pair in pairs if pair[2] > 0]


def test_psds_needs_something_to_score():
    nothing = EventList.of([], [], [], [])
    with pytest.raises(AedError, match="psds: need"):
        psds(nothing, [nothing], 2, np.array([10.0]), PSDS1)
