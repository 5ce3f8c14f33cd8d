"""The one file that imports torchaudio copes with an extension that cannot be loaded, and with nothing else."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import aed

PACKAGE = Path(aed.__file__).parent
GUARD = PACKAGE / "dsp" / "_torchaudio.py"

FAIL_ON_IMPORT = """
import sys

class Failing:
    asked = 0

    def find_spec(self, name, path=None, target=None):
        if name == {module!r} and Failing.asked < {times}:
            Failing.asked += 1
            raise {error}

sys.meta_path.insert(0, Failing())
"""

USE_TRANSFORMS = """
import json

import torch
from aed.dsp._torchaudio import transforms
import torchaudio

stft = transforms.Spectrogram(n_fft=64, hop_length=16, center=False, power=1, window_fn=torch.ones)
wave = torch.cos(2 * torch.pi * 4 / 64 * torch.arange(160))
facts = {
    "asked": Failing.asked,
    "peak_bins": stft(wave).argmax(dim=0).tolist(),
    "peak": float(stft(wave).max()),
    "stand_in": getattr(sys.modules["torchaudio._extension"], "__file__", None) is None,
    "same_module": transforms is torchaudio.transforms,
}
print(json.dumps(facts))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def without_extension() -> dict[str, Any]:
    """What a process finds in which torchaudio's extension cannot be loaded."""
    missing = "OSError('libc10_cuda.so: cannot open')"
    failing = FAIL_ON_IMPORT.format(module="torchaudio._extension", error=missing, times=9)
    process = run(failing + USE_TRANSFORMS)
    assert process.returncode == 0, process.stderr
    facts: dict[str, Any] = json.loads(process.stdout)
    return facts


@pytest.mark.usefixtures("computes")
def test_extension_was_tried_once_and_replaced(without_extension: dict[str, Any]) -> None:
    assert without_extension["asked"] == 1
    assert without_extension["stand_in"]


def test_transforms_compute_without_the_extension(without_extension: dict[str, Any]) -> None:
    assert without_extension["peak_bins"] == [4] * 7
    assert without_extension["peak"] == pytest.approx(32, abs=1e-3)  # half the length: a cosine has two lines


def test_transforms_are_those_of_the_one_torchaudio_left_in_memory(without_extension: dict[str, Any]) -> None:
    assert without_extension["same_module"]


@pytest.mark.parametrize("error", ["RuntimeError('broken')", "ImportError('broken')"])
def test_any_other_failure_of_torchaudio_is_shown_and_not_tried_again(error: str) -> None:
    process = run(FAIL_ON_IMPORT.format(module="torchaudio", error=error, times=1) + "import aed.dsp._torchaudio")
    assert process.returncode == 1
    assert process.stderr.strip().endswith(f"{error.split('(')[0]}: broken")


def test_failure_to_load_torchaudio_even_with_the_stand_in_is_shown() -> None:
    failing = FAIL_ON_IMPORT.format(module="torchaudio", error="OSError('broken')", times=9)
    process = run(failing + "import aed.dsp._torchaudio")
    assert process.returncode == 1
    assert process.stderr.strip().endswith("OSError: broken")


def imports_torchaudio(source: str) -> bool:
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.append(node.module or "")
    return any(name.split(".")[0] == "torchaudio" for name in names)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torchaudio", True),
        ("import torch, torchaudio.transforms as T", True),
        ("def f():\n    from torchaudio.functional import resample", True),
        ("from aed.dsp._torchaudio import transforms", False),
        ("from . import torchaudio", False),
        ("import torchaudio_extras", False),
    ],
)
def test_scan_finds_imports_of_torchaudio(source: str, found: bool) -> None:
    assert imports_torchaudio(source) is found


@pytest.mark.usefixtures("computes")
def test_no_other_file_imports_torchaudio() -> None:
    importers = [path for path in PACKAGE.rglob("*.py") if imports_torchaudio(path.read_text(encoding="utf-8"))]
    assert importers == [GUARD]
