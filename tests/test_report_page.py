"""The report of a run as a page: what it shows, in a real browser, and that nothing in it is executed."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

from aed.base.errors import AedError
from aed.run import pipeline
from aed.run.report.page import to_html
from aed.run.report.write import report_folders

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<img src=x onerror=alert(1)></script><b>&amp; \U0001f514" + "n" * 250
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 700}}

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
    pipeline.run(tiny.composed("experiment=demo", *short, *small, *tiny.DATA, folder=folder), folder)
    for name in ("test_clips.csv", "test_int8_clips.csv"):
        if (path := folder / name).is_file():
            rows = list(csv.reader(path.open(encoding="utf-8")))
            rows[1][0] = HOSTILE
            with path.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def page_file(run: Path) -> Path:
    report_folders([str(run)])
    return run / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    if not CHROMIUM:
        pytest.skip("apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: playwright.Browser, path: Path, size: str, scheme: str) -> tuple[playwright.Page, list[str]]:
    page = browser.new_page(viewport=SIZES[size], color_scheme=scheme)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
    page.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None
    )
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    return page, said


def test_the_file_needs_nothing_else_and_allows_its_own_script_alone(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert policy and policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)
    assert len(text) < 15e6


def test_names_are_data_and_end_no_script() -> None:
    page = to_html(HOSTILE, {"about": HOSTILE})
    assert "<img src=x" not in page
    data = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert data and json.loads(data[1]) == {"about": HOSTILE}


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_it_shows_the_run_without_an_error(
    browser: playwright.Browser, page_file: Path, run: Path, size: str, scheme: str
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page, said = opened(browser, page_file, size, scheme)
    shown = page.inner_text("body")
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"{100 * metrics['test/clip_acc']:.2f}" in shown or f"{100 * metrics['test/clip_acc']:.1f}" in shown
    for title in ("Worst clips", "Learning", "Int8, layer by layer", "Memory of boards"):
        assert title in shown
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    found = Axe().run(page).response["violations"]
    assert not [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")]
    assert not said
    page.close()


def test_a_cell_of_the_confusion_matrix_lists_its_clips_by_keyboard(
    browser: playwright.Browser, page_file: Path, run: Path
) -> None:
    page, said = opened(browser, page_file, "desktop", "light")
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
    assert not said
    page.close()


def test_folders_that_hold_no_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(AedError, match="empty"):
        report_folders([str(tmp_path / "empty")])
    with pytest.raises(AedError, match=r"output: need a file whose name ends in \.html"):
        report_folders([str(tmp_path)], output="report.pdf")
