"""The main job uses real data where the environment names it, and looks nowhere else."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def main_job() -> ModuleType:
    spec = importlib.util.spec_from_file_location("main_job", ROOT / "scripts" / "main_job.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_real_data_of_the_environment_is_used(main_job: ModuleType, esc10: Path, pretrained: Path) -> None:
    experiment, reason = main_job.choose()
    assert experiment == "esc10_yamnet" and f"400 clips of ESC-10 in {esc10}" in reason


def test_without_data_and_network_it_says_what_is_missing(
    main_job: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AED_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    experiment, reason = main_job.choose()
    assert experiment == "demo" and "synthetic sounds" in reason and "AED_DATA_DIR" in reason


def test_nothing_that_users_run_names_a_folder_beside_the_checkout() -> None:
    files = [path for folder in ("aed", "scripts", "configs") for path in (ROOT / folder).rglob("*") if path.is_file()]
    text = {path: path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".yaml", ".json")}
    assert text and not [path for path, content in text.items() if "../shared" in content or '"shared"' in content]
