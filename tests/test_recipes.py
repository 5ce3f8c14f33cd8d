"""Every shipped experiment, on little data, to the library of C for a board."""

from pathlib import Path

import fsd50k_tree
import pytest
import tiny
from omegaconf import DictConfig

from aed.export.graph import load_model, read_model_card
from aed.export.precision import float_layers
from aed.run import pipeline, registry
from aed.run.deploy import DeployConfig, deliver
from aed.target.codegen.lower import lower

pytestmark = pytest.mark.usefixtures("trains")

SHORT = [
    "logger=csv",
    "callbacks.progress=null",
    "trainer.max_epochs=1",
    "trainer.enable_progress_bar=false",
    "trainer.accelerator=cpu",
    "frontend.n_mels=16",
    "frontend.patch_frames=32",
    "quantization.n_calibration=12",
    "model.pretrained=false",
    "model.head=trained",
]


EXPERIMENTS = registry.experiments()


def composed(name: str, folder: Path, *overrides: str) -> DictConfig:
    if "1024" in name:
        overrides = (*overrides, "frontend.n_mels=48", "frontend.patch_frames=64")  # it has no padding
    if "listening" in name:
        overrides = (*overrides, "data.soundscape_hours=0.02")
    if "64k" in name:
        overrides = (*overrides, "~model/distillation", "data.crops.per_clip=2")
    if name.startswith("fsd50k"):
        data = [f"data.clips.data_dir={fsd50k_tree.write_tree(folder / 'fsd50k', clips=40)}"]
    else:
        data = tiny.DATA
    return tiny.composed(f"experiment={name}", *SHORT, *data, *overrides, folder=folder)


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("val_fold", [None, 4])
def test_a_recipe_ends_in_c(tmp_path, caplog, name, val_fold):
    caplog.set_level("INFO")
    if name.startswith("fsd50k") and val_fold:
        pytest.skip("it has a validation set of its own, always")
    validation = [] if name.startswith("fsd50k") else [f"data.val_fold={val_fold or 'null'}"]
    settings = composed(name, tmp_path, *validation)
    metrics = pipeline.run(settings, tmp_path)
    headline = "clip_map" if name.startswith("fsd50k") else "clip_acc"
    assert {f"test/{headline}", f"test_int8/{headline}"} <= set(metrics)
    path = tmp_path / "model_int8.onnx"
    model = load_model(path)
    card = read_model_card(model, path)
    assert card.quantization and card.quantization.float_layers == float_layers(model) == ()
    assert lower(model).layers and card.quantization.note == ""
    library = tmp_path / "library"
    deliver(path, library, DeployConfig(target="c"))
    assert (library / "src" / "aed_net.c").stat().st_size > 1000
    assert (library / "src" / "aed_frontend.c").is_file() == card.frontend.streamable
    if card.frontend.streamable:
        return
    messages = [record.getMessage() for record in caplog.records]
    said = next(number for number, text in enumerate(messages) if "will write C for the net only" in text)
    assert said < next(number for number, text in enumerate(messages) if text.startswith("fit took"))
    assert "**No front end**" in (library / "README.md").read_text() and "center=true" in messages[-1] + messages[-2]
