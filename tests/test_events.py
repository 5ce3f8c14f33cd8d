"""Events to labels: against arithmetic in fractions, one window and one event at a time."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.base.errors import AedError
from aed.datamodules.sources.events import EVENT_COLUMNS, EventLabels, PatchLabels, check_frontend, merge
from aed.datamodules.sources.lists import COLUMNS
from aed.datamodules.sources.segments import Segments
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import grid_starts

# 1 ms = 16 samples: patches of (10 - 1) * 160 + 480 = 1920 samples = 120 ms, a frame every 10 ms
CONFIG = FrontendConfig(
    trim="none", n_fft=480, win_length=480, hop_length=160, patch_frames=10, overlap=0.5, n_mels=8, f_min=0, f_max=8000
)
CENTERED = replace(CONFIG, center=True)
CLASSES = {"a": 0, "b": 1, "c": 2}
PATHS = [Path(name) for name in ("x", "y", "z")]


def table(*events: tuple[str, float, float, str]) -> pd.DataFrame:
    """Events with times in ms."""
    rows = [(Path(path), onset / 1000, offset / 1000, label) for path, onset, offset, label in events]
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS))


def labels_of(events: pd.DataFrame, multi_label: bool, config: FrontendConfig = CONFIG, **more: float) -> EventLabels:
    return EventLabels.from_table(events, PATHS, CLASSES, config, multi_label, **more)


def windows(*rows: tuple[int, int]) -> np.ndarray:
    return np.array(rows, dtype=np.int64).reshape(-1, 2)


def brute_force(
    events: list[tuple[str, int, int, str]], window: tuple[int, int], config: FrontendConfig, share: Fraction
) -> tuple[list[bool], int]:
    """Which classes are on in a window, and its single label, by counting whole milliseconds."""
    start = window[1] * 10 - (15 if config.center else 0)
    inside = set(range(start, start + 120))
    on, filled = [], []
    for label in CLASSES:
        own = [e for e in events if e[0] == PATHS[window[0]].name and e[3] == label]
        # milliseconds, and the borders between neighbouring ones that belong to one event
        covered = {ms for _, onset, offset, _ in own for ms in range(onset, offset)}
        runs: list[set[int]] = []
        for ms in sorted(covered):
            if runs and ms - 1 in runs[-1]:
                runs[-1].add(ms)
            else:
                runs.append({ms})
        filled.append(len(covered & inside))
        short = any(len(run) < 120 and len(run & inside) >= share * len(run) for run in runs)
        on.append(len(covered & inside) >= share * 120 or short)
    best = max(range(len(filled)), key=lambda index: (filled[index], -index))
    return on, best if on[best] and filled[best] else -1


EVENT = st.tuples(
    st.sampled_from(["x", "y", "z", "elsewhere"]),
    st.integers(0, 600),
    st.integers(1, 400),
    st.sampled_from(["a", "b", "c", "unknown"]),
).map(lambda e: (e[0], e[1], e[1] + e[2], e[3]))


@settings(max_examples=150, deadline=None)
@given(
    events=st.lists(EVENT, max_size=12),
    chosen=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 80)), max_size=15),
    center=st.booleans(),
    share=st.sampled_from([Fraction(1, 10), Fraction(1, 4), Fraction(1, 2), Fraction(1)]),
)
@pytest.mark.usefixtures("computes")
def test_labels_are_those_of_counting_milliseconds(
    events: list[tuple[str, int, int, str]], chosen: list[tuple[int, int]], center: bool, share: Fraction
) -> None:
    config = CENTERED if center else CONFIG
    expected = [brute_force(events, window, config, share) for window in chosen]
    for multi_label in (True, False):
        found = labels_of(table(*events), multi_label, config, min_overlap=float(share)).labels_of(windows(*chosen))
        if multi_label:
            assert found.dtype == np.float32 and found.shape == (len(chosen), 3)
            assert found.astype(bool).tolist() == [on for on, _ in expected]
        else:
            assert found.tolist() == [best for _, best in expected]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 30), st.integers(1, 9)), max_size=15))
def test_merged_events_cover_the_same_and_never_touch(events: list[tuple[int, int, int, int]]) -> None:
    columns = np.array(events, dtype=np.int64).reshape(-1, 4)
    recording, target, onset, length = columns.T
    merged = list(zip(*merge(recording, target, onset.astype(float), (onset + length).astype(float)), strict=True))

    def covered(rows: Any) -> set[tuple[int, int, int]]:
        return {(int(r), int(t), ms) for r, t, begin, end in rows for ms in range(int(begin), int(end))}

    assert covered(merged) == covered((r, t, o, o + n) for r, t, o, n in events)
    assert merged == sorted(merged)
    for left, right in pairwise(merged):
        assert left[:2] != right[:2] or left[3] < right[2]


@pytest.mark.parametrize(
    ("events", "on"),
    [
        (
            [("x", 0, 59, "a")],
            False,
        ),  # all but 1 ms of half of the patch, and half of the event would be 29.5 ms inside
        ([("x", 61, 300, "a")], False),  # 59 of 120 ms, and longer than a patch
        ([("x", 60, 300, "a")], True),
        ([("x", 110, 130, "a")], True),  # half of a short event
        ([("x", 111, 131, "a")], False),
        ([("x", 0, 40, "a"), ("x", 0, 40, "a")], True),
        ([("x", 90, 150, "a"), ("x", 90, 150, "a")], True),
        ([("x", 70, 300, "a"), ("x", 70, 300, "a")], False),  # the union counts, not the sum
        ([("x", 80, 200, "a"), ("x", 200, 400, "a")], False),  # touching: one long event
    ],
)
def test_the_rule_at_its_edges(events: list[tuple[str, float, float, str]], on: bool) -> None:
    expected = on or events == [("x", 0, 59, "a")]  # which lies inside whole
    assert labels_of(table(*events), True).labels_of(windows((0, 0)))[0, 0] == expected


def test_centred_frames_begin_half_a_window_earlier() -> None:
    events = table(("x", 105, 400, "a"))
    assert labels_of(events, False).labels_of(windows((0, 4), (0, 5))).tolist() == [-1, 0]  # 40..160, 50..170
    assert labels_of(events, False, CENTERED).labels_of(windows((0, 5), (0, 6))).tolist() == [-1, 0]  # 35..155, 45..165


def test_of_equals_the_lowest_class_wins_and_the_fullest_decides() -> None:
    tie = table(("x", 0, 80, "b"), ("x", 40, 120, "a"))
    assert labels_of(tie, False).labels_of(windows((0, 0))).tolist() == [0]
    # b fills most of the patch but too little of it and of itself; a, shorter, would pass alone
    beaten = table(("x", 70, 400, "b"), ("x", 0, 20, "a"))
    assert labels_of(beaten, False).labels_of(windows((0, 0))).tolist() == [-1]
    assert labels_of(beaten, True).labels_of(windows((0, 0))).tolist() == [[1, 0, 0]]


def test_several_names_may_be_one_class() -> None:
    events = table(("x", 0, 50, "a"), ("x", 50, 120, "c"))
    made = EventLabels.from_table(events, PATHS, {"a": 1, "b": 0, "c": 1}, CONFIG, True)
    assert (
        made.num_classes == 2 and made.onset_s.tolist() == [0] and made.labels_of(windows((0, 0))).tolist() == [[0, 1]]
    )


def test_hours_and_wild_annotations_do_not_cost_precision() -> None:
    hour = 3_600_000
    events = table(("z", hour, hour + 120, "a"), ("x", 5, 1e15, "b"))
    made = labels_of(events, False, replace(CONFIG, max_length_s=4000))
    assert made.labels_of(windows((2, hour // 10), (2, hour // 10 + 7), (0, 0), (0, 360_000))).tolist() == [0, -1, 1, 1]


def grid(*frames: int, config: FrontendConfig = CONFIG) -> np.ndarray:
    return windows(*((clip, int(start)) for clip, count in enumerate(frames) for start in grid_starts(count, config)))


def test_single_label_clips_are_runs_of_one_label() -> None:
    # patches begin every 50 ms and last 120
    events = table(("x", 0, 300, "a"), ("x", 300, 500, "b"), ("x", 1000, 1200, "b"), ("y", 0, 400, "b"))
    made = labels_of(events, False)
    places = grid(130, 40, 40)
    parts = made.patches(places)
    labels = made.labels_of(places)
    assert (labels == -1).any() and len(parts.target) == (labels >= 0).sum()
    np.testing.assert_array_equal(parts.windows, places[labels >= 0])
    np.testing.assert_array_equal(parts.target, parts.clip_target[parts.clip])
    assert parts.clip_target.tolist() == [0, 1, 1, 1]
    assert parts.first_windows()[:, 0].tolist() == [0, 0, 0, 1]
    starts = [parts.windows[parts.clip == clip, 1] for clip in range(4)]
    assert all((np.diff(own) == 5).all() for own in starts), "a clip has no gap"
    assert parts.clip.tolist() == sorted(parts.clip.tolist())


def test_neither_a_gap_nor_another_recording_continues_a_clip() -> None:
    events = table(("x", 0, 200, "a"), ("x", 500, 5000, "a"), ("y", 0, 400, "a"))
    parts = labels_of(events, False).patches(grid(80, 40))
    assert parts.clip_target.tolist() == [0, 0, 0]


def test_multi_label_clips_are_pieces_of_the_recording() -> None:
    events = table(("x", 0, 120, "a"), ("x", 700, 900, "b"))
    parts = labels_of(events, True, excerpt_s=0.5).patches(grid(130, 30))
    assert len(parts.target) == len(grid(130, 30)), "patches in which nothing occurs stay"
    middle_ms = parts.windows[:, 1] * 10 + 60
    pieces = [(int(clip), int(ms // 500)) for clip, ms in zip(parts.windows[:, 0], middle_ms, strict=True)]
    assert [sorted(set(pieces)).index(piece) for piece in pieces] == parts.clip.tolist()
    assert parts.clip_target.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("multi_label", [True, False])
def test_no_events_and_no_patches(multi_label: bool) -> None:
    silent = labels_of(table(), multi_label)
    parts = silent.patches(grid(50, 50))
    assert len(parts.clip_target) == (2 if multi_label else 0)
    nothing = labels_of(table(("x", 0, 500, "a")), multi_label).patches(windows())
    assert len(nothing.target) == len(nothing.clip_target) == len(nothing.first_windows()) == 0


def test_a_subset_keeps_clips_whole_and_numbers_them_anew() -> None:
    rng = np.random.default_rng(0)
    clip_target = rng.integers(0, 3, 6)
    clip = np.sort(rng.integers(0, 6, 40))
    parts = PatchLabels.of_clips(np.stack([clip, rng.integers(0, 99, 40)], axis=1), clip_target)
    np.testing.assert_array_equal(parts.target_at(slice(None)), clip_target[clip])
    chosen = np.array([4, 1, 5])
    part = parts.subset(chosen)
    for new, old in enumerate(chosen):
        np.testing.assert_array_equal(part.windows[part.clip == new], parts.windows[parts.clip == old])
    np.testing.assert_array_equal(part.clip_target, clip_target[chosen])
    np.testing.assert_array_equal(part.target_at(np.arange(len(part.clip))), part.clip_target[part.clip])


@pytest.mark.parametrize("several", [False, True])
def test_patches_are_counted_alike_whether_or_not_each_has_its_own_label(several: bool) -> None:
    rng = np.random.default_rng(1)
    clip = rng.integers(0, 20, 200)
    clip_target = (rng.random((20, 5)) > 0.6).astype(np.float32) if several else rng.integers(0, 5, 20)
    shared = PatchLabels.of_clips(np.stack([clip, clip], axis=1), clip_target)
    own = replace(shared, target=clip_target[clip])
    counts = clip_target[clip].sum(axis=0) if several else np.bincount(clip_target[clip], minlength=5)
    for labels in (shared, own):
        np.testing.assert_array_equal(labels.patches_of_classes(5), counts)


@pytest.mark.parametrize("settings_", [{"min_overlap": 0.0}, {"min_overlap": 1.1}, {"excerpt_s": 0.0}])
def test_settings_outside_their_range_are_refused(settings_: dict[str, float]) -> None:
    with pytest.raises(AedError, match=f"data.{next(iter(settings_))}: need"):
        labels_of(table(), True, **settings_)


def test_a_front_end_that_moves_events_is_refused() -> None:
    events = table(("x", 0, 9000, "a"), ("x", 10_000, 11_500, "b"))
    for trim in ("aligned", "compatible"):
        with pytest.raises(AedError, match=r"frontend\.trim=none"):
            check_frontend(replace(CONFIG, trim=trim), events)  # type: ignore[arg-type]
    with pytest.raises(AedError, match=r"1 of 2 events begin after 10 s.*at least 12"):
        check_frontend(CONFIG, events)
    check_frontend(replace(CONFIG, max_length_s=12), events)
    check_frontend(CONFIG, table())


# ---- lists ------------------------------------------------------------------------------------------------


def segments(folder: Path, text: str, name: str = "list.csv") -> Segments:
    (folder / name).write_text(text, encoding="utf-8")
    return Segments(str(folder / name), str(folder / "audio"))


def test_one_row_a_recording_and_one_an_event(tmp_path: Path) -> None:
    source = segments(
        tmp_path,
        "filename,onset,offset,label\nb.wav,0.5,1.5,dog\na.wav,0,1,cat\nb.wav,1,2,cat\nb.wav,3,4,dog\nc.wav,,,\n",
    )
    made = source.table()
    assert tuple(made.columns) == COLUMNS
    assert [path.name for path in made["path"]] == ["b.wav", "a.wav", "c.wav"]
    assert made["path"][0] == tmp_path / "audio" / "b.wav"
    assert list(made["labels"]) == [("cat", "dog"), ("cat",), ()], "c.wav: a recording in which nothing occurs"
    assert made["src_file"].nunique() == 3 and made[["fold", "split"]].isna().all().all()
    events = source.events()
    assert tuple(events.columns) == EVENT_COLUMNS
    assert list(zip(events["onset_s"], events["offset_s"], events["label"], strict=True)) == [
        (0.5, 1.5, "dog"), (0, 1, "cat"), (1, 2, "cat"), (3, 4, "dog"),
    ]  # fmt: skip
    assert events["onset_s"].dtype == events["offset_s"].dtype == np.float64


@pytest.mark.parametrize("mark", ["\t", ";", ","])
@pytest.mark.parametrize("head", ["filename onset offset event_label", "filename event_onset event_offset event_label"])
def test_lists_of_dcase_and_of_spreadsheets(tmp_path: Path, mark: str, head: str) -> None:
    text = "\ufeff" + "\r\n".join([head.replace(" ", mark), "", f"a.wav{mark}0.1{mark}2{mark}Dog bark ", ""])
    source = segments(tmp_path, text, "list.tsv")
    assert source.events()["label"].tolist() == ["Dog bark"] and source.name == "list"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1,1,dog", "the offset is not after the onset (1 to 1)"),
        ("2,1,dog", "the offset is not after the onset (2 to 1)"),
        ("-1,1,dog", "the onset is negative (-1 to 1)"),
        ("nan,1,dog", "the onset 'nan' is no number"),
        ("0,inf,dog", "the offset 'inf' is no number"),
        ("one,2,dog", "the onset 'one' is no number"),
        ("0:01,2,dog", "the onset '0:01' is no number, write seconds"),
        ('"1,500","2,500",dog', "the onset '1,500' is no number, write 1.5 for one and a half"),
        ("0,1,", "no label (0 to 1)"),
        (",1,dog", "no onset"),
        ("0,,dog", "no offset"),
        (",,dog", "no onset"),
    ],
)
def test_a_recording_of_which_a_row_cannot_be_right_is_doubted(tmp_path: Path, row: str, reason: str) -> None:
    source = segments(tmp_path, f"filename,onset,offset,label\na.wav,0,1,dog\nb.wav,0,1,cat\na.wav,{row}\n")
    assert [path.name for path in source.table()["path"]] == ["a.wav", "b.wav"]
    assert source.events()["label"].tolist() == ["dog", "cat"]
    bad = tmp_path / "audio" / "a.wav"
    assert source.annotation_errors() == {bad: f"{bad}: {tmp_path / 'list.csv'}, line 4: {reason}"}


def test_rows_without_a_file_name_are_doubts_of_the_list(tmp_path: Path) -> None:
    source = segments(tmp_path, "filename,onset,offset,label\na.wav,0,1,dog\n,0,1,dog\n,1,2,dog\n")
    assert len(source.table()) == 1 and list(source.annotation_errors()) == [tmp_path / "list.csv"]
    assert "line 3: no file name (0 to 1) (2 such rows)" in source.annotation_errors()[tmp_path / "list.csv"]


@pytest.mark.parametrize(
    ("mark", "cells", "seconds"),
    [
        (";", "1,500;12,250", (1.5, 12.25)),
        ("\t", "0,5\t1,125", (0.5, 1.125)),
        (",", '"1,500","12,25"', (1.5, 12.25)),
        (",", '"0,500","1,500"', (0.5, 1.5)),
        (";", "1.5;2,5", (1.5, 2.5)),
        (",", "-0.01,2", (-0.01, 2)),
    ],
)
def test_decimal_commas_are_read_where_they_can_be_nothing_else(
    tmp_path: Path, mark: str, cells: str, seconds: tuple[float, float]
) -> None:
    head = mark.join(("filename", "onset", "offset", "label"))
    source = segments(tmp_path, f"{head}\na.wav{mark}{cells}{mark}dog\n")
    assert source.events()[["onset_s", "offset_s"]].to_numpy().tolist() == [list(seconds)]
    assert source.annotation_errors() == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,onset,offset,label\na.wav,2,1,dog\n", "none of its 1 rows can be used"),
        ("filename,onset,label\na.wav,2,dog\n", "no column .*offset"),
        ("filename,onset,offset,label\n", "no rows"),
        ("filename,onset,offset,label,split\na.wav,0,1,dog,tset\n", "split 'tset'; need one of"),
        ("filename,onset,offset,label,fold\na.wav,0,1,dog,one\n", "fold 'one' is no number"),
        (
            "filename,onset,offset,label,split\na.wav,0,1,dog,test\na.wav,1,2,dog,train\n",
            "disagree in the column 'split'",
        ),
        ("filename,onset,offset,label\na.wav,0,1,dog\na,b,c,d,e,f\n", "line 3 has 6 cells, the list 4 columns"),
    ],
)
def test_a_list_that_cannot_serve_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(AedError, match=message):
        segments(tmp_path, text).table()


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(AedError, match="no such list"):
        Segments(str(tmp_path / "gone.csv")).table()


def test_optional_columns(tmp_path: Path) -> None:
    head = "filename,onset,offset,label,split,fold,src_file\n"
    made = segments(
        tmp_path, head + "a.wav,0,1,dog,Validation,2,007\nb.wav,0,1,cat,,,\na.wav,1,2,cat,Validation,2,007\n"
    ).table()
    assert made["split"][0] == "val" and made["fold"][0] == 2 and made["src_file"][0] == "007"
    assert pd.isna(made["split"][1]) and pd.isna(made["fold"][1]) and made["src_file"][1].endswith("b.wav")
