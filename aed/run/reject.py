"""Rejection of unseen sounds by a model of a run."""

from collections.abc import Callable

from aed.inference.classifier import Classifier
from aed.run.split_scores import score_classifier
from aed.run.state import Run
from aed.scoring import tables
from aed.scoring.confidence import confidence_and_correctness
from aed.scoring.pictures.rejection import plot_rejection
from aed.scoring.rejection import judge_rejection
from aed.scoring.scores import Scores

FIGURES = ("aurc", "auroc", "fpr95", "unseen_clips", "unseen_rejected")
"""Of :class:`aed.scoring.rejection.Rejection`, as metrics of a run."""


def reject(run: Run, prefix: str, open_model: Callable[[], Classifier], scores: Scores) -> dict[str, float]:
    """How well a model tells its classes from the sounds of ``data.unseen``.

    Empty without unseen sounds and without a threshold. Prints a table and draws a picture.

    Args:
        run: Its data has the unseen clips.
        prefix: Of metrics and picture: ``test``, ``test_int8``.
        open_model: Returns the model; called where there are unseen clips.
        scores: Of known clips, by the rule of the model's card.
    """
    rule, unseen = scores.decision, run.data.unseen_data
    if scores.task == "multi_label" or (unseen is None and rule.unknown_threshold is None):
        return {}
    confidence = None
    if unseen is not None:
        classifier = open_model()
        confidence = score_classifier(classifier, unseen, classifier.card.class_names).scores.clip_score
    _, right = confidence_and_correctness(scores.clip_posteriors.cpu(), scores.clip_target.cpu())
    known, threshold = (scores.clip_score.cpu(), right), rule.unknown_threshold or 0.0
    rejection = judge_rejection(*known, threshold, confidence)
    tables.print_rejection(prefix, rejection)
    picture = run.folder / "plots" / f"{prefix}_rejection.png"
    plot_rejection(picture, *known, threshold, prefix, confidence, run.subject)
    content = rejection.content()
    return {f"{prefix}/{key}": content[key] for key in FIGURES if key in content}
