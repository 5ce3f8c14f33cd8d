"""The page of a search: its picture of score against costs, its winners and trials, and that nothing in it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import HOSTILE, LOOKS, browser, check_accessible, content_of, opened, playwright  # noqa: F401 - a fixture

from aed.base.errors import AedError
from aed.run.report.write import report_folders
from aed.run.search.files import MARK, RESULTS
from aed.run.search.front import dominates


def trial(number: int, score: float | None, costs: tuple[float, float, float] | None, **changes: Any) -> dict[str, Any]:
    names = ("instructions", "flash_bytes", "ram_bytes")
    content: dict[str, Any] = {
        "number": number, "state": "trained" if score is not None else "cut", "words": f"dscnn channels {number}",
        "why": "" if score is not None else "needs 204.0 KiB of flash, there are 128", "shipped": number == 0,
        "score": score, "costs": None if costs is None else dict(zip(names, costs, strict=True)) | {"load": 0.1},
        "seconds": 20.4, "cpu_seconds": 18.1, "command": f"aed train seed={number}", "parameters": {}, "curve": [0.5],
    }  # fmt: skip
    return content | changes


TRIALS = [
    trial(0, 0.9375, (19.5e6, 42906, 23654)),
    trial(1, None, (90e6, 208896, 50000)),
    trial(2, 0.9875, (28.5e6, 90419, 31642)),
    trial(3, 0.95, (8.69e6, 36966, 21197), words=HOSTILE),
    trial(4, None, None, state="failed", why=HOSTILE),
    trial(5, 0.9125, (3.11e6, 21606, 9114)),
]
WINNER = {
    "number": 2, "score": 0.9875, "estimated": TRIALS[2]["costs"], "source": "emulated", "validated": 0.975,
    "costs": {"instructions": 28.61e6, "flash_bytes": 90112.0, "ram_bytes": 31539.0, "load": 0.2},
    "tested": {"float": 0.9375, "int8": 0.925}, "between": [0.846, 0.965],
}  # fmt: skip
CONTENT = {
    "board": "nucleo-u575zi-q", "limits": {"flash_kib": 128.0, "ram_kib": 64.0, "load": 1.0}, "metric": "val/clip_acc",
    "objectives": ["score", "instructions", "flash", "ram"], "states": {}, "trials": TRIALS, "front": [2, 3, 5],
    "winners": [WINNER], "no winners": {"3": f"{HOSTILE} (emulated)"},
}  # fmt: skip


def written(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / MARK).touch()
    (folder / RESULTS).write_text(json.dumps(CONTENT | changes), encoding="utf-8")
    return folder


def test_the_example_has_the_front_of_its_trials() -> None:
    points = {
        own["number"]: {"score": own["score"], **{key: own["costs"][name] for key, name in NAMES.items()}}
        for own in TRIALS
        if own["score"] is not None
    }
    assert CONTENT["front"] == [
        number for number, own in points.items() if not any(dominates(other, own) for other in points.values())
    ]


NAMES = {"instructions": "instructions", "flash": "flash_bytes", "ram": "ram_bytes"}


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_it_shows_winners_charts_and_trials(
    browser: "playwright.Browser",  # noqa: F811
    tmp_path: Path,
    size: str,
    scheme: str,
) -> None:
    folder = written(tmp_path / "found")
    report_folders([str(folder)])
    with opened(browser, folder / "report.html", size, scheme) as page:
        shown = page.inner_text("body")
        assert "28.61 (28.50)" in shown and "88.0 (88.3)" in shown and "92.5 %" in shown and "84.6 .. 96.5" in shown
        assert shown.count(HOSTILE[:40]) == 3, "as words, as why, and why it is no winner"
        assert "In nothing worse than the shipped recipe of trial 0, and better: 3." in shown
        assert page.locator(".uplot canvas").count() == 3
        rows = page.locator("section:has(h2:text-is('Trials')) tbody tr")
        assert [row.locator("th").inner_text() for row in rows.all()] == ["2", "3", "5", "0", "1", "4"]
        assert [row.locator("td").nth(1).inner_text() for row in rows.all()][:4] == [
            "winner 1",
            "front",
            "front",
            "shipped",
        ]
        page.get_by_role("button", name="cut (1)").click()
        assert rows.count() == 1 and "there are 128" in rows.first.inner_text()
        check_accessible(page)


@pytest.mark.usefixtures("whole_pictures")
def test_the_charts_draw_every_trained_trial(browser: "playwright.Browser", tmp_path: Path) -> None:  # noqa: F811
    """By the points that uPlot was given: each trained trial once in each chart, and the line of the best."""
    folder = written(tmp_path / "found")
    report_folders([str(folder)])
    with opened(browser, folder / "report.html") as page:
        labels = [box.get_attribute("aria-label") for box in page.locator("figure > div[role=img]").all()]
        assert labels == [
            f"val/clip_acc, %, over {axis}" for axis in ("M instructions a second", "flash, KiB", "RAM, KiB")
        ]


def test_without_winners_or_trainings_it_says_so(browser: "playwright.Browser", tmp_path: Path) -> None:  # noqa: F811
    folder = written(tmp_path / "found", trials=[TRIALS[1]], front=[], winners=[])
    report_folders([str(folder)])
    assert content_of(folder / "report.html")["subjects"][0]["winners"] == []
    with opened(browser, folder / "report.html") as page:
        shown = page.inner_text("body")
        assert "There are no winners yet." in shown and "Nothing was trained to its end." in shown


@pytest.mark.parametrize(
    "changes",
    [
        {"front": [9]}, {"front": [1]}, {"board": 3}, {"winners": [{}]}, {"winners": [WINNER | {"number": 9}]},
        {"trials": [TRIALS[0] | {"score": "<b>"}], "front": [0], "winners": []}, {"trials": 3}, {"limits": []},
        {"trials": [TRIALS[0] | {"words": ["x"]}], "front": [0], "winners": []}, {"no winners": []},
        {"objectives": ["score", "speed"]}, {"winners": [WINNER | {"tested": {"int8": None}}]},
    ],
)  # fmt: skip
def test_a_damaged_file_of_a_search_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = written(tmp_path / "found", **changes)
    with pytest.raises(AedError, match=r"search\.json: damaged .*the same aed search writes it anew"):
        report_folders([str(folder)])
    assert not (folder / "report.html").exists()


def test_of_a_search_that_has_not_ended_there_is_none(tmp_path: Path) -> None:
    folder = written(tmp_path / "found")
    (folder / RESULTS).unlink()
    with pytest.raises(AedError, match="found: its search has not ended; the same aed search goes on with it"):
        report_folders([str(folder)])
