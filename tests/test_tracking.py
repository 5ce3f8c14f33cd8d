"""What MLflow's own server and TensorBoard's own reader show of a run and a sweep."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
import yaml
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from PIL import Image

from aed.base.addresses import check_address
from aed.base.errors import AedError
from aed.export.card import read_card
from aed.run.tracking import mlflow_logger, results, sweeps
from aed.run.tracking.names import MOST_LETTERS, flat, metric_name, without_secrets

mlflow = pytest.importorskip("mlflow")
from mlflow.tracking import MlflowClient  # noqa: E402
from mlflow.utils.validation import _validate_metric_name  # noqa: E402

SMALL = [
    "aed.train",
    "-m",
    "experiment=demo",
    *tiny.DATA,
    "callbacks.progress=null",
    "trainer.max_epochs=2",
    "frontend.n_mels=16",
    "frontend.patch_frames=32",
    "trainer.accelerator=cpu",
    "threads=1",
]


@given(st.text(st.characters(codec="utf-8"), min_size=1), st.text(st.characters(codec="utf-8"), min_size=1))
def test_names_are_accepted_by_mlflow_and_stay_apart(one: str, other: str) -> None:
    for name in (one, other):
        clean = metric_name(f"test/{name}")
        _validate_metric_name(clean)
        assert len(clean) <= MOST_LETTERS
    assert (metric_name(f"test/{one}") == metric_name(f"test/{other}")) == (one == other)


@pytest.mark.parametrize("names", [("a,b", "a;b", "ab"), ("a:2c:b", "a,b"), (".", ":2e:"), ("x" * 300, "x" * 301)])
def test_names_that_lightning_would_join_stay_apart(names: Sequence[str]) -> None:
    assert len({metric_name(f"test/{name}") for name in names}) == len(names)
    assert metric_name("test/clip_acc/dog bark") == "test/clip_acc/dog bark"


def test_settings_keep_nesting_and_lose_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "abc-123-def")
    monkeypatch.setenv("MY_PASSWORD", "pw")  # too short to be told from words
    settings = {"a": {"b": ["pw", "see abc-123-def"], "c": {}}, "abc-123-def": 1, "n": None}
    clean = without_secrets(settings)
    assert clean == {"a": {"b": ["pw", "see ***"], "c": {}}, "***": 1, "n": None}
    assert flat(settings | {"long": "y" * 7000}) == {
        "a/b": "['pw', 'see abc-123-def']",
        "a/c": "{}",
        "abc-123-def": "1",
        "n": "None",
        "long": "y" * 5997 + "...",
    }


@pytest.mark.parametrize(
    "address", ["https://user:word@host", "http://name@host:5000/x", "s3://k:s@bucket", "http://[::1"]
)
def test_an_address_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(AedError, match=r"^logger: ") as caught:
        check_address("logger", address, "VARIABLES")
    assert "word" not in str(caught.value).replace("password", "")
    check_address("logger", "sqlite:////a@b/c.db", "VARIABLES")


def test_a_server_that_does_not_answer_is_said_at_once() -> None:
    node = OmegaConf.create({"tracking_uri": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(AedError, match=r"logger.mlflow.tracking_uri: http.* does not answer .*start 'mlflow server'"):
        mlflow_logger.check("logger.mlflow", node)


def test_a_server_that_fails_ends_the_log_and_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    logger = mlflow_logger.MLFlowLogger(tracking_uri="http://127.0.0.1:1", run_id="0")

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("gone\nmore")

    logger._mlflow_client, logger._initialized = SimpleNamespace(log_batch=fails, get_run=fails), True
    for _ in range(3):
        logger.log_metrics({"a": 1.0}, 0)
    logger.end("FINISHED")
    assert caplog.text.count("cannot be logged (gone)") == 1


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/server.db",
        "--artifacts-destination",
        str(folder / "files"),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            cwd=folder,
            start_new_session=True,
            env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        until = time.monotonic() + 900
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has children of its own
        process.wait()


@pytest.fixture(scope="module")
def sweep(server: str, tmp_path_factory: pytest.TempPathFactory, forking: list[str], trains: None) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    words = [*SMALL, "seed=0,1", "data.test_fold=3", "logger.mlflow.experiment_name=x", f"hydra.sweep.dir={folder}"]
    own = {"MLFLOW_TRACKING_URI": server, "MLFLOW_TRACKING_TOKEN": "not-to-be-seen", "AED_CACHE_DIR": str(folder / "c")}
    done = subprocess.run(
        [*forking, *words], cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (folder / "mlruns.db").exists() and "not-to-be-seen" not in done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def client(server: str) -> MlflowClient:
    return MlflowClient(server)


@pytest.fixture(scope="module")
def runs(client: MlflowClient, sweep: Path) -> dict[str, mlflow.entities.Run]:
    found = client.search_runs([client.get_experiment_by_name("x").experiment_id])
    return {Path(run.info.run_name).name: run for run in found}


def test_a_server_shows_all_of_metrics_json(sweep: Path, runs: dict[str, mlflow.entities.Run]) -> None:
    assert set(runs) == {"0", "1", sweep.name}
    for job in ("0", "1"):
        metrics = json.loads((sweep / job / "metrics.json").read_text())
        shown = runs[job].data.metrics
        assert {"test/clip_acc", "test_int8/clip_acc", "test/clip_acc/hum"} <= set(metrics)
        for key, value in metrics.items():
            assert math.isnan(shown[key]) if value is None else shown[key] == value, key
        assert runs[job].info.status == "FINISHED"
        assert runs[job].data.params["seed"] == job
        assert runs[job].data.params["data/clips/class_names"] == "['alarm', 'hum', 'rain']"
    assert "not-to-be-seen" not in str([(run.data.params, run.data.tags) for run in runs.values()])


def test_jobs_lie_below_their_sweep_which_has_the_summary(sweep: Path, runs: dict[str, mlflow.entities.Run]) -> None:
    parent = runs[sweep.name]
    assert all(runs[job].data.tags[sweeps.PARENT] == parent.info.run_id for job in ("0", "1"))
    summary = json.loads((sweep / "summary.json").read_text())
    for key, entry in summary.items():
        assert parent.data.metrics[key] == entry["mean"] and parent.data.metrics[f"sd/{key}"] == entry["sd"]
    assert parent.data.metrics["low/test/clip_acc"] == summary["test/clip_acc"]["low"]
    assert parent.info.status == "FINISHED"


def test_a_server_gives_files_and_models_back_as_they_are(
    sweep: Path, client: MlflowClient, runs: dict[str, mlflow.entities.Run], server: str, tmp_path: Path
) -> None:
    mlflow.set_tracking_uri(server)
    run_id = runs["0"].info.run_id
    every = Path(client.download_artifacts(run_id, "", str(tmp_path)))
    for path in (*(sweep / "0/plots").glob("*.png"), sweep / "0/test_clips.csv", sweep / "0/metrics.json"):
        assert (every / path.relative_to(sweep / "0")).read_bytes() == path.read_bytes()
    assert "seed=0" in yaml.safe_load((every / "hydra/overrides.yaml").read_text())
    assert not list(every.rglob("*.ckpt"))
    models = client.search_logged_models([runs["0"].info.experiment_id])
    own = {model.name: model for model in models if model.source_run_id == run_id}
    assert set(own) == {"model", "model_int8"}
    for name, logged in own.items():
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/{logged.model_id}", dst_path=str(tmp_path / name)))
        mine, theirs = onnx.load(sweep / "0" / f"{name}.onnx"), onnx.load(folder / "model.onnx")
        assert mine == theirs
        signature = mlflow.models.Model.load(str(folder))
        (given_input,), card = signature.get_input_schema().inputs, read_card(theirs, name)
        (end,) = onnxruntime.InferenceSession(theirs.SerializeToString()).get_inputs()
        assert given_input.shape == tuple(-1 if isinstance(size, str) else size for size in end.shape)
        assert given_input.name == end.name and given_input.type == np.float32 and end.type == "tensor(float)"
        assert card is not None and card.class_names == ("alarm", "hum", "rain")
        assert json.loads(signature.metadata["aed_card"]) == json.loads((every / f"{name}.card.json").read_text())
        assert json.loads(signature.metadata["aed_card"]) == json.loads(card.to_json())


def test_later_stages_go_on_with_the_run_of_their_folder(
    sweep: Path, client: MlflowClient, runs: dict[str, mlflow.entities.Run], server: str
) -> None:
    node = OmegaConf.create({"tracking_uri": server, "run_id": None, "run_name": "a"})
    known = mlflow_logger.known_run(node, sweep / "1")
    assert known == {"run_id": runs["1"].info.run_id}
    assert mlflow_logger.known_run(node, sweep / "nothing") == {}
    logger = mlflow_logger.MLFlowLogger(tracking_uri=server, **known)
    assert mlflow_logger.open_run(logger, sweep / "1", known)
    logger.log_hyperparams({"seed": 5, "new": 2})
    results._log_models(logger, sweep / "1")  # the same files: none is logged again
    assert client.get_run(known["run_id"]).info.status == "RUNNING"
    logger.end("KILLED")
    run = client.get_run(known["run_id"])
    assert run.info.status == "KILLED" and run.data.params["seed"] == "1" and run.data.params["new"] == "2"
    models = client.search_logged_models([run.info.experiment_id])
    assert sum(model.source_run_id == run.info.run_id for model in models) == 2
    gone = {"run_id": "0" * 32}
    assert not mlflow_logger.open_run(mlflow_logger.MLFlowLogger(tracking_uri=server, **gone), sweep / "1", gone)


def test_tensorboard_has_pictures_and_settings_beside_results(sweep: Path) -> None:
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import plugin_data_pb2

    shown = reader.EventAccumulator(str(sweep / "0/tensorboard"), size_guidance={"images": 0, "scalars": 0}).Reload()
    tags = shown.Tags()
    assert set(tags["images"]) == {path.stem for path in (sweep / "0/plots").glob("*.png")}
    metrics = json.loads((sweep / "0/metrics.json").read_text())
    for key, value in metrics.items():
        (event,) = shown.Scalars(f"final/{key}")
        assert math.isnan(event.value) if value is None else event.value == pytest.approx(value, rel=1e-6)
    assert "hp_metric" not in tags["scalars"], "a figure that nobody measured"
    image = shown.Images("test_clip_confusion")[0]
    with Image.open(sweep / "0/plots/test_clip_confusion.png") as picture:
        assert (image.width, image.height) == picture.size
    start = shown.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["trainer/max_epochs"].number_value == 2 and re.search(
        "hum", str(settings["data/clips/class_names"])
    )
