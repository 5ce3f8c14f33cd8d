"""What is installed without a checkout: sdist and wheel are complete, and the wheel alone goes from sounds to C."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import aed
from aed.base.paths import CONFIG_DIR, ZOO_DIR, shipped_dir

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.usefixtures("processes")


def finish(command: list[str | Path], folder: Path, **variables: str) -> str:
    """Output of a command that succeeded; it sees no checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(kind: str, source: Path, folder: Path) -> Path:
    finish([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder], source)
    (built,) = folder.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel: pip install -e '.[dev]'")
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return source


@pytest.fixture(scope="module")
def wheel(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from the sdist, which hence holds all that it takes."""
    return build("wheel", unpacked, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new environment with the wheel, and with the libraries of this one but not its ``aed``."""
    folder = tmp_path_factory.mktemp("environment")
    finish([sys.executable, "-m", "venv", "--without-pip", folder], folder)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel]
    finish(pip, folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(finish([python, "-c", code], folder).strip())
    # a folder named in a .pth gives its packages, but its own .pth files, editable installs among them, are not read
    libraries = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    return python


def tracked(*folders: str) -> set[str]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if path.suffix != ".pyc"}


def test_wheel_and_sdist_hold_every_file(wheel: Path, unpacked: Path) -> None:
    wanted = {re.sub(r"^(configs|zoo)/", r"aed/\1/", name) for name in tracked("aed", "configs", "zoo")}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == wanted
    assert {"aed/py.typed", "aed/configs/train.yaml", "aed/target/codegen/c/aed_conv.c"} <= held
    missing = {
        name for name in tracked("aed", "configs", "zoo", "tests", "docs", "scripts") if not (unpacked / name).is_file()
    }
    assert missing == set()


def test_a_wheel_of_the_checkout_is_that_of_the_sdist(wheel: Path, sdist: Path, tmp_path: Path) -> None:
    assert build("wheel", ROOT, tmp_path).read_bytes() == wheel.read_bytes()


def test_the_version_is_said_once(wheel: Path, python: Path, tmp_path: Path) -> None:
    assert wheel.name.startswith(f"aed-{aed.__version__}-py3-none-any")
    code = "import aed; from importlib.metadata import version; print(aed.__file__, aed.__version__, version('aed'))"
    file, own, metadata = finish([python, "-c", code], tmp_path).split()
    assert own == metadata == aed.__version__ and Path(file).is_relative_to(python.parents[1])
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_configs_are_inside_an_installed_package_and_beside_that_of_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "aed"
    assert shipped_dir(package, "configs") == tmp_path / "configs"
    (package / "configs").mkdir(parents=True)
    assert shipped_dir(package, "configs") == package / "configs"
    assert (CONFIG_DIR / "train.yaml").is_file() and CONFIG_DIR == ROOT / "configs" and ZOO_DIR == ROOT / "zoo"


def test_the_wheel_alone_goes_from_sounds_to_c(python: Path, tmp_path: Path) -> None:
    own = {"AED_CACHE_DIR": str(tmp_path / "cache"), "AED_DATA_DIR": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    small = ["data.clips.class_names=[alarm,hum,rain]", "data.clips.sources_per_class=5"]
    small += ["data.clips.takes_per_source=1", "trainer.max_epochs=1", "logger=csv", "hydra.run.dir=run"]
    finish([python, "-m", "aed.train", "experiment=demo", *small], tmp_path, **own)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert "test_int8/clip_acc" in metrics
    sf.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(32000), 16000)
    said = finish([python, "-m", "aed.predict", "model=run/model_int8.onnx", "a.wav", "format=json"], tmp_path, **own)
    (result,) = json.loads(said)
    assert set(result["posteriors"]) == {"alarm", "hum", "rain"}
    shipped = finish([python, "-m", "aed.predict", "model=zoo/esc10_200k", "a.wav", "format=json"], tmp_path, **own)
    assert len(json.loads(shipped)[0]["posteriors"]) == 10
    finish([python, "-m", "aed.deploy", "model=run/model_int8.onnx", "target=c", "folder=firmware"], tmp_path, **own)
    assert (tmp_path / "firmware/src/aed_conv.c").is_file()
    if missing := [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if not shutil.which(tool)]:
        pytest.skip(f"benchmark not run: {missing} are missing here")
    board = ["board=mps2-an505", "emulator.inputs=1", "hydra.run.dir=cost"]
    finish([python, "-m", "aed.benchmark", "model=run/model_int8.onnx", *board], tmp_path, **own)
    (report,) = (tmp_path / "cost").rglob("report.json")
    assert json.loads(report.read_text())["flash_bytes"]["value"] > 100_000


TYPED = """
from typing_extensions import assert_type
import aed

model = aed.load("model.onnx")
assert_type(model, aed.Model)
results = model.predict(["a.wav"])
assert_type(results, list[aed.RecordingPrediction])
assert_type(results[0].posteriors, dict[str, float])
assert_type(results[0].timeline[0].label, str)
assert_type(model.frontend.n_mels, int)
aed.FrontendConfig(n_mels="64")  # type: ignore[arg-type]
aed.recognise  # type: ignore[attr-defined]
"""


def test_a_type_checker_sees_the_types_of_the_installed_package(python: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(TYPED)
    # libraries are not followed, which would take minutes: none of their types is in the interface
    sections = ["[mypy]\nstrict = True\nfollow_imports = skip", "[mypy-aed.*]\nfollow_imports = silent"]
    for library in ("numpy", "onnx", "pandas", "scipy"):
        sections.append(f"[mypy-{library}.*]\nfollow_imports = skip\nfollow_imports_for_stubs = True")
    (tmp_path / "mypy.ini").write_text("\n".join(sections))
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--config-file", "mypy.ini", "user.py"]
    assert "Success" in finish([*command, "--cache-dir", tmp_path / "cache"], tmp_path)


FAKE = """#!/bin/sh
case "$1" in
  -c) exit {status} ;;
  --version) echo "Python {version}" ;;
  -m) shift; echo "$0 $*" >> "$LOG"; if [ "$1" = venv ]; then mkdir -p .venv/bin && cp "$0" .venv/bin/python; fi ;;
esac
"""
"""A Python that cannot be used, as a shim of a version manager without it, or that logs what it is asked to do."""


def make_install(folder: Path, pythons: dict[str, int], *arguments: str) -> subprocess.CompletedProcess[str]:
    """``make install`` where only some Pythons are on the PATH: name -> exit code of the check."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "pyproject.toml").touch()
    programs = folder / "bin"
    programs.mkdir()
    for tool in ("sh", "touch", "mkdir", "cp"):
        (programs / tool).symlink_to(shutil.which(tool) or "")
    for name, status in pythons.items():
        (programs / name).write_text(FAKE.format(status=status, version=name))
        (programs / name).chmod(0o755)
    make = shutil.which("make") or pytest.skip("make is not installed here")
    environment = {"PATH": str(programs), "LOG": str(folder / "log")}
    command = [make, "install", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("pythons", "arguments", "chosen"),
    [
        ({"python3.13": 0, "python3.12": 0, "python3.11": 0}, (), "python3.13"),
        ({"python3.13": 127, "python3.12": 1, "python3.11": 0, "python3": 0}, (), "python3.11"),
        ({"python3": 0}, (), "python3"),
        ({"python3.13": 0, "python3.11": 0}, ("PYTHON=python3.11",), "python3.11"),
    ],
)
def test_make_takes_the_first_python_that_can_be_used(tmp_path, pythons, arguments, chosen) -> None:
    done = make_install(tmp_path, pythons, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Python: {tmp_path}/bin/{chosen}, Python {chosen}" in done.stdout
    log = (tmp_path / "log").read_text().splitlines()
    assert log[0].endswith(f"/{chosen} venv --clear .venv") and log[-1].endswith("install --quiet -e .[all,dev]")


def test_make_says_what_is_needed_where_no_python_can_be_used(tmp_path) -> None:
    done = make_install(tmp_path, {"python3": 1, "python3.13": 127})
    assert done.returncode != 0 and not (tmp_path / ".venv").exists()
    assert "no usable Python among: python3.13 python3.12 python3.11 python3" in done.stderr
    assert "3.11 to 3.13" in done.stderr and "make install PYTHON=" in done.stderr


def test_the_releases_of_python_are_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert "(3, 11) <= sys.version_info < (3, 14)" in (ROOT / "Makefile").read_text()
    checks = [
        line for path in (ROOT / "aed").rglob("*.py") for line in path.read_text().splitlines() if "(3, 11)" in line
    ]
    assert checks and all("(3, 11) <= sys.version_info[:2] < (3, 14)" in line for line in checks)
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited and cited[1] == aed.__version__
    assert f"## [{aed.__version__}]" in (ROOT / "CHANGELOG.md").read_text()
