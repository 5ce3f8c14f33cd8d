"""A study that several processes work on, of which some are killed: every trial once, none lost."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aed.base.addresses import without_credentials
from aed.base.errors import AedError
from aed.run.search import journal, work
from aed.run.search import storage as storages
from aed.run.search import study as studies
from aed.run.search.costs import Costs, Limits
from aed.run.search.plan import Plan
from aed.run.search.space import Family, Range, Values
from aed.run.search.study import AGAIN, KILLED, Study, counted
from aed.run.search.trial import Outcome
from aed.run.search.work import Worker
from aed.target.boards import load_board

FAMILY = Family("one", "demo", {}, (Values("width", (1, 2, 3, 4)), Range("rate", 0.0, 1.0)))
IDENTITY = {"aed": "1"}
KINDS = ("sqlite", "journal")
FORK = multiprocessing.get_context("fork")


def plan(**changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "families": {"one": FAMILY}, "typed": (), "board": load_board("nucleo-u575zi-q"),
        "limits": Limits(100.0, None, None), "objectives": ("score", "instructions", "flash", "ram"),
        "metric": "val/clip_acc", "num_classes": 3, "behind": None, "seed": 0,
    } | changes  # fmt: skip
    return Plan(**settings)


def place(kind: str, folder: Path) -> str:
    return f"sqlite:///{folder}/study.db" if kind == "sqlite" else f"{folder}/study.journal"


def opened(
    kind: str, folder: Path, identity: dict[str, str] = IDENTITY, first: Any = (), own: Plan | None = None
) -> Study:
    directions = ["maximize", "minimize", "minimize", "minimize"][: len((own or plan()).objectives)]
    return Study.open(place(kind, folder), folder, "search", directions, identity, first, seed=0)


@pytest.fixture(autouse=True)
def instead_of_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are neither composed nor trained: the widest do not fit, and the score is the rate."""

    def train(config: Any, folder: Path, overrides: Any, metric: str, watch: Any) -> Outcome:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder.parent / "trained.txt").open("a") as file:
            file.write(f"{folder.name}\n")
        time.sleep(0.01)
        return Outcome(config["rate"], [])

    monkeypatch.setattr(Plan, "config", lambda self, family, chosen, folder, stages: chosen)
    monkeypatch.setattr(Plan, "overrides", lambda self, family, chosen: [])
    monkeypatch.setattr(
        work, "estimate", lambda config, classes, board: Costs(config["width"], 1024 * 30 * config["width"], 1.0)
    )
    monkeypatch.setattr(work, "train", train)


def working(kind: str, folder: Path, most: int) -> None:
    """What a process does; ends it."""
    try:
        Worker(plan(), opened(kind, folder), most).work()
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
    os._exit(0)


def begun(kind: str, folder: Path, most: int, target: Callable[..., None] = working) -> Any:
    process = FORK.Process(target=target, args=(kind, folder, most))
    process.start()
    return process


def check(study: Study, most: int, folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The law of a study that is over: as many trained as were asked for, each once, each point once, none open."""
    trials = study.trials()
    assert counted(trials) == most
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert all(trial.state.is_finished() for trial in trials)
    done = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert len({tuple(sorted(trial.params.items())) for trial in done}) == len(done)
    for trial in trials:
        if trial.state.name != "FAIL":  # the widest do not fit
            assert (trial.params["one/width"] == 4) == (trial.state.name == "PRUNED") == ("cut" in trial.user_attrs)
            assert (trial.constraints["flash"] > 0) == (trial.state.name == "PRUNED")
    trained = (folder / "trials" / "trained.txt").read_text().split()
    assert Counter(trained) == {f"{trial.number:04d}": 1 for trial in done}
    return trials


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_that_create_one_study_lose_and_double_nothing(kind: str, tmp_path: Path) -> None:
    processes = [begun(kind, tmp_path, 8) for _ in range(2)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    trials = check(opened(kind, tmp_path), 8, tmp_path)
    assert any("cut" in trial.user_attrs for trial in trials), "no point was too wide; take another seed"


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_that_ends_while_it_is_looked_at_is_not_taken_back(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    study = opened(kind, tmp_path)
    first = study.begin(3)
    assert first is not None
    trial, lock = first

    def ends(*_: Any) -> bool:
        trial.set_constraint("possible", 0.0)
        study.own.tell(trial, state=optuna.trial.TrialState.PRUNED)
        lock.release()
        return True

    monkeypatch.setattr(Study, "_is_dead", ends)
    second = study.begin(3)
    assert second is not None
    second[1].release()
    assert [own.state.name for own in study.trials()] == ["PRUNED", "RUNNING"]


def stuck(kind: str, folder: Path, most: int) -> None:
    """Works on trials, and never ends the third."""

    def train(config: Any, own: Path, *others: Any) -> Outcome:
        if own.name == "0002":
            (own / "begun").touch()
            time.sleep(600)
        return ended(config, own, *others)

    ended, work.train = work.train, train
    working(kind, folder, most)


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until, path
        time.sleep(0.01)


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_loses_one_trial_which_is_begun_again(kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(work, "estimate", lambda config, classes, board: Costs(1, 1024, 1.0))
    process = begun(kind, tmp_path, 5, stuck)
    wait_for(tmp_path / "trials" / "0002" / "begun")
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    study = opened(kind, tmp_path)
    before = study.trials()
    assert [trial.state.name for trial in before] == ["COMPLETE", "COMPLETE", "RUNNING"]
    Worker(plan(), study, 5).work()
    trials = study.trials()
    assert counted(trials) == 5 and all(trial.state.is_finished() for trial in trials)
    (killed,) = [trial for trial in trials if KILLED in trial.user_attrs]
    (again,) = [trial for trial in trials if AGAIN in trial.user_attrs]
    assert killed.number == again.user_attrs[AGAIN] == 2 and killed.params == again.params
    assert again.state.name == "COMPLETE"
    assert [trial.values for trial in trials[:2]] == [trial.values for trial in before[:2]]


@pytest.mark.usefixtures("processes")
def test_a_trial_of_a_process_at_work_is_left_alone_and_one_killed_twice_counts(tmp_path: Path) -> None:
    process = begun("sqlite", tmp_path, 4, stuck)
    wait_for(tmp_path / "trials" / "0002" / "begun")
    study = opened("sqlite", tmp_path)
    Worker(plan(), study, 4).work()
    assert study.trials()[2].state.name == "RUNNING"
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    for _ in range(2):  # by whoever begins it next, it is killed again
        trial, lock = study.begin(6)
        lock.release()
    assert trial.user_attrs.get(AGAIN) is None, "another point: the one before was given up"
    states = [(own.state.name, KILLED in own.user_attrs, AGAIN in own.user_attrs) for own in study.trials()]
    assert states[2] == ("FAIL", True, False) and ("FAIL", False, True) in states


def test_an_interrupted_trial_is_begun_again_by_the_same_command(tmp_path: Path, monkeypatch: Any) -> None:
    def train(*arguments: Any) -> Outcome:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(work, "train", train)
        patch.setattr(work, "estimate", lambda config, classes, board: Costs(1, 1024, 1.0))
        with pytest.raises(KeyboardInterrupt):
            Worker(
                plan(), opened("journal", tmp_path, first=[{"net": "one", "one/width": 2, "one/rate": 0.5}]), 3
            ).work()
    study = opened("journal", tmp_path)
    Worker(plan(), study, 3).work()
    trials = study.trials()
    assert [studies.SHIPPED in trial.user_attrs for trial in trials] == [True, True, False, False]
    assert counted(trials) == 3 and KILLED in trials[0].user_attrs and trials[1].params == trials[0].params


@pytest.mark.usefixtures("computes")
def test_a_trial_that_fails_is_counted_and_the_study_goes_on(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    caplog.set_level("INFO")

    def train(config: Any, folder: Path, *others: Any) -> Outcome:
        if config["width"] == 1:
            raise AedError("net.width: 1 is too narrow")
        return Outcome(config["rate"], [])

    monkeypatch.setattr(work, "train", train)
    study = opened("sqlite", tmp_path)
    Worker(plan(), study, 8).work()
    trials = study.trials()
    failed = [trial for trial in trials if trial.state.name == "FAIL"]
    assert counted(trials) == 8 and failed
    assert {trial.user_attrs["why"] for trial in failed} == {"net.width: 1 is too narrow"}
    assert "failed: net.width: 1 is too narrow" in caplog.text

    def always(*arguments: Any) -> Outcome:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(work, "train", always)
    with pytest.raises(AedError, match=r"5 trials one after the other have failed; the last: .*division by zero"):
        Worker(plan(), study, 99).work()


def test_a_space_that_is_used_up_ends_the_work(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    family = Family("one", "demo", {}, (Values("width", (1, 2, 4)), Values("rate", (0.5,))))
    own = plan(families={"one": family})
    monkeypatch.setattr(work, "FRUITLESS", 15)
    study = opened("journal", tmp_path)
    Worker(own, study, 50).work()
    assert counted(study.trials()) == 2 and "the space has no more" in caplog.text


@pytest.mark.parametrize(
    "error", [AedError("net.width: need 1"), RuntimeError("mat1 and mat2 shapes cannot be multiplied")], ids=repr
)
def test_points_that_cannot_be_built_are_cut_and_say_why(error: Exception, tmp_path: Path, monkeypatch: Any) -> None:
    def estimate(config: Any, classes: int, board: Any) -> Costs:
        if config["width"] > 1:
            raise error
        return Costs(1, 1024, 1.0)

    monkeypatch.setattr(work, "estimate", estimate)
    study = opened("sqlite", tmp_path)
    Worker(plan(), study, 3).work()
    cut = [trial for trial in study.trials() if trial.state.name == "PRUNED"]
    assert cut and cut == [trial for trial in study.trials() if "cut" in trial.user_attrs]
    assert all(trial.user_attrs["cut"] == f"cannot be built: {error}" for trial in cut)
    assert all(trial.params["one/width"] == 1 for trial in study.own.best_trials)
    assert not any(study.folder_of(trial.number).exists() for trial in cut)
    assert counted(study.trials()) == 3


def test_the_first_points_are_queued_once_also_after_a_death_in_between(tmp_path: Path) -> None:
    first = [{"net": "one", "one/width": 2, "one/rate": 0.5}, {"net": "one", "one/width": 3, "one/rate": 0.25}]
    study = opened("sqlite", tmp_path, first=first[:1])
    study.own.set_user_attr(studies.BEGUN, False)
    study = opened("sqlite", tmp_path, first=first)
    assert [trial.system_attrs["fixed_params"] for trial in study.trials()] == first
    opened("sqlite", tmp_path, first=first)
    assert len(study.trials()) == 2


@pytest.mark.usefixtures("computes")
def test_one_process_gives_the_same_study_each_time_also_after_a_break(tmp_path: Path) -> None:
    found = []
    for name, parts in (("whole", (6,)), ("parts", (3, 6))):
        (tmp_path / name).mkdir()
        for most in parts:
            study = opened("sqlite", tmp_path / name)
            Worker(plan(), study, most).work()
        found.append([trial.params for trial in study.trials()])
    assert found[0] == found[1]


# ---- storages ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_study_of_another_search_is_refused(kind: str, tmp_path: Path) -> None:
    opened(kind, tmp_path)
    with pytest.raises(AedError, match=r"study search is of another search: aed is '1' there and '2' here.*folder="):
        opened(kind, tmp_path, identity={"aed": "2"})
    foreign = optuna.create_study(study_name="mine", storage=f"sqlite:///{tmp_path}/other.db")
    foreign.add_trial(optuna.trial.create_trial(value=1.0))
    with pytest.raises(AedError, match="study mine was not made by aed search; give another name="):
        Study.open(f"sqlite:///{tmp_path}/other.db", tmp_path, "mine", ["maximize"], IDENTITY, (), 0)


@given(st.lists(st.binary(max_size=12)), st.binary(max_size=9000))
def test_half_a_line_is_cut_and_whole_ones_stay(tmp_path_factory: Any, lines: list[bytes], rest: bytes) -> None:
    path = tmp_path_factory.mktemp("journal") / "a.journal"
    whole = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    path.write_bytes(whole + rest.replace(b"\n", b""))
    journal.cut_half_line(path)
    assert path.read_bytes() == whole


def test_a_journal_with_half_a_line_goes_on_for_all_processes(tmp_path: Path) -> None:
    study, other = opened("journal", tmp_path), opened("journal", tmp_path)
    Worker(plan(), study, 2).work()
    path = tmp_path / "study.journal"
    with path.open("ab") as file:
        file.write(b'{"op_code":4,"worker_')  # killed as it wrote
    Worker(plan(), other, 4).work()
    check(opened("journal", tmp_path), 4, tmp_path)
    path.write_bytes(path.read_bytes()[:200] + b"\0\0\n" + path.read_bytes()[200:])
    with pytest.raises(AedError, match="is no entry of a journal; the file is damaged"):
        opened("journal", tmp_path)


def test_addresses_with_passwords_are_for_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "postgresql://me:secret@host/name"
    with pytest.raises(AedError, match=r"^storage: an address with a name or password.*AED_SEARCH_STORAGE") as refused:
        storages.address(secret, tmp_path)
    assert "secret" not in str(refused.value)
    monkeypatch.setenv(storages.VARIABLE, secret)
    assert storages.address(None, tmp_path) == secret
    assert without_credentials(secret) == "postgresql://host/name"
    for odd in ("mysql://me:a/b@c@host/name", "mysql://host/name?password=x", "mysql://me:p@host/name?ssl=1"):
        assert without_credentials(f"no {odd} here") == "no mysql://host/name here"
        with pytest.raises(AedError, match="name or password"):
            storages.address(odd, tmp_path)
    monkeypatch.delenv(storages.VARIABLE)
    assert storages.address(None, tmp_path) == f"sqlite:///{tmp_path}/study.db"


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("redis://host", "does not answer, or is no study|need sqlite:///<file>"),
        ("nonsense", "need sqlite:///<file>, a file that ends in .journal"),
        ("grpc://127.0.0.1:1", "no server answers; start it, or check the address"),
        ("grpc://host", r"need grpc://<host>:<port>"),
        ("grpc://host:name", r"need grpc://<host>:<port>"),
        ("postgresql://127.0.0.1:1/x", "needs the package psycopg|does not answer"),
    ],
)
def test_a_storage_that_is_not_there_is_said(storage: str, words: str, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setattr(storages, "PATIENCE_S", 0.5)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AedError, match=f"^storage=.*({words})"):
        Study.open(storage, tmp_path, "search", ["maximize"], IDENTITY, (), 0)


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database, but some text of more than a hundred letters" * 3)
    with pytest.raises(AedError, match=r"does not answer, or is no study: .*file is not a database"):
        opened("sqlite", tmp_path)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (f"sqlite:///{tmp_path}/file/study.db", f"{tmp_path}/file/study.journal"):
        with pytest.raises(AedError, match=r"^storage=.*file: a file lies where a folder is needed"):
            Study.open(place, tmp_path / "found", "search", ["maximize"], IDENTITY, (), 0)


def test_a_full_disk_ends_the_work_and_keeps_what_was_written(tmp_path: Path, monkeypatch: Any) -> None:
    study = opened("journal", tmp_path)
    Worker(plan(), study, 2).work()
    before = [trial.values for trial in study.trials() if trial.state.name == "COMPLETE"]

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(journal, "cut_half_line", full)
        with pytest.raises(AedError, match=r"^storage=.*study\.journal: no space left; what was written before"):
            Worker(plan(), study, 4).work()
    again = opened("journal", tmp_path)
    Worker(plan(), again, 4).work()
    found = [trial.values for trial in check(again, 4, tmp_path) if trial.state.name == "COMPLETE"]
    assert found[: len(before)] == before


SERVER = """
import optuna, sys
optuna.storages.run_grpc_proxy_server(
    optuna.storages.RDBStorage(f"sqlite:///{sys.argv[1]}"), host="127.0.0.1", port=int(sys.argv[2])
)
"""


@pytest.mark.usefixtures("processes")
def test_a_study_behind_a_server_that_then_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storages, "PATIENCE_S", 60)
    port = 20000 + os.getpid() % 20000
    command = [sys.executable, "-c", SERVER, str(tmp_path / "behind.db"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            address = f"grpc://127.0.0.1:{port}"
            study = Study.open(address, tmp_path, "search", ["maximize", *["minimize"] * 3], IDENTITY, (), 0)
            Worker(plan(), study, 3).work()
            check(study, 3, tmp_path)
        finally:
            server.kill()
    with pytest.raises(AedError, match=rf"storage=grpc://127.0.0.1:{port}: does not answer"):
        Worker(plan(), study, 5).work()


def test_a_machine_that_is_silent_for_long_counts_as_killed(tmp_path: Path) -> None:
    study = opened("journal", tmp_path)
    trial, lock = study.begin(9)
    trial.set_user_attr(studies.HOST, "elsewhere")
    lock.release()
    folder = study.folder_of(0)
    (folder / ".run.lock").unlink()
    folder.rmdir()  # it lies on the other machine
    study.begin(9)[1].release()
    assert study.trials()[0].state.name == "RUNNING", "it began a moment ago"
    studies.SILENT_S, before = -1.0, studies.SILENT_S
    try:
        study.begin(9)[1].release()
    finally:
        studies.SILENT_S = before
    assert study.trials()[0].state.name == "FAIL"
