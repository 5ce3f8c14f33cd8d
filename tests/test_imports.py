"""Imports point downwards: entry points, pipeline, {datamodules, modules, export, target}, dsp."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aed

PACKAGE = Path(aed.__file__).parent
FRAMEWORKS = {"lightning", "pytorch_lightning", "hydra", "omegaconf"}
PURE = ("aed.dsp", "aed.modules.nets", "aed.export", "aed.target")
ENTRY_POINTS = (
    "train",
    "cli",
    "evaluate",
    "predict",
    "benchmark",
    "deploy",
    "import_keras",
    "models",
    "doctor",
    "data",
)
RUN = ("pipeline", "training", "conversion", "evaluation", "prediction", "state", "entry", "config", "sweep", "report")
RUN += ("advice", "typed", "takeover", "resume", "folders", "loggers")
RUN += ("callbacks", "costs", "decisions", "delivery", "hearing", "inspection", "pictures", "sounds")
UPPER = tuple(f"aed.{name}" for name in (*ENTRY_POINTS, *RUN))
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "aed.datamodules": ("aed.modules", "aed.export", "aed.target", *UPPER),
    "aed.modules": ("aed.datamodules", "aed.export", "aed.target", *UPPER),
    "aed.export": ("aed.datamodules", "aed.target", *UPPER),
    "aed.target": ("aed.datamodules", *UPPER),
    "aed.pipeline": tuple(f"aed.{name}" for name in ENTRY_POINTS),
}


def module_name(path: Path, root: Path = PACKAGE.parent) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def absolute(node: ast.ImportFrom, importer: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    package = importer.split(".") if is_package else importer.split(".")[:-1]
    base = package[: len(package) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


def imported(source: str, importer: str, is_package: bool = False) -> Iterator[str]:
    """Every name an import statement mentions, wherever it stands: ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, importer, is_package)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def lies_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def imports_of(package: str) -> set[tuple[str, str]]:
    """Pairs (module, what it imports) of every file in a package or module of ours; none where it does not exist."""
    files = [path for path in PACKAGE.rglob("*.py") if lies_in(module_name(path), package)]
    return {
        (module_name(path), name)
        for path in files
        for name in imported(path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py")
    }


@pytest.mark.parametrize(
    ("source", "importer", "is_package", "names"),
    [
        ("import a.b, c as d", "aed.x", False, {"a.b", "c"}),
        ("from aed import pipeline", "aed.x", False, {"aed.pipeline"}),
        ("from aed.pipeline import run as go", "aed.x", False, {"aed.pipeline.run"}),
        ("def f():\n    import hydra", "aed.x", False, {"hydra"}),
        ("if 0:\n    from lightning.pytorch import Trainer", "aed.x", False, {"lightning.pytorch.Trainer"}),
        ("from . import pipeline", "aed.x", False, {"aed.pipeline"}),
        ("from ..pipeline import run", "aed.dsp.x", False, {"aed.pipeline.run"}),
        ("from .x import y", "aed.dsp", True, {"aed.dsp.x.y"}),
    ],
)
def test_scan_finds_imports(source: str, importer: str, is_package: bool, names: set[str]) -> None:
    assert set(imported(source, importer, is_package)) == names


def test_scan_sees_known_imports_of_the_package() -> None:
    assert ("aed.cli", "aed.datamodules.PatchDataModule") in imports_of("aed.cli")
    assert any(lies_in(name, *FRAMEWORKS) for _, name in imports_of("aed.modules.classifier"))


def test_dsp_imports_nothing_of_ours_but_itself_and_errors() -> None:
    ours = {pair for pair in imports_of("aed.dsp") if lies_in(pair[1], "aed")}
    assert ours
    assert {pair for pair in ours if not lies_in(pair[1], "aed.dsp", "aed.errors")} == set()


@pytest.mark.parametrize("package", PURE)
def test_pure_package_imports_neither_lightning_nor_hydra(package: str) -> None:
    assert {pair for pair in imports_of(package) if lies_in(pair[1], *FRAMEWORKS)} == set()


@pytest.mark.parametrize("package", FORBIDDEN)
def test_imports_point_downwards(package: str) -> None:
    assert {pair for pair in imports_of(package) if lies_in(pair[1], *FORBIDDEN[package])} == set()


@pytest.mark.parametrize("package", ["aed.errors", "aed.paths", "aed.files", "aed.console", "aed.download"])
def test_helpers_stand_below_everything(package: str) -> None:
    allowed = ("aed.errors", "aed.paths", "aed.files", "aed.console", "aed.download")
    ours = {pair for pair in imports_of(package) if lies_in(pair[1], "aed")}
    assert {pair for pair in ours if not lies_in(pair[1], *allowed)} == set()


def test_what_lower_layers_share_imports_no_upper_one() -> None:
    for name in ("aed.override", "aed.console", "aed.recordings"):
        ours = {pair for pair in imports_of(name) if lies_in(pair[1], "aed")}
        assert {pair for pair in ours if not lies_in(pair[1], "aed.errors", "aed.dsp")} == set()


LOADED = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    importlib.import_module(name)
    found[name] = sorted({module.split(".")[0] for module in sys.modules})
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Top-level modules in memory after importing each pure module, one after the other, in a fresh process."""
    files = [path for name in ("dsp", "modules/nets", "export", "target") for path in (PACKAGE / name).rglob("*.py")]
    names = sorted(module_name(path) for path in files if path.name != "__main__.py")
    process = subprocess.run(
        [sys.executable, "-c", LOADED, *names], capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return {name: set(modules) for name, modules in json.loads(process.stdout).items()}


@pytest.mark.parametrize("package", ["aed.dsp", "aed.modules.nets"])
def test_importing_a_pure_package_loads_neither_lightning_nor_hydra(loaded: dict[str, set[str]], package: str) -> None:
    inside = {name: modules for name, modules in loaded.items() if lies_in(name, package)}
    assert inside
    assert {name: modules & FRAMEWORKS for name, modules in inside.items() if modules & FRAMEWORKS} == {}


def test_later_packages_load_neither_lightning_nor_hydra_once_they_exist(loaded: dict[str, set[str]]) -> None:
    assert {name: modules & FRAMEWORKS for name, modules in loaded.items() if modules & FRAMEWORKS} == {}
