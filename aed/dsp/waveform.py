"""Waveforms: read a file, resample, remove silence, repeat up to a length."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from aed.audio.audio_file import AudioFile
from aed.base.errors import AudioError
from aed.dsp.frontend import FrontendConfig

Wave = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def read_audio(path: Path, max_length_s: float) -> tuple[Wave, int]:
    """The start of a recording as mono ``(T,)`` float32 in [-1, 1], and its rate in Hz.

    Channels are averaged; integer formats are scaled by their full range (8 bit too).

    Args:
        path: Anything :class:`aed.audio.audio_file.AudioFile` reads.
        max_length_s: Seconds read from the start.

    Raises:
        AudioError: As :class:`aed.audio.audio_file.AudioFile` and its ``read``, or the file has no samples.
    """
    with AudioFile(path) as file:
        return _start(file, max_length_s), file.rate


def _start(file: AudioFile, max_length_s: float) -> Wave:
    samples = file.read(int(max_length_s * file.rate))
    file.check_end()
    if len(samples) == 0:
        raise AudioError(f"{file.path}: the file holds no samples")
    return mono(samples)


def true_length(file: AudioFile, num_samples: int) -> float:
    """The length in seconds of a recording of which ``num_samples`` were read; infinite if the rest cannot be read."""
    try:
        return float((num_samples + file.skip()) / file.rate)
    except AudioError:
        return math.inf


def mono(samples: npt.NDArray[np.float32]) -> Wave:
    """The mean over the channels ``(T,)`` of ``(T, channels)``."""
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)


def to_int16(wave: Wave) -> npt.NDArray[np.int16]:
    """The 16-bit samples of a microphone for ``wave`` in [-1, 1], half to even, saturated."""
    return np.clip(np.rint(wave * 32768), -32768, 32767).astype(np.int16)


def resample(wave: Wave, rate: int, target_rate: int) -> Wave:
    """``wave`` ``(T,)`` at another rate in Hz, by soxr in HQ quality (librosa's ``soxr_hq``)."""
    if rate == target_rate:
        return wave
    # librosa's length, including its rounding of the ratio; soxr's may differ by a sample: padded or cut
    length = int(np.ceil(len(wave) * (target_rate / rate)))
    resampled = soxr.resample(wave, rate, target_rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled))).astype(np.float32, copy=False)


def repeat_to(chosen: Positions, num_samples: int) -> Positions:
    """``chosen`` ``(T,)``, repeated and cut to ``num_samples`` where it is shorter."""
    if len(chosen) >= num_samples:
        return chosen
    return np.tile(chosen, num_samples // len(chosen) + 1)[:num_samples]


def _is_loud(power: npt.NDArray[np.float64], top_db: float) -> npt.NDArray[np.bool_]:
    """Mask of the frames less than ``top_db`` below the loudest; ``power`` is the mean square of each."""
    level_db = 10 * np.log10(np.maximum(power, 1e-10))
    return np.asarray(level_db - level_db.max() > -top_db)


def _frame_energy(wave: Wave, start: npt.NDArray[np.int64], frame: int) -> npt.NDArray[np.float64]:
    """Energy of the samples ``[start, start + frame)`` inside ``wave``, ``(len(start),)`` float64."""
    bounds = np.clip(start, 0, len(wave)), np.clip(start + frame, 0, len(wave))
    return np.array(
        [np.dot(part, part) for part in (wave[a:b].astype(np.float64) for a, b in zip(*bounds, strict=True))]
    )


def mask_compatible(wave: Wave, config: FrontendConfig) -> Mask:
    """Mask of the samples of ``wave`` that ``librosa.effects.split`` keeps, ``(T,)`` bool.

    Frame k is centred on sample ``k * hop``, but decides about the block that begins there: with frame = hop, as in
    ST's zoo, an event in the half frame before a centre is cut and silence after it remains.
    """
    hop, frame = config.trim_hop_length, config.trim_frame_length
    start = np.arange(1 + (len(wave) + 2 * (frame // 2) - frame) // hop) * hop - frame // 2
    loud = np.repeat(_is_loud(_frame_energy(wave, start, frame) / frame, config.trim_top_db), hop)[: len(wave)]
    # samples after the last frame's block are removed, as in librosa
    return np.pad(loud, (0, len(wave) - len(loud)))


def mask_aligned(wave: Wave, config: FrontendConfig) -> Mask:
    """Mask of the samples of ``wave`` that are not silent, ``(T,)`` bool: those that a loud frame covers.

    Frame k measures the very samples ``[k * hop, k * hop + frame)`` that it decides about, so no sample of a frame
    that is loud by ``trim_top_db`` is cut.
    """
    hop, frame = config.trim_hop_length, config.trim_frame_length
    start = np.arange(0, len(wave), hop)
    stop = np.minimum(start + frame, len(wave))
    loud = _is_loud(_frame_energy(wave, start, frame) / (stop - start), config.trim_top_db)
    mask = np.zeros(len(wave), dtype=np.bool_)
    for first, last in zip(start[loud].tolist(), stop[loud].tolist(), strict=True):
        mask[first:last] = True
    return mask


_MASKS: dict[str, Callable[[Wave, FrontendConfig], Mask]] = {
    "aligned": mask_aligned,
    "compatible": mask_compatible,
    "none": lambda wave, _: np.ones(len(wave), dtype=np.bool_),
}


def trim_silence(wave: Wave, config: FrontendConfig) -> Positions:
    """Indices into ``wave`` ``(T,)`` of the clip's samples, without silence, ``(T',)`` int64.

    ST's order of steps: (repeat), remove silence, (cut), cut to whole seconds, (repeat).

    Raises:
        AudioError: Compatible trimming removed all samples: the only event lies in the last half frame.
    """
    min_samples = round(config.min_length_s * config.sample_rate)
    chosen = np.arange(len(wave))
    if config.lengthen == "before":
        chosen = repeat_to(chosen, min_samples)
    mask = _MASKS[config.trim](wave if len(chosen) == len(wave) else wave[chosen], config)
    chosen = chosen if mask.all() else chosen[mask]
    if config.cut == "after":
        chosen = chosen[: int(config.max_length_s * config.sample_rate)]
    if config.trim_last_second and len(chosen) >= config.sample_rate:
        chosen = chosen[: len(chosen) // config.sample_rate * config.sample_rate]
    if len(chosen) == 0:
        raise AudioError("nothing is left after compatible silence trimming; use trim=aligned")
    return repeat_to(chosen, min_samples) if config.lengthen == "after" else chosen


def process(wave: Wave, rate: int, config: FrontendConfig) -> Wave:
    """The clip ``(T,)`` float32 at ``config.sample_rate`` that features are computed from.

    Args:
        wave: ``(T,)`` float32, T > 0.
        rate: Sample rate of ``wave``, Hz.
        config: The front end.

    Raises:
        AudioError: As :func:`trim_silence`.
    """
    wave = resample(wave, rate, config.sample_rate)
    return wave[trim_silence(wave, config)]


def load_clip(path: Path, config: FrontendConfig) -> Wave:
    """The clip ``(T,)`` float32 of a file, at least one patch long.

    Raises:
        AudioError: As :func:`read_audio`, or the clip is shorter than a patch.
    """
    return cut_clip(*read_audio(path, config.read_s), config, path)[0]


def load_measured(path: Path, config: FrontendConfig) -> tuple[Wave, float]:
    """The clip as :func:`load_clip`, and the length of the whole recording, s, as :func:`true_length`."""
    with AudioFile(path) as file:
        wave = _start(file, config.read_s)
        return cut_clip(wave, file.rate, config, path)[0], true_length(file, len(wave))


def cut_clip(wave: Wave, rate: int, config: FrontendConfig, name: str | Path) -> tuple[Wave, Positions]:
    """The clip of the start of a recording, and the index of each of its samples in that start, at ``sample_rate``.

    Args:
        wave: ``(T,)``, at most ``config.read_s``.
        rate: Sample rate of ``wave``, Hz.
        config: The front end.
        name: Name of the recording, for messages.

    Raises:
        AudioError: There are no samples, or the clip is shorter than a patch.
    """
    if len(wave) == 0:
        raise AudioError(f"{name}: the file holds no samples")
    wave = resample(wave, rate, config.sample_rate)
    try:
        positions = trim_silence(wave, config)
    except AudioError as error:
        raise AudioError(f"{name}: {error}") from error
    if len(positions) < config.min_clip_samples:
        raise AudioError(
            f"{name}: {len(positions) / config.sample_rate:.2f} s are left after trimming, a patch needs "
            f"{config.min_clip_samples / config.sample_rate:.2f} s; use lengthen=after"
        )
    return wave[positions], positions
