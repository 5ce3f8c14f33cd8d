"""The Dockerfile does nothing but call scripts that CI runs, too, and its container is no root's."""

import os
import re
import shlex
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("container_*.sh"))
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    if line and not line.startswith("#")
]


def called() -> list[list[str]]:
    """The words of each RUN, its mounts left out."""
    runs = [shlex.split(rest) for name, rest in INSTRUCTIONS if name == "RUN"]
    return [[word for word in words if not word.startswith("--mount=")] for words in runs]


def test_each_run_is_one_script_with_plain_arguments() -> None:
    assert {name for name, _ in INSTRUCTIONS} <= {"FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    for script, *arguments in called():
        path = ROOT / Path(script).relative_to("/build")
        assert path in SCRIPTS and os.access(path, os.X_OK), script
        assert all(re.fullmatch(r"[\w/.-]+", word) for word in arguments), arguments
    assert {Path(words[0]).name for words in called()} == {path.name for path in SCRIPTS}


def test_ci_calls_the_same_scripts() -> None:
    ci = ROOT / ".ci/run"
    if not ci.is_file():
        pytest.skip("no .ci here, as in the sdist")
    text = ci.read_text(encoding="utf-8")
    for name in ("tools", "install", "check"):  # a user is not made on a machine that is not thrown away
        assert f"scripts/container_{name}.sh" in text


def test_the_container_is_not_roots_and_downloads_are_kept() -> None:
    assert [rest for name, rest in INSTRUCTIONS if name == "USER"][-1] not in ("root", "0")
    names = [name for name, _ in INSTRUCTIONS]
    assert names.index("USER") < names.index("ENTRYPOINT")
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for folder in ("/var/cache/apt", "/var/lib/apt/lists", "/root/.cache/pip"):
        assert f"--mount=type=cache,target={folder}" in text
    assert ":latest" not in text and re.search(r"^FROM \S+:[\w.-]+$", text, re.M)


def test_what_goes_in_is_what_the_package_is_built_from() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all(list(ROOT.glob(pattern)) for pattern in kept)
    for needed in ("pyproject.toml", "README.md", "LICENSE", "aed", "configs", *(f"scripts/{s.name}" for s in SCRIPTS)):
        assert any(fnmatch(needed, pattern) for pattern in kept), needed
    for refused in (".git", ".venv", "outputs", "mlruns.db", "data", "tests", "shared"):
        assert not any(fnmatch(refused, pattern) for pattern in kept), refused


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand-ins for what the scripts call; what they are called with."""
    log = tmp_path / "log"
    log.touch()
    for name in ("apt-get", "useradd", "python3", "rm"):
        stand_in = tmp_path / "bin" / name
        stand_in.parent.mkdir(exist_ok=True)
        made = 'mkdir -p "$3/bin"; ln -sf "$0" "$3/bin/python"' if name == "python3" else ":"
        stand_in.write_text(f'#!/bin/sh\necho "{name} $*" >> "{log}"\n[ "$2" != venv ] || {{ {made}; }}\n')
        stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin", prepend=os.pathsep)
    return log


def run(name: str, *arguments: str) -> None:
    subprocess.run([str(ROOT / f"scripts/container_{name}.sh"), *arguments], check=True, timeout=60)


def test_scripts_call_what_they_say(recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("tools")
    assert "apt-get install -y -qq --no-install-recommends gcc" in recorded.read_text()
    run("user", "aed", str(tmp_path / "work"), str(tmp_path / "cache"))
    assert "useradd --create-home --uid 1000" in recorded.read_text()
    assert (tmp_path / "work").stat().st_mode & 0o7777 == 0o1777
    monkeypatch.setenv("TORCH_INDEX", "https://example.org/cpu")
    run("install", str(tmp_path / "environment"))
    last = recorded.read_text().splitlines()[-1]
    assert last.endswith(f"--extra-index-url https://example.org/cpu {ROOT}/scripts/..[all]")
    monkeypatch.delenv("TORCH_INDEX")
    run("install", str(tmp_path / "environment"))
    assert "--extra-index-url" not in recorded.read_text().splitlines()[-1]


def test_the_last_step_trains_and_runs_c(tmp_path: Path, trains: None, compiles: None) -> None:
    program = tmp_path / "bin/aed"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aed "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "scripts/container_check.sh"), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if "arm-none-eabi-gcc" in done.stderr and done.returncode:
        pytest.skip("apt-get install gcc-arm-none-eabi qemu-system-arm")
    assert done.returncode == 0 and "mps2-an505" in done.stdout, done.stdout + done.stderr
