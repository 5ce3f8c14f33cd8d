"""The report of streams: what is recorded of them, against what is known to the sample, and its page in a browser."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from browsing import FILE_NAME, HOSTILE, LOOKS, browser, check_accessible, content_of, opened, playwright  # noqa: F401 - a fixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from listeners import HOP_S, PATCH_S, RATE, level_model, recording

from aed.audio import spans
from aed.audio.spans import read_spans
from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card, save_model
from aed.run.detect import detect_files
from aed.run.report.streams import _axis, open_streams
from aed.run.report.write import report_folders

CLASSES = ("loud", HOSTILE, "neither")


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings, loud at 2 to 4, 8 to 9 and 5 to 6.5 s; the reference has the first, another class, and one more.

    So the alarm of 8 s is confused, that of 5 s is on background, and the event at 10.5 s is missed.
    """
    folder = tmp_path_factory.mktemp("streams")
    model = level_model(folder / "model.onnx")
    loaded = load_model(model)
    save_model(model, loaded, replace(read_model_card(loaded, model), class_names=CLASSES))
    one = recording(folder / f"{FILE_NAME[:150]}.wav", (2.0, 4.0), (8.0, 9.0))
    two = recording(folder / "two.flac", (5.0, 6.5))
    rows = [(one.name, 2, 4, "loud"), (one.name, 7.5, 9, HOSTILE), (two.name, 10.5, 11.5, "loud")]
    lines = "\n".join("\t".join(map(str, row)) for row in [("filename", "onset", "offset", "event_label"), *rows])
    (folder / "labels.tsv").write_text(lines, encoding="utf-8")
    detect_files(
        str(model),
        [str(one), str(two)],
        reference=str(folder / "labels.tsv"),
        slack_s=0.5,
        results=str(folder / "heard"),
        output=str(folder / "events.csv"),
        format="csv",
    )
    report_folders([str(folder / "heard")])
    return folder / "heard"


def test_the_record_says_what_each_alarm_is(heard: Path) -> None:
    record = json.loads((heard / "streams.json").read_text())
    one, two = record["recordings"]
    assert [row[:3] for row in one["reference"]] == [["loud", 2, 4], [HOSTILE, 7.5, 9]]
    assert [row[3] for row in one["reference"]] == [True, False] and two["reference"][0][3] is False
    assert [(row[0], row[2], row[3]) for row in one["alarms"]] == [
        ("loud", "right", ""),
        ("loud", "confused", HOSTILE),
    ]
    assert [row[2] for row in two["alarms"]] == ["background"]
    assert [row[4] for row in (*one["events"], *two["events"])] == ["right", "confused", "background"]
    assert [(own["kind"], own["recording"]) for own in record["missed"]] == [("missed", 0), ("missed", 1)]
    assert {(own["kind"], own["recording"], own["occurs"]) for own in record["false"]} == {
        ("confused", 0, HOSTILE),
        ("background", 1, ""),
    }
    for own in (*record["false"], *record["missed"]):
        times = own["start_s"] + np.array(own["starts"])
        assert len(times) and np.allclose(np.diff(times), HOP_S, atol=2e-3)
        assert times[0] >= own["start_s"] - 1e-3 and times[-1] + PATCH_S <= own["end_s"] + 2e-3
        for value, time in zip(own["patches"]["loud"], times, strict=True):
            loud = {0: [(2, 4), (8, 9)], 1: [(5, 6.5)]}[own["recording"]]
            inside = any(start <= time and time + PATCH_S <= end for start, end in loud)
            outside = all(time + PATCH_S <= start or time >= end for start, end in loud)
            assert value > 0.5 if inside else value < 0.5 if outside else True


def test_the_tradeoff_is_the_fewest_misses_that_so_many_alarms_allow(heard: Path) -> None:
    record = open_streams(heard / "streams.json")
    for key in ("background_per_hour", "confused_per_100_events"):
        axis = _axis(record, key)
        for name, line in axis["lines"].items():
            ending = "" if name == "all" else f"/{name}"
            points = [(row[key + ending], row["miss_rate" + ending]) for row in record["curve"]]
            for rate, missed in zip(axis["rates"], line, strict=True):
                allowed = [own for alarms, own in points if None not in (alarms, own) and alarms <= rate + 5e-5]
                assert missed == (pytest.approx(min(allowed), abs=1e-4) if allowed else None)
        assert axis["rates"] == sorted(set(axis["rates"]))


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_page_shows_streams_without_an_error(
    browser: "playwright.Browser",  # noqa: F811
    heard: Path,
    size: str,
    scheme: str,
) -> None:
    subject = content_of(heard / "report.html")["subjects"][0]
    assert all("sound" in own and "picture" in own for own in (*subject["false"], *subject["missed"]))
    with opened(browser, heard / "report.html", size, scheme) as page:
        shown = page.inner_text("body")
        for text in ("33.3 %", "Misses against false alarms", "Timeline", "2 false alarms", "2 missed events", HOSTILE):
            assert text in shown
        assert page.locator("audio").count() == 4
        check_accessible(page)


def test_the_timeline_is_moved_by_keyboard(browser: "playwright.Browser", heard: Path) -> None:  # noqa: F811
    with opened(browser, heard / "report.html") as page:
        page.get_by_role("button", name="next alarm").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="closer").focus()
        page.keyboard.press("Enter")
        assert re.search(r"0:0\d\.\d to 0:\d\d\.\d: occurs .*loud", page.inner_text("body"))
        page.get_by_role("button", name="all", exact=True).click()
        assert "0:00.0 to 0:12.0" in page.inner_text("body")
        page.get_by_label("recording").select_option(index=1)
        assert "two.flac" in page.locator("section:has-text('Timeline') figcaption").last.inner_text()


def test_without_a_reference_alarms_are_alarms(tmp_path: Path) -> None:
    model, one = level_model(tmp_path / "model.onnx"), recording(tmp_path / "one.wav", (2.0, 4.0))
    detect_files(str(model), [str(one)], results=str(tmp_path / "heard"), output=str(tmp_path / "e.csv"), format="csv")
    report_folders([str(tmp_path / "heard")])
    subject = content_of(tmp_path / "heard" / "report.html")["subjects"][0]
    assert not subject["has_reference"] and subject["tradeoff"] == []
    assert [own["kind"] for own in subject["false"]] == ["alarm"] and "sound" in subject["false"][0]


def test_recordings_that_have_moved_are_told_and_found(heard: Path, tmp_path: Path) -> None:
    record = json.loads((heard / "streams.json").read_text())
    for own in record["recordings"]:
        own["path"] = str(tmp_path / "gone" / Path(own["path"]).name)
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "streams.json").write_text(json.dumps(record))
    report_folders([str(tmp_path / "moved")])
    subject = content_of(tmp_path / "moved" / "report.html")["subjects"][0]
    assert "2 recordings are not where they were" in subject["notes"][0]
    report_folders([str(tmp_path / "moved")], audio=str(heard.parent))
    subject = content_of(tmp_path / "moved" / "report.html")["subjects"][0]
    assert not subject["notes"] and all("sound" in own for own in subject["false"])


@pytest.mark.parametrize(
    "change",
    [
        {"frontend": {"n_mels": -1}},
        {"frontend": {"nonsense": 1}},
        {"recordings": [{"name": "a"}]},
        {"false": [{"recording": 7}]},
        {"rule": None},
        {"classes": ["other"]},
        {"metrics": {"recall": "1"}},
        {"patch_s": 1e999},
        {"recordings": "none"},
    ],
)
def test_a_damaged_record_is_refused(heard: Path, tmp_path: Path, change: dict) -> None:
    record = json.loads((heard / "streams.json").read_text()) | change
    (tmp_path / "streams.json").write_text(json.dumps(record))
    with pytest.raises(AedError, match="damaged"):
        report_folders([str(tmp_path)])
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    "change", [{"start_s": -5}, {"end_s": 1e9}, {"at_s": "0"}, {"patches": [1]}, {"recording": "0"}]
)
def test_a_damaged_piece_is_refused(heard: Path, tmp_path: Path, change: dict) -> None:
    record = json.loads((heard / "streams.json").read_text())
    record["false"][0] |= change
    (tmp_path / "streams.json").write_text(json.dumps(record))
    with pytest.raises(AedError, match=r"streams\.json: damaged"):
        report_folders([str(tmp_path)])


def test_results_overwrite_nothing_else(heard: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    model = heard.parent / "model.onnx"
    with pytest.raises(AedError, match=r"results: .* holds something else"):
        detect_files(str(model), [str(heard.parent / "two.flac")], results=str(tmp_path))
    with pytest.raises(AedError, match="results: needs recordings"):
        detect_files(str(model), ["-"], results=str(tmp_path / "new"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(st.tuples(st.integers(0, 50), st.integers(1, 40)), max_size=6), block=st.sampled_from([0.05, 0.3])
)
def test_spans_are_slices_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limits: list[tuple[int, int]], block: float
) -> None:
    monkeypatch.setattr(spans, "BLOCK_S", block)
    samples = np.random.default_rng(0).integers(-9000, 9000, 4 * RATE).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, RATE)
    asked = [(start / 10, (start + length) / 10) for start, length in limits if start < 40]
    found = {number: (wave, rate) for number, wave, rate in read_spans(tmp_path / "a.wav", asked)}
    assert sorted(found) == list(range(len(asked)))
    for number, (start, end) in enumerate(asked):
        wave, rate = found[number]
        wanted = samples[round(start * RATE) : round(end * RATE)] / 32768
        assert rate == RATE and np.array_equal(wave[:, 0], wanted.astype(np.float32))
