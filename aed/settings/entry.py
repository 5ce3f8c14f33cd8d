"""Start of a Hydra task: an error that a user can put right ends it with one line and exit code 1."""

import io
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import hydra
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf, open_dict

from aed.base.errors import KNOWN, find_aed_error
from aed.base.paths import CONFIG_DIR
from aed.base.zoo import model_file
from aed.settings import hydra_errors
from aed.settings.own_experiment import with_own_experiments
from aed.settings.typed import as_typed


@contextmanager
def clear_errors(log: logging.Logger, stopped: str = "stopped") -> Iterator[None]:
    """Ends the process: with the message alone for an error of :func:`in_words`, with 130 and ``stopped`` for Ctrl-C.

    Args:
        log: Of the entry point.
        stopped: Message after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # for names outside the output's encoding, as on Windows in a pipe
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        yield
    except KeyboardInterrupt:
        log.error("%s", stopped)
        sys.exit(130)
    except BrokenPipeError:  # the reader of a pipe has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        words = in_words(error)
        if words is None:
            raise
        log.error("%s", words)
        sys.exit(1)


def in_words(error: BaseException) -> str | None:
    """Message for an error that the user can put right; None for others, whose traceback tells more."""
    if known := find_aed_error(error):  # first: a WriteError is an OSError too
        return str(known)
    if isinstance(error, MissingMandatoryValue):
        key = str(error.full_key or "").replace("model_file", "model")
        return f"{key}: give a value, {key}=..."
    if isinstance(error, OSError) and error.errno in KNOWN:
        return f"{error.filename or 'output'}: {KNOWN[error.errno]}"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, sqlite3.Error):
        cause = cause.__cause__ or cause.__context__
    return f"MLflow's database: {cause}; logger=csv does without it" if cause else None


_FULL = "HYDRA_FULL_ERROR"
"""Variable with which Hydra lets its errors through instead of printing them in its own way."""


def run_task(task: Callable[[DictConfig], object], log: logging.Logger, config_name: str) -> None:
    """Runs a task of Hydra: errors of the command line end the process as later errors do.

    Args:
        task: Gets the composed configuration.
        log: Of the entry point.
        config_name: The primary configuration.
    """
    hydra_task = hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name=config_name)(task)
    if os.environ.get(_FULL):  # the user wants to see them whole
        sys.argv[1:] = as_typed(with_own_experiments(sys.argv[1:], CONFIG_DIR), config_name)
        hydra_task()
        return
    with clear_errors(log):
        hydra_errors.check_words(sys.argv[1:], CONFIG_DIR)
        os.environ[_FULL] = "1"
        try:
            sys.argv[1:] = as_typed(with_own_experiments(sys.argv[1:], CONFIG_DIR), config_name)
            hydra_task()
        except Exception as error:
            if known := hydra_errors.explain(error, CONFIG_DIR):
                raise known from error
            raise
        finally:
            del os.environ[_FULL]


def resolved(config: DictConfig, **replaced: Any) -> dict[str, Any]:
    """A composed configuration as plain types, checked; the name of a shipped model is its file.

    Args:
        config: As Hydra composed it.
        replaced: New values of keys of the first level.

    Raises:
        AedError: A value is no choice, or nothing reads a key.
        MissingMandatoryValue: A value is missing.
    """
    hydra_errors.check(config, CONFIG_DIR)
    with open_dict(config):
        config.update(replaced)
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): model_file(value) if key == "model_file" else value for key, value in plain.items()}
