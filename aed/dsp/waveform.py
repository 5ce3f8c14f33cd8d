"""Waveforms: reading a file, resampling, silence, length."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile as sf
import soxr

from aed.dsp.frontend import FrontendConfig
from aed.errors import AedError

Wave = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NOT_UTF8 = "the name is not UTF-8; rename the file"
"""Why a file cannot be used."""

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")


class AudioError(AedError):
    """One file that cannot be used; the message names it and the reason."""


def read_audio(path: Path, max_length_s: float) -> tuple[Wave, int]:
    """The start of a recording as mono ``(T,)`` float32 in [-1, 1], and its rate in Hz.

    Channels are averaged; integer formats are scaled by their full range (8 bit too).

    Args:
        path: wav, flac, ogg (Vorbis, Opus) or mp3.
        max_length_s: Seconds read from the start.

    Raises:
        AudioError: The file is missing, empty, no audio, truncated or holds NaN or infinite samples.
    """
    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty")
    try:
        with sf.SoundFile(path) as file:
            rate, promised = file.samplerate, file.frames
            wanted = min(promised, int(max_length_s * rate))
            samples = file.read(wanted, dtype="float32", always_2d=True)
    except UnicodeEncodeError as error:
        raise AudioError(bad_name(path)) from error
    except (sf.LibsndfileError, RuntimeError, TypeError) as error:
        # soundfile raises TypeError for headerless formats such as .raw, which cannot be read without facts
        raise AudioError(f"{path}: not readable as wav, flac, ogg or mp3 ({error})") from error
    if len(samples) < wanted or is_cut_off(path):
        raise AudioError(f"{path}: the file is truncated after {len(samples) / rate:.2f} s; copy it anew")
    if len(samples) == 0:
        raise AudioError(f"{path}: the file holds no samples")
    if not np.isfinite(samples).all():
        raise AudioError(f"{path}: the file holds NaN or infinite samples")
    return samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1), rate


def bad_name(path: Path) -> str:
    """Says of a file, escaped so that it can be printed, that its name is not UTF-8; archives of Windows hold such."""
    return f"{str(path)!a}: {NOT_UTF8}"


def is_cut_off(path: Path) -> bool:
    """Whether a wav or ogg file ends before its own structure says it does (libsndfile reads on silently)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"OggS":
            file.seek(max(0, size - 65536 - 282))  # an ogg page holds at most 65,307 bytes
            tail = file.read()
            page = tail.rfind(b"OggS")
            return page < 0 or _ogg_page_is_open(tail[page:])
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            return _wav_data_is_short(path, size)
    return False


def _ogg_page_is_open(page: bytes) -> bool:
    """Whether the last Ogg page lacks the end-of-stream flag or bytes its segment table promises (RFC 3533)."""
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    segments = page[26]
    return not page[5] & 0x04 or len(page) < 27 + segments + sum(page[27 : 27 + segments])


def _wav_data_is_short(path: Path, size: int) -> bool:
    """Whether the ``data`` chunk of a RIFF file promises more bytes than the file has."""
    with path.open("rb") as file:
        position = 12
        while position + 8 <= size:
            file.seek(position)
            header = file.read(8)
            length = int.from_bytes(header[4:], "little")
            if header[:4] == b"data":
                # writers that stream leave 0xFFFFFFFF, or near it, and mean "to the end"
                return 0 < length < 0x7FFFF000 and position + 8 + length > size
            position += 8 + length + length % 2
    return False


def resample(wave: Wave, rate: int, target_rate: int) -> Wave:
    """``wave`` ``(T,)`` at another rate in Hz, by soxr in HQ quality (librosa's ``soxr_hq``)."""
    if rate == target_rate:
        return wave
    # librosa's length, rounding of the ratio and all; zeros or a cut where soxr's differs by a sample
    length = int(np.ceil(len(wave) * (target_rate / rate)))
    resampled = soxr.resample(wave, rate, target_rate, quality="HQ")[:length]
    return np.pad(resampled, (0, length - len(resampled))).astype(np.float32, copy=False)


def repeat_to(chosen: Positions, num_samples: int) -> Positions:
    """``chosen`` ``(T,)``, repeated and cut to ``num_samples`` where it is shorter."""
    if len(chosen) >= num_samples:
        return chosen
    return np.tile(chosen, num_samples // len(chosen) + 1)[:num_samples]


def _is_loud(power: npt.NDArray[np.float64], top_db: float) -> npt.NDArray[np.bool_]:
    """Which frames lie less than ``top_db`` under the loudest; ``power`` is the mean square of each."""
    level_db = 10 * np.log10(np.maximum(power, 1e-10))
    return np.asarray(level_db - level_db.max() > -top_db)


def _frame_energy(wave: Wave, start: npt.NDArray[np.int64], frame: int) -> npt.NDArray[np.float64]:
    """Energy of the samples ``[start, start + frame)`` that ``wave`` has, ``(len(start),)`` float64."""
    bounds = np.clip(start, 0, len(wave)), np.clip(start + frame, 0, len(wave))
    return np.array(
        [np.dot(part, part) for part in (wave[a:b].astype(np.float64) for a, b in zip(*bounds, strict=True))]
    )


def kept_compatible(wave: Wave, config: FrontendConfig) -> Mask:
    """Which samples of ``wave`` ``librosa.effects.split`` would keep, ``(T,)`` bool.

    Frame k is centred on sample ``k * hop``, yet decides over the block that begins there: with
    frame = hop, as in ST's zoo, an event in the half frame before a centre is cut and silence after it is kept.
    """
    hop, frame = config.trim_hop_length, config.trim_frame_length
    start = np.arange(1 + (len(wave) + 2 * (frame // 2) - frame) // hop) * hop - frame // 2
    loud = np.repeat(_is_loud(_frame_energy(wave, start, frame) / frame, config.trim_top_db), hop)[: len(wave)]
    # past the last frame's block nothing is kept, as in librosa
    return np.pad(loud, (0, len(wave) - len(loud)))


def kept_aligned(wave: Wave, config: FrontendConfig) -> Mask:
    """Which samples of ``wave`` are not silent, ``(T,)`` bool: those that a loud frame covers.

    Frame k measures exactly the samples ``[k * hop, k * hop + frame)`` it decides over, so no sample of a
    frame as loud as ``trim_top_db`` allows is ever cut.
    """
    hop, frame = config.trim_hop_length, config.trim_frame_length
    start = np.arange(0, len(wave), hop)
    stop = np.minimum(start + frame, len(wave))
    loud = _is_loud(_frame_energy(wave, start, frame) / (stop - start), config.trim_top_db)
    kept = np.zeros(len(wave), dtype=np.bool_)
    for first, last in zip(start[loud].tolist(), stop[loud].tolist(), strict=True):
        kept[first:last] = True
    return kept


_KEPT: dict[str, Callable[[Wave, FrontendConfig], Mask]] = {
    "aligned": kept_aligned,
    "compatible": kept_compatible,
    "none": lambda wave, _: np.ones(len(wave), dtype=np.bool_),
}


def choose(wave: Wave, config: FrontendConfig) -> Positions:
    """Which samples of ``wave`` ``(T,)``, in which order, make the clip ``(T',)`` int64.

    (Repeat), remove silence, cut to whole seconds, (repeat): ST's order.

    Raises:
        AudioError: Compatible trimming removed everything: the only event lies in the last half frame.
    """
    min_samples = round(config.min_length_s * config.sample_rate)
    chosen = np.arange(len(wave))
    if config.lengthen == "before":
        chosen = repeat_to(chosen, min_samples)
    kept = _KEPT[config.trim](wave if len(chosen) == len(wave) else wave[chosen], config)
    chosen = chosen if kept.all() else chosen[kept]
    if config.trim_last_second and len(chosen) >= config.sample_rate:
        chosen = chosen[: len(chosen) // config.sample_rate * config.sample_rate]
    if len(chosen) == 0:
        raise AudioError("nothing is left after compatible silence trimming; use trim=aligned")
    return repeat_to(chosen, min_samples) if config.lengthen == "after" else chosen


def process(wave: Wave, rate: int, config: FrontendConfig) -> Wave:
    """The clip ``(T,)`` float32 at ``config.sample_rate`` that features are computed from.

    Args:
        wave: ``(T,)`` float32, T > 0.
        rate: Hz.
        config: The front end.

    Raises:
        AudioError: As :func:`choose`.
    """
    wave = resample(wave, rate, config.sample_rate)
    return wave[choose(wave, config)]


def load_clip(path: Path, config: FrontendConfig) -> Wave:
    """The clip ``(T,)`` float32 of a file, at least one patch long.

    Raises:
        AudioError: As :func:`read_audio`, or what is left is shorter than a patch.
    """
    return locate_clip(path, config)[0]


def locate_clip(path: Path, config: FrontendConfig) -> tuple[Wave, Positions]:
    """The clip of :func:`load_clip`, and where each of its samples lies in the file, counted at ``sample_rate``."""
    samples, rate = read_audio(path, config.max_length_s)
    wave = resample(samples, rate, config.sample_rate)
    try:
        positions = choose(wave, config)
    except AudioError as error:
        raise AudioError(f"{path}: {error}") from error
    if len(positions) < config.min_clip_samples:
        raise AudioError(
            f"{path}: {len(positions) / config.sample_rate:.2f} s are left after trimming, a patch needs "
            f"{config.min_clip_samples / config.sample_rate:.2f} s; use lengthen=after"
        )
    return wave[positions], positions
