"""Noise as of quiet places, computed: what a microphone hears where no recording of the place is at hand."""

import numpy as np
import numpy.typing as npt
from scipy.fft import irfft, next_fast_len, rfft

Noise = npt.NDArray[np.float32]

LOWEST_HZ = 20.0
"""Under it nothing is heard, yet brown noise would have nearly all of its power there."""

SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}
"""Colour -> power falls with frequency to this power: 3.01 dB an octave for 1."""

DRIFT_S = 5.0
"""Time between two independent levels of a room, s."""

DRIFT_DB = 2.0
"""Standard deviation of these levels, dB."""


def coloured_noise(num_samples: int, rate: int, colour: str, generator: np.random.Generator) -> Noise:
    """Gaussian noise ``(num_samples,)`` of RMS 1.

    Args:
        num_samples: At least 2.
        rate: Samples a second, Hz.
        colour: One of :data:`SLOPES`, or ``room``: pink noise under a random low-pass of 6 dB an octave, with the hum
            of the mains, whose level drifts.
        generator: Draws it.
    """
    if colour == "room":
        return _room(num_samples, rate, generator)
    return unit_rms(_shaped(num_samples, rate, SLOPES[colour], None, generator))


def unit_rms(sound: npt.NDArray[np.floating]) -> Noise:
    """The sound ``(T,)`` at RMS 1; silence stays silence."""
    level = rms(sound)
    return (sound / np.float32(level) if level else sound).astype(np.float32, copy=False)


def rms(sound: npt.NDArray[np.floating]) -> float:
    """Root of the mean square of ``(T,)``, T > 0."""
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))


def _shaped(
    num_samples: int, rate: int, slope: float, cutoff_hz: float | None, generator: np.random.Generator
) -> Noise:
    """White noise, its spectrum divided by ``frequency ** (slope / 2)`` and, over ``cutoff_hz``, by one power more."""
    length = next_fast_len(num_samples, real=True)
    spectrum = rfft(generator.standard_normal(length, dtype=np.float32))
    frequency = np.fft.rfftfreq(length, 1 / rate).astype(np.float32)
    gain = np.where(frequency < LOWEST_HZ, np.float32(0), np.maximum(frequency, LOWEST_HZ) ** np.float32(-slope / 2))
    if cutoff_hz is not None:
        gain /= np.sqrt(1 + np.square(frequency / np.float32(cutoff_hz)))
    if not gain.any():  # shorter than a period of what is heard
        gain[-1] = 1
    shaped: Noise = irfft(spectrum * gain, length)[:num_samples]
    return shaped


def _room(num_samples: int, rate: int, generator: np.random.Generator) -> Noise:
    cutoff_hz = float(np.exp(generator.uniform(np.log(200), np.log(2000))))
    air = unit_rms(_shaped(num_samples, rate, SLOPES["pink"], cutoff_hz, generator))
    time_s = np.arange(num_samples, dtype=np.float64) / rate
    mains_hz, harmonics = float(generator.choice([50.0, 60.0])), generator.uniform(0, 1, 5)
    phases = generator.uniform(0, 2 * np.pi, 5)
    hum = sum(
        level * np.sin(2 * np.pi * mains_hz * number * time_s + phase)
        for number, (level, phase) in enumerate(zip(harmonics, phases, strict=True), 1)
    )
    knots = generator.normal(0, DRIFT_DB, int(num_samples / rate / DRIFT_S) + 2)
    drift = 10 ** (np.interp(time_s / DRIFT_S, np.arange(len(knots)), knots) / 20)
    return unit_rms((air + 10 ** (generator.uniform(-20, 0) / 20) * unit_rms(np.asarray(hum))) * drift)
