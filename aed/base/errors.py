"""The one exception a user sees without a traceback."""

import errno
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


class AedError(Exception):
    """Something the user can put right: what was expected, what came, what to do.

    Entry points print the message alone and leave with exit code 1.
    """


class AudioError(AedError):
    """One recording that cannot be used; the message names it and the reason."""


def find_aed_error(error: BaseException | None) -> AedError | None:
    """The AedError behind ``error``, or None: Hydra, Lightning and jsonargparse wrap what they call."""
    while error is not None and not isinstance(error, AedError):
        error = error.__cause__ or error.__context__
    return error


def in_brief(error: BaseException) -> str:
    """What is wrong with a damaged entry, in one line and without Python's quotes."""
    if isinstance(error, KeyError):
        return f"it has no {error.args[0] if error.args else 'such key'}"
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def entry(name: str) -> Iterator[None]:
    """Says which entry of a file is damaged, whatever its value leads to."""
    try:
        yield
    except AedError:
        raise
    except Exception as error:
        raise AedError(f"its entry {name}: {in_brief(error)}") from error


def place(error: BaseException) -> str:
    """File and line where a user's code raised ``error``: the last of the traceback that is in no installed package."""
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
"""Errors of the system that a user can put right."""


DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}
"""Those that are a disk's or folder's, whichever file was written."""


def reason(error: OSError) -> str:
    """Why the system refuses, in words."""
    return KNOWN.get(error.errno or 0) or error.strerror or str(error)
