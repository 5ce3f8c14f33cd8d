"""What a command loads: an exported model is measured without torch, and predicts without what trained it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nets
import numpy as np
import pytest
import soundfile as sf
import torch

from aed import datamodules
from aed.base.processors import num_cores
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantize

TRAINING = {"lightning", "pytorch_lightning", "torchmetrics", "mlflow", "tensorboard", "sklearn", "matplotlib", "h5py"}
ANALYSIS = {"torch", "torchaudio", "scipy", "pandas"}
HEAVY = TRAINING | ANALYSIS

REPORTING = """
import atexit, importlib, json, sys
from pathlib import Path
report, module, *sys.argv[1:] = sys.argv[1:]
atexit.register(lambda: Path(report).write_text(json.dumps(sorted({name.split(".")[0] for name in sys.modules}))))
opened = importlib.import_module(module)
if sys.argv[1:]:
    opened.main()
"""
"""Imports a module, or runs a door with the arguments of a command line, and leaves the packages loaded by its end."""


def run(folder: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], set[str]]:
    report = folder / "loaded.json"
    command = [sys.executable, "-c", REPORTING, str(report), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=folder)
    return done, set(json.loads(report.read_text()))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    int8 = quantize(graph, nets.patches(16, seed=1).numpy(), QuantizeConfig())
    path = tmp_path_factory.mktemp("startup") / "model_int8.onnx"
    save_model(path, int8, ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd")))
    return path


@pytest.mark.parametrize(
    ("module", "refused"),
    [
        ("aed.predict", HEAVY),
        ("aed.benchmark", HEAVY),
        ("aed.detect", HEAVY),
        ("aed.run.predict", HEAVY),
        ("aed.run.detect", HEAVY),
        ("aed.run.benchmark", HEAVY),
        ("aed.inference.opening", HEAVY),
        ("aed.target.emulator.backend", HEAVY),
        ("aed.target.firmware.library", HEAVY),
        ("aed.datamodules.sources.clips", HEAVY - {"pandas"}),
        ("aed.datamodules.cache.building", HEAVY - {"torch", "torchaudio"}),
    ],
)
def test_import_loads_nothing_heavy(module: str, refused: set[str], tmp_path: Path, processes: None) -> None:
    done, loaded = run(tmp_path, module)
    assert done.returncode == 0, done.stderr
    assert "aed" in loaded and loaded & refused == set()


def test_benchmark_on_an_emulated_board_runs_without_torch(model: Path, tmp_path: Path, compiles: None) -> None:
    if shutil.which("arm-none-eabi-gcc") is None or shutil.which("qemu-system-arm") is None:
        pytest.skip("apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
    done, loaded = run(
        tmp_path, "aed.benchmark", f"model={model}", "board=mps2-an505", "folder=out", "emulator.inputs=1"
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out/target/emulator/mps2-an505/report.json").read_text())
    assert report["instructions"]["value"] > 0 and report["details"]["differing_outputs"] == 0
    assert loaded & HEAVY == set()


def test_predict_loads_torch_for_a_recording_and_nothing_of_training(
    model: Path, tmp_path: Path, processes: None
) -> None:
    sf.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).normal(size=16000), 16000)
    done, loaded = run(tmp_path, "aed.predict", f"model={model}", "a.wav", "format=csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("a.wav,0.000,")
    assert "torch" in loaded and loaded & TRAINING == set()


@pytest.mark.parametrize(
    "arguments", [("model=no.onnx", "a.wav"), ("model={model}", "b.wav"), ("model={model}", "top=0")]
)
def test_predict_refuses_without_torch(
    arguments: tuple[str, ...], model: Path, tmp_path: Path, processes: None
) -> None:
    sf.write(tmp_path / "a.wav", np.zeros(16000), 16000)
    words = [word.format(model=model) for word in arguments]
    done, loaded = run(tmp_path, "aed.predict", *words, *(() if "b.wav" in words else ("a.wav",)))
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert loaded & HEAVY == set()


THREADS = """
import os, sys
if sys.argv[1:]:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from aed.export.runtime import usual_threads
before = usual_threads()
import torch
torch_has = torch.get_num_threads()
torch.set_num_threads(torch_has + 1)
print(before, torch_has, usual_threads())
"""


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="a torch without MKL counts otherwise")
@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system does not tell its cores")
@pytest.mark.parametrize(
    ("variables", "pinned"),
    [
        ({}, ()),
        ({"OMP_NUM_THREADS": "64"}, ()),
        ({"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "1"}, ()),
        ({}, ("pinned",)),
    ],
)
def test_threads_are_those_torch_would_have(
    variables: dict[str, str], pinned: tuple[str, ...], processes: None
) -> None:
    own = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", THREADS, *pinned]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=own | variables)
    assert done.returncode == 0, done.stderr
    before, torch_has, after = map(int, done.stdout.split())
    assert before == torch_has
    assert after == torch_has + 1, "a loaded torch is asked"


def test_threads_of_a_core_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, siblings in enumerate(("0,2", "1,3", "0,2", "1,3")):
        folder = tmp_path / f"cpu{number}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    for allowed, cores in (({0, 1, 2, 3}, 2), ({0, 2}, 1), ({1}, 1), ({1, 7, 8}, 3)):  # of 7 and 8 nothing is said
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, allowed=allowed: allowed, raising=False)
        assert num_cores(tmp_path) == cores
    monkeypatch.delattr(os, "sched_getaffinity")
    assert num_cores(tmp_path) is None


def test_names_of_the_data_modules_are_there_when_asked_for() -> None:
    assert {getattr(datamodules, name).__name__ for name in datamodules.__all__} == set(datamodules.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        datamodules.Nothing  # noqa: B018
