"""The exceptions that a user sees as one line, without a traceback."""

import errno
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class AedError(Exception):
    """A fault that the user can correct: the message says what was expected, what was found and what to do.

    Entry points print the message and exit with code 1.
    """


class AudioError(AedError):
    """A recording cannot be used; the message names the file and the reason."""


def find_aed_error(error: BaseException | None) -> AedError | None:
    """The AedError in the chain of causes of ``error``, or None: Hydra, Lightning and jsonargparse wrap exceptions."""
    while error is not None and not isinstance(error, AedError):
        error = error.__cause__ or error.__context__
    return error


def in_brief(error: BaseException) -> str:
    """The message of ``error`` in one line, for a damaged entry of a file; of a KeyError, the missing key."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0] if error.args else 'such key'}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def in_brief_list(names: Iterable[str], most: int = 5) -> str:
    """The first names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more


@contextmanager
def entry(name: str) -> Iterator[None]:
    """Turns any exception of the block into an AedError that names the damaged entry of a file."""
    try:
        yield
    except AedError:
        raise
    except Exception as error:
        raise AedError(f"its entry {name}: {in_brief(error)}") from error


def source_line(error: BaseException) -> str:
    """File and line of the user's code that raised ``error``: the last of the traceback outside installed packages."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    return f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""


KNOWN = {
    errno.ENOSPC: "no space left",
    errno.EDQUOT: "disk quota exceeded",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "its disk is read-only",
    errno.ENOTDIR: "a file lies where a folder is needed",
    errno.EEXIST: "a file lies where a folder is needed",
    errno.EISDIR: "a folder lies where a file is needed",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EMFILE: "too many open files; raise the limit, ulimit -n 4096",
    errno.EIO: "input/output error",
}
"""Errors of the operating system that a user can correct, in words."""

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}
"""Errors that concern a disk or folder rather than one file."""


def reason(error: OSError) -> str:
    """The reason of an error of the operating system, in words."""
    return KNOWN.get(error.errno or 0) or error.strerror or str(error)
