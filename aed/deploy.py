"""Write what goes into a firmware project, a C library or a package for ST's firmware; or a page that listens.

Usage:
    aed deploy model=<int8.onnx> [target=c|stm32|web] [folder=<new folder>] [key=value ...]

Examples:
    aed deploy model=model_int8.onnx folder=firmware
        C99 without dependencies: front end, net and decision, bit for bit like ONNX Runtime.
    aed deploy model=model_int8.onnx target=stm32 stm32.board=b-u585i-iot02a
        Network and front end for ST's audio firmware; needs ST's tool.
    aed deploy model=model_int8.onnx target=web folder=demo
        The same C as WebAssembly in a page that listens: a folder for any web server, also for phones.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.deploy")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.deploy import DeployConfig, deploy_file
    from aed.settings.entry import clear_errors, resolved
    from aed.settings.schemas import split_settings

    with clear_errors(log):
        plain = resolved(cfg, frontend=None)  # data refers to one; the model's own is used
        del plain["frontend"]
        node = plain.pop("data")
        data = instantiate(node | {"_partial_": True}, _convert_="all") if node else None
        deploy_file(data=data, **split_settings(instantiate(plain, _convert_="all"), DeployConfig))


def main() -> None:
    """Entry point."""
    run_verb("deploy", _task)


if __name__ == "__main__":
    main()
