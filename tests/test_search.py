"""A whole search on made sounds: killed, gone on with, its winners measured, tested once and delivered as C."""

import csv
import json
import multiprocessing
import os
import shlex
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from aed.base.errors import AedError
from aed.run import pipeline
from aed.run.registry import register
from aed.run.search import trial, verb, winners, work
from aed.run.search.costs import Costs
from aed.run.search.front import dominates
from aed.run.search.plan import Plan
from aed.run.search.study import Study
from aed.run.search.verb import search
from aed.scoring import tables
from aed.settings.composing import compose_beside

pytestmark = pytest.mark.usefixtures("trains", "compiles", "processes", "quick_pictures")

SPACE = {
    "tiny": {
        "experiment": "demo",
        "set": {"model/net": "dscnn", "frontend.n_mels": 16, "trainer.max_epochs": 2, "model.net.n_blocks": 1},
        "search": {
            "model.net.channels": [4, 8, 512],
            "frontend.patch_frames": [32, 16],
            "model.optimizer.lr": {"low": 0.003, "high": 0.03, "log": True},
        },
    }
}
TRAIN = [
    *(word for word in tiny.DATA if not word.startswith("data=")),
    "trainer.accelerator=cpu",
    "data.cache_workers=1",
    "data.batch_size=8",
]
BOARD, TRIALS = "nucleo-u575zi-q", 3
COSTS = {"instructions": "instructions", "flash": "flash_bytes", "ram": "ram_bytes"}


def same(root: Path, **changes: Any) -> None:
    """The command as a call."""
    settings: dict[str, Any] = {
        "training": TRAIN, "board": BOARD, "flash_kib": 64.0, "ram_kib": 32.0, "space": str(root / "tiny.yaml"),
        "trials": TRIALS, "winners": 1, "folder": str(root / "found"),
    }  # fmt: skip
    search(**settings | changes)


def killed_in_the_second(folder: Path) -> None:
    """The same command in a process of its own, which waits after an epoch of its second trial to be killed."""
    goes_on = trial.Watch.on_validation_end

    def waits(self: trial.Watch, *arguments: Any) -> None:
        goes_on(self, *arguments)
        if (folder / "found" / "trials" / "0001").is_dir():
            (folder / "waits").touch()
            time.sleep(600)

    trial.Watch.on_validation_end = waits  # type: ignore[method-assign]
    same(folder)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a search that was killed in its second training, and gone on with by the same command."""
    folder = tmp_path_factory.mktemp("search")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(SPACE, sort_keys=False), encoding="utf-8")
    process = multiprocessing.get_context("fork").Process(target=killed_in_the_second, args=(folder,))
    process.start()
    until = time.monotonic() + 300
    while not (folder / "waits").exists():
        assert time.monotonic() < until and process.is_alive()
        time.sleep(0.02)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    same(folder)
    return folder


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "found" / "search.json").read_text())
    return content


def test_the_killed_trial_is_begun_again_and_there_are_as_many_as_asked_for(found: Path) -> None:
    rows = results(found)["trials"]
    states = [row["state"] for row in rows]
    assert states.count("killed") == 1 and states[1] == "killed"
    assert sum(state in ("trained", "given up", "failed") for state in states) == TRIALS
    assert "trained" in states and "running" not in states and "waiting" not in states
    again = [row for row in rows if row["parameters"] == rows[1]["parameters"] and row["number"] != 1]
    assert [row["state"] for row in again] == ["trained"]


def test_a_point_that_cannot_fit_is_not_trained_and_says_why(found: Path) -> None:
    for row in results(found)["trials"]:
        is_wide = row["parameters"]["model.net.channels"] == 512
        assert (row["state"] == "cut") == is_wide
        if is_wide:
            assert "KiB of flash, there are 64" in row["why"]
            assert not (found / "found" / "trials" / f"{row['number']:04d}" / "checkpoints").exists()


def test_winners_keep_the_limits_and_are_on_the_front_of_validation(found: Path) -> None:
    content = results(found)
    trained = {row["number"]: row for row in content["trials"] if row["state"] == "trained"}
    points = {
        number: {"score": row["score"], **{key: row["costs"][name] for key, name in COSTS.items()}}
        for number, row in trained.items()
    }
    front = {n for n, own in points.items() if not any(dominates(other, own) for other in points.values())}
    assert set(content["front"]) == front and content["winners"]
    best = max(trained[number]["score"] for number in front)
    assert content["winners"][0]["score"] == best
    for winner in content["winners"]:
        assert winner["number"] in front and winner["source"] == "emulated"
        assert winner["costs"]["flash_bytes"] <= 64 * 1024 and winner["costs"]["ram_bytes"] <= 32 * 1024


def test_estimates_are_near_what_the_board_shows(found: Path) -> None:
    for winner in results(found)["winners"]:
        own, true = winner["estimated"], winner["costs"]
        assert abs(own["flash_bytes"] - true["flash_bytes"]) < 1024
        assert abs(own["ram_bytes"] - true["ram_bytes"]) < 1500
        assert own["instructions"] == pytest.approx(true["instructions"], rel=0.06)
        assert own["load"] == pytest.approx(true["load"], rel=0.3)


def test_test_clips_are_scored_for_winners_alone(found: Path) -> None:
    content = results(found)
    won = {winner["number"] for winner in content["winners"]}
    for row in content["trials"]:
        folder = found / "found" / "trials" / f"{row['number']:04d}"
        assert (folder / "test_clips.csv").is_file() == (row["number"] in won)
        metrics = tables.read_metrics(folder / "metrics.json")
        assert any(key.startswith("test") for key in metrics) == (row["number"] in won)
    for winner in content["winners"]:
        metrics = tables.read_metrics(found / "found" / "trials" / f"{winner['number']:04d}" / "metrics.json")
        assert winner["tested"] == {"float": metrics["test/clip_acc"], "int8": metrics["test_int8/clip_acc"]}
        assert winner["score"] == pytest.approx(metrics["val/clip_acc"])


def test_the_table_holds_every_trial_and_the_command_trains_the_same(found: Path) -> None:
    content = results(found)
    with (found / "found" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["trial"]) for row in rows] == [row["number"] for row in content["trials"]]
    assert [int(row["trial"]) for row in rows if row["front"] == "1"] == sorted(content["front"])
    winner = content["winners"][0]["number"]
    (best,) = [row for row in rows if row["winner"] == "1"]
    assert int(best["trial"]) == winner and best["state"] == "trained"
    assert best["model.net.channels"] == str(content["trials"][winner]["parameters"]["model.net.channels"])
    words = shlex.split(content["trials"][winner]["command"])
    assert words[:2] == ["aed", "train"] and "data.val_fold=4" in words
    kept = yaml.safe_load((found / "found" / "trials" / f"{winner:04d}" / ".hydra" / "config.yaml").read_text())
    config = compose_beside("train", [*words[2:], "logger=csv"])
    assert config.model.net.channels == kept["model"]["net"]["channels"]
    assert config.model.optimizer.lr == kept["model"]["optimizer"]["lr"]


def test_the_best_net_is_delivered_as_c(found: Path) -> None:
    firmware = found / "found" / "firmware"
    assert (firmware / "include" / "aed_net.h").is_file() and (firmware / "README.md").is_file()
    card = json.loads((firmware / "aed_firmware.json").read_text())
    best = results(found)["winners"][0]
    assert card["metrics"]["test/clip_acc"] == pytest.approx(best["tested"]["float"])
    assert (found / "found" / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_command_again_trains_and_tests_nothing(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = results(found)

    def never(*arguments: Any) -> None:
        raise AssertionError(arguments)

    monkeypatch.setattr(pipeline, "run", never)
    monkeypatch.setattr(work, "train", never)
    same(found)
    assert results(found) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flash_kib": 60.0}, r"is of another search: flash_kib is '64.0' there and '60.0' here"),
        ({"seed": 1}, "another search: seed is '0' there and '1' here"),
        ({"training": [*TRAIN, "model.label_smoothing=0.1"]}, "another search: keys of aed train is"),
        ({"training": [*TRAIN, "data.clips.seed=7"]}, "another search: keys of aed train is"),
        ({"training": [*TRAIN, "stages=[fit]"]}, "^stages: the search sets this itself"),
        ({"training": [*TRAIN, "model.net.chanels=3"]}, "model.net.chanels"),
        ({"trials": 0}, "^trials: need at least 1, got 0"),
        ({"behind": 2.0}, "^behind: need a number over 0"),
        ({"objectives": ["flash", "score"]}, "^objectives: need score first"),
        ({"objectives": ["score", "speed"]}, "^objectives: need some of .*, got 'speed'"),
        ({"metric": "test/clip_acc"}, "^metric: need one of .*, got 'test/clip_acc'"),
        ({"board": "nucleo"}, "^board: need one of"),
        ({"nets": ["tinny"]}, r"^nets: need some of .*did you mean tiny\?"),
    ],
)
def test_what_is_not_the_same_search_or_none_is_refused(found: Path, changes: dict[str, Any], words: str) -> None:
    before = sorted(path.name for path in (found / "found").iterdir())
    with pytest.raises(AedError, match=words):
        same(found, **changes)
    assert sorted(path.name for path in (found / "found").iterdir()) == before


def test_another_space_is_another_search(found: Path) -> None:
    other = yaml.safe_load((found / "tiny.yaml").read_text())
    other["tiny"]["search"]["model.net.channels"] = [4, 8]
    (found / "other.yaml").write_text(yaml.safe_dump(other))
    before = results(found)
    with pytest.raises(
        AedError, match=r"study search is of another search: space is .*, or begin another one: folder="
    ):
        same(found, space=str(found / "other.yaml"))
    assert results(found) == before


@pytest.mark.parametrize(("rival", "epochs", "behind"), [(Costs(1.0, 1.0, 1.0), 2, 7), (Costs(9e9, 1.0, 1.0), 8, None)])
def test_a_training_ends_once_it_is_behind_one_that_costs_no_more(
    tmp_path: Path, rival: Costs, epochs: int, behind: int | None
) -> None:
    words = [f"output_dir={tmp_path}", "logger=csv", "callbacks.progress=null", "trainer.enable_progress_bar=false"]
    small = [
        "trainer.max_epochs=8",
        "data.val_fold=4",
        "model/net=dscnn",
        "model.net.channels=4",
        "model.net.n_blocks=1",
    ]
    register()
    config = compose_beside("train", ["experiment=demo", "frontend.n_mels=16", *TRAIN, *words, *small])
    config.stages = ["fit", "validate"]
    perfect = trial.Rival(7, rival, [2.0] * 8, 2.0)
    watch = trial.Watch("val/clip_acc", [perfect], Costs(2.0, 2.0, 2.0), 0.1)
    outcome = trial.train(config, tmp_path, [], "val/clip_acc", watch)
    assert len(outcome.curve) == epochs and outcome.behind == behind
    assert (outcome.score is None) == (behind is not None)


def test_a_folder_of_something_else_is_left_alone(found: Path) -> None:
    (found / "mine").mkdir(exist_ok=True)
    (found / "mine" / "notes.txt").write_text("x")
    with pytest.raises(AedError, match="mine: holds files that are of no search; give another folder"):
        same(found, folder=str(found / "mine"))
    assert [path.name for path in (found / "mine").iterdir()] == ["notes.txt"]


def test_a_net_that_is_too_large_once_it_is_int8_is_no_winner_and_not_tested(
    found: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a copy of the study; the first candidate is measured to be larger than was estimated."""
    copied = found / "copy"
    shutil.copytree(found / "found", copied)
    opened: list[tuple[Plan, Study]] = []
    monkeypatch.setattr(verb, "_finish", lambda plan, study, *others: opened.append((plan, study)))
    same(found, folder=str(copied))
    ((plan, study),) = opened
    order = winners.candidates(study.trials(), plan.objectives)
    study.own.set_user_attr("aed_tested", {})
    ran: list[tuple[int, tuple[str, ...]]] = []

    def run(own: Any, of: Any, folder: Path, stages: Any) -> None:
        ran.append((of.number, tuple(stages)))

    def measured(own: Any, config: Any, folder: Path) -> Any:
        ram = 1e6 if int(folder.name) == order[0] else 1.0
        return Costs(1.0, 1.0, ram, None), "emulated"

    monkeypatch.setattr(winners, "_run", run)
    monkeypatch.setattr(winners, "measured_costs", measured)
    monkeypatch.setattr(winners, "_tested", lambda plan, study, trial, winner: winner)
    won, refused = winners.choose_winners(plan, study, 1)
    assert [winner.number for winner in won] == order[1:2]
    assert "KiB of RAM, there are 32" in refused[order[0]]
    assert all(stages == winners.CHECK for _, stages in ran)


def test_where_nothing_fits_the_nearest_is_named(found: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "FRUITLESS", 5)
    with pytest.raises(AedError, match=r"none of \d+ points fits; the nearest, tiny .*needs .*give larger limits"):
        same(found, folder=str(found / "none"), flash_kib=8.0)
    assert (found / "none" / "trials.csv").is_file() and not (found / "none" / "firmware").exists()
