"""Listen with a model in the browser: microphone or recordings, events to hear, mark and record, thresholds to move.

Usage:
    aed listen model=<int8.onnx> [folder=<folder for sounds>] [key=value ...]

Examples:
    aed listen model=model_int8.onnx
        The very C of a device, as WebAssembly in a page that only this machine can open.
    aed listen model=model_int8.onnx folder=sounds
        Events that you mark and sounds that you record are saved as data=folder reads them.
    aed listen model=model_int8.onnx rule.on=[0.8] rule.window=2 port=8000 browser=false
        By another rule than the card's, at a port of your choice; the address is printed alone.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.listen")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.listen import listen
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        listen(**instantiate(resolved(cfg), _convert_="all"))


def main() -> None:
    """Entry point."""
    run_verb("listen", _task)


if __name__ == "__main__":
    main()
