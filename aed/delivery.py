"""What goes to a board: the deploy stage."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hydra.utils import instantiate

from aed.conversion import INT8
from aed.errors import AedError
from aed.export.graph import load_model, read_model_card
from aed.state import Run
from aed.target.firmware import write_firmware

log = logging.getLogger(__name__)

TARGETS = ("c",)


@dataclass(frozen=True, kw_only=True)
class DeployConfig:
    """What is made of a model.

    Args:
        target: ``c``: a library of C for any project.
    """

    target: Literal["c"] = "c"


def deploy(run: Run) -> None:
    """The stage: delivers ``model_int8.onnx`` of the run's folder."""
    path = run.folder / INT8
    if not path.is_file():
        raise AedError(f"stages: deploy needs {INT8}; add quantize before it")
    config: DeployConfig = instantiate(run.config.deploy, _convert_="all")
    deliver(path, run.folder / "target" / config.target, config)


def deliver(model: Path, folder: Path, config: DeployConfig) -> None:
    """Writes the package for a board.

    Args:
        model: int8 ``.onnx`` with a model card.
        folder: New, or one of an earlier package, which is replaced once the new one is whole.
        config: What it is.

    Raises:
        AedError: The model has no C form, or the folder holds something else.
    """
    if config.target not in TARGETS:
        raise AedError(f"target: need one of {TARGETS}, got {config.target!r}")
    graph = load_model(model)
    write_firmware(graph, read_model_card(graph, model), folder, model.stem)
    log.info("%s: add src/ and include/ to your project; README.md says how", folder)
