"""What disturbs the sound of a clip or of a stream on its way to a device, in the order of the report."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.dsp import disturb
from aed.dsp.frontend import FrontendConfig
from aed.dsp.noise import coloured_noise
from aed.dsp.waveform import Wave
from aed.scoring.robustness import UNDISTURBED

DEVICE_BITS = 16
"""Of the samples after every disturbance, as a device's converter gives them."""


@dataclass(frozen=True, kw_only=True)
class Disturbed:
    """A sound, and what happens to any.

    Args:
        wave: ``(T,)``.
        frontend: Tells rate and patch hop.
        seed: Of the noise; the same at every level of noise.
    """

    wave: Wave
    frontend: FrontendConfig
    seed: Sequence[int]

    def level(self, gain_db: float) -> npt.NDArray[np.floating]:
        """From farther away, or with less gain."""
        return disturb.amplified(self.wave, gain_db)

    def microphone(self, name: str) -> npt.NDArray[np.floating]:
        """Through a small microphone."""
        return disturb.MICROPHONES[name](self.wave, self.frontend.sample_rate)

    def bits(self, number: int) -> npt.NDArray[np.floating]:
        """From a converter of few bits."""
        return disturb.rounded(self.wave, number)

    def over_full_scale(self, over_db: float) -> npt.NDArray[np.floating]:
        """Too loud for the converter."""
        return disturb.overdriven(self.wave, over_db)


@dataclass(frozen=True, kw_only=True)
class DisturbedClip(Disturbed):
    """A clip, trimmed and repeated as in training, and what disturbs it.

    Args:
        wave: As of :class:`Disturbed`.
        frontend: Likewise.
        seed: Likewise.
        other: A clip of another class, which is not silent.
    """

    other: Wave

    def pink_noise(self, snr_db: float) -> npt.NDArray[np.floating]:
        """With pink noise."""
        generator, rate = np.random.default_rng(self.seed), self.frontend.sample_rate
        noise = coloured_noise(len(self.wave), rate, "pink", generator)
        return disturb.mixed(self.wave, noise, snr_db)

    def other_sound(self, snr_db: float) -> npt.NDArray[np.floating]:
        """With a clip of another class, from any sample on."""
        noise = disturb.other_sound(self.other, len(self.wave), np.random.default_rng(self.seed))
        return disturb.mixed(self.wave, noise, snr_db)

    def grid_offset(self, hops: float) -> npt.NDArray[np.floating]:
        """With patches that begin later by a share of their hop."""
        hop = self.frontend.patch_hop * self.frontend.hop_length
        return disturb.turned(self.wave, round(hops * hop))


@dataclass(frozen=True)
class Condition:
    """A disturbance of one strength.

    Args:
        name: Its kind and the unit of its value.
        value: How strong it is.
        disturb: What is done to a clip; None: nothing.
    """

    name: str
    value: float | str
    disturb: Callable[..., npt.NDArray[np.floating]] | None

    def heard(self, clip: Disturbed) -> Wave:
        """The samples of a device, as floats; of no disturbance the clip itself."""
        if self.disturb is None:
            return clip.wave
        return disturb.rounded(self.disturb(clip, self.value), DEVICE_BITS).astype(np.float32)


CONDITIONS = (
    Condition(UNDISTURBED, "", None),
    *(Condition("pink_noise_snr_db", value, DisturbedClip.pink_noise) for value in (20, 10, 5, 0)),
    *(Condition("other_sound_snr_db", value, DisturbedClip.other_sound) for value in (20, 10, 5, 0)),
    *(Condition("level_db", value, DisturbedClip.level) for value in (-12, -24, -36)),
    *(Condition("grid_offset_hops", value, DisturbedClip.grid_offset) for value in (0.333, 0.667)),
    *(Condition("microphone", name, DisturbedClip.microphone) for name in disturb.MICROPHONES),
    Condition("bits", 8, DisturbedClip.bits),
    *(Condition("over_full_scale_db", value, DisturbedClip.over_full_scale) for value in (6, 12)),
)
"""In the order of the report."""

Program = Callable[[Wave], npt.NDArray[np.float32]]
"""Outputs ``(patches, num_classes)`` of a clip's samples ``(T,)``."""
