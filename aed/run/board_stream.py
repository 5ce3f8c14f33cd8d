"""The sound of a board as it comes: frame after frame, what was lost between them, and the rate at which it came."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from aed.audio.board_frames import HIGHEST_HZ, VERSION, Frame, FrameReader, Int16
from aed.audio.serial_port import Port
from aed.base.console import printable
from aed.base.errors import AedError
from aed.dsp.microphone import Fault

LEAST_S = 1.5
"""Of sound, from which a rate is measured: chunks come some 10 ms early or late."""

SILENT_S = 5.0
"""After which a port that gives nothing, or no frames, is given up."""

MOST_DEVIATION = 0.02
"""Of the rate at which samples come from the announced one: 15625 Hz, as a clock divider gives it, is no 16000."""

MOST_STRAY = 1 << 22
"""Bytes without a frame, after which a port, a device or a file is given up."""

_MODULO = 1 << 32
_SHOWN = 60
"""Characters of text that is no frame."""

_BITS_OF_A_SAMPLE = 10 * (2 + 24 / 160)
"""On a UART, whose bytes have a start and a stop bit, with a frame's header and checksum."""


_SILENT = (
    f"nothing came in {SILENT_S:.0f} s; is the firmware running, is this the board's port (ls -l /dev/serial/by-id), "
    "is its microphone started?"
)


class Sound(NamedTuple):
    """Samples that follow those before without a gap, or after one.

    Args:
        samples: ``(count,)``.
        lost: Samples that are missing before them; None: nobody knows how many.
    """

    samples: Int16
    lost: int | None


@dataclass
class Counts:
    """What became of frames.

    Args:
        frames: That came whole.
        missing: Numbers that never came, or came damaged.
        lost_on_line: Samples in these.
        lost_on_board: Samples that the board says it lost.
        restarts: Times that numbers began anew.
    """

    frames: int = 0
    missing: int = 0
    lost_on_line: int = 0
    lost_on_board: int = 0
    restarts: int = 0

    def in_words(self, damaged: int, stray_bytes: int) -> str:
        """What was lost of a stream; "": nothing.

        Args:
            damaged: Frames with a wrong checksum, which are among the missing.
            stray_bytes: That belong to no frame.
        """
        facts = (
            (self.missing, f"{self.missing} frames ({self.lost_on_line} samples) lost on the line"),
            (damaged, f"{damaged} frames damaged"),
            (self.lost_on_board, f"{self.lost_on_board} samples lost by the board"),
            (self.restarts, f"{self.restarts} times the board began anew"),
            (stray_bytes, f"{stray_bytes} bytes that belong to no frame"),
        )
        texts = [text for number, text in facts if number]
        return f"{self.frames} frames came; {', '.join(texts)}" if texts else ""


@dataclass
class BoardStream:
    """Sound of a port.

    Args:
        port: Where it comes from.
        rate_hz: That the board has to announce; None: any.
        counts: What was lost so far.
        reader: Of its frames.
    """

    port: Port
    rate_hz: int | None = None
    counts: Counts = field(default_factory=Counts)
    reader: FrameReader = field(default_factory=FrameReader)
    _next: tuple[int, int] | None = None
    _clock: list[tuple[float, int]] = field(default_factory=list)
    _sounded: int = 0

    def sounds(self) -> Iterator[Sound]:
        """What comes, in order.

        Raises:
            AedError: Nothing or nothing useful comes, or the rate is another than it has to be.
        """
        last: float | None = None
        for now, content in self.port.chunks:
            last = now if last is None else last
            for frame in self.reader.feed(content):
                self._check_rate(frame.rate_hz)
                lost = self._lost(frame)
                self._sounded += len(frame.samples) + (lost or 0)
                self._time(now, lost)
                yield Sound(frame.samples, lost)
                last = now
            is_useless = not self.counts.frames and self.reader.stray_bytes > MOST_STRAY
            if is_useless or (self.port.is_live and now - last > SILENT_S):
                raise AedError(f"{self.port.name}: {self._instead()}")
        self.reader.finish()
        if not self.counts.frames:
            raise AedError(f"{self.port.name}: {self._instead()}")

    @property
    def measured_hz(self) -> float | None:
        """Samples that came in a second, with those that are known to be lost; None: not yet known."""
        if not self.port.is_live or self.rate_hz is None or len(self._clock) < 3:
            return None
        times, positions = np.array(self._clock).T
        if times[-1] - times[0] < LEAST_S:
            return None
        return float(np.polyfit(times - times[0], positions - positions[0], 1)[0])

    def restart_clock(self) -> None:
        """Measures the rate from now on: what a board kept until its port was opened comes at once."""
        self._clock.clear()

    def _check_rate(self, rate_hz: int) -> None:
        if self.rate_hz is None:
            self.rate_hz = rate_hz
        if rate_hz != self.rate_hz:
            what = "announced before" if self.counts.frames else "asked for by rate="
            raise AedError(f"{self.port.name}: the board announces {rate_hz} Hz, {self.rate_hz} Hz were {what}")

    def _lost(self, frame: Frame) -> int | None:
        """Samples between the frame before and this one; None: the board has begun anew."""
        expected, self._next = self._next, (frame.number + 1, frame.position + len(frame.samples))
        self.counts.frames += 1
        if expected is None:
            return 0
        missing = (frame.number - expected[0]) % _MODULO
        lost = (frame.position - expected[1]) % _MODULO
        if missing >= _MODULO // 2 or lost >= _MODULO // 2 or lost < missing:
            self.counts.restarts += 1
            return None
        self.counts.missing += missing
        if missing:
            self.counts.lost_on_line += lost
        else:
            self.counts.lost_on_board += lost
        return lost

    def _time(self, now: float, lost: int | None) -> None:
        """Notes when a sample came; a chunk has one time, that of its last frame."""
        if lost is None:
            self.restart_clock()
        if self._clock and self._clock[-1][0] == now:
            self._clock.pop()
        self._clock.append((now, self._sounded))

    def _instead(self) -> str:
        """What came in place of frames, in words."""
        reader = self.reader
        if reader.frames:
            return f"no frame in {SILENT_S:.0f} s, {reader.frames} came before; is the board still there?"
        if reader.other_forms:
            version, form = sorted(reader.other_forms)[0]
            return (
                f"frames of version {version} and format {form}, need {VERSION} and 1, 16 bits of one channel, up to "
                f"{HIGHEST_HZ} Hz; write the board's sources anew: aed record firmware=<folder>"
            )
        if reader.damaged:
            return (
                f"{reader.damaged} frames came, all damaged: bytes are lost or changed on the way; a UART needs "
                f"{16000 * _BITS_OF_A_SAMPLE:,.0f} baud or more at 16 kHz, and the same baud= here as on the board"
            )
        if not reader.stray_bytes:
            return _SILENT if self.port.is_live else "is empty"
        text = reader.stray.decode("ascii", "replace")
        shown = sum(letter.isprintable() or letter.isspace() for letter in text.replace("\ufffd", "\0"))
        if shown > 0.9 * len(text):
            return f"text comes, no frames: {printable(text.strip()[-_SHOWN:])!r}; frames need a port of their own"
        return (
            f"{reader.stray_bytes} bytes came, no frame is in them; does the board run aed_record.c (aed record "
            "firmware=<folder>), and is baud= that of its UART?"
        )


def rate_fault(announced_hz: int, measured_hz: float | None) -> Fault | None:
    """Whether samples came as fast as they were announced; None: they did, or it is not known."""
    if measured_hz is None or abs(measured_hz / announced_hz - 1) <= MOST_DEVIATION:
        return None
    other = "or it sends two channels"
    if measured_hz < announced_hz:
        baud = announced_hz * _BITS_OF_A_SAMPLE
        other = f"or some are lost uncounted: a UART has to carry {baud:,.0f} baud, and the loop to keep up"
    text = (
        f"the board announces {announced_hz} Hz, but {measured_hz:.0f} samples come a second: its microphone's clocks "
        f"give another rate (put it into RATE_HZ), {other}"
    )
    return Fault("rate", True, text)
