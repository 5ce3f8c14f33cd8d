"""Zip archives of others: members in memory, no larger than expected."""

import struct
import zipfile
import zlib
from lzma import LZMAError

from aed.base.errors import AedError

DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, LZMAError, struct.error, OSError, EOFError),
    *(KeyError, RuntimeError, NotImplementedError, ValueError),  # a member is missing, encrypted, of another method
)
"""Errors that reading a damaged archive ends in."""


def read_member(archive: zipfile.ZipFile, name: str, most_bytes: int) -> bytes:
    """A member, of which no more is unpacked than may be there.

    Raises:
        AedError: It is larger.
    """
    with archive.open(name) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise AedError(f"{name} has over {most_bytes >> 20} MiB unpacked, more than belongs there")
    return content
