"""Find the best net for a board: trainings within its flash, RAM and cycles, chosen by an optimiser, tested once.

Points that cannot fit are not trained. The best nets by their validation clips are measured on an emulated board, and
only those that fit are tested; the best one is written as C. What is no key of the search is one of aed train, for
every trial. The same command goes on where a search has stopped, and joins one that runs.

Usage:
    aed search board=<name> [key=value ...] [key of aed train=value ...]

Examples:
    aed search board=nucleo-u575zi-q flash_kib=128 ram_kib=64
        The best net for ESC-10 in so much memory, as a C library.
    aed search board=nucleo-u575zi-q data=folder data.clips.root=sounds trials=60 processes=2
        Your own sounds, on two processes.
    aed search board=nucleo-g474re experiment=esc10_dscnn metric=val/recall_at_10_per_hour
        One net, by the events that it finds in streams with ten false alarms an hour.
"""

import logging
import sys
from typing import TYPE_CHECKING

from aed.run.command import run_verb
from aed.settings.command_line import with_others

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.search")


def _task(cfg: "DictConfig") -> None:
    from aed.run.search.verb import search
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log, "stopped; the same command goes on"):
        search(**resolved(cfg))


def main() -> None:
    """Entry point."""
    from aed.run.help import entries

    sys.argv[1:] = with_others(sys.argv[1:], {entry["key"] for entry in entries("search")}, "training")
    run_verb("search", _task)


if __name__ == "__main__":
    main()
