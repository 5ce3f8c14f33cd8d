import gzip
import hashlib
import logging
import shutil
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import pytest
from rich.progress import Progress

from aed.base import download
from aed.base.download import fetch, unpack_zip
from aed.base.errors import AedError

BODY = bytes(range(256)) * 1000
SHA256 = "sha256:" + hashlib.sha256(BODY).hexdigest()
MD5 = "md5:" + hashlib.md5(BODY).hexdigest()
ADVICE = "Put clips.zip into data/."


@dataclass
class Server:
    url: str = ""
    seen: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    known = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.seen.append(self.path)
            getattr(self, "get_" + self.path.strip("/"))()

        def head(self, status: int, **headers: object) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), str(value))
            self.end_headers()

        def get_ok(self) -> None:
            self.head(200, Content_Length=len(BODY))
            self.wfile.write(BODY)

        def get_slow(self) -> None:
            known.released.wait(0.7)
            self.get_ok()

        def get_unknown_length(self) -> None:
            self.head(200)
            self.wfile.write(BODY)

        def get_truncated(self) -> None:
            self.head(200, Content_Length=len(BODY))
            self.wfile.write(BODY[:1000])

        def get_truncated_chunk(self) -> None:
            self.protocol_version = "HTTP/1.1"
            self.head(200, Transfer_Encoding="chunked", Connection="close")
            self.wfile.write(b"100\r\nabc")

        def get_missing(self) -> None:
            self.send_error(404)

        def get_accepted(self) -> None:
            self.head(202, Content_Length=2)
            self.wfile.write(b"{}")

        def get_moved(self) -> None:
            self.head(302, Location="/ok")

        def get_to_ftp(self) -> None:
            self.head(302, Location="ftp://127.0.0.1:1/clips.zip")

        def get_to_file(self) -> None:
            self.head(302, Location="file:///etc/passwd")

        def get_silent(self) -> None:
            known.released.wait(5)

        def get_stalls(self) -> None:
            self.head(200, Content_Length=len(BODY))
            self.wfile.write(BODY[:1000])
            self.wfile.flush()
            known.released.wait(5)

        def get_nonsense(self) -> None:
            self.wfile.write(b"no http at all\r\n\r\n")

        def get_huge(self) -> None:
            self.head(200, Content_Length=10**18)

        def log_message(self, *_: Any) -> None:
            pass

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    known.url = f"http://127.0.0.1:{http.server_port}"
    yield known
    known.released.set()
    http.shutdown()
    thread.join()
    http.server_close()


def left_in(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir() if item.suffix != ".lock"}


@pytest.mark.parametrize("digest", [SHA256, MD5, SHA256.upper().replace("SHA", "sha"), None])
@pytest.mark.parametrize("page", ["ok", "unknown_length", "moved"])
def test_fetch_writes_the_body(server: Server, tmp_path: Path, page: str, digest: str | None) -> None:
    path = tmp_path / "data" / "clips.zip"
    assert fetch(f"{server.url}/{page}", path, digest=digest, advice=ADVICE) == path
    assert path.read_bytes() == BODY
    assert left_in(path.parent) == {"clips.zip"}


def test_fetched_file_has_the_ordinary_mode(server: Server, tmp_path: Path) -> None:
    (tmp_path / "ordinary").touch()
    path = fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=None, advice=ADVICE)
    assert path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("digest", [SHA256, MD5, None])
def test_fetch_keeps_a_file_with_the_right_digest(server: Server, tmp_path: Path, digest: str | None) -> None:
    path = tmp_path / "clips.zip"
    path.write_bytes(BODY)
    fetch(f"{server.url}/ok", path, digest=digest, advice=ADVICE)
    assert server.seen == []
    assert list(tmp_path.iterdir()) == [path], "a read-only folder must do, so no lock file"


def test_fetch_never_replaces_another_file(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "clips.zip"
    path.write_bytes(b"mine")
    found = hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(AedError, match=f"expected {SHA256}, found sha256:{found}. Delete it"):
        fetch(f"{server.url}/ok", path, digest=SHA256, advice=ADVICE)
    assert path.read_bytes() == b"mine"
    assert server.seen == []


def test_fetch_keeps_a_file_that_appears_meanwhile(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "clips.zip"
    monkeypatch.setattr(Progress, "advance", lambda *_: path.write_bytes(b"mine"))
    with pytest.raises(AedError, match="appeared there meanwhile"):
        fetch(f"{server.url}/ok", path, digest=SHA256, advice=ADVICE)
    assert path.read_bytes() == b"mine"
    assert left_in(tmp_path) == {"clips.zip"}


def test_fetch_refuses_a_folder_in_the_file_s_place(server: Server, tmp_path: Path) -> None:
    (tmp_path / "clips.zip").mkdir()
    with pytest.raises(AedError, match="it is a folder"):
        fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=SHA256, advice=ADVICE)


def test_fetch_overwrites_what_a_killed_process_left(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".clips.zip.part").write_bytes(BODY * 2)
    path = fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=SHA256, advice=ADVICE)
    assert path.read_bytes() == BODY
    assert left_in(tmp_path) == {"clips.zip"}


@pytest.mark.parametrize(
    ("page", "cause"),
    [
        ("truncated", f"ended after 1000 of {len(BODY)} bytes"),
        ("truncated_chunk", "IncompleteRead"),
        ("missing", "HTTP Error 404"),
        ("accepted", "HTTP status 202"),
        ("silent", "timed out"),
        ("stalls", "timed out"),
        ("nonsense", "no http at all"),
        ("huge", "1.0 EB are needed"),
        ("to_ftp", "unknown url type: ftp"),
        ("to_file", "HTTP Error 302"),
    ],
)
def test_failed_download_is_explained_and_leaves_nothing(server: Server, tmp_path: Path, page: str, cause: str) -> None:
    url = f"{server.url}/{page}"
    with pytest.raises(AedError) as caught:
        fetch(url, tmp_path / "clips.zip", digest=None, advice=ADVICE, timeout_s=0.5)
    for part in (url, cause, ADVICE, str(tmp_path / "clips.zip")):
        assert part in str(caught.value)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("digest", ["sha256:" + "0" * 64, "md5:" + "f" * 32])
def test_wrong_digest_names_both_and_leaves_nothing(server: Server, tmp_path: Path, digest: str) -> None:
    with pytest.raises(AedError) as caught:
        fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=digest, advice=ADVICE)
    received = SHA256 if digest.startswith("sha256") else MD5
    for part in (server.url, f"expected {digest}", f"received {received}", ADVICE):
        assert part in str(caught.value)
    assert left_in(tmp_path) == set()


def test_no_server_is_explained(server: Server, tmp_path: Path) -> None:
    url = "http://127.0.0.1:1/clips.zip"
    with pytest.raises(AedError, match=rf"{url}.*refused.*{ADVICE}"):
        fetch(url, tmp_path / "clips.zip", digest=None, advice=ADVICE, timeout_s=0.5)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("ftp://127.0.0.1/clips.zip", "must start with http"),
        ("file:///etc/passwd", "must start with http"),
        ("clips.zip", "must start with http"),
        ("http://[127.0.0.1/clips.zip", "Invalid IPv6"),
        ("http://127.0.0.1:port/clips.zip", "nonnumeric port"),
        ("http://127.0.0.1/two words.zip", "control characters"),
        ("http:///clips.zip", "no host given"),
    ],
)
def test_bad_address_is_refused(tmp_path: Path, url: str, cause: str) -> None:
    with pytest.raises(AedError, match=cause) as caught:
        fetch(url, tmp_path / "clips.zip", digest=None, advice=ADVICE)
    assert ADVICE in str(caught.value)
    assert left_in(tmp_path) == set()


@pytest.mark.parametrize("digest", ["sha256:12", "sha1:" + "0" * 40, "0" * 64, "md5:" + "g" * 32, ""])
def test_malformed_digest_is_refused(tmp_path: Path, digest: str) -> None:
    with pytest.raises(AedError, match="must be sha256:<64 hex digits> or md5:<32 hex digits>, got"):
        fetch("http://127.0.0.1:1/", tmp_path / "clips.zip", digest=digest, advice=ADVICE)


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow over 100 kB: the write fails as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
def test_failed_write_is_explained_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(AedError, match=f"{server.url}/ok.*File too large.*{ADVICE}"):
        fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=SHA256, advice=ADVICE)
    assert left_in(tmp_path) == set()


def test_unwritable_folder_is_explained(server: Server, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(AedError, match=f"Cannot download .*data.*{ADVICE}"):
        fetch(f"{server.url}/ok", tmp_path / "data" / "clips.zip", digest=SHA256, advice=ADVICE)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_interrupted_download_leaves_nothing(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Progress, "advance", interrupt)
        fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=SHA256, advice=ADVICE)
    assert left_in(tmp_path) == set()
    path = fetch(f"{server.url}/ok", tmp_path / "clips.zip", digest=SHA256, advice=ADVICE)
    assert path.read_bytes() == BODY, "the lock was given back"


def test_two_processes_download_once(server: Server, tmp_path: Path) -> None:
    code = (
        "import logging, sys, pathlib; from aed.base.download import fetch; logging.basicConfig(level='INFO');"
        "fetch(sys.argv[1], pathlib.Path(sys.argv[2]), digest=sys.argv[3], advice='')"
    )
    command = [sys.executable, "-c", code, f"{server.url}/slow", str(tmp_path / "clips.zip"), SHA256]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    logs = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], logs
    assert server.seen == ["/slow"]
    assert (tmp_path / "clips.zip").read_bytes() == BODY


def test_waiting_is_logged(server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aed.base.download")
    path = tmp_path / "clips.zip"
    other = threading.Thread(target=fetch, args=(f"{server.url}/slow", path), kwargs={"digest": None, "advice": ""})
    other.start()
    while not server.seen:
        time.sleep(0.01)
    fetch(f"{server.url}/ok", path, digest=SHA256, advice=ADVICE)
    other.join()
    assert "waiting for another process" in caplog.text
    assert server.seen == ["/slow"]


@pytest.mark.parametrize("page", ["ok", "unknown_length"])
def test_bar_goes_to_a_terminal_only(
    server: Server,
    tmp_path: Path,
    page: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch(f"{server.url}/{page}", tmp_path / "quiet.zip", digest=None, advice=ADVICE)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    fetch(f"{server.url}/{page}", tmp_path / "[clips].zip", digest=None, advice=ADVICE)
    out, err = capsys.readouterr()
    assert out == ""
    assert "[clips].zip" in err
    assert "256.0" in err


Member = tuple[str | zipfile.ZipInfo, bytes]
CLIPS: list[Member] = [
    ("ESC-50-master/", b""),
    ("ESC-50-master/README.md", b"read me"),
    ("ESC-50-master/audio/1-1.wav", b"wav one" * 1000),
    ("ESC-50-master/audio/1-2.wav", b"wav two" * 1000),
    ("LICENSE", b"top level"),
]


def zip_of(path: Path, members: list[Member], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def files_in(folder: Path) -> dict[str, bytes]:
    return {item.relative_to(folder).as_posix(): item.read_bytes() for item in folder.rglob("*") if item.is_file()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
def test_unpack_strips_the_top_folder(tmp_path: Path, compression: int) -> None:
    archive = zip_of(tmp_path / "a.zip", CLIPS, compression)
    folder = tmp_path / "data" / "esc50"
    assert unpack_zip(archive, folder) == folder
    expected = {
        "README.md": b"read me",
        "audio/1-1.wav": b"wav one" * 1000,
        "audio/1-2.wav": b"wav two" * 1000,
    }
    assert files_in(folder) == expected
    assert left_in(folder.parent) == {"esc50"}


@pytest.mark.parametrize(
    ("strip", "expected"),
    [
        (
            0,
            {
                "LICENSE",
                *(f"ESC-50-master/{name}" for name in ("README.md", "audio/1-1.wav", "audio/1-2.wav")),
            },
        ),
        (2, {"1-1.wav", "1-2.wav"}),
    ],
)
def test_unpack_strips_so_many_components(tmp_path: Path, strip: int, expected: set[str]) -> None:
    folder = unpack_zip(zip_of(tmp_path / "a.zip", CLIPS), tmp_path / "out", strip=strip)
    assert set(files_in(folder)) == expected


def test_unpack_only_what_is_asked_for(tmp_path: Path) -> None:
    asked = []

    def only(name: str) -> bool:
        asked.append(name)
        return name.startswith("audio/")

    folder = unpack_zip(zip_of(tmp_path / "a.zip", CLIPS), tmp_path / "out", only=only)
    assert set(files_in(folder)) == {"audio/1-1.wav", "audio/1-2.wav"}
    assert asked == ["README.md", "audio/1-1.wav", "audio/1-2.wav"]


def test_unpacked_files_and_folder_have_the_ordinary_mode(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("top/clip.wav")
    info.external_attr = (stat.S_IFREG | stat.S_ISUID | 0o777) << 16
    folder = unpack_zip(zip_of(tmp_path / "a.zip", [(info, b"wav")]), tmp_path / "out")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert folder.stat().st_mode == (tmp_path / "folder").stat().st_mode
    assert (folder / "clip.wav").stat().st_mode == (tmp_path / "file").stat().st_mode


def test_unpack_into_an_empty_folder_and_through_a_link(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", CLIPS)
    (tmp_path / "empty").mkdir()
    assert len(files_in(unpack_zip(archive, tmp_path / "empty"))) == 3
    (tmp_path / "disk" / "clips").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "clips")
    unpack_zip(archive, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(files_in(tmp_path / "disk" / "clips")) == 3


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"x"), lambda path: (path / "mine").mkdir(parents=True)]
)
def test_unpack_refuses_an_occupied_folder(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "out")
    with pytest.raises(AedError, match="out must not exist or be an empty folder; delete it or move it away"):
        unpack_zip(zip_of(tmp_path / "a.zip", CLIPS), tmp_path / "out")


def test_unpack_backslashes_as_folders(tmp_path: Path) -> None:
    folder = unpack_zip(
        zip_of(tmp_path / "a.zip", [("top\\audio\\", b""), ("top\\audio\\1.wav", b"wav")]), tmp_path / "out"
    )
    assert files_in(folder) == {"audio/1.wav": b"wav"}


@pytest.mark.parametrize("strip", [0, 1, 2])
@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "top/../../evil",
        "top/audio/../../../evil",
        "top\\..\\..\\evil",
        "top/.. /.. /evil",
        "/etc/evil",
        "\\evil",
        "//server/share/evil",
        "C:evil",
        "C:/evil",
        "C:\\evil",
    ],
)
def test_zip_slip_is_refused(tmp_path: Path, name: str, strip: int) -> None:
    archive = zip_of(tmp_path / "a.zip", [*CLIPS, (name, b"evil")])
    with pytest.raises(AedError, match="leads out of the folder; nothing was unpacked"):
        unpack_zip(archive, tmp_path / "deep" / "out", strip=strip, only=lambda name: name != "evil")
    assert left_in(tmp_path) == {"a.zip"}


def test_drive_behind_the_stripped_part_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("top/C:/evil", b"evil")])
    with pytest.raises(AedError, match="leads out of the folder"):
        unpack_zip(archive, tmp_path / "out")


def test_link_is_refused_where_it_would_be_written(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("top/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive = zip_of(tmp_path / "a.zip", [*CLIPS, (link, b"/etc/passwd"), ("top/link/evil", b"evil")])
    with pytest.raises(AedError, match="'top/link' is a link; nothing was unpacked"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}
    unpack_zip(archive, tmp_path / "out", only=lambda name: name.endswith(".wav"))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("one/clip.wav", b"1"), ("two/clip.wav", b"2")])
    with pytest.raises(AedError, match=r"'one/clip.wav' and 'two/clip.wav' would both become 'clip.wav'"):
        unpack_zip(archive, tmp_path / "out")


def test_file_and_folder_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("top/a", b"1"), ("top/a/b", b"2")])
    with pytest.raises(AedError, match="Cannot unpack"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}


def test_nothing_to_unpack_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AedError, match="holds nothing to unpack"):
        unpack_zip(zip_of(tmp_path / "a.zip", CLIPS), tmp_path / "out", strip=5)
    assert left_in(tmp_path) == {"a.zip"}


def test_bad_crc_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", CLIPS, zipfile.ZIP_STORED)
    archive.write_bytes(archive.read_bytes().replace(b"wav twowav", b"wav twowaw", 1))
    with pytest.raises(AedError, match=r"Bad CRC-32.*Fetch it again"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", gzip.compress(b"clips", mtime=0)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(AedError, match="damaged or of an unknown kind"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out")


def test_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(AedError, match=r"Cannot unpack .*No such file.*a.zip"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "out")


def test_password_is_explained(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("top/clip.wav", b"wav")], zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(data)
    with pytest.raises(AedError, match="password required"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}


def test_undecodable_name_is_explained(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("top/clip-ä.wav", b"wav")])
    archive.write_bytes(archive.read_bytes().replace("ä".encode(), b"\xff\xff"))
    with pytest.raises(AedError, match="damaged or of an unknown kind: 'utf-8' codec"):
        unpack_zip(archive, tmp_path / "out")


def test_sizes_beyond_the_end_are_explained(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [("top/clip.wav", b"wav")], zipfile.ZIP_STORED)
    data = bytearray(archive.read_bytes())
    sizes = data.index(b"PK\x01\x02") + 20
    data[sizes : sizes + 8] = (10**6).to_bytes(4, "little") * 2
    archive.write_bytes(data)
    with pytest.raises(AedError, match=r"damaged or of an unknown kind: (EOFError|Overlapped entries)"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}


def test_too_small_disk_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=14_006)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: usage)
    archive = zip_of(tmp_path / "a.zip", CLIPS)
    with pytest.raises(AedError, match=r"14.0 kB are needed and 14.0 kB free"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}
    unpack_zip(archive, tmp_path / "out", only=lambda name: name.endswith(".wav"))


@pytest.mark.usefixtures("small_files")
def test_failed_write_while_unpacking_leaves_nothing(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", [*CLIPS, ("top/long.wav", bytes(200_000))])
    with pytest.raises(AedError, match=r"Cannot unpack .*File too large"):
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}


def test_interrupted_unpacking_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zip_of(tmp_path / "a.zip", CLIPS)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Progress, "advance", interrupt)
        unpack_zip(archive, tmp_path / "out")
    assert left_in(tmp_path) == {"a.zip"}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_damage_is_found_or_harmless(tmp_path: Path, compression: int) -> None:
    random = Random(1)
    archive = zip_of(tmp_path / "a.zip", CLIPS, compression)
    intact = archive.read_bytes()
    contents = {content for _, content in CLIPS}
    for _ in range(150):
        damaged = bytearray(intact)
        for _ in range(random.randint(1, 3)):
            damaged[random.randrange(len(damaged))] = random.choice([0, 1, 255, random.randrange(256)])
        archive.write_bytes(damaged[: random.choice([len(damaged), len(damaged), random.randrange(len(damaged))])])
        try:
            folder = unpack_zip(archive, tmp_path / "out")
        except AedError:
            assert left_in(tmp_path) == {"a.zip"}
        else:
            assert set(files_in(folder).values()) <= contents
            shutil.rmtree(folder)
