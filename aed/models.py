"""List the shipped nets: size, operations, memory, accuracy and the experiment that trains each.

Usage:
    aed models [format=table|json]

Examples:
    aed models
        A table.
    aed models format=json
        All that is known of each net, with the command that measured its accuracy.
    aed models format=json > nets.json
        The same in a file.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.models")


def _task(cfg: "DictConfig") -> None:
    from aed.run.models import show
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        show(**resolved(cfg))


def main() -> None:
    """Entry point."""
    run_verb("models", _task)


if __name__ == "__main__":
    main()
