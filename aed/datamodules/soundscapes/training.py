"""Training patches of clips and of soundscapes: events in noise at any alignment, and background as a class."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.datamodules.cache.features import Features
from aed.datamodules.patches import ClipLabels, PatchDataset
from aed.datamodules.soundscapes.mixing import Section
from aed.datamodules.sources.events import EventLabels, PatchLabels, merge
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import grid_starts

BARELY = 0.1
"""Share of a patch that events may fill in background; a patch with more, but too little for a class, is left out."""

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]


class _Features:
    """Log-mel of clips on disk, followed by that of sections in memory.

    Args:
        clips: Of the clips.
        sections: ``(n_mels, n_frames)`` of each section.
    """

    def __init__(self, clips: Features, sections: list[Array]) -> None:
        self.clips, self.sections = clips, sections
        self.n_frames = np.append(clips.n_frames, np.array([own.shape[1] for own in sections], np.int64))

    def gather(self, windows: Index, patch_frames: int) -> Array:
        """Patches ``(N, n_mels, patch_frames)`` float32 of recordings and first frames ``(N, 2)``."""
        of_clip = windows[:, 0] < len(self.clips.n_frames)
        patches = np.empty((len(windows), self.clips.n_mels, patch_frames), np.float32)
        patches[of_clip] = self.clips.gather(windows[of_clip], patch_frames)
        for row in np.flatnonzero(~of_clip).tolist():
            section, first = windows[row].tolist()
            patches[row] = self.sections[section - len(self.clips.n_frames)][:, first : first + patch_frames]
        return patches


class _Labels:
    """Labels of clips, followed by those of sections.

    Args:
        clips: Of the clips.
        num_clips: How many there are.
        events: Of the sections.
        background: Class of a patch of a section that holds no event; None: it is of no class.
    """

    def __init__(self, clips: ClipLabels, num_clips: int, events: EventLabels, background: int | None) -> None:
        self.clips, self.num_clips, self.events, self.background = clips, num_clips, events, background

    def patches(self, windows: Index) -> PatchLabels:
        """The labelled patches of the grid; each of a section is a clip of its own."""
        target = self.labels_of(windows)
        kept = np.ones(len(windows), np.bool_) if target.ndim == 2 else target >= 0
        windows, target = windows[kept], target[kept]
        of_clip = windows[:, 0] < self.num_clips
        clip = np.where(of_clip, windows[:, 0], self.num_clips + np.cumsum(~of_clip) - 1)
        return PatchLabels(windows, target, clip, np.concatenate([self.clips.targets, target[~of_clip]]))

    def labels_of(self, windows: Index) -> npt.NDArray[Any]:
        """The targets of any patches; -1 where a section has none."""
        of_clip = windows[:, 0] < self.num_clips
        inside = windows[~of_clip] - np.array([self.num_clips, 0])
        of_section = self.events.labels_of(inside)
        if self.background is not None:
            length_s = self.events.config.patch_samples / self.events.config.sample_rate
            is_background = (of_section < 0) & (self.events.filled_s(inside) <= BARELY * length_s)
            of_section[is_background] = self.background
        targets = np.empty((len(windows), *of_section.shape[1:]), of_section.dtype)
        targets[of_clip], targets[~of_clip] = self.clips.labels_of(windows[of_clip]), of_section
        return targets


def with_sections(
    clips: PatchDataset,
    sections: Iterable[Section],
    logmel: Callable[[Array], Array],
    classes: Mapping[str, int],
    config: FrontendConfig,
    multi_label: bool,
    min_overlap: float,
    background: int | None,
) -> PatchDataset:
    """The patches of clips and, after them, of sections.

    Args:
        clips: Those of clips, one label each.
        sections: Events in background sound.
        logmel: Samples ``(T,)`` -> ``(n_mels, n_frames)``.
        classes: Index of each class name.
        config: The front end.
        multi_label: As of :class:`aed.datamodules.sources.events.EventLabels`.
        min_overlap: As there.
        background: As of :class:`_Labels`.
    """
    assert isinstance(clips.features, Features) and isinstance(clips.labeller, ClipLabels)
    stored: list[Array] = []
    events: list[tuple[int, int, float, float]] = []
    for section in sections:
        frames = logmel(section.samples)
        if not len(grid_starts(frames.shape[1], config)):
            continue
        events += [
            (len(stored), classes[label], event.onset_s, event.offset_s)
            for event in section.events
            for label in event.labels
        ]
        stored.append(frames)
    recording, target, onset_s, offset_s = list(zip(*events, strict=True)) or [()] * 4
    merged = merge(
        np.array(recording, np.int64), np.array(target, np.int64), np.array(onset_s, float), np.array(offset_s, float)
    )
    of_sections = EventLabels(*merged, 1 + max(classes.values()), config, multi_label, min_overlap)
    labels = _Labels(clips.labeller, len(clips.features.n_frames), of_sections, background)
    return PatchDataset(_Features(clips.features, stored), labels, config)
