"""What samples show of a microphone that is set up in a wrong way, and that real sound shows none of it."""

import numpy as np
import pytest
import soundfile as sf
from board import RATE, speech
from hypothesis import given, settings
from hypothesis import strategies as st

from aed.dsp.microphone import LEAST_SAMPLES, faults, levels


def modulated(audio: np.ndarray, order: int) -> np.ndarray:
    """Bits of a sigma-delta modulator, 64 a sample of ``audio``."""
    first = second = 0.0
    bits = []
    for value in np.repeat(audio, 64).tolist():
        bits.append((second if order == 2 else first) >= 0)
        back = 1.0 if bits[-1] else -1.0
        first += value - back
        second += first - back
    return np.array(bits, np.uint8)


def as_words(*channels: np.ndarray) -> np.ndarray:
    """Samples of several channels in turns."""
    return np.stack(channels, axis=1).ravel()


def wide(samples: np.ndarray, bits: int) -> np.ndarray:
    """Longer words, low bits of noise, upper ones on the left."""
    low = np.random.default_rng(1).integers(0, 1 << (bits - 16), len(samples))
    return (samples.astype(np.int64) << (bits - 16)) + low


def names(samples: np.ndarray) -> list[str]:
    return [fault.name for fault in faults(samples)]


def test_sound_shows_no_fault():
    assert names(speech(3)) == []


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(("hz", "amplitude"), [(200, 0.0), (1000, 0.03), (440, 0.5), (3000, 0.3)])
def test_bits_of_a_pdm_microphone_are_told(order, hz, amplitude):
    time = np.arange(800) / RATE
    noise = 1e-3 * np.random.default_rng(0).standard_normal(800)
    bits = modulated(amplitude * np.sin(2 * np.pi * hz * time) + noise, order)
    for first in ("big", "little"):
        [fault] = faults(np.packbits(bits, bitorder=first).view("<i2"))
        assert fault.name == "pdm" and fault.spoils and "decimate" in fault.text


@pytest.mark.parametrize("gain", [0.02, 0.25])
@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda x: x.byteswap(), "swapped_bytes"),
        (lambda x: (x.astype(np.int32) + 32768).astype(np.uint16).view(np.int16), "unsigned"),
        (lambda x: as_words(x, np.zeros_like(x)), "interleaved"),
        (lambda x: as_words(np.full_like(x, -1), x), "interleaved"),
        (lambda x: as_words(x, x), "doubled"),
        (lambda x: as_words(x, speech(2, seed=3, gain=0.08)), "interleaved"),
        (lambda x: wide(x, 32).astype("<i4").view("<i2"), "interleaved"),
        (lambda x: (wide(x, 24) << 8).astype("<i4").view("<i2"), "interleaved"),
        (lambda x: wide(x, 24).astype("<i4").view("u1").reshape(-1, 4)[:, :3].ravel().view("<i2"), "interleaved"),
        (lambda x: as_words(x, x // 8, x // 8, x // 8), "interleaved"),
        (lambda x: np.zeros_like(x), "constant"),
        (lambda x: np.full_like(x, -21846), "constant"),
    ],
)  # fmt: skip
def test_words_that_are_read_wrongly_are_told(read, name, gain):
    [fault] = faults(np.ascontiguousarray(read(speech(2, gain=gain))))
    assert fault.name == name and fault.spoils


def test_levels_are_those_of_a_sine():
    sine = np.round(8192 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE) + 500).astype(np.int16)
    found = levels(sine)
    assert found.peak == pytest.approx(0.25, abs=1e-3) and found.rms == pytest.approx(0.25 / 2**0.5, abs=1e-3)
    assert found.offset == pytest.approx(500 / 32768, abs=1e-4) and found.clipped == 0
    assert levels(np.empty(0, np.int16)).peak == 0


def test_gain_offset_and_clipping_are_said_but_do_not_spoil():
    sound = speech(3)
    loud = np.clip(sound.astype(np.int32) * 8, -32768, 32767).astype(np.int16)
    for samples, name, words in (
        (loud, "clipping", "lower the gain"),
        (sound // 64, "quiet", "shift samples left by up to 7 bits"),
        (sound + np.int16(2048), "offset", "steps, 6.2 % of full scale"),
    ):
        [fault] = faults(samples)
        assert fault.name == name and words in fault.text and not fault.spoils
    hum = np.round(3000 * np.sin(2 * np.pi * 50 * np.arange(3 * RATE) / RATE)).astype(np.int16)
    assert [fault.name for fault in faults(sound + hum, has_pauses=True)] == ["noise"]
    assert faults(sound, has_pauses=True) == [] and faults(sound + hum) == []


def test_one_full_sample_is_no_clipping():
    samples = speech(3)
    samples[1000], samples[2000] = 32767, -32768
    assert names(samples) == []


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.floats(20, 7900) | st.integers(3, 400).map(lambda n: RATE / n), st.floats(1e-3, 0.99),
    st.sampled_from(["sine", "square", "noise", "smooth", "click", "spikes"]),
    st.integers(0, 1000),
)  # fmt: skip
def test_whatever_sounds_is_not_refused(hz, amplitude, kind, seed):
    rng = np.random.default_rng(seed)
    time = np.arange(RATE // 2) / RATE
    sine = np.sin(2 * np.pi * hz * time + rng.uniform(0, 6))
    noise = rng.standard_normal(len(time)) / 3.5
    sound = {
        "sine": sine,
        "square": np.sign(np.sin(2 * np.pi * min(hz, 1000) * time)),
        "noise": noise,
        "smooth": np.convolve(noise, np.ones(40) / 8, "same"),
        "spikes": 0.01 * noise + (rng.random(len(time)) < 1e-3),
        "click": sine * np.exp(-((time * 7) % 1) * 40),
    }[kind]
    samples = np.round(32767 * np.clip(amplitude * sound, -1, 1) + rng.standard_normal(len(time))).clip(-32768, 32767)
    assert [fault for fault in faults(samples.astype(np.int16)) if fault.spoils] == []


def test_few_samples_say_nothing():
    assert faults(np.zeros(LEAST_SAMPLES - 1, np.int16)) == []


def test_real_recordings_are_not_refused(esc10):
    for path in sorted((esc10 / "esc10" / "audio").glob("*.ogg"))[::40]:
        samples, _ = sf.read(path, dtype="int16")
        assert [fault for fault in faults(samples) if fault.spoils] == [], path
