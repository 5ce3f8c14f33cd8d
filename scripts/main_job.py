"""Runs the main job on the real ESC-10 where it is to be had, else the demo, and says which and why."""

import os
import sys
from pathlib import Path

from aed import paths
from aed.datamodules.clips import ESC10
from aed.errors import AedError
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


def main() -> None:
    """Replaces this process by the training command; further arguments are passed on."""
    experiment, reason = choose()
    command = [sys.executable, "-m", "aed.train", f"experiment={experiment}", *sys.argv[1:]]
    print(f"python -m aed.train experiment={experiment}   ({reason})", flush=True)
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
