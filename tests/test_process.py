"""Tools that hang, fail, print garbage or are not there."""

import sys
import time

import psutil
import pytest

from aed.base.errors import AedError
from aed.base.processes import Stopped, finish, run_tool


def test_a_tool_that_is_missing_names_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AedError, match="arm-none-eabi-gcc: not found; apt-get install gcc-arm-none-eabi"):
        run_tool(["arm-none-eabi-gcc"], 1)


def test_a_failing_tool_shows_its_last_lines():
    with pytest.raises(AedError, match="line 19") as info:
        run_tool([sys.executable, "-c", "for i in range(20): print('line', i)\nraise SystemExit(3)"], 60)
    assert "line 11\n" not in str(info.value)
    assert finish([sys.executable, "-c", "raise SystemExit(3)"], 60).code == 3


def test_a_tool_that_finds_no_room_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full = "with open('/dev/full', 'w') as file: file.write('x')"
    with pytest.raises(AedError, match=rf"^TMPDIR \({tmp_path}\): no space left for .*python"):
        run_tool([sys.executable, "-c", full], 60)


def test_output_that_is_no_text_is_replaced():
    done = finish([sys.executable, "-c", "import sys; sys.stdout.buffer.write(bytes([255, 65]))"], 60)
    assert done.output == "\ufffdA"


def test_standard_input_is_empty():
    assert (
        run_tool([sys.executable, "-c", "print(repr(input() if 0 else __import__('sys').stdin.read()))"], 60) == "''\n"
    )


@pytest.mark.usefixtures("processes")
def test_a_hanging_tool_is_stopped_with_its_children(tmp_path):
    pid = tmp_path / "pid"
    child = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    parent = f"import subprocess, sys; print('begun', flush=True); subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(AedError, match="did not end within 3 s and was stopped; begun"):
        run_tool([sys.executable, "-c", parent], 3)
    for _ in range(100):
        if not psutil.pid_exists(int(pid.read_text())) or psutil.Process(int(pid.read_text())).status() == "zombie":
            return
        time.sleep(0.05)
    raise AssertionError("the child lives on")


@pytest.mark.usefixtures("processes")
def test_all_a_stopped_tool_said_is_kept():
    talk = "import time\nfor i in range(50): print('line', i, flush=True)\ntime.sleep(600)"
    with pytest.raises(Stopped) as info:
        finish([sys.executable, "-c", talk], 3)
    assert "line 0\n" in info.value.output and "line 0\n" not in str(info.value)
