"""Trains on the real ESC-10 if it is in ``$AED_DATA_DIR`` or can be downloaded, else on made-up sounds; says which.

Published weights are looked for in ``$AED_PRETRAINED_DIR``.
"""

import subprocess
import sys
import time
from pathlib import Path

from aed.base import paths
from aed.base.errors import AedError
from aed.base.processes import PACKAGES, is_available
from aed.datamodules.sources.clips import ESC10
from aed.modules.nets import YAMNet


def choose() -> tuple[str, str]:
    """The experiment and the reason for it; downloads missing data and weights where that is possible."""
    try:
        clips = ESC10().table()
        weights = YAMNet(10).load_pretrained()
    except AedError as error:
        return "demo", f"synthetic sounds, since the real data or weights cannot be used: {error}"
    return "esc10_yamnet", f"{len(clips)} clips of ESC-10 in {paths.data_dir()}, backbone {weights.file}"


def stages() -> list[str]:
    """Arguments that add the cost on an emulated board to the run, if the tools are installed."""
    if missing := [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if not is_available(tool)]:
        packages = " ".join(PACKAGES[tool] for tool in missing)
        print(f"no table of flash, RAM and instructions: {missing} are missing; apt-get install {packages}")
        return []
    return ["operation_mode=chain_tbqeb"]


def main() -> None:
    """Trains, quantises to int8 and benchmarks; further arguments are passed on to ``aed train``."""
    experiment, reason = choose()
    print(f"aed train experiment={experiment}   ({reason})", flush=True)
    folder = Path("outputs") / experiment / time.strftime("%Y-%m-%d_%H-%M-%S")
    arguments = [f"experiment={experiment}", f"hydra.run.dir={folder}", *stages(), *sys.argv[1:]]
    try:
        code = subprocess.call([sys.executable, "-m", "aed.train", *arguments])
    except KeyboardInterrupt:  # the training has said how to go on
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
