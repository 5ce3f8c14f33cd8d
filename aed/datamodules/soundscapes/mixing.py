"""Streams section by section: a background at a level, and clips of a split as events in it, all drawn by a seed.

A section is a function of the seed and its number alone, and holds its events whole: hours of stream take the memory of
a section, and however they are cut into blocks they are the same samples.
"""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aed.base.errors import AedError, AudioError
from aed.datamodules.soundscapes.backgrounds import UNUSED_CLASSES, Backgrounds, Piece, ambient_files, faded
from aed.datamodules.soundscapes.runs import loud_runs
from aed.dsp.noise import rms
from aed.dsp.waveform import Wave, read_audio, resample

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")

PEAK = 0.9
"""Largest sample of an event or a background: one that would be over it is made quieter, and its level noted."""

PAUSE_S = 0.5
"""Shortest time between two events that do not overlap, s."""

EDGE_S = 0.005
"""Events begin and end within this time, so that where one was cut out of its clip is not heard, s."""

FULLEST = 0.6
"""Share of the time that events without overlap may fill on average: over it no background is left to judge by."""

KEPT_CLIPS = 128
"""Clips that are held in memory, as those of a data set are drawn again and again."""

DRAWS = 100
"""Clips that are tried before a class counts as silent; events whose mean length is measured."""


@dataclass(frozen=True, kw_only=True)
class SoundscapeConfig:
    """What a stream of events in background sound is like.

    Args:
        events_a_minute: Mean number of events a minute; 0: none, ambient sound alone.
        longest_event_s: Events are cut to this length, at a random place, s; null: they stay whole.
        overlap: Events may sound at the same time.
        snr_db: Lowest and highest RMS of an event over that of its background, dB.
        level_dbfs: Lowest and highest RMS of a background, dB under full scale.
        section_s: Shortest and longest time after which the background is another one at another level, s.
        ambient: Folder of recordings in which nothing happens; those in its folders ``train``, ``val`` and ``test`` are
            for that split alone or, without such folders, every file is of one split by its content; ``unused``: the
            clips of classes that are not named, split as all are; null: noise.
        noise_share: Share of the sections with noise where there are ambient recordings.

    Raises:
        AedError: A value is out of its range.
    """

    events_a_minute: float = 2.0
    longest_event_s: float | None = None
    overlap: bool = False
    snr_db: tuple[float, ...] = (0.0, 20.0)
    level_dbfs: tuple[float, ...] = (-60.0, -35.0)
    section_s: tuple[float, ...] = (30.0, 60.0)
    ambient: str | None = None
    noise_share: float = 0.5

    def __post_init__(self) -> None:
        for name, low, high in (("snr_db", -60, 60), ("level_dbfs", -120, -10), ("section_s", 5, 3600)):
            values = getattr(self, name)
            if len(values) != 2 or not low <= values[0] <= values[1] <= high:
                raise AedError(f"{name}: need a lowest and a highest value in [{low}, {high}], got {list(values)}")
        if not 0 <= self.events_a_minute <= 600:
            raise AedError(f"events_a_minute: need 0 to 600, got {self.events_a_minute}")
        if self.longest_event_s is not None and not self.longest_event_s >= 0.1:
            raise AedError(f"longest_event_s: need at least 0.1 s or null, got {self.longest_event_s}")
        if not 0 <= self.noise_share <= 1:
            raise AedError(f"noise_share: need a share in [0, 1], got {self.noise_share}")


class MixedEvent(NamedTuple):
    """An event of a section.

    Args:
        labels: The classes of its clip.
        clip: File it is from.
        clip_onset_s: Where it begins there, s.
        onset_s: Where it begins in the section, s.
        offset_s: Where it ends in the section, s.
        snr_db: Its RMS over that of the background, dB.
    """

    labels: tuple[str, ...]
    clip: Path
    clip_onset_s: float
    onset_s: float
    offset_s: float
    snr_db: float


class Section(NamedTuple):
    """A part of a stream with one background.

    Args:
        samples: ``(T,)`` float32 in [-1, 1].
        events: By onset.
        background: What it is made of, by onset.
        level_dbfs: RMS of the background, dB under full scale.
    """

    samples: Wave
    events: tuple[MixedEvent, ...]
    background: tuple[Piece, ...]
    level_dbfs: float


class Soundscape:
    """Makes streams of the clips of one split.

    Args:
        clips: File -> its classes, of a single split.
        split: Which: its ambient recordings are used, and no other split has the same noise.
        config: What the streams are like.
        rate: Samples a second, Hz.
        max_length_s: Read of a clip, s.
        seed: Another seed, other streams.
        unused: Clips of the split that are of no class, for ``ambient=unused``.

    Raises:
        AedError: There are no clips or no ambient recordings, or the events would leave no background.
    """

    def __init__(
        self,
        clips: Mapping[Path, Sequence[str]],
        split: str,
        config: SoundscapeConfig,
        rate: int,
        max_length_s: float,
        seed: int = 0,
        unused: Sequence[Path] = (),
    ) -> None:
        self.labels = {path: tuple(own) for path, own in clips.items() if own}
        self.split, self.config, self.rate, self.max_length_s, self.seed = split, config, rate, max_length_s, seed
        self.by_class: dict[str, list[Path]] = {}
        for path, own in self.labels.items():
            for name in own:
                self.by_class.setdefault(name, []).append(path)
        if config.events_a_minute and not self.by_class:
            raise AedError(f"split={split}: it has no clip of a class to make events of; events_a_minute=0 needs none")
        ambient, folder = list(unused), Path(config.ambient or "")
        if config.ambient == UNUSED_CLASSES:
            folder = Path(os.path.commonpath([path.parent for path in ambient]))
        elif config.ambient:
            ambient = ambient_files(folder, split)
        self.backgrounds = Backgrounds(rate, ambient, folder, config.noise_share)
        self._runs = lru_cache(KEPT_CLIPS)(self._read)
        self._check_density()

    def sections(self, num_samples: int, stream: int = 0) -> Iterator[Section]:
        """The sections of a stream of ``num_samples``.

        Args:
            num_samples: In all; the last section may be longer than others, so that none is very short.
            stream: Another number, another stream of the same kind.
        """
        shortest, longest = (round(seconds * self.rate) for seconds in self.config.section_s)
        left, number = num_samples, 0
        while left:
            generator = np.random.default_rng([self.seed, SPLITS.index(self.split), stream, number])
            length = int(generator.integers(shortest, longest + 1))
            length = left if left - length < shortest else length
            yield self._section(length, generator)
            left, number = left - length, number + 1

    def untouched(self, num_samples: int) -> Iterator[Section]:
        """Clips as they are, with the silence around and between their loud runs, until ``num_samples`` are reached.

        Their level of background is not known, NaN. The order is random; no clip comes twice.
        """
        generator = np.random.default_rng([self.seed, SPLITS.index(self.split)])
        paths, done = list(self.labels), 0
        for index in generator.permutation(len(paths)).tolist():
            if done >= num_samples:
                return
            path = paths[index]
            wave, runs = self._runs(path)
            times = [(start / self.rate, stop / self.rate) for start, stop in runs]
            own = [MixedEvent(self.labels[path], path, onset, onset, offset, math.nan) for onset, offset in times]
            yield Section(wave, tuple(own), (Piece(0.0, path.name),), math.nan)
            done += len(wave)

    def _section(self, length: int, generator: np.random.Generator) -> Section:
        background, pieces = self.backgrounds.draw(length, generator)
        gain = _drawn_gain(self.config.level_dbfs, generator)
        gain = min(gain, PEAK / float(np.abs(background).max()))
        samples = faded(background * np.float32(gain), round(EDGE_S * self.rate))
        events = []
        for begin, (path, start, stop) in self._placed(length, generator):
            wave, _ = self._runs(path)
            event = faded(wave[start:stop], round(EDGE_S * self.rate))
            scale = gain * _drawn_gain(self.config.snr_db, generator) / rms(event)
            scale = min(scale, PEAK / float(np.abs(event).max()))
            samples[begin : begin + len(event)] += np.float32(scale) * event
            snr_db = 20 * np.log10(scale * rms(event) / gain)
            onset_s, offset_s = begin / self.rate, (begin + len(event)) / self.rate
            labels = self.labels[path]
            events.append(MixedEvent(labels, path, start / self.rate, onset_s, offset_s, float(snr_db)))
        return Section(np.clip(samples, -1, 1), tuple(events), pieces, float(20 * np.log10(gain)))

    def _placed(self, length: int, generator: np.random.Generator) -> list[tuple[int, tuple[Path, int, int]]]:
        """First sample in the section, and clip, first and last sample there, of each event, by time."""
        wanted = self.config.events_a_minute * length / self.rate / 60
        drawn = [self._draw(generator) for _ in range(int(wanted + generator.random()))]
        drawn = [(path, start, min(stop, start + length)) for path, start, stop in drawn]
        if self.config.overlap:
            places = [int(generator.integers(length - (stop - start) + 1)) for _, start, stop in drawn]
            return sorted(zip(places, drawn, strict=True), key=lambda item: item[0])
        pause = round(PAUSE_S * self.rate)
        while (free := length - sum(stop - start + pause for _, start, stop in drawn) - pause) < 0:
            drawn.pop()
        gaps = np.sort(generator.integers(0, free + 1, len(drawn)))
        before = np.cumsum([0, *(stop - start + pause for _, start, stop in drawn)])[: len(drawn)]
        return list(zip((gaps + before + pause).tolist(), drawn, strict=True))

    def _draw(self, generator: np.random.Generator) -> tuple[Path, int, int]:
        """A loud run, or a part of it: each class is as likely as another, then each of its clips."""
        names = list(self.by_class)
        name = names[int(generator.integers(len(names)))]
        for _ in range(DRAWS):
            path = self.by_class[name][int(generator.integers(len(self.by_class[name])))]
            if not (runs := self._runs(path)[1]):
                continue
            start, stop = runs[int(generator.integers(len(runs)))]
            if (longest := self.config.longest_event_s) is not None and stop - start > longest * self.rate:
                length = round(longest * self.rate)
                start += int(generator.integers(stop - start - length + 1))
                stop = start + length
            return path, start, stop
        raise AedError(f"split={self.split}: the clips of {name} are silent or cannot be read: no events can be made")

    def _read(self, path: Path) -> tuple[Wave, list[tuple[int, int]]]:
        """A clip at the rate, and its loud runs; none where it cannot be read, of which the log warns."""
        try:
            wave = resample(*read_audio(path, self.max_length_s), self.rate)
        except AudioError as error:
            log.warning("left out: %s", error)
            return np.zeros(0, np.float32), []
        return wave, loud_runs(wave, self.rate)

    def _check_density(self) -> None:
        """Refuses events that fill the time."""
        if self.config.overlap or not self.config.events_a_minute:
            return
        generator = np.random.default_rng([self.seed, SPLITS.index(self.split)])
        drawn = [self._draw(generator) for _ in range(DRAWS)]
        mean_s = sum(stop - start for _, start, stop in drawn) / DRAWS / self.rate
        if (share := self.config.events_a_minute * mean_s / 60) > FULLEST:
            most = FULLEST * 60 / mean_s
            raise AedError(
                f"events_a_minute: {self.config.events_a_minute:g} events of {mean_s:.1f} s fill {share:.0%} of the "
                f"time, at most {FULLEST:.0%} leaves a background; use up to {most:.2g}, longest_event_s=2, or "
                "overlap=true"
            )


def _drawn_gain(range_db: Sequence[float], generator: np.random.Generator) -> float:
    """A factor between two levels in dB, each dB as likely as another."""
    low, high = range_db
    return float(10 ** (generator.uniform(low, high) / 20))
