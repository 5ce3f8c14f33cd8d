"""All pictures of a model's scores on a split."""

from collections.abc import Sequence
from pathlib import Path

from aed.scoring.pictures.canvas import plural, save, title_of
from aed.scoring.pictures.classes import classes_figure, f1_figure
from aed.scoring.pictures.confusion import confusion_figure
from aed.scoring.pictures.reliability import reliability_figure
from aed.scoring.scores import Scores


def plot_scores(folder: Path, prefix: str, scores: Scores, class_names: Sequence[str], subject: str = "") -> None:
    """Draws what fits the task, into files that begin with the prefix.

    Single-label: ``_patch_confusion``, ``_clip_confusion``. Multi-label: ``_clip_ap``, ``_clip_f1``. Both:
    ``_clip_reliability``.

    Args:
        folder: Of the pictures.
        prefix: ``test``, ``val_int8``, ...
        scores: Of the split.
        class_names: In the order of the posteriors.
        subject: Model and data set, ``YAMNet on esc10``.
    """
    posteriors, target = scores.clip_posteriors.cpu(), scores.clip_target.cpu()
    texts, clips = [subject, *class_names], plural(len(target), "clip")
    for unit, confusion in (("patch", scores.patch_confusion), ("clip", scores.clip_confusion)):
        if confusion is not None:
            counts = confusion.cpu().numpy()
            accuracy = f"accuracy {100 * scores.metrics[f'{unit}_acc']:.2f} %"
            title = title_of(subject, prefix, plural(int(counts.sum()), unit), accuracy)
            path = folder / f"{prefix}_{unit}_confusion.png"
            save(path, texts, lambda c=counts, t=title: confusion_figure(c, class_names, t))  # type: ignore[misc]
    if scores.task == "multi_label":
        mark = "clip_ap/"
        precisions = {key.removeprefix(mark): v for key, v in scores.metrics.items() if key.startswith(mark)}
        title = title_of(subject, prefix, clips, "average precision")
        save(folder / f"{prefix}_clip_ap.png", texts, lambda: classes_figure(precisions, title))
        thresholds = scores.decision.thresholds_of(len(class_names))
        f1_title = title_of(subject, prefix, clips, "F1 of each class")
        save(
            folder / f"{prefix}_clip_f1.png",
            texts,
            lambda: f1_figure(posteriors, target, class_names, thresholds, f1_title),
        )
    title_ = title_of(subject, prefix, clips)
    save(folder / f"{prefix}_clip_reliability.png", texts, lambda: reliability_figure(posteriors, target, title_))
