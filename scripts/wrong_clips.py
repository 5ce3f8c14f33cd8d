"""The test clips that every training of a recipe decides wrongly, as a table in Markdown.

    python scripts/wrong_clips.py [--model float] FOLDER ...

A folder is that of a multirun over folds and seeds. A clip is listed where all seeds are wrong; of each seed stands
the class that it named.
"""

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

from aed.base.errors import AedError
from aed.run.tested import FILES, read_tested, runs_in


def wrong(folder: Path, model: str) -> Iterator[tuple[str, str, str, str]]:
    """Clip, its fold, its class, and what the seeds named in place of it, of each clip that all seeds decide wrongly.

    Args:
        folder: Of a run or multirun.
        model: ``float`` or ``int8``.

    Raises:
        AedError: It is no run, has no such model, or its jobs are no repetitions of one recipe.
    """
    tested = read_tested(folder, model)
    if tested is None:
        raise AedError(f"{folder}: no {model} model was tested; run its stages quantize and evaluate, or --model float")
    named = dict[str, list[str]]()
    for run in runs_in(folder):
        with (run / f"{FILES[model]}_clips.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                named.setdefault(row["filename"], []).append(row["decided"])
    for (clip, label), fold, right in zip(tested.labels.items(), tested.folds, tested.right, strict=True):
        if not right.any():
            yield clip, fold, label, ", ".join(sorted(set(named[clip])))


def main() -> None:
    """Prints a table for all folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=FILES, default="int8")
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    print("| recipe | clip | fold | class | named |\n|---|---|---|---|---|")
    for folder in options.folders:
        for row in wrong(folder, options.model):
            print(f"| {folder.name} | {' | '.join(row)} |")


if __name__ == "__main__":
    main()
