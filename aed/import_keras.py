"""Import a model that ST's zoo trained with Keras: a checkpoint and an ONNX file with a model card.

Usage:
    aed import_keras <file.h5> ... class_names=[<name>,...] [key=value ...]

Examples:
    aed import_keras best_model.h5 class_names=[dog,rain,siren]
        The classes from the command line.
    aed import_keras best_model.h5 st_config=user_config.yaml
        Front end and classes of the configuration that it was trained with.
    aed import_keras best_model.h5 class_names=classes.txt folder=imported onnx=false
        The classes from a file, a name a line; the checkpoint alone.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.import_keras")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.import_keras import import_keras
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        import_keras(**instantiate(resolved(cfg), _convert_="all"))


def main() -> None:
    """Entry point."""
    run_verb("import_keras", _task, words_are_files=True)


if __name__ == "__main__":
    main()
