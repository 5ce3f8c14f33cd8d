import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tiny
from PIL import Image
from sklearn.metrics import accuracy_score

from aed.base.errors import AedError
from aed.run import pipeline, stages, sweep

pytestmark = pytest.mark.usefixtures("trains")

SMALL = [
    "experiment=demo",
    *tiny.DATA,
    "logger=csv",
    "callbacks.progress=null",
    "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false",
    "frontend.n_mels=16",
    "frontend.patch_frames=32",
    "trainer.accelerator=cpu",
]


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return pipeline.run(tiny.composed(*SMALL, *overrides, folder=folder), folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, quick_pictures: Callable[..., None]) -> Path:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AED_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "cache"))
        patch.setattr("matplotlib.figure.Figure.savefig", quick_pictures)  # as users get them
        run(folder, "data.val_fold=4")
    return folder


def test_a_run_leaves_what_the_readme_promises(finished):
    for name in ("metrics.json", "metrics.csv", "test_clips.csv", "val_clips.csv", "checkpoints/best.ckpt"):
        assert (finished / name).stat().st_size > 0, name
    assert (finished / "checkpoints/last.ckpt").is_file()
    pictures = ["learning_curves", *(f"{s}_{k}_confusion" for s in ("val", "test") for k in ("patch", "clip"))]
    for name in pictures:
        with Image.open(finished / "plots" / f"{name}.png") as image:
            assert min(image.size) >= 400, name
            assert len(np.unique(np.asarray(image.convert("L")))) > 20, f"{name} is not blank"


def test_metrics_are_flat_and_those_of_the_clips(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert all(isinstance(value, float) for value in metrics.values())
    rows = list(csv.DictReader((finished / "test_clips.csv").open()))
    truth, decided = [[row[key] for row in rows] for key in ("category", "decided")]
    assert metrics["test/clip_acc"] == pytest.approx(accuracy_score(truth, decided))
    for name in ("alarm", "hum", "rain"):
        hits = [t == d for t, d in zip(truth, decided, strict=True) if t == name]
        assert metrics[f"test/clip_acc/{name}"] == pytest.approx(np.mean(hits))
    assert sum(float(rows[0][name]) for name in ("alarm", "hum", "rain")) == pytest.approx(1, abs=1e-5)
    assert metrics["data/test_clips"] == len(rows) == 3
    assert {"val/clip_acc", "test/loss", "train/loss", "fit/epochs"} <= set(metrics)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(finished, tmp_path):
    def results(folder: Path) -> dict[str, float]:
        metrics = json.loads((folder / "metrics.json").read_text())
        return {key: value for key, value in metrics.items() if key != "fit/seconds"}

    run(tmp_path / "again", "data.val_fold=4")
    assert results(tmp_path / "again") == results(finished)
    run(tmp_path / "other", "data.val_fold=4", "seed=1")
    assert results(tmp_path / "other")["train/loss"] != results(finished)["train/loss"]


def test_a_checkpoint_can_be_tested_alone(finished, tmp_path):
    best = finished / "checkpoints" / "best.ckpt"
    metrics = run(tmp_path, "stages=[test]", f"ckpt_path={best}", "data.val_fold=4")
    before = json.loads((finished / "metrics.json").read_text())
    assert metrics["test/clip_acc"] == before["test/clip_acc"]
    assert metrics["test/loss"] == pytest.approx(before["test/loss"])


def test_a_test_in_the_folder_of_a_training_keeps_its_learning_curves(finished, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    curves = (folder / "metrics.csv").read_bytes()
    (folder / "test_clips.csv").unlink()
    run(folder, "stages=[test]", "data.val_fold=4")
    assert (folder / "test_clips.csv").read_bytes() == (finished / "test_clips.csv").read_bytes()
    assert (folder / "metrics.csv").read_bytes() == curves
    run(tmp_path / "new", "stages=[test]", f"ckpt_path={folder}/checkpoints/best.ckpt", "data.val_fold=4")
    assert (tmp_path / "new" / "metrics.csv").stat().st_size > 0, "a folder without a training's logs as before"


def test_a_failing_late_stage_leaves_the_results_of_the_earlier(tmp_path):
    with pytest.raises(AedError, match="no test set"):
        run(tmp_path, "data.test_fold=null", "trainer.max_epochs=1")
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["fit/epochs"] == 1 and "test/clip_acc" not in metrics


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages=[fit,flash]", "flash"),
        ("operation_mode=chain_xyz", "operation_mode: need one of .*chain_tqe"),
        ("ckpt_path=/no/such.ckpt", "no such file"),
        ("stages=[test]", "ckpt_path"),
        ("data.class_names=[alarm,humm]", "did you mean 'hum'"),
        ("data.test_fold=9", r"folds \[1, 2, 3, 4, 5\], got 9"),
        ("callbacks.checkpoint.monitor=val/nothing", "val/clip_acc"),
    ],
)
def test_wrong_requests_say_what_to_do(tmp_path, override, message):
    with pytest.raises(Exception) as caught:
        run(tmp_path, override, "data.val_fold=4")
    from aed.base.errors import find_aed_error

    error = find_aed_error(caught.value)
    assert error is not None, caught.value
    assert pytest.importorskip("re").search(message, str(error)), str(error)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=-1"], "seed: need 0 to"),
        (["threads=-2"], "threads: need 1 to"),
        (["callbacks=early_stopping", "data.val_fold=2", "callbacks.early_stopping.monitor=val/acc"], "got 'val/acc'"),
        (["model/scheduler=StepLR", "model.scheduler.step_size=0"], r"model\.scheduler: ZeroDivisionError.*StepLR"),
        (["trainer.devices=99", "trainer.accelerator=cpu"], r"trainer\.devices=99: processes on a CPU of"),
        (["model.net.dropout=1.5"], r"model\.net: ValueError: dropout"),
        (["model.net.num_classes=7"], "model.net.num_classes=7: the data has 3 classes"),
        (["callbacks=early_stopping"], r"callbacks\.early_stopping\.monitor: val/loss needs a validation set"),
        (
            ["model/scheduler=ReduceLROnPlateau", "model.monitor=val/loss"],
            r"model\.monitor: val/loss needs a validation set",
        ),
    ],
)
def test_what_cannot_work_is_said_before_training(tmp_path, overrides, message):
    with pytest.raises(AedError, match=message):
        pipeline.build(tiny.composed(*SMALL, "stages=[fit]", *overrides, folder=tmp_path), tmp_path)


def test_operation_modes_are_stages_that_go_on_from_an_earlier_run(finished, tmp_path):
    """ST's names; a run's own checkpoint is found in its folder."""
    for name, of_mode in stages.MODES.items():
        assert stages.choose_stages(None, name) == list(of_mode) and set(of_mode) <= set(stages.STAGES)
    on_board = ["export", "quantize", "evaluate"]
    assert stages.choose_stages(None, "evaluation", "board") == on_board, "a board runs int8 alone"
    with pytest.raises(AedError, match="not both"):
        stages.choose_stages(["fit"], "chain_tqe")
    shutil.copytree(finished / "checkpoints", tmp_path / "checkpoints")
    metrics = run(tmp_path, "operation_mode=chain_eqe", "data.val_fold=4", "quantization.n_calibration=12")
    assert {"test/clip_acc", "test_int8/clip_acc"} <= set(metrics) and "fit/epochs" not in metrics
    wave = tmp_path / "a.wav"
    soundfile.write(wave, np.random.default_rng(0).standard_normal(32000) * 0.1, 16000)
    run(tmp_path, "operation_mode=prediction", "data.val_fold=4", f"predict.files=[{wave}]")
    rows = list(csv.DictReader((tmp_path / "predictions.csv").open()))
    assert len(rows) == 1 and rows[0]["label"] in ("alarm", "hum", "rain"), rows
    with pytest.raises(AedError, match=r"predict\.files"):
        run(tmp_path, "operation_mode=prediction", "data.val_fold=4")


def test_a_summary_is_mean_and_deviation_over_jobs(tmp_path):
    values = [0.5, 0.75, 1.0]
    for number, value in enumerate(values):
        job = tmp_path / str(number)
        (job / ".hydra").mkdir(parents=True)
        (job / ".hydra" / "overrides.yaml").write_text(f"- data.test_fold={number + 1}\n")
        metrics = {"test/clip_acc": value} | ({"test/clip_acc/dog": 1.0} if number else {})
        (job / "metrics.json").write_text(json.dumps(metrics))
    summary = sweep.summarise(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert summary["test/clip_acc"] == {"mean": 0.75, "sd": pytest.approx(np.std(values, ddof=1)), "values": values}
    assert summary["test/clip_acc/dog"] == {"mean": 1.0, "sd": 0.0, "values": [1.0, 1.0]}
    rows = list(csv.reader((tmp_path / "summary.csv").open()))
    assert rows[1][:2] == ["0", "data.test_fold=1"] and len(rows) == 4
