"""A recorded sound as it might have been: other speed, response, room and level; pure functions of samples ``(T,)``."""

import math
from fractions import Fraction

import numpy as np
from scipy.signal import fftconvolve, firwin2, resample_poly

from aed.dsp.disturb import Samples, other_sound
from aed.dsp.noise import rms
from aed.dsp.waveform import Wave

SPEED_STEPS = 100
"""Speeds are whole hundredths, so that resampling needs a short filter."""

LOWEST_KNOT_HZ = 125.0
"""First knot of :func:`equalized`; the last is half the sample rate."""

EQUALIZER_TAPS = 511
"""Of the filter of :func:`equalized`, odd: its delay is a whole number of samples, and is taken out."""


def excerpt(wave: Wave, num_samples: int, generator: np.random.Generator) -> Wave:
    """A part ``(num_samples,)`` of a sound from a random sample on; of a shorter sound, repetitions of it."""
    if (free := len(wave) - num_samples) >= 0:
        start = int(generator.integers(free + 1))
        return wave[start : start + num_samples]
    return other_sound(wave, num_samples, generator)


def source_samples(num_samples: int, speed: float) -> int:
    """Samples that become at least ``num_samples`` when they are played at a speed."""
    return math.ceil(num_samples * _steps(speed))


def played(wave: Wave, speed: float) -> Wave:
    """The sound faster, or slower, and with that higher, or lower; ``(ceil(T / speed),)``.

    Args:
        wave: ``(T,)``.
        speed: Factor over 0, taken in hundredths.
    """
    ratio = _steps(speed)
    if ratio == 1:
        return wave
    return np.asarray(resample_poly(wave, ratio.denominator, ratio.numerator), np.float32)


def _steps(speed: float) -> Fraction:
    return Fraction(max(1, round(SPEED_STEPS * speed)), SPEED_STEPS)


def equalized(wave: Wave, gains_db: Samples, rate: int) -> Wave:
    """The sound through a smooth response, without delay.

    Args:
        wave: ``(T,)``.
        gains_db: ``(N,)``, at N knots an equal number of octaves apart, from :data:`LOWEST_KNOT_HZ` to half the rate;
            linear between them.
        rate: Samples a second, Hz.
    """
    knots = np.geomspace(LOWEST_KNOT_HZ, rate / 2, len(gains_db))
    hertz = np.linspace(0, rate / 2, 1 + EQUALIZER_TAPS)
    levels = np.interp(np.log(np.maximum(hertz, LOWEST_KNOT_HZ)), np.log(knots), gains_db)
    taps = firwin2(EQUALIZER_TAPS, hertz, 10 ** (levels / 20), fs=rate)
    return np.asarray(fftconvolve(wave, taps, mode="same")[: len(wave)], np.float32)


def room_response(rate: int, rt60_s: float, direct_db: float, generator: np.random.Generator) -> Samples:
    """Impulse response of a made room: the direct sound at its first sample, then noise that decays exponentially.

    Source: J. A. Moorer, "About This Reverberation Business", Computer Music Journal 3(2), 1979.

    Args:
        rate: Samples a second, Hz.
        rt60_s: Time in which the echoes fall by 60 dB, s.
        direct_db: Energy of the direct sound over that of the echoes, dB.
        generator: Draws the echoes.
    """
    time_s = np.arange(1, max(2, round(rt60_s * rate))) / rate
    echoes = generator.standard_normal(len(time_s)) * 10 ** (-3 * time_s / rt60_s)
    echoes *= 10 ** (-direct_db / 20) / np.sqrt(np.square(echoes).sum())
    return np.append(1.0, echoes)


def reverberant(wave: Wave, response: Samples) -> Wave:
    """The sound in a room, at the RMS that it had; its echoes end with the sound."""
    heard = fftconvolve(wave, response)[: len(wave)]
    level = rms(heard)
    return np.asarray(heard * (rms(wave) / level if level else 1.0), np.float32)
