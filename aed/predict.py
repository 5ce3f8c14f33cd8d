"""Name the sounds in recordings. Needs the model file only.

Usage:
    aed predict model=<file> <recording, folder or glob> ... [key=value ...]

Examples:
    aed predict model=yamnet_audioset kitchen.wav
        Google's YAMNet with its 521 classes; nothing has to be trained.
    aed predict model=model_int8.onnx recordings/*.wav format=csv output=sounds.csv
        A model of your own on many recordings, written as a table.
    aed predict model=model_int8.onnx street.flac timeline=true
        One row per patch: which sound at which second.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.predict")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.predict import predict_files
    from aed.run.program_choice import ProgramConfig
    from aed.settings.entry import clear_errors, resolved
    from aed.settings.schemas import split_settings

    with clear_errors(log):
        predict_files(**split_settings(instantiate(resolved(cfg), _convert_="all"), ProgramConfig))


def main() -> None:
    """Entry point."""
    run_verb("predict", _task, words_are_files=True)


if __name__ == "__main__":
    main()
