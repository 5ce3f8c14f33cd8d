"""Files are whole, whatever ends their writer: real processes are killed, real disks are full."""

import hashlib
import json
import multiprocessing as mp
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from aed.base import files
from aed.base.files import WriteError, temporary_folder, whole_folder, write_whole
from aed.modules.checkpoint import write_checkpoint

pytestmark = pytest.mark.usefixtures("processes")

FORK = mp.get_context("fork")
SIZE = 1 << 21
NUMBERS = 300_000


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on another file system than temporary files have."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    with tempfile.TemporaryDirectory(dir=shared) as name:
        yield Path(name)


def in_child(function, *arguments, wait: bool = True):
    process = FORK.Process(target=function, args=arguments)
    process.start()
    if wait:
        process.join(30)
        assert process.exitcode == 0
    return process


WRITE_FOR_EVER = """
import itertools, pathlib, sys
from aed.base.files import write_whole

print("begun", flush=True)
for number in itertools.count():
    write_whole(pathlib.Path(sys.argv[1]), lambda file: file.write(str(number % 10).encode() * int(sys.argv[2])))
"""
"""A process of its own: a fork of this one would have the locks of its threads, and none to release them."""


def temporaries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.endswith((".tmp", ".old"))]


def test_of_a_writer_that_is_killed_a_whole_file_is_left_and_no_other_for_long(elsewhere: Path) -> None:
    path, left = elsewhere / "best.ckpt", 0
    draw = random.Random(0)
    for number in range(200):  # a dozen, and on until one was hit while it wrote
        if number >= 12 and left:
            break
        command = [sys.executable, "-c", WRITE_FOR_EVER, str(path), str(SIZE)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout and writer.stdout.readline() == b"begun\n"
            time.sleep(draw.uniform(0.005, 0.04))
            writer.kill()
        content = path.read_bytes() if path.exists() else b""
        assert content in (b"", content[:1] * SIZE)
        left = max(left, len(temporaries(elsewhere)))
    assert left == 1, "each writer removes what the one before it left"
    write_checkpoint(path, {"number": 0})
    assert [item.name for item in elsewhere.iterdir()] == ["best.ckpt"]


def test_a_living_writers_file_is_left_alone(tmp_path: Path) -> None:
    begun, go = FORK.Event(), FORK.Event()

    def slowly(file) -> None:
        file.write(b"first ")
        file.flush()
        begun.set()
        assert go.wait(30)
        file.write(b"second")

    writer = in_child(write_whole, tmp_path / "slow", slowly, wait=False)
    assert begun.wait(30)
    in_child(write_whole, tmp_path / "quick", lambda file: file.write(b"quick"))
    assert len(temporaries(tmp_path)) == 1
    go.set()
    writer.join(30)
    assert writer.exitcode == 0 and (tmp_path / "slow").read_bytes() == b"first second"


@pytest.mark.parametrize(
    ("name", "age_s", "stays"),
    [
        (".a.json.{here}-{token}.tmp", 0, False),
        (".a.json.{there}-{token}.tmp", 3600, True),
        (".a.json.{there}-{token}.tmp", 2 * files.LEFT_S, False),
        (".a.json.{token}.tmp", 0, True),
        (".a.json.{token}.tmp", 2 * files.LEFT_S, False),
        (".hidden.tmp", 2 * files.LEFT_S, True),
        ("a.{here}-{token}.tmp", 2 * files.LEFT_S, True),
    ],
)
def test_what_is_taken_for_a_dead_writers(tmp_path: Path, name: str, age_s: float, stays: bool) -> None:
    """Another machine's locks may not be seen here, so age decides; other names are not written by aed."""
    there = hashlib.sha256(b"another machine").hexdigest()[:8]
    path = tmp_path / name.format(here=files._machine(), there=there, token="0123456789abcdef" * 2)
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age_s,) * 2)
    write_whole(tmp_path / "b", lambda file: file.write(b"whole"))
    assert path.exists() == stays


def test_a_folder_taken_away_by_a_killed_writer_comes_back(tmp_path: Path) -> None:
    token = "0123456789abcdef" * 2
    old = tmp_path / f".lib.{files._machine()}-{token}.old"
    made = tmp_path / f".lib.{files._machine()}-{token}.tmp"
    for folder in (old, made):
        folder.mkdir()
        (folder / "mark").write_text(folder.suffix)
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "lib", "mark"):
        raise RuntimeError("no new one")
    assert [path.name for path in tmp_path.iterdir()] == ["lib"] and (tmp_path / "lib" / "mark").read_text() == ".old"


def test_a_full_disk_leaves_the_old_file_and_is_named(small_disk: Path) -> None:
    path = small_disk / "best.ckpt"
    write_checkpoint(path, {"number": 1})
    before = path.read_bytes()
    with pytest.raises(WriteError, match=r"disk/best\.ckpt: cannot be written \(no space left"):
        write_checkpoint(path, {"data": torch.zeros(NUMBERS)})
    with pytest.raises(WriteError, match="lib: cannot be written"), whole_folder(small_disk / "lib", "mark") as folder:
        (folder / "mark").write_bytes(bytes(300_000))
    assert path.read_bytes() == before and [item.name for item in small_disk.iterdir()] == ["best.ckpt"]


def test_the_disk_of_temporary_files_is_not_needed(small_disk: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TMPDIR", str(small_disk))
    monkeypatch.setattr(tempfile, "tempdir", None)
    write_checkpoint(tmp_path / "best.ckpt", {"data": torch.zeros(NUMBERS)})
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["data"].shape == (NUMBERS,)


@pytest.mark.parametrize("place", ["file/a.json", "/proc/nothing/a.json", "loop/a.json", "/dev/full", "x" * 300])
def test_what_cannot_be_written_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(WriteError, match="cannot be written"):
        write_whole(tmp_path / place, lambda file: file.write(json.dumps([0] * 9000).encode()))


def test_a_long_name_leaves_room_for_the_temporary_one(tmp_path: Path) -> None:
    for letter in "aä":
        path = tmp_path / (letter * (250 // len(letter.encode())))
        write_whole(path, lambda file: file.write(b"whole"))
        assert path.read_bytes() == b"whole"


def test_of_two_writers_of_a_folder_the_second_is_refused(tmp_path: Path) -> None:
    begun, go = FORK.Event(), FORK.Event()

    def fill(text: str, slowly: bool = False) -> None:
        with whole_folder(tmp_path / "lib", "mark") as folder:
            (folder / "mark").write_text(text)
            if slowly:
                begun.set()
                assert go.wait(30)

    first = in_child(fill, "first", True, wait=False)
    assert begun.wait(30)
    with pytest.raises(WriteError, match="lib: another process is writing it"):
        fill("second")
    go.set()
    first.join(30)
    assert first.exitcode == 0 and (tmp_path / "lib" / "mark").read_text() == "first"
    begun.clear(), go.clear()
    killed = in_child(fill, "third", True, wait=False)
    assert begun.wait(30) and killed.pid
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    fill("fourth")
    assert (tmp_path / "lib" / "mark").read_text() == "fourth"
    assert [path.name for path in tmp_path.iterdir()] == ["lib"], "no lock of a killed writer either"


def test_a_full_disk_of_temporary_files_is_named(small_disk: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    words = rf"TMPDIR \({small_disk}\): no space left"
    with pytest.raises(WriteError, match=words), whole_folder(tmp_path / "lib", "mark"), temporary_folder() as folder:
        (folder / "a").write_bytes(bytes(300_000))
    with pytest.raises(WriteError, match=words), temporary_folder():
        raise RuntimeError("serialization failed")  # so says ONNX Runtime
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(RuntimeError, match="failed"), temporary_folder():
        raise RuntimeError("serialization failed")
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    (tmp_path / "big").write_bytes(bytes(300_000))
    with pytest.raises(WriteError, match=words), temporary_folder() as folder:
        shutil.copyfile(tmp_path / "big", folder / "copy")
    assert not list(small_disk.iterdir())
    with pytest.raises(NotADirectoryError, match="big"), temporary_folder():
        (tmp_path / "big" / "a").write_bytes(b"elsewhere")
