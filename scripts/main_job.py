"""Runs the main job on the real ESC-10 where it is to be had, else the demo, says which and why, and what it costs."""

import os
import subprocess
import sys
import time
from pathlib import Path

from aed.base import paths
from aed.base.errors import AedError
from aed.base.processes import PACKAGES, found
from aed.datamodules.sources.clips import ESC10
from aed.modules.nets import YAMNet

SHARED = Path(__file__).resolve().parents[2] / "shared"


def choose() -> tuple[str, str]:
    """The experiment, and why; downloads what it needs where it can."""
    for variable, folder in (("AED_DATA_DIR", "datasets"), ("AED_PRETRAINED_DIR", "pretrained")):
        if variable not in os.environ and (SHARED / folder).is_dir():
            os.environ[variable] = str(SHARED / folder)
    try:
        clips = ESC10().table()
        weights = YAMNet(10).load_pretrained()
    except AedError as error:
        return "demo", f"sounds made by the project, for the real data are not to be had: {error}"
    return "esc10_yamnet", f"{len(clips)} clips of ESC-10 in {paths.data_dir()}, backbone {weights.file}"


def stages() -> list[str]:
    """What further arguments make the training end with the cost on an emulated board, where the tools are there."""
    if missing := [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm") if not found(tool)]:
        packages = " ".join(PACKAGES[tool] for tool in missing)
        print(f"no table of flash, RAM and instructions: {missing} are missing; apt-get install {packages}")
        return []
    return ["operation_mode=chain_tbqeb"]


def main() -> None:
    """Trains, makes int8 and benchmarks it; further arguments are passed on."""
    experiment, reason = choose()
    print(f"python -m aed.train experiment={experiment}   ({reason})", flush=True)
    folder = Path("outputs") / experiment / time.strftime("%Y-%m-%d_%H-%M-%S")
    arguments = [f"experiment={experiment}", f"hydra.run.dir={folder}", *stages(), *sys.argv[1:]]
    try:
        code = subprocess.call([sys.executable, "-m", "aed.train", *arguments])
    except KeyboardInterrupt:  # the training has said how to go on
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    main()
