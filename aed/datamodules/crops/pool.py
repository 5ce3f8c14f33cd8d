"""The crops of a training set, group by group: what is computed of them is kept in the cache, and read from there."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from filelock import FileLock

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.datamodules.cache.building import Report
from aed.datamodules.cache.file_keys import file_key
from aed.datamodules.cache.forks import in_forks
from aed.datamodules.crops.config import CropConfig
from aed.datamodules.crops.making import Clip, CropMaker, shares
from aed.datamodules.soundscapes.backgrounds import Backgrounds, ambient_files
from aed.dsp.frontend import FrontendConfig
from aed.dsp.waveform import Wave

GROUP_CLIPS = 128
"""Clips of a group, at most: its crops are computed in the memory of one process."""

VERSION = 1
"""Of the crops that the same settings make."""

Values = npt.NDArray[np.floating]


class CropPool:
    """The crops of training clips, in groups of one fold each: they serve every split into these folds.

    Args:
        rows: Clips, with ``path`` and, where there are folds, ``fold``.
        keys: Digest of each file's content.
        config: What the crops are like.
        frontend: Of the patches.
        folder: Of the cache.
        seed: Of the crops.
        num_workers: Processes that compute.

    Raises:
        AedError: There are no ambient recordings for training.
    """

    def __init__(
        self,
        rows: pd.DataFrame,
        keys: dict[Path, str],
        config: CropConfig,
        frontend: FrontendConfig,
        folder: Path,
        seed: int,
        num_workers: int,
    ) -> None:
        self.folder, self.num_workers = folder / "crops", num_workers
        ambient = ambient_files(Path(config.ambient), "train") if config.ambient else []
        backgrounds = Backgrounds(frontend.sample_rate, ambient, Path(config.ambient or ""))
        self.makers = [CropMaker(own, config, frontend, seed, backgrounds) for own in _groups(rows, keys)]
        facts = {
            "version": VERSION,
            "crops": asdict(config) | {"ambient": [file_key(path) for path in ambient]},
            "frontend": frontend.feature_key,
            "seed": seed,
        }
        self.digests = [_digest(facts | {"clips": [clip.key for clip in maker.clips]}) for maker in self.makers]

    def shares(self, targets: npt.NDArray[np.float32], multi_label: bool) -> npt.NDArray[np.float32]:
        """Targets ``(num_crops, num_classes)`` of all crops.

        Args:
            targets: ``(num_clips, num_classes)`` of 0 and 1, in the order of the rows.
            multi_label: As of :func:`aed.datamodules.crops.making.shares`.
        """
        own = [targets[[clip.row for clip in maker.clips]] for maker in self.makers]
        return np.concatenate(
            [shares(maker.mixes(), target, multi_label) for maker, target in zip(self.makers, own, strict=True)]
        )

    def values(self, name: str, of: Callable[[Wave], Values]) -> list[Values]:
        """What a function gives for each crop, group by group ``(crops of the group, ...)`` float16, on disk.

        Args:
            name: Of the function: the same name, the same values.
            of: Samples ``(T,)`` float32 -> an array of fixed shape.

        Raises:
            AedError: The cache cannot be written, or a process was killed.
        """
        paths = [self.folder / name / f"{digest}.npy" for digest in self.digests]
        missing = [(maker, path) for maker, path in zip(self.makers, paths, strict=True) if not _is_whole(path, maker)]
        if missing:
            try:
                (self.folder / name).mkdir(parents=True, exist_ok=True)
                with FileLock(self.folder / name / ".lock"):
                    missing = [(maker, path) for maker, path in missing if not _is_whole(path, maker)]
                    _compute(missing, name, of, self.num_workers)
            except OSError as error:
                raise AedError(f"{self.folder}: the crops cannot be written ({error}); set data.cache_dir") from error
        return [np.load(path, mmap_mode="r") for path in paths]


def _groups(rows: pd.DataFrame, keys: dict[Path, str]) -> list[list[Clip]]:
    """Clips of one fold each, at most :data:`GROUP_CLIPS`, in an order that depends on their content alone."""
    folds = rows["fold"].fillna(-1).tolist() if "fold" in rows else [-1] * len(rows)
    of_fold: dict[float, list[Clip]] = {}
    for row, (path, fold) in enumerate(zip(rows["path"], folds, strict=True)):
        of_fold.setdefault(fold, []).append(Clip(keys[path], path, row))
    groups = []
    for _, clips in sorted(of_fold.items()):
        clips.sort(key=lambda clip: (clip.key, clip.path.name))
        number = -(-len(clips) // GROUP_CLIPS)
        groups += [clips[part::number] for part in range(number)]
    return groups


def _digest(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _is_whole(path: Path, maker: CropMaker) -> bool:
    """Whether a file has the values of all crops of a group; what another program left there has not."""
    try:
        return len(np.load(path, mmap_mode="r")) == len(maker)
    except (OSError, ValueError, EOFError):
        return False


def _compute(
    missing: Sequence[tuple[CropMaker, Path]], name: str, of: Callable[[Wave], Values], num_workers: int
) -> None:
    def write(number: int) -> int:
        maker, path = missing[number]
        values = np.stack([np.asarray(of(wave), np.float16) for wave in maker.waves()])
        write_whole(path, lambda file: np.save(file, values))
        return len(maker)

    with Report(sum(len(maker) for maker, _ in missing), name, "crops") as report:
        for done in in_forks(write, len(missing), num_workers):
            report.advance(done)
