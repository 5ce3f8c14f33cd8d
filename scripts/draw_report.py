"""The picture of a page that aed report, or aed data inspect html=true, wrote: what a window shows of it.

pip install -e '.[dev]'; apt-get install chromium
python scripts/draw_report.py cv/esc10_yamnet/report.html docs/img/report.png
python scripts/draw_report.py heard/report.html docs/img/streams.png --at "Misses against false alarms"
"""

import argparse
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright


def main() -> None:
    """Draws the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--at", help="heading of the section to begin with")
    parser.add_argument("--width", type=int, default=1120)
    parser.add_argument("--height", type=int, default=960)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    arguments = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        size = {"width": arguments.width, "height": arguments.height}
        page = browser.new_page(viewport=size, color_scheme=arguments.scheme)
        page.goto(arguments.page.resolve().as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        page.wait_for_timeout(1000)  # charts are drawn once they know their width
        if arguments.at:
            heading = page.get_by_role("heading", name=arguments.at, exact=True).first
            heading.evaluate("heading => window.scrollTo(0, heading.getBoundingClientRect().top + scrollY - 16)")
        page.screenshot(path=arguments.picture)
        browser.close()
    shrink(arguments.picture)


def shrink(path: Path) -> None:
    """Writes a PNG anew with 128 colours."""
    image = Image.open(path).convert("RGB")
    image.quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
