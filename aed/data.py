"""Inspect a data set before anything is trained, or compute its features, on one machine or many.

inspect: facts about its recordings, and what would spoil training or scores: files that cannot be read, sounds or
recordings in two splits, classes without clips, silence, clipping, and more. build: the feature cache.

Usage:
    aed data inspect data=<name> [key=value ...]
    aed data build data=<name> [key=value ...]

Examples:
    aed data inspect data=folder data.clips.root=sounds
        Your own sounds, a folder per class.
    aed data inspect data=folder data.clips.root=sounds strict=true report=sounds.json
        Exit code 1 where something would spoil training or scores; all findings as JSON.
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


def main() -> None:
    """Entry point."""
    verb = VERBS[0]
    if sys.argv[1:2] and sys.argv[1] in VERBS:
        verb = sys.argv.pop(1)
    elif not asks_for_help(sys.argv[1:]):
        print("aed data: need inspect or build, aed data inspect data=<name>; aed data --help", file=sys.stderr)
        sys.exit(2)
    run_verb("data", partial(_task, verb), config_name=verb)


if __name__ == "__main__":
    main()
