"""Predictions of a classifier for recordings: short files as clips, long ones and streams in constant memory."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from aed.audio.audio_file import STDIN, AudioFile
from aed.base.errors import AedError, AudioError
from aed.dsp.stream import TimedPatches, clip_patches, stream_patches
from aed.dsp.waveform import Wave, cut_clip, mono
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier, to_nearness, to_posteriors
from aed.scoring.labels import UNKNOWN
from aed.scoring.nearness import Floats, blend

if TYPE_CHECKING:
    from aed.dsp.logmel import LogMel

BLOCK_S = 10.0
"""Seconds of a long recording read at once."""

LIVE_BLOCK_S = 0.5
"""Seconds read at once where samples come no faster than they are recorded."""


@dataclass(frozen=True)
class Prediction:
    """The classes named for a patch or for a whole recording.

    Args:
        start_s: Seconds from the recording's start to the first sample the prediction is based on.
        end_s: Seconds to the end of the last one.
        label: The most likely class named, or ``unknown`` where no posterior reaches its threshold.
        posterior: Of that class; the greatest of all where it is ``unknown``.
        others: The other classes named and their posteriors, the most likely first.
    """

    start_s: float
    end_s: float
    label: str
    posterior: float
    others: tuple[tuple[str, float], ...] = ()

    @property
    def named(self) -> tuple[tuple[str, float], ...]:
        """All classes named and their posteriors, the most likely first."""
        return (self.label, self.posterior), *self.others


class Predictor:
    """Names the classes of recordings by the decision rule of the model's card; holds all settings, no state.

    A single-label model names the most likely class, or ``unknown`` under the card's threshold. A multi-label model
    names each class that reaches its threshold, ``unknown`` if none does; where no thresholds were chosen, the
    likeliest three. A recording's posterior is the mean or the maximum over its patches, as the card says.

    Args:
        classifier: Any model.
        unknown_threshold: Replaces the card's thresholds: posterior that a class has to reach, in a multi-label model
            each class, in a model that weighs its nearness the score; 0: none has to; default: the card's.
        mode: ``clip``: the start of a recording, up to ``max_length_s``, with its silence trimmed, as in training and
            evaluation. ``stream``: all of it, untrimmed. ``auto``: the former up to ``max_length_s``.
        top: Most classes to name; default: 1, of a multi-label model 3, or, by the card's thresholds, all.

    Raises:
        AedError: A value is out of range.
    """

    def __init__(
        self,
        classifier: Classifier,
        unknown_threshold: float | None = None,
        mode: Literal["auto", "clip", "stream"] = "auto",
        top: int | None = None,
    ) -> None:
        if unknown_threshold is not None and not 0 <= unknown_threshold <= 1:
            raise AedError(f"unknown_threshold: need a posterior in [0, 1], got {unknown_threshold}")
        if mode not in ("auto", "clip", "stream"):
            raise AedError(f"mode: need auto, clip or stream, got {mode!r}")
        if top is not None and top < 1:
            raise AedError(f"top: need at least 1 class, got {top}")
        card = classifier.card
        self.classifier, self.mode, self.names, self.config = classifier, mode, card.class_names, card.frontend
        self.aggregate = card.decision.aggregate
        self.by_nearness = card.decision.nearness if card.decision.by_nearness else None
        self.thresholds = _thresholds(card, unknown_threshold)
        has_own = bool(card.decision.thresholds) and unknown_threshold is None
        self.top = top or (1 if card.task == "single_label" else len(self.names) if has_own else 3)

    @cached_property
    def logmel(self) -> "LogMel":
        """The front end; built late so that earlier errors need no torch."""
        from aed.dsp.logmel import LogMel

        return LogMel(self.config)

    def recording(self, name: str) -> "Recording":
        """The predictions for a file, or for standard input where ``name`` is ``-``; opened when iterated over."""
        return Recording(self, name)

    def patches(self, name: str) -> Iterator[TimedPatches]:
        """The patches of a recording; opens it at the first.

        Raises:
            AudioError: It cannot be read or is too short for a patch.
        """
        with AudioFile(Path(name)) as file:
            start: list[Wave] = []
            if self.mode != "stream" and name != STDIN:
                longest = self.config.max_length_s if self.mode == "auto" else self.config.read_s
                length = int(longest * file.rate)
                start.append(mono(file.read(length + (self.mode == "auto"))))
                if len(start[0]) <= length:
                    file.check_end()
                    yield clip_patches(*cut_clip(start[0], file.rate, self.config, name), self.logmel)
                    return
            blocks = _live_blocks(file) if name == STDIN else map(mono, file.blocks(int(BLOCK_S * file.rate)))
            yield from stream_patches(chain(start, blocks), file.rate, self.logmel)

    def decide(
        self, start_s: float, end_s: float, posterior: npt.NDArray[np.float32], nearness: np.float32 | None = None
    ) -> Prediction:
        """The prediction of one row of posteriors ``(num_classes,)``; ties go to the lowest index.

        Args:
            start_s: Of what it is based on.
            end_s: Likewise.
            posterior: The row.
            nearness: Its nearness; needed of a model that weighs it, which names any of its classes or none.
        """
        ranked = np.argsort(-posterior, kind="stable")
        if self.by_nearness is None:
            named = ranked[(posterior >= self.thresholds)[ranked]][: self.top]
        else:
            assert nearness is not None
            score = blend(posterior.max(keepdims=True), np.array([nearness], np.float32), self.by_nearness.weight)
            least = self.thresholds[0]
            named = ranked[: self.top] if score[0] >= least or least == 0 else ranked[:0]
        known = [(self.names[index], float(posterior[index])) for index in named]
        (label, value), *others = known or [(UNKNOWN, float(posterior.max()))]
        return Prediction(start_s, end_s, label, value, tuple(others))


def _thresholds(card: ModelCard, replacement: float | None) -> npt.NDArray[np.float32]:
    """The posterior that each class has to reach, ``(num_classes,)``."""
    if replacement is None and card.decision.thresholds:
        return np.array(card.decision.thresholds, np.float32)
    same = card.decision.unknown_threshold if replacement is None else replacement
    return np.full(len(card.class_names), same or 0, np.float32)


def _live_blocks(file: AudioFile) -> Iterator[Wave]:
    """Mono samples: in small blocks where they come slowly, as from a microphone, else in ever larger ones."""
    seconds = LIVE_BLOCK_S
    while True:
        asked = time.monotonic()
        samples = file.read(int(seconds * file.rate))
        if not len(samples):
            return
        came_at_once = time.monotonic() - asked < 0.1 * seconds
        seconds = min(2 * seconds, BLOCK_S) if came_at_once else LIVE_BLOCK_S
        yield mono(samples)


class Recording:
    """The predictions for one recording: iterate over it for its patches, then read :attr:`whole`.

    Args:
        predictor: Names the classes.
        name: File, or ``-``.
    """

    def __init__(self, predictor: Predictor, name: str) -> None:
        self.predictor, self.name = predictor, name
        self.total = np.zeros(len(predictor.names) + 1, np.float64)  # and of the nearness
        self.patches, self.start_s, self.end_s = 0, float("inf"), 0.0

    def __iter__(self) -> Iterator[Prediction]:
        """The prediction for each patch.

        Raises:
            AudioError: The recording cannot be read, or holds no patch.
        """
        for timed in self.predictor.patches(self.name):
            outputs, card = self.predictor.classifier.outputs(timed.patches), self.predictor.classifier.card
            posteriors, nearness = to_posteriors(card, outputs), to_nearness(card, outputs)
            nearness = np.zeros(len(posteriors), np.float32) if nearness is None else nearness
            self._add(np.concatenate([posteriors, nearness[:, None]], axis=1))
            self.patches += len(posteriors)
            spans = zip(timed.start_s.tolist(), timed.end_s.tolist(), posteriors, nearness, strict=True)
            for start, end, posterior, near in spans:
                self.start_s, self.end_s = min(self.start_s, start), max(self.end_s, end)
                yield self.predictor.decide(start, end, posterior, near)
        if not self.patches:
            need = self.predictor.config.patch_samples / self.predictor.config.sample_rate
            raise AudioError(f"{self.name}: shorter than one patch ({need:.2f} s)")

    def _add(self, rows: Floats) -> None:
        """Adds ``(patches, num_classes + 1)``, posteriors and nearness of each, to the sum or maximum so far."""
        if self.predictor.aggregate == "max":
            self.total = np.maximum(self.total, rows.max(axis=0)) if self.patches else rows.max(axis=0).astype(float)
        else:
            self.total += rows.sum(axis=0, dtype=np.float64)

    def _whole(self) -> Floats:
        summed = max(1, self.patches) if self.predictor.aggregate == "mean" else 1
        return (self.total / summed).astype(np.float32)

    @property
    def posteriors(self) -> Floats:
        """Mean or maximum over the patches so far, ``(num_classes,)``."""
        return self._whole()[:-1]

    @property
    def whole(self) -> Prediction:
        """The prediction for all patches so far."""
        return self.predictor.decide(self.start_s, self.end_s, self.posteriors, self._whole()[-1])
