"""python -m aed.evaluate model=<file> [key=value ...]: scores any model on any split of a data set."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.run import registry
from aed.run.evaluate import EvaluateConfig, Evaluation
from aed.settings import schemas
from aed.settings.entry import clear_errors, resolved, run_task

log = logging.getLogger("aed.evaluate")


def evaluate(
    model_file: str,
    data: Callable[..., PatchDataModule],
    folder: str,
    config: EvaluateConfig = EvaluateConfig(),  # noqa: B008 - frozen
    seed: int = 0,
) -> dict[str, float]:
    """Scores a model on a split, writes metrics and pictures as training does, and returns the metrics.

    Args:
        model_file: ``.ckpt`` or ``.onnx``.
        data: Constructs the DataModule.
        folder: Outputs.
        config: Which clips, and through which programs of the model.
        seed: Of a random split.

    Raises:
        AedError: The model or the data cannot be used.
    """
    with temporary_folder() as build:
        return Evaluation(Path(model_file), partial(data, seed=seed), config, Path(folder), build).run()


SPLIT_KEYS = tuple(f"data.{key}=" for key in ("split", "test_fold", "val_fold", "test_fraction", "val_fraction"))


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="evaluate")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log, "stopped; features computed so far are kept"):
        typed = [item for item in HydraConfig.get().overrides.task if item.startswith(SPLIT_KEYS)]
        if typed and cfg.split_by == "card":
            raise AedError(f"{typed[0]}: the model's own split is used; for another one add split_by=data")
        plain = resolved(cfg)
        # constructed once the model's front end and classes are known
        data = instantiate(plain.pop("data") | {"_partial_": True}, _convert_="all")
        evaluate(data=data, **schemas.split_settings(instantiate(plain, _convert_="all"), EvaluateConfig))


def main() -> None:
    """Entry point."""
    registry.register_data()
    schemas.store("schema", "evaluate", schemas.command(evaluate, EvaluateConfig))
    run_task(_task, log, "evaluate")


if __name__ == "__main__":
    main()
