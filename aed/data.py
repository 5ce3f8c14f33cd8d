"""Inspect a data set before anything is trained, or compute its features, on one machine or many.

inspect: facts about its recordings, and what would spoil training or scores: files that cannot be read, sounds or
recordings in two splits, classes without clips, silence, clipping, and more; strict=true ends with exit code 1 where
there is such. Of a folder instead of settings: what it looks like, on what evidence, and what to type.

build: the feature cache, before a training needs it.

Usage:
    aed data inspect data=<name> [key=value ...]
    aed data inspect <folder>
    aed data build data=<name> [key=value ...]

Examples:
    aed data inspect data=folder data.clips.root=sounds
        Your own sounds, a folder per class.
    aed data inspect downloads/UrbanSound8K
        Says that this looks like UrbanSound8K, why, and what to type to train on it.
    aed data build data=folder data.clips.root=sounds scheduler=tcp://10.0.0.1:8786 data.cache_dir=/shared/cache
        The features of a large set by the machines of a Dask scheduler.
"""

import logging
import sys
from functools import partial
from typing import TYPE_CHECKING

from aed.run.command import run_verb
from aed.run.help import asks_for_help

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.data")


VERBS = ("inspect", "build")


def _task(verb: str, cfg: "DictConfig") -> None:
    from hydra.utils import get_method, instantiate

    from aed.run.registry import FUNCTIONS
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log, "stopped; features in the cache stay"):
        plain = resolved(cfg)
        data = instantiate(plain.pop("data") | {"_partial_": True}, _convert_="all")
        get_method(FUNCTIONS[verb])(data=data, **instantiate(plain, _convert_="all"))


def _tell(folder: str) -> None:
    from pathlib import Path

    from aed.run.layouts import tell
    from aed.settings.entry import clear_errors

    logging.basicConfig(format="%(message)s")
    with clear_errors(log):
        tell(Path(folder))


def main() -> None:
    """Entry point."""
    verb = VERBS[0]
    if sys.argv[1:2] and sys.argv[1] in VERBS:
        verb = sys.argv.pop(1)
        if verb == "inspect" and len(sys.argv) == 2 and not sys.argv[1].startswith("-") and "=" not in sys.argv[1]:
            _tell(sys.argv[1])
            return
    elif not asks_for_help(sys.argv[1:]):
        print("aed data: need inspect or build, aed data inspect data=<name>; aed data --help", file=sys.stderr)
        sys.exit(2)
    run_verb("data", partial(_task, verb), config_name=verb)


if __name__ == "__main__":
    main()
