"""Patches that fix int8 ranges, and clips that judge the result: never a test clip, never one clip for both."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aed.base.errors import AedError
from aed.base.spacing import evenly
from aed.datamodules.patches import PatchDataset

log = logging.getLogger(__name__)

JUDGING_CLIPS = 1000
"""Largest number of clips judged on: each way to int8 is scored on them."""

CLASS_CLIPS = 50
"""So many of a class are among them if there are, and if the classes are few enough."""

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """Data for static quantisation.

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


def calibration(
    datasets: Mapping[str, PatchDataset],
    rows: Mapping[str, pd.DataFrame],
    names: Callable[[str], Sequence[str]],
    number: int,
    seed: int,
    is_listed: bool,
) -> Calibration:
    """Patches of training clips (or of the calibration set, where there is one), and clips that judge int8.

    Validation clips judge; without a validation set, half of the training clips do, and the other half is
    for calibration. Clips of tested recordings are left out of a calibration set.

    Args:
        datasets: Of each split that has a clip.
        rows: Of each split: the clip table's rows whose files are good.
        names: The names of a split's clips, in the order of their numbers.
        number: Of calibration patches.
        seed: Which they are.
        is_listed: The data set lists clips for calibration.

    Raises:
        AedError: No clip of the calibration set is left.
    """
    own = "calibration" if is_listed else "train"
    if own not in datasets:
        raise AedError("data.clips.calibration_csv: none of its clips can be read; the log names them")
    data, train = datasets[own], datasets["train"]
    chosen, training = _not_tested(data, rows) if is_listed else np.arange(train.num_clips), train
    if "val" in datasets:
        judging, judges = datasets["val"], np.arange(datasets["val"].num_clips)
    else:
        judging, (half, judges) = train, halves(train.targets)
        training, judges = train.subset(half), judges if len(judges) else half
        chosen, judges = _apart(datasets, rows, chosen, judges) if is_listed else (half, judges)
    positions = balanced(data, chosen, number, seed)
    clips = names(own)
    return Calibration(
        patches=data.__getitems__(positions.tolist()).patches.numpy(),
        clips=tuple(clips[clip] for clip in np.unique(data.clip[positions])),
        judging=judging.subset(thinned(judges, judging.targets)),
        training=training,
        judging_split="val" if "val" in datasets else "train",
    )


def _of_clips(data: PatchDataset, rows: pd.DataFrame) -> pd.DataFrame:
    """The row of each clip, in the order of their numbers."""
    return rows.iloc[data.labels.first_windows()[:, 0]]


def _not_tested(data: PatchDataset, rows: Mapping[str, pd.DataFrame]) -> Index:
    """The clips of the calibration set that are of no tested recording."""
    own, tested = _of_clips(data, rows["calibration"]), rows["test"]
    again = own["path"].isin(tested["path"]) | own["src_file"].isin(tested["src_file"].dropna())
    if again.any():
        log.warning("%d of %d calibration clips are of tested recordings: left out", again.sum(), len(own))
    if again.all():
        raise AedError("data.clips.calibration_csv: all its clips are of tested recordings; give others, or none")
    return np.flatnonzero(~again.to_numpy())


def _apart(
    datasets: Mapping[str, PatchDataset], rows: Mapping[str, pd.DataFrame], chosen: Index, judges: Index
) -> tuple[Index, Index]:
    """Clips of the calibration set and training clips that judge, without the files that are among both."""
    calibrating = _of_clips(datasets["calibration"], rows["calibration"])["path"].iloc[chosen]
    judging = _of_clips(datasets["train"], rows["train"])["path"].iloc[judges]
    if len(others := judges[~judging.isin(calibrating).to_numpy()]):
        return chosen, others
    return chosen[~calibrating.isin(judging).to_numpy()], judges  # every clip would judge ranges that it has fixed


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

    Clips of several labels: those of the rarest class first, each to the half that has fewer of the class. A class of
    one clip is judged: what no clip shows is no measure, while a range that lacks it is still a range.
    """
    if targets.ndim > 1:
        return _dealt(targets)
    turn = np.zeros(len(targets), dtype=np.int64)
    for own in _classes(targets):
        turn[own] = np.arange(len(own)) % 2
    return np.flatnonzero(turn == 0), np.flatnonzero(turn == 1)


def _dealt(targets: npt.NDArray[Any]) -> tuple[Index, Index]:
    judges = np.zeros(len(targets), dtype=bool)
    free = np.ones(len(targets), dtype=bool)
    rooms = [len(targets) - len(targets) // 2, len(targets) // 2]  # to calibrate, to judge
    for own in sorted(_classes(targets), key=len):
        has = [int((~judges & ~free)[own].sum()), int((judges & ~free)[own].sum())]
        for clip in own[free[own]]:
            half = int(rooms[1] > 0 and (has[1] <= has[0] or not rooms[0]))
            judges[clip] = half == 1
            has[half] += 1
            rooms[half] -= 1
        free[own] = False
    return np.flatnonzero(~judges), np.flatnonzero(judges)


def thinned(clips: Index, targets: npt.NDArray[Any], most: int = JUDGING_CLIPS) -> Index:
    """Up to ``most`` of ``clips``, evenly spaced, if every class has :data:`CLASS_CLIPS` of them or all of its own.

    Else these come first, of the rarest class before others, and the rest is evenly spaced: of 20,000 excerpts with 40
    alarms, 1000 evenly spaced ones may hold none.

    Args:
        clips: Positions in ``targets``.
        targets: ``(num_clips,)``, or ``(num_clips, num_classes)`` of 0 and 1.
        most: Of clips.
    """
    if len(clips) <= most:
        return clips
    classes = sorted(_classes(targets[clips]), key=len)
    fewest = min(CLASS_CLIPS, most // len(classes))
    is_chosen = np.zeros(len(clips), dtype=bool)
    is_chosen[_spaced(np.arange(len(clips)), most)] = True
    if all(is_chosen[own].sum() >= min(fewest, len(own)) for own in classes):
        return clips[is_chosen]
    is_chosen[:] = False
    for own in classes:
        lacking = max(0, fewest - int(is_chosen[own].sum()))
        is_chosen[_spaced(own[~is_chosen[own]], lacking)] = True
    is_chosen[_spaced(np.flatnonzero(~is_chosen), most - int(is_chosen.sum()))] = True
    return clips[is_chosen]


def _spaced(rows: Index, most: int) -> Index:
    """Up to ``most`` of ``rows``, evenly spaced."""
    return rows[evenly(len(rows), most)]
