"""The feature cache: each content computed once, whole whatever happens, shared by runs."""

import builtins
import errno
import io
import json
import logging
import multiprocessing as mp
import os
import pickle
import re
import resource
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile as sf
import torch

from aed.base.errors import AedError
from aed.datamodules.cache import building, shards
from aed.datamodules.cache import features as features_module
from aed.datamodules.cache.file_keys import file_key
from aed.datamodules.cache.store import FeatureCache
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import load_clip, load_measured

pytestmark = pytest.mark.usefixtures("processes")

CONFIG = FrontendConfig()
PATIENCE_S = 60
"""Nothing waits longer: a hang is a failure."""

fork = mp.get_context("fork")


def tone(path: Path, hz: float, seconds: float = 1.1, rate: int = 16000) -> Path:
    """A wav of one sine."""
    sf.write(path, 0.3 * np.sin(2 * np.pi * hz / rate * np.arange(round(seconds * rate))), rate)
    return path


def tones(factory: pytest.TempPathFactory, count: int) -> list[Path]:
    folder = factory.mktemp("tones")
    return [tone(folder / f"{i:02d}.wav", 200 + 50 * i, 1.1 + 0.05 * (i % 3)) for i in range(count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Twenty different recordings; tests only read them."""
    return tones(tmp_path_factory, 20)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Forty, for runs that must not be done before they are stopped."""
    return tones(tmp_path_factory, 40)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files whose features this process computed, in order."""
    seen: list[Path] = []

    def load(path: Path, config: FrontendConfig) -> Any:
        seen.append(path)
        return load_measured(path, config)

    monkeypatch.setattr(building, "load_measured", load)
    monkeypatch.setattr(building, "FEW_CLIPS", 1000)
    return seen


logmel = lru_cache(LogMel)


def expected(path: Path, config: FrontendConfig = CONFIG) -> np.ndarray:
    return logmel(config)(torch.from_numpy(load_clip(path, config))).numpy()


def check_whole(root: Path, files: Sequence[Path], config: FrontendConfig = CONFIG) -> None:
    """All features of ``files`` are there and right, each content once, and nothing lies about."""
    store = FeatureCache(root, config)
    features = store.open(files)
    for i, path in enumerate(files):
        np.testing.assert_array_equal(features.clip(i), expected(path, config))
    keys = shard_keys(store)
    assert len(keys) == len(set(keys))
    assert leftovers(store) == []


def shard_keys(store: FeatureCache) -> list[str]:
    return [clip[0] for path in store.folder.glob("*.json") for clip in json.loads(path.read_text())["clips"]]


def leftovers(store: FeatureCache) -> list[str]:
    return [path.name for path in store.folder.glob("*.tmp")]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.[jn][sp]*")}


# ---- what is computed -------------------------------------------------------------------------------------


def test_features_are_those_of_the_front_end(tmp_path: Path, files: list[Path], computed: list[Path]) -> None:
    assert FeatureCache(tmp_path, CONFIG).ensure(files) == {}
    assert computed == files
    check_whole(tmp_path, files)


def test_processes_compute_the_same(tmp_path: Path, files: list[Path]) -> None:
    assert len(files) > building.FEW_CLIPS
    assert FeatureCache(tmp_path, CONFIG, num_workers=2).ensure(files) == {}
    check_whole(tmp_path, files)


def test_second_run_computes_nothing_and_writes_nothing(
    tmp_path: Path, files: list[Path], computed: list[Path]
) -> None:
    FeatureCache(tmp_path, CONFIG).ensure(files)
    before, done = snapshot(FeatureCache(tmp_path, CONFIG).folder), len(computed)
    assert FeatureCache(tmp_path, CONFIG).ensure(files[::-1]) == {}
    assert len(computed) == done
    assert snapshot(FeatureCache(tmp_path, CONFIG).folder) == before


def test_new_files_only_are_computed(tmp_path: Path, files: list[Path], computed: list[Path]) -> None:
    FeatureCache(tmp_path, CONFIG).ensure(files[:5])
    del computed[:]
    FeatureCache(tmp_path, CONFIG).ensure(files[3:8])
    assert computed == files[5:8]
    check_whole(tmp_path, files[:8])


def test_same_content_is_computed_once(tmp_path: Path, computed: list[Path]) -> None:
    first, other = tone(tmp_path / "a.wav", 300), tone(tmp_path / "b.wav", 400)
    copies = [tmp_path / "copy1.wav", tmp_path / "copy2.wav"]
    for copy in copies:
        copy.write_bytes(first.read_bytes())
    everything = [first, *copies, other, first]
    store = FeatureCache(tmp_path / "cache", CONFIG)
    assert store.ensure(everything) == {}
    assert len(computed) == 2
    assert len(shard_keys(store)) == 2
    check_whole(tmp_path / "cache", everything)


def test_moved_file_is_not_computed_again(tmp_path: Path, computed: list[Path]) -> None:
    path = tone(tmp_path / "a.wav", 300)
    FeatureCache(tmp_path / "cache", CONFIG).ensure([path])
    moved = path.rename(tmp_path / "moved.wav")
    FeatureCache(tmp_path / "cache", CONFIG).ensure([moved])
    assert len(computed) == 1


def test_changed_file_of_same_name_size_and_time_is_computed_anew(tmp_path: Path, computed: list[Path]) -> None:
    path, store = tone(tmp_path / "a.wav", 300), FeatureCache(tmp_path / "cache", CONFIG)
    before = path.stat()
    store.ensure([path])
    old = np.array(store.open([path]).clip(0))
    tone(path, 900)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    store.ensure([path])
    assert len(computed) == 2
    assert np.abs(store.open([path]).clip(0) - old).max() > 1
    check_whole(tmp_path / "cache", [path])


def test_front_end_decides_the_folder_and_patches_do_not(
    tmp_path: Path, files: list[Path], computed: list[Path]
) -> None:
    FeatureCache(tmp_path, CONFIG).ensure(files[:2])
    del computed[:]
    for same in ({"patch_frames": 50}, {"overlap": 0.5}, {"include_last_patch": True}):
        FeatureCache(tmp_path, replace(CONFIG, **same)).ensure(files[:2])
    assert computed == []
    others: list[dict[str, Any]] = [{"n_mels": 32}, {"trim": "none"}, {"log_offset": 1e-3}, {"max_length_s": 1.05}]
    for other in others:
        config = replace(CONFIG, **other)
        FeatureCache(tmp_path, config).ensure(files[:2])
        check_whole(tmp_path, files[:2], config)
    assert len(computed) == 2 * len(others)
    check_whole(tmp_path, files[:2])
    assert len(list((tmp_path / "features").iterdir())) == 1 + len(others)


# ---- reading it -------------------------------------------------------------------------------------------


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "SHARD_CLIPS", 4)


def open_shards() -> list[str]:
    return [path for fd in Path("/proc/self/fd").iterdir() if (path := str(fd.resolve())).endswith(".npy")]


def test_long_recordings_make_more_shards_not_larger_ones(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "SHARD_BYTES", 60_000)  # a tone has 28 kB or so
    cache = FeatureCache(tmp_path, CONFIG, num_workers=1)
    assert not cache.ensure(files)
    sizes = [len(np.load(path)) * 256 for path in cache.folder.glob("*.npy")]
    assert len(sizes) >= 6 and max(sizes) < 60_000 + 40_000
    check_whole(tmp_path, files)


@pytest.mark.usefixtures("small_shards", "computed")
def test_more_shards_than_may_be_open(tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """2 million clips make 8,000 shards; a process may open 1024 files."""
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files)
    monkeypatch.setattr(features_module, "MAX_OPEN", 2)
    features = store.open(files)
    assert len(features.files.paths) == 5
    assert open_shards() == []
    windows = np.stack([np.random.default_rng(0).permutation(np.repeat(np.arange(20), 3)), np.arange(60) % 9], axis=1)
    patches = features.gather(windows, 96)
    assert len(open_shards()) == 2
    for patch, (clip, start) in zip(patches, windows, strict=True):
        np.testing.assert_array_equal(patch, expected(files[clip])[:, start : start + 96])
    del features
    assert open_shards() == []


@pytest.mark.usefixtures("small_shards", "computed")
def test_gather_and_clip_are_slices(tmp_path: Path, files: list[Path]) -> None:
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files)
    chosen = [files[i] for i in (13, 2, 2, 19, 7)]  # any order, from several shards
    features = store.open(chosen)
    assert features.n_frames.tolist() == [expected(path).shape[1] for path in chosen]
    windows = np.array([[3, 0], [0, 5], [4, 1], [1, 0], [2, features.n_frames[2] - 96], [3, 0]])
    patches = features.gather(windows, 96)
    assert patches.shape == (6, 64, 96)
    for patch, (clip, start) in zip(patches, windows, strict=True):
        np.testing.assert_array_equal(patch, expected(chosen[clip])[:, start : start + 96])
    for i, path in enumerate(chosen):
        np.testing.assert_array_equal(features.clip(i), expected(path))


@pytest.mark.usefixtures("computed")
def test_open_says_when_features_or_files_have_gone(tmp_path: Path, files: list[Path]) -> None:
    store, path = FeatureCache(tmp_path / "cache", CONFIG), tone(tmp_path / "a.wav", 300)
    store.ensure([path, *files[:2]])
    with pytest.raises(AedError, match=files[3].name):
        store.open([files[0], files[3]])
    tone(path, 500)
    with pytest.raises(AedError, match=r"a\.wav"):
        store.open([path])
    for shard in store.folder.glob("*.json"):
        shard.unlink()
    with pytest.raises(AedError, match="deleted"):
        store.open(files[:2])


# ---- bad files --------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_shards", "computed")
def test_features_travel(tmp_path: Path, files: list[Path]) -> None:
    """A loader's process gets a list of names and four numbers a clip."""
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files)
    features = store.open(files)
    windows = np.array([[3, 0], [19, 5], [4, 1]])
    patches = features.gather(windows, 96)
    sent = pickle.dumps(features)
    assert len(sent) < 1000 + 5 * len(features.files.paths[0]) + 40 * len(files)
    np.testing.assert_array_equal(pickle.loads(sent).gather(windows, 96), patches)
    with ProcessPoolExecutor(2, fork) as pool:  # processes that read through the same open files at once
        for found in pool.map(features.gather, [windows] * 40, [96] * 40):
            np.testing.assert_array_equal(found, patches)


@pytest.mark.usefixtures("computed")
def test_windows_past_their_clip_and_files_that_go_are_errors(tmp_path: Path, files: list[Path]) -> None:
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files[:3])
    features = store.open(files[:3])
    last = int(features.n_frames[0]) - 96
    assert features.gather(np.array([[0, last]]), 96).shape == (1, 64, 96)
    for frame in (-1, last + 1):
        with pytest.raises(IndexError):
            features.gather(np.array([[0, frame]]), 96)
    cut(next(store.folder.glob("*.npy")))
    with pytest.raises(AedError, match="damaged while in use"):
        features.gather(np.array([[2, 0]]), 96)
    next(store.folder.glob("*.npy")).unlink()
    with pytest.raises(AedError, match="deleted"):
        store.index.open([file_key(files[0])]).clip(0)


def ogg_cut_in_half(path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 48000)
    sf.write(path, noise, 16000, format="OGG", subtype="VORBIS")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def wav_cut_in_half(path: Path) -> None:
    tone(path, 300)
    path.write_bytes(path.read_bytes()[:9000])


def wav_of_nan(path: Path) -> None:
    sf.write(path, np.full(20000, np.nan, dtype=np.float32), 16000, subtype="FLOAT")


def no_channel(path: Path) -> None:
    header = bytearray(tone(path, 300).read_bytes())
    header[22:24] = b"\0\0"  # of the fmt chunk
    path.write_bytes(header)


BAD: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "missing": ("missing.wav", lambda path: None, "no such file"),
    "empty": ("empty.wav", lambda path: path.write_bytes(b""), "empty"),
    "text": ("text.wav", lambda path: path.write_text("not a sound\n" * 50), "not readable"),
    "cut ogg": ("cut.ogg", ogg_cut_in_half, "truncated"),
    "cut wav": ("cut.wav", wav_cut_in_half, "truncated"),
    "nan": ("nan.wav", wav_of_nan, "NaN"),
    "no samples": ("none.wav", lambda path: sf.write(path, np.zeros(0), 16000), "no samples"),
    "no channel": ("channels.wav", no_channel, "not readable"),
    "folder": ("folder.wav", lambda path: path.mkdir(), "folder.wav"),
}


def make_bad(folder: Path) -> dict[Path, str]:
    """One file of each bad kind and a word of the reason."""
    for name, make, _ in BAD.values():
        make(folder / name)
    return {folder / name: word for name, _, word in BAD.values()}


def check_reasons(reasons: dict[Path, str], bad: dict[Path, str]) -> None:
    assert set(reasons) == set(bad)
    for path, word in bad.items():
        assert path.name in reasons[path]
        assert word in reasons[path]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_bad_files_are_reported_and_the_others_computed(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch, num_workers: int
) -> None:
    monkeypatch.setattr(building, "FEW_CLIPS", 2)
    bad = make_bad(tmp_path)
    store = FeatureCache(tmp_path / "cache", CONFIG, num_workers)
    mixed = [path for pair in zip(bad, files[:9], strict=True) for path in pair]
    check_reasons(store.ensure(mixed), bad)
    assert len(shard_keys(store)) == 9
    check_whole(tmp_path / "cache", files[:9])
    before = snapshot(store.folder)
    check_reasons(store.ensure(mixed), bad)  # again: the same report, nothing new on disk
    assert snapshot(store.folder) == before


@pytest.mark.usefixtures("computed")
def test_only_bad_files(tmp_path: Path) -> None:
    bad = make_bad(tmp_path)
    store = FeatureCache(tmp_path / "cache", CONFIG)
    check_reasons(store.ensure(list(bad)), bad)
    assert shard_keys(store) == []


@pytest.mark.usefixtures("computed")
def test_repaired_file_is_good_again(tmp_path: Path) -> None:
    path, store = tmp_path / "a.wav", FeatureCache(tmp_path / "cache", CONFIG)
    path.write_bytes(b"")
    assert list(store.ensure([path])) == [path]
    tone(path, 300)
    assert store.ensure([path]) == {}
    check_whole(tmp_path / "cache", [path])


@pytest.mark.usefixtures("computed")
def test_bad_files_of_the_same_content_are_all_reported(tmp_path: Path, files: list[Path]) -> None:
    """Empty files, or one error page downloaded under many names, are what broken sets are made of."""
    bad = [tmp_path / "a.wav", tmp_path / "b.wav", tmp_path / "c.wav"]
    for path in bad:
        path.write_bytes(b"")
    reasons = FeatureCache(tmp_path / "cache", CONFIG).ensure([*bad, files[0]])
    assert set(reasons) == set(bad)
    for path in bad:
        assert path.name in reasons[path]


def test_a_hundredth_of_bad_files(tmp_path: Path) -> None:
    """Each is reported once with its reason, by its own name, and all others are computed."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    good = [tone(folder / f"{i:03d}.wav", 100 + i, 0.3) for i in range(600)]
    bad = make_bad(folder)
    (twin := folder / "twin.wav").write_bytes((folder / "text.wav").read_bytes())
    bad[twin] = "not readable"
    everything = sorted([*good, *bad])
    store = FeatureCache(tmp_path / "cache", CONFIG, num_workers=2)
    check_reasons(store.ensure([*everything, *everything]), bad)
    keys = shard_keys(store)
    assert sorted(keys) == sorted(file_key(path) for path in good)
    before = snapshot(store.folder)
    check_reasons(FeatureCache(tmp_path / "cache", CONFIG, num_workers=2).ensure(everything), bad)
    assert snapshot(store.folder) == before
    for path in good[::97]:
        np.testing.assert_array_equal(store.open([path]).clip(0), expected(path))


def test_parts_that_were_built_apart_join_by_moving_their_files(tmp_path: Path) -> None:
    """As many machines build one cache: a folder each, then the npy, then the json, then what is known of files."""
    files = [tone(tmp_path / f"{i}.wav", 200 + 50 * i) for i in range(7)]
    whole = FeatureCache(tmp_path / "whole", CONFIG)
    for rank in range(3):
        part = FeatureCache(tmp_path / f"part{rank}", CONFIG, num_workers=1)
        assert part.ensure(files[rank::3]) == {}
        for source, kind in (
            (part.folder, "*.npy"),
            (part.folder, "*.json"),
            (tmp_path / f"part{rank}/keys", "*.json"),
        ):
            place = tmp_path / "whole" / source.relative_to(tmp_path / f"part{rank}")
            place.mkdir(parents=True, exist_ok=True)
            for path in source.glob(kind):
                path.rename(place / path.name)
    before = snapshot(whole.folder)
    assert whole.ensure(files) == {} and snapshot(whole.folder) == before
    features = whole.open(files)
    for index, path in enumerate(files):
        np.testing.assert_array_equal(features.clip(index), expected(path))


# ---- several processes, killed processes ------------------------------------------------------------------


class Builder:
    """A forked process that ensures ``files``; it notes each computed clip, and each takes 50 ms.

    Args:
        root: Cache folder; the log of computed clips lies beside it.
        files: Recordings.
        num_workers: Processes it starts; 1: none.
        shard_clips: Clips of a shard.
        prepare: Runs in the process before it builds.
    """

    def __init__(
        self, root: Path, files: list[Path], num_workers: int, shard_clips: int = 4, prepare: Callable[[], Any] = int
    ) -> None:
        self.log = root.with_name(f"computed{time.monotonic_ns()}.txt")
        self.log.touch()
        self.process = fork.Process(target=self._main, args=(root, files, num_workers, shard_clips, prepare))
        self.process.start()
        self.pid = self.process.pid or 0

    def _main(
        self, root: Path, files: list[Path], num_workers: int, shard_clips: int, prepare: Callable[[], Any]
    ) -> None:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        torch.set_num_threads(1)  # OpenMP does not survive a fork
        building.SHARD_CLIPS = building.FEW_CLIPS = shard_clips  # fewer than there are files
        building.load_measured = self._load  # type: ignore[attr-defined]
        prepare()
        FeatureCache(root, CONFIG, num_workers).ensure(files)

    def _load(self, path: Path, config: FrontendConfig) -> Any:
        time.sleep(0.05)
        with self.log.open("a") as file:
            file.write(f"{path}\n")
        return load_measured(path, config)

    def computed(self) -> list[Path]:
        return [Path(line) for line in self.log.read_text().splitlines()]

    def wait(self) -> int | None:
        wait_until(lambda: self.process.exitcode is not None)  # join would wait for its orphans too
        return self.process.exitcode

    def survivors(self) -> list[psutil.Process]:
        """Processes of its group that still run."""
        return [process for process in psutil.process_iter(["status"]) if self._holds(process)]

    def _holds(self, process: psutil.Process) -> bool:
        try:
            return os.getpgid(process.pid) == self.pid and process.info["status"] != psutil.STATUS_ZOMBIE
        except ProcessLookupError:
            return False

    def clear(self) -> None:
        """Ends what is left of the group."""
        for process in self.survivors():
            process.kill()
        self.wait()


@pytest.fixture
def build() -> Iterator[Callable[..., Builder]]:
    """Starts Builders and leaves none behind."""
    builders: list[Builder] = []

    def start(*args: Any, **kwargs: Any) -> Builder:
        builders.append(Builder(*args, **kwargs))
        return builders[-1]

    yield start
    for builder in builders:
        builder.clear()


def wait_until(condition: Callable[[], bool], limit_s: float = PATIENCE_S) -> bool:
    """Whether the condition came true in time."""
    end = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def whole_shards(root: Path) -> set[str]:
    """Whole shards: those with their json."""
    return {path.stem for path in root.rglob("*.json") if path.parent.parent.name == "features"}


def clips_in_shards(root: Path, files: list[Path]) -> set[Path]:
    keys = set(shard_keys(FeatureCache(root, CONFIG)))
    return {path for path in files if file_key(path) in keys}


def test_two_processes_at_once_share_the_work(tmp_path: Path, files: list[Path], build: Callable[..., Builder]) -> None:
    root = tmp_path / "cache"
    builders = [build(root, files, 1), build(root, files[::-1], 2)]
    assert [builder.wait() for builder in builders] == [0, 0]
    done = [path for builder in builders for path in builder.computed()]
    assert sorted(done) == files  # each once, by the one or the other
    check_whole(root, files)


def die_in_third_save() -> None:
    """Killed with half an array written."""
    save, calls = shards._save, []

    def half(file: Any, array: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            buffer = io.BytesIO()
            save(buffer, array)
            file.write(buffer.getvalue()[: buffer.tell() // 2])
            file.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        save(file, array)

    shards._save = half


def die_in_fsync(count: int) -> None:
    """Killed with a file whole but not yet renamed: after the front end's, shards have two each, npy and json."""
    sync, calls = os.fsync, []

    def die(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").resolve().parent.parent.name == "features":
            calls.append(1)
        if len(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(fd)

    os.fsync = die


@pytest.mark.parametrize(
    "prepare", [die_in_third_save, lambda: die_in_fsync(6), lambda: die_in_fsync(7)], ids=["half", "npy", "json"]
)
def test_killed_while_writing(
    tmp_path: Path, files: list[Path], build: Callable[..., Builder], computed: list[Path], prepare: Callable[[], Any]
) -> None:
    root, some = tmp_path / "cache", files[:14]
    builder = build(root, some, 1, prepare=prepare)
    assert builder.wait() == -signal.SIGKILL
    assert len(whole_shards(root)) == 2
    assert len(leftovers(FeatureCache(root, CONFIG))) == 1  # else this test proves nothing
    assert clips_in_shards(root, some) == set(some[:8])
    assert FeatureCache(root, CONFIG).ensure(some) == {}
    assert computed == some[8:]
    check_whole(root, some)


def test_killed_with_its_workers_at_work(
    tmp_path: Path, many: list[Path], build: Callable[..., Builder], computed: list[Path]
) -> None:
    root = tmp_path / "cache"
    builder = build(root, many, 2)
    assert wait_until(lambda: len(whole_shards(root)) >= 2)
    os.kill(builder.pid, signal.SIGKILL)
    builder.wait()
    whole = clips_in_shards(root, many)
    assert 8 <= len(whole) < len(many)
    assert len(set(builder.computed()) - whole) <= 2 * 4  # lost: the shard at work of each process
    before = snapshot(FeatureCache(root, CONFIG).folder)
    assert FeatureCache(root, CONFIG).ensure(many) == {}
    assert set(computed) == set(many) - whole
    assert {name: (FeatureCache(root, CONFIG).folder / name).read_bytes() for name in before} == before
    check_whole(root, many)


def test_worker_that_is_killed_is_an_error_and_what_is_done_is_kept(
    tmp_path: Path, many: list[Path], build: Callable[..., Builder], computed: list[Path]
) -> None:
    """Linux kills what takes the last memory."""
    root = tmp_path / "cache"
    builder = build(root, many, 2)
    assert wait_until(lambda: len(whole_shards(root)) >= 2)
    next(process for process in builder.survivors() if process.pid != builder.pid).kill()
    assert builder.wait() == 1
    whole = clips_in_shards(root, many)
    assert 8 <= len(whole) < len(many)
    assert FeatureCache(root, CONFIG).ensure(many) == {}
    assert set(computed) == set(many) - whole
    check_whole(root, many)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_do_not_outlive_a_killed_run(
    tmp_path: Path, many: list[Path], build: Callable[..., Builder], number: int
) -> None:
    """Each would hold hundreds of megabytes for ever, and with some versions of filelock the lock."""
    builder = build(tmp_path / "cache", many, 2)
    assert wait_until(lambda: len(whole_shards(tmp_path)) >= 1)
    assert len(builder.survivors()) >= 2
    os.kill(builder.pid, number)
    assert builder.wait() == -number
    assert wait_until(lambda: not builder.survivors(), 6), "workers still there after 6 s"


@pytest.mark.parametrize("whole_group", [True, False], ids=["ctrl-c", "parent"])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_interrupted_run_keeps_what_is_done(
    tmp_path: Path,
    many: list[Path],
    build: Callable[..., Builder],
    computed: list[Path],
    num_workers: int,
    whole_group: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "cache"
    builder = build(root, many, num_workers, shard_clips=7)
    assert wait_until(lambda: len(whole_shards(root)) >= 1 and len(builder.computed()) >= 9)
    (os.killpg if whole_group else os.kill)(builder.pid, signal.SIGINT)
    assert builder.wait() not in (0, None)
    assert builder.survivors() == []
    assert re.findall(r"Process \w+-\d+:\d+:", capfd.readouterr().err) == []  # no traceback of a worker
    whole = clips_in_shards(root, many)
    assert 8 <= len(whole) < len(many)
    assert len(whole) >= len(builder.computed()) - num_workers  # also of shards that were not full
    assert leftovers(FeatureCache(root, CONFIG)) == []
    assert FeatureCache(root, CONFIG).ensure(many) == {}
    assert set(computed) == set(many) - whole
    check_whole(root, many)


# ---- damaged, read-only and full disks --------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "npy cut": ("npy", cut),
    "npy header cut": ("npy", lambda path: path.write_bytes(path.read_bytes()[:40])),
    "npy empty": ("npy", lambda path: path.write_bytes(b"")),
    "npy gone": ("npy", Path.unlink),
    "npy garbage": ("npy", lambda path: path.write_bytes(bytes(range(256)) * 40)),
    "npy of fewer frames": ("npy", lambda path: np.save(path, np.zeros((10, 64), np.float32))),
    "npy of no axis": ("npy", lambda path: np.save(path, np.float32(0))),
    "json cut": ("json", cut),
    "json empty": ("json", lambda path: path.write_bytes(b"")),
    "json garbage": ("json", lambda path: path.write_bytes(bytes(range(256)))),
    "json of another kind": ("json", lambda path: path.write_text("{}")),
    "json list": ("json", lambda path: path.write_text("[1, 2]")),
    "json number": ("json", lambda path: path.write_text('{"clips": 3}')),
    "json short rows": ("json", lambda path: path.write_text('{"clips": [["a", 1]]}')),
}


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_shard_is_warned_of_and_computed_anew(
    tmp_path: Path, files: list[Path], computed: list[Path], caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    store, some = FeatureCache(tmp_path, CONFIG), files[:8]
    store.ensure(some)
    assert caplog.records == []
    del computed[:]
    suffix, damage = DAMAGE[kind]
    victim = next(p for p in store.folder.glob("*.json") if file_key(files[0]) in p.read_text())
    damage(victim.with_suffix(f".{suffix}"))
    assert store.ensure(some) == {}
    assert computed == some[:4]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert victim.name in caplog.text
    caplog.clear()
    check_whole(tmp_path, some)
    assert caplog.records == []


@pytest.mark.usefixtures("small_shards", "computed")
def test_damaged_shard_is_not_warned_of_for_ever(
    tmp_path: Path, files: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Its clips may be computed into a shard of another name, beside new ones."""
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files[:4])
    cut(next(store.folder.glob("*.npy")))
    everything = [files[9], *files[:4]]
    assert store.ensure(everything) == {}
    assert "not a whole shard" in caplog.text
    caplog.clear()
    assert store.ensure(everything) == {}
    check_whole(tmp_path, everything)
    assert caplog.records == []


@pytest.mark.usefixtures("small_shards", "computed")
def test_array_without_its_json_is_removed(tmp_path: Path, files: list[Path]) -> None:
    """A run killed between the two leaves 30 MB that nothing would ever use."""
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files[:8])
    next(store.folder.glob("*.json")).unlink()
    store.ensure(files[8:10])
    assert {path.stem for path in store.folder.glob("*.npy")} == whole_shards(tmp_path)


@pytest.mark.usefixtures("small_shards", "computed")
@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_shard_that_cannot_be_read_just_now_is_not_deleted(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files[:8])
    before = snapshot(store.folder)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(building.np, "load", fail)
        with suppress(AedError):
            store.ensure(files[8:9])
    after = snapshot(store.folder)
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize("root", ["file/cache", "/proc/nothing"])
def test_folder_that_cannot_be_made_is_an_error_with_a_way_out(
    tmp_path: Path, files: list[Path], computed: list[Path], root: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(AedError, match="AED_CACHE_DIR"):
        FeatureCache(tmp_path / root, CONFIG).ensure(files[:2])
    assert computed == []


def forbid_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file system becomes read-only; tests run as root, whom modes do not stop."""
    real_open, real_os_open = io.open, os.open

    def guarded(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if set(mode) & set("wax+"):
            raise OSError(errno.EROFS, "Read-only file system", str(file))
        return real_open(file, mode, *args, **kwargs)

    def guarded_os(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return real_os_open(path, flags, *args, **kwargs)

    def refuse(path: Any, *args: Any, **kwargs: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    for target in (io, builtins):
        monkeypatch.setattr(target, "open", guarded)
    monkeypatch.setattr(os, "open", guarded_os)
    for name in ("mkdir", "unlink", "remove", "rename", "replace"):
        monkeypatch.setattr(os, name, refuse)


@pytest.mark.usefixtures("computed")
def test_read_only_cache_that_is_complete_serves(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    FeatureCache(tmp_path, CONFIG).ensure(files[:4])
    with monkeypatch.context() as patch:
        forbid_writing(patch)
        assert FeatureCache(tmp_path, CONFIG).ensure(files[:4]) == {}
        check_whole(tmp_path, files[:4])
        with pytest.raises(AedError, match=r"Read-only.*AED_CACHE_DIR"):
            FeatureCache(tmp_path, CONFIG).ensure(files[:5])


@pytest.mark.usefixtures("computed")
def test_read_only_cache_serves_a_set_with_a_bad_file(
    tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "text.wav"
    bad.write_text("not a sound")
    FeatureCache(tmp_path, CONFIG).ensure([*files[:4], bad])
    with monkeypatch.context() as patch:
        forbid_writing(patch)
        assert list(FeatureCache(tmp_path, CONFIG).ensure([*files[:4], bad])) == [bad]


@pytest.mark.usefixtures("small_shards")
def test_full_disk(tmp_path: Path, files: list[Path], computed: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    save, calls = shards._save, []

    def fill_up(file: Any, array: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            file.write(b"\x93NUMPY")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(file, array)

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_save", fill_up)
        with pytest.raises(AedError, match=r"no space left.*AED_CACHE_DIR"):
            FeatureCache(tmp_path, CONFIG).ensure(files)
    assert clips_in_shards(tmp_path, files) == set(files[:8])
    check_whole(tmp_path, files[:8])
    del computed[:]
    assert FeatureCache(tmp_path, CONFIG).ensure(files) == {}
    assert computed == files[8:]
    check_whole(tmp_path, files)


@pytest.mark.usefixtures("small_shards")
def test_a_disk_that_is_really_full(small_disk: Path, tmp_path: Path, files: list[Path]) -> None:
    """NumPy's own errors of it have no number of the system."""
    with pytest.raises(AedError, match=r"npy: cannot be written \(no space left\).*AED_CACHE_DIR"):
        FeatureCache(small_disk, CONFIG).ensure(files)
    store = FeatureCache(tmp_path, CONFIG)
    store.ensure(files[:4])
    (shard,) = store.folder.glob("*.npy")
    copy = tmp_path / "copy"
    with copy.open("wb") as file:
        np.save(file, np.load(shard))
    assert copy.read_bytes() == shard.read_bytes()


def test_full_disk_ends_the_workers(tmp_path: Path, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """They would compute the rest of the queue for nothing, and the run not end before they do."""
    monkeypatch.setattr(building, "SHARD_CLIPS", 4)
    with monkeypatch.context() as patch:
        patch.setattr(shards, "_save", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        with pytest.raises(AedError):
            FeatureCache(tmp_path, CONFIG, num_workers=2).ensure(files)
    assert mp.active_children() == []


def limit_files_to_300_kb() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_real_limit_on_file_size_keeps_earlier_shards(
    tmp_path: Path, files: list[Path], build: Callable[..., Builder], num_workers: int
) -> None:
    """Two shards of 100 kB, then one of 1 MB."""
    long = [tone(tmp_path / f"long{i}.wav", 200 + 100 * i, 10) for i in range(4)]
    root = tmp_path / "cache"
    builder = build(root, [*files[:8], *long], num_workers, prepare=limit_files_to_300_kb)
    assert builder.wait() == 1
    assert clips_in_shards(root, [*files, *long]) == set(files[:8])
    check_whole(root, files[:8])
