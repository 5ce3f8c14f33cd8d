"""What sounds behind the events of a stream: recordings in which nothing happens, or coloured noise."""

import logging
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aed.audio.audio_file import AudioFile
from aed.audio.recordings import recordings_below
from aed.base.errors import AedError, AudioError
from aed.datamodules.cache.file_keys import file_key
from aed.datamodules.health.annotations import file_length
from aed.datamodules.sources.lists import SPLIT_NAMES
from aed.dsp.noise import SLOPES, coloured_noise, rms, unit_rms
from aed.dsp.waveform import Wave, mono, resample

log = logging.getLogger(__name__)

COLOURS = (*SLOPES, "room")

SHARES = ("train", "train", "val", "test")
"""Split of an ambient recording, by its digest: a half trains, a quarter each validates and tests."""

UNUSED_CLASSES = "unused"
"""In place of a folder: the data's clips of classes that are not named."""

FADE_S = 0.05
"""Pieces of a background begin and end within this time, s."""

QUIETEST = 1e-4
"""RMS under which a piece of a recording is silence, and no background, -80 dBFS."""

TRIES = 100
"""Pieces that are tried before the recordings are taken for silent or unreadable."""


def ambient_files(folder: Path, split: str) -> list[Path]:
    """The ambient recordings of a split, sorted; no file, under whatever name, is in two splits.

    Folders called ``train``, ``val`` and ``test`` say which; without them, the digest of a file's content does.

    Args:
        folder: With recordings at any depth.
        split: ``train``, ``val`` or ``test``.

    Raises:
        AedError: There is no such folder, no recording in it or none of the split, or a file is in two splits.
    """
    if not folder.is_dir():
        raise AedError(f"ambient: {folder} is no folder; give one with recordings in which nothing happens")
    listed = {path: SPLIT_NAMES.get(path.name.lower()) for path in sorted(folder.iterdir()) if path.is_dir()}
    files = recordings_below(folder)
    if any(listed.values()):
        if other := [path for path, name in listed.items() if name is None]:
            raise AedError(f"ambient: {folder} has folders of splits, and {other[0].name}; move it into one of them")
        files = [path for path in files if path.parent != folder]
        parts = {path: str(listed[folder / path.relative_to(folder).parts[0]]) for path in files}
        _check_apart(parts)
    else:
        parts = {path: SHARES[int(file_key(path)[:8], 16) % len(SHARES)] for path in files}
    own = [path for path in files if parts[path] == split]
    if not own:
        raise AedError(
            f"ambient: {folder} has {len(files)} recordings, none for {split}; add more, or put them into folders "
            "train, val and test"
        )
    return own


def _check_apart(parts: dict[Path, str]) -> None:
    seen: dict[str, Path] = {}
    for path, split in parts.items():
        other = seen.setdefault(file_key(path), path)
        if parts[other] != split:
            raise AedError(f"ambient: {path} is the same recording as {other}, of another split; delete one")


class Piece(NamedTuple):
    """A part of a background.

    Args:
        onset_s: When it begins, s.
        name: A colour of noise, or a recording.
    """

    onset_s: float
    name: str


class Backgrounds:
    """Draws backgrounds of any length.

    Args:
        rate: Samples a second, Hz.
        ambient: Recordings; without any, all backgrounds are noise.
        folder: That they lie in; the parts of its folders are equally likely, whatever they hold.
        noise_share: Share of the backgrounds that are noise although there are recordings.
    """

    def __init__(
        self, rate: int, ambient: Sequence[Path] = (), folder: Path = Path(), noise_share: float = 0.0
    ) -> None:
        self.rate, self.noise_share, self.folder = rate, noise_share if ambient else 1.0, folder
        self.groups: dict[str, list[Path]] = {}
        for path in ambient:
            self.groups.setdefault(path.relative_to(folder).parent.as_posix().partition("/")[0], []).append(path)

    def draw(self, num_samples: int, generator: np.random.Generator) -> tuple[Wave, tuple[Piece, ...]]:
        """A background ``(num_samples,)`` of RMS 1, and what it is made of.

        Raises:
            AedError: The recordings are silent or cannot be read.
        """
        if generator.random() < self.noise_share:
            colour = COLOURS[int(generator.integers(len(COLOURS)))]
            return coloured_noise(num_samples, self.rate, colour, generator), (Piece(0.0, colour),)
        group = list(self.groups.values())[int(generator.integers(len(self.groups)))]
        background, pieces, filled = np.zeros(num_samples, np.float32), list[Piece](), 0
        while filled < num_samples:
            piece, path = self._piece(group, num_samples - filled, generator)
            background[filled : filled + len(piece)] = faded(piece, round(FADE_S * self.rate))
            pieces.append(Piece(filled / self.rate, path.relative_to(self.folder).as_posix()))
            filled += len(piece)
        return unit_rms(background), tuple(pieces)

    def _piece(self, group: Sequence[Path], most: int, generator: np.random.Generator) -> tuple[Wave, Path]:
        """Up to ``most`` samples of a recording of a group, at RMS 1, from a random time on where it is longer."""
        for _ in range(TRIES):
            path = group[int(generator.integers(len(group)))]
            start = generator.random()
            try:
                piece = _excerpt(path, start, most / self.rate, self.rate)[:most]
            except AudioError as error:
                log.warning("ambient, left out: %s", error)
                continue
            if len(piece) and rms(piece) > QUIETEST:
                return unit_rms(piece), path
        raise AedError(f"ambient: {TRIES} pieces of {group[0].parent} were silent or unreadable; take them out of it")


def _excerpt(path: Path, start: float, length_s: float, rate: int) -> Wave:
    """At most ``length_s`` of a recording at ``rate``; ``start``: from which share of what is free of it on."""
    whole_s = file_length(path)
    free_s = max(0.0, whole_s - length_s) if isfinite(whole_s) else 0.0  # reading says what is wrong
    with AudioFile(path) as file:
        unread = int(start * free_s * file.rate)
        while unread and (passed := len(file.read(min(unread, file.rate)))):
            unread -= passed
        wave = mono(file.read(int(np.ceil(length_s * file.rate)) + 1))
        return resample(wave, file.rate, rate)


def faded(wave: Wave, num_samples: int) -> Wave:
    """The sound ``(T,)`` with ``num_samples`` of straight slope at each end, less where it is short."""
    slope = np.ones(len(wave), np.float32)
    length = min(num_samples, len(wave) // 2)
    slope[:length] = np.arange(length) / max(length, 1)
    slope[len(wave) - length :] = slope[:length][::-1]
    return wave * slope
