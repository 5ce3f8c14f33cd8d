"""Which clips are of which class, and on which side of the split: from a data set's table to that of a DataModule."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from aed.audio.recordings import recordings_below
from aed.base.errors import AedError
from aed.base.remote import folder_of
from aed.datamodules.selection import alike, check_names, draw_garbage, one_row_a_clip, single_labels, within
from aed.datamodules.soundscapes.backgrounds import UNUSED_CLASSES
from aed.datamodules.sources.clips import clip_names
from aed.datamodules.splits import assign_splits
from aed.scoring.labels import BACKGROUND, OTHER

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chosen:
    """Clips that are used.

    Args:
        usable: A row for each clip of the data set that can be used; of a single label unless there may be several.
        table: Those of the chosen classes, and the negatives, with their split.
        class_names: In the order of the logits.
        file_names: Name of each file; with its folders where others have the same.
    """

    usable: pd.DataFrame
    table: pd.DataFrame
    class_names: tuple[str, ...]
    file_names: Mapping[Path, str]

    def unused(self, key: str) -> pd.DataFrame:
        """The rows of clips of classes that are not used.

        Args:
            key: That asks for them.

        Raises:
            AedError: There are none.
        """
        outside = self.usable[within(self.usable["labels"], self.class_names).map(len) == 0]
        if (outside := outside[~outside["path"].isin(self.table["path"])]).empty:
            raise AedError(f"{key}={UNUSED_CLASSES}: every class is used; leave some out of data.class_names")
        return outside.reset_index(drop=True)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The settings of :class:`aed.datamodules.datamodule.PatchDataModule` that choose clips.

    Args:
        source: The data set's name, for messages.
        has_events: Its recordings are annotated with events.
        makes_background: Streams made of clips hold time in which nothing happens.
        splitting: Keyword arguments of :func:`aed.datamodules.splits.assign_splits`.

    The others are as there.

    Raises:
        AedError: A value makes no sense, or not beside the others.
    """

    source: str
    has_events: bool
    class_names: Sequence[str] | None
    multi_label: bool
    garbage_class: bool
    garbage_share: float | None
    garbage_per_class: int | None
    negatives: str | None
    makes_background: bool
    splitting: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.garbage_share is not None and not 0 < self.garbage_share < math.inf:
            raise AedError(f"data.garbage_share: need a share over 0, or null, got {self.garbage_share}")
        if self.garbage_per_class is not None:
            if self.garbage_per_class < 1:
                raise AedError(f"data.garbage_per_class: need at least 1 clip, or null, got {self.garbage_per_class}")
            if not self.garbage_class:
                raise AedError("data.garbage_per_class: is about the garbage class; add data.garbage_class=true")
            if self.has_events:
                raise AedError("data.garbage_per_class: recordings with events have no clips to count; leave it out")
        if self.negatives is not None and self.has_events:
            raise AedError(
                f"data.negatives: {self.source} has parts of recordings; list the recordings there, without an event"
            )
        if self.negatives is not None and self.garbage_class:
            raise AedError(
                "data.negatives and data.garbage_class=true: both say what is none of the classes; use only one of them"
            )
        if self.garbage_class and not self.class_names:
            raise AedError("data.garbage_class=true: give data.class_names; all others become one class")

    def chosen(self, recordings: pd.DataFrame) -> Chosen:
        """The clips that are used.

        Args:
            recordings: The data set's table, class names in composed Unicode.

        Raises:
            AedError: A class name or the split does not fit the data set, or the negatives are no recordings.
        """
        clips = one_row_a_clip(recordings.reset_index(drop=True), self.source)
        usable = clips if self.multi_label or self.has_events else single_labels(clips, self.source)
        asked = self.class_names
        available = sorted({name for own in usable["labels"] for name in own})
        if asked and self._adds_background(available):
            asked = [name for name in asked if name != BACKGROUND]
        names = check_names(asked, available, self.source, self.multi_label)
        if same := [own for own in alike(available) if set(own) & set(names)]:
            others = sorted({name for own in same for name in own} - set(names))
            left_out = f"; not in data.class_names, and so no clips of a class: {others}" if others else ""
            quoted = "; ".join(" and ".join(map(repr, own)) for own in same)
            log.warning("%s: class names that may mean the same: %s%s", self.source, quoted, left_out)
        table = self._split(usable.copy(), names)
        table, file_names = self._with_negatives(table, clip_names(clips["path"]))
        return Chosen(usable, table, self._outputs(names), file_names)

    def unused_of(self, split: str, chosen: Chosen) -> list[Path]:
        """Clips of classes that are not used, of a split, for ``ambient=unused``.

        Raises:
            AedError: There are none.
        """
        rows = chosen.unused("ambient")
        if not (files := sorted(rows["path"][assign_splits(rows, **self.splitting) == split])):
            raise AedError(
                f"ambient={UNUSED_CLASSES}: {self.source} has no {split} clip of an unused class as it is split"
            )
        return files

    def _split(self, table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
        """The clips of the classes with their split."""
        chosen_labels = within(table["labels"], names)
        inside = (chosen_labels.map(len) > 0) | (table["labels"].map(len) == 0)  # nothing in it: a counter-example
        if self.multi_label and len(names) == 1 and not self.garbage_class:
            inside |= True  # one sound against all others
        if self.garbage_class and OTHER in names:
            raise AedError(f"data.garbage_class=true: the data set has a class {OTHER!r} of its own; rename one")
        final = chosen_labels.where(inside, pd.Series([(OTHER,)] * len(table), index=table.index, dtype=object))
        drawn_from, chosen = table["labels"], inside | self.garbage_class
        if self.splitting["method"] == "random" and not self.multi_label:
            # before the choice of classes, as ST's zoo does: the split then has the very same clips
            strata = table["labels"].map(",".join)
            split_on = chosen | (table.groupby(strata)["path"].transform("size") >= 2)
        else:
            table["labels"], split_on = final, chosen
        table = table[split_on].reset_index(drop=True)
        table["split"] = assign_splits(table, **self.splitting)
        table["labels"] = final[split_on].reset_index(drop=True)
        table = table[chosen[split_on].to_numpy()]
        # recordings with events are not thinned: which of their patches are other depends on the patch
        is_thinned = self.garbage_share is not None or self.garbage_per_class is not None
        if self.garbage_class and is_thinned and not self.has_events:
            drawn_from = drawn_from[split_on].reset_index(drop=True)
            share, seed = self.garbage_share or 1.0, self.splitting["seed"]
            table = draw_garbage(table, drawn_from, len(names), share, seed, self.garbage_per_class)
        return table.reset_index(drop=True)

    def _adds_background(self, names: Sequence[str]) -> bool:
        """Whether there is a class ``background`` beside those of the data."""
        is_made = self.negatives is not None or self.makes_background
        return (is_made or BACKGROUND in (self.class_names or ())) and not self.multi_label and BACKGROUND not in names

    def _outputs(self, names: Sequence[str]) -> tuple[str, ...]:
        """Class names in the order of the logits: those of the data, and those that are made."""
        outputs = (*names, OTHER) if self.garbage_class else tuple(names)
        if not self._adds_background(names):
            return outputs
        asked = list(self.class_names or ())
        place = asked.index(BACKGROUND) if BACKGROUND in asked[:-1] else len(outputs)
        return (*outputs[:place], BACKGROUND, *outputs[place:])

    def _with_negatives(
        self, table: pd.DataFrame, file_names: dict[Path, str]
    ) -> tuple[pd.DataFrame, Mapping[Path, str]]:
        """The table and, below it, the training clips of the negatives, with the names of all."""
        if self.negatives is None:
            return table, file_names
        folder = folder_of("data.negatives", self.negatives)
        files = recordings_below(folder) if folder.is_dir() else []
        if not files:
            raise AedError(f"data.negatives={self.negatives}: need a folder that holds recordings")
        own: tuple[str, ...] = () if self.multi_label else (BACKGROUND,)
        labels = pd.Series([own] * len(files), dtype=object)
        rows = pd.DataFrame({"path": files, "labels": labels, "split": "train"})
        names = file_names | clip_names([*table["path"], *files])
        return pd.concat([table, rows], ignore_index=True).astype({"labels": object}), names
