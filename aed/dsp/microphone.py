"""What is wrong with the samples of a board's microphone, as far as they show it themselves.

The checks for what is no PCM at all, or is read in a wrong way, compare the samples with themselves read in another
way: sound is smooth and far from full scale most of the time, and bytes that are read wrongly are neither.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FULL_SCALE = 32768.0

LEAST_SAMPLES = 800
"""Fewer say nothing about statistics."""

LOUD = 0.2
"""RMS, full scale 1 (-14 dBFS), over which a stream is compared with itself read in another way."""

READ_RIGHT = 0.5
"""A stream is read wrongly if, read in another way, it has less than this share of its RMS."""

LEAST_ROOM = 64
"""Steps to the ends of the range, in which silence lies where samples have no sign."""

MOST_AT_ENDS = 0.9
"""Share of samples at the ends, from which on a sound is cut rather than without a sign."""

UNLIKE = 2.0
"""Ratio of the magnitudes of samples in turns, or of the medians of their steps, from which on they are no neighbours
in time: of one channel it is 1.
"""

MOST = 0.9
"""Share of samples that are no larger than the magnitude that stands for all: a click is no turn."""

SAME = 0.05
"""Ratio of the shares of even and of odd samples that differ from the next, under which a sample comes twice."""

LEAST_CHANGING = 0.1
"""Share of samples that have to differ from the next to say so: digital silence does not."""

LEAST_STEP = 8 / FULL_SCALE
"""Median of the differences of neighbours, under which they are rounding."""

TONE = 1.95
"""2 cos of a tone's step in phase from sample to sample: less of one whose period is under 28 samples."""

PURE = 0.05
"""RMS of what a tone does not predict of itself, over its own; a fading click has 0.02."""

DB_OF_A_BIT = 6.02
HEADROOM_DB = 6.0
"""Over a loud sound."""

_TURNS = {
    2: "two channels one after the other, or the halves of words of 32 bits; send one channel, the upper 16 bits",
    3: "words of 24 bits without a gap, read as 16; send their upper 16 bits",
    4: "four slots one after the other; send one of them",
}
"""Samples in a turn -> what that is, and what to do."""

_NTH = {2: "second", 3: "third", 4: "fourth"}

BIT_CHANGES = (0.51, 0.55, 0.9)
"""Shares of neighbouring bits that differ: of random bits 0.5, of sound less, since the upper bits of small numbers are
equal, of a sigma-delta modulator more (0.57 to 1.0 in simulations of first and second order). From the first to the
second the ones are counted, too; from the third, of a modulator that idles, its words need not look like noise.
"""

SHAPED = 1 / 3
"""Variance of the number of ones from 64 bits to the next 64, random bits 1, under which noise was shaped away."""

CLIPPED_RUN = 2
"""So many equal samples at the ends of the range, one after the other, are cut."""

MOST_CLIPPED = 1e-4
"""Share of samples in such runs."""

QUIET_PEAK = 10 ** (-36 / 20)
"""Peak, full scale 1, under which the lower bits are all that is used."""

NOISY = 10 ** (-30 / 20)
"""RMS of the quietest tenth, full scale 1, over which a quiet room is too loud."""

MOST_OFFSET = 0.01
"""Mean, full scale 1."""

_BLOCK = 160

Int16 = npt.NDArray[np.int16]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a stream.

    Args:
        name: ``swapped_bytes``.
        spoils: Whether the samples are no sound as they are: nobody should train on them.
        text: What was seen and what to do.
    """

    name: str
    spoils: bool
    text: str


@dataclass(frozen=True)
class Levels:
    """Levels of a stream, full scale 1.

    Args:
        peak: Largest magnitude without the mean.
        rms: Of all, without the mean.
        quiet: RMS of the quietest tenth of its blocks, without the mean.
        offset: Mean.
        clipped: Share of samples that are cut at the ends of the range.
    """

    peak: float
    rms: float
    quiet: float
    offset: float
    clipped: float


def levels(samples: Int16) -> Levels:
    """Levels of ``(T,)`` samples; all 0 of none."""
    if not len(samples):
        return Levels(0.0, 0.0, 0.0, 0.0, 0.0)
    values = samples / FULL_SCALE
    offset = float(values.mean())
    values -= offset
    whole = values[: len(values) // _BLOCK * _BLOCK].reshape(-1, _BLOCK)
    of_blocks = np.sqrt(np.square(whole).mean(axis=1)) if len(whole) else np.array([_rms(values)])
    quiet = float(np.quantile(of_blocks, 0.1))
    return Levels(float(np.abs(values).max()), _rms(values), quiet, offset, _clipped(samples))


def faults(samples: Int16, has_pauses: bool = False) -> list[Fault]:
    """What is wrong with ``(T,)`` samples of one channel: what spoils them, or else what could be better.

    Fewer than :data:`LEAST_SAMPLES` say nothing.

    Args:
        samples: Of the microphone.
        has_pauses: Whether some of it should be quiet.
    """
    if len(samples) < LEAST_SAMPLES:
        return []
    if spoiled := _constant(samples) or _as_bits(samples) or _other_words(samples) or _interleaved(samples):
        return [spoiled]
    found = levels(samples)
    return [fault for fault in (_gain(found), _offset(found), _noise(found) if has_pauses else None) if fault]


def _rms(values: Float) -> float:
    return float(np.sqrt(np.square(values).mean())) if len(values) else 0.0


def _range(samples: Int16) -> int:
    """Steps between the extremes, which int16 itself cannot hold."""
    return int(samples.max()) - int(samples.min())


def _spread(samples: Int16) -> float:
    """RMS without the mean, full scale 1."""
    return float(np.std(samples / FULL_SCALE))


def _is_noise(samples: Int16) -> bool:
    """Whether a sample says little about the next: of white noise the RMS of steps is 1.41 times that of samples."""
    return _rms(np.diff(samples / FULL_SCALE)) > _spread(samples) and not _is_tone(samples)


def _is_tone(samples: Int16) -> bool:
    """Whether it is one high tone, also one that fades and begins again: of such x[t + 1] + x[t - 1] is 2 cos(w) x[t].

    Its samples in turns, or read in another way, follow from its phase at each, not from how they came.
    """
    values = samples / FULL_SCALE
    middle, around = values[1:-1], values[2:] + values[:-2]
    twice_cosine = float(middle @ around / max(float(middle @ middle), 1e-12))
    rest = np.sort(np.abs(around - twice_cosine * middle))[: -(len(middle) // 200)]  # without onsets
    return twice_cosine < TONE and _rms(rest) < PURE * _rms(values) + 3 / FULL_SCALE


def _clipped(samples: Int16) -> float:
    """Share of samples in runs of :data:`CLIPPED_RUN` or more at one end of the range."""
    ends = (samples >= 32767).astype(np.int8) - (samples <= -32767)
    same = (ends[1:] == ends[:-1]) & (ends[1:] != 0)
    in_run = np.zeros(len(samples), np.bool_)
    in_run[1:] |= same
    in_run[:-1] |= same
    return float(in_run.mean())


def _constant(samples: Int16) -> Fault | None:
    if _range(samples) > 1:
        return None
    text = (
        f"every sample is {samples[0]}: the microphone gives nothing; check its supply, its clock, the data line and "
        "which of two slots (left, right) it is wired to"
    )
    return Fault("constant", True, text)


def _as_bits(samples: Int16) -> Fault | None:
    """The bits of a sigma-delta modulator, packed into words."""
    orders = [np.unpackbits(samples.astype(order).view(np.uint8)) for order in (">i2", "<i2")]
    changes = min(float((bits[1:] != bits[:-1]).mean()) for bits in orders)
    ones = orders[0][: len(samples) // 4 * 64].reshape(-1, 64).sum(axis=1, dtype=np.float64)
    shaped = float(np.var(np.diff(ones))) / 32 < SHAPED
    likely, sure, idle = BIT_CHANGES
    is_seen = changes > idle or (_is_noise(samples) and changes > (likely if shaped else sure))
    if not is_seen or _range(samples) < FULL_SCALE / 4:
        return None
    text = (
        f"PDM taken for PCM: {100 * changes:.0f} % of neighbouring bits differ, as in the bit stream of a PDM "
        "microphone; decimate it, by the DFSDM, MDF, ADF or PDM2PCM of your controller"
    )
    return Fault("pdm", True, text)


def _other_words(samples: Int16) -> Fault | None:
    """Words whose bytes are in the other order, or which have no sign."""
    spread = _spread(samples)
    if spread < LOUD:
        return None
    swapped = _spread(samples.byteswap())
    if swapped < READ_RIGHT * spread and _is_noise(samples):
        gain = decibels(spread) - decibels(swapped)
        text = f"the two bytes of a sample are swapped, which makes {gain:.0f} dB of noise; send the lower one first"
        return Fault("swapped_bytes", True, text)
    signed = _spread(samples ^ np.int16(-32768))
    reaches_the_ends = max(int(samples.max()), -int(samples.min())) > FULL_SCALE - LEAST_ROOM
    if signed < READ_RIGHT * spread and reaches_the_ends and _clipped(samples) < MOST_AT_ENDS:
        text = "samples have no sign, 0 to 65535 as of an ADC; subtract 32768 from each"
        return Fault("unsigned", True, text)
    return None


def _interleaved(samples: Int16) -> Fault | None:
    """Samples in turns of another kind: channels one after the other, or parts of longer words."""
    values = samples / FULL_SCALE
    even, odd = values[0 : len(values) // 2 * 2 : 2], values[1::2]
    steps_within, steps_between = (even != odd).mean(), (odd[:-1] != even[1:]).mean()
    if steps_between > LEAST_CHANGING and steps_within < SAME * steps_between:
        return Fault("doubled", True, "every sample comes twice: two channels with the same sound; send one of them")
    if _is_tone(samples):
        return None
    for turns, text in _TURNS.items():
        parts = values[: len(values) // turns * turns].reshape(-1, turns)
        usual = np.quantile(np.abs(parts - np.median(parts, axis=0)), MOST, axis=0)
        still = int((np.ptp(parts, axis=0) == 0).sum())
        largest, least = (max(float(size), 2 / FULL_SCALE) for size in (usual.max(), usual.min()))
        if largest > UNLIKE * least:
            which = (
                f"{still} of {turns} samples in turn are constant" if still else f"every {_NTH[turns]} sample is unlike"
            )
            return Fault("interleaved", True, f"{which}: {text}")
        if turns == 2:
            within, between = (float(np.median(np.abs(step))) for step in (even - odd, odd[:-1] - even[1:]))
            largest, least = max(within, between), max(min(within, between), 1 / FULL_SCALE)
            if largest > LEAST_STEP and largest > UNLIKE * least:
                return Fault("interleaved", True, f"even and odd samples are no neighbours in time: {text}")
    return None


def _gain(found: Levels) -> Fault | None:
    peak = decibels(found.peak)
    if found.clipped > MOST_CLIPPED:
        text = (
            f"gain too high: {100 * found.clipped:.2g} % of the samples are cut at the ends of the range; lower the "
            "gain, or shift by a bit less"
        )
        return Fault("clipping", False, text)
    if found.peak < QUIET_PEAK:
        room = max(0.0, -peak - HEADROOM_DB)
        text = (
            f"gain too low: the peak is {peak:.0f} dBFS; if that was a loud sound, the gain could be "
            f"{room:.0f} dB more: shift samples left by up to {room // DB_OF_A_BIT:.0f} bits, before they are cut to 16"
        )
        return Fault("quiet", False, text)
    return None


def _offset(found: Levels) -> Fault | None:
    if abs(found.offset) <= MOST_OFFSET:
        return None
    steps = round(found.offset * FULL_SCALE)
    text = (
        f"DC offset of {steps} steps, {100 * found.offset:.1f} % of full scale: switch on the high-pass of the "
        "microphone's filter, or subtract it; of an ADC without sign subtract its middle"
    )
    return Fault("offset", False, text)


def _noise(found: Levels) -> Fault | None:
    if found.quiet <= NOISY:
        return None
    text = (
        f"never quiet: the quietest tenth has {decibels(found.quiet):.0f} dBFS; if the room was quiet, the gain is too "
        "high, or supply and clock of the microphone disturb it"
    )
    return Fault("noise", False, text)


def decibels(amplitude: float) -> float:
    """dBFS of an amplitude, full scale 1; nothing is less than one step."""
    return float(20 * np.log10(max(amplitude, 1 / FULL_SCALE)))
