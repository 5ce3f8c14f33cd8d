"""The clips of a report: which were decided how, their sound, and of the worst what the net sees and answers."""

import base64
import io
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.waveform import Wave
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier
from aed.inference.opening import open_classifier
from aed.run.report.figures import WORDS, programs
from aed.run.report.jobs import ClipRow, Job
from aed.run.report.recordings import Recordings, data_uri, heard
from aed.run.state import FLOAT, INT8

log = logging.getLogger(__name__)

WORST = 12
"""Clips with a picture."""

SUSPECT = 0.9
"""Posterior of a wrong decision from which a label is suspected."""

LIKELY = 3
"""Classes of a clip whose posteriors are shown."""

SOUND_BYTES, LOSSLESS_BYTES = 12_000_000, 4_000_000
"""Most sound in a page, in characters of base64, and how much of it, that of the worst clips, is lossless."""

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


def job_model(job: Job) -> Classifier | None:
    """The exported model of a run, int8 where there is int8; None: there is none."""
    path = next((job.folder / name for name in (INT8, FLOAT) if (job.folder / name).is_file()), None)
    return open_classifier(path, threads=1) if path else None


class Scenes:
    """What the page has of each clip.

    Args:
        recordings: Of each run, by its name.
        models: Likewise; None: it has none.
        sounds: Of the page so far; those of the clips are added.
    """

    def __init__(
        self, recordings: dict[str, Recordings], models: dict[str, Classifier | None], sounds: list[str]
    ) -> None:
        self.recordings, self.models, self.uris = recordings, models, sounds
        self.left = SOUND_BYTES - sum(map(len, sounds))
        self.logmels: dict[str, LogMel] = {}
        self.sounds: dict[tuple[Path, FrontendConfig], int] = {}

    def all(self, clips: Sequence[Scored]) -> Iterator[dict[str, Any]]:
        """The content of each clip; sound as long as there is room, pictures for the first :data:`WORST`."""
        for number, clip in enumerate(clips[:MOST_CLIPS]):
            yield _facts(clip) | self._scene(clip, with_picture=number < WORST)

    def _scene(self, clip: Scored, with_picture: bool) -> dict[str, Any]:
        model = self.models[clip.job.name]
        path = self.recordings[clip.job.name].find(clip.row.file)
        if model is None or path is None or not (with_picture or self.left > 0):
            return {}
        sound = (path, model.card.frontend)
        try:
            wave = heard(path, model.card.frontend) if with_picture or sound not in self.sounds else None
        except AedError as error:
            log.warning("%s", error)
            return {}
        if sound not in self.sounds and wave is not None and self.left > 0:
            form = "FLAC" if SOUND_BYTES - self.left < LOSSLESS_BYTES else "OGG"
            self.uris.append(data_uri(wave, model.card.frontend.sample_rate, form))  # type: ignore[arg-type]
            self.left -= len(self.uris[-1])
            self.sounds[sound] = len(self.uris) - 1
        own: dict[str, Any] = {"sound": self.sounds[sound]} if sound in self.sounds else {}
        return own | (self._picture(clip, model, wave) if with_picture and wave is not None else {})

    def _picture(self, clip: Scored, model: Classifier, wave: Wave) -> dict[str, Any]:
        """Log-mel of the clip as an image, and the posteriors of its patches: times, and of each class shown."""
        card, config = model.card, model.card.frontend
        logmel = self.logmels.setdefault(clip.job.name, LogMel(config))
        frames = logmel.array(wave)
        starts = grid_starts(frames.shape[1], config)
        posteriors = model.posteriors(cut(frames, starts, config.patch_frames)[:, None])
        step = config.hop_length / config.sample_rate
        shown = _shown_classes(clip, card)
        return {
            "picture": image_uri(frames),
            "seconds": frames.shape[1] * step,
            "patch_s": config.patch_frames * step,
            "starts": [round(float(start) * step, 3) for start in starts],
            "patches": {name: posteriors[:, card.class_names.index(name)].round(4).tolist() for name in shown},
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


def image_uri(frames: npt.NDArray[np.float32]) -> str:
    """A log-mel ``(n_mels, n_frames)`` as a PNG, low bands at the bottom."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    imsave(file, frames, origin="lower", cmap="magma", format="png", metadata={"Software": ""})
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
