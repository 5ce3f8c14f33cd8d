"""Sounds computed by formula, so that a demonstration trains with nothing downloaded.

A *source* is one individual (this bell in that room, recorded with this microphone); a *take* is one clip of
it. The parts of a source come from random streams of its own, what a take adds from another, and all are
keyed by names and numbers alone: a clip is the same, byte for byte on one machine, whichever other clips are
generated beside it.
"""

import csv
import io
import json
import math
import shutil
import string
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile as sf
from filelock import FileLock

from aed.base.errors import AedError
from aed.base.files import refused

GENERATOR_VERSION = 1  # raise it whenever a clip of the same arguments sounds different
CSV_NAME = "synthetic.csv"
RECORD_NAME = "synthesis.json"
COLUMNS = ("filename", "fold", "target", "category", "src_file", "take")

Array32 = npt.NDArray[np.float32]
Array64 = npt.NDArray[np.float64]

_TABLE_SIZE = 4096  # points in one period of an oscillator: nearest-point look-up errs below -60 dB
_SOURCES_LIMIT = 100_000  # src_file is (target + 1) * 100000 + source


@dataclass(frozen=True)
class _Clip:
    """The arguments of a recipe: two random streams and the size of the sound.

    Attributes:
        source: stream of the individual, the same for all its takes.
        take: stream of this take.
        num_samples: samples to make.
        rate_hz: sampling rate in Hz.
    """

    source: np.random.Generator
    take: np.random.Generator
    num_samples: int
    rate_hz: int

    @cached_property
    def time_s(self) -> Array64:
        """Times of the samples, (T,) float64, in seconds."""
        return np.arange(self.num_samples) / self.rate_hz

    @cached_property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.num_samples / self.rate_hz

    @cached_property
    def span_s(self) -> tuple[float, float]:
        """When the event, or the row of events, begins and ends in this take, in seconds."""
        return self.take.uniform(0, 0.35) * self.duration_s, self.take.uniform(0.65, 1.1) * self.duration_s

    def pick(self, low: float, high: float) -> float:
        """One positive parameter of the source, log-uniform, in the unit of its bounds."""
        return float(np.exp(self.source.uniform(np.log(low), np.log(high))))


# ---- parts of a sound -------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _freqs_hz(length: int, rate_hz: int) -> Array32:
    """Frequencies of an FFT of real samples, (length // 2 + 1,) float32, in Hz."""
    return np.fft.rfftfreq(length, 1 / rate_hz).astype(np.float32)


def _noise(clip: _Clip, gain: Callable[[Array32], Array32]) -> Array32:
    """Gaussian noise of the take, (T,) float32 of rms 1; gain maps frequencies in Hz to magnitudes, (F,)."""
    length = _fast_length(clip.num_samples)
    freqs_hz = _freqs_hz(length, clip.rate_hz)
    # uniform, for speed: summed over thousands of bins they make Gaussian samples all the same
    pairs = clip.take.random((freqs_hz.size, 2), dtype=np.float32) - np.float32(0.5)
    # frequencies below 20 Hz are inaudible, yet brown noise would have nearly all its power there
    spectrum = pairs.view(np.complex64)[:, 0] * (gain(np.maximum(freqs_hz, 20)) * (freqs_hz >= 20))
    return _unit_rms(np.fft.irfft(spectrum, length)[: clip.num_samples])


def _band_noise(clip: _Clip, low_hz: float, high_hz: float, order: int = 1) -> Array32:
    """Noise of the take, (T,) float32 of rms 1, in a band with slopes of 6 * order dB per octave."""

    def gain(freqs_hz: Array32) -> Array32:
        slopes: Array32 = (1 + np.square(low_hz / freqs_hz)) * (1 + np.square(freqs_hz / high_hz))
        return np.sqrt(slopes) ** -order

    return _noise(clip, gain)


def _fast_length(num_samples: int) -> int:
    """Smallest convenient FFT length, at least num_samples: up to 32 times a power of two."""
    step = 1 << max(0, num_samples.bit_length() - 5)
    return -(-num_samples // step) * step


def _unit_rms(sound: npt.NDArray[Any]) -> Array32:
    """The sound as (T,) float32 of rms 1; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(sound))))
    return (sound / np.float32(max(rms, 1e-9))).astype(np.float32, copy=False)


def _tone(clip: _Clip, freq_hz: Array64 | float, levels: Array64) -> Array32:
    """A harmonic tone, (T,) float32 of rms about 1; freq_hz is (T,) or constant, levels of partials (K,)."""
    track_hz = np.broadcast_to(freq_hz, clip.num_samples)
    phase = np.cumsum(track_hz / clip.rate_hz) + clip.take.uniform()
    orders = np.arange(1, levels.size + 1)
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, dtype=np.complex128)
    # phases spread as the square of the order keep the crest low
    spectrum[orders] = levels * (orders * track_hz.max() < 0.45 * clip.rate_hz) * np.exp(1j * orders**2)
    table = _unit_rms(np.fft.irfft(spectrum))
    sound: Array32 = table[(phase * _TABLE_SIZE).astype(np.int64) & (_TABLE_SIZE - 1)]
    return sound


def _levels(clip: _Clip, count: int, roll_off: float, spread_db: float) -> Array64:
    """Levels of the source's partials, (count,) float64: k ** -roll_off, each off by about spread_db."""
    return np.arange(1, count + 1) ** -roll_off * 10 ** (clip.source.normal(0, spread_db, count) / 20)


def _drift(clip: _Clip, knots_hz: float) -> Array64:
    """A slow random curve of the take, (T,) float64 within [-2, 2]; knots_hz is turns per second."""
    knots = clip.take.standard_normal(2 + math.ceil(clip.duration_s * knots_hz))
    return np.interp(clip.time_s * knots_hz, np.arange(knots.size), np.clip(knots, -2, 2))


def _gate(clip: _Clip) -> Array32:
    """Envelope of a lasting event, (T,) float32 in [0, 1], with the source's ramps."""
    begin_s, end_s = clip.span_s
    ramps = np.minimum(clip.time_s - begin_s, end_s - clip.time_s) / clip.pick(0.02, 0.6)
    return np.clip(ramps, 0, 1).astype(np.float32)


def _onsets_s(clip: _Clip, period_s: float, jitter: float) -> Array64:
    """When repeated events start, (E,) float64 in seconds, E >= 1; jitter is a fraction of the period."""
    begin_s, end_s = clip.span_s
    steps = np.arange(max(1, int((end_s - begin_s) / period_s)), dtype=np.float64)
    steps += clip.take.uniform(-jitter / 2, jitter / 2, steps.size)
    return np.clip(begin_s + steps * period_s, 0, 0.95 * clip.duration_s)


def _repeat(clip: _Clip, grain: Array32, onsets_s: Array64, spread_db: float) -> Array32:
    """Copies of a grain, (G,) float32, at the onsets, (E,), levels off by about spread_db: (T,) float32."""
    out = np.zeros(clip.num_samples + grain.size, dtype=np.float32)
    gains = 10 ** (clip.take.normal(0, spread_db, onsets_s.size) / 20)
    for start, gain in zip((onsets_s * clip.rate_hz).astype(int), gains.astype(np.float32), strict=True):
        out[start : start + grain.size] += gain * grain
    return out[: clip.num_samples]


def _ring(clip: _Clip, freqs_hz: Array64, decays_s: Array64, levels: Array64) -> Array32:
    """Sum of decaying sines, float32, four times the longest decay; the three arrays are (K,)."""
    size = int(4 * decays_s.max() * clip.rate_hz) + 1
    time_s = np.arange(size, dtype=np.float32) / np.float32(clip.rate_hz)
    out = np.zeros_like(time_s)
    for freq_hz, decay_s, level in zip(freqs_hz, -decays_s, levels, strict=True):
        if freq_hz < 0.45 * clip.rate_hz:
            sine = np.sin(np.float32(2 * np.pi * freq_hz) * time_s)
            out += np.float32(level) * np.exp(time_s / np.float32(decay_s)) * sine
    return out


def _burst(clip: _Clip, rise_s: float, decay_s: float, smooth: int) -> Array32:
    """A noise burst of the source, float32 of rms 1, low-passed by a mean over `smooth` samples."""
    time_s = np.arange(int((rise_s + 5 * decay_s) * clip.rate_hz) + smooth) / clip.rate_hz
    shape = np.minimum(time_s / rise_s, np.exp(np.minimum(rise_s - time_s, 0) / decay_s))
    summed = np.cumsum(clip.source.standard_normal(time_s.size + smooth))
    return _unit_rms((summed[smooth:] - summed[:-smooth]) * shape)


# ---- recipes: each returns the dry sound of one take, (T,) float32 at any level ---------------------------


def _alarm(clip: _Clip) -> Array32:
    """Beeps of one or two alternating tones."""
    tone_hz, period_s = clip.pick(1800, 3000), clip.pick(0.15, 0.8)
    duty, other_tone = clip.source.uniform(0.4, 0.8), clip.source.choice([1.0, 1.0, 0.8])
    cycle = (clip.time_s - clip.span_s[0]) / period_s
    turn = np.floor(cycle)
    beep = np.clip(np.minimum(cycle - turn, duty - cycle + turn) * period_s / 0.005, 0, 1)
    track_hz = np.where(turn % 2 == 1, tone_hz * other_tone, tone_hz)
    tone = _tone(clip, track_hz, _levels(clip, 4, clip.source.uniform(0.8, 1.5), 3))
    return tone * beep.astype(np.float32) * _gate(clip)


def _bell(clip: _Clip) -> Array32:
    """Strikes of an inharmonic resonator."""
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.74, 3.76, 5.1]) * clip.source.normal(1, 0.03, 8)
    decays_s = clip.pick(0.3, 1) / ratios**0.7
    levels = _levels(clip, 8, clip.source.uniform(0, 0.7), 4)
    strike = _ring(clip, clip.pick(500, 1200) * ratios, decays_s, levels)
    return _repeat(clip, strike, _onsets_s(clip, clip.pick(0.5, 1.5), 0.2), 2)


def _chirp(clip: _Clip) -> Array32:
    """Short gliding whistles, in the manner of a bird."""
    pitch_hz, glide = clip.pick(2500, 5000), clip.source.choice([-1, 1]) * clip.source.uniform(0.2, 0.7)
    note_s, trill_hz, trill = clip.pick(0.05, 0.25), clip.pick(15, 60), clip.source.choice([0.0, 0.05])
    track_hz, envelope = np.full(clip.num_samples, 20.0), np.zeros(clip.num_samples, dtype=np.float32)
    for onset_s in _onsets_s(clip, note_s * clip.pick(1.2, 4), 0.4):
        note = slice(int(onset_s * clip.rate_hz), int((onset_s + note_s) * clip.rate_hz))
        position = np.clip((clip.time_s[note] - onset_s) / note_s, 0, 1)
        bend = 1 + glide * (position - 0.5) + trill * np.sin(2 * np.pi * trill_hz * note_s * position)
        track_hz[note] = np.minimum(pitch_hz * clip.take.normal(1, 0.03) * bend, 0.44 * clip.rate_hz)
        envelope[note] = np.sin(np.pi * position) * clip.take.uniform(0.4, 1)
    return _tone(clip, track_hz, _levels(clip, 2, clip.source.uniform(2, 4), 3)) * envelope


def _clicks(clip: _Clip) -> Array32:
    """Ticks and key strokes."""
    count = int(clip.source.integers(1, 5))
    freqs_hz = np.array([clip.pick(1500, 5500) for _ in range(count)])
    tick = _ring(clip, freqs_hz, np.full(count, clip.pick(0.002, 0.008)), np.ones(count))
    tick[:16] += clip.source.normal(0, 0.5, tick[:16].size)
    return _repeat(clip, tick, _onsets_s(clip, clip.pick(0.08, 0.5), clip.source.uniform(0, 1)), 3)


def _engine(clip: _Clip) -> Array32:
    """A combustion engine: many ragged partials that wander together, and noise in their rhythm."""
    track_hz = clip.pick(30, 110) * (1 + clip.pick(0.005, 0.06) * _drift(clip, 1.5))
    tone = _tone(clip, track_hz, _levels(clip, 60, clip.source.uniform(0.3, 0.9), 4))
    hiss = _band_noise(clip, clip.pick(100, 400), clip.pick(800, 3000))
    return (tone + np.float32(clip.pick(0.1, 0.5)) * hiss * np.abs(tone)) * _gate(clip)


def _footsteps(clip: _Clip) -> Array32:
    """Steps: a thud, and the scuff of the sole."""
    thud = _ring(clip, np.array([clip.pick(70, 220)]), np.array([clip.pick(0.02, 0.06)]), np.ones(1))
    scuff = _burst(clip, clip.pick(0.01, 0.06), clip.pick(0.02, 0.06), int(clip.source.integers(6, 32)))
    step = np.float32(clip.pick(0.1, 0.6)) * scuff
    step[: thud.size] += thud[: step.size]
    return _repeat(clip, step, _onsets_s(clip, clip.pick(0.35, 0.8), 0.15), 2)


def _hum(clip: _Clip) -> Array32:
    """A transformer or a fan: steady partials, hardly moving, and some air."""
    mains_hz = clip.source.choice([50.0, 60.0, 100.0, 120.0]) * clip.source.uniform(0.97, 1.03)
    tone = _tone(clip, mains_hz, _levels(clip, 24, clip.source.uniform(0.7, 1.5), 5))
    air = _band_noise(clip, 60, clip.pick(300, 1500))
    swell = 1 + clip.source.uniform(0, 0.15) * _drift(clip, 2)
    return (tone + np.float32(clip.pick(0.03, 0.2)) * air) * swell.astype(np.float32) * _gate(clip)


def _rain(clip: _Clip) -> Array32:
    """A hiss with single drops in it."""
    hiss = _band_noise(clip, clip.pick(800, 3000), clip.pick(4000, 9000))
    drop = _ring(clip, np.array([clip.pick(1000, 4500)]), np.array([clip.pick(0.002, 0.01)]), np.ones(1))
    count = 1 + clip.take.poisson(clip.pick(5, 60) * clip.duration_s)
    drops = _repeat(clip, drop, clip.take.uniform(0, clip.duration_s, count), 6)
    swell = np.exp(clip.source.uniform(0.05, 0.3) * _drift(clip, 1)).astype(np.float32)
    return (hiss + np.float32(clip.pick(0.1, 1)) * _unit_rms(drops)) * swell * _gate(clip)


def _siren(clip: _Clip) -> Array32:
    """A tone that goes up and down: wailing, yelping, rising or two-toned."""
    cycle = clip.time_s * clip.pick(0.25, 4) + clip.take.uniform()
    cycle -= np.floor(cycle)
    shapes = (0.5 - 0.5 * np.cos(2 * np.pi * cycle), 1 - np.abs(2 * cycle - 1), cycle, np.round(cycle))
    # straight in Hz, not in octaves: a power of each sample is slow
    track_hz = clip.pick(450, 900) * (1 + clip.source.uniform(0.4, 1.4) * shapes[clip.source.integers(4)])
    return _tone(clip, track_hz, _levels(clip, 8, clip.source.uniform(1.2, 2.8), 4)) * _gate(clip)


def _wind(clip: _Clip) -> Array32:
    """Low noise in gusts, with a whistle in the strong ones."""
    body = _band_noise(clip, 30, clip.pick(100, 500), order=2)
    whistle_hz = clip.pick(400, 1500)
    whistle = _band_noise(clip, whistle_hz, whistle_hz, order=5)
    gust = np.exp(clip.source.uniform(0.6, 1.1) * _drift(clip, clip.pick(1, 3))).astype(np.float32)
    return (body + np.float32(clip.pick(0.05, 0.5)) * whistle * gust) * gust * _gate(clip)


_RECIPES: Mapping[str, Callable[[_Clip], Array32]] = {
    "alarm": _alarm,
    "bell": _bell,
    "chirp": _chirp,
    "clicks": _clicks,
    "engine": _engine,
    "footsteps": _footsteps,
    "hum": _hum,
    "rain": _rain,
    "siren": _siren,
    "wind": _wind,
}
CLASSES: tuple[str, ...] = tuple(sorted(_RECIPES))


# ---- one clip ---------------------------------------------------------------------------------------------


def _record(dry: Array32, clip: _Clip) -> Array32:
    """The sound as it is recorded, (T,) float32: colour of the microphone, echoes, noise, loudness."""
    wet = dry.copy()
    # echoes within a millisecond colour the spectrum by some 3 dB, the later ones are heard as a room
    delays_s = np.concatenate([clip.source.uniform(0.00006, 0.0007, 4), clip.source.uniform(0.003, 0.12, 6)])
    levels = clip.source.normal(0, [0.2] * 4 + [0.3] * 6) * np.exp(-delays_s / 0.05)
    for delay_s, level in zip(delays_s, levels.astype(np.float32), strict=True):
        shift = round(delay_s * clip.rate_hz)
        wet[shift:] += level * dry[: max(0, dry.size - shift)]
    exponent = np.float32(clip.source.choice([0.0, 0.5, 1.0]))  # slopes in magnitude: white, pink, brown
    snr_db = np.clip(clip.source.triangular(6, 30, 30) + clip.take.normal(0, 1), 6, 30)
    noise = _noise(clip, lambda freqs_hz: freqs_hz**-exponent)
    sound = _unit_rms(wet) + np.float32(10 ** (-snr_db / 20)) * noise
    peak_db = clip.source.uniform(-22, -3) + clip.take.uniform(-2, 2)
    return sound * np.float32(10 ** (peak_db / 20) / np.abs(sound).max())


def synthesize(
    category: str,
    source: int,
    take: int,
    *,
    seed: int = 0,
    sample_rate: int = 16000,
    duration_s: float = 5.0,
) -> Array32:
    """One clip, (T,) float32 in [-1, 1] with T = round(sample_rate * duration_s).

    Args:
        category: one of `CLASSES`.
        source: number of the individual, from 0; its clips resemble one another.
        take: number of the clip of that individual, from 0.
        seed: 0 or more; another seed gives other individuals.
        sample_rate: sampling rate in Hz, 8000 to 192000.
        duration_s: length in seconds, 0.1 to 600.

    Raises:
        AedError: an argument is outside these bounds.
    """
    _check_classes([category])
    _check_range("source", source, 0)
    _check_range("take", take, 0)
    _check_sound(seed, sample_rate, duration_s)
    key = [seed, zlib.crc32(category.encode()), source]
    # separate streams: what a recipe uses up must not shift the room, nor a take its source
    of_room, of_source, of_take = (
        np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        for entropy in ([*key, 0], [*key, 1], [*key, 2, take])
    )
    num_samples = round(sample_rate * duration_s)
    # a quarter of the recordings are shorter than the clip and end in digital silence, as in ESC-50
    filled = of_take.uniform(0.4, 0.95) if of_take.uniform() < 0.25 else 1.0
    clip = _Clip(of_source, of_take, int(num_samples * filled), sample_rate)
    sound = _record(_RECIPES[category](clip), replace(clip, source=of_room))
    return np.pad(sound, (0, num_samples - sound.size))


# ---- a data set -------------------------------------------------------------------------------------------


def _check_classes(classes: Sequence[str]) -> None:
    """Refuses a class that has no recipe, a repeated class, or none at all."""
    unknown = sorted(set(classes) - set(CLASSES))
    if unknown or not classes or len(set(classes)) < len(classes):
        raise AedError(
            f"Synthetic classes: expected one or more of {', '.join(CLASSES)}, each once; "
            f"got {', '.join(unknown or classes) or 'none'}. "
            "Choose names from that list, or use recordings of your own for other classes."
        )


def _check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuses values unless low <= value <= high."""
    if not low <= value <= high:
        bounds = f"at least {low:g}" if high == math.inf else f"{low:g} to {high:g}"
        raise AedError(f"{name}: expected {bounds}, got {value:g}. Give a value in that range.")


def _check_sound(seed: int, sample_rate: int, duration_s: float) -> None:
    """Refuses settings that no clip can be generated with."""
    _check_range("seed", seed, 0)
    _check_range("sample_rate", sample_rate, 8000, 192_000)
    _check_range("duration_s", duration_s, 0.1, 600)


def _row(category: str, source: int, take: int, num_folds: int) -> dict[str, str | int]:
    """The csv row of one clip, in the columns of ESC-50."""
    fold, target = source % num_folds + 1, CLASSES.index(category)
    src_file, letter = (target + 1) * _SOURCES_LIMIT + source, string.ascii_uppercase[take]
    filename = f"{fold}-{src_file}-{letter}-{target}.wav"
    return dict(zip(COLUMNS, (filename, fold, target, category, src_file, letter), strict=True))


def _fill(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Writes audio, csv and, last, the record of the arguments into a new folder."""
    (folder / "audio").mkdir(parents=True)
    (folder / "meta").mkdir()
    rows = []
    for category in arguments["classes"]:
        for source in range(arguments["sources_per_class"]):
            for take in range(arguments["takes_per_source"]):
                row = _row(category, source, take, arguments["num_folds"])
                settings = {name: arguments[name] for name in ("seed", "sample_rate", "duration_s")}
                sound = synthesize(category, source, take, **settings)
                path = folder / "audio" / str(row["filename"])
                wav = io.BytesIO()  # libsndfile's errors tell neither file nor reason
                sf.write(wav, sound, arguments["sample_rate"], subtype="PCM_16", format="WAV")
                path.write_bytes(wav.getbuffer())
                rows.append(row)
    with (folder / "meta" / CSV_NAME).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: str(row["filename"])))
    record = json.dumps(arguments, indent=2, sort_keys=True) + "\n"
    (folder / "meta" / RECORD_NAME).write_text(record, encoding="utf-8")


def _is_finished(root: Path, arguments: Mapping[str, Any]) -> bool:
    """Whether root holds every clip of a data set generated with these arguments."""
    try:
        record = json.loads((root / "meta" / RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    expected = len(arguments["classes"]) * arguments["sources_per_class"] * arguments["takes_per_source"]
    written = sum(1 for _ in (root / "audio").glob("*.wav"))
    return record == arguments and written >= expected and (root / "meta" / CSV_NAME).is_file()


def _check_replaceable(root: Path) -> None:
    """Refuses a folder with files that were not generated here, such as recordings."""
    known = {root / "meta" / CSV_NAME, root / "meta" / RECORD_NAME}
    if all(path.is_file() for path in known):
        with (root / "meta" / CSV_NAME).open(encoding="utf-8", newline="") as file:
            known |= {root / "audio" / str(row.get("filename")) for row in csv.DictReader(file)}
    else:
        known = set()
    files = [root] if root.is_file() else [path for path in root.rglob("*") if path.is_file()]
    foreign = [path for path in files if path not in known and not path.name.startswith(".")]
    if foreign:
        raise AedError(
            "Synthetic data set: expected a new or empty folder, or one holding only an earlier synthetic "
            f"data set; {root} holds {min(foreign).name}. Choose another folder: this one would be deleted."
        )


def _settle(root: Path, partial: Path, old: Path) -> None:
    """Clears what an interrupted run left; the old data set returns if no new one has replaced it."""
    shutil.rmtree(partial, ignore_errors=True)
    if old.exists() and not root.exists():
        old.rename(root)
    shutil.rmtree(old, ignore_errors=True)


def write_dataset(
    root: Path,
    *,
    classes: Sequence[str] = CLASSES,
    sources_per_class: int = 10,
    takes_per_source: int = 2,
    num_folds: int = 5,
    seed: int = 0,
    sample_rate: int = 16000,
    duration_s: float = 5.0,
) -> Path:
    """Path of the csv of a whole data set in the layout of ESC-50, generated if root does not hold it already.

    A data set generated with other arguments is replaced once the new one is whole. Targets are the indices in
    `CLASSES` also when only some classes are generated, so that a clip keeps its name.

    Args:
        root: folder to hold audio/ and meta/; new, empty, or filled by this function before.
        classes: names out of `CLASSES`.
        sources_per_class: individuals of each class; fewer than num_folds leave the last folds empty.
        takes_per_source: clips of each individual, 1 to 26.
        num_folds: folds; all clips of an individual are in one.
        seed: 0 or more.
        sample_rate: sampling rate in Hz, 8000 to 192000.
        duration_s: length of each clip in seconds, 0.1 to 600.

    Raises:
        AedError: an argument is outside these bounds, or root holds files of another origin.
        WriteError: it cannot be written.
    """
    _check_classes(classes)
    _check_range("num_folds", num_folds, 1)
    _check_range("sources_per_class", sources_per_class, 1, _SOURCES_LIMIT)
    _check_range("takes_per_source", takes_per_source, 1, len(string.ascii_uppercase))
    _check_sound(seed, sample_rate, duration_s)
    arguments = {
        "generator_version": GENERATOR_VERSION,
        "classes": sorted(classes),
        "sources_per_class": sources_per_class,
        "takes_per_source": takes_per_source,
        "num_folds": num_folds,
        "seed": seed,
        "sample_rate": sample_rate,
        "duration_s": float(duration_s),
    }
    root = Path(root).resolve()
    csv_path = root / "meta" / CSV_NAME
    if _is_finished(root, arguments):  # before the lock: the folder may be read-only
        return csv_path
    partial, old = (root.with_name(f".{root.name}.synthesis-{state}") for state in ("partial", "old"))
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(root.with_name(f"{root.name}.lock")):
            _settle(root, partial, old)
            if not _is_finished(root, arguments):
                _check_replaceable(root)
                _replace(root, partial, old, arguments)
    except OSError as error:
        raise refused(root, error) from error
    return csv_path


def _replace(root: Path, partial: Path, old: Path, arguments: Mapping[str, Any]) -> None:
    """Replaces the old data set by a new one; the old one returns if that fails."""
    try:
        _fill(partial, arguments)
        if root.exists():
            root.rename(old)
        partial.rename(root)
    finally:
        _settle(root, partial, old)
