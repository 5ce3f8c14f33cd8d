"""Record sounds by the microphone of a board, over a serial line, into a folder that is trained on; or try it.

The board runs a loop in C that sends what its microphone hears in numbered, checked frames. What is lost is counted
and never joined without a word; sound that cannot be right is refused, with what to do.

Usage:
    aed record firmware=<folder> [rate=<Hz>]
    aed record serial=<port> [folder=<folder for sounds> label=<class>] [key=value ...]

Examples:
    aed record firmware=recorder
        The C for the board: a loop to copy, two files, no heap.
    aed record serial=/dev/ttyACM0
        Try the microphone: rate, level, offset, noise, and what is wrong.
    aed record serial=/dev/ttyACM0 folder=sounds label=dog seconds=2 clips=20
        Twenty clips of a class, one right after the other, in sounds/dog/.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.record")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.record import record
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        record(**instantiate(resolved(cfg), _convert_="all"))


def main() -> None:
    """Entry point."""
    run_verb("record", _task)


if __name__ == "__main__":
    main()
