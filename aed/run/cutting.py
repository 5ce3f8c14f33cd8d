"""Alarms cut out of recordings, as files to listen to and to train on."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import soundfile as sf

from aed.audio.audio_file import STDIN
from aed.audio.spans import read_spans
from aed.base.errors import AedError
from aed.base.files import whole_folder, write_whole
from aed.dsp.waveform import to_int16
from aed.inference.detection import DetectedEvent, Detector
from aed.scoring.events.alarms import Alarms
from aed.scoring.events.lists import EventList
from aed.scoring.events.verdicts import verdicts
from aed.scoring.tables import write_rows

log = logging.getLogger(__name__)

AROUND_S = 1.0
"""Sound kept before the patch that raises an alarm, and after it."""

ALARMS = "alarms"
"""Folder of alarms without a reference."""

LIST = "alarms.csv"
COLUMNS = ("file", "alarm", "recording", "alarm_s", "start_s", "end_s", "posterior", "occurs")

Streams = Sequence[tuple[str, Sequence[DetectedEvent]]]
"""Recordings and their events."""


@dataclass(frozen=True)
class Cut:
    """A piece of a recording.

    Args:
        kind: Folder: ``background`` or ``confused``; without a reference :data:`ALARMS`.
        event: Whose alarm it is.
        alarm_s: When it is raised.
        start_s: Begin of the piece.
        end_s: Its end, which may be after that of the recording.
        occurs: Class that occurs at that time; "": none, or unknown.
    """

    kind: str
    event: DetectedEvent
    alarm_s: float
    start_s: float
    end_s: float
    occurs: str = ""


def check_cut(folder: Path, names: Sequence[str]) -> None:
    """Refuses a folder that holds something, and sounds that cannot be read again.

    Raises:
        AedError: Says why.
    """
    if STDIN in names:
        raise AedError("cut: needs recordings, which are read again; not standard input")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AedError(f"cut: {folder} holds something already; name a new folder")


def cut_alarms(
    folder: Path, streams: Streams, detector: Detector, reference: EventList | None, slack_s: float = 2.0
) -> None:
    """Writes each alarm, beside a reference each false one, as a 16-bit wav file, and a list of them.

    A file is ``<kind>/<class>_<recording>_<time>s.wav``, at the rate and with the channels of its recording: the patch
    that raises the alarm and :data:`AROUND_S` on both sides, where nothing occurs without the events beside it.

    Args:
        folder: New or empty; written whole.
        streams: What was detected.
        detector: That detected it.
        reference: What occurs, by the number of the recording in ``streams``.
        slack_s: Time after an event in which an alarm belongs to it.

    Raises:
        AedError: The folder holds something, or a recording cannot be read any more.
    """
    names = [name for name, _ in streams]
    check_cut(folder, names)
    rows: list[list[str]] = []
    with whole_folder(folder, LIST) as new:
        taken: set[str] = set()
        for number, (name, events) in enumerate(streams):
            cuts = _cuts(number, events, detector, reference, slack_s)
            for cut, samples, rate in _pieces(name, cuts):
                place = _free(f"{cut.kind}/{_safe(cut.event.label)}_{_safe(Path(name).stem)}_{cut.alarm_s:.2f}s", taken)
                write_whole(new / place, lambda file, wave=samples, rate=rate: _write_wav(file, wave, rate))  # type: ignore[misc]
                rows.append([place, *_row(cut, name)])
        write_rows(new / LIST, COLUMNS, rows)
    log.info("%d alarms in %s", len(rows), folder)


def _cuts(
    number: int, events: Sequence[DetectedEvent], detector: Detector, reference: EventList | None, slack_s: float
) -> list[Cut]:
    """The pieces of one recording, by their start."""
    pairs = [(event, alarm) for event in events for alarm in event.alarms_s]
    spans = [(alarm - detector.patch_s - AROUND_S, alarm + AROUND_S) for _, alarm in pairs]
    if reference is None:
        cuts = [Cut(ALARMS, *pair, max(0.0, low), high) for pair, (low, high) in zip(pairs, spans, strict=True)]
        return sorted(cuts, key=lambda cut: cut.start_s)
    targets = np.array([detector.names.index(event.label) for event, _ in pairs], np.int64)
    raised = Alarms(np.full(len(pairs), number), targets, np.array([alarm for _, alarm in pairs], np.float64))
    own = reference.recording == number
    onset_s, offset_s = reference.onset_s[own], reference.offset_s[own]
    cuts = []
    for (event, alarm), (low, high), (verdict, place) in zip(
        pairs, spans, verdicts(reference, raised, slack_s), strict=True
    ):
        if verdict == "right":
            continue
        if verdict == "background":  # nothing of a class is in it: it can be trained on
            low = max([low, *offset_s[offset_s <= alarm].tolist()])
            high = min([high, *onset_s[onset_s > alarm].tolist()])
        occurs = "" if place is None else detector.names[int(reference.target[place])]
        cuts.append(Cut(verdict, event, alarm, max(0.0, low), high, occurs))
    return sorted(cuts, key=lambda cut: cut.start_s)


def _pieces(name: str, cuts: Sequence[Cut]) -> Iterator[tuple[Cut, npt.NDArray[np.float32], int]]:
    """The samples ``(T, channels)`` and the rate of each cut of a recording."""
    for number, samples, rate in read_spans(Path(name), [(cut.start_s, cut.end_s) for cut in cuts]):
        yield cuts[number], samples, rate


def _write_wav(file: IO[bytes], samples: npt.NDArray[np.float32], rate: int) -> None:
    sf.write(file, to_int16(samples), rate, format="WAV", subtype="PCM_16")


def _safe(text: str) -> str:
    """Letters, digits, ``-`` and ``_`` of a name, at most 60 bytes: no path, and no name that a system reserves."""
    plain = re.sub(r"[^\w-]+", "_", text.encode("utf-8", "replace").decode()).strip("_")
    return plain.encode()[:60].decode(errors="ignore") or "_"


def _free(name: str, taken: set[str]) -> str:
    """A file name of its own, also where capitals do not count."""
    number, place = 1, f"{name}.wav"
    while place.casefold() in taken:
        number += 1
        place = f"{name}_{number}.wav"
    taken.add(place.casefold())
    return place


def _row(cut: Cut, name: str) -> list[str]:
    times = (f"{time:.3f}" for time in (cut.alarm_s, cut.start_s, cut.end_s))
    return [cut.event.label, name, *times, f"{cut.event.posterior:.6f}", cut.occurs]
