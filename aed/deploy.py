"""python -m aed.deploy model=<int8.onnx> target=c|stm32 [folder=<new folder>]: what goes into a firmware project."""

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import hydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.export.graph import load_model, read_model_card
from aed.run import registry
from aed.run.deploy import DeployConfig, check, deliver, test_clips
from aed.run.model_data import model_data
from aed.settings import schemas
from aed.settings.entry import clear_errors, resolved, run_task

log = logging.getLogger("aed.deploy")


def deploy(
    model_file: str,
    folder: str,
    config: DeployConfig,
    data: Callable[..., PatchDataModule] | None = None,
    seed: int = 0,
) -> None:
    """Delivers a model; see :func:`aed.run.deploy.deliver`.

    Args:
        model_file: int8 ``.onnx`` with a model card.
        folder: New, or one of an earlier package.
        config: What is written, and how.
        data: Returns the DataModule on whose test clips the effect of ST's front end is measured; target stm32.
        seed: Of a random split.
    """
    check(config)
    if data is not None and config.target != "stm32":
        raise AedError(f"data: only target stm32 reads it, got target={config.target}; leave data out")
    clips: list[tuple[Path, int]] = []
    if data is not None:
        card = read_model_card(load_model(Path(model_file)), Path(model_file))
        module = model_data(partial(data, seed=seed), card, "test", "card", list(card.class_names))
        module.prepare_data()
        module.setup()
        clips = test_clips(module)
    deliver(Path(model_file), Path(folder), config, clips)


@hydra.main(version_base="1.3", config_path=str(CONFIG_DIR), config_name="deploy")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log):
        plain = resolved(cfg, frontend=None)  # data asks for one; the model's own counts
        given = plain.pop("data")
        plain.pop("frontend")
        data = instantiate(given | {"_partial_": True}, _convert_="all") if given else None
        deploy(data=data, **schemas.split_settings(instantiate(plain, _convert_="all"), DeployConfig))


def main() -> None:
    """Entry point."""
    registry.register_data()
    schemas.store("schema", "deploy", schemas.command(deploy, DeployConfig))
    run_task(_task, log, "deploy")


if __name__ == "__main__":
    main()
