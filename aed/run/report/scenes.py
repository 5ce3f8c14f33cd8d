"""The clips of a report: which were decided how, their sound, and of the worst what the net sees and answers."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.waveform import load_clip
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier
from aed.inference.embedding import Embedder
from aed.inference.opening import open_classifier
from aed.run.report.embeddings import MOST_MAPPED, Kind, clip_embedding, flat, open_embedder
from aed.run.report.figures import WORDS, programs
from aed.run.report.jobs import ClipRow, Job
from aed.run.report.recordings import Recordings, sound_key
from aed.run.report.sounds import Sounds, image_uri
from aed.run.state import FLOAT, INT8

log = logging.getLogger(__name__)

WORST = 12
"""Clips with a picture."""

SUSPECT = 0.9
"""Posterior of a wrong decision from which a label is suspected."""

LIKELY = 3
"""Classes of a clip whose posteriors are shown."""

LEAST_MAPPED = 3
"""Clips of a map."""

MOST_CLIPS = 5000
"""Of a page; the rest, those with the least loss, are counted and not listed."""


@dataclass(frozen=True)
class Scored:
    """A clip and what each program made of it; ``row`` is that of the last program."""

    job: Job
    row: ClipRow
    decided: dict[str, str]
    loss: float


def scored_clips(jobs: Sequence[Job]) -> list[Scored]:
    """All clips, those with the greatest loss of the last program first: int8 where there is int8."""
    names = programs(jobs)
    found = []
    for job in jobs:
        others = {name: {row.file: row.decided for row in job.clips[name]} for name in names}
        for row in job.clips["int8" if "int8" in names else names[0]]:
            decided = {WORDS[name]: of_file.get(row.file, "") for name, of_file in others.items()}
            found.append(Scored(job, row, decided, row.loss(job.classes)))
    return sorted(found, key=lambda item: (-item.loss, item.job.name, item.row.file))


@dataclass(frozen=True)
class Parts:
    """What the scenes of a run are made of.

    Args:
        recordings: Where its recordings lie.
        model: Its exported model; None: it has none.
        embedder: Of its float model; None: there is no map.
    """

    recordings: Recordings
    model: Classifier | None
    embedder: Embedder | None


def job_parts(job: Job, recordings: Recordings) -> Parts:
    """Of a run; its model is int8 where there is int8."""
    path = next((job.folder / name for name in (INT8, FLOAT) if (job.folder / name).is_file()), None)
    model = open_classifier(path, threads=1) if path else None
    return Parts(recordings, model, open_embedder(job.folder / FLOAT))


class Scenes:
    """What the page has of each clip.

    Args:
        parts: Of each run, by its name.
        sounds: Of the page so far; those of the clips are added.

    Attributes:
        embeddings: Run -> number of a clip -> its embedding, of those on its map.
    """

    def __init__(self, parts: dict[str, Parts], sounds: Sounds) -> None:
        self.parts, self.sounds = parts, sounds
        self.embeddings: dict[str, dict[int, npt.NDArray[np.float32]]] = {}
        self._logmels: dict[FrontendConfig, LogMel] = {}

    def all(self, clips: Sequence[Scored]) -> Iterator[dict[str, Any]]:
        """The content of each clip; sound as long as there is room, pictures for the first :data:`WORST`."""
        shown = clips[:MOST_CLIPS]
        self.sounds.expect(len(shown))
        every = max(1, math.ceil(len(shown) / MOST_MAPPED))
        for number, clip in enumerate(shown):
            yield _facts(clip) | self._scene(clip, number, is_mapped=number % every == 0)

    def _scene(self, clip: Scored, number: int, is_mapped: bool) -> dict[str, Any]:
        parts = self.parts[clip.job.name]
        path = parts.recordings.find(clip.row.file)
        has_picture, is_mapped = number < WORST, is_mapped and parts.embedder is not None
        if parts.model is None or path is None:
            return {}
        config = parts.model.card.frontend
        key = sound_key(path, config)
        known = self.sounds.number(key)
        if not (has_picture or is_mapped) and (known is not None or not self.sounds.has_room):
            return {} if known is None else {"sound": known}
        try:
            wave = load_clip(path, config)
        except AedError as error:
            log.warning("%s", error)
            return {}
        place = self.sounds.put(key, wave, config.sample_rate, lossless=has_picture)
        own: dict[str, Any] = {} if place is None else {"sound": place}
        if not (has_picture or is_mapped):
            return own
        frames = self._logmels.setdefault(config, LogMel(config)).array(wave)
        starts = grid_starts(frames.shape[1], config)
        if is_mapped and parts.embedder is not None:
            vector = clip_embedding(parts.embedder, frames, starts, config)
            self.embeddings.setdefault(clip.job.name, {})[number] = vector
        return own | (_picture(clip, parts.model, frames, starts) if has_picture else {})

    def map(self, name: str, kind: Kind) -> dict[str, Any]:
        """The map of a run's clips: number of each and its place; {} where too few have an embedding."""
        rows = self.embeddings.get(name, {})
        size = len(next(iter(rows.values()))) if rows else 0
        if len(rows) < LEAST_MAPPED or size < 2:
            return {}
        places, shown = flat(np.stack(list(rows.values())), kind)
        return {"kind": kind, "shown": shown, "clips": list(rows), "places": places.round(4).tolist()}


def _picture(
    clip: Scored, model: Classifier, frames: npt.NDArray[np.float32], starts: npt.NDArray[np.int64]
) -> dict[str, Any]:
    """Log-mel of the clip as an image, and the posteriors of its patches: times, and of each class shown."""
    card, config = model.card, model.card.frontend
    posteriors = model.posteriors(cut(frames, starts, config.patch_frames)[:, None])
    step = config.hop_length / config.sample_rate
    return {
        "picture": image_uri(frames),
        "seconds": frames.shape[1] * step,
        "patch_s": config.patch_frames * step,
        "starts": [round(float(start) * step, 3) for start in starts],
        "patches": {
            name: posteriors[:, card.class_names.index(name)].round(4).tolist() for name in _shown_classes(clip, card)
        },
    }


def _shown_classes(clip: Scored, card: ModelCard) -> list[str]:
    """The true and the decided class, and the likeliest others."""
    ranked = np.argsort(-np.array(clip.row.posteriors), kind="stable")
    likely = [clip.job.classes[index] for index in ranked[:LIKELY]]
    wanted = [*clip.row.truth.split(","), clip.row.truth, *clip.row.decided.split(","), clip.row.decided, *likely]
    return [name for name in dict.fromkeys(wanted) if name in card.class_names][:LIKELY]


def _facts(clip: Scored) -> dict[str, Any]:
    ranked = sorted(zip(clip.row.posteriors, clip.job.classes, strict=True), key=lambda item: (-item[0], item[1]))
    wrong = clip.row.decided != clip.row.truth
    return {
        "file": clip.row.file,
        "job": clip.job.name,
        "truth": clip.row.truth,
        "decided": clip.decided,
        "loss": round(clip.loss, 4) if math.isfinite(clip.loss) else None,
        "likely": [[name, round(value, 4)] for value, name in ranked[:LIKELY]],
        "suspect": wrong and clip.job.task == "single_label" and bool(ranked) and ranked[0][0] >= SUSPECT,
    }
