"""Embeddings by a frozen backbone, kept on disk: computed once for each backbone and front end.

They lie in shards as features do (``shards.py``), in a folder a backbone: a recording's patches are its frames. A
recording is embedded by itself, so that the same numbers come out whatever is embedded with it; or a whole split
together, where the numbers are to be those of a training that embeds it in batches.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aed.base.files import WriteError, remove
from aed.datamodules.cache.shards import Clip, ShardIndex, write_shard
from aed.datamodules.patches import PatchDataset

log = logging.getLogger(__name__)

LIMIT_BYTES = 1 << 30
"""Of all embeddings on disk; backbones that were not used for longest go first."""

BATCH = 64
"""Patches of a recording that are embedded together."""

Array = npt.NDArray[np.float32]
Embed = Callable[[Tensor], Tensor]
"""Patches ``(B, 1, n_mels, patch_frames)`` -> embeddings ``(B, size)``, on the CPU."""


def backbone_key(facts: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Digest of all that an embedding depends on but for the recording.

    Args:
        facts: Net, front end, device, version of torch: what JSON can hold.
        weights: ``state_dict`` of the backbone.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in weights.items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]


class EmbeddingCache:
    """The embeddings of one backbone on disk.

    Args:
        root: Cache folder; shared by all runs.
        key: Of :func:`backbone_key`.
        size: Values of an embedding.
    """

    def __init__(self, root: Path, key: str, size: int) -> None:
        self.root = root / "embeddings"
        self.folder, self.size = self.root / key, size

    def embedded(self, data: PatchDataset, file_keys: Sequence[str], embed: Embed) -> Array:
        """Embeddings ``(patches, size)`` of all patches of ``data``, in their order; what is missing is computed.

        Args:
            data: Its recordings are files.
            file_keys: Of the content of each recording.
            embed: By the backbone.
        """
        places = _by_recording(data.windows[:, 0], len(file_keys))
        keys = [f"{key}-{_digest(data.windows[own, 1])}" for key, own in zip(file_keys, places, strict=True)]
        result = np.empty((len(data), self.size), np.float32)
        wanted = {key: number for number, key in enumerate(keys) if len(places[number])}
        missing = self._read(wanted, places, result)
        new: dict[str, Clip] = {}
        for key, number in missing.items():
            own = places[number]
            result[own] = embed_patches(data, own, embed, self.size)
            new[key] = Clip(result[own], math.inf)
        for number, key in enumerate(keys):  # copies of a file have one key
            if len(places[number]) and wanted[key] != number:
                result[places[number]] = result[places[wanted[key]]]
        self._write(new)
        return result

    def together(self, data: PatchDataset, file_keys: Sequence[str], compute: Callable[[], Array]) -> Array:
        """Embeddings ``(patches, size)`` of all patches of ``data``, in their order, as ``compute`` gives them.

        Args:
            data: As for :meth:`embedded`.
            file_keys: As for :meth:`embedded`.
            compute: Embeds them; its result is kept unless it is empty.
        """
        key = f"{hashlib.sha256(' '.join(file_keys).encode()).hexdigest()[:32]}-{_digest(data.windows)}"
        result = np.empty((len(data), self.size), np.float32)
        if not self._read({key: 0}, [np.arange(len(data))], result):
            self._write({})
            return result
        if len(rows := compute()):
            self._write({key: Clip(rows, math.inf)})
        return rows

    def _read(
        self, wanted: Mapping[str, int], places: Sequence[npt.NDArray[np.int64]], result: Array
    ) -> dict[str, int]:
        """Fills in what is on disk; returns what is not."""
        if not self.folder.is_dir():
            return dict(wanted)
        index = ShardIndex(self.folder, self.size)
        index.clean()
        missing = {key: number for key, number in wanted.items() if key not in index}
        found = [key for key in wanted if key not in missing]
        stored = index.open(found)
        clips = [stored.clip(place).T for place in range(len(found))]
        sound = [
            len(rows) == len(places[wanted[key]]) and bool(np.isfinite(rows).all())
            for key, rows in zip(found, clips, strict=True)
        ]
        damaged = {int(stored.shard[place]) for place in np.flatnonzero(~np.array(sound, np.bool_))}
        for number in sorted(damaged):
            shard = Path(stored.files.paths[number])
            log.warning("%s: damaged; its embeddings are computed anew", shard)
            remove(shard.with_suffix(".json"))
        for place, key in enumerate(found):
            if int(stored.shard[place]) in damaged:
                missing[key] = wanted[key]
            else:
                result[places[wanted[key]]] = clips[place]
        return missing

    def _write(self, new: Mapping[str, Clip]) -> None:
        """Keeps new embeddings, and the whole within :data:`LIMIT_BYTES`; a full or read-only disk is no error."""
        num_bytes = sum(clip.frames.nbytes for clip in new.values())
        try:
            if new and num_bytes <= LIMIT_BYTES:
                self.folder.mkdir(parents=True, exist_ok=True)
                write_shard(self.folder, new)
            if self.folder.is_dir():
                os.utime(self.folder)
                if new:
                    self._make_room()
        except (OSError, WriteError) as error:
            log.warning("%s: embeddings are not kept (%s)", self.folder, error)

    def _make_room(self) -> None:
        folders = sorted(self.root.iterdir(), key=lambda folder: folder.stat().st_mtime)
        sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in folders}
        for folder in folders:
            if sum(sizes.values()) <= LIMIT_BYTES:
                return
            shutil.rmtree(folder, ignore_errors=True)
            del sizes[folder]


def _by_recording(recording: npt.NDArray[np.int64], count: int) -> list[npt.NDArray[np.int64]]:
    """Positions of the patches of each recording."""
    order = np.argsort(recording, kind="stable")
    return np.split(order, np.searchsorted(recording[order], np.arange(1, count)))


def _digest(numbers: npt.NDArray[np.int64]) -> str:
    return hashlib.sha256(numbers.tobytes()).hexdigest()[:16]


@torch.no_grad()
def embed_patches(data: PatchDataset, positions: npt.NDArray[np.int64], embed: Embed, size: int) -> Array:
    """Embeddings ``(len(positions), size)`` of some patches."""
    rows = np.empty((len(positions), size), np.float32)
    for first in range(0, len(positions), BATCH):
        part = positions[first : first + BATCH].tolist()
        rows[first : first + BATCH] = embed(data.__getitems__(part).patches).numpy()
    return rows
