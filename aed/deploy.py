"""python -m aed.deploy model=<int8.onnx> target=c [folder=<new folder>]: what goes into a firmware project."""

import logging
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from aed import config
from aed.delivery import DeployConfig, deliver
from aed.entry import as_typed, clear_errors

log = logging.getLogger("aed.deploy")


def deploy(model_file: str, folder: str, config: DeployConfig) -> None:
    """Delivers a model; see :func:`aed.delivery.deliver`.

    Args:
        model_file: int8 ``.onnx`` with a model card.
        folder: New, or one of an earlier package.
        config: What is made of it.
    """
    deliver(Path(model_file), Path(folder), config)


@hydra.main(version_base="1.3", config_path=str(config.CONFIG_DIR), config_name="deploy")
def _task(cfg: DictConfig) -> None:
    with clear_errors(log):
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        assert isinstance(plain, dict)
        deploy(**config.split_settings(plain, DeployConfig))  # type: ignore[arg-type]


def main() -> None:
    """Entry point."""
    sys.argv[1:] = as_typed(sys.argv[1:])
    config.store("schema", "deploy", config.command(deploy, DeployConfig))
    _task()


if __name__ == "__main__":
    main()
