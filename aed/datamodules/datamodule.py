"""PatchDataModule: clip table -> splits -> cached features -> batches of patches."""

import logging
import math
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor
from torch.utils.data import DataLoader

from aed.audio.recordings import recordings_below
from aed.base import paths
from aed.base.errors import AedError
from aed.base.remote import folder_of
from aed.datamodules.cache.embeddings import Array, Embed, EmbeddingCache, backbone_key, embed_patches
from aed.datamodules.cache.store import FeatureCache
from aed.datamodules.calibration import Calibration, calibration
from aed.datamodules.choice import Choice, Chosen
from aed.datamodules.crops.config import CropConfig
from aed.datamodules.crops.patches import crop_patches
from aed.datamodules.crops.pool import CropPool
from aed.datamodules.health.annotations import untrusted
from aed.datamodules.patches import ClipLabels, Labeller, PatchDataset, already_batched
from aed.datamodules.samplers import EvalSampler, TrainBatches, TrainSampler
from aed.datamodules.selection import (
    check_classes,
    check_counterexamples,
    class_counts,
    composed,
    one_hot,
    targets,
)
from aed.datamodules.soundscapes.backgrounds import UNUSED_CLASSES
from aed.datamodules.soundscapes.mixing import Soundscape, SoundscapeConfig
from aed.datamodules.soundscapes.training import with_sections
from aed.datamodules.soundscapes.validation import ValidationStreams, validation_streams
from aed.datamodules.sources.clips import ClipSource
from aed.datamodules.sources.events import EventLabels, EventSource, check_frontend
from aed.datamodules.sources.lists import class_name
from aed.datamodules.sources.pieces import PossibleLeak, find_possible_leaks
from aed.datamodules.splits import SplitMethod, shared_sources
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import PatchBatch
from aed.dsp.stream import can_stream
from aed.dsp.waveform import Wave, load_clip
from aed.scoring.decision import Task
from aed.scoring.labels import BACKGROUND

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "calibration")

TRIMMED = "Clips without their silence, which a device cannot know."
"""Under each table of scores of such clips."""

MOST_NAMED = 20
"""Files that are left out and named in the log; a folder of ten thousand m4a would fill it."""


class PatchDataModule(L.LightningDataModule):
    """Batches of log-mel patches of a labelled data set.

    Args:
        clips: The data set: one of :mod:`aed.datamodules`, or your own class with ``name`` and ``table()``.
        frontend: From recording to patch.
        class_names: Classes to keep, in the order of the logits; default: all, in alphabetical order. Clips of others
            are left out; with a single class and ``multi_label`` they are its counter-examples.
        multi_label: Any number of classes a clip. Without it, clips with several labels are left out.
        garbage_class: One more class, ``other``, the last: clips of classes that are not in ``class_names``.
        garbage_share: Its size in each split, as a share of the mean class there; null: all such clips.
        garbage_per_class: Its size by clips of each unused class in each split, or all where one has fewer; null:
            ``garbage_share``.
        crops: Augmented crops that training sees in place of the clips.
        soundscape_hours: Hours of streams made of the training clips that training sees as well, and up to as many of
            whole clips with their silence. Time in which nothing happens is of the class ``background``,
            which is added as the last if the data has none; with ``multi_label`` of none.
        soundscapes: What these streams are like, and those of validation.
        val_event_hours: Hours of streams made of the validation clips, where ``val/recall_at_1_per_hour`` (or at any
            other number) is monitored.
        val_quiet_hours: Hours beside them in which nothing happens.
        negatives: Folder of recordings in which no class occurs, as ``aed detect cut=`` writes them: training clips of
            the class ``background``, likewise.
        unseen: Sounds that are none of the classes, to judge how well they are rejected: ``unused``: the clips of
            classes that are not in ``class_names``; else a folder of recordings.
        split: How clips are divided into train, val and test: ``folds``: by the published fold numbers. ``random``:
            over clips, as ST's zoo does; it leaks and says so. ``source``: random, no recording on both sides.
        test_fold: ``folds``: the fold to test on.
        val_fold: ``folds``: the fold that picks the checkpoint; null trains on all others with a fixed schedule.
        min_overlap: Annotated recordings: share of a patch that a class's events have to fill, or of a shorter event
            that has to lie in the patch, for the patch to be of that class.
        excerpt_s: Annotated recordings, multi-label: what is scored as one clip, s.
        test_fraction: ``source``, ``random``: share of clips to test on.
        val_fraction: ``source``, ``random``: share that picks the checkpoint; 0: fixed schedule.
        train_patches: ``grid``: the fixed grid. ``random``: any offset, drawn anew each epoch.
        patches_per_clip: Patches of each clip an epoch; null: as many as the grid has.
        class_balance: Draw patches so that each class is equally likely, with replacement.
        batch_size: Training patches a batch.
        eval_batch_size: Patches a batch elsewhere.
        num_workers: Loader processes; reading the cache rarely needs any.
        cache_workers: Processes that compute features; 0: one per CPU.
        cache_dir: Default ``$AED_CACHE_DIR``, else the user's cache folder; an address, ``s3://bucket/cache``, is
            copied there once, and grows in the copy.
        strict: Stop at the first bad file instead of reporting and leaving it out.
        seed: Seed of splits, order and offsets.
    """

    def __init__(
        self,
        clips: ClipSource,
        frontend: FrontendConfig,
        class_names: list[str] | None = None,
        multi_label: bool = False,
        garbage_class: bool = False,
        garbage_share: float | None = 1.0,
        garbage_per_class: int | None = None,
        crops: CropConfig = CropConfig(),  # noqa: B008 - frozen
        soundscape_hours: float = 0.0,
        soundscapes: SoundscapeConfig = SoundscapeConfig(),  # noqa: B008 - frozen
        val_event_hours: float = 1.0,
        val_quiet_hours: float = 3.0,
        negatives: str | None = None,
        unseen: str | None = None,
        min_overlap: float = 0.5,
        excerpt_s: float = 10.0,
        split: SplitMethod = "folds",
        test_fold: int | None = 5,
        val_fold: int | None = None,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        train_patches: Literal["grid", "random"] = "grid",
        patches_per_clip: int | None = None,
        class_balance: bool = False,
        batch_size: int = 32,
        eval_batch_size: int = 64,
        num_workers: int = 0,
        cache_workers: int = 0,
        cache_dir: str | None = None,
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not hasattr(clips, "table"):
            raise AedError(f"data.clips: need a data set with name and table(), got {clips!r}; choose one: data=folder")
        _need_choice("split", split, ("folds", "random", "source"))
        _need_choice("train_patches", train_patches, ("grid", "random"))
        for name, value, least in (
            ("patches_per_clip", 1 if patches_per_clip is None else patches_per_clip, 1),
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("cache_workers", cache_workers, 0),
        ):
            if value < least:
                raise AedError(f"data.{name}: need at least {least}, got {value}")
        if not 0 <= soundscape_hours < math.inf:
            raise AedError(f"data.soundscape_hours: need 0 or more, got {soundscape_hours}")
        for name, hours in (("val_event_hours", val_event_hours), ("val_quiet_hours", val_quiet_hours)):
            if not 0 <= hours < math.inf:
                raise AedError(f"data.{name}: need 0 or more, got {hours}")
        if soundscape_hours:
            _need_stream("data.soundscape_hours", frontend)
        if crops.per_clip:
            _check_crops(crops, clips, frontend, soundscape_hours)
        if unseen is not None and multi_label:
            raise AedError("data.unseen: needs a single-label model, not data.multi_label=true")
        if unseen == UNUSED_CLASSES and garbage_class:
            raise AedError(
                "data.unseen=unused: the unused classes are the garbage class: the net is trained "
                "on them; choose a folder of other sounds"
            )
        self.clips, self.frontend, self.strict, self.seed = clips, frontend, strict, seed
        self.crops, self.soundscape_hours, self.soundscapes = crops, soundscape_hours, soundscapes
        self.val_event_hours, self.val_quiet_hours = val_event_hours, val_quiet_hours
        self.unseen, self.min_overlap, self.excerpt_s, self.split = unseen, min_overlap, excerpt_s, split
        self.folds = {"test_fold": test_fold, "val_fold": val_fold}
        self.fractions = {"test_fraction": test_fraction, "val_fraction": val_fraction}
        self.multi_label = multi_label
        self.choice = Choice(
            source=clips.name,
            has_events=isinstance(clips, EventSource),
            class_names=class_names,
            multi_label=multi_label,
            garbage_class=garbage_class,
            garbage_share=garbage_share,
            garbage_per_class=garbage_per_class,
            negatives=negatives,
            makes_background=soundscape_hours > 0,
            splitting={"method": split, **self.folds, **self.fractions, "seed": seed},
        )
        self.train_patches, self.patches_per_clip, self.class_balance = train_patches, patches_per_clip, class_balance
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        root = folder_of("data.cache_dir", cache_dir, keeps=True) if cache_dir else paths.cache_dir()
        self.cache = FeatureCache(root, frontend, cache_workers)
        self.predicted_split = "test"
        self.skipped: dict[Path, str] = {}
        self.datasets: dict[str, PatchDataset] = {}

    @cached_property
    def recordings(self) -> pd.DataFrame:
        """The data set's own table, its class names in composed Unicode; read, or downloaded, at first use."""
        return composed(self.clips.table())

    @cached_property
    def _chosen(self) -> Chosen:
        return self.choice.chosen(self.recordings)

    @property
    def table(self) -> pd.DataFrame:
        """The clip table of the chosen classes with their split."""
        return self._chosen.table

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self._chosen.class_names

    @property
    def task(self) -> Task:
        """Whether a clip has one class or any number."""
        return "multi_label" if self.multi_label else "single_label"

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def leaking_sources(self) -> list[str]:
        """Source recordings, or files of one content, in more than one of train, val and test."""
        if known := shared_sources(self.table):
            return known
        keys, _ = self.cache.keys(list(self.table["path"]))
        first = {key: str(path) for path, key in reversed(keys.items())}
        content = self.table.assign(src_file=self.table["path"].map(lambda path: keys.get(path, str(path))))
        return sorted(first.get(key, key) for key in shared_sources(content))

    @cached_property
    def likely_sources(self) -> PossibleLeak | None:
        """Clips on both sides of the split that may be of one recording, where the data set does not tell."""
        return find_possible_leaks(self.table)

    def source_advice(self, guess: PossibleLeak) -> str:
        """Advice on names that look alike: the option that keeps them on one side."""
        advice = "a column src_file in the list and data.split=source keep them on one side"
        if hasattr(getattr(self.clips, "source", self.clips), "source_pattern"):
            typed = shlex.quote(f"data.clips.source_pattern={guess.pattern}")
            advice = f"{typed} data.split=source keeps them on one side"
        left, right = guess.examples[0]
        return (
            f"{guess.pairs} pairs of clips on both sides of the split look like pieces of one recording, of "
            f"{guess.recordings} recordings (e.g. {left} and {right}); if they are, scores are too high: {advice}"
        )

    def note(self, weights: Mapping[str, str] | None = None) -> str:
        """Caption of a table of accuracies: recordings on both sides of the split; empty where there are none.

        Args:
            weights: Published ones the model started from, as its card has them.
        """
        leaks, origin = len(self.leaking_sources), (weights or {}).get("origin")
        lines = [TRIMMED] if self.frontend.trim != "none" else []
        lines += [f"LEAKS: {leaks} recordings are on both sides of split={self.split}"] if leaks else []
        if not leaks and (guess := self.likely_sources):
            lines.append(f"MAY LEAK: {guess.pairs} pairs of clips on both sides look like pieces of one recording.")
        if origin and origin == self.clips.origin:
            lines.append(f"The backbone was trained on recordings from {origin}, as these are: they may overlap.")
        return "\n".join(lines)

    def prepare_data(self) -> None:
        """Downloads and computes what is missing; Lightning calls it in one process only."""
        self._check_events()
        self.cache.ensure(list(self.table["path"]))

    def setup(self, stage: str | None = None) -> None:
        """Opens the cached features of every split; bad files are reported and left out.

        Raises:
            AedError: ``strict`` and a bad file, or a class without a training clip.
        """
        if self.datasets:
            return
        self._check_events()
        self.skipped = self.cache.ensure(list(self.table["path"]))
        self.skipped |= self.row_errors() | self._untrusted()
        warn_of(self.skipped)
        if self.skipped and self.strict:
            raise AedError(
                f"{len(self.skipped)} of {len(self.table)} files are bad and data.strict=true; "
                f"first: {next(iter(self.skipped.values()))}"
            )
        if self.leaking_sources:
            log.warning(
                "split=%s LEAKS: %d sources (recordings, uploaders, or files of the same content) are on both sides of "
                "it (e.g. %s), so its accuracies are too high; split=folds and split=source keep known sources apart, "
                "aed data inspect names files that are copies",
                self.split,
                len(self.leaking_sources),
                self.leaking_sources[0],
            )
        elif guess := self.likely_sources:
            log.warning("%s: %s", self.clips.name, self.source_advice(guess))
        self.good = self.table[~self.table["path"].isin(list(self.skipped))]
        for split in SPLITS:
            rows = self.rows(split)
            if len(rows) and (data := self._patches(list(rows["path"]), self._labeller(rows))).num_clips:
                self.datasets[split] = data
        counts = {split: self.class_counts(split) for split in ("train", *self.datasets)}
        check_classes(self.clips.name, self.class_names, counts, self.skipped)
        if self.multi_label:
            train = self.datasets["train"]
            check_counterexamples(
                self.clips.name, self.class_names, train.labels.patches_of_classes(self.num_classes), len(train)
            )
        numbers = ", ".join(f"{name} {data.num_clips}" for name, data in self.datasets.items())
        log.info("%s: clips %s; left out %d", self.clips.name, numbers, len(self.skipped))

    def _patches(self, files: list[Path], labeller: Labeller) -> PatchDataset:
        return PatchDataset(self.cache.open(files), labeller, self.frontend)

    def _labeller(self, rows: pd.DataFrame) -> Labeller:
        if not isinstance(self.clips, EventSource):
            return ClipLabels(self.targets(rows))
        names = self.class_names
        classes = {name: index for index, name in enumerate(names)}
        if self.choice.garbage_class:  # whatever has no class of its own
            classes = {name: classes.get(name, len(names) - 1) for name in set(self.events["label"])} | classes
        return EventLabels.from_table(
            self.events,
            list(rows["path"]),
            classes,
            self.frontend,
            self.multi_label,
            min_overlap=self.min_overlap,
            excerpt_s=self.excerpt_s,
        )

    @cached_property
    def events(self) -> pd.DataFrame:
        """The events of annotated recordings, their class names as in :attr:`recordings`."""
        assert isinstance(self.clips, EventSource)
        events = self.clips.events()
        return events.assign(label=events["label"].map(class_name))

    def row_errors(self) -> dict[Path, str]:
        """Rows of the data set's lists that cannot be used, with the reason; a class of yours need not tell any."""
        return dict(self.clips.row_errors()) if hasattr(self.clips, "row_errors") else {}

    def _untrusted(self) -> dict[Path, str]:
        """Recordings whose annotation cannot be right, with the reason."""
        if not isinstance(self.clips, EventSource):
            return {}
        readable = [path for path in self.table["path"].unique() if path not in self.skipped]
        events = self.events[self.events["path"].isin(readable)]
        reasons = untrusted(events, self.cache.lengths(readable)) | self.clips.annotation_errors()
        listed = {*self.table["path"], *reasons.keys() - set(self.recordings["path"])}
        return {path: reason for path, reason in reasons.items() if path in listed and path not in self.skipped}

    def _check_events(self) -> None:
        """Refuses, before features are computed, a front end that moves events."""
        if isinstance(self.clips, EventSource):
            check_frontend(self.frontend, self.events[self.events["path"].isin(self.table["path"])])

    def rows(self, split: str) -> pd.DataFrame:
        """The rows of :attr:`table` of a split whose files are good, in the order of :attr:`PatchBatch.clip`."""
        return self.good[self.good["split"] == split]

    def targets(self, rows: pd.DataFrame) -> npt.NDArray[Any]:
        """Target classes of some rows; see :func:`aed.datamodules.selection.targets`."""
        return targets(rows["labels"], self.class_names, self.multi_label)

    def drawn_counts(self) -> tuple[int, npt.NDArray[np.int64]]:
        """Training patches of an epoch, and those of each class ``(num_classes,)``, but for a common factor."""
        train = self.training_data
        if self.patches_per_clip is None or isinstance(self.clips, EventSource):
            return len(train), train.labels.patches_of_classes(self.num_classes)
        return train.num_clips, class_counts(train.targets, self.num_classes)

    def class_counts(self, split: str) -> npt.NDArray[np.int64]:
        """Good clips of each class in a split, ``(num_classes,)``."""
        data = self.datasets.get(split)
        return class_counts(data.targets, self.num_classes) if data else np.zeros(self.num_classes, np.int64)

    @cached_property
    def unseen_data(self) -> PatchDataset | None:
        """The clips of ``unseen``, all of target 0; None where there are none to be had.

        Raises:
            AedError: The folder is missing, or no file in it can be read.
        """
        if self.unseen is None:
            return None
        if self.unseen == UNUSED_CLASSES:
            files = sorted(self._chosen.unused("data.unseen")["path"])
        else:
            if not (files := recordings_below(folder_of("data.unseen", self.unseen))):
                raise AedError(f"data.unseen={self.unseen}: holds no recording")
        bad = self.cache.ensure(files)
        warn_of(bad)
        if not (good := [path for path in files if path not in bad]):
            raise AedError(f"data.unseen={self.unseen}: none of its {len(files)} files can be read")
        return self._patches(good, ClipLabels(np.zeros(len(good), np.int64)))

    def clip_names(self, split: str) -> list[str]:
        """Names of a split's clips, in the order of :attr:`PatchBatch.clip`: of their files, with second if a part."""
        names = self.file_names(split)
        if not isinstance(self.clips, EventSource):
            return names
        step = self.frontend.hop_length / self.frontend.sample_rate
        firsts = self.datasets[split].labels.first_windows().tolist()
        return [f"{names[recording]}@{frame * step:.2f}s" for recording, frame in firsts]

    def listed(self) -> list[tuple[str, str, str]]:
        """Name of its file, labels joined by commas, and split of every clip."""
        table = self.table
        names = [self._chosen.file_names[path] for path in table["path"]]
        return list(zip(names, table["labels"].map(",".join), table["split"], strict=True))

    def file_names(self, split: str) -> list[str]:
        """Names of a split's good files; with their folders where others have the same."""
        return [self._chosen.file_names[path] for path in self.rows(split)["path"]]

    def calibration(self, number: int) -> Calibration:
        """Patches of training clips (or of the calibration set, where there is one), and clips that judge int8.

        Validation clips judge; without a validation set, half of the training clips do, and the other half is
        for calibration. Clips of tested recordings are left out of a calibration set.

        Args:
            number: Of calibration patches.

        Raises:
            AedError: No clip of the calibration set is left.
        """
        rows = {split: self.rows(split) for split in SPLITS}
        is_listed = bool((self.table["split"] == "calibration").any())
        return calibration(self.datasets, rows, self.clip_names, number, self.seed, is_listed)

    def soundscape(self, split: str, config: SoundscapeConfig) -> Soundscape:
        """Streams of the clips of a split.

        Args:
            split: ``train``, ``val`` or ``test``.
            config: What they are like.

        Raises:
            AedError: There is no such split, its recordings are no clips, or as :class:`Soundscape`.
        """
        if isinstance(self.clips, EventSource):
            raise AedError(
                f"{self.clips.name}: soundscapes are made of clips, and these are recordings with events: they are "
                "streams to score on as they are"
            )
        rows = self.table[self.table["split"] == split]
        if rows.empty and config.events_a_minute:
            advice = f"; set data.{split}_fold or data.{split}_fraction" if split != "train" else ""
            raise AedError(f"split={split}: {self.clips.name} has no {split} clips as it is split{advice}")
        clips = dict(zip(rows["path"], rows["labels"], strict=True))
        frontend = self.frontend
        unused = self.choice.unused_of(split, self._chosen) if config.ambient == UNUSED_CLASSES else []
        return Soundscape(clips, split, config, frontend.sample_rate, frontend.max_length_s, self.seed, unused)

    def val_soundscapes(self, asked: str) -> tuple[tuple[Soundscape, float], ...]:
        """Streams of the validation clips and those in which nothing happens, with the hours of each.

        Args:
            asked: The metric that they are for.

        Raises:
            AedError: There are no validation clips, or they or the front end make no streams.
        """
        _need_stream(asked, self.frontend)
        lively, quiet = self.soundscapes, replace(self.soundscapes, events_a_minute=0.0)
        if not lively.events_a_minute or not self.val_event_hours:
            key = "data.val_event_hours" if lively.events_a_minute else "data.soundscapes.events_a_minute"
            raise AedError(f"{key}: {asked} needs events to find; use more than 0")
        return (
            (self.soundscape("val", lively), self.val_event_hours),
            (self.soundscape("val", quiet), self.val_quiet_hours),
        )

    def val_streams(self, soundscapes: Sequence[tuple[Soundscape, float]]) -> ValidationStreams:
        """Features of such streams, and what occurs in them."""
        classes = {name: index for index, name in enumerate(self.class_names)}
        started = time.monotonic()
        streams = validation_streams(soundscapes, LogMel(self.frontend).array, classes, self.frontend)
        log.info(
            "%g h of validation streams with %d events, made in %.1f s",
            streams.length_s.sum() / 3600,
            len(streams.events),
            time.monotonic() - started,
        )
        return streams

    @cached_property
    def crop_pool(self) -> CropPool:
        """The augmented crops of the training clips."""
        rows = self.rows("train")
        keys, _ = self.cache.keys(list(rows["path"]))
        folds = rows if self.split == "folds" else rows.drop(columns="fold", errors="ignore")
        return CropPool(folds, keys, self.crops, self.frontend, self.cache.root, self.seed, self.cache.num_workers)

    def training_waves(self) -> Iterator[tuple[Wave, int]]:
        """Samples ``(T,)`` and class of each training clip, at the rate of the front end, of a single-label set."""
        rows = self.rows("train")
        for path, target in zip(rows["path"], self.targets(rows).tolist(), strict=True):
            yield load_clip(path, self.frontend), target

    @cached_property
    def training_data(self) -> PatchDataset:
        """What training sees: the clips and, with ``soundscape_hours``, streams made of them, or ``crops`` of them."""
        clips = self.datasets["train"]
        if self.crops.per_clip:
            targets = one_hot(clips.targets, self.num_classes)
            return crop_patches(self.crop_pool, targets, self.frontend, self.multi_label)
        if not self.soundscape_hours:
            return clips
        started, soundscape = time.monotonic(), self.soundscape("train", self.soundscapes)
        classes = {name: index for index, name in enumerate(self.class_names)}
        num_samples = round(self.soundscape_hours * 3600 * self.frontend.sample_rate)
        together = with_sections(
            clips,
            chain(soundscape.untouched(num_samples), soundscape.sections(num_samples)),
            LogMel(self.frontend).array,
            classes,
            self.frontend,
            self.multi_label,
            self.min_overlap,
            None if self.multi_label else classes[BACKGROUND],
        )
        log.info(
            "%d patches of clips, %d of %g h of soundscapes and of whole clips, made in %.1f s",
            len(clips),
            len(together) - len(clips),
            self.soundscape_hours,
            time.monotonic() - started,
        )
        return together

    @property
    def labelled_data(self) -> PatchDataset:
        """Training patches of one class each: those of the clips where :attr:`training_data` mixes them."""
        return self.datasets["train"] if self.crops.per_clip else self.training_data

    def training_recordings(self) -> npt.NDArray[np.int64]:
        """The recording of each patch of :attr:`training_data`, ``(patches,)``; a made section is one of its own."""
        number, rows = self.training_data.windows[:, 0], self.rows("train")
        sources = rows["src_file"] if "src_file" in rows else pd.Series("", index=rows.index)
        known = sources.notna() & (sources.astype(str) != "")
        names = sources.where(known, rows["path"].astype(str)).astype(str).to_numpy()
        codes = np.unique(names, return_inverse=True)[1].astype(np.int64)
        is_clip = number < len(codes)
        return np.where(is_clip, codes[np.minimum(number, len(codes) - 1)], number)

    def training_embeddings(
        self, facts: Mapping[str, Any], weights: Mapping[str, Tensor], size: int, embed: Embed
    ) -> npt.NDArray[np.float32]:
        """Embeddings ``(patches, size)`` of :attr:`training_data`, from the cache folder where they are known.

        Args:
            facts: All that they depend on besides the weights, as JSON can hold it.
            weights: ``state_dict`` of the backbone.
            size: Values of an embedding.
            embed: By the backbone.
        """
        clips, together = self.datasets["train"], self.training_data
        kept = self._kept(facts, weights, size).embedded(clips, self._file_keys("train"), embed)
        made = embed_patches(together, np.arange(len(clips), len(together)), embed, size)  # sections are made each time
        return np.concatenate([kept, made]) if len(made) else kept

    def grid_embeddings(
        self,
        split: str,
        facts: Mapping[str, Any],
        weights: Mapping[str, Tensor],
        size: int,
        compute: Callable[[], Array],
    ) -> Array:
        """Embeddings ``(patches, size)`` of a split, of ``train`` those of :attr:`training_data`.

        They are computed where the cache folder does not have them, or where training sees more than clips.

        Args:
            split: Its name.
            facts: As for :meth:`training_embeddings`, and what tells how they are computed together.
            weights: As for :meth:`training_embeddings`.
            size: Values of an embedding.
            compute: Gives them, or nothing.
        """
        clips = self.datasets[split]
        if split == "train" and self.training_data is not clips:
            return compute()
        return self._kept(facts, weights, size).together(clips, self._file_keys(split), compute)

    def _kept(self, facts: Mapping[str, Any], weights: Mapping[str, Tensor], size: int) -> EmbeddingCache:
        return EmbeddingCache(self.cache.root, backbone_key(facts, weights), size)

    def _file_keys(self, split: str) -> list[str]:
        """Of the content of each recording of a split."""
        keys, _ = self.cache.keys(files := list(self.rows(split)["path"]))
        return [keys[path] for path in files]

    def training_patches(self, data: PatchDataset, epoch: int) -> Iterator[Tensor]:
        """Shuffled batches ``(B, 1, n_mels, patch_frames)`` of ``data``, for training without a Trainer."""
        sampler = self._train_sampler(data)
        sampler.set_epoch(epoch)
        return (batch.patches for batch in self._loader(data, sampler=sampler, batch_size=self.batch_size))

    def facts(self) -> dict[str, Any]:
        """Facts of the data for checkpoints and reports, as plain types."""
        return {
            "name": self.clips.name,
            "split": self.split,
            **(self.folds if self.split == "folds" else {**self.fractions, "seed": self.seed}),
            "garbage_class": self.choice.garbage_class,
            "crops_per_clip": self.crops.per_clip,
            "soundscape_hours": self.soundscape_hours,
            "leaking_sources": len(self.leaking_sources),
            "skipped_clips": len(self.skipped),
            "negatives": self.choice.negatives is not None,
            "clips": {split: self._own_names(split) for split in self.datasets},
        }

    def _own_names(self, split: str) -> list[str]:
        """As :meth:`file_names`, without the clips of ``data.negatives``, which no data set lists."""
        own = set(self._chosen.usable["path"])
        return [self._chosen.file_names[path] for path in self.rows(split)["path"] if path in own]

    def train_dataloader(self) -> DataLoader[PatchBatch]:
        """Shuffled patches."""
        data = self.training_data
        sampler: Any = self._train_sampler(data, *self._world())
        return self._loader(data, batch_sampler=TrainBatches(sampler, self.batch_size, drop_last=False))

    def _train_sampler(self, data: PatchDataset, replicas: int = 1, rank: int = 0) -> TrainSampler:
        return TrainSampler(
            data,
            self.seed,
            self.train_patches == "random",
            replicas,
            rank,
            patches_per_clip=self.patches_per_clip,
            class_balance=self.class_balance,
        )

    def val_dataloader(self) -> "DataLoader[PatchBatch] | list[Any]":
        """Validation patches in order; [] where there is no validation set."""
        return self._eval_loader("val") if "val" in self.datasets else []

    def test_dataloader(self) -> DataLoader[PatchBatch]:
        """Test patches in order.

        Raises:
            AedError: There is no test set.
        """
        if "test" not in self.datasets:
            raise AedError("data: there is no test set; set data.test_fold or data.clips.test_csv, or stages=[fit]")
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[PatchBatch]:
        """Patches of :attr:`predicted_split` in order.

        Raises:
            AedError: There is no such set.
        """
        if self.predicted_split not in self.datasets:
            raise AedError(f"data: there is no {self.predicted_split} set; there are {', '.join(self.datasets)}")
        return self._eval_loader(self.predicted_split)

    def _eval_loader(self, split: str) -> DataLoader[PatchBatch]:
        data = self.datasets[split]
        return self._loader(data, sampler=EvalSampler(data, *self._world()), batch_size=self.eval_batch_size)

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, data: PatchDataset, **batches: Any) -> DataLoader[PatchBatch]:
        return DataLoader(
            data,
            **batches,
            num_workers=self.num_workers,
            collate_fn=already_batched,
            persistent_workers=self.num_workers > 0,
        )


def _check_crops(crops: CropConfig, clips: ClipSource, frontend: FrontendConfig, soundscape_hours: float) -> None:
    """Refuses crops that cannot be made, or that would not be used."""
    if isinstance(clips, EventSource):
        raise AedError(
            f"data.crops: {clips.name} has recordings with events, and crops are made of clips; use per_clip=0"
        )
    if soundscape_hours:
        raise AedError("data.crops and data.soundscape_hours: training sees one of them; set the other to 0")
    if (patch_s := frontend.patch_samples / frontend.sample_rate) > crops.length_s:
        raise AedError(f"data.crops.length_s={crops.length_s}: a patch needs {patch_s:.2f} s; use more")


def warn_of(reasons: Mapping[Path, str]) -> None:
    """Warns of files that are left out; of very many it names the first."""
    for reason in list(reasons.values())[:MOST_NAMED]:
        log.warning("left out: %s", reason)
    if (more := len(reasons) - MOST_NAMED) > 0:
        log.warning(
            "left out: %d more, %d in all; aed data inspect, with the data settings of this command, writes "
            "the reason of each to inspection.json",
            more,
            len(reasons),
        )


def _need_stream(key: str, frontend: FrontendConfig) -> None:
    if not can_stream(frontend):
        raise AedError(
            f"{key}: the features of this front end depend on where a clip ends; use frontend.center=false and, with "
            "frontend.to_db=true, a frontend.db_ref"
        )


def _need_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise AedError(f"data.{name}: need one of {allowed}, got {value!r}")
