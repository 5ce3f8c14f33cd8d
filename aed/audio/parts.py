"""Parts of a file as files of their own: libsndfile reads one stream a file, and believes what its header says."""

import io
from typing import BinaryIO, NamedTuple

TRUNCATED = "the file is truncated; copy it anew"
"""Why a file cannot be used."""

TAIL = 128
"""Bytes at a file's end where libmpg123 looks for a tag, and needs some."""

GUESS = 64
"""Bitrates of MPEG audio lie between 8 and 448 kbit/s: no guess of a length from the first frame is further off."""


class Part(NamedTuple):
    """One stream of a file.

    Args:
        start: Its first byte.
        stop: The one after its last.
        patches: Position in the file and new bytes, which stand in for those there.
        endless: Whether libsndfile guesses how many samples there are, from the bytes: only reading to the end tells.
        samples: Their number, where it is endless and frames were counted.
    """

    start: int
    stop: int
    patches: tuple[tuple[int, bytes], ...] = ()
    endless: bool = False
    samples: int | None = None


class PartFile(io.RawIOBase):
    """A part as a file.

    One that is ``endless`` pretends to be :data:`GUESS` times as long, and ends where it ends: libsndfile gives no
    more samples than it guesses there are, and would guess too few.

    Args:
        file: The whole file, open; moved about.
        part: Of it.
    """

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self.file, self.part, self.position = file, part, 0
        self.length = part.stop - part.start
        self.size = self.length * GUESS + TAIL if part.endless else self.length

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Where the next byte comes from."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves there."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = max(0, origin + offset)
        return self.position

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        """Fills the buffer as far as there are bytes."""
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
