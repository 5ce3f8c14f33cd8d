"""Parts of a file as file objects: libsndfile reads one stream per file, and trusts the length in its header."""

import io
from typing import BinaryIO, NamedTuple

TRUNCATED = "the file is truncated; copy it again"
"""Why a file cannot be used."""

TAIL = 128
"""Bytes at a file's end in which libmpg123 looks for a tag; it fails without them."""

GUESS = 64
"""Largest error of a length estimated from the first frame: bitrates of MPEG audio range from 8 to 448 kbit/s."""


class Part(NamedTuple):
    """One stream of a file.

    Args:
        start: Position of the first byte.
        stop: Position after the last byte.
        patches: Position in the file and the bytes that replace those there.
        endless: Whether libsndfile estimates the number of samples from the bytes: it is known only at the end.
        samples: The number of samples, if the part is endless and its frames were counted.
    """

    start: int
    stop: int
    patches: tuple[tuple[int, bytes], ...] = ()
    endless: bool = False
    samples: int | None = None


class PartFile(io.RawIOBase):
    """A part as a file object.

    An ``endless`` part reports :data:`GUESS` times its size, but its bytes end where it ends: libsndfile returns no
    more samples than it estimates from the size, which may be too few.

    Args:
        file: The whole file, open; its position changes.
        part: The part of it.
    """

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self.file, self.part, self.position = file, part, 0
        self.length = part.stop - part.start
        self.size = self.length * GUESS + TAIL if part.endless else self.length

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Position of the next byte."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a position and returns it."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = max(0, origin + offset)
        return self.position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fills the buffer as far as bytes are left; returns their number."""
        if self.position >= self.length:
            count = min(len(buffer), self.size - self.position) if self.position >= self.size - TAIL else 0
            buffer[: max(0, count)] = bytes(max(0, count))
        else:
            begin = self.part.start + self.position
            self.file.seek(begin)
            content = bytearray(self.file.read(min(len(buffer), self.part.stop - begin)))
            for at, new in self.part.patches:
                low, high = max(at, begin), min(at + len(new), begin + len(content))
                if low < high:
                    content[low - begin : high - begin] = new[low - at : high - at]
            count = len(content)
            buffer[:count] = bytes(content)
        self.position += max(0, count)
        return max(0, count)
