"""The report of runs as a page: what it shows, in a real browser, and that nothing in it is executed."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
from browsing import HOSTILE, LOOKS, browser, check_accessible, content_of, opened, playwright  # noqa: F401 - a fixture
from listeners import level_model, recording
from omegaconf import OmegaConf
from test_compare import decided, write_run

from aed.base.errors import AedError
from aed.run import pipeline
from aed.run.compare import compare_runs
from aed.run.detect import detect_files
from aed.run.report.page import to_html
from aed.run.report.write import report_folders
from aed.run.sweep import Summary

MORE = ["data.clips.sources_per_class=15"]

pytestmark = pytest.mark.usefixtures("trains")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs; one test clip bears a hostile name."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    short = ["logger=csv", "callbacks.progress=null", "trainer.max_epochs=2", "trainer.enable_progress_bar=false"]
    small = [
        "frontend.n_mels=32",
        "frontend.patch_frames=32",
        "quantization.n_calibration=12",
        "trainer.accelerator=cpu",
    ]
    folder.mkdir()
    pipeline.run(tiny.composed("experiment=demo", *short, *small, *tiny.DATA, *MORE, folder=folder), folder)
    for name in ("test_clips.csv", "test_int8_clips.csv"):
        if (path := folder / name).is_file():
            rows = list(csv.reader(path.open(encoding="utf-8")))
            rows[1][0] = HOSTILE
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def sounds(run: Path) -> Path:
    """The recordings of the run, under the names that its files have for them; one is not there."""
    folder = run.parent / "sounds"
    folder.mkdir()
    for row in csv.DictReader((run / "test_clips.csv").open(encoding="utf-8")):
        if row["filename"] != HOSTILE:
            tiny_clip(folder / row["filename"], row["category"])
    return folder


def tiny_clip(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(name) + sum(map(ord, path.name))).normal(0, 0.1, 24000)
    sf.write(path, np.clip(noise, -1, 1), 16000)


@pytest.fixture(scope="module")
def page_file(run: Path, sounds: Path) -> Path:
    report_folders([str(run)], audio=str(sounds))
    return run / "report.html"


def test_the_file_needs_nothing_else_and_allows_its_own_script_alone(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy and policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert len(text) < 15e6


def test_names_are_data_and_end_no_script() -> None:
    page = to_html("report", HOSTILE, {"about": HOSTILE})
    assert "<img src=x" not in page
    data = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert data and json.loads(data[1]) == {"about": HOSTILE}


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_it_shows_the_run_without_an_error(
    browser: "playwright.Browser",  # noqa: F811
    page_file: Path,
    run: Path,
    size: str,
    scheme: str,
) -> None:
    with opened(browser, page_file, size, scheme) as page:
        shown = page.inner_text("body")
        metrics = json.loads((run / "metrics.json").read_text())
        assert f"{100 * metrics['test/clip_acc']:.2f}" in shown or f"{100 * metrics['test/clip_acc']:.1f}" in shown
        for title in ("Worst clips", "Map of the clips", "Learning", "Int8, layer by layer", "Memory of boards"):
            assert title in shown
        check_accessible(page)


def test_a_cell_of_the_confusion_matrix_lists_its_clips_by_keyboard(
    browser: "playwright.Browser",  # noqa: F811
    page_file: Path,
    run: Path,
) -> None:
    with opened(browser, page_file) as page:
        rows = list(csv.reader((run / "test_clips.csv").open(encoding="utf-8")))[1:]
        button = page.locator("table button").first
        button.focus()
        page.keyboard.press("Enter")
        count = int(re.search(r"\d+", button.inner_text())[0])
        assert 1 <= count <= len(rows)
        assert re.search(rf"\b{count} clips?\b", page.inner_text("body"))
        listed = []
        for cell in page.locator("table button").all():
            cell.click()
            listed.append(HOSTILE[:40] in page.inner_text("body"))
        assert any(listed), "a hostile name is text as any other"


def test_a_point_of_the_map_plays_its_clip_by_keyboard(
    browser: "playwright.Browser",  # noqa: F811
    page_file: Path,
) -> None:
    subject = content_of(page_file)["subjects"][0]
    own = subject["jobs"][0]["map"]
    assert sorted(own["clips"]) == [at for at, clip in enumerate(subject["clips"]) if clip["file"] != HOSTILE]
    assert 0 < own["shown"] <= 1 and len(own["places"]) == len(own["clips"])
    with opened(browser, page_file) as page:
        points = page.locator("svg.map .point")
        assert points.count() == len(own["clips"])
        page.locator("svg.map .point[tabindex='0']").focus()
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        chosen = page.evaluate("document.activeElement.getAttribute('aria-label')")
        page.keyboard.press("Enter")
        section = page.locator("section", has=page.locator("svg.map"))
        assert section.locator(".clips h3").inner_text() == chosen.split(":")[0]
        assert section.locator("audio").count() == 1
        playing = "[...document.querySelectorAll('section:has(svg.map) audio')][0].currentTime > 0"
        assert any(page.evaluate(playing) or page.wait_for_timeout(100) for _ in range(100))


def test_the_runs_of_a_multirun_share_their_sounds(run: Path, sounds: Path, tmp_path: Path) -> None:
    for name in ("0", "1"):
        shutil.copytree(run, tmp_path / "many" / name, ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    report_folders([str(tmp_path / "many")], audio=str(sounds))
    content = content_of(tmp_path / "many" / "report.html")
    subject = content["subjects"][0]
    heard = {clip["file"]: clip["sound"] for clip in subject["clips"] if "sound" in clip}
    assert len(subject["jobs"]) == 2 and len(heard) == len(content["sounds"]) == len(list(sounds.rglob("*.wav")))
    assert all(clip["sound"] == heard[clip["file"]] for clip in subject["clips"] if "sound" in clip)


def test_a_multirun_with_the_stage_ends_with_a_report_of_all(run: Path, tmp_path: Path) -> None:
    report_folders([str(run)], output=str(tmp_path / "one.html"))
    for name in ("0", "1"):
        shutil.copytree(run, tmp_path / name, ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    Summary().on_multirun_end(config)
    assert not (tmp_path / "report.html").exists(), "no job has one"
    shutil.copy(tmp_path / "one.html", tmp_path / "1" / "report.html")
    Summary().on_multirun_end(config)
    assert len(content_of(tmp_path / "report.html")["subjects"][0]["jobs"]) == 2


def test_a_run_shows_what_its_stage_detect_left(run: Path, sounds: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints", "report.html"))
    model, one = level_model(tmp_path / "model.onnx"), recording(tmp_path / "one.wav", (2.0, 4.0))
    detect_files(str(model), [str(one)], results=str(tmp_path / "heard"), output=str(tmp_path / "e.csv"), format="csv")
    for prefix in ("detect", "detect_int8"):
        shutil.copy(tmp_path / "heard" / "streams.json", tmp_path / "run" / f"{prefix}_streams.json")
    report_folders([str(tmp_path / "run")], audio=str(sounds))
    streams = content_of(tmp_path / "run" / "report.html")["subjects"][0]["jobs"][0]["streams"]
    assert [own["name"] for own in streams] == ["int8", "float"]
    assert "audio=<folder>" in streams[0]["notes"][0], "its recordings are not in the folder that was named"


# ---- comparisons ----------------------------------------------------------------------------------------------


@pytest.fixture
def comparison(tmp_path: Path) -> Path:
    """A comparison of two runs, of a hostile name, of which nothing but decisions is known."""
    one = write_run(tmp_path / "one", decided([0, 1, 2, 3, 4, 6]))
    two = write_run(tmp_path / HOSTILE.replace("/", "")[:120], decided([0, 5]))
    compare_runs([str(one), str(two)], output=str(tmp_path / "out"))
    return tmp_path / "out"


def test_a_comparison_has_the_numbers_of_its_tables(
    browser: "playwright.Browser",  # noqa: F811
    comparison: Path,
) -> None:
    report_folders([str(comparison)])
    content = content_of(comparison / "report.html")
    rows = list(csv.DictReader((comparison / "differences.csv").open()))
    assert [(row["run"], row["name"]) for row in content["compared"]["differences"]] == [
        (row["run"], row["name"]) for row in rows
    ]
    for key in ("clips", "difference", "low", "high", "better", "worse", "p", "p_holm"):
        assert [row[key] for row in content["compared"]["differences"]] == [float(row[key]) for row in rows]
    assert {row["file"] for row in content["compared"]["unlike"]} == {f"{at:03d}.wav" for at in (1, 2, 3, 4, 5, 6)}
    for size, scheme in LOOKS:
        with opened(browser, comparison / "report.html", size, scheme) as page:
            shown = page.inner_text("body")
            assert "+33.33" in shown and "6 clips not decided alike" in shown
            assert HOSTILE.replace("/", "")[:40] in shown
            check_accessible(page)


def test_two_folders_are_compared_as_compare_does(comparison: Path, tmp_path: Path) -> None:
    names = [row["folder"] for row in csv.DictReader((comparison / "runs.csv").open(encoding="utf-8"))]
    report_folders(names, output=str(tmp_path / "both.html"))
    report_folders([str(comparison)])
    both, written = (content_of(path)["compared"] for path in (tmp_path / "both.html", comparison / "report.html"))
    assert both == written


def test_runs_of_other_clips_are_shown_and_not_compared(tmp_path: Path) -> None:
    one, two = write_run(tmp_path / "one", decided([1])), write_run(tmp_path / "two", decided([1], first=6))
    report_folders([str(one), str(two)], output=str(tmp_path / "both.html"))
    content = content_of(tmp_path / "both.html")
    assert len(content["subjects"]) == 2 and "other clips" in content["compared"]["note"]


@pytest.mark.parametrize("name", ["differences.csv", "clips.csv", "runs.csv"])
def test_a_damaged_comparison_is_refused(comparison: Path, name: str) -> None:
    text = (comparison / name).read_text(encoding="utf-8").splitlines()
    (comparison / name).write_text("\n".join([text[0], *(line + ",nan" for line in text[1:])]), encoding="utf-8")
    with pytest.raises(AedError, match="damaged"):
        report_folders([str(comparison)])
    assert not (comparison / "report.html").exists()


def test_of_a_comparison_whose_runs_are_gone_the_tables_are_left(comparison: Path) -> None:
    for row in csv.DictReader((comparison / "runs.csv").open(encoding="utf-8")):
        shutil.rmtree(row["folder"])
    report_folders([str(comparison)])
    content = content_of(comparison / "report.html")
    assert content["subjects"] == [] and "2 of the runs are not where they were" in content["compared"]["note"]


def test_folders_that_hold_no_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AedError, match="empty"):
        report_folders([str(tmp_path / "empty")])
    with pytest.raises(AedError, match=r"output: need a file whose name ends in \.html"):
        report_folders([str(tmp_path)], output="report.pdf")
    with pytest.raises(AedError, match=r"map=umap needs umap: pip install 'aed\[umap\]'"):
        report_folders([str(tmp_path)], map="umap")
