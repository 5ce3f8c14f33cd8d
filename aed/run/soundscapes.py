"""Soundscapes as files: streams of the clips of a split in background sound, with what occurs in them when."""

import csv
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile as sf

from aed.base.errors import AedError
from aed.base.files import check_replaceable, whole_folder, write_whole
from aed.datamodules import PatchDataModule
from aed.datamodules.soundscapes.mixing import Section, SoundscapeConfig
from aed.datamodules.sources.events import merge
from aed.datamodules.sources.sections import BACKGROUNDS, SECTIONS
from aed.dsp.frontend import FrontendConfig
from aed.scoring.tables import write_json, write_rows

log = logging.getLogger(__name__)

REFERENCE = "reference.tsv"
"""What occurs when; a folder with such a file may be replaced."""


def write_soundscapes(
    data: Callable[..., PatchDataModule],
    frontend: FrontendConfig,
    output: str,
    split: Literal["train", "val", "test"] = "test",
    hours: float = 1.0,
    file_minutes: float = 10.0,
    config: SoundscapeConfig = SoundscapeConfig(),  # noqa: B008 - frozen
    seed: int = 0,
) -> None:
    """Writes 16-bit wav files, ``reference.tsv`` for ``aed detect reference=``, and how each was made.

    Args:
        data: Data set: builds the DataModule.
        frontend: Front end, whose sample rate the files have.
        output: Folder for the files: a new one, or one with soundscapes, which is then replaced.
        split: Whose clips are the events.
        hours: Length of all files, h.
        file_minutes: Length of a file, min; the last may be shorter.
        config: What the streams are like.
        seed: Another seed, other streams; also of a random split of the data.

    Raises:
        AedError: The data has no such split, a setting cannot be met, or the folder holds something else.
    """
    for name, value in (("hours", hours), ("file_minutes", file_minutes)):
        if not value > 0:
            raise AedError(f"{name}: need more than 0, got {value}")
    check_replaceable(Path(output), REFERENCE)
    module = data(seed=seed)
    soundscape = module.soundscape(split, config)
    rate = frontend.sample_rate
    left, a_file = round(hours * 3600 * rate), round(file_minutes * 60 * rate)
    rows = _Rows(rate)
    with whole_folder(Path(output), REFERENCE) as folder:
        for number, length in enumerate([a_file] * (left // a_file) + [left % a_file] * bool(left % a_file)):
            path = folder / f"{split}_{number:04d}.wav"
            _write_wav(path, rate, rows.noted(path.name, soundscape.sections(length, number)))
            log.info("%s: %d s", path.name, round(length / rate))
        facts = {"data": module.clips.name, "split": split, "hours": hours, "seed": seed, **asdict(config)}
        rows.write(folder, facts)
    log.info("%d events in %d sections of %g h in %s", len(rows.events), len(rows.sections), hours, output)


def _write_wav(path: Path, rate: int, sections: Iterator[Section]) -> None:
    def write(file: Any) -> None:
        with sf.SoundFile(file, "w", rate, 1, subtype="PCM_16", format="WAV") as sound:
            for section in sections:
                sound.write(section.samples)

    write_whole(path, write)


class _Rows:
    """Rows of the lists beside the recordings.

    Args:
        rate: Samples a second, Hz.
    """

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.files: list[str] = []
        self.sections: list[Sequence[Any]] = []
        self.backgrounds: list[tuple[str, float, str]] = []
        self.events: list[Sequence[Any]] = []

    def noted(self, name: str, sections: Iterator[Section]) -> Iterator[Section]:
        """Passes on the sections of a file, and notes them."""
        self.files.append(name)
        start = 0
        for section in sections:
            onset_s, end_s = start / self.rate, (start + len(section.samples)) / self.rate
            names = "|".join(dict.fromkeys(piece.name for piece in section.background))
            self.sections.append([name, f"{onset_s:.3f}", f"{end_s:.3f}", section.level_dbfs, names])
            self.backgrounds += [(name, onset_s + piece.onset_s, piece.name) for piece in section.background]
            for event in section.events:
                times = (onset_s + event.onset_s, onset_s + event.offset_s)
                how = (str(event.clip), event.clip_onset_s, event.snr_db, event.snr_db + section.level_dbfs)
                self.events.append([name, *times, event.labels, *how])
            start += len(section.samples)
            yield section

    def write(self, folder: Path, facts: dict[str, Any]) -> None:
        """Writes ``events.csv``, ``sections.csv``, ``backgrounds.csv``, ``soundscape.json`` and the reference."""
        made = [
            [name, f"{onset:.3f}", f"{offset:.3f}", ",".join(labels), clip, *(f"{value:.3f}" for value in how)]
            for name, onset, offset, labels, clip, *how in self.events
        ]
        head = ("filename", "onset", "offset", "event_label", "clip", "clip_onset", "snr_db", "level_dbfs")
        write_rows(folder / "events.csv", head, made)
        levels = [[*times, f"{level:.2f}", background] for *times, level, background in self.sections]
        write_rows(folder / SECTIONS, ("filename", "onset", "offset", "level_dbfs", "background"), levels)
        pieces = [[name, f"{onset_s:.3f}", background] for name, onset_s, background in self.backgrounds]
        write_rows(folder / BACKGROUNDS, ("filename", "onset", "background"), pieces)
        write_json(folder / "soundscape.json", facts | {"events": len(made), "sections": len(levels)})
        lines = io.StringIO()
        table = csv.writer(lines, "excel-tab", lineterminator="\n")
        table.writerows([("filename", "onset", "offset", "event_label", "clip"), *self._reference()])
        write_whole(folder / REFERENCE, lambda file: file.write(lines.getvalue().encode()))

    def _reference(self) -> Iterator[tuple[str, ...]]:
        """Rows by recording and time; overlapping events of a class are one, of the clip that begins.

        A recording without any has its name.
        """
        clips = {(name, on, label): clip for name, on, _, labels, clip, *_ in self.events for label in labels}
        pairs = [(name, on, off, label) for name, on, off, labels, *_ in self.events for label in labels]
        number = {name: index for index, name in enumerate(self.files)}
        classes = sorted({label for *_, label in pairs})
        target = {label: index for index, label in enumerate(classes)}
        merged = merge(
            np.array([number[pair[0]] for pair in pairs], np.int64),
            np.array([target[pair[3]] for pair in pairs], np.int64),
            np.array([pair[1] for pair in pairs], np.float64),
            np.array([pair[2] for pair in pairs], np.float64),
        )
        events = sorted(zip(*(part.tolist() for part in merged), strict=True), key=lambda row: (row[0], row[2]))
        for index, name in enumerate(self.files):
            own = [row for row in events if row[0] == index]
            if not own:
                yield name, "", "", "", ""
            for _, label, onset, offset in own:
                what = classes[label]
                yield name, f"{onset:.3f}", f"{offset:.3f}", what, clips[name, onset, what]
