"""Say which of several runs is better on the same test clips, and how sure that is.

Runs are paired by clips: McNemar's exact test, 95 % intervals of the differences (Tango's; of several seeds the
bootstrap's over clips and seeds), float and int8, each class and fold, what the nets cost beside. All are compared
with the first.

Usage:
    aed compare <folder of a run or multirun> <folder> ... [key=value ...]

Examples:
    aed compare outputs/esc10_yamnet/<date_time> outputs/esc10_dscnn/<date_time>
        Two runs with the same test clips.
    aed compare multirun/esc10_yamnet/<date_time> multirun/esc10_dscnn/<date_time> output=comparison
        Two cross-validations over folds and seeds; tables as csv, and a picture.
    aed compare runs/small runs/medium runs/large draws=100000
        Several beside the first, by more resamples.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.compare")


def _task(cfg: "DictConfig") -> None:
    from aed.run.compare import compare_runs
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        compare_runs(**resolved(cfg))


def main() -> None:
    """Entry point."""
    run_verb("compare", _task, words_are_files=True)


if __name__ == "__main__":
    main()
