"""The picture of the page that listens, from a real run: Chromium's fake microphone plays recordings to a model.

    pip install -e '.[dev]'; apt-get install chromium
    python scripts/draw_page.py model_int8.onnx docs/img/page.png --seconds 24 recordings/*.ogg

Prints how long the page takes to be ready, and to its first lane, from a cold load.
"""

import argparse
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import soundfile as sf
from draw_report import shrink
from playwright.sync_api import sync_playwright

from aed.base.files import temporary_folder
from aed.dsp.waveform import read_audio, resample
from aed.run.listen import page_server

RATE = 44100
"""Of the fake microphone: files of another rate are resampled once more."""


def main() -> None:
    """Draws the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=24.0)
    parser.add_argument("--width", type=int, default=1120)
    parser.add_argument("--height", type=int, default=960)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    arguments = parser.parse_args()
    waves = [resample(*read_audio(path, arguments.seconds), RATE) for path in arguments.recordings]
    with temporary_folder() as folder, page_server(arguments.model, "sounds") as server:
        sf.write(folder / "microphone.wav", np.clip(np.concatenate(waves), -1, 1), RATE, subtype="PCM_16")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sync_playwright() as driver:
            options = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
            options.append(f"--use-file-for-fake-audio-capture={folder / 'microphone.wav'}")
            browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=options)
            size = {"width": arguments.width, "height": arguments.height}
            page = browser.new_page(viewport=size, color_scheme=arguments.scheme)
            begun = time.perf_counter()
            page.goto(server.url)
            page.locator("#microphone:enabled").wait_for()
            ready = time.perf_counter()
            page.click("#microphone")
            page.locator("#lanes .value").filter(has_text=".").first.wait_for()
            first = time.perf_counter()
            page.wait_for_timeout(1000 * arguments.seconds)
            print(
                f"ready after {ready - begun:.2f} s, first lane {first - ready:.2f} s after the microphone was started"
            )
            print(page.inner_text("#device"), "Latency", page.inner_text("#latency"), "load", page.inner_text("#load"))
            page.screenshot(path=arguments.picture)
            browser.close()
        server.shutdown()
    shrink(arguments.picture)


if __name__ == "__main__":
    main()
