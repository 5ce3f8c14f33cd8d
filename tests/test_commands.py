"""The commands of the README as a user types them, in processes of their own."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tiny

pytestmark = pytest.mark.usefixtures("processes")

SMALL = [
    "experiment=demo", *tiny.DATA, "logger=csv", "trainer.max_epochs=2", "frontend.n_mels=16",
    "frontend.patch_frames=32", "trainer.accelerator=cpu", "threads=1",
]  # fmt: skip


PYTHON = (sys.executable, "-m")
"""A new interpreter; the fixture ``forking`` has libraries loaded."""


def start(
    folder: Path, *arguments: str, module: str = "aed.train", python: Sequence[str] = PYTHON
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*python, module, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    return process.returncode, output


def train(folder: Path, *overrides: str, python: Sequence[str] = PYTHON) -> dict[str, float]:
    code, output = finish(start(folder, *SMALL, *overrides, f"hydra.run.dir={folder}/run", python=python))
    assert code == 0, output
    return json.loads((folder / "run" / "metrics.json").read_text())


def test_two_processes_test_as_one_does(tmp_path, forking):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    epochs = "trainer.max_epochs=6"
    one = train(tmp_path / "one", epochs, python=forking)
    two = train(tmp_path / "two", epochs, "trainer.devices=2", "trainer.strategy=ddp", "data.batch_size=16")
    assert one["data/test_clips"] == two["data/test_clips"]
    assert abs(one["test/clip_acc"] - two["test/clip_acc"]) <= 1 / 3
    assert (tmp_path / "two/run/test_clips.csv").read_text().count("\n") == 4, "every test clip once"
    again = ["stages=[test]", f"ckpt_path={tmp_path}/two/run/checkpoints/best.ckpt"]
    (tmp_path / "alone").mkdir()
    alone = train(tmp_path / "alone", *again, python=forking)
    for key in ("test/clip_acc", "test/patch_acc"):
        assert alone[key] == two[key], "the same weights, scored by one process or by two"
    (tmp_path / "torchrun").mkdir()
    run = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m")
    torchrun = train(tmp_path / "torchrun", *again, "trainer.devices=2", "trainer.strategy=ddp", python=run)
    for key in ("test/clip_acc", "test/patch_acc", "data/test_clips"):
        assert torchrun[key] == two[key], "whoever starts the processes"
    rows = (tmp_path / "torchrun/run/test_clips.csv").read_text()
    assert rows == (tmp_path / "alone/run/test_clips.csv").read_text(), "every test clip once, decided as by one"


def test_a_multirun_ends_with_one_summary(tmp_path, forking):
    folds = "data.test_fold=1,2,3"
    code, output = finish(start(tmp_path, "-m", *SMALL, folds, f"hydra.sweep.dir={tmp_path}/sweep", python=forking))
    assert code == 0, output
    summary = json.loads((tmp_path / "sweep/summary.json").read_text())
    values = [json.loads((tmp_path / f"sweep/{n}/metrics.json").read_text())["test/clip_acc"] for n in range(3)]
    assert summary["test/clip_acc"]["values"] == values
    assert summary["test/clip_acc"]["mean"] == pytest.approx(np.mean(values))
    assert summary["test/clip_acc"]["sd"] == pytest.approx(np.std(values, ddof=1))
    assert "test/clip_acc" in output and "data.test_fold=3" in (tmp_path / "sweep/summary.csv").read_text()


def test_folds_run_in_parallel(tmp_path, forking):
    arguments = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "data.test_fold=1,2"]
    sweep = f"hydra.sweep.dir={tmp_path}/sweep"
    code, output = finish(start(tmp_path, "-m", *SMALL, *arguments, sweep, python=forking))
    assert code == 0, output
    summary = json.loads((tmp_path / "sweep/summary.json").read_text())
    assert len(summary["test/clip_acc"]["values"]) == 2


def test_submitit_runs_jobs_of_a_sweep(tmp_path, forking):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="pip install 'aed[submitit]'")
    arguments = ["hydra/launcher=submitit_local", "seed=3", "stages=[fit]", "trainer.max_epochs=1"]
    sweep = f"hydra.sweep.dir={tmp_path}/sweep"
    code, output = finish(start(tmp_path, "-m", *SMALL, *arguments, sweep, python=forking))
    assert code == 0, output
    assert (tmp_path / "sweep/0/checkpoints/best.ckpt").is_file() and list((tmp_path / "sweep/.submitit").iterdir())
    assert json.loads((tmp_path / "sweep/summary.json").read_text())["fit/epochs"]["values"] == [1.0]


def test_ctrl_c_in_an_epoch_keeps_the_last_one_and_says_how_to_go_on(tmp_path, forking):
    run = tmp_path / "run"
    process = start(tmp_path, *SMALL, "trainer.max_epochs=5000", f"hydra.run.dir={run}", python=forking)
    last = run / "checkpoints" / "last.ckpt"
    for _ in range(1200):
        if last.is_file() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    code, output = finish(process)
    assert code == 130, output
    assert f"go on with ckpt_path={last}" in output
    more = ["trainer.max_epochs=5000", "trainer.max_time=00:00:00:01", f"ckpt_path={last}"]
    metrics = train(tmp_path, *more, python=forking)
    assert metrics["fit/epochs"] >= 1


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "experiment"), (["experiment=demo", "budget.flash_kib=10"], "budget.flash_kib")]
)
def test_mistakes_end_with_one_clear_message(tmp_path, forking, arguments, message):
    """A mistake told at once and one told late; tests/test_mistakes.py has the others, in its own process."""
    code, output = finish(start(tmp_path, *arguments, python=forking))
    assert code == 1
    assert message in output
    assert "Traceback" not in output


def test_no_data_and_no_network_names_the_demo(tmp_path, monkeypatch, forking):
    monkeypatch.setenv("AED_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    code, output = finish(start(tmp_path, "experiment=esc10_yamnet", python=forking))
    assert code == 1
    assert "experiment=demo" in output and "AED_DATA_DIR" in output and "Traceback" not in output


def test_lightning_cli_trains_over_the_same_classes(tmp_path, forking):
    arguments = [
        "fit", "--data.clips=Synthetic", "--data.clips.class_names=[alarm,hum]", "--data.clips.sources_per_class=5",
        "--data.clips.takes_per_source=1", "--model.net=YAMNet", "--model.optimizer=torch.optim.AdamW",
        "--model.optimizer.lr=1e-3", "--trainer.max_epochs=1", "--trainer.accelerator=cpu",
    ]  # fmt: skip
    code, output = finish(start(tmp_path, *arguments, module="aed.cli"))
    assert code == 0, output
    assert list(tmp_path.glob("outputs/lightning_cli/*/checkpoints/best.ckpt"))
    assert not any(word in output for word in ("Tip", "litlogger", "FLOPs", "Warning", "GPU available", "log_every"))
    assert not list(tmp_path.glob("lightning_logs"))
    code, output = finish(start(tmp_path, *arguments, "--data.split=kfold", module="aed.cli", python=forking))
    assert code == 1 and "--data.split: need one of" in output and "Traceback" not in output


def test_the_main_job_on_real_audio(tmp_path, esc10, pretrained, forking):
    arguments = ["experiment=esc10_yamnet", "data.test_fold=1", f"hydra.run.dir={tmp_path}/run"]
    code, output = finish(start(tmp_path, *arguments, python=forking))
    assert code == 0, output
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    assert metrics["test/clip_acc"] >= 0.9
    assert metrics["data/leaking_sources"] == 0 and metrics["data/test_clips"] == 80
    assert (tmp_path / "mlruns.db").is_file() and list((tmp_path / "run/tensorboard").iterdir())
    assert metrics["test_int8/clip_acc"] >= metrics["test/clip_acc"] - 0.03
    assert metrics["test_int8/sqnr_db"] >= 25
    for name, prefix in (("model.onnx", "test"), ("model_int8.onnx", "test_int8")):
        arguments = [f"model={tmp_path}/run/{name}", f"hydra.run.dir={tmp_path}/again"]
        code, output = finish(start(tmp_path, *arguments, module="aed.evaluate", python=forking))
        assert code == 0, output
        again = json.loads((tmp_path / "again/metrics.json").read_text())
        assert again[f"{prefix}/clip_acc"] == pytest.approx(metrics[f"{prefix}/clip_acc"])
    clips = sorted((esc10 / "esc10" / "audio").glob("1-*-A-10.ogg"))[:3]
    arguments = [f"model={tmp_path}/run/model_int8.onnx", *map(str, clips), "format=csv"]
    code, output = finish(start(tmp_path, *arguments, module="aed.predict", python=forking))
    assert code == 0 and output.count(",rain,") >= 2, output
