"""Inspect a data set before anything is trained: facts about its recordings, and what would spoil training or scores.

Files that cannot be read, sounds or recordings in two splits, classes without clips, silence, clipping, and more.

A folder instead of settings: what it looks like, on what evidence, and what to type.

Usage:
    aed data inspect data=<name> [key=value ...]
    aed data inspect <folder>

Examples:
    aed data inspect data=folder data.clips.root=sounds
        Your own sounds, a folder per class.
    aed data inspect downloads/UrbanSound8K
        Says that this looks like UrbanSound8K, why, and what to type to train on it.
    aed data inspect data=folder data.clips.root=sounds strict=true html=true report=sounds.json
        Exit code 1 where something would spoil training or scores; all findings as JSON, and as a page, sounds.html.
"""

import logging
import sys
from typing import TYPE_CHECKING

from aed.run.command import run_verb
from aed.run.help import asks_for_help

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.data")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.data import inspect
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        plain = resolved(cfg)
        data = instantiate(plain.pop("data") | {"_partial_": True}, _convert_="all")
        inspect(data=data, **instantiate(plain, _convert_="all"))


def _tell(folder: str) -> None:
    from pathlib import Path

    from aed.run.layouts import tell
    from aed.settings.entry import clear_errors

    logging.basicConfig(format="%(message)s")
    with clear_errors(log):
        tell(Path(folder))


def main() -> None:
    """Entry point."""
    if sys.argv[1:2] == ["inspect"]:
        del sys.argv[1]
        if len(sys.argv) == 2 and not sys.argv[1].startswith("-") and "=" not in sys.argv[1]:
            _tell(sys.argv[1])
            return
    elif not asks_for_help(sys.argv[1:]):
        print("aed data: need inspect, aed data inspect data=<name>; aed data --help explains it", file=sys.stderr)
        sys.exit(2)
    run_verb("data", _task, config_name="inspect")


if __name__ == "__main__":
    main()
