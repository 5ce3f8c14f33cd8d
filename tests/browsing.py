"""Pages in a headless Chromium: what all tests of pages ask of them."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<img src=x onerror=alert(1)></script><b>&amp; \"'\U0001f514" + "n" * 250
"""A name that would be markup, and that has more than 300 letters."""

FILE_NAME = HOSTILE.replace("/", "")[:200]
"""The same, as a file can be called."""

SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 700}}
LOOKS = [("desktop", "light"), ("phone", "dark")]


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    """Chromium; without it the test is skipped."""
    if not CHROMIUM:
        pytest.skip("apt-get install chromium")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@contextmanager
def opened(
    browser: "playwright.Browser", path: Path, size: str = "desktop", scheme: str = "light"
) -> Iterator["playwright.Page"]:
    """The page of a file; that it logged an error, opened a dialog or asked for anything fails the test at the end."""
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
    yield page
    page.close()
    assert not said


def content_of(path: Path) -> dict[str, Any]:
    """The data in the page of a file."""
    found = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return json.loads(found[1])


def check_accessible(page: "playwright.Page") -> None:
    """No serious finding of axe-core, and nothing wider than the window."""
    from axe_playwright_python.sync_playwright import Axe

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    found = Axe().run(page).response["violations"]
    assert not [(rule["id"], rule["nodes"][0]["html"]) for rule in found if rule["impact"] in ("serious", "critical")]
