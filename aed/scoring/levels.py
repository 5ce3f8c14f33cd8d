"""Names of the main metrics; light, for those who print or read scores without computing any."""

from aed.scoring.decision import Task

LEVELS: dict[Task, tuple[str, str]] = {
    "single_label": ("patch_acc", "clip_acc"),
    "multi_label": ("patch_map", "clip_map"),
}
"""Main metrics of a split, over patches and over clips: accuracy or mean average precision."""

HEADLINE: dict[Task, str] = {task: levels[1] for task, levels in LEVELS.items()}
"""The metric that models of a task are compared by."""
