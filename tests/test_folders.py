"""Runs that begin together, in processes of their own: none writes into another's folder."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from aed.base.paths import CONFIG_DIR

pytestmark = pytest.mark.usefixtures("processes")

APP = """
import time
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig


@hydra.main(version_base="1.3", config_path=".", config_name="app")
def main(cfg):
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / "begun").write_text(str(cfg.number), encoding="utf-8")
    while cfg.wait and not Path("go").exists():
        time.sleep(0.02)


main()
"""

CONFIG = """
number: 0
wait: false
hydra:
  run: {dir: "outputs/${now:%Y}"}
  sweep: {dir: "multirun/${now:%Y}", subdir: "${hydra.job.num}"}
  callbacks: {folder: {_target_: aed.run.folders.OwnFolder}}
"""
"""Folders are named by the year: whatever runs begin now begin in the same one."""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "app.py").write_text(APP, encoding="utf-8")
    (tmp_path / "app.yaml").write_text(CONFIG, encoding="utf-8")
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        root = str(Path(__file__).parents[1])
        begun.append(
            subprocess.Popen(
                [sys.executable, "app.py", *arguments],
                cwd=tmp_path,
                env=os.environ | {"PYTHONPATH": root} | environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                encoding="utf-8",
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def said(process: "subprocess.Popen[str]") -> str:
    """What a process that fails says."""
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in text, text
    return text


def wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def test_runs_that_begin_together_have_a_folder_each(tmp_path: Path, start: Start) -> None:
    processes = [start(f"number={number}") for number in range(3)]
    assert [process.wait(60) for process in processes] == [0] * 3
    folders = sorted((tmp_path / "outputs").iterdir())
    year = folders[0].name
    assert [folder.name for folder in folders] == [year, *(f"{year}_{number:02d}" for number in (2, 3))]
    numbers = [(folder / "begun").read_text() for folder in folders]
    assert sorted(numbers) == list("012")
    for folder, number in zip(folders, numbers, strict=True):
        assert yaml.safe_load((folder / ".hydra" / "overrides.yaml").read_text()) == [f"number={number}"]
        assert (folder / "app.log").is_file()


def test_a_named_folder_in_use_is_refused_untouched_until_its_run_is_dead(tmp_path: Path, start: Start) -> None:
    place = tmp_path / "mine"
    first = start("hydra.run.dir=mine", "number=1", "wait=true")
    wait_for(place / "begun")
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != ".run.lock"}
    assert "hydra.run.dir: another run is writing to mine" in said(start("hydra.run.dir=mine", "number=2"))
    after = {path: path.read_bytes() for path in place.rglob("*") if path.is_file() and path.name != ".run.lock"}
    assert after == before and yaml.safe_load(after[place / ".hydra" / "overrides.yaml"])[0] == "number=1"
    first.send_signal(signal.SIGKILL)
    first.wait()
    later = start("hydra.run.dir=mine", "number=3")
    assert later.wait(60) == 0 and (place / "begun").read_text() == "3", "a later stage in an earlier folder"


def test_sweeps_and_runs_keep_apart(tmp_path: Path, start: Start) -> None:
    """Jobs are composed anew from the sweep's overrides: they have to follow it to its numbered folder."""
    sweeps = [start("-m", "number=1,2", "wait=true") for _ in range(2)]
    wait_for(tmp_path / "multirun")
    while len(folders := sorted((tmp_path / "multirun").glob("*"))) < 2:
        time.sleep(0.02)
    for folder in folders:
        wait_for(folder / "0" / "begun")
    inside = folders[1] / "0"
    alone = start("hydra.run.dir=alone/0", "wait=true")
    wait_for(tmp_path / "alone" / "0" / "begun")
    refused = (
        start("-m", "number=3,4", f"hydra.sweep.dir={folders[0]}"),
        start(f"hydra.run.dir={inside}", "number=5"),
        start("-m", "number=6,7", "hydra.sweep.dir=alone"),
    )
    for process, words in zip(
        refused, ("another run is writing", "belongs to a sweep", "a run is writing"), strict=True
    ):
        assert words in said(process)
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in (*sweeps, alone)] == [0, 0, 0]
    for folder in folders:
        assert [(folder / job / "begun").read_text() for job in "01"] == ["1", "2"]
    assert len(list((tmp_path / "multirun").iterdir())) == 2


def test_further_processes_of_a_run_share_its_folder_and_leave_its_files(tmp_path: Path, start: Start) -> None:
    first = start("hydra.run.dir=both", "number=1", "wait=true")
    wait_for(tmp_path / "both" / "begun")
    second = start("hydra.run.dir=both", "number=2", RANK="1", LOCAL_RANK="1")
    assert second.wait(60) == 0 and (tmp_path / "both" / "begun").read_text() == "2"
    assert yaml.safe_load((tmp_path / "both" / ".hydra" / "overrides.yaml").read_text())[0] == "number=1"
    (tmp_path / "go").touch()
    assert first.wait(60) == 0


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, start: Start) -> None:
    (tmp_path / "file").touch()
    places = ("file", "file/inside", "/proc/nothing")
    for place, process in [(place, start(f"hydra.run.dir={place}")) for place in places]:
        assert f"hydra.run.dir: {place} cannot be written" in said(process)
    assert "hydra.sweep.dir: file cannot be written" in said(start("-m", "number=1,2", "hydra.sweep.dir=file"))


def test_every_command_with_a_folder_of_its_own_keeps_it() -> None:
    for path in CONFIG_DIR.glob("*.yaml"):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "${now:" in str(content["hydra"]["run"]):
            assert content["hydra"]["callbacks"]["folder"] == {"_target_": "aed.run.folders.OwnFolder"}, path


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_no_two_jobs_of_a_sweep_share_a_folder(tmp_path: Path, start: Start, launcher: str) -> None:
    sweep = ("-m", "number=1,2", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
    for subdir, name in (("run", "run"), ("${wait}/a/..", "False")):
        words = said(start(*sweep, f"hydra.sweep.subdir={subdir}"))
        assert f"hydra.sweep.subdir: {name} is one folder for several jobs" in words
    assert not (tmp_path / "sweep").exists()
    words = said(start(*sweep, "hydra.sweep.subdir=${hydra.job.num}/../same"))
    assert "hydra.sweep.subdir: an earlier job of this sweep wrote to" in words or "written to already" in words
    again = [start(*sweep, "hydra.sweep.subdir=${number}").wait(60) for _ in range(2)]
    assert again == [0, 0], "a later sweep in the folders of an earlier one"
    assert [(tmp_path / "sweep" / job / "begun").read_text() for job in "12"] == ["1", "2"]
    one = start("-m", "number=1", "hydra.sweep.dir=one", "hydra.sweep.subdir=run")
    assert one.wait(60) == 0 and (tmp_path / "one" / "run" / "begun").read_text() == "1"


def test_a_running_sweep_is_not_entered_by_another_way(tmp_path: Path, start: Start) -> None:
    sweep = start("-m", "number=1,2", "wait=true", "hydra.sweep.dir=sweep")
    wait_for(tmp_path / "sweep" / "0" / "begun")
    (tmp_path / "link").symlink_to("sweep/0")
    for arguments in (
        ("hydra.run.dir=link",),
        ("hydra.run.dir=sweep/0/a/b/c",),
        ("-m", "number=3,4", "hydra.sweep.dir=sweep/0"),
        ("-m", "number=3,4", "hydra.sweep.dir=link/a"),
    ):
        assert "belongs to a sweep that is running" in said(start(*arguments))
    assert not (tmp_path / "sweep" / "0" / "a").exists(), "nothing is made there"
    (tmp_path / "go").touch()
    assert sweep.wait(60) == 0
    later = start("hydra.run.dir=link", "number=5")
    assert later.wait(60) == 0 and (tmp_path / "sweep" / "0" / "begun").read_text() == "5"


@pytest.mark.parametrize("arguments", [("hydra.run.dir=",), ("-m", "number=1,2", "hydra.sweep.dir=")])
def test_an_empty_folder_name_is_refused(tmp_path: Path, start: Start, arguments: tuple[str, ...]) -> None:
    assert f"{arguments[-1].rstrip('=')}: names no folder" in said(start(*arguments))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "app.yaml"]
