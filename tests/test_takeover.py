"""Runs that start from a model: its front end, net and classes count, and what differs is told as one types it."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from test_import_model import save, with_head, yamnet
from test_pipeline import SMALL

from aed.base.errors import AedError
from aed.base.overrides import differing, override
from aed.datamodules import PatchDataModule, Synthetic
from aed.datamodules.sources.clips import EscCsv
from aed.inference.opening import open_classifier
from aed.run import from_checkpoint, pipeline
from aed.run.evaluate import EvaluateConfig
from aed.run.evaluate import evaluate_file as evaluate
from aed.run.importing.verb import import_model

pytestmark = pytest.mark.usefixtures("trains")

# as ST's zoo makes features: float samples, its own trimming
FRONTEND = replace(tiny.FRONTEND, trim="compatible", sample_bits=None)
TO_INT8 = "stages=[export,quantize,evaluate]"


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of an imported model."""
    folder = tmp_path_factory.mktemp("imported")
    save(folder / "best.h5", with_head(yamnet(mels=16, frames=32), 256, dropout=0.2, classes=3))
    import_model([str(folder / "best.h5")], ["alarm", "hum", "rain"], FRONTEND)
    return folder / "best.ckpt"


@pytest.fixture(scope="module")
def converted(imported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that made int8 of it, configured for another front end and net."""
    folder = tmp_path_factory.mktemp("converted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        changes = ["model.net.layers=6", "model.pretrained=true", TO_INT8, f"ckpt_path={imported}"]
        pipeline.run(tiny.composed(*SMALL, *changes, folder=folder), folder)
    return folder


def test_an_imported_model_becomes_int8_in_one_command(converted: Path) -> None:
    card = open_classifier(converted / "model_int8.onnx").card
    assert card.frontend == FRONTEND and card.class_names == ("alarm", "hum", "rain")
    assert card.weights is not None and card.weights["file"] == "best.h5"
    assert "test_int8/clip_acc" in json.loads((converted / "metrics.json").read_text())


def test_c_is_held_against_features_of_the_samples_that_it_hears(
    converted: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    generator, rows = np.random.default_rng(0), ["filename,category,fold"]
    for number in range(6):  # so quiet that a step of 16 bits is heard
        sf.write(tmp_path / f"{number}.wav", 1e-4 * generator.normal(size=32000), 16000, subtype="FLOAT")
        rows.append(f"{number}.wav,{('alarm', 'hum', 'rain')[number % 3]},1")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    clips = EscCsv(str(tmp_path / "list.csv"), str(tmp_path))
    metrics = evaluate(
        str(converted / "model_int8.onnx"),
        partial(PatchDataModule, clips=clips, cache_workers=1),
        str(tmp_path / "out"),
        EvaluateConfig(on="c", split="all"),
    )
    assert metrics["all_c/equal_outputs"] > 0.95 and metrics["all_c/clip_agreement"] == 1
    assert "the C code reads 16 bits" in caplog.text


def test_the_last_line_of_an_import_is_that_command(imported: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    import_model([str(imported.with_suffix(".h5"))], ["alarm", "hum", "rain"], FRONTEND)
    words = shlex.split(caplog.messages[-1].partition(": ")[2])
    assert words[:2] == ["aed", "train"]
    config = tiny.composed(*words[2:])
    assert list(config.stages) == ["export", "quantize", "evaluate"] and config.ckpt_path == str(imported)
    from_checkpoint.take_over(config, Path("/nowhere"))
    assert config.frontend.trim == "compatible" and config.frontend.sample_bits is None
    assert config.model.net._target_.endswith("YAMNet") and list(config.data.class_names) == ["alarm", "hum", "rain"]


def test_only_what_differs_is_said(imported: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    config = tiny.composed(*SMALL, "frontend.overlap=0", "model.net.dropout=0.2", TO_INT8, f"ckpt_path={imported}")
    from_checkpoint.take_over(config, Path("/nowhere"))
    assert (
        caplog.messages[-1] == f"{imported}: settings used from it: frontend.trim=compatible frontend.sample_bits=null"
    )


def test_to_train_on_one_types_what_is_told(imported: Path) -> None:
    start = [*SMALL, "model/net=dscnn", "data.class_names=[hum,rain]", f"ckpt_path={imported}", "stages=[fit]"]
    with pytest.raises(AedError, match="to train on from it, add model/net=yamnet ") as caught:
        from_checkpoint.take_over(tiny.composed(*start), Path("/nowhere"))
    told = shlex.split(str(caught.value).partition(", add ")[2])
    assert {"frontend.trim=compatible", "frontend.sample_bits=null", "model.net.dropout=0.2"} <= set(told)
    start.remove("model/net=dscnn")  # a group is chosen once
    config = tiny.composed(*start, *told)
    before = config.copy()
    from_checkpoint.take_over(config, Path("/nowhere"))
    assert config == before, "nothing is left to be changed"


def test_a_mismatch_that_was_typed_is_told_before_features_are_made(
    imported: Path, tmp_path: Path, forking: list[str]
) -> None:
    """With the command itself: what was typed is known to Hydra alone."""
    typed = [*SMALL, "frontend.f_min=60", TO_INT8, f"ckpt_path={imported}", f"hydra.run.dir={tmp_path / 'run'}"]
    environment = {"PATH": "/usr/bin:/bin", "AED_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)}
    command = [*forking, "aed.train", *typed]
    done = subprocess.run(command, capture_output=True, env=environment, cwd=tmp_path, check=False)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 1 and "Traceback" not in said
    assert re.search(
        r"frontend\.f_min: front end, net and classes are those of .*; leave it out", said.replace("\n", " ")
    )
    assert "frontend.f_min=125.0" in said and "FrontendConfig(" not in said
    assert not list((tmp_path / "cache").rglob("*.npy")) and "computing features" not in said


def test_a_model_of_other_data_says_which(converted: Path, tmp_path: Path) -> None:
    clips = Synthetic(class_names=["alarm", "hum"], sources_per_class=5, takes_per_source=1)
    clips.name = "mine"
    data = partial(PatchDataModule, clips=clips, cache_workers=1)
    with pytest.raises(AedError, match=r"mine has no clips of \['rain'\].*best.h5 was imported: give that data"):
        evaluate(str(converted / "model_int8.onnx"), data, str(tmp_path), EvaluateConfig(on="c"))


class ListNet(tiny.TinyNet):
    """A user's net with arguments that are left at their defaults, one of them a list."""

    def __init__(
        self, num_classes: int, width: int = 4, dropout: float = 0.0, kernel: tuple[int, int] = (5, 5)
    ) -> None:
        super().__init__(num_classes, width, dropout)
        self.kernel = kernel


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a user's net whose clips take the greatest posterior."""
    path = tmp_path_factory.mktemp("own") / "own.ckpt"
    trainer = tiny.trainer(path.parent, 1)
    trainer.fit(tiny.classifier(ListNet(3), aggregate="max"), tiny.data())
    trainer.save_checkpoint(path)
    return path


def test_a_net_of_the_users_goes_on_as_it_was_typed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments that were left at their defaults, and the choice of the class itself, are no difference."""
    typed = ["model/net=user", "model.net._target_=test_takeover.ListNet", "model.aggregate=max", f"ckpt_path={own}"]
    start = [*SMALL, "frontend.overlap=0", "model.pretrained=false", *typed]
    from_checkpoint.take_over(tiny.composed(*start, "stages=[fit]"), Path("/nowhere"))
    monkeypatch.setattr(from_checkpoint, "_typed", lambda: ["model.net", "model.net._target_", "frontend.overlap"])
    config = tiny.composed(*start, "stages=[export]")
    from_checkpoint.take_over(config, Path("/nowhere"))
    assert config.model.net.kernel == [5, 5] and config.model.net.width == 4


def test_how_clips_are_scored_is_the_checkpoints_where_it_is_not_typed(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = [*SMALL, "model/net=user", "model.net._target_=test_takeover.ListNet", f"ckpt_path={own}", "stages=[test]"]
    config = tiny.composed(*start)
    from_checkpoint.take_over(config, Path("/nowhere"))
    assert config.model.aggregate == "max"
    monkeypatch.setattr(from_checkpoint, "_typed", lambda: ["model.aggregate"])
    config = tiny.composed(*start, "model.aggregate=mean")
    from_checkpoint.take_over(config, Path("/nowhere"))
    assert config.model.aggregate == "mean"


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12)
VALUES = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | TEXTS


@settings(max_examples=300, deadline=None)
@given(VALUES | st.lists(VALUES, max_size=4))
def test_what_is_told_is_read_back_by_a_shell_and_by_hydra(value: object) -> None:
    (word,) = shlex.split(override("some.key", value))
    parsed = OverridesParser.create().parse_override(word)
    found = parsed.value()
    plain = (
        [getattr(item, "text", item) for item in found] if isinstance(found, list) else getattr(found, "text", found)
    )
    if not (isinstance(value, str) and "${" in value) and not (isinstance(value, list) and "${" in str(value)):
        assert plain == value and parsed.key_or_group == "some.key"


def test_equal_keys_are_not_told() -> None:
    assert differing({"a": 1, "b": None, "c": "x"}, {"a": 1, "b": 2}, "k.") == ["k.b=null", "k.c=x"]
