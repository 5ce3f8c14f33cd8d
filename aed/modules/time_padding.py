"""Padding along time: as nets have it, or none, so that each column of a layer is the same in whatever patch it lies.

Without padding a patch needs as many frames as one value of the last layer sees.
"""

from collections.abc import Sequence
from typing import Literal, get_args

from aed.base.errors import AedError

TimePadding = Literal["same", "valid"]

Windows = Sequence[tuple[int, int]]
"""Size and stride along time of each layer that has a window, in order."""


def check_time_padding(time_padding: str) -> None:
    """Refuses what is no :data:`TimePadding`.

    Raises:
        AedError: Names the choices.
    """
    if time_padding not in get_args(TimePadding):
        raise AedError(f"net.time_padding: need one of {get_args(TimePadding)}, got {time_padding!r}")


def least_frames(windows: Windows) -> int:
    """Frames of the shortest patch of which windows without padding leave something."""
    frames = 1
    for size, stride in reversed(windows):
        frames = (frames - 1) * stride + size
    return frames


def check_frames(windows: Windows, frames: int) -> None:
    """Refuses a patch too short for windows without padding.

    Raises:
        AedError: Says how many frames it takes.
    """
    if frames < (least := least_frames(windows)):
        raise AedError(
            f"frontend.patch_frames: model.net.time_padding=valid needs at least {least} frames in a patch of this "
            f"net, got {frames}; type frontend.patch_frames={least} or more, or model.net.time_padding=same"
        )


def frames_left(windows: Windows, frames: int) -> int:
    """Columns that windows without padding leave of ``frames``.

    Raises:
        AedError: None.
    """
    check_frames(windows, frames)
    for size, stride in windows:
        frames = (frames - size) // stride + 1
    return frames
