"""The data for a model: with its front end and its classes, split as its card lists."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.spacing import evenly
from aed.datamodules import PatchDataModule
from aed.datamodules.selection import class_settings
from aed.datamodules.sources.clips import FixedSplit
from aed.datamodules.sources.events import EventSource, FixedEvents
from aed.export.card import ModelCard

log = logging.getLogger(__name__)


def model_data(
    data: Callable[..., PatchDataModule], card: ModelCard, split: str, split_by: str, class_names: list[str] | None
) -> PatchDataModule:
    """The DataModule with the model's front end and classes, split as asked; its table is read.

    Args:
        data: Constructs it.
        card: Of the model.
        split: ``all``: not split at all.
        split_by: ``card``: as the card lists, where the model was trained on this data set; ``data``: as ``data`` says.
        class_names: In the order of the outputs; None: the data's.

    Raises:
        AedError: The data lacks classes of the model.
    """
    module = _split_as_asked(data, card, split, split_by, class_names)
    check_classes(module, card.data.get("name"))
    return module


def check_classes(module: PatchDataModule, trained_on: str | None) -> None:
    """Refuses data that lacks classes of a model.

    Args:
        module: The data.
        trained_on: Name of the data set that the model was trained on, if it is known.

    Raises:
        AedError: Names the classes and, where the model was trained on other data, what to type.
    """
    try:
        _ = module.class_names
    except AedError as error:
        if not str(error).startswith("data.class_names") or trained_on in (None, module.clips.name):
            raise
        raise AedError(f"{error}; the model was trained on {trained_on}: {_how_to_choose(str(trained_on))}") from error


def _split_as_asked(
    data: Callable[..., PatchDataModule], card: ModelCard, split: str, split_by: str, class_names: list[str] | None
) -> PatchDataModule:
    settings: dict[str, Any] = {"frontend": card.frontend, "multi_label": card.task == "multi_label"}
    if class_names:
        settings |= class_settings(class_names, card.data)
    module = data(**settings)
    # all that is left after the choice of clips belongs to the garbage class
    all_others = {"garbage_share": None, "garbage_per_class": None}
    fixed = settings | {"split": "folds", "test_fold": None, "val_fold": None} | all_others
    with_splits = FixedEvents if isinstance(module.clips, EventSource) else FixedSplit
    if split == "all":
        return data(clips=with_splits(module.clips, None), **fixed)
    if split_by == "card" and card.data.get("name") == module.clips.name:
        return data(clips=with_splits(module.clips, card.data["clips"]), **fixed)
    if split_by == "card":
        log.info("the model was not trained on %s: split as data.* says", module.clips.name)
    return module


_PUBLISHED = {"esc10", "fsd50k", "synthetic", "urbansound8k", "speech_commands", "fsdkaggle2018", "fsdkaggle2019"}
_PUBLISHED |= {"sonyc_ust", "audioset"}
"""Data sets whose name chooses them."""


def _how_to_choose(name: str) -> str:
    """The override that chooses a data set of this name."""
    if name in _PUBLISHED:
        return f"add data={name}"
    return "give that data as in training, or other data with these classes, say data=folder data.clips.root=sounds"


class SplitClips:
    """The clips of a split, or some of them, with their features.

    Args:
        module: The data; its table is read.
        split: Of its splits; ``all``: of the whole data set.
        max_clips: Largest number of clips, evenly spread; None: all.

    Attributes:
        names: File names of the clips.
        dataset: Their patches.
        is_whole: Whether they are all of the split.

    Raises:
        AedError: There is no such split, or a recording cannot be used.
    """

    def __init__(self, module: PatchDataModule, split: str, max_clips: int | None = None) -> None:
        module.prepare_data()
        module.setup()
        self.module, self.split, self.part = module, split, "train" if split == "all" else split
        if self.part not in module.datasets:
            raise AedError(f"split={split}: there is no such split here; there are {sorted(module.datasets)}")
        names = module.clip_names(self.part)
        self.indices = evenly(len(names), max_clips)
        self.names, self.is_whole = [names[index] for index in self.indices], len(self.indices) == len(names)
        self.dataset = module.datasets[self.part].subset(np.array(self.indices))

    def recordings(self) -> tuple[list[Path], npt.NDArray[Any]]:
        """Paths of the clips, each a recording of its own, and their targets."""
        rows = self.module.rows(self.part).iloc[self.indices]
        return list(rows["path"]), self.module.targets(rows)

    def note(self, card: ModelCard) -> str:
        """Footnote of a table: that a model was trained on some of these clips, else of the data and its weights.

        Args:
            card: Of the model.
        """
        files = self.module.file_names(self.part)
        scored = [files[recording] for recording in np.unique(self.dataset.windows[:, 0])]
        seen = len(set(card.data.get("clips", {}).get("train", ())).intersection(scored))
        if seen and self.split != "train":
            log.warning("LEAKS: the model was trained on %d of these %d clips", seen, len(scored))
            return f"LEAKS: trained on {seen} of these {len(scored)} clips"
        return self.module.note(card.weights)
