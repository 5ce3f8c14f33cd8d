"""The feature cache by Dask: the bytes of the pool's, whatever dies, and a sentence for whatever cannot work."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from aed.base.errors import AedError
from aed.datamodules.cache import building, machines, parts
from aed.datamodules.cache.fingerprint import fingerprint
from aed.datamodules.cache.machines import ensure_by_dask
from aed.datamodules.cache.store import FeatureCache
from aed.dsp.frontend import FrontendConfig

distributed = pytest.importorskip("distributed")
Cluster = distributed.LocalCluster
pytestmark = pytest.mark.usefixtures("processes")

CONFIG = FrontendConfig()
SHARD = 4


def sounds(folder: Path, count: int, seconds: float) -> list[Path]:
    folder.mkdir()
    for number in range(count):
        noise = np.random.default_rng(number).integers(-8192, 8192, round(16000 * seconds), dtype=np.int16)
        sf.write(folder / f"{number:03d}.wav", noise, 16000)
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sounds(tmp_path_factory.mktemp("sounds") / "long", 40, 8.0)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "SHARD_CLIPS", SHARD)
    monkeypatch.setattr(building, "FEW_CLIPS", SHARD)


def content(cache: FeatureCache) -> dict[str, bytes]:
    return {
        str(path.relative_to(cache.folder)): path.read_bytes()
        for path in cache.folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two workers in processes of their own."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0", silence_logs=50
    ) as made:
        yield made


@pytest.fixture
def in_process() -> Iterator[Cluster]:
    """A worker in this process."""
    made = Cluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        dashboard_address="127.0.0.1:0",
        silence_logs=50,
    )
    yield made
    with suppress(TimeoutError):  # of a scheduler that a test has closed
        made.close(timeout=2)


@pytest.fixture
def by_pool(tmp_path: Path, files: list[Path]) -> dict[str, bytes]:
    pool = FeatureCache(tmp_path / "pool", CONFIG, num_workers=2)
    assert pool.ensure(files) == {}
    return content(pool)


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the folders that held shards before they were joined."""
    seen: list[str] = []

    def join(folder: Path, build: Path | None = None) -> int:
        seen.extend(path.name for path in (build or folder / "none").glob("*-*") if path.is_dir())
        return whole(folder, build)

    whole = parts.join
    monkeypatch.setattr(parts, "join", join)
    return seen


def test_workers_give_the_bytes_of_the_pool(
    tmp_path: Path,
    files: list[Path],
    cluster: Cluster,
    by_pool: dict[str, bytes],
    attempts: list[str],
) -> None:
    cache = FeatureCache(tmp_path / "dask", CONFIG)
    text = tmp_path / "bad.wav"
    text.write_text("no sound")
    bad = ensure_by_dask(cache, [*files, text, tmp_path / "missing.wav"], cluster.scheduler_address)
    assert set(bad) == {text, tmp_path / "missing.wav"} and "no such file" in bad[tmp_path / "missing.wav"]
    assert content(cache) == by_pool
    assert len(attempts) == len(files) // SHARD, "none is computed twice"
    before = content(cache)
    assert ensure_by_dask(cache, files, "tcp://nobody.invalid:1") == {}, "nothing is missing, nobody is asked"
    assert content(cache) == before and not (cache.folder / parts.PARTS).exists()


def build_and(cache: FeatureCache, files: list[Path], address: str, harm: Callable[[], object]) -> BaseException | None:
    """Builds, and does harm once a shard is whole; the error that the build ended with."""
    ended: list[BaseException] = []

    def build() -> None:
        try:
            assert ensure_by_dask(cache, files, address) == {}
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    while thread.is_alive() and not list(cache.folder.glob(f"{parts.PARTS}/*/*.json")):
        thread.join(0.01)
    assert thread.is_alive(), ended
    harm()
    thread.join(240)
    assert not thread.is_alive()
    return ended[0] if ended else None


def test_a_killed_worker_loses_one_shard_at_most(
    tmp_path: Path, files: list[Path], cluster: Cluster, by_pool: dict[str, bytes], attempts: list[str]
) -> None:
    cache = FeatureCache(tmp_path / "dask", CONFIG)
    first = next(iter(cluster.workers.values())).process.pid
    assert build_and(cache, files, cluster.scheduler_address, lambda: os.kill(first, signal.SIGKILL)) is None
    assert content(cache) == by_pool
    assert len(files) // SHARD <= len(attempts) <= len(files) // SHARD + 1


def test_processes_of_this_machine_are_the_default(
    tmp_path: Path, files: list[Path], by_pool: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []

    def local(**named: object) -> Cluster:
        asked.append(dict(named))
        return Cluster(**named | {"processes": False, "protocol": "tcp"})

    monkeypatch.setattr(distributed, "LocalCluster", local)
    cache = FeatureCache(tmp_path / "dask", CONFIG, num_workers=2)
    assert ensure_by_dask(cache, files) == {}
    assert content(cache) == by_pool
    assert asked[0]["n_workers"] == 2 and asked[0]["host"] == "127.0.0.1"


def test_shards_of_a_build_that_was_killed_are_joined_by_the_next(tmp_path: Path, files: list[Path]) -> None:
    cache = FeatureCache(tmp_path / "dask", CONFIG)
    keys, _ = cache.keys(files[:8])
    tasks = [(task.key, str(task.path), task.facts) for task in cache.missing(keys)]
    with parts.new_build(cache.folder) as build:
        facts = {name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__}
        first = parts.compute(str(build), facts, 0, tasks[:4])
        assert parts.compute(str(build), facts, 0, tasks[:4]) == first, "done once"
        (build / "1-half").mkdir()
        (build / "1-half/0.npy").touch()
        (build / "2.json").write_text("{")
        assert parts.join(cache.folder) == 0, "at work: it joins its own"
    assert parts.join(cache.folder) == 1
    assert not (cache.folder / parts.PARTS).exists()
    assert len(cache.missing(keys)) == 4


def test_a_full_disk_is_said_and_leaves_nothing_half_done(
    small_disk: Path, files: list[Path], in_process: Cluster
) -> None:
    cache = FeatureCache(small_disk / "cache", CONFIG)
    with pytest.raises(AedError, match=r"a worker: .*no space left.* make room and run again"):
        ensure_by_dask(cache, files, in_process.scheduler_address)
    assert not list(cache.folder.rglob("*.npy")) and not (cache.folder / parts.PARTS).exists()


def test_a_scheduler_that_dies_is_said_and_whole_shards_stay(
    tmp_path: Path, files: list[Path], in_process: Cluster
) -> None:
    cache = FeatureCache(tmp_path / "dask", CONFIG)
    error = build_and(
        cache, files, in_process.scheduler_address, lambda: in_process.sync(in_process.scheduler.close, reason="test")
    )
    assert isinstance(error, AedError) and "the scheduler has gone" in str(error), repr(error)
    assert "whole shards stay; start it and run again" in str(error)
    assert 0 < len(list(cache.folder.glob("*.json"))) < len(files) // SHARD


def test_a_scheduler_that_is_not_there_is_said(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machines, "_ANSWER_S", 1.0)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    cache = FeatureCache(tmp_path / "dask", CONFIG)
    for dead in (address, "nonsense://x"):
        with pytest.raises(AedError, match=r"scheduler=.*: does not answer .*'dask scheduler'"):
            ensure_by_dask(cache, files[:2], dead)
    assert not list(cache.folder.rglob("*.npy")) and not (cache.folder / parts.PARTS).exists()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"aed": "9.9"}, r"worker tcp://.* has aed .*, this machine 9.9: features would differ"),
        ({"code of aed": "0"}, "has code of aed"),
        ({"front end": "0"}, "has front end"),
    ],
)
def test_a_worker_of_another_version_is_refused(
    tmp_path: Path,
    files: list[Path],
    in_process: Cluster,
    changed: dict[str, str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(machines, "fingerprint", lambda frontend: fingerprint(frontend) | changed)
    cache = FeatureCache(tmp_path / "dask", CONFIG)
    with pytest.raises(AedError, match=words):
        ensure_by_dask(cache, files[:2], in_process.scheduler_address)
    assert not list(cache.folder.rglob("*.npy")) and not (cache.folder / parts.PARTS).exists()


WITHOUT = """
import pickle, sys
sys.modules["aed"] = None
print(pickle.loads(bytes.fromhex(sys.stdin.read()))({}, "", ""))
"""


def answer_of_others() -> str:
    """What a worker says that has Dask and not this package."""
    import cloudpickle

    sent = cloudpickle.dumps(machines._asking()).hex()
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT], input=sent, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def refusal(answer: object) -> str:
    with pytest.raises(AedError) as caught:
        machines._check_answer("scheduler=a: worker b", {"aed": "1"}, answer, Path("cache"), Path("a.wav"))
    return str(caught.value)


def test_what_a_worker_lacks_is_said() -> None:
    assert "worker b has no aed[dask] (" in (text := refusal(answer_of_others())) and "pip install 'aed[dask]==" in text
    assert "does not see cache; set data.cache_dir" in refusal(({"aed": "1"}, False, True))
    assert "does not see a.wav; recordings have to lie" in refusal(({"aed": "1"}, True, False))
    assert "RuntimeError" in refusal(RuntimeError("RuntimeError: lost"))


def test_a_future_that_failed_by_our_fault_is_not_the_schedulers() -> None:
    with pytest.raises(ZeroDivisionError), machines._in_words("x"):
        _ = 1 / 0
    for error in (distributed.KilledWorker("a", None, 0), OSError("lost")):
        with pytest.raises(AedError, match="whole shards stay"), machines._in_words("x"):
            raise error


def test_the_question_travels_without_this_package() -> None:
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(machines._asking())  # by value alone: a name would be looked up where there is none
