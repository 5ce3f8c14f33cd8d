"""Names of the main metrics; light, for those who print or read scores without computing any."""

import re

from aed.base.errors import AedError
from aed.scoring.decision import Task

LEVELS: dict[Task, tuple[str, str]] = {
    "single_label": ("patch_acc", "clip_acc"),
    "multi_label": ("patch_map", "clip_map"),
}
"""Main metrics of a split, over patches and over clips: accuracy or mean average precision."""

HEADLINE: dict[Task, str] = {task: levels[1] for task, levels in LEVELS.items()}
"""The metric that models of a task are compared by."""

STREAM_RECALL = "val/recall_at_<N>_per_hour"
"""The metric of :func:`alarms_of`."""


def alarms_of(metric: str) -> float | None:
    """N of ``val/recall_at_<N>_per_hour``: share of events found with N alarms an hour; None: another metric.

    Raises:
        AedError: N is no number over 0.
    """
    if (found := re.fullmatch(r"val/recall_at_(.*)_per_hour", metric)) is None:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", found[1], re.ASCII) or not float(found[1]) > 0:
        raise AedError(f"{metric}: need a number of alarms over 0, as in val/recall_at_1_per_hour, got {found[1]!r}")
    return float(found[1])
