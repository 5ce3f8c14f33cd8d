"""The server of the page that listens: for this machine, its own page and its own folder alone."""

import http.client
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import soundfile as sf
from listeners import recording
from listening_page import NAMES, level_int8, serving

from aed.base.errors import AedError
from aed.export.graph import load_model, read_model_card
from aed.run.listen import page_server
from aed.run.page_server import MOST_BYTES, PageServer
from aed.run.page_store import PageStore
from aed.run.rule_changes import RuleChanges
from aed.scoring.rule import EventRule

pytestmark = pytest.mark.usefixtures("compiles", "processes")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Model, recordings, and where the page saves."""
    folder = tmp_path_factory.mktemp("listen")
    level_int8(folder / "bell_int8.onnx")
    samples, rate = sf.read(recording(folder / "heard.wav", (1, 2.5)))
    sf.write(folder / "fast.wav", samples, 2 * rate)
    return folder


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[PageServer]:
    yield from serving(page_server(place / "bell_int8.onnx", str(place / "sounds")))


def ask(
    server: PageServer, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, str]:
    """Status and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.putrequest(method, path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    if body is not None and "Content_Length" not in headers:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_server_gives_the_files_of_the_page_alone(server: PageServer, place: Path) -> None:
    path = urlsplit(server.url).path
    assert ask(server, path)[0] == 200 and ask(server, f"{path}aed.js")[0] == 200
    assert server.server_address[0] == "127.0.0.1"
    for wrong in (
        "/",
        "/index.html",
        path[:-2] + "/",
        f"{path}../{place}",
        f"{path}%2e%2e/aed.js",
        f"{path}/etc/passwd",
    ):
        assert ask(server, wrong) == (404, "not found\n"), wrong
    assert ask(server, path, Host="evil.example")[0] == 404  # another name for this machine


def test_nothing_is_written_for_others(server: PageServer, place: Path) -> None:
    path, before = urlsplit(server.url).path, sorted(place.rglob("*"))
    origin = f"http://127.0.0.1:{server.server_port}"
    wav = (place / "heard.wav").read_bytes()
    good = {"Origin": origin, "method": "POST", "body": wav}
    assert ask(server, "/wrong/clip?label=bell", **good)[0] == 403
    assert ask(server, "/clip?label=bell", **good)[0] == 403
    assert ask(server, f"{path}clip?label=bell", method="POST", body=wav)[0] == 403
    assert ask(server, f"{path}clip?label=bell", **good | {"Origin": "http://evil.example"})[0] == 403
    assert ask(server, f"{path}other", **good)[0] == 403
    too_long = {"Content_Length": str(MOST_BYTES + 1), "body": b""}
    assert ask(server, f"{path}clip?label=bell", **good | too_long)[0] == 413
    for length in ("-1", "x", "", "9" * 5000):
        assert ask(server, f"{path}clip?label=bell", **good | {"Content_Length": length, "body": b""})[0] == 413
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("label", "why"),
    [
        ("..", "cannot be the name"), ("a/b", "cannot be the name"), ("a%5Cb", "cannot be the name"),
        ("", "need printable"), ("%20a", "need printable"), ("a%00b", "need printable"),
        ("x" * 201, "at most 200 bytes"),        ("Test", "for a split"), (".hidden", "cannot be the name"),
    ],
)  # fmt: skip
def test_classes_that_are_no_folders_are_refused(server: PageServer, place: Path, label: str, why: str) -> None:
    path, before = urlsplit(server.url).path, sorted(place.rglob("*"))
    wav = (place / "heard.wav").read_bytes()
    origin = f"http://127.0.0.1:{server.server_port}"
    status, text = ask(server, f"{path}clip?label={label}", "POST", wav, Origin=origin)
    assert status == 200 and why in json.loads(text)["error"]
    assert sorted(place.rglob("*")) == before


def test_what_is_no_sound_or_no_rule_is_refused(server: PageServer, place: Path) -> None:
    path, before = urlsplit(server.url).path, sorted(place.rglob("*"))
    origin = f"http://127.0.0.1:{server.server_port}"

    def refusal(name: str, body: bytes) -> str:
        return json.loads(ask(server, f"{path}{name}", "POST", body, Origin=origin)[1])["error"]

    assert "clip: no wav" in refusal("clip?label=bell", b"no wav")
    assert "need a wav of 16 bit" in refusal("clip?label=bell", (place / "fast.wav").read_bytes())
    assert "rule: no JSON" in refusal("rule", b"{")
    assert "need on and off" in refusal("rule", b"[]")
    assert "rule.on: need a list of 3" in refusal("rule", b'{"on": [0.5], "off": [0.5]}')
    assert "rule.on: need numbers" in refusal("rule", b'{"on": ["x", 1, 1], "off": [0, 0, 0]}')
    assert "rule.off: 0.9 is over" in refusal("rule", b'{"on": [0.5, 1, 1], "off": [0.9, 0, 0]}')
    assert "null for every class" in refusal("rule", b'{"on": [null, null, null], "off": [0, 0, 0]}')
    assert sorted(place.rglob("*")) == before


def test_a_link_does_not_lead_out_of_the_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "sounds").mkdir()
    (tmp_path / "sounds" / "bell").symlink_to(tmp_path / "out")
    store = PageStore(place / "bell_int8.onnx", tmp_path / "sounds", tmp_path / "copy.onnx", EventRule())
    with pytest.raises(AedError, match="leads out of"):
        store.save_clip((place / "heard.wav").read_bytes(), "bell", "")
    assert not list((tmp_path / "out").iterdir())


def test_the_copy_has_the_whole_rule_that_the_page_listens_by(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.onnx"
    with page_server(place / "bell_int8.onnx", output=str(copy), rule=RuleChanges(window=3, hold_off_s=5)) as server:
        server.store.write_rule({"on": [0.7, None, None], "off": [0.4, 1, 1]})
    rule = read_model_card(load_model(copy), copy).rule
    assert rule == EventRule(on=(0.7, None, None), off=(0.4, 1, 1), window=3, hold_off_s=5)


def test_settings_that_cannot_be_are_refused(server: PageServer, place: Path) -> None:
    model = place / "bell_int8.onnx"
    with pytest.raises(AedError, match="is the model that listens"):
        page_server(model, output=str(model))
    with pytest.raises(AedError, match=r"output: need a file\.onnx"):
        page_server(model, output="copy.txt")
    with pytest.raises(AedError, match="is no folder"):
        page_server(model, folder=str(model))
    with pytest.raises(AedError, match=f"port={server.server_port}: .*port=0"):
        page_server(model, port=server.server_port)


def test_the_command_serves_the_page_until_it_is_interrupted(forking: list[str], place: Path, tmp_path: Path) -> None:
    words = [*forking, "aed.listen", f"model={place / 'bell_int8.onnx'}", "folder=sounds", "browser=false"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[0]
            connection = http.client.HTTPConnection("127.0.0.1", urlsplit(url).port, timeout=10)
            connection.request("GET", urlsplit(url).path + "aed_web.json")
            facts = json.loads(connection.getresponse().read())
            connection.close()
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    assert facts["classes"] == list(NAMES)
    assert facts["server"] == {"folder": "sounds", "output": str(place / "bell_int8_rule.onnx")}
    assert "Traceback" not in errors
