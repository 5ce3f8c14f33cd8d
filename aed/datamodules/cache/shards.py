"""Shards of the feature cache: how they lie on disk, and what is in them.

A shard is ``<name>.npy``, all frames of its clips one after the other, ``(frames, n_mels)`` float32, so that a patch
is one piece of the file; and ``<name>.json``, which says where each clip lies. Both are written under a temporary
name and renamed, the json last: what a killed run leaves is either whole or ignored. The json also has the length of
each recording, which may be more than was read of it.
"""

import hashlib
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from aed.base.files import remove, write_whole
from aed.datamodules.cache.features import Array, Features, ShardFiles

log = logging.getLogger(__name__)


class Clip(NamedTuple):
    """The cached features of a recording.

    Args:
        frames: ``(n_frames, n_mels)``.
        length_s: Length of the whole recording, s; infinite where that is not known.
    """

    frames: Array
    length_s: float


class Extent(NamedTuple):
    """Where a clip's frames lie.

    Args:
        shard: Name.
        offset: Byte of the first frame in the shard's npy.
        frames: How many.
        length_s: Of the recording, s.
    """

    shard: str
    offset: int
    frames: int
    length_s: float


def write_shard(folder: Path, clips: Mapping[str, Clip]) -> None:
    """Writes a shard.

    Args:
        folder: Of one front end.
        clips: By their keys.

    Raises:
        WriteError: It cannot be written.
    """
    name = hashlib.sha256("".join(clips).encode()).hexdigest()[:16]
    starts = np.cumsum([0] + [len(clip.frames) for clip in clips.values()]).tolist()
    rows = [
        [key, start, len(clip.frames), clip.length_s if math.isfinite(clip.length_s) else None]
        for (key, clip), start in zip(clips.items(), starts, strict=False)
    ]
    frames = np.concatenate([clip.frames for clip in clips.values()])
    write_whole(folder / f"{name}.npy", lambda file: _save(file, frames))
    write_whole(folder / f"{name}.json", lambda file: file.write(json.dumps({"clips": rows}).encode()))


def _save(file: IO[bytes], frames: Array) -> None:
    """``np.save`` whose errors have the system's number, which NumPy's own lack."""
    np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(frames))
    file.write(frames.data)


class ShardIndex:
    """Index of the clips in the shards of a folder; each shard is read once.

    Args:
        folder: Of one front end.
        n_mels: Of that front end.
    """

    def __init__(self, folder: Path, n_mels: int) -> None:
        self.folder, self.n_mels = folder, n_mels
        self._seen: dict[str, tuple[tuple[int, ...], dict[str, Extent]]] = {}
        self._extents: dict[str, Extent] = {}

    def refresh(self) -> list[Path]:
        """Looks for new and changed shards; returns the json of those that are not whole."""
        damaged: list[Path] = []
        seen: dict[str, tuple[tuple[int, ...], dict[str, Extent]]] = {}
        for path in sorted(self.folder.glob("*.json")):
            try:
                facts = _facts(path)
                known = self._seen.get(path.stem)
                seen[path.stem] = known if known and known[0] == facts else (facts, self._look_into(path))
            except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
                log.warning("%s: not a whole shard (%s); its clips are computed anew", path, error)
                if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
                    damaged.append(path)  # other trouble, such as too many open files, may pass
        if seen != self._seen:
            self._seen, self._extents = seen, {}
            for _, extents in seen.values():
                self._extents |= extents
        return damaged

    def clean(self) -> None:
        """Removes what killed runs and broken disks have left; for the holder of the folder's lock."""
        for damaged in self.refresh():
            remove(damaged)
        for temporary in self.folder.glob("*.tmp"):
            remove(temporary)
        for orphan in self.folder.glob("*.npy"):
            if not orphan.with_suffix(".json").exists():
                remove(orphan)

    def _look_into(self, path: Path) -> dict[str, Extent]:
        clips = json.loads(path.read_text(encoding="utf-8"))["clips"]
        frames = np.load(path.with_suffix(".npy"), mmap_mode="r")
        if frames.ndim != 2 or frames.shape[1] != self.n_mels or frames.dtype != np.float32:
            raise ValueError(f"{frames.dtype} of shape {frames.shape} is not of this front end")
        row = frames.strides[0]
        extents = {
            key: Extent(path.stem, frames.offset + int(start) * row, int(n), math.inf if length is None else length)
            for key, start, n, length in clips
        }
        if any(extent.offset + extent.frames * row > frames.offset + frames.nbytes for extent in extents.values()):
            raise ValueError(f"{len(frames)} frames are fewer than its clips say")
        return extents

    def __contains__(self, key: str) -> bool:
        return key in self._extents

    def length_s(self, key: str) -> float:
        """Length of the whole recording of a clip that is in the index, s; infinite where that is not known."""
        return self._extents[key].length_s

    def open(self, keys: Sequence[str]) -> Features:
        """The features of clips, all of which are in the index."""
        extents = [self._extents[key] for key in keys]
        names = {name: number for number, name in enumerate(dict.fromkeys(extent.shard for extent in extents))}
        return Features(
            files=ShardFiles([str(self.folder / f"{name}.npy") for name in names]),
            shard=np.array([names[extent.shard] for extent in extents], dtype=np.int64),
            offset=np.array([extent.offset for extent in extents], dtype=np.int64),
            n_frames=np.array([extent.frames for extent in extents], dtype=np.int64),
            n_mels=self.n_mels,
        )


def _facts(path: Path) -> tuple[int, ...]:
    stats = path.stat(), path.with_suffix(".npy").stat()
    return tuple(fact for stat in stats for fact in (stat.st_size, stat.st_mtime_ns, stat.st_ino))
