"""Augmented crops of clips, each a function of the seed, its clip's content and its number alone."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from aed.datamodules.crops.config import CropConfig
from aed.datamodules.soundscapes.backgrounds import Backgrounds
from aed.dsp.disturb import MICROPHONES, MIN_RATE_HZ, amplified, mixed
from aed.dsp.frontend import FrontendConfig
from aed.dsp.noise import rms
from aed.dsp.vary import equalized, excerpt, played, reverberant, room_response, source_samples
from aed.dsp.waveform import Wave, load_clip

KNOTS = 6
"""Of the random response; see :func:`aed.dsp.vary.equalized`."""

KEPT_CLIPS = 128
"""Clips held in memory: partners are drawn again and again."""


class Clip(NamedTuple):
    """A training clip.

    Args:
        key: Digest of its content.
        path: A file with it.
        row: Its place among the training clips.
    """

    key: str
    path: Path
    row: int


class Mix(NamedTuple):
    """What a crop is made of.

    Args:
        clip: Index of its own clip in the group.
        partner: Index of the other; its own where it is not mixed.
        share: Its own clip's, at least a half.
    """

    clip: int
    partner: int
    share: float


class CropMaker:
    """The crops of a group of clips, which are mixed with each other alone.

    Args:
        clips: Of the group, sorted, so that its crops do not depend on the order of a table.
        config: What the crops are like.
        frontend: Its clips, without silence where it says so, are cut.
        seed: Another seed, other crops.
        backgrounds: Of the noise.
    """

    def __init__(
        self, clips: Sequence[Clip], config: CropConfig, frontend: FrontendConfig, seed: int, backgrounds: Backgrounds
    ) -> None:
        self.clips, self.config, self.rate, self.seed = clips, config, frontend.sample_rate, seed
        self.backgrounds, self.num_samples = backgrounds, round(config.length_s * frontend.sample_rate)
        self._wave = lru_cache(KEPT_CLIPS)(lambda path: load_clip(path, frontend))

    def __len__(self) -> int:
        """Crops in all."""
        return self.config.per_clip * len(self.clips)

    def mixes(self) -> list[Mix]:
        """What each crop is made of, in their order: the first crop of each clip, the second of each, ..."""
        return [self._begun(number)[0] for number in range(len(self))]

    def waves(self) -> Iterator[Wave]:
        """The samples ``(num_samples,)`` float32 in [-1, 1] of each crop, in the order of :meth:`mixes`."""
        for number in range(len(self)):
            yield self._made(*self._begun(number))

    def _begun(self, number: int) -> tuple[Mix, np.random.Generator]:
        again, clip = divmod(number, len(self.clips))
        digest, alpha = int(self.clips[clip].key[:32], 16), self.config.mix_alpha
        generator = np.random.default_rng([self.seed, again, digest])
        is_mixed, other, share = generator.random(), generator.random(), generator.beta(alpha, alpha)
        if is_mixed >= self.config.mix_share or len(self.clips) == 1:
            return Mix(clip, clip, 1.0), generator
        partner = (clip + 1 + int(other * (len(self.clips) - 1))) % len(self.clips)
        return Mix(clip, partner, max(share, 1 - share)), generator

    def _made(self, mix: Mix, generator: np.random.Generator) -> Wave:
        config = self.config
        wave = self._cut(mix.clip, generator)
        if mix.partner != mix.clip:
            other = self._cut(mix.partner, generator)
            gain = rms(wave) / level if (level := rms(other)) else 0.0
            wave = np.asarray(mix.share * wave + (1 - mix.share) * gain * other, np.float32)
        if generator.random() < config.equalizer_share:
            wave = equalized(wave, generator.uniform(-config.equalizer_db, config.equalizer_db, KNOTS), self.rate)
        if generator.random() < config.room_share:
            rt60_s, direct_db = _between(config.rt60_s, generator), _between(config.direct_db, generator)
            wave = reverberant(wave, room_response(self.rate, rt60_s, direct_db, generator))
        if generator.random() < config.microphone_share and self.rate >= MIN_RATE_HZ:
            heard_by = list(MICROPHONES.values())[int(generator.integers(len(MICROPHONES)))]
            wave = np.asarray(heard_by(wave, self.rate), np.float32)
        if generator.random() < config.noise_share:
            noise = self.backgrounds.draw(len(wave), generator)[0]
            wave = np.asarray(mixed(wave, noise, _between(config.snr_db, generator)), np.float32)
        return np.clip(amplified(wave, _between(config.gain_db, generator)), -1, 1).astype(np.float32)

    def _cut(self, clip: int, generator: np.random.Generator) -> Wave:
        """A part of a clip, at a speed."""
        speed = 1.0
        if generator.random() < self.config.speed_share:
            speed = float(np.exp(generator.uniform(-self.config.speed, self.config.speed)))
        wave = self._wave(self.clips[clip].path)
        return played(excerpt(wave, source_samples(self.num_samples, speed), generator), speed)[: self.num_samples]


def _between(ends: Sequence[float], generator: np.random.Generator) -> float:
    low, high = ends
    return generator.uniform(low, high)


def shares(mixes: Sequence[Mix], targets: npt.NDArray[np.float32], multi_label: bool) -> npt.NDArray[np.float32]:
    """Targets ``(num_crops, num_classes)`` of crops.

    Args:
        mixes: Of the crops.
        targets: ``(num_clips, num_classes)`` of the clips of the group, of 0 and 1.
        multi_label: A crop is of the classes of both clips; without, each class has its share.
    """
    own, other = targets[[mix.clip for mix in mixes]], targets[[mix.partner for mix in mixes]]
    if multi_label:
        return np.maximum(own, other)
    share = np.array([mix.share for mix in mixes], np.float32)[:, None]
    return share * own + (1 - share) * other
