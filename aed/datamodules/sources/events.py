"""Annotated recordings: from events, with onset and offset, to labels of patches and of what is scored as one clip."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from aed.base.errors import AedError
from aed.datamodules.health.annotations import file_length
from aed.datamodules.selection import class_counts
from aed.datamodules.sources.clips import ClipSource, FixedSplit
from aed.dsp.frontend import FrontendConfig

EVENT_COLUMNS = ("path", "onset_s", "offset_s", "label")
"""Of an event table: recording, begin and end in it in seconds, class name."""

SLACK_S = 1e-6
"""Overlaps are compared with this tolerance, which hides rounding and is far below what people annotate, s."""

Index = npt.NDArray[np.int64]
Seconds = npt.NDArray[np.float64]
Labels = npt.NDArray[Any]
"""``(P,)`` int64 class index, -1 for none; or, multi-label, ``(P, num_classes)`` float32 of 0 and 1."""


class EventSource(ClipSource):
    """A data set of recordings with annotated events.

    Its ``table()`` has one row a recording, whose ``labels`` are the classes that occur in it, in alphabetical order:
    () where nothing occurs.
    """

    @abstractmethod
    def events(self) -> pd.DataFrame:
        """One row an event, columns :data:`EVENT_COLUMNS`."""

    def annotation_errors(self) -> dict[Path, str]:
        """Reasons why the annotation of a recording cannot be trusted, by its path."""
        return {}


class FixedEvents(FixedSplit, EventSource):
    """Recordings with events whose splits are known by name."""

    source: EventSource

    def events(self) -> pd.DataFrame:
        """Events of the named recordings."""
        events = self.source.events()
        return events[events["path"].isin(self._named["path"])].reset_index(drop=True)

    def annotation_errors(self) -> dict[Path, str]:
        """Annotation errors of the source's list and of the named recordings."""
        others = set(self.source.table()["path"]) - set(self._named["path"])
        return {path: reason for path, reason in self.source.annotation_errors().items() if path not in others}


def check_frontend(frontend: FrontendConfig, events: pd.DataFrame) -> None:
    """Refuses a front end after which an event is no longer where it was annotated.

    Recordings shorter than ``min_length_s`` are repeated; what is repeated has no labels.

    Args:
        frontend: Features of a whole recording are computed at once and cached as one clip: with 64 bands every 10 ms,
            an hour is 92 MB on disk, and nearly 4 GB in memory while a process makes it; cut longer recordings.
        events: As :meth:`EventSource.events` gives them.

    Raises:
        AedError: Silence is removed, or an event begins after ``max_length_s`` in a recording that is so long.
    """
    if frontend.trim != "none":
        raise AedError(
            f"frontend.trim: annotated recordings need none, got {frontend.trim}: without its silence, a recording's "
            "events are elsewhere; frontend.trim=none"
        )
    late = events["onset_s"] >= frontend.max_length_s
    length_s = {path: file_length(path) for path in events["path"][late].unique()}
    late &= events["onset_s"] < events["path"].map(length_s)  # others are no fault of the front end
    if late.any():
        raise AedError(
            f"frontend.max_length_s: {late.sum()} of {len(events)} events begin after {frontend.max_length_s:g} s, "
            "where reading stops; set it to the length of the longest recording, at least "
            f"{np.ceil(events['offset_s'][late].max()):.0f}"
        )


@dataclass(frozen=True)
class PatchLabels:
    """Labels of the patches of a split, and which of them are one clip, decided together.

    Args:
        windows: ``(P, 2)`` int64, recording and first frame of each patch.
        target: Labels of the patches; None: each has its clip's, which for hundreds of classes would be gigabytes.
        clip: ``(P,)`` int64, number of each patch's clip, from 0.
        clip_target: ``(num_clips,)`` or ``(num_clips, num_classes)``, labels of the clips.
    """

    windows: Index
    target: Labels | None
    clip: Index
    clip_target: Labels

    @classmethod
    def of_clips(cls, windows: Index, clip_target: Labels) -> Self:
        """The patches of recordings that are one clip each, with one label for all of it."""
        return cls(windows, None, windows[:, 0], clip_target)

    def target_at(self, positions: Index | slice) -> Labels:
        """Labels of some patches, by their positions."""
        return self.clip_target[self.clip[positions]] if self.target is None else self.target[positions]

    def patches_of_classes(self, num_classes: int) -> Index:
        """Number of patches of each class, ``(num_classes,)``."""
        if self.target is not None:
            return class_counts(self.target, num_classes)
        patches = np.bincount(self.clip, minlength=len(self.clip_target))
        if self.clip_target.ndim == 2:
            return np.array([patches[own > 0].sum() for own in self.clip_target.T], np.int64)
        return np.bincount(self.clip_target, patches, num_classes).astype(np.int64)

    def subset(self, clips: Index) -> Self:
        """The patches of some clips, renumbered from 0 in the order of the argument."""
        number = np.full(len(self.clip_target), -1)
        number[clips] = np.arange(len(clips))
        rows = np.flatnonzero(number[self.clip] >= 0)
        rows = rows[np.argsort(number[self.clip[rows]], kind="stable")]
        clip, target = number[self.clip[rows]], None if self.target is None else self.target[rows]
        return replace(self, windows=self.windows[rows], target=target, clip=clip, clip_target=self.clip_target[clips])

    def first_windows(self) -> Index:
        """Recording and first frame of each clip's first patch, ``(num_clips, 2)``: they tell clips apart by name."""
        order = np.argsort(self.clip, kind="stable")
        _, first = np.unique(self.clip[order], return_index=True)
        return self.windows[order[first]]


@dataclass(frozen=True)
class EventLabels:
    """The events of a list of recordings, and what they say of patches.

    Events of one class that overlap or touch are one. A class is on in a patch if its events fill at least
    ``min_overlap`` of the patch, or if at least that share of an event shorter than the patch lies in it.

    Args:
        recording: ``(E,)`` int64, position of each event's recording in the list, ascending.
        target: ``(E,)`` int64, class index.
        onset_s: ``(E,)`` float64.
        offset_s: ``(E,)`` float64; of the same recording and class, no two events touch.
        num_classes: Classes in all.
        config: Where patches lie in time.
        multi_label: Any number of classes a patch. Without it, a patch has the class that fills most of it (the
            lowest index of equals) if that is on, else none.
        min_overlap: Share of a patch or of an event, 0 to 1.
        excerpt_s: Multi-label: length of the pieces of a recording that are scored as one clip, s; 10 as the clips of
            AudioSet and of DCASE's task 4.
    """

    recording: Index
    target: Index
    onset_s: Seconds
    offset_s: Seconds
    num_classes: int
    config: FrontendConfig
    multi_label: bool
    min_overlap: float = 0.5
    excerpt_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.min_overlap <= 1:
            raise AedError(f"data.min_overlap: need a share over 0 and up to 1, got {self.min_overlap}")
        if not self.excerpt_s > 0:
            raise AedError(f"data.excerpt_s: need more than 0 s, got {self.excerpt_s}")

    @classmethod
    def from_table(
        cls,
        events: pd.DataFrame,
        paths: Sequence[Path],
        classes: Mapping[str, int],
        config: FrontendConfig,
        multi_label: bool,
        min_overlap: float = 0.5,
        excerpt_s: float = 10.0,
    ) -> Self:
        """The events of some recordings.

        Args:
            events: Columns :data:`EVENT_COLUMNS`; those of other recordings and classes are left out.
            paths: The recordings, in the order of the features.
            classes: Index of each class name; several names may have one.
            config: The front end.
            multi_label: As in the class.
            min_overlap: As in the class.
            excerpt_s: As in the class.
        """
        numbers = {path: number for number, path in enumerate(paths)}
        known = events[events["path"].isin(numbers) & events["label"].isin(classes)]
        merged = merge(
            np.array([numbers[path] for path in known["path"]], dtype=np.int64),
            np.array([classes[label] for label in known["label"]], dtype=np.int64),
            known["onset_s"].to_numpy(np.float64),
            known["offset_s"].to_numpy(np.float64),
        )
        num_classes = 1 + max(classes.values(), default=-1)
        return cls(*merged, num_classes, config, multi_label, min_overlap, excerpt_s)

    def labels_of(self, windows: Index) -> Labels:
        """Labels of any patches.

        Args:
            windows: ``(P, 2)`` int64, recording and first frame.
        """
        window, event, overlap = self._overlaps(windows)
        length_s = self.config.patch_samples / self.config.sample_rate
        event_s = self.offset_s[event] - self.onset_s[event]
        is_inside = (event_s < length_s) & (overlap >= self.min_overlap * event_s - SLACK_S)
        # one row per pair of window and class that meet
        pairs, pair = np.unique(window * self.num_classes + self.target[event], return_inverse=True)
        total = np.bincount(pair, overlap, minlength=len(pairs))
        is_on = (total >= self.min_overlap * length_s - SLACK_S) | (np.bincount(pair, is_inside, len(pairs)) > 0)
        row, target = np.divmod(pairs, self.num_classes) if len(pairs) else (pairs, pairs)
        if self.multi_label:
            on = np.zeros((len(windows), self.num_classes), dtype=np.float32)
            on[row[is_on], target[is_on]] = 1
            return on
        order = np.lexsort((target, -np.round(total / SLACK_S), row))
        rows, best = np.unique(row[order], return_index=True)
        chosen = np.full(len(windows), -1)
        chosen[rows] = np.where(is_on[order][best], target[order][best], -1)
        return chosen

    def filled_s(self, windows: Index) -> Seconds:
        """Seconds of each window ``(P, 2)`` in which there are events; those of two at a time count twice."""
        window, _, overlap = self._overlaps(windows)
        filled: Seconds = np.bincount(window, overlap, minlength=len(windows)).astype(np.float64)
        return filled

    def patches(self, windows: Index) -> PatchLabels:
        """The labelled patches of a grid and the clips they make.

        Single-label: patches without a class are left out, and a clip is as many patches of a recording as follow
        one another with one label. Multi-label: all patches stay, and a clip is a piece of ``excerpt_s``, to which
        the patches with their middle in it belong; a class is on in it if it is in any of them.

        Args:
            windows: ``(P, 2)`` int64, recording and first frame, ascending.
        """
        target = self.labels_of(windows)
        if self.multi_label:
            start_s, stop_s = self._span_s(windows)
            piece = np.floor((start_s + stop_s) / 2 / self.excerpt_s)
            new = _changes(windows[:, 0]) | _changes(piece)
            clip = np.cumsum(new) - 1
            clip_target = np.zeros((int(new.sum()), self.num_classes), dtype=np.float32)
            np.maximum.at(clip_target, clip, target)
            return PatchLabels(windows, target, clip, clip_target)
        new, has_class = _changes(windows[:, 0]) | _changes(target), target >= 0
        clip = np.cumsum(new & has_class) - 1
        return PatchLabels(windows[has_class], target[has_class], clip[has_class], target[new & has_class])

    def _span_s(self, windows: Index) -> tuple[Seconds, Seconds]:
        """Begin and end of each patch in its recording, s; with ``center`` the first begins before it."""
        centering = self.config.n_fft // 2 if self.config.center else 0
        start = windows[:, 1] * self.config.hop_length - centering
        return start / self.config.sample_rate, (start + self.config.patch_samples) / self.config.sample_rate

    def _overlaps(self, windows: Index) -> tuple[Index, Index, Seconds]:
        """Every pair of a window and an event that meet: window, event, seconds they share."""
        present, rank = np.unique(windows[:, 0], return_inverse=True)
        bounds = np.searchsorted(self.recording, present), np.searchsorted(self.recording, present, side="right")
        owner, event = _ranges(*bounds)
        start_s, stop_s = self._span_s(windows)
        if not len(event):
            return event, event, np.zeros(0)
        # recordings laid end to end, as far as patches reach, make one sorted axis of window starts
        low, high = start_s.min(), stop_s.max()
        length_s = self.config.patch_samples / self.config.sample_rate
        stride = high - low + 2 * length_s
        axis = rank * stride + start_s
        order = np.argsort(axis)
        onset = owner * stride + np.clip(self.onset_s[event], low, high)
        offset = owner * stride + np.clip(self.offset_s[event], low, high)
        axis = axis[order]
        chosen, position = _ranges(
            np.searchsorted(axis, onset - length_s, side="right"), np.searchsorted(axis, offset, side="left")
        )
        window, event = order[position], event[chosen]
        shared = np.minimum(stop_s[window], self.offset_s[event]) - np.maximum(start_s[window], self.onset_s[event])
        return window[shared > 0], event[shared > 0], shared[shared > 0]


def merge(
    recording: Index, target: Index, onset_s: Seconds, offset_s: Seconds
) -> tuple[Index, Index, Seconds, Seconds]:
    """The union of the events of each recording and class: what overlaps or touches becomes one.

    Args:
        recording: ``(E,)``.
        target: ``(E,)``.
        onset_s: ``(E,)``.
        offset_s: ``(E,)``, each after its onset.

    Returns:
        The same four, sorted by recording, class and onset.
    """
    order = np.lexsort((onset_s, target, recording))
    recording, target, onset_s, offset_s = recording[order], target[order], onset_s[order], offset_s[order]
    group = np.cumsum(_changes(recording) | _changes(target))
    # the latest end so far within the group: ranks make the groups' ends increase from one to the next
    by_end = np.lexsort((offset_s, group))
    rank = np.empty(len(order), dtype=np.int64)
    rank[by_end] = np.arange(len(order))
    latest = offset_s[by_end][np.maximum.accumulate(rank)]
    new = _changes(group)
    new[1:] |= onset_s[1:] > latest[:-1]
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(order))[: len(first)] - 1
    return recording[first], target[first], onset_s[first], latest[last]


def _changes(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where a value differs from the one before; true of the first."""
    return np.append(np.ones(min(1, len(values)), dtype=np.bool_), values[1:] != values[:-1])


def _ranges(start: Index, stop: Index) -> tuple[Index, Index]:
    """The numbers of all ranges ``[start, stop)`` one after the other, each with the position of its range."""
    count = np.maximum(stop - start, 0)
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
