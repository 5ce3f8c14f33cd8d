"""PatchDataModule: clip table -> splits -> cached features -> batches of patches."""

import difflib
import logging
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import DataLoader

from aed import paths
from aed.datamodules.cache import FeatureCache
from aed.datamodules.calibration import Calibration, balanced, halves, thinned
from aed.datamodules.clips import ClipSource
from aed.datamodules.patches import EvalSampler, PatchDataset, TrainSampler, already_batched
from aed.datamodules.splits import SplitMethod, assign, shared_sources
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import PatchBatch
from aed.errors import AedError

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test", "calibration")


class PatchDataModule(L.LightningDataModule):
    """Batches of log-mel patches of a labelled data set.

    Args:
        clips: The data set: ``ESC10``, ``EscCsv``, ``Synthetic``, or a class of yours with ``name`` and ``table()``.
        frontend: From recording to patch.
        class_names: Classes to keep, in the order of the logits; default: all, in alphabetical order.
        split: ``folds``: by the published fold numbers. ``source``: random, no recording on both sides.
            ``random``: random over clips, as ST's zoo does; it leaks and says so.
        test_fold: ``folds``: the fold to test on.
        val_fold: ``folds``: the fold that picks the checkpoint; null trains on all others with a fixed schedule.
        test_fraction: ``source``, ``random``: share of clips to test on.
        val_fraction: ``source``, ``random``: share that picks the checkpoint; 0: fixed schedule.
        train_patches: ``grid``: the fixed grid. ``random``: any offset, drawn anew each epoch.
        batch_size: Training patches a batch.
        eval_batch_size: Patches a batch elsewhere.
        num_workers: Loader processes; reading the memory-mapped cache rarely needs any.
        cache_workers: Processes that compute features; 0: one per CPU.
        cache_dir: Default ``$AED_CACHE_DIR``, else the user's cache folder.
        strict: Stop at the first bad file instead of reporting and leaving it out.
        seed: Of splits, order and offsets.
    """

    def __init__(
        self,
        clips: ClipSource,
        frontend: FrontendConfig,
        class_names: list[str] | None = None,
        split: SplitMethod = "folds",
        test_fold: int | None = 5,
        val_fold: int | None = None,
        test_fraction: float = 0.2,
        val_fraction: float = 0.0,
        train_patches: Literal["grid", "random"] = "grid",
        batch_size: int = 32,
        eval_batch_size: int = 64,
        num_workers: int = 0,
        cache_workers: int = 0,
        cache_dir: str | None = None,
        strict: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _need_choice("split", split, ("folds", "random", "source"))
        _need_choice("train_patches", train_patches, ("grid", "random"))
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("eval_batch_size", eval_batch_size, 1),
            ("num_workers", num_workers, 0),
            ("cache_workers", cache_workers, 0),
        ):
            if value < least:
                raise AedError(f"data.{name}: need at least {least}, got {value}")
        self.clips, self.frontend, self.strict, self.seed = clips, frontend, strict, seed
        self.chosen_names, self.split = class_names, split
        self.folds = {"test_fold": test_fold, "val_fold": val_fold}
        self.fractions = {"test_fraction": test_fraction, "val_fraction": val_fraction}
        self.train_patches = train_patches
        self.batch_size, self.eval_batch_size, self.num_workers = batch_size, eval_batch_size, num_workers
        self.cache = FeatureCache(Path(cache_dir) if cache_dir else paths.cache_dir(), frontend, cache_workers)
        self.skipped: dict[Path, str] = {}
        self.datasets: dict[str, PatchDataset] = {}

    @cached_property
    def table(self) -> pd.DataFrame:
        """The clip table of the chosen classes with their split; read, or downloaded, at first use."""
        table = self.clips.table().copy()
        available = sorted(table["category"].unique())
        names = self.chosen_names or available
        if unknown := [name for name in names if name not in available]:
            near = {name: difflib.get_close_matches(name, available, 1) for name in unknown}
            hint = "".join(f"; did you mean {found[0]!r}?" for found in near.values() if found)
            raise AedError(f"data.class_names: {self.clips.name} has no clips of {unknown}; it has {available}{hint}")
        if len(set(names)) != len(names):
            raise AedError(f"data.class_names: a name stands twice in {names}")
        if len(names) < 2:
            raise AedError(f"data.class_names: need at least two classes, got {names}")
        chosen = table["category"].isin(names)
        if self.split == "random":
            # before the choice of classes, as ST's zoo does: the split then has the very same clips
            chosen |= table.groupby("category")["path"].transform("size") >= 2
        table = table[chosen].reset_index(drop=True)
        table["split"] = assign(table, method=self.split, **self.folds, **self.fractions, seed=self.seed)  # type: ignore[arg-type]
        table = table[table["category"].isin(names)].reset_index(drop=True)
        table["target"] = table["category"].map({name: i for i, name in enumerate(names)}).astype("int64")
        self._names = tuple(names)
        return table

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        _ = self.table
        return self._names

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @cached_property
    def leaking_sources(self) -> list[str]:
        """Source recordings in more than one of train, val and test."""
        return shared_sources(self.table)

    def note(self, weights: Mapping[str, str] | None = None) -> str:
        """What a table of accuracies has to say: of recordings on both sides; empty where there are none.

        Args:
            weights: Published ones the model started from, as its card has them.
        """
        leaks, origin = len(self.leaking_sources), (weights or {}).get("origin")
        lines = [f"LEAKS: {leaks} recordings are on both sides of split={self.split}"] if leaks else []
        if origin and origin == self.clips.origin:
            lines.append(f"The backbone was trained on recordings from {origin}, as these are: they may overlap.")
        return "\n".join(lines)

    def prepare_data(self) -> None:
        """Downloads and computes what is missing; Lightning calls it in one process only."""
        self.cache.ensure(list(self.table["path"]))

    def setup(self, stage: str | None = None) -> None:
        """Opens the cached features of every split; bad files are reported and left out.

        Raises:
            AedError: ``strict`` and a bad file, or a class without a training clip.
        """
        if self.datasets:
            return
        self.skipped = self.cache.ensure(list(self.table["path"]))
        for reason in self.skipped.values():
            log.warning("left out: %s", reason)
        if self.skipped and self.strict:
            raise AedError(
                f"{len(self.skipped)} of {len(self.table)} files are bad and data.strict=true; "
                f"first: {next(iter(self.skipped.values()))}"
            )
        if self.leaking_sources:
            log.warning(
                "split=%s LEAKS: %d source recordings are on both sides of it (e.g. %s), so its accuracies "
                "are too high; split=folds and split=source keep them apart",
                self.split,
                len(self.leaking_sources),
                self.leaking_sources[0],
            )
        self.good = self.table[~self.table["path"].isin(list(self.skipped))]
        self._check_classes()
        for split in SPLITS:
            rows = self.good[self.good["split"] == split]
            if len(rows):
                features = self.cache.open(list(rows["path"]))
                targets = rows["target"].to_numpy(np.int64)
                self.datasets[split] = PatchDataset(features, targets, self.frontend)
        counts = ", ".join(f"{name} {data.num_clips}" for name, data in self.datasets.items())
        log.info("%s: clips %s; left out %d", self.clips.name, counts, len(self.skipped))

    def _check_classes(self) -> None:
        counts = pd.crosstab(self.good["category"], self.good["split"])
        counts = counts.reindex(index=list(self.class_names), columns=list(SPLITS), fill_value=0)
        if empty := list(counts.index[counts["train"] == 0]):
            raise AedError(
                f"{self.clips.name}: no readable training clip of {empty} "
                f"({len(self.skipped)} files were left out; the log names them)"
            )
        for split in ("val", "test"):
            if counts[split].any() and (empty := list(counts.index[counts[split] == 0])):
                log.warning("%s: no %s clip of %s", self.clips.name, split, empty)

    def clip_names(self, split: str) -> list[str]:
        """File names of a split's clips, in the order of :attr:`PatchBatch.clip`."""
        return [path.name for path in self.good.loc[self.good["split"] == split, "path"]]

    def calibration(self, number: int) -> Calibration:
        """Patches of training clips (or of the calibration set, where there is one) and clips to judge int8 by.

        Judged is on validation clips; where there are none, on half of the training clips, and the other half is
        calibrated on.

        Args:
            number: Of calibration patches.
        """
        own = "calibration" if (self.table["split"] == "calibration").any() else "train"
        if own not in self.datasets:
            raise AedError("data.clips.calibration_csv: none of its clips can be read; the log names them")
        data, train = self.datasets[own], self.datasets["train"]
        given, judges = np.arange(data.num_clips), np.arange(train.num_clips)
        training = train
        if "val" in self.datasets:
            judging, judges = self.datasets["val"], np.arange(self.datasets["val"].num_clips)
        else:
            judging = train
            if own == "train":
                given, judges = halves(train.targets)
                training = train.subset(given)
                judges = judges if len(judges) else given
        positions = balanced(data, given, number, self.seed)
        names = self.clip_names(own)
        return Calibration(
            patches=data.__getitems__(positions.tolist()).patches.numpy(),
            clips=tuple(names[clip] for clip in np.unique(data.windows[positions, 0])),
            judging=judging.subset(thinned(judges)),
            training=training,
            judging_split="val" if "val" in self.datasets else "train",
        )

    def training_patches(self, data: PatchDataset, epoch: int) -> Iterator[Tensor]:
        """Shuffled batches ``(B, 1, n_mels, patch_frames)`` of ``data``, for training without a Trainer."""
        sampler = TrainSampler(data, self.seed, self.train_patches == "random")
        sampler.set_epoch(epoch)
        return (batch.patches for batch in self._loader(data, sampler, self.batch_size))

    def facts(self) -> dict[str, Any]:
        """What a checkpoint or a report says of the data, as plain types."""
        return {
            "name": self.clips.name,
            "split": self.split,
            **(self.folds if self.split == "folds" else {**self.fractions, "seed": self.seed}),
            "leaking_sources": len(self.leaking_sources),
            "skipped_clips": len(self.skipped),
            "clips": {split: self.clip_names(split) for split in self.datasets},
        }

    def train_dataloader(self) -> DataLoader[PatchBatch]:
        """Shuffled patches."""
        data = self.datasets["train"]
        replicas, rank = self._world()
        sampler = TrainSampler(data, self.seed, self.train_patches == "random", replicas, rank)
        return self._loader(data, sampler, self.batch_size)

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

    def _eval_loader(self, split: str) -> DataLoader[PatchBatch]:
        data = self.datasets[split]
        return self._loader(data, EvalSampler(data, *self._world()), self.eval_batch_size)

    def _world(self) -> tuple[int, int]:
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, data: PatchDataset, sampler: Any, batch_size: int) -> DataLoader[PatchBatch]:
        return DataLoader(
            data,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=self.num_workers,
            collate_fn=already_batched,
            persistent_workers=self.num_workers > 0,
        )


def _need_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise AedError(f"data.{name}: need one of {allowed}, got {value!r}")
