"""From a checkpoint to an int8 file and its honest score, as stages of a run and as aed evaluate."""

import csv
import hashlib
import json
import math
import os
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import fake_stedgeai
import numpy as np
import onnx
import onnxruntime as ort
import pandas as pd
import pytest
import soundfile
import tiny
import torch
from hydra.utils import instantiate
from PIL import Image
from test_pipeline import SMALL, run

from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule, Synthetic
from aed.datamodules.sources.clips import ClipSource, FixedSplit
from aed.datamodules.sources.lists import COLUMNS
from aed.export.card import read_card
from aed.export.evidence import JudgedModel
from aed.export.graph import graph_sha256, load_model, save_model
from aed.inference.opening import open_classifier
from aed.run import pipeline, quantize
from aed.run.benchmark import BenchmarkConfig, measure
from aed.run.deploy import DeployConfig, deliver
from aed.run.evaluate import EvaluateConfig, Evaluation
from aed.run.evaluate import evaluate_file as evaluate
from aed.run.state import INT8

pytestmark = pytest.mark.usefixtures("trains")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, quick_pictures: Callable[..., None]) -> Path:
    """A run of all default stages, with a validation fold."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("matplotlib.figure.Figure.savefig", quick_pictures)  # as users get them
        run(folder, "data.val_fold=4", "quantization.n_calibration=12")
    return folder


def metrics_of(folder: Path) -> dict[str, float]:
    content: dict[str, float] = json.loads((folder / "metrics.json").read_text())
    return content


def report_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "quantization.json").read_text())
    return content


def data(**changes: Any) -> PatchDataModule:
    """What the command line gives to evaluate."""
    source = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    return PatchDataModule(**{"clips": source, "cache_workers": 1} | changes)


def test_a_run_ends_with_int8_and_its_score(finished):
    for name in ("model.onnx", "model_int8.onnx", "quantization.json", "test_int8_clips.csv", "val_int8_clips.csv"):
        assert (finished / name).stat().st_size > 0, name
    pictures = ["quantization", *(f"{s}_int8_{k}_confusion" for s in ("val", "test") for k in ("patch", "clip"))]
    for name in pictures:
        with Image.open(finished / "plots" / f"{name}.png") as image:
            assert min(image.size) >= 300 and len(np.unique(np.asarray(image.convert("L")))) > 20, name
    metrics = metrics_of(finished)
    assert {"test_int8/clip_acc", "test_int8/patch_acc", "val_int8/clip_acc", "test_int8/sqnr_db"} <= set(metrics)
    assert metrics["test_int8/sqnr_db"] > 20


def test_int8_scores_are_those_of_its_decisions(finished):
    rows = list(csv.DictReader((finished / "test_int8_clips.csv").open()))
    hits = [row["category"] == row["decided"] for row in rows]
    assert metrics_of(finished)["test_int8/clip_acc"] == pytest.approx(np.mean(hits))
    before = {row["filename"]: row["decided"] for row in csv.DictReader((finished / "test_clips.csv").open())}
    flips = {row["filename"] for row in rows if row["decided"] != before[row["filename"]]}
    comparison = report_of(finished)["comparison"]["test"]
    assert {flip["filename"] for flip in comparison["flipped_clips"]} == flips
    assert comparison["clip_agreement"] == pytest.approx(1 - len(flips) / len(rows))
    assert comparison["float"]["clip_acc"] == pytest.approx(metrics_of(finished)["test/clip_acc"])


def test_the_card_tells_all(finished):
    model, int8 = (load_model(finished / name) for name in ("model.onnx", "model_int8.onnx"))
    card, small = read_card(model, "x"), read_card(int8, "x")
    assert card and small and card.quantization is None and small.quantization
    assert card.class_names == ("alarm", "hum", "rain")
    assert card.float_sha256 == small.float_sha256 == graph_sha256(model)
    assert set(card.data["clips"]) == {"train", "val", "test"} and card.data["name"] == "synthetic"
    metrics = metrics_of(finished)
    for key in ("test/clip_acc", "test_int8/clip_acc", "val/patch_acc"):
        assert card.metrics[key] == small.metrics[key] == metrics[key]
    assert set(card.versions) >= {"aed", "torch", "onnx", "onnxruntime"}
    calibrated = small.quantization.calibration_clips
    assert calibrated and set(calibrated) <= set(card.data["clips"]["train"])
    assert small.quantization.scheme["per_channel"] is True


def test_nothing_of_test_or_validation_is_calibrated_on(finished):
    report = report_of(finished)
    card = read_card(load_model(finished / "model.onnx"), "x")
    assert card
    assert not set(report["calibration"]["clips"]) & {*card.data["clips"]["test"], *card.data["clips"]["val"]}
    assert report["judging"]["split"] == "val"
    assert report["calibration"]["patches"] == 12


def test_a_second_export_is_byte_identical(finished, tmp_path):
    best = finished / "checkpoints" / "best.ckpt"
    stages = "stages=[test,export,quantize,evaluate]"
    run(tmp_path, stages, f"ckpt_path={best}", "data.val_fold=4", "quantization.n_calibration=12")
    for name in ("model.onnx", "model_int8.onnx", "quantization.json", "test_int8_clips.csv"):
        assert (tmp_path / name).read_bytes() == (finished / name).read_bytes(), name


def test_late_stages_go_on_in_an_earlier_runs_folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    before = metrics_of(finished)
    run(tmp_path / "run", "stages=[quantize,evaluate]", "data.val_fold=4", "quantization.per_channel=false")
    after = metrics_of(tmp_path / "run")
    assert after["fit/epochs"] == before["fit/epochs"] and after["test/clip_acc"] == before["test/clip_acc"]
    assert report_of(tmp_path / "run")["scheme"]["per_channel"] is False
    assert (tmp_path / "run/model_int8.onnx").read_bytes() != (finished / "model_int8.onnx").read_bytes()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["stages=[export]"], "export needs a model"),
        (["stages=[quantize]"], "quantize needs model.onnx; add export"),
        (["stages=[evaluate]"], "evaluate needs model_int8.onnx; add quantize"),
        (["quantization.calibration=mean"], "quantization.calibration"),
        (["quantization.exclude_nodes=[nowhere]"], "nowhere"),
        (
            ["quantization.io=int8", "quantization.float_layers=allowed"],
            "float_layers=allowed can leave layers in float",
        ),
        (["quantization.io=int8", "quantization.exclude_ops=[Gemm]"], "exclude_ops=[Gemm]' can leave layers in float"),
        (["budget.flash_kib=1"], "budget.flash_kib"),
        (["budget.ram_kib=1"], "budget.ram_kib"),
        (["budget.macc=1000"], "budget.macc"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, overrides, message):
    with pytest.raises(Exception) as caught:
        run(tmp_path, "trainer.max_epochs=1", *overrides)
    from aed.base.errors import find_aed_error

    error = find_aed_error(caught.value)
    assert error is not None and message in str(error)
    if not message.startswith(("export", "quantize", "evaluate")):
        assert not (tmp_path / "checkpoints").exists(), "refused before training"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("classes", r"data.class_names: synthetic has no clips of \['a', 'b', 'c'\]"),
        ("nan", "NaN"),
        ("net", "weights do not fit"),
    ],
)
def test_a_checkpoint_that_does_not_fit_leaves_the_old_export(finished, tmp_path, change, message):
    shutil.copytree(finished, tmp_path / "run")
    before = hashlib.sha256((tmp_path / "run/model.onnx").read_bytes()).hexdigest()
    checkpoint = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    key = next(key for key in checkpoint["state_dict"] if key.endswith("conv.weight"))
    if change == "nan":
        checkpoint["state_dict"][key][0] = float("nan")
    elif change == "net":
        checkpoint["state_dict"][key] = checkpoint["state_dict"][key][:1]
    else:
        checkpoint["aed"]["class_names"] = ["a", "b", "c"]
    torch.save(checkpoint, tmp_path / "other.ckpt")
    with pytest.raises(AedError, match=message):
        run(tmp_path / "run", "stages=[export]", f"ckpt_path={tmp_path}/other.ckpt", "data.val_fold=4")
    assert hashlib.sha256((tmp_path / "run/model.onnx").read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    "overrides",
    [
        ["quantization=qat", "quantization.qat_epochs=1"],
        ["quantization.io=int8"],
        ["quantization.io=int8_in", "quantization.calibration=averaged"],
        ["export.softmax=true"],
        ["export.dynamic_batch=true", "quantization.per_channel=false"],
        ["quantization.exclude_ops=[Gemm]", "quantization.calibration=percentile"],
    ],
    ids=lambda overrides: overrides[0],
)
def test_every_choice_gives_a_whole_chain(finished, tmp_path, overrides):
    best = finished / "checkpoints" / "best.ckpt"
    stages = ["stages=[export,quantize,evaluate]", f"ckpt_path={best}", "data.val_fold=4"]
    metrics = run(tmp_path, *stages, *overrides)
    before = metrics_of(finished)
    assert metrics["test/clip_acc"] == pytest.approx(before["test/clip_acc"])
    assert metrics["test/loss"] == pytest.approx(before["test/loss"], abs=1e-4)
    assert metrics["test_int8/sqnr_db"] > 15
    steps = [step["name"] for step in report_of(tmp_path)["steps"]]
    assert ("qat" in steps) == ("quantization=qat" in overrides)


# --- aed evaluate -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "model.onnx", "model_int8.onnx"])
def test_every_kind_of_file_scores_as_in_its_run(finished, tmp_path, name):
    prefix = "test_int8" if "int8" in name else "test"
    metrics = evaluate(str(finished / name), data, str(tmp_path))
    known = {key: value for key, value in metrics_of(finished).items() if key in metrics and key.startswith("test")}
    assert f"{prefix}/clip_acc" in known
    for key, value in known.items():
        assert metrics[key] == pytest.approx(value, abs=1e-4), key
    assert metrics_of(tmp_path) == metrics
    assert (tmp_path / "plots" / f"{prefix}_clip_confusion.png").is_file()
    rows = (tmp_path / f"{prefix}_clips.csv").read_text().splitlines()
    assert len(rows) == 1 + 3


@pytest.mark.parametrize(("split", "clips"), [("train", 9), ("val", 3), ("test", 3), ("all", 15)])
def test_any_split_is_that_of_the_card(finished, tmp_path, split, clips):
    # the DataModule's own test fold is another one: the card's counts
    metrics = evaluate(
        str(finished / "model.onnx"), partial(data, test_fold=1), str(tmp_path), EvaluateConfig(split=split)
    )
    assert metrics[f"data/{split}_clips"] == clips
    if split in ("val", "test"):
        assert metrics[f"{split}/clip_acc"] == pytest.approx(metrics_of(finished)[f"{split}/clip_acc"])


def test_training_clips_among_the_tested_are_told(finished, tmp_path, caplog, capsys):
    other = partial(data, test_fold=1)
    metrics = evaluate(str(finished / "model.onnx"), other, str(tmp_path), EvaluateConfig(split_by="data"))
    assert metrics["data/test_clips"] == 3
    assert "LEAKS: the model was trained on 3 of these 3 clips" in caplog.text
    assert "LEAKS" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "dev"}, "split: need one of"),
        ({"split_by": "me"}, "split_by: need one of"),
        ({"on": "mars"}, "on: need one of"),
        ({"split": "calibration"}, "there is no such split here"),
        ({"class_names": ["a", "b", "c"]}, "own class names"),
        ({"frontend": replace(tiny.FRONTEND, f_min=60.0)}, "own front end"),
    ],
)
def test_what_cannot_be_evaluated_is_said(finished, tmp_path, arguments, message):
    with pytest.raises(AedError, match=message):
        evaluate(str(finished / "model.onnx"), data, str(tmp_path), EvaluateConfig(**arguments))


def test_a_users_model_is_evaluated_with_a_front_end(finished, tmp_path):
    bare = load_model(finished / "model.onnx")
    del bare.metadata_props[:]
    path = tmp_path / "theirs.onnx"
    onnx.save(bare, path)
    before = path.read_bytes()
    metrics = evaluate(str(path), data, str(tmp_path), EvaluateConfig(frontend=tiny.FRONTEND))
    assert metrics["test/clip_acc"] == pytest.approx(metrics_of(finished)["test/clip_acc"])
    assert path.read_bytes() == before
    with pytest.raises(AedError, match="no model card"):
        evaluate(str(path), data, str(tmp_path))
    with pytest.raises(AedError, match="3 outputs, but the data has 2 classes"):
        evaluate(
            str(path), partial(data, class_names=["hum", "rain"]), str(tmp_path), EvaluateConfig(frontend=tiny.FRONTEND)
        )


def test_whole_clips_are_scored_through_c(finished, tmp_path):
    metrics = evaluate(str(finished / "model_int8.onnx"), data, str(tmp_path), EvaluateConfig(on="c"))
    assert metrics["data/test_clips"] == 3
    assert metrics["test_c/loss"] == pytest.approx(metrics_of(finished)["test_int8/loss"], abs=1e-3)
    assert metrics["test_c/clip_agreement"] == 1 and metrics["test_c/equal_outputs"] > 0.9
    assert metrics["test_int8/clip_acc"] == metrics_of(finished)["test_int8/clip_acc"]
    assert (tmp_path / "test_c_clips.csv").is_file()
    with pytest.raises(AedError, match="float"):
        evaluate(str(finished / "model.onnx"), data, str(tmp_path), EvaluateConfig(on="c"))


def no_data(**_: object) -> PatchDataModule:
    raise AssertionError("data is read before the model and its programs are checked")


@pytest.mark.parametrize(
    ("model", "given", "message"),
    [
        ("none.onnx", {"max_clips": 0}, "max_clips: need at least 1, got 0"),
        (
            "none.onnx",
            {"serial": "COM3"},
            "serial: only used with on=board, here on=runtime; leave it out, or add on=board",
        ),
        ("none.onnx", {"on": "c", "tool": "x"}, "tool: only used with on=board, here on=c"),
        ("none.onnx", {"on": "emulator", "board": "nowhere"}, "nowhere"),
        ("model.onnx", {"on": "c"}, "need an int8 .onnx, model.onnx is float"),
        ("model_int8.onnx", {"on": "c"}, "gcc"),
        ("model_int8.onnx", {"on": "board", "board": "b-u585i-iot02a", "tool": "nothing"}, "nothing"),
    ],
)
def test_what_costs_nothing_is_refused_before_data_is_read(finished, tmp_path, monkeypatch, model, given, message):
    monkeypatch.setenv("PATH", "")  # no compiler
    with pytest.raises(AedError, match=message):
        evaluate(str(finished / model), no_data, str(tmp_path), EvaluateConfig(**given))


def test_an_evaluation_opens_its_model_once(finished, tmp_path):
    model = shutil.copy(finished / "model_int8.onnx", tmp_path / "model_int8.onnx")
    evaluation = Evaluation(model, data, EvaluateConfig(on="c"), tmp_path / "out", tmp_path / "build")
    model.unlink()
    shutil.rmtree(tmp_path / "build")  # the C code is loaded
    assert evaluation.run()["test_c/clip_agreement"] == 1


def test_an_error_of_onnx_runtime_in_a_program_names_the_model(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("aed.run.int8_programs.HostDevice", lambda *_, gate: ort.InferenceSession(b"no model"))
    with pytest.raises(AedError, match=r"model_int8\.onnx: ONNX Runtime cannot run it: [^\n]+$"):
        evaluate(str(finished / "model_int8.onnx"), no_data, str(tmp_path), EvaluateConfig(on="c"))


def test_an_emulated_board_hears_what_this_machine_hears(finished, tmp_path, capsys):
    for tool in ("gcc", "arm-none-eabi-gcc", "qemu-system-arm"):
        if shutil.which(tool) is None:
            pytest.skip("apt-get install gcc gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm")
    metrics = evaluate(
        str(finished / "model_int8.onnx"), data, str(tmp_path), EvaluateConfig(on="emulator", max_clips=2)
    )
    assert metrics["data/test_clips"] == 2
    for key in ("clip_acc", "patch_acc", "loss"):
        assert metrics[f"test_emulator/{key}"] == metrics[f"test_c/{key}"]
    assert (tmp_path / "test_emulator_clips.csv").read_text().count("\n") == 3
    said = capsys.readouterr().out
    assert "int8, C, emulated" in said and "model card" not in said, "the card's scores are of all clips"


@pytest.mark.skipif(os.name == "nt", reason="the double of stedgeai starts by its first line")
def test_accuracy_of_st_code(finished, tmp_path, monkeypatch):
    tool = tmp_path / "stedgeai"
    tool.write_text(f"#!{sys.executable}\n{Path(fake_stedgeai.__file__).read_text()}")
    tool.chmod(0o755)
    for name, value in (("VERSION", "4.0"), ("MODE", "ok"), ("CACHE", str(tmp_path))):
        monkeypatch.setenv(f"FAKE_STEDGEAI_{name}", value)
    given = {"on": "board", "board": "b-u585i-iot02a", "tool": str(tool)}
    metrics = evaluate(str(finished / "model_int8.onnx"), data, str(tmp_path / "out"), EvaluateConfig(**given))
    assert metrics["test_board/clip_acc"] == metrics["test_int8/clip_acc"]
    assert metrics["test_board/clip_agreement"] == 1
    report = json.loads((tmp_path / "out/target/stedgeai/b-u585i-iot02a/report.json").read_text())
    assert report["cos"]["value"] == pytest.approx(1, abs=1e-3)
    wave = tmp_path / "a.wav"
    soundfile.write(wave, np.random.default_rng(0).standard_normal(32000) * 0.1, 16000)
    shutil.copy(finished / "model_int8.onnx", tmp_path / "model_int8.onnx")
    words = [f"predict.{key}={value}" for key, value in given.items()]
    for name, more in (("runtime", []), ("board", words)):
        run(tmp_path, "operation_mode=prediction", "data.val_fold=4", f"predict.files=[{wave}]", *more)
        (tmp_path / "predictions.csv").rename(tmp_path / f"{name}.csv")
    assert (tmp_path / "board.csv").read_text() == (tmp_path / "runtime.csv").read_text()
    shutil.copytree(finished / "checkpoints", tmp_path / "run" / "checkpoints")
    words = [f"evaluate.{key}={value}" for key, value in given.items()]
    evaluated = run(
        tmp_path / "run", "operation_mode=evaluation", "data.val_fold=4", *words, "quantization.n_calibration=12"
    )
    assert evaluated["test_board/clip_acc"] == evaluated["test_int8/clip_acc"]
    assert evaluated["test_board/clip_agreement"] == 1 and "val_board/clip_acc" not in evaluated
    assert json.loads((tmp_path / "run/metrics.json").read_text())["test_board/clip_agreement"] == 1
    assert (tmp_path / "run/test_board_clips.csv").is_file()
    assert (tmp_path / "run/target/stedgeai/b-u585i-iot02a/report.json").is_file()
    with pytest.raises(AedError, match=r"evaluate\.on=board: there is no test or validation set"):
        run(tmp_path / "other", "stages=[fit,export,quantize,evaluate]", "data.test_fold=null", *words)
    words[2] = f"evaluate.tool={tmp_path / 'none'}"
    with pytest.raises(AedError, match="none"):
        run(tmp_path / "other", "stages=[fit,export,quantize,evaluate]", *words)
    assert not (tmp_path / "other" / "checkpoints").exists(), "said before the training"


def test_a_card_whose_clips_are_not_here_is_told(finished, tmp_path):
    model = load_model(finished / "model.onnx")
    card = read_card(model, "x")
    assert card
    moved = replace(card, data=card.data | {"clips": {"test": ["gone.wav"]}})
    save_model(tmp_path / "model.onnx", model, moved)
    with pytest.raises(AedError, match=r"none of the clips.*split_by=data"):
        evaluate(str(tmp_path / "model.onnx"), data, str(tmp_path))


def test_a_fixed_split_keeps_what_the_source_fixes():
    source = Synthetic(class_names=["alarm", "hum"], sources_per_class=5, takes_per_source=1)
    names = [path.name for path in source.table()["path"]]
    table = FixedSplit(source, {"test": names[:2], "train": names[2:5]}).table()
    assert table["split"].tolist() == ["test"] * 2 + ["train"] * 3
    assert FixedSplit(source, None).table()["split"].tolist() == ["train"] * len(names)


class Files(ClipSource):
    """Clips by their names, without any file."""

    name = "files"

    def __init__(self, *names: str) -> None:
        self.names = names

    def table(self):
        rows = [(Path("/sounds") / name, ("x",), pd.NA, pd.NA, pd.NA) for name in self.names]
        return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"split": object})


def test_names_on_a_card_find_their_files_though_others_came_or_went(caplog):
    """A card has as many folders of a name as told files apart when it was written."""
    card = {"test": ["cat/1.wav", "dog/1.wav"], "train": ["dog/2.wav", "3.wav"]}

    def found(*names):
        table = FixedSplit(Files(*names), card).table()
        return dict(zip((str(path.relative_to("/sounds")) for path in table["path"]), table["split"], strict=True))

    every = {"cat/1.wav": "test", "dog/1.wav": "test", "dog/2.wav": "train", "dog/3.wav": "train"}
    assert found(*every) == every and not caplog.text
    assert found(*every, "new/1.wav", "new/2.wav") == every, "files the card does not list"
    assert found("dog/1.wav", "dog/2.wav", "dog/3.wav") == {name: every[name] for name in list(every)[1:]}
    assert "1 of 2 test clips that the model's card lists are not here (e.g. cat/1.wav)" in caplog.text
    with pytest.raises(AedError, match=r"lists 3.wav, which may be /sounds/dog/3.wav or /sounds/new/3.wav"):
        found(*every, "new/3.wav")


def test_every_shipped_quantization_is_read():
    for path in sorted((CONFIG_DIR / "quantization").glob("*.yaml")):
        composed = tiny.composed(*SMALL, f"quantization={path.stem}", folder="/nowhere")
        assert instantiate(composed.quantization, _convert_="all").method == path.stem


def test_int8_files_are_opened_by_their_own_card(finished):
    classifier = open_classifier(finished / INT8)
    assert classifier.kind == "int8" and classifier.card.frontend.n_mels == tiny.FRONTEND.n_mels == 16


# --- later stages in an earlier run's folder ----------------------------------------------------------------------


@pytest.fixture
def earlier(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.test_fold=2", "data.val_fold=4"], "trained on another split of synthetic; add data.test_fold=5$"),
        (["data.test_fold=5", "data.val_fold=1"], "trained on another split of synthetic; add data.val_fold=4$"),
    ],
)
@pytest.mark.parametrize("stage", ["quantize", "evaluate"])
def test_a_model_is_neither_calibrated_nor_scored_on_other_clips_than_it_was_trained_for(
    earlier, overrides, message, stage
):
    before = (earlier / "model_int8.onnx").read_bytes()
    with pytest.raises(AedError, match=message):
        run(earlier, f"stages=[{stage}]", *overrides)
    assert (earlier / "model_int8.onnx").read_bytes() == before


def test_int8_of_another_float_model_is_not_compared(earlier):
    model = load_model(earlier / "model.onnx")
    card = read_card(model, "x")
    assert card
    save_model(earlier / "model.onnx", model, replace(card, float_sha256="other"))
    with pytest.raises(AedError, match="add quantize"):
        run(earlier, "stages=[evaluate]", "data.val_fold=4")


def test_scores_of_an_earlier_model_do_not_stay(earlier):
    best = earlier / "checkpoints" / "best.ckpt"
    run(earlier, "stages=[quantize]", "data.val_fold=4", "quantization.per_channel=false")
    card = read_card(load_model(earlier / "model_int8.onnx"), "x")
    assert card and "test/clip_acc" in card.metrics
    assert not any(key.startswith(("test_int8", "val_int8")) for key in (*card.metrics, *metrics_of(earlier)))
    run(earlier, "stages=[export]", "data.val_fold=4", f"ckpt_path={best}")
    assert not any(key.startswith(("test", "val")) for key in metrics_of(earlier))


@pytest.mark.parametrize(
    ("stage", "needing"),
    [
        (["benchmark", "benchmark.target=emulator"], "stages: benchmark"),
        (["deploy", "deploy.target=c"], "stages: deploy"),
    ],
)
def test_float_layers_are_refused_where_a_stage_needs_c(tmp_path, stage, needing):
    """Before anything is trained; where nothing needs C they are the user's own affair."""
    stages, *target = stage
    for setting in ("float_layers=allowed", "exclude_nodes=[head.1]", "exclude_ops=[Gemm]"):
        for first in ("fit,test,export,", ""):
            overrides = [f"stages=[{first}quantize,{stages}]", f"quantization.{setting}", *target]
            with pytest.raises(AedError, match=rf"{re.escape(setting)}'? can leave layers in float.*{needing}"):
                run(tmp_path, *overrides)
    pipeline.build(tiny.composed(*SMALL, "stages=[fit,quantize]", f"quantization.{setting}", folder=tmp_path), tmp_path)


def test_int8_ends_that_cannot_be_are_refused_before_training(tmp_path):
    """ONNX Runtime's quantiser does not know Elu."""
    user = ["model/net=user", "model.net._target_=test_conversion.EndsInElu", "quantization.io=int8"]
    with pytest.raises(AedError, match=r"quantization\.io=int8: the first or the last layer is left in float"):
        run(tmp_path, *user)
    assert not (tmp_path / "checkpoints").exists()


class EndsInElu(tiny.TinyNet):
    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.elu(super().forward(patches))


def test_float_layers_are_told_in_log_card_and_report(earlier, caplog):
    run(earlier, "stages=[quantize,evaluate]", "data.val_fold=4", "quantization.exclude_nodes=[backbone.2.conv]")
    said = "has float layers: not for C: backbone.2.conv"
    card = read_card(load_model(earlier / "model_int8.onnx"), "x")
    assert card and card.quantization and card.quantization.note.startswith(said)
    assert (
        report_of(earlier)["note"] == card.quantization.note and "backbone.2.conv" in report_of(earlier)["float_layers"]
    )
    assert any(said in record.getMessage() and record.levelname == "WARNING" for record in caplog.records)
    for verb in (
        lambda: deliver(earlier / "model_int8.onnx", earlier / "library", DeployConfig(target="c")),
        lambda: measure(earlier / "model_int8.onnx", earlier, BenchmarkConfig(target="emulator")),
    ):
        with pytest.raises(AedError, match=rf"{said}.*quantization\.float_layers=refused"):
            verb()


def test_a_loss_that_stays_is_told_loudly(earlier, caplog, monkeypatch):
    """No float layer is taken for it, and the best stays."""
    scores = iter([0.9, 0.7, 0.7, 0.6, 0.6])  # float, static, equalised, corrected, last layer solved anew

    def judge(*arguments: object) -> JudgedModel:
        score = next(scores)
        hits = torch.arange(100) < round(100 * score)
        return JudgedModel(score, torch.stack([hits, ~hits], dim=1).float(), torch.zeros(100).long())

    monkeypatch.setattr(quantize, "_judge", judge)
    run(earlier, "stages=[quantize]", "data.val_fold=4")
    report = report_of(earlier)
    judging = report["judging"]
    assert (judging["float"], judging["int8"], judging["max_drop"]) == (0.9, 0.7, 0.5)
    assert judging["outcome"] == "beyond" and judging["loss"]["low"] > 10 and judging["loss"]["points"] == 20
    assert [step["kept"] for step in report["steps"]] == [True, False, False, False]
    assert report["float_layers"] == [] and report["note"] == ""
    assert "INT8 IS WORSE: it loses 20.00 points" in caplog.text


def no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def test_int8_that_no_clip_judges_is_told_loudly_and_its_report_is_json(earlier, caplog, monkeypatch, capsys):
    nothing = JudgedModel(math.nan, torch.rand(41, 1), torch.zeros(41, 1))
    monkeypatch.setattr(quantize, "_judge", lambda *_: nothing)
    run(earlier, "stages=[quantize,evaluate]", "data.val_fold=4")
    text = (earlier / "quantization.json").read_text()
    report = json.loads(text, parse_constant=no_constant)
    judging = report["judging"]
    assert judging["outcome"] == "unknown" and judging["float"] is judging["int8"] is judging["loss"]["points"] is None
    assert [step["kept"] for step in report["steps"]] == [True] and report["comparison"]["val"]
    assert "INT8 COULD NOT BE JUDGED: none of the 41 judging clips has a class" in caplog.text
    read_card(load_model(earlier / "model_int8.onnx"), "x")


def test_a_score_that_is_none_is_in_no_card(earlier, monkeypatch):
    """Nor does a stage that reads an earlier run's metrics stop at it."""
    metrics = json.loads((earlier / "metrics.json").read_text())
    (earlier / "metrics.json").write_text(json.dumps(metrics | {"val/clip_map": None}))
    found = run(earlier, "stages=[quantize]", "data.val_fold=4")
    card = read_card(load_model(earlier / "model_int8.onnx"), "x")
    assert math.isnan(found["val/clip_map"]) and card and "val/clip_map" not in card.metrics
    assert "val/clip_acc" in card.metrics
    again = json.loads((earlier / "metrics.json").read_text(), parse_constant=no_constant)
    assert again["val/clip_map"] is None


def test_fine_tuning_needs_logits(earlier):
    with pytest.raises(AedError, match=r"export\.softmax=false"):
        best = earlier / "checkpoints" / "best.ckpt"
        stages = ["stages=[export,quantize]", "export.softmax=true", "quantization=qat"]
        run(earlier, *stages, f"ckpt_path={best}", "data.val_fold=4")
