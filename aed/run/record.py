"""Recordings by a board's own microphone, over a serial line, into a folder that ``data=folder`` reads."""

import io
import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import soundfile as sf
from rich.progress import BarColumn, Progress, TextColumn

from aed.audio.board_frames import Int16
from aed.audio.serial_port import open_port
from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.dsp.microphone import Fault, Levels, decibels, faults, levels
from aed.run.board_stream import BoardStream, Sound, rate_fault
from aed.run.sound_folder import SoundFolder
from aed.run.takes import Gaps, Piece, Take, take
from aed.target.firmware.recorder import write_recorder

log = logging.getLogger(__name__)

LIST = "record.csv"
"""Names of the sounds, beside the folders of the classes: which class, how loud, what was lost."""

FACTS = ("rate_hz", "measured_hz", "peak_dbfs", "rms_dbfs", "offset", "clipped", "silence_s", "port")
"""Of a sound, in the list; ``silence_s`` is in place of lost samples."""

SETTLING_S = 1.0
"""Of sound before anything is measured: microphones start with a step, boards with what they kept."""

MEASURING_S = 2.0
"""Of sound, again and again until its rate is known, before the first clip."""

MOST_MEASURED = 10

MOST_S = 600.0
"""Of a clip."""

LEAST_S = 0.25
"""Of a piece between two gaps that is kept."""

OF_SOUNDS = frozenset({"quiet", "noise"})
"""Faults that only a sound can have, no room that waits for one."""


def record(
    serial: str | None = None,
    folder: str | None = None,
    label: str | None = None,
    seconds: float = 5.0,
    clips: int = 1,
    rate: int | None = None,
    baud: int = 921600,
    gaps: Gaps = "cut",
    checks: Literal["refuse", "warn"] = "refuse",
    firmware: str | None = None,
) -> list[Path]:
    """Records clips of a class, or says how the microphone sounds; returns the files.

    Args:
        serial: Port of the board, ``/dev/ttyACM0``; a file or a pipe with what came from one is read, too.
        folder: For the sounds, a folder for each class, as ``data=folder`` reads them; null: nothing is saved, the
            microphone is tried: levels, rate and what is wrong with it.
        label: Class of the sounds.
        seconds: Length of a clip, up to 600; Ctrl-C ends one early and saves it.
        clips: How many, one right after the other.
        rate: Hz that the board has to announce; null: any, which the wav then has. With ``firmware``: what it
            announces, 16000 if null.
        baud: Bits a second of a UART; over USB without meaning.
        gaps: What is done where samples are lost. ``cut``: the clip is in pieces, a file each. ``silence``: as many
            zeros, up to a second; the list says how much. ``refuse``: a clip with a gap is not saved, and the command
            fails.
        checks: ``refuse``: sound that cannot be right (PDM as PCM, swapped bytes, two channels, another rate) is not
            saved. ``warn``: it is, and said. Gain, offset and clipping are said in any case.
        firmware: Folder for the C that the board runs; nothing is recorded.

    Raises:
        AedError: There is no board, no frame comes, the sound cannot be right, or a setting cannot be used.
    """
    if firmware is not None:
        if serial is not None or folder is not None or label is not None:
            raise AedError("firmware: writes the board's sources alone; leave serial, folder and label out")
        write_recorder(Path(firmware), 16000 if rate is None else rate)
        log.info("%s: see README.md in it", firmware)
        return []
    for name, value, allowed in (("gaps", gaps, get_args(Gaps)), ("checks", checks, ("refuse", "warn"))):
        if value not in allowed:
            raise AedError(f"{name}: need one of {allowed}, got {value!r}")
    place = _place(serial, folder, label, seconds, clips)
    with open_port(str(serial), baud) as port:
        stream = BoardStream(port, rate)
        recorder = _Recorder(stream, seconds, gaps, checks == "refuse", place)
        try:
            return recorder.run(clips)
        finally:
            recorder.report()


def _place(serial: str | None, folder: str | None, label: str | None, seconds: float, clips: int) -> "_Place | None":
    """Where sounds are saved; None: nowhere.

    Raises:
        AedError: A setting is missing or cannot be used.
    """
    if serial is None:
        raise AedError("serial: give the board's port, serial=/dev/ttyACM0; aed record firmware=<folder> is its C")
    if not LEAST_S <= seconds <= MOST_S:
        raise AedError(f"seconds: need {LEAST_S} to {MOST_S:.0f}, got {seconds}")
    if clips < 1:
        raise AedError(f"clips: need at least 1, got {clips}")
    if (folder is None) != (label is None):
        raise AedError("folder and label: give both to record, none to try the microphone")
    if folder is None or label is None:
        return None
    sounds = SoundFolder(Path(folder), LIST, FACTS)
    sounds.of_class(label)
    return _Place(sounds, label)


@dataclass(frozen=True)
class _Place:
    sounds: SoundFolder
    label: str

    def save(self, piece: Piece, found: Levels, announced_hz: int, measured_hz: float | None, port: str) -> Path:
        """Writes a piece, and its row."""
        wav = io.BytesIO()
        sf.write(wav, piece.samples, announced_hz, format="WAV", subtype="PCM_16")
        facts = [
            str(announced_hz),
            "" if measured_hz is None else f"{measured_hz:.1f}",
            f"{decibels(found.peak):.1f}",
            f"{decibels(found.rms):.1f}",
            f"{found.offset:.5f}",
            f"{found.clipped:.6f}",
            f"{piece.silence / announced_hz:.3f}",
            port,
        ]
        seconds = len(piece.samples) / announced_hz
        return self.sounds.folder / self.sounds.save(wav.getvalue(), self.label, seconds, facts)


class _Recorder:
    """Takes clips from a stream, judges and saves them."""

    def __init__(self, stream: BoardStream, seconds: float, gaps: Gaps, strict: bool, place: _Place | None) -> None:
        self.stream, self.seconds, self.gaps, self.strict, self.place = stream, seconds, gaps, strict, place
        self.said: set[str] = set()
        self.short = 0

    def run(self, clips: int) -> list[Path]:
        """The files of so many clips."""
        sounds = self.stream.sounds()
        if self.stream.port.is_live:
            self._settle(sounds)
        if self.place is None:
            self._try_out(sounds)
            return []
        files: list[Path] = []
        with_gaps = 0
        for number in range(clips):
            taken = self._take(sounds, f"clip {number + 1} of {clips}")
            if taken.gaps and self.gaps == "refuse":
                with_gaps += 1
            else:
                files += [path for piece in taken.pieces if (path := self._save(piece))]
            if not taken.is_whole:
                log.warning("%s: ended in clip %d of %d", self.stream.port.name, number + 1, clips)
                break
        if with_gaps:
            raise AedError(f"{with_gaps} of {clips} clips had gaps and are not saved (gaps=refuse); {len(files)} are")
        if not files:
            raise AedError(f"nothing is saved: less than {LEAST_S} s came without a gap")
        return files

    def report(self) -> None:
        """Says what was lost."""
        if self.stream.counts.frames and (
            text := self.stream.counts.in_words(self.stream.reader.damaged, self.stream.reader.stray_bytes)
        ):
            log.warning("%s: %s", self.stream.port.name, text)
        if self.short:
            log.warning("%d pieces under %g s between gaps are not kept", self.short, LEAST_S)

    def _announced(self) -> int:
        assert self.stream.rate_hz is not None
        return self.stream.rate_hz

    def _settle(self, sounds: Iterator[Sound]) -> None:
        """Hears some sound before the first clip, until its rate is known."""
        take(sounds, self._announced, SETTLING_S, "cut")
        self.stream.restart_clock()
        for _ in range(MOST_MEASURED):
            heard = take(sounds, self._announced, MEASURING_S, "cut")
            if not heard.is_whole:
                raise AedError(f"{self.stream.port.name}: ended before the first clip")
            if self.stream.measured_hz is not None:
                self._judge(max((piece.samples for piece in heard.pieces), key=len), leave=OF_SOUNDS)
                return
        raise AedError(f"{self.stream.port.name}: its rate cannot be measured; does the board begin anew all the time?")

    def _take(self, sounds: Iterator[Sound], words: str) -> Take:
        """The next clip, with a bar and the level on the terminal."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("peak {task.fields[peak]:.0f} dBFS"))
        console = PlainConsole(stderr=True)
        with Progress(*columns, transient=True, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task(words, total=self.seconds, peak=-90.0)

            def done(samples: Int16) -> None:
                peak = decibels(float(np.abs(samples / 32768).max()))
                progress.update(task, advance=len(samples) / self._announced(), peak=peak)

            return take(sounds, self._announced, self.seconds, self.gaps, done)

    def _save(self, piece: Piece) -> Path | None:
        assert self.place is not None
        if len(piece.samples) < LEAST_S * self._announced():
            self.short += 1
            return None
        self._judge(piece.samples)
        found = levels(piece.samples)
        path = self.place.save(piece, found, self._announced(), self.stream.measured_hz, self.stream.port.name)
        seconds = len(piece.samples) / self._announced()
        print(f"{path}  {seconds:.2f} s  peak {decibels(found.peak):.1f} dBFS", flush=True)
        return path

    def _try_out(self, sounds: Iterator[Sound]) -> None:
        taken = self._take(sounds, "say something now and then")
        heard = max((piece.samples for piece in taken.pieces), key=len)
        if not len(heard):
            raise AedError("nothing was heard")
        found, measured = levels(heard), self.stream.measured_hz
        came = "" if measured is None else f", {measured:.0f} samples came a second"
        print(
            f"{self._announced()} Hz announced{came}; peak {decibels(found.peak):.1f} dBFS, RMS "
            f"{decibels(found.rms):.1f}, quietest tenth {decibels(found.quiet):.1f}, offset "
            f"{round(100 * found.offset, 2) + 0:.2f} % of full scale",
            flush=True,
        )
        if not self._judge(heard):
            print("Nothing is wrong that samples can show.", flush=True)

    def _judge(self, samples: Int16, leave: Collection[str] = ()) -> list[Fault]:
        """Says what is wrong, each fault once.

        Raises:
            AedError: It spoils the sound, and such is refused.
        """
        found = [fault for fault in faults(samples, has_pauses=self.place is None) if fault.name not in leave]
        if rate := rate_fault(self._announced(), self.stream.measured_hz):
            found = [rate, *found]
        if self.strict and (spoiling := [fault.text for fault in found if fault.spoils]):
            advice = "; checks=warn saves it all the same" if self.place else ""
            raise AedError(f"{self.stream.port.name}: {spoiling[0]}{advice}")
        for fault in found:
            if fault.name not in self.said:
                log.warning("%s", fault.text)
            self.said.add(fault.name)
        return found
