"""Shipped models: what their files and cards say, the names that all verbs take them by, and that those names work."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

import aed
from aed.base import zoo
from aed.base.errors import AedError
from aed.base.paths import ZOO_DIR
from aed.export.graph import load_model, read_model_card
from aed.run import registry
from aed.settings.composing import compose_beside
from aed.settings.entry import resolved
from aed.settings.typed import as_typed
from aed.target.codegen.lower import lower

MODELS = zoo.shipped_models()


def test_the_names_are_those_of_the_files() -> None:
    assert list(MODELS) == ["zoo/esc10_200k", "zoo/esc10_64k"]
    assert zoo.model_file("zoo/esc10_200k") == str(ZOO_DIR / "esc10_200k.onnx")


@pytest.mark.parametrize("model", ["model_int8.onnx", "yamnet_audioset", "zoo/mine.onnx", "./zoo/mine", "run/zoo/mine"])
def test_other_models_stay_what_they_are(model: str) -> None:
    assert zoo.model_file(model) == model


@pytest.mark.parametrize(
    ("model", "end"), [("zoo/esc10_20k", "; did you mean zoo/esc10_200k?"), ("zoo/", "zoo/esc10_200k, zoo/esc10_64k")]
)
def test_an_unknown_name_lists_the_known_ones(model: str, end: str) -> None:
    with pytest.raises(AedError, match=rf"^model={model}: .* there are zoo/esc10_200k, zoo/esc10_64k") as raised:
        zoo.model_file(model)
    assert str(raised.value).endswith(end)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_small_and_says_where_it_comes_from(name: str) -> None:
    path = MODELS[name]
    assert path.stat().st_size <= 2**20
    model = load_model(path)
    card = read_model_card(model, path)
    assert lower(model).layers and card.quantization and not card.quantization.float_layers
    assert len(card.data["clips"]["train"]) == 400 and not card.data["clips"].get("test")
    assert card.weights and card.weights["licence"] == "MIT"
    assert not [key for key in card.metrics if key.startswith("test")]
    assert str(Path.home()) not in card.to_json() and "/tmp" not in card.to_json()


NEEDED = {"predict": ["files=[a.wav]"], "detect": ["files=[a.wav]"], "listen": []}
"""Further keys of a verb; the others' folders are Hydra's."""


@pytest.mark.parametrize("verb", ["predict", "evaluate", "detect", "benchmark", "deploy", "listen"])
def test_each_verb_takes_it_by_name(verb: str) -> None:
    registry.register_verb(verb)
    typed = as_typed(["model=zoo/esc10_200k", *NEEDED.get(verb, ["folder=out"])], verb)
    plain = resolved(compose_beside(verb, typed), **({"frontend": None} if verb == "deploy" else {}))
    assert plain["model_file"] == str(ZOO_DIR / "esc10_200k.onnx")


def test_what_belongs_to_a_model_lies_beside_it_or_where_one_works() -> None:
    assert zoo.folder_beside(Path("runs/model.onnx")) == Path("runs")
    assert zoo.folder_beside(MODELS["zoo/esc10_200k"]) == Path()


@pytest.mark.parametrize("name", MODELS)
def test_a_recording_is_predicted_without_training_or_download(name: str, tmp_path: Path) -> None:
    sf.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(48000), 16000)
    model = aed.load(name)
    (result,) = model.predict(tmp_path / "a.wav", timeline=True)
    assert model.kind == "int8" and set(result.posteriors) == set(model.class_names) and len(model.class_names) == 10
    assert sum(result.posteriors.values()) == pytest.approx(1, abs=1e-5) and result.timeline
