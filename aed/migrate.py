"""Migrate a user_config.yaml of ST's model zoo: an experiment, the commands to type, and a word on every key.

The zoo of 2023, its versions 2 and 3, and 4 are known. The list says of each key of the file: mapped, means something
better now, never read by the original, or no counterpart and what to do. Nothing in the file is executed.

Usage:
    aed migrate <user_config.yaml> ... [key=value ...]

Examples:
    aed migrate user_config.yaml
        Writes user_config_aed.yaml; aed train experiment=user_config_aed.yaml trains it.
    aed migrate configs/*.yaml folder=migrated notes=false
        Many at once, with the commands alone.
    aed migrate user_config.yaml exact=true
        With the zoo's own trimming of silence and its random split, which leaks.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.migrate")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.migrate import migrate
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        migrate(**instantiate(resolved(cfg), _convert_="all"))


def main() -> None:
    """Entry point."""
    run_verb("migrate", _task, words_are_files=True)


if __name__ == "__main__":
    main()
