"""Log-mel of clips read out of shards, window by window: a data set need not fit in memory."""

import errno
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError

MAX_OPEN = 256
"""Shards open at a time; many systems allow a process 1024 files, and 2 million clips make 8,000 shards."""

Array = npt.NDArray[np.float32]

_READ = os.O_RDONLY | getattr(os, "O_BINARY", 0)  # Windows: bytes as they are
_seeking = threading.Lock()


def _read_at(descriptor: int, array: Array, offset: int) -> int:
    """Fills ``array`` from an open file; the number of bytes read."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [array], offset)  # type: ignore[list-item]
    with _seeking:  # Windows has no read by position; threads share that of a descriptor
        os.lseek(descriptor, offset, os.SEEK_SET)
        content = os.read(descriptor, array.nbytes)
    array.reshape(-1).view(np.uint8)[: len(content)] = np.frombuffer(content, np.uint8)
    return len(content)


class ShardFiles:
    """Files read by position, so that forked processes may share them; of many only the last used are open.

    Args:
        paths: What travels to another process.
    """

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self._open: OrderedDict[int, int] = OrderedDict()

    def read(self, number: int, offset: int, array: Array) -> None:
        """Fills a contiguous ``array`` with the bytes from ``offset`` on of a file.

        Raises:
            AedError: They are not there any more.
        """
        try:
            if _read_at(self._descriptor(number), array, offset) == array.nbytes:
                return
            reason = "it is shorter than it was"
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise
            reason = str(error)
        raise AedError(f"{self.paths[number]}: cached features deleted or damaged while in use ({reason}); run again")

    def _descriptor(self, number: int) -> int:
        if number in self._open:
            self._open.move_to_end(number)
        else:
            if len(self._open) >= MAX_OPEN:
                os.close(self._open.popitem(last=False)[1])
            self._open[number] = os.open(self.paths[number], _READ)
        return self._open[number]

    def __getstate__(self) -> list[str]:
        return self.paths

    def __setstate__(self, paths: list[str]) -> None:
        self.__init__(paths)  # type: ignore[misc]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


@dataclass(frozen=True)
class Features:
    """Log-mel of a list of clips, left on disk; cheap to send to another process.

    Args:
        files: The shards they lie in.
        shard: ``(num_clips,)`` int64, shard of each clip.
        offset: ``(num_clips,)`` int64, byte of its first frame there.
        n_frames: ``(num_clips,)`` int64, its frames.
        n_mels: Values of a frame.
    """

    files: ShardFiles
    shard: npt.NDArray[np.int64]
    offset: npt.NDArray[np.int64]
    n_frames: npt.NDArray[np.int64]
    n_mels: int

    def gather(self, windows: npt.NDArray[np.int64], patch_frames: int) -> Array:
        """Patches ``(N, n_mels, patch_frames)`` float32, contiguous.

        Args:
            windows: ``(N, 2)`` int64, clip and first frame.
            patch_frames: Frames of a patch; each lies within its clip.

        Raises:
            AedError: The cache was deleted meanwhile.
        """
        patches = np.empty((len(windows), self.n_mels, patch_frames), dtype=np.float32)
        clips, first = windows[:, 0], windows[:, 1]
        if np.any((first < 0) | (first + patch_frames > self.n_frames[clips])):
            raise IndexError("a window reaches past its clip")
        offsets = self.offset[clips] + first * (self.n_mels * patches.itemsize)
        frames = np.empty((patch_frames, self.n_mels), dtype=np.float32)
        for patch, number, offset in zip(patches, self.shard[clips].tolist(), offsets.tolist(), strict=True):
            self.files.read(number, offset, frames)
            patch[:] = frames.T
        return patches

    def clip(self, index: int) -> Array:
        """One clip's log-mel ``(n_mels, n_frames)``."""
        frames = np.empty((int(self.n_frames[index]), self.n_mels), dtype=np.float32)
        self.files.read(int(self.shard[index]), int(self.offset[index]), frames)
        return frames.T
