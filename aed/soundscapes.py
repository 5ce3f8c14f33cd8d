"""Write streams to score on: clips of a split as events in background sound, hours of it, and what occurs when.

The background is coloured noise, or ambient recordings of yours that training and test never share. With
events_a_minute=0 nothing happens: hours to count false alarms in.

Usage:
    aed soundscapes output=<folder> data=<name> [split=<name>] [key=value ...]

Examples:
    aed soundscapes output=streams data=esc10 data.test_fold=1 hours=1
        An hour with test clips of fold 1 in noise; aed detect reference=streams/reference.tsv scores a model on it.
    aed soundscapes output=streams data=esc10 events_a_minute=12 longest_event_s=2 ambient=recordings
        More and shorter events, in your recordings and in noise.
    aed soundscapes output=quiet data=esc10 events_a_minute=0 hours=3 ambient=recordings
        Three hours in which nothing happens.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.soundscapes")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.datamodules.soundscapes.mixing import SoundscapeConfig
    from aed.run.soundscapes import write_soundscapes
    from aed.settings.entry import clear_errors, resolved
    from aed.settings.schemas import split_settings

    with clear_errors(log):
        plain = resolved(cfg)
        data = instantiate(plain.pop("data") | {"_partial_": True}, _convert_="all")
        write_soundscapes(data=data, **split_settings(instantiate(plain, _convert_="all"), SoundscapeConfig))


def main() -> None:
    """Entry point."""
    run_verb("soundscapes", _task)


if __name__ == "__main__":
    main()
