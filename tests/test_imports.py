"""A folder is a layer: every file is in one, and imports point downwards."""

import ast
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import aed

PACKAGE = Path(aed.__file__).parent
FRAMEWORKS = {"lightning", "pytorch_lightning", "hydra", "omegaconf"}
PURE = (
    "aed.base",
    "aed.audio",
    "aed.dsp",
    "aed.scoring",
    "aed.modules.nets",
    "aed.export",
    "aed.inference",
    "aed.target",
)
LAYERS = (
    ("verbs",),
    ("run",),
    ("settings",),
    ("target",),
    ("inference",),
    ("export",),
    ("datamodules", "modules"),
    ("scoring",),
    ("dsp",),
    ("audio",),
    ("base",),
)
"""Folders of aed/ from the top down; verbs: aed/*.py. A file imports from its own folder and lower layers."""


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


@functools.cache  # each file is parsed once, not once a layer
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
        ("from aed import run", "aed.x", False, {"aed.run"}),
        ("from aed.run.pipeline import run as go", "aed.x", False, {"aed.run.pipeline.run"}),
        ("def f():\n    import hydra", "aed.x", False, {"hydra"}),
        ("if 0:\n    from lightning.pytorch import Trainer", "aed.x", False, {"lightning.pytorch.Trainer"}),
        ("from . import run", "aed.x", False, {"aed.run"}),
        ("from ..run import pipeline", "aed.dsp.x", False, {"aed.run.pipeline"}),
        ("from .x import y", "aed.dsp", True, {"aed.dsp.x.y"}),
    ],
)
def test_scan_finds_imports(source: str, importer: str, is_package: bool, names: set[str]) -> None:
    assert set(imported(source, importer, is_package)) == names


def test_scan_sees_known_imports_of_the_package() -> None:
    assert ("aed.run.cli", "aed.datamodules.PatchDataModule") in imports_of("aed.run.cli")
    assert any(lies_in(name, *FRAMEWORKS) for _, name in imports_of("aed.modules.classifier"))


@functools.cache
def folders() -> set[str]:
    return {path.relative_to(PACKAGE).parts[0] for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE}


def test_every_folder_is_a_layer_and_every_layer_a_folder() -> None:
    assert {name for layer in LAYERS for name in layer} == folders() | {"verbs"}


def test_every_file_beside_the_folders_is_a_verb() -> None:
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert path.stem.startswith("__") or "main" in functions, f"{path.name}: no verb; it needs a folder"


def layer_of(module: str) -> str:
    """Layer of a module of ours."""
    first = module.split(".")[1] if "." in module else "verbs"
    return first if first in folders() else "verbs"


RANK = {name: number for number, layer in enumerate(LAYERS) for name in layer}


@pytest.mark.parametrize("layer", RANK)
def test_imports_point_downwards(layer: str) -> None:
    every = {pair for pair in imports_of("aed") if lies_in(pair[1], "aed") and layer_of(pair[0]) == layer}
    upward = {
        (importer, name)
        for importer, name in every
        if name != "aed" and layer_of(name) != layer and RANK[layer_of(name)] <= RANK[layer]
    }
    assert every or layer == "base"
    assert upward == set()


@pytest.mark.parametrize("package", PURE)
def test_pure_package_imports_neither_lightning_nor_hydra(package: str) -> None:
    assert imports_of(package)
    assert {pair for pair in imports_of(package) if lies_in(pair[1], *FRAMEWORKS)} == set()


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
    files = [path for name in PURE for path in (PACKAGE.parent / name.replace(".", "/")).rglob("*.py")]
    names = sorted(module_name(path) for path in files if path.name != "__main__.py")
    process = subprocess.run(
        [sys.executable, "-c", LOADED, *names], capture_output=True, text=True, check=False, timeout=300
    )
    assert process.returncode == 0, process.stderr
    return {name: set(modules) for name, modules in json.loads(process.stdout).items()}


def test_importing_a_pure_package_loads_neither_lightning_nor_hydra(
    loaded: dict[str, set[str]], processes: None
) -> None:
    assert {name.split(".")[1] for name in loaded} == {name.split(".")[1] for name in PURE}
    assert {name: modules & FRAMEWORKS for name, modules in loaded.items() if modules & FRAMEWORKS} == {}
