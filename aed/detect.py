"""Find the events in recordings or in a stream: what begins and ends when. Needs the model file only.

Usage:
    aed detect model=<file> <recording, folder or glob> ... [key=value ...]

Examples:
    aed detect model=model_int8.onnx recordings/ format=dcase output=events.tsv
        Events of many recordings, by the event rule in the model's card.
    aed detect model=model_int8.onnx recordings/ reference=labels.tsv results=heard scores=scores.json
        How many events are found, and how many alarms an hour are false; aed report heard makes a page of it.
    aed detect action=fit model=m.onnx recordings/ reference=labels.tsv alarms_per_hour=1 output=fitted.onnx
        The rule that finds the most within a budget of alarms, in the card of a copy of the model.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.detect")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.detect import detect_files
    from aed.run.rule_fit import FitConfig
    from aed.settings.entry import clear_errors, resolved
    from aed.settings.schemas import split_settings

    with clear_errors(log):
        detect_files(**split_settings(instantiate(resolved(cfg), _convert_="all"), FitConfig))


def main() -> None:
    """Entry point."""
    run_verb("detect", _task, words_are_files=True)


if __name__ == "__main__":
    main()
