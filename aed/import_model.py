"""Import a model of Keras or TensorFlow Lite: an ONNX file with a model card, as all other verbs take it.

Nothing of a file is run, and TensorFlow is not needed. YAMNet and MiniResNet of ST's zoo come as .keras or .h5, any net
of common operators as .tflite; an int8 .tflite keeps its own int8 steps.

Usage:
    aed import_model <file> ... [class_names=[<name>,...]] [key=value ...]

Examples:
    aed import_model best_model.keras st_config=user_config.yaml
        Front end and classes of the configuration that it was trained with.
    aed import_model quantized_model.tflite st_config=user_config.yaml c=firmware
        From an int8 .tflite to a C library in one command.
    aed import_model best_model.h5 class_names=classes.txt calibrate=sounds c=firmware
        The classes from a file, a name a line; to int8 with recordings of a folder, and to C.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.import_model")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.importing.verb import import_model
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        import_model(**instantiate(resolved(cfg), _convert_="all"))


def main() -> None:
    """Entry point."""
    run_verb("import_model", _task, words_are_files=True)


if __name__ == "__main__":
    main()
