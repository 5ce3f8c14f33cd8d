"""The page that listens, in a real browser: what it hears, shows and saves; and its server, which is for it alone."""

import csv
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import soxr
from listeners import FRONTEND, recording
from listening_page import level_int8, serving

from aed.datamodules.sources.folder import Folder
from aed.export.graph import load_model, read_model_card
from aed.inference.detection import DetectedEvent, Detector
from aed.inference.opening import open_classifier
from aed.run.deploy import DeployConfig, deliver
from aed.run.listen import page_server
from aed.run.page_server import PageServer
from aed.run.page_store import LIST

playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
RATE = 44100
"""Of Chromium's fake microphone: a file of another rate would be resampled once more."""

pytestmark = pytest.mark.usefixtures("compiles", "processes")

HOSTILE = ("<img src=x onerror=alert(1)>", '"it\'s" </script><b>&amp;', "🔔 Tür", "long" * 75)
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 700}}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model, recordings, and where the page saves."""
    folder = tmp_path_factory.mktemp("listen")
    level_int8(folder / "bell_int8.onnx")
    level_int8(folder / "hostile_int8.onnx", HOSTILE)
    loud = ((1, 2.5), (4, 4.7), (6, 9))
    recording(folder / "heard.wav", *loud, seconds=12.0)
    samples, rate = sf.read(recording(folder / "slow.wav", *loud, seconds=10.0))
    frames = np.arange(int(10 * RATE)) * (rate / RATE)
    sf.write(folder / "microphone.wav", np.interp(frames, np.arange(len(samples)), samples), RATE, subtype="PCM_16")
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[PageServer]:
    yield from serving(page_server(place / "bell_int8.onnx", str(place / "sounds")))


@pytest.fixture(scope="module")
def browser(place: Path) -> Iterator[playwright.Browser]:
    if not CHROMIUM:
        pytest.skip("apt-get install chromium")
    options = ["--no-sandbox", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    options.append(f"--use-file-for-fake-audio-capture={place / 'microphone.wav'}")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=CHROMIUM, args=[*options, "--autoplay-policy=no-user-gesture-required"]
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: playwright.Browser) -> Iterator:
    """A function that opens a page that is ready; no page may say an error on its console."""
    contexts, said = [], []

    def opened(url: str, size: str = "desktop", script: str = "", **options: object) -> playwright.Page:
        context = browser.new_context(viewport=SIZES[size], **options)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(script)
        page.set_default_timeout(20000)
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
        page.goto(url)
        page.locator("#microphone:enabled").wait_for()
        return page

    opened.said = said
    yield opened
    for context in contexts:
        context.close()
    assert said == []


def hear_file(page: playwright.Page, path: Path) -> None:
    page.set_input_files("#files", path)
    page.locator("#message", has_text=f"{path.name}: ").filter(has_text="events in").wait_for()


def downloaded(page: playwright.Page, button: str, folder: Path) -> Path:
    with page.expect_download() as waiting:
        page.click(button)
    path = folder / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def check_events(rows: list[dict[str, str]], events: list[DetectedEvent]) -> None:
    """Rows of the page's csv are the events of aed.detect."""
    assert [row["event"] for row in rows] == [event.label for event in events]
    for row, event in zip(rows, events, strict=True):
        assert row["onset_s"] == f"{event.onset_s:.3f}"
        assert row["offset_s"] == f"{event.offset_s:.3f}"
        assert row["alarms_s"] == " ".join(f"{time:.3f}" for time in event.alarms_s)
        assert float(row["posterior"]) == pytest.approx(event.posterior, abs=0.02)  # a step of the front end's int8


def events_of(model: Path, sound: Path) -> list[DetectedEvent]:
    return list(Detector(open_classifier(model)).events(str(sound), lambda _: None))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def listen(page: playwright.Page, words: str, events: int, folder: Path) -> tuple[Path, Path]:
    """The sound and the events that the page saves once it has heard some of them; ``words``: of the microphone."""
    page.click("#microphone")
    page.locator("#device", has_text=words).wait_for()
    page.locator("#events li").nth(events - 1).wait_for()
    page.click("#microphone")
    page.locator("#microphone", has_text="Start").wait_for()
    return downloaded(page, "#save-sound", folder), downloaded(page, "#save-events", folder)


def test_the_events_of_the_microphone_are_those_of_detect_on_what_it_heard(open_page, server, place, tmp_path):
    words = "by the browser to 16000 Hz; echo cancellation, noise suppression and gain control are off"
    sound, listed = listen(open_page(server.url), words, 3, tmp_path)
    samples, rate = sf.read(sound, dtype="int16")
    assert rate == FRONTEND.sample_rate and np.abs(samples).max() > 3000
    events = events_of(place / "bell_int8.onnx", sound)
    assert len(events) >= 3
    check_events(rows_of(listed), events)


REFUSING = """
const connect = AudioContext.prototype.createMediaStreamSource;
AudioContext.prototype.createMediaStreamSource = function (stream) {
  if (this.sampleRate !== 44100) throw new DOMException("another rate", "NotSupportedError");
  return connect.call(this, stream);
};
"""
"""A browser that connects a microphone to contexts of its own rate alone."""


def test_the_page_resamples_where_the_browser_does_not(open_page, server, place, tmp_path):
    page = open_page(server.url, script=REFUSING)
    sound, listed = listen(page, "resampled by the page to 16000 Hz", 2, tmp_path)
    check_events(rows_of(listed), events_of(place / "bell_int8.onnx", sound))
    heard, rate = sf.read(sound)
    source, own = sf.read(place / "microphone.wav")
    level = [np.sqrt(np.mean(wave[np.abs(wave) > 0.05] ** 2)) for wave in (heard, soxr.resample(source, own, rate))]
    assert level[0] == pytest.approx(level[1], rel=0.1)


def test_a_file_of_the_models_rate_is_heard_sample_by_sample(open_page, server, place, tmp_path):
    page = open_page(server.url)
    hear_file(page, place / "heard.wav")
    sound, listed = (downloaded(page, button, tmp_path) for button in ("#save-sound", "#save-events"))
    np.testing.assert_array_equal(sf.read(sound, dtype="int16")[0], sf.read(place / "heard.wav", dtype="int16")[0])
    events = events_of(place / "bell_int8.onnx", place / "heard.wav")
    assert len(events) == 3
    check_events(rows_of(listed), events)


def test_a_file_of_another_rate_is_said_to_be_resampled(open_page, server, place, tmp_path):
    page = open_page(server.url)
    hear_file(page, place / "microphone.wav")
    page.locator("#device", has_text="resampled by the browser").wait_for()
    sound, listed = (downloaded(page, button, tmp_path) for button in ("#save-sound", "#save-events"))
    check_events(rows_of(listed), events_of(place / "bell_int8.onnx", sound))


def test_what_is_no_recording_is_named(open_page, server, tmp_path):
    page = open_page(server.url)
    (tmp_path / "notes.txt").write_text("no sound")
    page.set_input_files("#files", tmp_path / "notes.txt")
    page.locator("#message.bad", has_text="notes.txt: no recording that this browser can read").wait_for()


def test_events_are_marked_by_keys_alone_and_read_as_data(open_page, server, place):
    page = open_page(server.url)
    hear_file(page, place / "heard.wav")
    page.locator("#label").fill("door bell")
    page.locator("#write-rule").focus()
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.locator("#events li:focus").count():
            break
    page.keyboard.press("Space")
    for key, text in (("r", "saved as bell"), ("w", "saved as background"), ("x", "saved as door bell")):
        page.keyboard.press(key)
        page.locator("#events li:focus .saved", has_text=text).wait_for()
        page.keyboard.press("ArrowDown")
    table = Folder(str(place / "sounds")).table()
    assert sorted(labels[0] for labels in table["labels"]) == ["background", "bell", "door bell"]
    listed = rows_of(place / "sounds" / LIST)
    assert [row["category"] for row in listed] == ["bell", "background", "door bell"]
    heard, rate = sf.read(place / "heard.wav", dtype="int16")
    for row in listed:
        samples, own = sf.read(place / "sounds" / row["filename"], dtype="int16")
        assert own == rate and len(samples) / rate == pytest.approx(float(row["seconds"]), abs=1e-3)
        windows = np.lib.stride_tricks.sliding_window_view(heard, len(samples))
        assert (windows[:, ::997] == samples[::997]).all(axis=1).any()  # a piece of what was heard


def test_a_sound_is_recorded_for_a_class(open_page, server, place):
    page = open_page(server.url)
    page.click("#record")
    page.locator("#message.bad", has_text="Start the microphone first").wait_for()
    page.click("#microphone")
    page.locator("#heard", has_text="1.").wait_for()
    page.locator("#label").fill("whistle")
    page.click("#record")
    page.locator("#recording", has_text="1.").wait_for()
    page.click("#record")
    page.locator("#message", has_text="saved as whistle").wait_for()
    (path,) = (place / "sounds" / "whistle").iterdir()
    assert sf.info(path).duration > 0.9


def test_thresholds_move_the_events_and_are_written_to_a_copy(open_page, server, place, tmp_path):
    page = open_page(server.url)
    slider = page.get_by_role("slider", name="Threshold of bell")
    assert slider.input_value() == "0.6"
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "0.9"
    assert page.get_by_role("slider", name="Threshold of quiet").is_disabled()
    hear_file(page, place / "heard.wav")
    listed = downloaded(page, "#save-events", tmp_path)
    page.click("#write-rule")
    page.locator("#message", has_text="has these thresholds").wait_for()
    copy = place / "bell_int8_rule.onnx"
    rule = read_model_card(load_model(copy), copy).rule
    assert rule.on == (0.9, None, None) and rule.off[0] == 0.45
    assert read_model_card(load_model(place / "bell_int8.onnx"), copy).rule.on[0] == 0.6
    check_events(rows_of(listed), events_of(copy, place / "heard.wav"))
    page.click("#reset-rule")
    assert slider.input_value() == "0.6"


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_fits(open_page, server, place, size, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install -e '.[dev]'")
    page = open_page(server.url, size, color_scheme=scheme, bypass_csp=True)
    hear_file(page, place / "heard.wav")
    found = axe.Axe().run(page).response["violations"]
    assert [item["id"] for item in found if item["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size]["width"]


def test_hostile_names_are_text(open_page, place, tmp_path):
    for server in serving(page_server(place / "hostile_int8.onnx", str(tmp_path / "sounds"))):
        page = open_page(server.url, "phone")
        hear_file(page, place / "heard.wav")
        assert page.locator("#lanes .name").all_text_contents() == list(HOSTILE)
        assert page.locator("#events li .name:not(.saved)").first.text_content() == HOSTILE[0]
        assert page.locator("img, #lanes b, #events b, script:not([src])").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES["phone"]["width"]
        page.locator("#events li").first.get_by_text("Right").click()
        page.locator("#message.bad", has_text="cannot be the name of a folder").wait_for()
        assert {row["event"] for row in rows_of(downloaded(page, "#save-events", tmp_path))} == {HOSTILE[0]}
    assert not (tmp_path / "sounds").exists()


def test_no_script_but_the_pages_own_runs(open_page, server):
    page = open_page(server.url)
    script = "Object.assign(document.createElement('script'), {textContent: 'document.title = 1'})"
    page.evaluate(f"document.body.append({script})")
    assert page.title() == "Listen: bell_int8"
    assert open_page.said and all("Content Security Policy" in text for text in open_page.said)
    open_page.said.clear()


def heap_bytes(page: playwright.Page) -> int:
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    return session.send("Runtime.getHeapUsage")["usedSize"]


def test_memory_does_not_grow_with_a_stream(open_page, server, tmp_path):
    """Eleven minutes, an event every four seconds: longer than sound is kept."""
    page = open_page(server.url)
    for minutes in (1, 11):
        loud = [(start, start + 2) for start in range(1, 60 * minutes - 2, 4)]
        recording(tmp_path / f"{minutes}.wav", *loud, seconds=60.0 * minutes)
    hear_file(page, tmp_path / "11.wav")
    before = heap_bytes(page)
    for name in ("11.wav", "11.wav", "1.wav"):
        hear_file(page, tmp_path / name)
    assert page.locator("#events li").count() <= 200
    hear_file(page, tmp_path / "11.wav")
    assert heap_bytes(page) - before < 300_000
    sound, rate = sf.read(downloaded(page, "#save-sound", tmp_path), dtype="int16")
    np.testing.assert_array_equal(sound, sf.read(tmp_path / "11.wav", dtype="int16")[0][-600 * rate :])


def test_the_folder_alone_is_a_page_whose_recordings_are_downloads(open_page, place, tmp_path):
    deliver(place / "bell_int8.onnx", tmp_path / "demo", DeployConfig(target="web"))
    handler = partial(QuietHandler, directory=str(tmp_path / "demo"))
    for server in serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)):
        page = open_page(f"http://127.0.0.1:{server.server_port}/")
        hear_file(page, place / "heard.wav")
        with page.expect_download() as waiting:
            page.locator("#events li").first.get_by_text("Right").click()
        waiting.value.save_as(tmp_path / "bell.wav")
        assert waiting.value.suggested_filename.startswith("bell_")
        assert sf.info(tmp_path / "bell.wav").samplerate == FRONTEND.sample_rate
        text = downloaded(page, "#write-rule", tmp_path).read_text(encoding="utf-8")
        assert text == "'rule.on=[0.6,null,null]' 'rule.off=[0.3,1,1]'\n"


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
