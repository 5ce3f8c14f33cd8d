"""A search in MLflow: its trials lie below one run, which says what was found."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_search import BOARD, SPACE, TRAIN

from aed.base.errors import AedError
from aed.run.search import work
from aed.run.search.verb import search
from aed.run.tracking.sweeps import PARENT
from aed.scoring import tables

mlflow = pytest.importorskip("mlflow")
from mlflow.tracking import MlflowClient  # noqa: E402

pytestmark = pytest.mark.usefixtures("trains", "compiles", "quick_pictures")


def find(root: Path, *words: str, **changes: Any) -> None:
    (root / "tiny.yaml").write_text(yaml.safe_dump(SPACE))
    settings: dict[str, Any] = {
        "training": [*TRAIN, "logger=mlflow", *words], "board": BOARD, "flash_kib": 64.0, "deploy": False,
        "space": str(root / "tiny.yaml"),
        "trials": 2, "winners": 1, "folder": str(root / "found"),
    }  # fmt: skip
    search(**settings | changes)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("search")
    find(root, f"logger.mlflow.tracking_uri=sqlite:///{root}/runs.db")
    return root


def test_trials_lie_below_one_run_which_has_the_best(found: Path) -> None:
    client = MlflowClient(f"sqlite:///{found}/runs.db")
    experiment = client.get_experiment_by_name("search")
    runs = {run.info.run_id: run for run in client.search_runs([experiment.experiment_id])}
    content = tables.read_json(found / "found" / "search.json")
    trained = [row for row in content["trials"] if row["state"] == "trained"]
    (parent,) = [run for run in runs.values() if PARENT not in run.data.tags]
    children = [run for run in runs.values() if PARENT in run.data.tags]
    assert {run.data.tags[PARENT] for run in children} == {parent.info.run_id}
    assert len(children) == len(trained) + sum(row["state"] in ("given up", "failed") for row in content["trials"]) == 2
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    told = {run.data.metrics["search/instructions"]: run.data.metrics for run in children}
    for row in trained:
        own = told[row["costs"]["instructions"]]
        assert own["val/clip_acc"] == pytest.approx(row["score"])
        assert own["search/flash_bytes"] == row["costs"]["flash_bytes"]
    best = content["winners"][0]
    assert parent.data.metrics["search/best_trial"] == best["number"]
    assert parent.data.metrics["search/best_test_int8"] == best["tested"]["int8"]
    assert parent.data.metrics["search/trained"] == len(trained)
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} == {
        "search.json",
        "trials.csv",
        "pareto.png",
    }
    (winner,) = [run for run in children if "test_int8/clip_acc" in run.data.metrics]
    assert winner.data.metrics["test_int8/clip_acc"] == best["tested"]["int8"]


def test_a_server_that_is_not_there_ends_the_search_before_any_trial(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(work, "train", lambda *_: pytest.fail("a trial was begun"))
    with pytest.raises(AedError, match=r"^logger\.mlflow\.tracking_uri: .*127\.0\.0\.1:1 does not answer"):
        find(tmp_path, "logger.mlflow.tracking_uri=http://127.0.0.1:1")
    with pytest.raises(AedError, match=r"^logger\.mlflow\.run_id: the search sets this itself"):
        find(tmp_path, "logger.mlflow.run_id=x")
    assert not (tmp_path / "found").exists()
