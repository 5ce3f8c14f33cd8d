"""Makes the models of ``zoo/``: each a recipe of ESC-10, trained on all 400 clips and made int8.

    python scripts/zoo.py [esc10_200k ...]

No clip is left to test on: what a model is worth is what the same recipe has on the five folds (zoo/README.md).
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from aed.base.paths import ZOO_DIR

RECIPES = ("esc10_200k", "esc10_64k")


def main() -> None:
    """Trains the recipes that are named, or all; a model is replaced by a whole one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="recipe", help=" or ".join(RECIPES))
    for recipe in parser.parse_args().recipes:
        with tempfile.TemporaryDirectory(dir=ZOO_DIR) as folder:
            settings = [f"experiment={recipe}", "data.test_fold=null", "stages=[fit,export,quantize]", "threads=1"]
            command = [sys.executable, "-m", "aed.train", *settings, "logger=csv", f"hydra.run.dir={folder}/run"]
            subprocess.run(command, check=True)
            model = shutil.copyfile(Path(folder) / "run" / "model_int8.onnx", Path(folder) / f"{recipe}.onnx")
            model.replace(ZOO_DIR / model.name)


if __name__ == "__main__":
    main()
