"""The scores of a model on a split, the same for every kind of model and program, and the files they leave."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aed.base.spacing import evenly
from aed.datamodules.patches import PatchDataset
from aed.export.card import ModelCard
from aed.export.fidelity import sqnr_db
from aed.inference.classifier import Classifier, to_nearness, to_posteriors
from aed.scoring import tables
from aed.scoring.confidence import cross_entropy
from aed.scoring.levels import LEVELS
from aed.scoring.pictures.split import plot_scores
from aed.scoring.scores import Scores, score

CHUNK = 512
"""Patches in memory at once."""


@dataclass(frozen=True)
class Result:
    """Outputs of a program of a model for a split, and their scores.

    Args:
        scores: Patch and clip metrics.
        outputs: ``(num_patches, num_outputs)``; see :meth:`aed.inference.classifier.Classifier.outputs`.
        posteriors: ``(num_patches, num_classes)``.
        loss: Mean cross entropy of the patches.
        nearness: ``(num_patches,)``, of a model with means of its classes.
    """

    scores: Scores
    outputs: npt.NDArray[np.float32]
    posteriors: npt.NDArray[np.float32]
    loss: float
    nearness: npt.NDArray[np.float32] | None = None

    def metrics(self, prefix: str) -> dict[str, float]:
        """Flat, as in ``metrics.json``."""
        return {f"{prefix}/{key}": value for key, value in self.scores.metrics.items()} | {f"{prefix}/loss": self.loss}


def score_classifier(classifier: Classifier, data: PatchDataset, class_names: Sequence[str]) -> Result:
    """The result of ``classifier`` for all patches of ``data``, by the decision rule of its card.

    Args:
        classifier: Any model.
        data: The split.
        class_names: In the order of the outputs.
    """
    outputs = np.concatenate([classifier.outputs(patches) for patches in chunks(data)])
    return score_outputs(classifier.card, outputs, data.patch_targets, data.clip, class_names)


def score_outputs(
    card: ModelCard,
    outputs: npt.NDArray[np.float32],
    target: npt.NDArray[Any],
    clip: npt.NDArray[np.int64],
    class_names: Sequence[str],
) -> Result:
    """Scores of model outputs, by the decision rule of the model's card.

    Args:
        card: Tells logits from probabilities.
        outputs: ``(num_patches, num_outputs)``.
        target: ``(num_patches,)`` or ``(num_patches, num_classes)``.
        clip: ``(num_patches,)``, the clip of each patch.
        class_names: In the order of the outputs.
    """
    posteriors = torch.from_numpy(to_posteriors(card, outputs))
    truth = torch.from_numpy(np.ascontiguousarray(target))
    nearness = to_nearness(card, outputs)
    near = None if nearness is None else torch.from_numpy(nearness)
    scores = score(posteriors, truth, torch.from_numpy(clip), class_names, card.decision, near)
    return Result(scores, outputs, posteriors.numpy(), float(cross_entropy(posteriors, truth)), nearness)


def chunks(data: PatchDataset) -> Iterator[npt.NDArray[np.float32]]:
    """All patches ``(N, 1, n_mels, patch_frames)``, at most :data:`CHUNK` at once."""
    for first in range(0, len(data), CHUNK):
        yield data.__getitems__(range(first, min(first + CHUNK, len(data)))).patches.numpy()


def some_patches(data: PatchDataset, most: int) -> npt.NDArray[np.float32]:
    """At most ``most`` patches ``(N, 1, n_mels, patch_frames)``, evenly over ``data``."""
    patches: npt.NDArray[np.float32] = data.__getitems__(evenly(len(data), most)).patches.numpy()
    return patches


def agreement(one: Result, other: Result) -> dict[str, float]:
    """How alike two programs of one model are on the same clips: shares of equal decisions and of equal outputs."""
    same = {"clip_agreement": _share_equal(one.scores.clip_decided, other.scores.clip_decided)}
    if one.outputs.shape == other.outputs.shape:
        same["equal_outputs"] = float((one.outputs == other.outputs).all(axis=1).mean())
    return same


def _share_equal(one: Tensor, other: Tensor) -> float:
    return float((one == other).reshape(len(one), -1).all(dim=1).float().mean())


def compare(card: ModelCard, in_float: Result, int8: Result, names: Sequence[str]) -> dict[str, Any]:
    """Float beside int8 on one split: accuracies, agreement, SQNR at the output, the clips decided otherwise.

    Args:
        card: Of the model.
        in_float: Of the float model.
        int8: Of the int8 model, on the same split.
        names: File names of the clips.
    """
    logits, steps = (part.outputs[:, : len(card.class_names)] for part in (in_float, int8))
    sqnr = sqnr_db(logits, steps - logits)
    clips = [part.scores.clip_decided for part in (in_float, int8)]
    patches = [
        card.decision.decide(
            torch.from_numpy(part.posteriors),
            card.task,
            None if part.nearness is None else torch.from_numpy(part.nearness),
        )
        for part in (in_float, int8)
    ]
    labels = [tables.labels_of(rows, card.class_names) for rows in (in_float.scores.clip_target, *clips)]
    return {
        "clips": len(names),
        "patches": len(in_float.outputs),
        "float": {level: in_float.scores.metrics[level] for level in LEVELS[card.task]},
        "int8": {level: int8.scores.metrics[level] for level in LEVELS[card.task]},
        "sqnr_db": {"median": float(np.median(sqnr)), "5%": float(np.percentile(sqnr, 5)), "least": float(sqnr.min())},
        "patch_agreement": _share_equal(*patches),
        "clip_agreement": _share_equal(*clips),
        "flipped_clips": [
            {"filename": name, "category": truth, "float": before, "int8": after}
            for name, truth, before, after in zip(names, *labels, strict=True)
            if before != after
        ],
    }


def write_scores(
    folder: Path, prefix: str, scores: Scores, names: Sequence[str], class_names: Sequence[str], subject: str
) -> None:
    """Writes a row per clip and draws what fits the task.

    Args:
        folder: Of the run.
        prefix: ``test``, ``val_int8``, ...
        scores: Of the split.
        names: File names of its clips.
        class_names: In the order of the outputs.
        subject: Model and data set, for titles.
    """
    tables.write_clips(folder / f"{prefix}_clips.csv", names, scores, class_names)
    plot_scores(folder / "plots", prefix, scores, class_names, subject)
