"""The Python interface: its documented examples run, and its numbers are those of the predict verb."""

import doctest
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
from torch import Tensor, nn

import aed
import aed.inference.api
from aed.base.errors import AudioError
from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.run.predict import predict_files

FRONTEND = replace(tiny.FRONTEND, min_length_s=0.5)


class Loudness(nn.Module):
    """White noise fills all bands of a patch, a tone few: the mean of a patch tells them apart."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2)
        self.head.weight.data[:] = Tensor([[2.0], [-2.0]])
        self.head.bias.data[:] = 0

    def forward(self, patches: Tensor) -> Tensor:
        return self.head(patches.mean(dim=(2, 3)))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory of the examples: model.onnx and recordings/."""
    monkeypatch.chdir(tmp_path)
    card = ModelCard(frontend=FRONTEND, class_names=("hiss", "tone"))
    save_model(Path("model.onnx"), to_onnx(Loudness().eval(), FRONTEND, ExportConfig()), card)
    Path("recordings").mkdir()
    time = np.arange(16000) / 16000
    sf.write("recordings/hiss.wav", 0.3 * np.random.default_rng(0).uniform(-1, 1, len(time)), 16000)
    sf.write("recordings/tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time), 16000)
    yield tmp_path


@pytest.mark.parametrize("module", [aed, aed.inference.api, aed.dsp.frontend], ids=lambda module: module.__name__)
def test_examples_give_what_they_show(folder, module):
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for test in finder.find(module, extraglobs={"aed": aed}) if test.examples]
    assert examples
    for test in examples:
        assert doctest.DocTestRunner(optionflags=doctest.REPORT_NDIFF).run(test).failed == 0, test.name


@pytest.mark.parametrize("settings", [{}, {"timeline": True}, {"unknown_threshold": 0.999, "mode": "stream", "top": 2}])
def test_results_are_those_of_the_predict_verb(folder, capsys, settings):
    predict_files("model.onnx", ["recordings"], format="json", **settings)
    verb = json.loads(capsys.readouterr().out)
    results = [asdict(result) for result in aed.load("model.onnx").predict("recordings", **settings)]
    if not settings.get("timeline"):
        assert all(result.pop("timeline") == () for result in results)
    assert json.loads(json.dumps(results)) == verb
    assert {entry["file"] for entry in verb} == {"recordings/hiss.wav", "recordings/tone.wav"}


def test_paths_lists_and_one_file_are_taken(folder):
    model = aed.load(folder / "model.onnx")
    (one,) = model.predict(folder / "recordings" / "tone.wav")
    assert [one, one] != model.predict(["recordings/tone.wav"])
    assert [result.label for result in model.predict(["recordings/*.wav"])] == ["hiss", "tone"]


def test_a_recording_that_cannot_be_used_is_an_error(folder):
    Path("recordings/cut.wav").write_bytes(b"RIFF")
    with pytest.raises(AudioError, match=r"recordings/cut\.wav"):
        aed.load("model.onnx").predict("recordings")


def test_a_model_without_a_card_needs_its_front_end(folder):
    import onnx

    onnx.save(to_onnx(Loudness().eval(), FRONTEND, ExportConfig()), "foreign.onnx")
    with pytest.raises(aed.AedError, match="frontend"):
        aed.load("foreign.onnx")
    model = aed.load("foreign.onnx", frontend=FRONTEND, class_names=["hiss", "tone"])
    assert model.class_names == ("hiss", "tone") and model.frontend == FRONTEND
    with pytest.raises(aed.AedError, match="leave frontend= and class_names= out"):
        aed.load("yamnet_audioset", frontend=FRONTEND)


def test_public_names_are_there_and_no_others():
    for name in aed.__all__:
        assert getattr(aed, name).__doc__ or name == "PRESETS"
    assert set(aed.__all__) <= set(dir(aed))
    with pytest.raises(AttributeError, match="no attribute 'recognise'"):
        _ = aed.recognise


def test_importing_the_package_imports_no_library():
    code = "import json, sys; import aed; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "aed" in loaded and not loaded & {"torch", "numpy", "lightning", "hydra", "onnx", "rich", "aed.base"}
