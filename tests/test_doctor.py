"""What is here, what is missing, and what to do about it."""

import subprocess
import sys

import pytest

from aed.base.errors import AedError
from aed.run import doctor
from aed.run.doctor import CHECKS, Check, examine


def names_of(*checks: str) -> list[Check]:
    return [check for check in CHECKS if check.name in checks]


def test_what_always_has_to_be_there_is_there(capsys):
    assert examine(names_of("python", "torch", "torchaudio", "audio", "cache")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:5]] == ["ok"] * 5


@pytest.mark.parametrize("name", ["gcc", "arm-gcc", "qemu", "stedgeai", "cubeide", "programmer", "signing-tool"])
def test_a_missing_tool_is_one_line_that_says_what_to_do(name, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    for variable in ("STEDGEAI_PATH", "STEDGEAI_CORE_DIR"):
        monkeypatch.delenv(variable, raising=False)
    assert examine(names_of(name)) == 0, "it only adds to the rest"
    assert examine(names_of(name), [name]) == 1
    first, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(name) and " not found" in first and "install" in first


def test_credentials_are_named_and_never_shown(capsys, monkeypatch):
    for variable in ("STEDGEAI_CLOUD_TOKEN", "STEDGEAI_CLOUD_USER", "STEDGEAI_CLOUD_PASSWORD", "stmai_username"):
        monkeypatch.delenv(variable, raising=False)
    assert examine(names_of("cloud"), ["cloud"]) == 1
    assert "set STEDGEAI_CLOUD_TOKEN" in capsys.readouterr().out
    monkeypatch.setenv("STEDGEAI_CLOUD_TOKEN", "hunter2")
    assert examine(names_of("cloud"), ["cloud"]) == 0
    assert "hunter2" not in capsys.readouterr().out


def test_data_and_weights_that_are_missing_say_where_to_put_them(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("AED_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AED_PRETRAINED_DIR", str(tmp_path))
    monkeypatch.setenv("AED_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert examine(names_of("data", "weights")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.split()[1] == "-" and str(tmp_path) in line for line in lines[:2])


def test_anything_broken_is_a_line_not_a_traceback(capsys):
    def broken() -> str:
        raise RuntimeError("two\nlines")

    def fine() -> str:
        return "good"

    assert examine([Check("one", broken, needed=True), Check("two", fine)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "one          FAULT RuntimeError: two lines",
        "two          ok    good",
        "",
        "to put right: one",
    ]


def test_serial_ports_without_a_right_say_so(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "serial_ports", lambda: ["/dev/nowhere"])
    assert examine(names_of("serial")) == 0
    assert "dialout" in capsys.readouterr().out


def test_the_command():
    wrong = subprocess.run([sys.executable, "-m", "aed.doctor", "gremlin"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "gremlin" in wrong.stderr and "qemu" in wrong.stderr


def test_an_error_of_ours_is_said_in_its_words(capsys):
    def ill() -> str:
        raise AedError("do this")

    examine([Check("one", ill)])
    assert capsys.readouterr().out.splitlines()[0] == "one          -     do this"
