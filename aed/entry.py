"""What all Hydra entry points share: errors a user can put right end in one line and exit code 1."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from omegaconf import MissingMandatoryValue

from aed.errors import find_aed_error

_SAID = {
    errno.ENOSPC: "no space left",
    errno.EACCES: "no right to it",
    errno.EPERM: "no right to it",
    errno.EROFS: "cannot be written, its disk is read-only",
    errno.ENOTDIR: "a file lies where a folder is needed",
}
"""Errors of the system that a user can put right."""


@contextmanager
def clear_errors(log: logging.Logger, stopped: str = "stopped") -> Iterator[None]:
    """Ends the process: with the message alone for an AedError, with 130 and ``stopped`` for Ctrl-C.

    Args:
        log: Of the entry point.
        stopped: What Ctrl-C leaves.
    """
    try:
        yield
    except KeyboardInterrupt:
        log.error("%s", stopped)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in _SAID:
            raise
        log.error("%s: %s", error.filename or "output", _SAID[error.errno])
        sys.exit(1)
    except MissingMandatoryValue as error:
        key = str(error.full_key or "").replace("model_file", "model")
        log.error("%s: give a value, %s=...", key, key)
        sys.exit(1)
    except Exception as error:
        known = find_aed_error(error)
        if known is None:
            raise
        log.error("%s", known)
        sys.exit(1)
