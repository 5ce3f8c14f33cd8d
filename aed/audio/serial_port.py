"""Bytes of a serial port with the times at which they came; by the system's own terminal interface.

That is enough for what boards have, USB's CDC and UARTs behind USB: raw bytes, a speed, no flow control. A library
would add Windows alone.
"""

import os
import select
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from aed.base.errors import AedError, reason

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment]

_BYTES = 1 << 16

WAIT_S = 0.1
"""After which an empty chunk is given, so that who reads can stop."""

Chunk = tuple[float, bytes]
"""When it came, seconds of a clock that only goes on, and the bytes."""


@dataclass(frozen=True)
class Port:
    """What comes from a serial port, a file or a pipe.

    Args:
        name: Its path.
        is_live: Whether the times of the chunks say when they came: not so of a file or pipe.
        chunks: What comes, until it ends; empty ones while nothing does.
    """

    name: str
    is_live: bool
    chunks: Iterator[Chunk]


@contextmanager
def open_port(name: str, baud: int) -> Iterator[Port]:
    """What comes from a port, from now on; or what a file or a pipe holds.

    Args:
        name: Its path, ``/dev/ttyACM0``.
        baud: Bits a second; of USB without meaning.

    Raises:
        AedError: There is no such port, another program has it, or it cannot have this speed.
    """
    descriptor = _open(name)
    try:
        if os.isatty(descriptor):
            _set_raw(descriptor, name, baud)
            with _read_meanwhile(descriptor) as chunks:
                yield Port(name, True, chunks)
        elif stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise AedError(f"serial: {name} is a folder; need a port, or a file of what came from one")
        else:
            yield Port(name, False, _chunks(descriptor))
    finally:
        os.close(descriptor)


def _open(name: str) -> int:
    if termios is None:
        raise AedError("aed record needs the terminals of Linux or macOS; in WSL 2, usbipd attaches the board")
    try:
        # not blocked by a line that waits for a carrier
        descriptor = os.open(name, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        raise AedError(f"serial: {name}: {_why(error)}{_others(name)}") from error
    os.set_blocking(descriptor, True)
    return descriptor


def _why(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "permission denied; add yourself to its group: sudo usermod -aG dialout $USER, then log in anew"
    return reason(error)


def _others(name: str) -> str:
    """The ports there are, in words."""
    ports = sorted(str(path) for pattern in ("ttyACM*", "ttyUSB*", "cu.usb*") for path in Path("/dev").glob(pattern))
    return f"; there are {', '.join(ports)}" if ports else "; no board is at a port: /dev/ttyACM* and ttyUSB* are none"


def _set_raw(descriptor: int, name: str, baud: int) -> None:
    """Raw bytes of that speed, for this program alone; what came before is dropped."""
    speed = getattr(termios, f"B{baud}", None)
    if speed is None:
        known = sorted(int(key[1:]) for key in dir(termios) if key[0] == "B" and key[1:].isdigit())
        raise AedError(f"baud: need one of {', '.join(map(str, known[1:]))}, got {baud}")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AedError(f"serial: another program reads {name}; close it") from error
    except OSError:  # a system without such locks
        pass
    try:
        attributes = termios.tcgetattr(descriptor)
        control = attributes[2] & ~(termios.PARENB | termios.CSTOPB | termios.CSIZE | getattr(termios, "CRTSCTS", 0))
        attributes[:4] = [0, 0, control | termios.CS8 | termios.CREAD | termios.CLOCAL, 0]
        attributes[4:6] = [speed, speed]
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
        termios.tcflush(descriptor, termios.TCIFLUSH)
    except (termios.error, OSError) as error:
        raise AedError(f"serial: {name}: cannot be set to {baud} baud ({error.args[-1]})") from error


def _chunks(descriptor: int) -> Iterator[Chunk]:
    """What comes, as it comes, until the other end is gone."""
    while True:
        ready, _, _ = select.select([descriptor], [], [], WAIT_S)
        try:
            content = os.read(descriptor, _BYTES) if ready else b""
        except OSError:  # unplugged, or the program at the other end of a pseudo-terminal has ended
            return
        if ready and not content:
            return
        yield time.monotonic(), content


@contextmanager
def _read_meanwhile(descriptor: int) -> Iterator[Iterator[Chunk]]:
    """The chunks, read by a thread while this one writes files: the system keeps a fraction of a second alone."""
    queue: SimpleQueue[Chunk | None] = SimpleQueue()
    ends = threading.Event()

    def read() -> None:
        for chunk in _chunks(descriptor):
            if ends.is_set():
                return
            queue.put(chunk)
        queue.put(None)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield _queued(queue)
    finally:
        ends.set()
        thread.join()


def _queued(queue: "SimpleQueue[Chunk | None]") -> Iterator[Chunk]:
    while True:
        try:
            chunk = queue.get(timeout=WAIT_S)
        except Empty:
            chunk = (time.monotonic(), b"")
        if chunk is None:
            return
        yield chunk
