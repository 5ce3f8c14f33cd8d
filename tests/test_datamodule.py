"""PatchDataModule: from a folder of recordings to batches of patches."""

import json
import logging
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as L
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from sklearn.model_selection import train_test_split

from aed.base.errors import AedError
from aed.datamodules import EscCsv, PatchDataModule
from aed.datamodules.datamodule import TRIMMED
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.synthesis import write_dataset
from aed.dsp.frontend import PRESETS, FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import PatchBatch
from aed.dsp.waveform import load_clip

pytestmark = pytest.mark.usefixtures("trains")

CONFIG = FrontendConfig()
CLASSES = ("bell", "rain", "siren")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds ``set``, 3 classes of 5 recordings of 2 clips each in 5 folds, and ``cache``; tests only read."""
    folder = tmp_path_factory.mktemp("base")
    write_dataset(folder / "set", classes=CLASSES, sources_per_class=5, takes_per_source=2, duration_s=3.1)
    return folder


@pytest.fixture
def make(base: Path) -> Callable[..., PatchDataModule]:
    """A data module over the set in ``base`` (or of other ``clips``), set up unless told not to."""

    def build(*, setup: bool = True, clips: Any = None, frontend: FrontendConfig = CONFIG, **given: Any) -> Any:
        arguments = {"cache_dir": str(base / "cache"), "cache_workers": 1, "batch_size": 16, **given}
        module = PatchDataModule(clips or source(base / "set"), frontend, **arguments)
        if setup:
            module.prepare_data()
            module.setup()
        return module

    return build


def source(folder: Path, **separate: str) -> EscCsv:
    csv = next((folder / "meta").glob("*.csv"))
    return EscCsv(str(csv), str(folder / "audio"), **separate)


def read_csv(folder: Path) -> pd.DataFrame:
    return pd.read_csv(next((folder / "meta").glob("*.csv")))


def make_set(folder: Path, rows: list[tuple[str, str, int]], extra: str = "") -> Path:
    """A set of ESC format: its csv has the rows (filename, category, fold); files in ``audio`` are the test's."""
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    (folder / "meta").mkdir(exist_ok=True)
    lines = [f"{name},{category},{fold},{name}" for name, category, fold in rows]
    (folder / "meta" / "made.csv").write_text("\n".join(["filename,category,fold,src_file", *lines]) + "\n" + extra)
    return folder


def tone(path: Path, hz: float, seconds: float = 1.5, rate: int = 16000, channels: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * hz / rate * np.arange(round(seconds * rate)))
    sf.write(path, np.stack([wave] * channels, axis=1), rate)
    return path


def tones(folder: Path, classes: tuple[str, ...] = ("high", "low"), folds: int = 3) -> list[tuple[str, str, int]]:
    """One sine per class and fold; the rows of their csv."""
    rows = [(f"{name}{fold}.wav", name, fold) for name in classes for fold in range(1, folds + 1)]
    for i, (name, _, _) in enumerate(rows):
        tone(folder / "audio" / name, 300 + 100 * i)
    return rows


@lru_cache
def logmel(path: Path, config: FrontendConfig = CONFIG) -> np.ndarray:
    features: np.ndarray = LogMel(config)(torch.from_numpy(load_clip(path, config))).numpy()
    return features


def grid(paths: list[Path], config: FrontendConfig = CONFIG) -> list[tuple[int, int]]:
    """(clip, first frame) of every patch of a split, in order, counted by hand."""
    hop = config.patch_frames - int(config.patch_frames * config.overlap)
    found = []
    for clip, path in enumerate(paths):
        start = 0
        while start + config.patch_frames <= logmel(path, config).shape[1]:
            found.append((clip, start))
            start += hop
    return found


def paths_of(folder: Path, fold_is_in: Callable[[Any], Any]) -> list[Path]:
    rows = read_csv(folder)
    return [folder / "audio" / name for name in rows["filename"][fold_is_in(rows["fold"])]]


def batches(loader: Any, epoch: int = 0) -> list[PatchBatch]:
    loader.batch_sampler.sampler.set_epoch(epoch)
    return list(loader)


def joined(found: list[PatchBatch]) -> PatchBatch:
    return PatchBatch(*(torch.cat(parts) for parts in zip(*found, strict=True)))


# ---- classes ----------------------------------------------------------------------------------------------


def test_classes_are_alphabetical(make: Callable[..., Any]) -> None:
    module = make(setup=False)
    assert module.class_names == CLASSES
    assert module.num_classes == 3


def test_chosen_classes_in_chosen_order(make: Callable[..., Any], base: Path) -> None:
    module = make(class_names=["siren", "bell"])
    assert module.class_names == ("siren", "bell")
    assert module.num_classes == 2
    categories = read_csv(base / "set").set_index("filename")["category"]
    for split, loader in (("train", module.train_dataloader()), ("test", module.test_dataloader())):
        names = module.clip_names(split)
        assert {categories[name] for name in names} == {"siren", "bell"}
        batch = joined(list(loader))
        for clip, target in zip(batch.clip.tolist(), batch.target.tolist(), strict=True):
            assert ("siren", "bell")[target] == categories[names[clip]]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["bell", "rian"], "rian.*did you mean 'rain'"),
        (["bell", "Siren"], "did you mean 'siren'"),
        (["bell", "xylophone"], "xylophone.*'bell', 'rain', 'siren'"),
        (["bell"], "at least two"),
        (["bell", "rain", "bell"], "duplicate name"),
    ],
)
def test_impossible_choice_of_classes(make: Callable[..., Any], names: list[str], message: str) -> None:
    with pytest.raises(AedError, match=message):
        make(setup=False, class_names=names).class_names  # noqa: B018


def test_set_of_one_class_is_an_error(make: Callable[..., Any], tmp_path: Path) -> None:
    folder = make_set(tmp_path, tones(tmp_path, classes=("only",)))
    with pytest.raises(AedError, match="at least two"):
        make(clips=source(folder), test_fold=3)


def test_random_split_is_drawn_before_classes_are_chosen(make: Callable[..., Any], base: Path) -> None:
    """As in ST's zoo: a choice of classes does not change who is tested."""
    rows = read_csv(base / "set")
    _, test = train_test_split(rows, test_size=0.3, random_state=7, stratify=rows["category"])
    module = make(class_names=["bell", "siren"], split="random", test_fraction=0.3, seed=7)
    expected = test["filename"][test["category"] != "rain"]
    assert sorted(module.clip_names("test")) == sorted(expected)


@pytest.mark.parametrize("split", ["random", "source"])
def test_class_left_out_may_be_too_rare_to_split(make: Callable[..., Any], tmp_path: Path, split: str) -> None:
    """The error for rare classes advises to leave them out of class_names."""
    folder = make_set(tmp_path, [*tones(tmp_path, folds=5), ("hermit.wav", "hermit", 1)])
    module = make(clips=source(folder), class_names=["high", "low"], split=split, test_fraction=0.4)
    assert set(module.datasets) == {"train", "test"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", "fold"),
        ("train_patches", "all"),
        ("batch_size", 0),
        ("eval_batch_size", -1),
        ("num_workers", -1),
        ("cache_workers", -1),
    ],
)
def test_impossible_settings_are_named(make: Callable[..., Any], name: str, value: object) -> None:
    with pytest.raises(AedError, match=rf"data\.{name}.*{value}"):
        make(setup=False, **{name: value})


# ---- batches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["train", "val", "test"])
@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, patch_frames=60, overlap=0.5, n_mels=32)])
def test_every_patch_of_the_grid_once(make: Callable[..., Any], base: Path, part: str, config: FrontendConfig) -> None:
    module = make(test_fold=5, val_fold=2, frontend=config, eval_batch_size=7)
    within: dict[str, Callable[[Any], Any]] = {
        "train": lambda fold: fold.isin([1, 3, 4]),
        "val": lambda fold: fold == 2,
        "test": lambda fold: fold == 5,
    }
    paths = paths_of(base / "set", within[part])
    expected = grid(paths, config)
    assert len(expected) > len(paths)  # clips of several patches
    found = batches(getattr(module, f"{part}_dataloader")())
    assert [len(batch.clip) for batch in found[:-1]] == [16 if part == "train" else 7] * (len(found) - 1)
    batch = joined(found)
    assert batch.patches.shape == (len(expected), 1, config.n_mels, config.patch_frames)
    assert batch.patches.dtype == torch.float32
    assert {batch.target.dtype, batch.clip.dtype, batch.position.dtype} == {torch.int64}
    assert sorted(batch.position.tolist()) == list(range(len(expected)))
    if part != "train":
        assert batch.position.tolist() == list(range(len(expected)))
    targets = dict(read_csv(base / "set")[["filename", "category"]].itertuples(index=False))
    for patch, target, clip, position, recording in zip(*batch, strict=True):
        assert int(clip) == int(recording) == expected[position][0]
        path, start = paths[clip], expected[position][1]
        np.testing.assert_array_equal(patch[0], logmel(path, config)[:, start : start + config.patch_frames])
        assert CLASSES[target] == targets[path.name]
    assert module.clip_names(part) == [path.name for path in paths]


def test_first_batch_mixes_clips_and_classes(make: Callable[..., Any]) -> None:
    """ST's zoo shuffles batches, not patches: 16 patches of 5 clips of one or two classes."""
    batch = batches(make().train_dataloader())[0]
    assert len(batch.clip) == 16
    assert len(set(batch.clip.tolist())) >= 10
    assert len(set(batch.target.tolist())) == 3


@pytest.mark.parametrize("patches", ["grid", "random"])
def test_order_is_a_function_of_seed_and_epoch(make: Callable[..., Any], patches: str) -> None:
    def order(seed: int, epoch: int) -> list[Any]:
        sampler = make(seed=seed, train_patches=patches).train_dataloader().batch_sampler.sampler
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(3, 1) == order(3, 1)
    assert order(3, 1) != order(3, 2)
    assert order(3, 1) != order(4, 1)
    if patches == "grid":
        assert sorted(order(3, 1)) == sorted(order(3, 2))


def test_random_offsets(make: Callable[..., Any], base: Path) -> None:
    module = make(train_patches="random")
    loader = module.train_dataloader()
    paths = paths_of(base / "set", lambda fold: fold != 5)
    expected = grid(paths)
    frames = [logmel(path).shape[1] for path in paths]
    seen = []
    for epoch in range(20):
        loader.batch_sampler.sampler.set_epoch(epoch)
        windows = list(loader.batch_sampler.sampler)
        assert len(windows) == len(expected) == len(loader.batch_sampler.sampler)
        assert sorted(clip for clip, _ in windows) == sorted(clip for clip, _ in expected)
        seen += windows
    for clip, start in seen:
        assert 0 <= start <= frames[clip] - 96
    room = [(clip, start) for clip, start in seen if frames[clip] > 96]
    assert len({start % 72 for _, start in room}) == 72  # any frame, not only the grid's
    ends = [start == frames[clip] - 96 for clip, start in room]
    assert any(ends)  # the last frame is used too
    found = joined(batches(loader, 19))
    for patch, clip, (clip_asked, start) in zip(found.patches, found.clip, windows, strict=True):
        assert int(clip) == -1
        np.testing.assert_array_equal(patch[0], logmel(paths[clip_asked])[:, start : start + 96])
    assert set(found.position.tolist()) == {-1}


def test_evaluation_patches_lie_on_the_grid_also_with_random_training(make: Callable[..., Any]) -> None:
    module = make(train_patches="random", val_fold=1)
    for loader in (module.val_dataloader(), module.test_dataloader()):
        assert joined(list(loader)).position.tolist() == list(range(len(loader.dataset)))


@pytest.mark.parametrize("patches", ["grid", "random"])
def test_worker_process_gives_the_same_batches(make: Callable[..., Any], patches: str) -> None:
    for epoch in (0, 1):
        alone, helped = (
            batches(make(num_workers=workers, train_patches=patches).train_dataloader(), epoch) for workers in (0, 1)
        )
        assert len(alone) == len(helped)
        for one, other in zip(alone, helped, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


class Recorder(L.LightningModule):
    """Notes the positions it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[str, int], list[int]] = {}
        self.layer = torch.nn.Linear(1, 1)

    def note(self, stage: str, batch: PatchBatch) -> None:
        self.seen.setdefault((stage, self.current_epoch), []).extend(batch.position.tolist())

    def training_step(self, batch: PatchBatch, index: int) -> torch.Tensor:
        self.note("train", batch)
        return self.layer(batch.patches.mean().reshape(1, 1)).sum()

    def validation_step(self, batch: PatchBatch, index: int) -> None:
        self.note("val", batch)

    def test_step(self, batch: PatchBatch, index: int) -> None:
        self.note("test", batch)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


def test_lightning_shuffles_each_epoch_anew(make: Callable[..., Any]) -> None:
    module, model = make(setup=False, val_fold=1), Recorder()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=2, accelerator="cpu", num_sanity_val_steps=0, enable_model_summary=False, **quiet)
    trainer.fit(model, datamodule=module)
    trainer.test(model, datamodule=module, verbose=False)
    first, second = model.seen["train", 0], model.seen["train", 1]
    everything = list(range(len(module.datasets["train"])))
    assert first != second
    assert sorted(first) == sorted(second) == everything
    assert model.seen["val", 0] == model.seen["val", 1] == list(range(len(module.datasets["val"])))
    assert list(model.seen.values())[-1] == list(range(len(module.datasets["test"])))


# ---- several processes ------------------------------------------------------------------------------------


def on_rank(module: PatchDataModule, rank: int, world: int = 2) -> PatchDataModule:
    module.trainer = SimpleNamespace(world_size=world, global_rank=rank)  # type: ignore[assignment]
    return module


@pytest.mark.parametrize("world", [2, 3, 4])
def test_evaluation_on_several_ranks_is_everything_once(make: Callable[..., Any], world: int) -> None:
    loaders = [on_rank(make(val_fold=1), rank, world).val_dataloader() for rank in range(world)]
    found = [position for loader in loaders for position in joined(list(loader)).position.tolist()]
    assert sorted(found) == list(range(len(loaders[0].dataset)))
    for loader in loaders:
        assert len(loader.batch_sampler.sampler) == len(list(loader.batch_sampler.sampler))
        assert len(loader) == len(list(loader))


@pytest.mark.parametrize("patches", ["grid", "random"])
def test_training_on_two_ranks_is_shared_out(make: Callable[..., Any], patches: str) -> None:
    samplers = [
        on_rank(make(train_patches=patches), rank).train_dataloader().batch_sampler.sampler for rank in range(2)
    ]
    for sampler in samplers:
        sampler.set_epoch(2)
    parts = [list(sampler) for sampler in samplers]
    total = len(samplers[0].dataset)
    assert len(parts[0]) == len(parts[1]) == math.ceil(total / 2)
    if patches == "grid":
        assert len(set(parts[0]) & set(parts[1])) <= total % 2  # an odd one is given twice, so that ranks are equal
        assert set(parts[0]) | set(parts[1]) == set(range(total))
    else:
        frames = samplers[0].dataset.features.n_frames
        pairs = [(a, b) for a, b in zip(*parts, strict=True) if frames[a[0]] == frames[b[0]]]
        assert len(pairs) > 10
        assert sum(a[1] == b[1] for a, b in pairs) < len(pairs) / 4  # each rank draws offsets of its own
        clips = [clip for part in parts for clip, _ in part]
        of_grid = samplers[0].dataset.windows[:, 0].tolist()
        assert sum(abs(clips.count(clip) - of_grid.count(clip)) for clip in set(of_grid)) == total % 2


# ---- what there is of splits ------------------------------------------------------------------------------


def test_without_val_fold_there_is_no_validation(make: Callable[..., Any]) -> None:
    assert make().val_dataloader() == []


def test_without_test_set_testing_is_an_error_with_a_way_out(make: Callable[..., Any]) -> None:
    with pytest.raises(AedError, match=r"test_fold.*test_csv"):
        make(test_fold=None).test_dataloader()


def test_calibration_clips_are_a_split_of_their_own(make: Callable[..., Any], base: Path, tmp_path: Path) -> None:
    csv = tmp_path / "calibration.csv"
    name = tone(tmp_path / "calm.wav", 440).name
    csv.write_text(f"filename,category\n{name},bell\n")
    clips = source(base / "set", calibration_csv=str(csv), calibration_audio_dir=str(tmp_path))
    module = make(clips=clips)
    assert module.clip_names("calibration") == ["calm.wav"]
    assert module.facts()["clips"]["calibration"] == ["calm.wav"]
    assert "calm.wav" not in module.clip_names("train")
    assert set(module.datasets) == {"train", "test", "calibration"}


def test_leaking_split_is_warned_of(make: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    module = make(split="random", seed=1)
    rows = module.table
    assert len(module.leaking_sources) == (rows.groupby("src_file")["split"].nunique() > 1).sum() > 0
    assert "LEAKS" in caplog.text
    assert module.leaking_sources[0] in caplog.text
    assert module.facts()["leaking_sources"] == len(module.leaking_sources)


@pytest.mark.parametrize("split", ["folds", "source"])
def test_clean_split_is_not(make: Callable[..., Any], caplog: pytest.LogCaptureFixture, split: str) -> None:
    module = make(split=split, val_fold=1, val_fraction=0.2)
    assert module.leaking_sources == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert set(module.datasets) == {"train", "val", "test"}


def test_folds_that_share_a_recording_are_warned_of(
    make: Callable[..., Any], base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = read_csv(base / "set")
    rows["src_file"] = rows["src_file"].where(rows["category"] != "bell", 777)
    rows.to_csv(tmp_path / "shared.csv", index=False)
    module = make(clips=EscCsv(str(tmp_path / "shared.csv"), str(base / "set" / "audio")))
    assert module.leaking_sources == ["777"]
    assert "LEAKS" in caplog.text


def test_class_without_test_clips_is_warned_of(
    make: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [row for row in tones(tmp_path) if row[:1] != ("high3.wav",)]
    make(clips=source(make_set(tmp_path, rows)), test_fold=3)
    assert "no test clip of ['high']" in caplog.text


def test_class_without_training_clips_is_an_error(make: Callable[..., Any], tmp_path: Path) -> None:
    rows = [row for row in tones(tmp_path) if row[1] == "low" or row[2] == 3]
    with pytest.raises(AedError, match=r"training clip of \['high'\]"):
        make(clips=source(make_set(tmp_path, rows)), test_fold=3)


class Mine(ClipSource):
    """A user's own source, which keeps the table it has read."""

    name = "mine"

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table

    def table(self) -> pd.DataFrame:
        return self._table


def test_own_source_may_keep_its_table(make: Callable[..., Any], base: Path) -> None:
    """A loop over folds asks one source again and again; what one run assigned must not bind the next."""
    clips = Mine(source(base / "set").table())
    for fold in (1, 2, 3):
        module = make(clips=clips, test_fold=fold)
        names = [path.name for path in paths_of(base / "set", lambda folds, fold=fold: folds == fold)]
        assert module.clip_names("test") == names


# ---- bad and odd files ------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """Six tones in three folds, and three bad files in the training folds."""
    rows = tones(tmp_path)
    (tmp_path / "audio" / "text.wav").write_text("not a sound")
    (tmp_path / "audio" / "empty.wav").touch()
    bad = [("text.wav", "high", 1), ("gone.wav", "low", 1), ("empty.wav", "low", 2)]
    return make_set(tmp_path, [bad[0], *rows[:3], bad[1], *rows[3:], bad[2]])


def test_bad_files_are_left_out_and_counted(
    make: Callable[..., Any], broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module = make(clips=source(broken), test_fold=3)
    bad = {"text.wav", "gone.wav", "empty.wav"}
    assert {path.name for path in module.skipped} == bad
    assert module.facts()["skipped_clips"] == 3
    for name in bad:
        assert sum(name in record.getMessage() for record in caplog.records) == 1
    assert module.clip_names("train") == ["high1.wav", "high2.wav", "low1.wav", "low2.wav"]
    batch = joined(list(module.train_dataloader()))
    assert dict(zip(batch.clip.tolist(), batch.target.tolist(), strict=True)) == {0: 0, 1: 0, 2: 1, 3: 1}
    for patch, clip, position in zip(batch.patches, batch.clip, batch.position, strict=True):
        path = broken / "audio" / module.clip_names("train")[clip]
        start = 72 * (int(position) - [c for c, _ in module.datasets["train"].windows].index(int(clip)))
        np.testing.assert_array_equal(patch[0], logmel(path)[:, start : start + 96])


@pytest.mark.parametrize(("number", "named"), [(20, 20), (21, 20), (150, 20)])
def test_of_very_many_bad_files_the_log_names_some_and_counts_all(
    make: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, number: int, named: int
) -> None:
    rows = [*tones(tmp_path), *((f"bad{i}.wav", "high", 1) for i in range(number))]
    module = make(clips=source(make_set(tmp_path, rows)), test_fold=3, cache_dir=str(tmp_path / "cache"))
    lines = [record.getMessage() for record in caplog.records if "left out:" in record.getMessage()]
    assert sum("no such file" in line for line in lines) == named and len(module.skipped) == number
    rest = [line for line in lines if "more" in line]
    assert [line.partition(";")[0] for line in rest] == (
        [f"left out: {number - named} more, {number} in all"] if number > named else []
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"class_names": ["Dog"], "multi_label": True}, "'Dog' and 'dog'; not in data.class_names, and so"),
        ({"class_names": ["Dog", "cat"], "garbage_class": True}, "'Dog' and 'dog'; not in data.class_names, and so"),
        ({"class_names": ["Dog", "cat"], "unseen": "unused"}, "'Dog' and 'dog'; not in data.class_names, and so"),
        ({}, "'Dog' and 'dog'; 'rain bow' and 'rain_bow'"),
        ({"class_names": ["cat", "rain bow"]}, "'rain bow' and 'rain_bow'; not"),
        ({"class_names": ["cat", "hum"]}, None),
    ],
)
def test_a_class_that_may_be_meant_too_is_named_though_it_is_not_chosen(
    make: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, given: Any, expected: str | None
) -> None:
    """Else its clips become negatives, or others, in silence."""
    names = ("Dog", "dog", "cat", "rain bow", "rain_bow", "hum")
    rows = [(f"{number}_{fold}.wav", name, fold) for number, name in enumerate(names) for fold in (1, 2, 3)]
    module = make(clips=source(make_set(tmp_path, rows)), setup=False, test_fold=3, **given)
    assert module.class_names
    told = [text for record in caplog.records if "may mean the same" in (text := record.getMessage())]
    assert len(told) == (expected is not None) and all(str(expected) in text for text in told)


def test_strict_stops_at_bad_files(make: Callable[..., Any], broken: Path) -> None:
    with pytest.raises(AedError, match=r"3 of 9.*strict"):
        make(clips=source(broken), test_fold=3, strict=True)


def test_bad_files_of_classes_not_chosen_do_not_count(make: Callable[..., Any], broken: Path) -> None:
    rows = tones(broken, classes=("other", "another"))
    text = (broken / "meta" / "made.csv").read_text()
    make_set(broken, rows, extra=text.partition("\n")[2])
    module = make(clips=source(broken), class_names=["other", "another"], test_fold=3, strict=True)
    assert module.skipped == {}


def test_two_empty_files_are_two_bad_files(make: Callable[..., Any], broken: Path) -> None:
    (broken / "audio" / "gone.wav").touch()
    module = make(clips=source(broken), test_fold=3)
    assert {path.name for path in module.skipped} == {"text.wav", "gone.wav", "empty.wav"}


@pytest.mark.parametrize("classes", [("high",), ("high", "low")])
def test_class_of_bad_files_only_is_an_error(
    make: Callable[..., Any], tmp_path: Path, classes: tuple[str, ...]
) -> None:
    rows = tones(tmp_path)
    for name, category, _ in rows:
        if category in classes:
            (tmp_path / "audio" / name).write_text(f"no sound in {name}")
    with pytest.raises(AedError, match="no readable training clip") as info:
        make(clips=source(make_set(tmp_path, rows)), test_fold=3)
    assert all(name in str(info.value) for name in classes)


def test_rates_channels_formats_and_lengths_may_be_mixed(make: Callable[..., Any], tmp_path: Path) -> None:
    rows = tones(tmp_path)
    kinds = [(8000, 1, "flac", 2.0), (44100, 2, "wav", 3.0), (48000, 6, "wav", 0.05), (96000, 1, "ogg", 1.0)]
    for rate, channels, suffix, seconds in kinds:
        name = f"{rate}.{suffix}"
        tone(tmp_path / "audio" / name, 1000, seconds, rate, channels)
        rows.append((name, "high", 1))
    module = make(clips=source(make_set(tmp_path, rows)), test_fold=3)
    assert module.skipped == {}
    batch = joined(list(module.train_dataloader()))
    assert torch.isfinite(batch.patches).all()
    names = module.clip_names("train")
    loudest = {name: set() for name in names}  # the band of 1 kHz, whatever the rate
    for patch, clip in zip(batch.patches, batch.clip, strict=True):
        loudest[names[clip]].add(int(patch[0].mean(dim=1).argmax()))
    of_kinds = [loudest[f"{rate}.{suffix}"] for rate, _, suffix, _ in kinds]
    assert len(set.union(*of_kinds)) == 1
    assert all(len(bands) == 1 for bands in of_kinds)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_very_short_clips_and_digital_silence(make: Callable[..., Any], tmp_path: Path, preset: str) -> None:
    rows = tones(tmp_path)
    tone(tmp_path / "audio" / "short.wav", 500, seconds=0.05)
    sf.write(tmp_path / "audio" / "silence.wav", np.zeros(32000), 16000)
    sf.write(tmp_path / "audio" / "sample.wav", np.array([0.5]), 16000)
    names = ["short.wav", "silence.wav", "sample.wav"]
    folder = make_set(tmp_path, [*rows, *((name, "low", 2) for name in names)])
    config = PRESETS[preset]
    module = make(clips=source(folder), test_fold=3, val_fold=2, frontend=config)
    assert module.skipped == {}
    batch = joined(list(module.val_dataloader()))
    assert torch.isfinite(batch.patches).all()
    counts = {name: batch.clip.tolist().count(module.clip_names("val").index(name)) for name in names}
    assert min(counts.values()) >= 1
    if config.to_db:
        return
    silent = batch.patches[batch.clip == module.clip_names("val").index("silence.wav")]
    torch.testing.assert_close(silent, torch.full_like(silent, config.silence))


# ---- facts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["folds", "source", "random"])
def test_facts_are_plain_and_name_every_clip(make: Callable[..., Any], base: Path, split: str) -> None:
    module = make(split=split, val_fold=4, val_fraction=0.2, seed=11)
    facts = module.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["name"] == "synthetic"
    assert facts["split"] == split
    assert facts["skipped_clips"] == 0
    if split == "folds":
        assert (facts["test_fold"], facts["val_fold"]) == (5, 4)
    else:
        assert (facts["test_fraction"], facts["val_fraction"], facts["seed"]) == (0.2, 0.2, 11)
    assert set(facts["clips"]) == {"train", "val", "test"}
    listed = [name for names in facts["clips"].values() for name in names]
    assert sorted(listed) == sorted(read_csv(base / "set")["filename"])
    for name, data in module.datasets.items():
        assert data.num_clips == len(facts["clips"][name])


def test_same_seed_same_facts_on_another_cache(make: Callable[..., Any], tmp_path: Path) -> None:
    module = make(split="source", val_fraction=0.2, seed=5)
    again = make(split="source", val_fraction=0.2, seed=5, cache_dir=str(tmp_path))
    assert module.facts() == again.facts()
    for one, other in zip(batches(module.train_dataloader()), batches(again.train_dataloader()), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_cache_deleted_between_two_stages_is_computed_again(make: Callable[..., Any], tmp_path: Path) -> None:
    module = make(setup=False, cache_dir=str(tmp_path / "cache"))
    module.prepare_data()
    shutil.rmtree(tmp_path / "cache")
    module.setup()
    assert len(joined(list(module.train_dataloader())).clip) == len(module.datasets["train"])


def test_cache_lies_where_the_environment_says(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AED_CACHE_DIR", str(tmp_path / "mine"))
    PatchDataModule(source(base / "set"), CONFIG, cache_workers=1).prepare_data()
    assert len(list((tmp_path / "mine" / "features").glob("*/*.npy"))) >= 1


def test_a_backbone_of_the_same_origin_is_noted(make: Callable[..., Any]) -> None:
    data = make()
    assert data.note({"origin": "Freesound"}) == TRIMMED
    data.clips.origin = "Freesound"
    assert "may overlap" in data.note({"origin": "Freesound"})
    assert data.note() == TRIMMED == data.note({"origin": ""}) == data.note({"file": "x"})
