"""What a model hears in recordings: files as clips, long ones and streams patch by patch in constant memory."""

import csv
import glob
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from rich.table import Table

from aed.audio.audio_file import STDIN, AudioFile
from aed.audio.recordings import recordings_below
from aed.base.console import PlainConsole
from aed.base.errors import AedError, AudioError
from aed.dsp.stream import TimedPatches, clip_patches, stream_patches
from aed.dsp.waveform import Wave, cut_clip, mono
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier

if TYPE_CHECKING:
    from aed.dsp.logmel import LogMel

log = logging.getLogger(__name__)

UNKNOWN = "unknown"
BLOCK_S = 10.0
"""Seconds of a long recording read at once."""

LIVE_BLOCK_S = 0.5
"""Seconds read at once where samples come no faster than they are recorded."""


@dataclass(frozen=True)
class Heard:
    """A decision.

    Args:
        start_s: Seconds from the recording's start to the first sample behind it.
        end_s: To after the last.
        label: Class name, or ``unknown``: none of the classes, as no posterior reaches its threshold.
        posterior: Of that class; of the most likely one where it is ``unknown``.
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
    """Names the sounds of recordings, as the decision rule in the model's card says.

    A single-label model names the most likely class, or ``unknown`` under the card's threshold. A multi-label model
    names each class that reaches its threshold, ``unknown`` if none does; where no thresholds were chosen, the
    likeliest three. A recording's posterior is the mean or the maximum over its patches, as the card says.

    Args:
        classifier: Any model.
        unknown_threshold: In place of the card's: posterior that a class has to reach, of a multi-label model every
            class. 0 switches thresholds off. Default: the card's.
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
        self.thresholds = _thresholds(card, unknown_threshold)
        has_own = bool(card.decision.thresholds) and unknown_threshold is None
        self.top = top or (1 if card.task == "single_label" else len(self.names) if has_own else 3)

    @cached_property
    def logmel(self) -> "LogMel":
        """The front end; built for the first recording, with torch, which what may be wrong before does not need."""
        from aed.dsp.logmel import LogMel

        return LogMel(self.config)

    def recording(self, name: str) -> "Recording":
        """The decisions about a file, or about standard input for ``-``."""
        return Recording(self, name)

    def patches(self, name: str) -> Iterator[TimedPatches]:
        """The patches of a recording; opens it at the first.

        Raises:
            AudioError: It cannot be read or is too short for a patch.
        """
        with AudioFile(Path(name)) as file:
            start: list[Wave] = []
            if self.mode != "stream" and name != STDIN:
                length = int(self.config.max_length_s * file.rate)
                start.append(mono(file.read(length + (self.mode == "auto"))))
                if len(start[0]) <= length:
                    file.check_end()
                    yield clip_patches(*cut_clip(start[0], file.rate, self.config, name), self.logmel)
                    return
            blocks = _live_blocks(file) if name == STDIN else map(mono, file.blocks(int(BLOCK_S * file.rate)))
            yield from stream_patches(chain(start, blocks), file.rate, self.logmel)

    def decide(self, start_s: float, end_s: float, posterior: npt.NDArray[np.float32]) -> Heard:
        """The decision of one posterior ``(num_classes,)``; ties go to the lowest index."""
        ranked = np.argsort(-posterior, kind="stable")
        named = ranked[(posterior >= self.thresholds)[ranked]][: self.top]
        known = [(self.names[index], float(posterior[index])) for index in named]
        (label, value), *others = known or [(UNKNOWN, float(posterior.max()))]
        return Heard(start_s, end_s, label, value, tuple(others))


def _thresholds(card: ModelCard, given: float | None) -> npt.NDArray[np.float32]:
    """The posterior that each class has to reach, ``(num_classes,)``."""
    one = card.decision.unknown_threshold if given is None else given
    if given is None and card.decision.thresholds:
        return np.array(card.decision.thresholds, np.float32)
    return np.full(len(card.class_names), one or 0, np.float32)


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
    """The decisions about one recording: iterate over it for its patches, then ask for the whole.

    Args:
        predictor: Names the sounds.
        name: File, or ``-``.
    """

    def __init__(self, predictor: Predictor, name: str) -> None:
        self.predictor, self.name = predictor, name
        self.total = np.zeros(len(predictor.names), np.float64)
        self.patches, self.start_s, self.end_s = 0, float("inf"), 0.0

    def __iter__(self) -> Iterator[Heard]:
        """The decision of each patch.

        Raises:
            AudioError: The recording cannot be read, or holds no patch.
        """
        for timed in self.predictor.patches(self.name):
            posteriors = self.predictor.classifier.posteriors(timed.patches)
            self._add(posteriors)
            self.patches += len(posteriors)
            for start, end, posterior in zip(timed.start_s.tolist(), timed.end_s.tolist(), posteriors, strict=True):
                self.start_s, self.end_s = min(self.start_s, start), max(self.end_s, end)
                yield self.predictor.decide(start, end, posterior)
        if not self.patches:
            need = self.predictor.config.patch_samples / self.predictor.config.sample_rate
            raise AudioError(f"{self.name}: shorter than one patch ({need:.2f} s)")

    def _add(self, posteriors: npt.NDArray[np.float32]) -> None:
        """Sums, or keeps the maxima of, some patches' ``(patches, num_classes)``."""
        if self.predictor.aggregate == "max":
            self.total = np.maximum(self.total, posteriors.max(axis=0))
        else:
            self.total += posteriors.sum(axis=0, dtype=np.float64)

    @property
    def posteriors(self) -> npt.NDArray[np.float32]:
        """Mean or maximum over the patches so far, ``(num_classes,)``."""
        summed = max(1, self.patches) if self.predictor.aggregate == "mean" else 1
        return (self.total / summed).astype(np.float32)

    @property
    def whole(self) -> Heard:
        """The decision about all patches so far."""
        return self.predictor.decide(self.start_s, self.end_s, self.posteriors)


def find_files(names: Sequence[str]) -> list[str]:
    """The recordings meant by files, folders (recursive), globs and ``-``; each once, in order.

    Raises:
        AedError: A name means nothing.
    """
    found: list[str] = []
    for name in names:
        path = Path(name).expanduser()
        if name == STDIN or path.is_file():
            found.append(name if name == STDIN else str(path))
        elif path.is_dir():
            inside = recordings_below(path)
            if not inside:
                raise AedError(f"files: {name} holds no recording (wav, flac, ogg, mp3, aif ...)")
            found += map(str, inside)
        else:
            # pathlib's glob takes no absolute pattern
            matches = sorted(item for item in glob.glob(str(path), recursive=True) if Path(item).is_file())  # noqa: PTH207
            if not matches:
                raise AedError(f"files: {name}: no such file, folder or match")
            found += matches
    if not found:
        raise AedError("files: name recordings, folders or globs, or - for standard input")
    return list(dict.fromkeys(found))


class Writer(Protocol):
    """Takes what is heard and writes it."""

    def patch(self, recording: Recording, heard: Heard) -> None:
        """One patch."""

    def whole(self, recording: Recording) -> None:
        """A recording that came to its end."""

    def discard(self) -> None:
        """The present recording cannot be used."""


def hear(predictor: Predictor, names: Sequence[str], writer: Writer, strict: bool = False) -> int:
    """Hears one recording after the other; returns how many could not be used, each of which is told.

    Args:
        predictor: Of a model.
        names: As :func:`find_files` gives them.
        writer: Of the results.
        strict: Stop at the first that cannot be used.

    Raises:
        AudioError: ``strict``, and a recording cannot be used.
    """
    bad = 0
    for name in names:
        recording = predictor.recording(name)
        try:
            for heard in recording:
                writer.patch(recording, heard)
            writer.whole(recording)
        except AudioError as error:
            if strict:
                raise
            writer.discard()
            log.warning("left out: %s", error)
            bad += 1
    if bad:
        log.warning("%d of %d recordings could not be used", bad, len(names))
    return bad


class _Rows:
    """One row a recording, or one a patch."""

    def __init__(self, out: IO[str], timeline: bool) -> None:
        self.out, self.timeline = out, timeline

    def row(self, name: str, heard: Heard) -> None:
        raise NotImplementedError

    def patch(self, recording: Recording, heard: Heard) -> None:
        if self.timeline:
            self.row(recording.name, heard)

    def whole(self, recording: Recording) -> None:
        if not self.timeline:
            self.row(recording.name, recording.whole)

    def discard(self) -> None:
        """The recording so far is of no use; its rows tell what was heard before."""

    def close(self) -> None:
        pass


class _Csv(_Rows):
    """Rows as they come, so that a stream can be followed; where several classes are named, one each."""

    def __init__(self, out: IO[str], timeline: bool) -> None:
        super().__init__(out, timeline)
        self.rows = csv.writer(out, lineterminator="\n")
        self.rows.writerow(["file", "start_s", "end_s", "label", "posterior"])

    def row(self, name: str, heard: Heard) -> None:
        times = (f"{heard.start_s:.3f}", f"{heard.end_s:.3f}")
        for label, posterior in heard.named:
            self.rows.writerow([name, *times, label, f"{posterior:.6f}"])
        self.out.flush()


class _Table(_Rows):
    """The same rows for people, at the end."""

    def __init__(self, out: IO[str], timeline: bool) -> None:
        super().__init__(out, timeline)
        self.table = Table()
        for column in ("file", "start s", "end s", "label", "posterior"):
            self.table.add_column(column, justify="left" if column in ("file", "label") else "right", overflow="fold")

    def row(self, name: str, heard: Heard) -> None:
        times = (f"{heard.start_s:.2f}", f"{heard.end_s:.2f}")
        first = (name, *times)
        for label, posterior in heard.named:
            self.table.add_row(*first, label, f"{posterior:.3f}")
            first = ("", "", "")

    def close(self) -> None:
        PlainConsole(self.out).print(self.table)


class _Json:
    """One list of recordings, at the end; with the posterior of every class."""

    def __init__(self, out: IO[str], timeline: bool) -> None:
        self.out, self.timeline = out, timeline
        self.recordings: list[dict[str, Any]] = []
        self.patches: list[dict[str, Any]] = []

    def patch(self, recording: Recording, heard: Heard) -> None:
        if self.timeline:
            self.patches.append(asdict(heard))

    def whole(self, recording: Recording) -> None:
        posteriors = dict(zip(recording.predictor.names, recording.posteriors.tolist(), strict=True))
        entry = {"file": recording.name, **asdict(recording.whole), "posteriors": posteriors}
        self.recordings.append(entry | ({"timeline": self.patches} if self.timeline else {}))
        self.patches = []

    def discard(self) -> None:
        self.patches = []

    def close(self) -> None:
        json.dump(self.recordings, self.out, indent=1)
        self.out.write("\n")


WRITERS: dict[str, Callable[[IO[str], bool], Any]] = {"table": _Table, "csv": _Csv, "json": _Json}
"""Format -> writer of decisions."""
