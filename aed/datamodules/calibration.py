"""Which patches fix int8 ranges, and which clips judge the result: never a test clip, never one clip for both."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aed.datamodules.patches import PatchDataset
from aed.errors import AedError

JUDGING_CLIPS = 1000
"""At most so many are judged on: each way to int8 is scored on them."""

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """What static quantisation needs of a data set.

    Args:
        patches: ``(N, 1, n_mels, patch_frames)`` float32, as even over classes as they can be.
        clips: File names of the clips they are from.
        judging: Clips that tell whether int8 lost accuracy.
        training: Training clips that do not judge.
        judging_split: Where those are from: ``val``, or ``train`` (but not calibrated on).
    """

    patches: npt.NDArray[np.float32]
    clips: tuple[str, ...]
    judging: PatchDataset
    training: PatchDataset
    judging_split: str


def balanced(data: PatchDataset, clips: Index, number: int, seed: int) -> Index:
    """Positions of up to ``number`` patches of ``clips``, as many of each class, spread over its clips.

    Args:
        data: Where they are from.
        clips: Clip indices allowed.
        number: Of patches.
        seed: Which patches of a clip, and which clips where there are more than patches.

    Raises:
        AedError: There is no patch.
    """
    generator = np.random.default_rng(seed)
    by_clip = np.argsort(data.clip, kind="stable")
    firsts = np.searchsorted(data.clip[by_clip], np.arange(data.num_clips + 1))
    queues: list[list[int]] = []
    for of_class in _classes(data.targets[clips]):
        own = generator.permutation(clips[of_class])[:number]
        patches = [generator.permutation(by_clip[firsts[clip] : firsts[clip + 1]]) for clip in own]
        # first one patch of each clip, then a second of each, ...
        rounds = range(max(len(part) for part in patches))
        queues.append([int(part[turn]) for turn in rounds for part in patches if turn < len(part)])
    chosen: dict[int, None] = {}  # a clip of several classes stands in several queues
    for turn in range(max((len(queue) for queue in queues), default=0)):
        chosen |= dict.fromkeys(queue[turn] for queue in queues if turn < len(queue))
        if len(chosen) >= number:
            break
    if not chosen:
        raise AedError("quantization: there is no clip to calibrate on; give at least one training clip a class")
    return np.sort(np.asarray(list(chosen)[:number], dtype=np.int64))


def _classes(targets: npt.NDArray[Any]) -> list[Index]:
    """Rows of each class that has one; rows of several labels stand in each, rows of none in the last."""
    if targets.ndim == 1:
        return [np.flatnonzero(targets == target) for target in np.unique(targets)]
    columns = [np.flatnonzero(column) for column in targets.T]
    return [rows for rows in (*columns, np.flatnonzero(~targets.any(axis=1))) if len(rows)]


def halves(targets: npt.NDArray[Any]) -> tuple[Index, Index]:
    """Clips to calibrate on and clips to judge on: every other clip of each class, the first to calibrate.

    Clips of several labels: every other one of those whose labels are the same, and of the rest.
    """
    turn = np.zeros(len(targets), dtype=np.int64)
    if targets.ndim == 1:
        for own in _classes(targets):
            turn[own] = np.arange(len(own)) % 2
    else:
        turn[np.lexsort(targets.T)] = np.arange(len(targets)) % 2
    return np.flatnonzero(turn == 0), np.flatnonzero(turn == 1)


def thinned(clips: Index, most: int = JUDGING_CLIPS) -> Index:
    """Up to ``most`` of ``clips``, evenly spaced."""
    if len(clips) <= most:
        return clips
    return clips[np.linspace(0, len(clips) - 1, most).round().astype(np.int64)]
