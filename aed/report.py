"""Write the report of a run as one HTML file to look at, to listen to and to pass on; it needs no network.

It has the scores of float, int8 and C with intervals, the confusion matrix with the clips of each cell, the worst clips
with their sound, log-mel and posteriors, a map of the clips, the epochs, int8 layer by layer, the memory of boards, and
where all comes from. Of streams: misses against false alarms, a timeline, and the false alarms to hear.

Usage:
    aed report <folder> ... [key=value ...]

Examples:
    aed report outputs/esc10_yamnet/2026-01-31_12-00-00
        Of a run: report.html in its folder.
    aed report cv/first cv/second audio=sounds output=folds.html
        Two multiruns, say of five folds, compared; their recordings lie in sounds/ now.
    aed report heard
        Of what aed detect results=heard left; the folder of aed search: score against costs, trials, winners.
"""

import logging
from typing import TYPE_CHECKING

from aed.run.command import run_verb

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger("aed.report")


def _task(cfg: "DictConfig") -> None:
    from hydra.utils import instantiate

    from aed.run.report.write import report_folders
    from aed.settings.entry import clear_errors, resolved

    with clear_errors(log):
        report_folders(**instantiate(resolved(cfg), _convert_="all"))


def main() -> None:
    """Entry point."""
    run_verb("report", _task, words_are_files=True)


if __name__ == "__main__":
    main()
