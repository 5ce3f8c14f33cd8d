"""What happens to a sound on its way to a device: noise, distance, microphone, converter; pure functions of samples."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.signal import butter, lfilter, sosfilt

from aed.dsp.logmel import to_resolution
from aed.dsp.noise import rms
from aed.dsp.waveform import Wave, repeat_to

Samples = npt.NDArray[np.float64]

MIN_RATE_HZ = 12_000
"""Lowest sample rate of :data:`MICROPHONES`: under it the resonance of a port is not heard."""


def other_sound(sound: Wave, num_samples: int, generator: np.random.Generator) -> Wave:
    """A sound ``(T,)`` from a random sample on, repeated and cut to ``num_samples``."""
    turned = np.roll(np.arange(len(sound)), -int(generator.integers(len(sound))))
    return sound[repeat_to(turned, num_samples)[:num_samples]]


def mixed(wave: Wave, noise: npt.NDArray[np.floating], snr_db: float) -> Samples:
    """The sum of a sound and of noise of a level, both ``(T,)``; brought down to full scale where it is above.

    Args:
        wave: The sound; of a silent one the noise is silent, too.
        noise: Not silent.
        snr_db: RMS of the sound over that of the noise, both over all of the clip, dB.
    """
    return added(wave, rms(wave) / rms(noise) * 10 ** (-snr_db / 20) * noise)


def added(wave: Wave, noise: npt.NDArray[np.floating]) -> Samples:
    """The sum of two sounds ``(T,)``, brought down to full scale where it is above."""
    total = wave.astype(np.float64) + noise
    return np.asarray(total / max(1.0, float(np.abs(total).max())))


def amplified(wave: npt.NDArray[np.floating], gain_db: float) -> Samples:
    """The sound at another level, not limited."""
    return np.asarray(wave * 10 ** (gain_db / 20), dtype=np.float64)


def overdriven(wave: Wave, over_db: float) -> Samples:
    """A sound so loud that its greatest sample would be ``over_db`` above full scale, before it is cut there."""
    peak = float(np.abs(wave).max())
    return amplified(wave, over_db) / peak if peak else amplified(wave, 0)


def turned(wave: Wave, num_samples: int) -> Wave:
    """The clip from a later sample on; what it then lacks at its end is its start: no patch is lost or silent."""
    return np.roll(wave, -num_samples)


def rounded(wave: npt.NDArray[np.floating], bits: int) -> Samples:
    """The samples of an analogue-to-digital converter, rounded and cut at full scale, as floats."""
    return np.asarray(to_resolution(torch.from_numpy(wave.astype(np.float64)), bits).numpy())


def _port(wave: Wave, rate: int) -> Samples:
    b, a = peak_filter(5000.0, 8.0, 2.0, rate)
    return np.asarray(lfilter(b, a, sosfilt(butter(1, 150, "highpass", fs=rate, output="sos"), wave)))


def _narrow(wave: Wave, rate: int) -> Samples:
    return np.asarray(sosfilt(butter(2, (300, 3400), "bandpass", fs=rate, output="sos"), wave))


MICROPHONES: dict[str, Callable[[Wave, int], Samples]] = {"port": _port, "narrow": _narrow}
"""Plausible small microphones, filters of ``(wave, rate in Hz)``; no measured device.

``port``: a MEMS microphone behind the hole of a housing: -3 dB at 150 Hz (first order), a resonance of 8 dB at 5 kHz.
``narrow``: the band of a telephone, 300 to 3400 Hz, Butterworth of second order at each end.
"""


def peak_filter(centre_hz: float, gain_db: float, quality: float, rate: int) -> tuple[Samples, Samples]:
    """Numerator and denominator ``(3,)`` of a resonance (R. Bristow-Johnson, Audio EQ Cookbook, peakingEQ)."""
    gain, angle = 10 ** (gain_db / 40), 2 * math.pi * centre_hz / rate
    alpha, middle = math.sin(angle) / (2 * quality), -2 * math.cos(angle)
    b = np.array([1 + alpha * gain, middle, 1 - alpha * gain])
    a = np.array([1 + alpha / gain, middle, 1 - alpha / gain])
    return b / a[0], a / a[0]
