"""What all Hydra entry points share: errors a user can put right end in one line and exit code 1."""

import errno
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf, open_dict

from aed import advice
from aed.config import CONFIG_DIR
from aed.errors import find_aed_error


def quoted(value: str) -> str:
    """``value`` as Hydra's command line reads it unchanged, whatever characters it has.

    OmegaConf takes ``${`` for a reference, and backslashes before it for escapes; between quotes Hydra does so with
    backslashes before a quote.
    """
    escaped = re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", escaped)
    return "'" + re.sub(r"(\\+)$", r"\1\1", escaped) + "'"


_PLAIN = {"model": "model_file", "target": "target", "folder": "folder"}
"""Keys whose value is taken as it is typed, and their names in the configuration."""


def as_typed(arguments: list[str]) -> list[str]:
    """Command-line arguments with the values of :data:`_PLAIN` quoted, for Hydra would take them for something else.

    ``model=`` is a group of configs to it, so it becomes ``model_file=``; a comma makes a sweep.
    """
    made = []
    for item in arguments:
        key, equals, value = item.partition("=")
        made.append(f"{_PLAIN[key]}={quoted(value)}" if equals and key in _PLAIN else item)
    return made


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


_FULL = "HYDRA_FULL_ERROR"
"""Variable with which Hydra lets its errors through instead of printing them in its own way."""


def run_task(task: Callable[[], object], log: logging.Logger) -> None:
    """Runs a Hydra task: what is wrong with the command line ends the process as what is wrong later does.

    Args:
        task: A function that ``hydra.main`` decorates.
        log: Of the entry point.
    """
    if os.environ.get(_FULL):  # the user wants to see them whole
        task()
        return
    with clear_errors(log):
        advice.check_words(sys.argv[1:], CONFIG_DIR)
        os.environ[_FULL] = "1"
        try:
            task()
        except Exception as error:
            if known := advice.explain(error, CONFIG_DIR):
                raise known from error
            raise
        finally:
            del os.environ[_FULL]


def resolved(config: DictConfig, **replaced: Any) -> dict[str, Any]:
    """A composed configuration as plain types, checked.

    Args:
        config: As Hydra composed it.
        replaced: Values of keys of the first level that count instead.

    Raises:
        AedError: A value is no choice, or nothing reads a key.
        MissingMandatoryValue: A value is missing.
    """
    advice.check(config, CONFIG_DIR)
    with open_dict(config):
        config.update(replaced)
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
