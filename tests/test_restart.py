"""Stages whose results are up to date are skipped; nothing is where anything has changed."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from test_commands import SMALL as TYPED
from test_commands import finish, start

from aed.base.errors import AedError
from aed.run import pipeline, records, stages
from aed.run.records import Records

pytestmark = pytest.mark.usefixtures("trains", "quick_pictures")

SMALL = [
    "experiment=demo", *tiny.DATA, "logger=csv", "callbacks.progress=null", "trainer.max_epochs=2",
    "trainer.enable_progress_bar=false", "frontend.n_mels=16", "frontend.patch_frames=32", "trainer.accelerator=cpu",
    "resume=true",
]  # fmt: skip

CHAIN = ["fit", "test", "export", "quantize", "evaluate"]


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that are executed."""
    names: list[str] = []

    def noting(name, execute):
        return lambda run: (names.append(name), execute(run))

    for name, stage in stages.STAGES.items():
        noted = stages.Stage(
            noting(name, stage.execute), stage.key, stage.settings, stage.check, stage.in_all_processes
        )
        monkeypatch.setitem(stages.STAGES, name, noted)
    return names


def run(folder: Path, *overrides: str) -> dict[str, float]:
    return pipeline.run(tiny.composed(*SMALL, *overrides, folder=folder), folder)


def results(folder: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in records._files(folder)}


def test_what_is_up_to_date_is_skipped_and_what_is_not_is_done(tmp_path, executed, caplog):
    """One run after the other in one folder: the same, other settings, lost and changed files, another chain."""
    run(tmp_path)
    assert executed == CHAIN
    first = json.loads((tmp_path / "metrics.json").read_text())
    before = results(tmp_path)

    def again(expected: list[str], *overrides: str) -> dict[str, float]:
        executed.clear()
        run(tmp_path, *overrides)
        assert executed == expected
        return json.loads((tmp_path / "metrics.json").read_text())

    assert again([]) == first
    assert results(tmp_path) == before
    curves = tmp_path / "plots" / "learning_curves.png"
    curves.unlink()
    assert again(CHAIN[1:]) == pytest.approx(first), "a picture that the stage test was to wait for"
    assert curves.is_file()
    assert again([]) == pytest.approx(first)

    assert again(["quantize", "evaluate"], "quantization.n_calibration=3") is not None
    assert again(["quantize", "evaluate"]) == pytest.approx(first)
    assert results(tmp_path)["model_int8.onnx"] == before["model_int8.onnx"]
    again(CHAIN[1:], "decision.temperature=false", "decision.keep=0.9")
    again(CHAIN[1:])

    (tmp_path / "model.onnx").unlink()
    assert again(["export", "quantize", "evaluate"]) == pytest.approx(first)
    assert results(tmp_path)["model.onnx"] == before["model.onnx"]
    table = tmp_path / "test_int8_clips.csv"
    table.write_text(table.read_text() + "x")
    again(["evaluate"])
    (tmp_path / records.FOLDER / "export.json").write_text("{")
    again(["export", "quantize", "evaluate"])
    assert again(["deploy"], "stages=[fit,test,export,quantize,evaluate,deploy]").items() >= first.items()
    again([])  # the shorter chain is still up to date
    caplog.clear()
    with caplog.at_level("INFO"):
        again(CHAIN, "seed=1")
    assert "nothing in" in caplog.text


def test_what_loggers_write_into_their_folders_is_no_input(tmp_path, executed, monkeypatch):
    """MLflow's default folder is that of all runs; each run writes into it."""
    monkeypatch.chdir(tmp_path)
    words = ["logger=default", "logger.mlflow.experiment_name=x", "stages=[fit,export]"]
    run(tmp_path / "run", *words)
    assert executed == ["fit", "export"] and list((tmp_path / "mlruns").rglob("*.onnx"))
    executed.clear()
    run(tmp_path / "run", *words)
    assert executed == []


def test_another_sound_or_another_code_is_another_run(tmp_path, executed, monkeypatch):
    config = tiny.composed(*SMALL, folder=tmp_path)
    config.stages = list(CHAIN)
    sounds = sorted(tmp_path.glob("**/*.wav"))
    folder = tmp_path / "sounds"
    folder.mkdir()
    data = tiny.data()
    known = Records.of(config, tmp_path, data).keys
    assert Records.of(config, tmp_path, data).keys == known and not sounds
    path = Path(data.table["path"].iloc[0])
    os.utime(path, ns=(1, 1))
    touched = Records.of(config, tmp_path, data).keys
    assert all(touched[name] != known[name] for name in CHAIN)
    data.table.loc[data.table.index[0], "split"] = "train" if data.table["split"].iloc[0] != "train" else "test"
    assert Records.of(config, tmp_path, data).keys["fit"] != touched["fit"]
    monkeypatch.setattr(records, "code_digest", lambda: "other")
    other = Records.of(config, tmp_path, data).keys
    assert all(other[name] != touched[name] for name in CHAIN)
    config.model.net["_target_"] = "mine.Net"
    assert Records.of(config, tmp_path, data).keys == {}
    assert "mine.Net" in Records.of(config, tmp_path, data).why


def test_a_failed_chain_goes_on_where_it_stopped(tmp_path, executed, monkeypatch):
    run(tmp_path / "whole")
    noted = stages.STAGES["quantize"]

    def fails(run):
        raise AedError("quantize: no")

    with monkeypatch.context() as patch:
        patch.setitem(stages.STAGES, "quantize", replace(noted, execute=fails))
        with pytest.raises(AedError, match="no"):
            run(tmp_path / "run")
    executed.clear()
    run(tmp_path / "run")
    assert executed == ["quantize", "evaluate"]
    failed, whole = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("run", "whole"))
    assert {**failed, "fit/seconds": 0} == {**whole, "fit/seconds": 0}


def test_the_last_epoch_of_another_training_is_not_gone_on_from(tmp_path):
    last = tmp_path / records.LAST
    last.parent.mkdir()
    last.write_bytes(b"of other settings")
    own = Records(tmp_path, {"fit": "key"})
    assert not own.begun("fit")
    own.begin("fit")
    assert not own.begun("fit"), "killed before its first epoch"
    last.write_bytes(b"first epoch")
    assert own.begun("fit") and not Records(tmp_path, {"fit": "other"}).begun("fit")
    own.begin("fit")
    assert own.begun("fit"), "killed again"
    own.end("fit", {}, last)
    assert not own.begun("fit") and own.up_to_date() == ["fit"] and own.checkpoint("fit") == last


@pytest.mark.usefixtures("processes")
def test_a_killed_training_goes_on_from_its_last_epoch(tmp_path, forking):
    typed = [*TYPED, "trainer.max_epochs=60", "resume=true"]
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    folder = tmp_path / "killed" / "run"
    process = start(tmp_path / "killed", *typed, f"hydra.run.dir={folder}", python=forking)
    last = folder / "checkpoints" / "last.ckpt"
    while not last.is_file() and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    finish(process)
    child = json.loads((folder / records.FOLDER / "fit.json").read_text())
    assert child["begun"] is True
    for name in ("killed", "whole"):
        place = tmp_path / name
        code, output = finish(start(place, *typed, f"hydra.run.dir={place}/run", python=forking))
        assert code == 0, output
        assert ("the training goes on from" in output) == (name == "killed"), output
    killed, whole = (json.loads((tmp_path / name / "run/metrics.json").read_text()) for name in ("killed", "whole"))
    assert {**killed, "fit/seconds": 0} == {**whole, "fit/seconds": 0}
