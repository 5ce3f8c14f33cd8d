"""Patches of recordings of any length in constant memory, from blocks of samples; nothing is trimmed or repeated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import soxr

from aed.dsp.frontend import FrontendConfig
from aed.dsp.gate import Powers, column_powers, patch_powers
from aed.dsp.patches import cut, grid_starts
from aed.dsp.waveform import Wave, to_int16

if TYPE_CHECKING:
    from aed.dsp.logmel import LogMel

Array = npt.NDArray[np.float32]


class TimedPatches(NamedTuple):
    """Patches and their times in the recording.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)`` float32.
        start_s: ``(B,)`` seconds from the recording's start to the first sample of a patch.
        end_s: ``(B,)`` seconds to the end of its last sample.
        power: ``(B,)`` of its loudest column, see :mod:`aed.dsp.gate`; None: it is part of a clip, not of a stream.
    """

    patches: Array
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    power: Powers | None = None


def can_stream(config: FrontendConfig) -> bool:
    """Whether frames are independent of a clip's ends; if not, a recording is cut into clips of ``max_length_s``."""
    return not config.center and (not config.to_db or config.db_ref is not None)


def stream_patches(blocks: Iterable[Wave], rate: int, logmel: LogMel) -> Iterator[TimedPatches]:
    """The patches of a recording that is passed in blocks.

    They are those of a clip's grid, however the samples are cut into blocks. A last piece shorter than a patch hop
    yields no patch; a recording shorter than a patch yields none at all.

    Args:
        blocks: Mono samples ``(T,)`` float32, of any lengths.
        rate: Sample rate of the blocks, Hz.
        logmel: Features of the front end.
    """
    config = logmel.config
    samples = resampled(blocks, rate, config.sample_rate)
    if can_stream(config):
        yield from _grid(samples, logmel)
        return
    length, first, rate_s = int(config.max_length_s * config.sample_rate), 0, config.sample_rate
    for clip in _pieces(samples, length):
        if len(clip) >= config.min_clip_samples:
            frames = logmel.array(clip)
            starts = grid_starts(frames.shape[1], config)
            timed = _timed(cut(frames, starts, config.patch_frames), starts, first, config)
            # frames are centred: at the ends of a piece a patch covers half a window less
            ahead, low, high = config.n_fft // 2 if config.center else 0, first, first + len(clip)
            start_s, end_s = (
                np.clip(time - ahead / config.sample_rate, low / rate_s, high / rate_s)
                for time in (timed.start_s, timed.end_s)
            )
            yield TimedPatches(timed.patches, start_s, end_s)
        first += len(clip)


def resampled(blocks: Iterable[Wave], rate: int, target_rate: int) -> Iterator[Wave]:
    """The samples of a recording that is passed in blocks, at another rate."""
    if rate == target_rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate, target_rate, 1, dtype="float32", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _pieces(blocks: Iterable[Wave], length: int) -> Iterator[Wave]:
    """The same samples in pieces of ``length``; the last may be shorter."""
    rest = np.zeros(0, np.float32)
    for block in blocks:
        rest = np.concatenate([rest, block])
        while len(rest) >= length:
            yield rest[:length]
            rest = rest[length:]
    if len(rest):
        yield rest


def _grid(samples: Iterable[Wave], logmel: LogMel) -> Iterator[TimedPatches]:
    """Patches of the grid; samples are buffered up to a whole frame, frames up to a whole patch."""
    config = logmel.config
    waiting = np.zeros(0, np.float32)
    frames = np.zeros((config.n_mels, 0), np.float32)
    powers = np.zeros(0, np.int64)
    first = 0  # number of the first buffered frame
    for block in samples:
        waiting = np.concatenate([waiting, block])
        count = config.num_frames(len(waiting))
        if count == 0:
            continue
        whole = waiting[: (count - 1) * config.hop_length + config.frame_samples]
        added, louder = logmel.array(whole), column_powers(to_int16(whole), config)
        waiting = waiting[count * config.hop_length :]
        frames, powers = np.concatenate([frames, added], axis=1), np.concatenate([powers, louder])
        starts = np.arange(0, frames.shape[1] - config.patch_frames + 1, config.patch_hop)
        if len(starts):
            patches = cut(frames, starts, config.patch_frames)
            timed = _timed(patches, starts + first, 0, config)
            yield timed._replace(power=patch_powers(powers, starts, config))
            used = int(starts[-1]) + config.patch_hop
            frames, powers, first = frames[:, used:], powers[used:], first + used


def _timed(patches: Array, starts: npt.NDArray[np.int64], sample: int, config: FrontendConfig) -> TimedPatches:
    """``patches`` with the times of their frames ``starts``, in a piece that begins at ``sample``."""
    start = (sample + starts * config.hop_length) / config.sample_rate
    return TimedPatches(patches[:, None], start, start + config.patch_samples / config.sample_rate)


def clip_patches(wave: Wave, positions: npt.NDArray[np.int64], logmel: LogMel) -> TimedPatches:
    """The patches of a whole clip, as in training and evaluation.

    Args:
        wave: The clip ``(T,)``.
        positions: ``(T,)`` index of each sample in its recording; see :func:`aed.dsp.waveform.cut_clip`.
        logmel: Features of the front end.
    """
    config = logmel.config
    frames = logmel.array(wave)
    starts = grid_starts(frames.shape[1], config)
    ahead = config.n_fft // 2 if config.center else 0
    spans = [
        positions[max(0, begin) : begin + config.patch_samples]
        for begin in (starts * config.hop_length - ahead).tolist()
    ]
    return TimedPatches(
        cut(frames, starts, config.patch_frames)[:, None],
        np.array([span.min() for span in spans]) / config.sample_rate,
        np.array([span.max() + 1 for span in spans]) / config.sample_rate,
    )
