"""Score a model on a split of a data set: metrics and pictures, as training writes them.

Usage:
    aed evaluate model=<file> [data=<name>] [split=<name>] [key=value ...]

Examples:
    aed evaluate model=model_int8.onnx
        The test clips that the model card lists.
    aed evaluate model=model_int8.onnx data=folder data.clips.root=sounds split=all
        Every clip of your own sounds, a folder per class.
    aed evaluate model=model_int8.onnx on=emulator max_clips=20
        20 of the clips through the C code on an emulated board, beside ONNX Runtime.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.evaluate")

SPLIT_KEYS = tuple(f"data.{key}=" for key in ("split", "test_fold", "val_fold", "test_fraction", "val_fraction"))


def _task(cfg: "DictConfig") -> None:
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import instantiate

    from aed.base.errors import AedError
    from aed.run.evaluate import EvaluateConfig, evaluate_file
    from aed.settings.entry import clear_errors, resolved
    from aed.settings.schemas import split_settings

    with clear_errors(log, "stopped; features in the cache stay"):
        typed = [item for item in HydraConfig.get().overrides.task if item.startswith(SPLIT_KEYS)]
        if typed and cfg.split_by == "card":
            raise AedError(f"{typed[0]}: the split of the model card is used; for another split add split_by=data")
        plain = resolved(cfg)
        # partial: front end and classes come from the model card
        data = instantiate(plain.pop("data") | {"_partial_": True}, _convert_="all")
        evaluate_file(data=data, **split_settings(instantiate(plain, _convert_="all"), EvaluateConfig))


def main() -> None:
    """Entry point."""
    run_verb("evaluate", _task)


if __name__ == "__main__":
    main()
