"""Nothing needs what POSIX systems alone have; texts are UTF-8 whatever the system's own encoding is."""

import ast
import csv
import json
import multiprocessing as mp
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tiny

from aed.datamodules.cache import building, features
from aed.datamodules.cache.store import FeatureCache
from aed.dsp import FrontendConfig

pytestmark = pytest.mark.usefixtures("processes")

ROOT = Path(__file__).parents[1]
SOURCES = [*sorted((ROOT / "aed").rglob("*.py")), *sorted((ROOT / "scripts").glob("*.py"))]

POSIX_ONLY = {
    "os": "O_CLOEXEC O_DIRECTORY O_NONBLOCK O_SYNC O_TMPFILE WNOHANG chown chroot confstr fchmod fchown fork forkpty "
    "getegid geteuid getgid getloadavg getpgid getpgrp getpriority getresuid getuid killpg lchown lockf major mkfifo "
    "mknod nice openpty posix_fadvise posix_fallocate posix_spawn pread preadv pwrite pwritev readv register_at_fork "
    "sched_getaffinity sched_setaffinity sched_yield sendfile setpgid setpriority setsid setuid statvfs sync sysconf "
    "tcgetpgrp ttyname uname wait wait3 wait4 waitid writev",
    "signal": "SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGUSR1 SIGUSR2 alarm pause pthread_kill "
    "setitimer siginterrupt sigwait",
    "time": "CLOCK_MONOTONIC clock_gettime pthread_getcpuclockid tzset",
    "socket": "AF_UNIX socketpair",
}
MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "curses", "readline"}


def uses(path: Path) -> list[str]:
    """POSIX-only names in a file, once for each use."""
    text = path.read_text(encoding="utf-8")
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if node.attr in POSIX_ONLY.get(node.value.id, "").split():
                found.append(name)
        if isinstance(node, ast.Import):
            found += [item.name for item in node.names if item.name in MODULES]
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            found.append(node.module)
    return sorted(found)


def test_names_that_windows_lacks_are_few_and_each_use_is_guarded() -> None:
    """A new one belongs behind a ``hasattr`` and into the run below."""
    found = {path.relative_to(ROOT).as_posix(): names for path in SOURCES if (names := uses(path))}
    assert found == {
        "aed/audio/serial_port.py": ["fcntl", "os.O_NONBLOCK", "termios"],
        "aed/datamodules/cache/building.py": ["signal.SIGKILL"],
        "aed/datamodules/cache/store.py": ["os.sched_getaffinity"],
        "aed/datamodules/cache/features.py": ["os.preadv"],
        "aed/base/files.py": ["fcntl"],
        "aed/base/processes.py": ["os.killpg", "signal.SIGKILL"],
        "aed/base/processors.py": ["os.sched_getaffinity"],
        "scripts/bench_scale.py": ["signal.SIGKILL", "signal.SIGKILL"],  # a benchmark that kills
    }


RUN = """
import builtins, os, signal, sys, types

def lacking(module, names):
    made = types.ModuleType(module.__name__)
    made.__dict__.update({name: value for name, value in vars(module).items() if name not in names})
    return made

given = {module.__name__: lacking(module, LACKED[module.__name__]) for module in (os, signal)}
given["os"].name = "nt"
given["sys"] = lacking(sys, ())
given["sys"].platform = "win32"
real = builtins.__import__

def imported(name, globals=None, locals=None, fromlist=(), level=0):
    "The project's own modules see another system; the libraries see this one."
    if (globals or {}).get("__name__", "").startswith("aed"):
        if name in MODULES:
            raise ImportError(name)
        if name in given:
            return given[name]
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = imported

from pathlib import Path
import tiny
from aed.audio import serial_port
from aed.base import files, processes, processors
from aed.datamodules.cache import building, features
from aed.run import pipeline

assert processors.num_cores() is None
assert serial_port.termios is None
assert files.fcntl is None and not hasattr(features.os, "preadv") and building.sys.platform == "win32"
assert not hasattr(processes.os, "killpg") and not hasattr(processes.signal, "SIGKILL")
building.FEW_CLIPS = 4
folder = Path(sys.argv[1])
small = ["experiment=demo", *tiny.DATA, "logger=csv", "callbacks.progress=null", "trainer.max_epochs=1"]
small += ["trainer.enable_progress_bar=false", "trainer.accelerator=cpu", "frontend.n_mels=16"]
small += ["frontend.patch_frames=32", "model/net=dscnn", "model.pretrained=false", "data.cache_workers=2"]
small += ["quantization.n_calibration=12"]
metrics = pipeline.run(tiny.composed(*small, folder=folder), folder)
assert "test_int8/clip_acc" in metrics
"""


def test_a_run_needs_none_of_them(tmp_path: Path) -> None:
    """From sounds to int8, in processes that lack all that Windows does; features by processes that are spawned."""
    lacked = {module: names.split() for module, names in POSIX_ONLY.items()}
    script = f"LACKED, MODULES = {lacked!r}, {MODULES!r}\n{RUN}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        env=environment | {"AED_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run" / "model_int8.onnx").is_file()
    assert [path for path in (tmp_path / "cache").rglob("*") if path.suffix == ".tmp"] == []


def test_reading_by_seeking_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    content.tofile(tmp_path / "shard")
    read = {}
    for way in ("preadv", "seek"):
        if way == "seek":
            monkeypatch.delattr(os, "preadv", raising=False)
        files = features.ShardFiles([str(tmp_path / "shard")])
        for first, frames in ((0, 64), (60, 4), (17, 1), (3, 20)):
            array = np.empty((frames, 8), np.float32)
            files.read(0, first * 32, array)
            read[way, first] = array
            np.testing.assert_array_equal(array, content[first : first + frames])
        with pytest.raises(features.AedError, match="shorter than it was"):
            files.read(0, 60 * 32, np.empty((5, 8), np.float32))


def test_processes_that_are_spawned_compute_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows and macOS: nothing but what is sent reaches a worker."""
    clips = tiny.data().table["path"].tolist()
    config = FrontendConfig(n_mels=16, patch_frames=32)
    monkeypatch.setattr(building, "FEW_CLIPS", 4)
    caches = []
    for method in ("fork", "spawn"):
        context = mp.get_context(method)
        monkeypatch.setattr(building.mp, "get_context", lambda _, context=context: context)
        caches.append(FeatureCache(tmp_path / method, config, 2))
        assert caches[-1].ensure(clips) == {}
    one, other = (cache.open(clips) for cache in caches)
    for number in range(len(clips)):
        np.testing.assert_array_equal(one.clip(number), other.clip(number))


TEXTS = {"read_text", "write_text"}


def nameless(path: Path) -> list[int]:
    """Lines that read or write text in whatever encoding the system has."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        keywords = {item.arg: item.value for item in node.keywords}
        modes = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
        modes += [item.value for key, item in keywords.items() if key == "mode" and isinstance(item, ast.Constant)]
        is_text = {
            "open": isinstance(node.func, ast.Name) or _of_path(node.func),
            "fdopen": True,
            "run": "text" in keywords or "universal_newlines" in keywords,
            "Popen": "text" in keywords or "universal_newlines" in keywords,
            "TextIOWrapper": True,
            "NamedTemporaryFile": bool(modes),
        }.get(name, name in TEXTS and isinstance(node.func, ast.Attribute))
        if name in ("open", "fdopen", "NamedTemporaryFile"):
            is_text = is_text and not any("b" in mode for mode in modes if len(mode) < 4)
        if is_text and "encoding" not in keywords and not any(mode == "utf-8" for mode in modes):
            found.append(node.lineno)
    return found


def _of_path(function: ast.expr) -> bool:
    """Whether ``x.open(...)`` is likely a path's: these open no recordings, archives, caches or sockets."""
    owner = function.value if isinstance(function, ast.Attribute) else function
    name = getattr(owner, "attr", getattr(owner, "id", ""))
    return isinstance(owner, ast.BinOp) or name in {
        "path",
        "file",
        "temporary",
        "part",
        "target",
        "metrics_csv",
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_name_their_encoding(path: Path) -> None:
    allowed = {"aed/target/stedgeai/backend.py": {"parse.read_text"}}
    text = path.read_text(encoding="utf-8").splitlines()
    lines = [text[number - 1].strip() for number in nameless(path)]
    known = allowed.get(path.relative_to(ROOT).as_posix(), set())
    assert [line for line in lines if not any(name in line for name in known)] == []


@pytest.mark.parametrize(
    ("code", "is_nameless"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(text)", True),
        ("path.open('rb')", False),
        ("path.open('w', newline='')", True),
        ("(folder / 'a').open()", True),
        ("os.fdopen(1, 'w')", True),
        ("subprocess.run(command, text=True)", True),
        ("cache.open(files)", False),
    ],
)
def test_the_scan_sees_texts(tmp_path: Path, code: str, is_nameless: bool) -> None:
    (tmp_path / "a.py").write_text(code, encoding="utf-8")
    assert bool(nameless(tmp_path / "a.py")) == is_nameless


def test_names_reach_output_and_files_in_a_system_of_another_encoding(tmp_path: Path) -> None:
    script = """
    import logging, sys
    from pathlib import Path
    from aed.scoring import tables
    from aed.settings.entry import clear_errors
    with clear_errors(logging.getLogger("x")):
        tables.write_json(Path("a.json"), {"name": "V\\xf6gel \\u9ce5"})
        tables.write_rows(Path("a.csv"), ["V\\xf6gel \\u9ce5"], [])
        tables.print_programs("test", [("V\\xf6gel \\u9ce5", {})])
        print("\\u9ce5")
    """
    system = {"PYTHONIOENCODING": "cp1252", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    warned = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning:aed"]
    done = subprocess.run(
        [sys.executable, *warned, "-c", textwrap.dedent(script)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | system,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Vögel \\u9ce5".encode("cp1252") in done.stdout
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "Vögel 鳥"}
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert next(csv.reader(file)) == ["Vögel 鳥"]


def test_names_that_a_run_makes_are_names_on_windows() -> None:
    """No colon, no reserved character, in what configs name folders and files."""
    for path in (ROOT / "configs").glob("*.yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            if "${now:" in line:
                pattern = line.partition("${now:")[2].partition("}")[0]
                assert not set(pattern) & set(':<>"|?*\\'), line
