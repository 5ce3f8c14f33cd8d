"""Facts of a recording that tell its health: length, level, clipping, padding, a digest of its samples."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.audio.audio_file import AudioFile
from aed.base.errors import AudioError
from aed.dsp.waveform import mono

BLOCK_FRAMES = 1 << 17
"""Frames decoded at a time: an hour needs no more memory than a second."""

CLIPPED_RUN = 3
"""So many equal samples at full scale, one after the other, are no peak but a cut one."""

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}


@dataclass(frozen=True)
class Sound:
    """Facts of a file.

    Args:
        error: Why it cannot be used; what follows is then unknown.
        rate_hz: Sample rate.
        channels: Their number.
        encoding: Format and subtype, ``WAV PCM_16``.
        duration_s: Length.
        peak: Largest magnitude, full scale 1.
        offset: Mean of the channel where it is largest in magnitude.
        full_scale: Share of samples at full scale.
        clipped_runs: Runs of :data:`CLIPPED_RUN` or more equal samples at full scale.
        padding: Share of the clip that is digital zeros at its ends.
        digest: Of the decoded samples, channels averaged as training does it: equal for equal sounds.
    """

    error: str = ""
    rate_hz: int = 0
    channels: int = 0
    encoding: str = ""
    duration_s: float = 0.0
    peak: float = 0.0
    offset: float = 0.0
    full_scale: float = 0.0
    clipped_runs: int = 0
    padding: float = 0.0
    digest: str = ""


def measure_file(path: Path) -> Sound:
    """Facts of a file; decodes all of it, block by block."""
    try:
        with AudioFile(path) as file:
            return _measure(file)
    except AudioError as error:
        return Sound(error=str(error).removeprefix(f"{path}: ").removeprefix(f"{str(path)!a}: "))


def _measure(file: AudioFile) -> Sound:
    """Statistics of an open file."""
    limit = 1 - 2.0 ** (1 - _BITS[file.subtype]) if file.subtype in _BITS else 1.0
    digest, peak, total = hashlib.blake2b(digest_size=16), 0.0, np.zeros(file.channels)
    frames, at_limit, runs, first, last = 0, 0, 0, -1, -1
    before = np.zeros((CLIPPED_RUN, file.channels), dtype=np.int8)
    for block in file.blocks(BLOCK_FRAMES):
        low, high = float(block.min()), float(block.max())
        peak, total = max(peak, -low, high), total + block.sum(axis=0, dtype=np.float64)
        digest.update(mono(block).tobytes())
        if max(-low, high) >= limit:
            sign = (block >= limit).astype(np.int8) - (block <= -limit)
            at_limit += int(np.count_nonzero(sign))
            runs += _clipped_runs(np.concatenate([before, sign]))
            before = np.concatenate([before, sign])[-CLIPPED_RUN:]
        else:
            before = np.zeros_like(before)
        sounding = np.flatnonzero(block.any(axis=1))
        if len(sounding):
            first, last = (frames + int(sounding[0]) if first < 0 else first), frames + int(sounding[-1])
        frames += len(block)
    if frames == 0:
        return Sound(error="the file holds no samples")
    offset = total / frames
    return Sound(
        rate_hz=file.rate,
        channels=file.channels,
        encoding=f"{file.format} {file.subtype}",
        duration_s=frames / file.rate,
        peak=peak,
        offset=float(offset[np.abs(offset).argmax()]),
        full_scale=at_limit / (frames * file.channels),
        clipped_runs=runs,
        padding=1 - (last - first + 1) / frames if first >= 0 else 1.0,
        digest=digest.hexdigest(),
    )


def _clipped_runs(sign: npt.NDArray[np.int8]) -> int:
    """Runs that begin after the first row of ``sign`` ``(frames, channels)``, -1, 0, 1, and are long enough there."""
    same = (sign[1:] == sign[:-1]) & (sign[1:] != 0)
    windows = np.lib.stride_tricks.sliding_window_view(same, CLIPPED_RUN - 1, axis=0)
    long: npt.NDArray[np.bool_] = np.all(windows, axis=-1)
    return int(np.count_nonzero(long[1:] & ~long[:-1]))


def listen_to_all(paths: Sequence[Path], num_workers: int, done: Callable[[], object]) -> dict[Path, Sound]:
    """Facts of each of the files.

    Args:
        paths: Files.
        num_workers: Threads: decoding, hashing and arithmetic let go of the interpreter lock.
        done: Called after each file.
    """
    pool = ThreadPoolExecutor(num_workers)
    try:
        sounds = {}
        for path, sound in zip(paths, pool.map(measure_file, paths), strict=True):
            sounds[path] = sound
            done()
        return sounds
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
