"""Means of classes, and what the nearness to them is worth: found by leaving whole classes out of training.

A score that parts known from unseen sounds has to be chosen on sounds the model has not met. Validation has none, so
each class in turn plays them: the last layer is trained anew without it, on the embeddings of training patches, and
its validation clips should score lower than all others. To drop only its output instead would flatter the posterior,
for a layer that has met the class keeps its other outputs low.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from aed.base.errors import AedError
from aed.base.spacing import evenly
from aed.dsp.aggregate import Aggregate, clip_posteriors
from aed.scoring.nearness import Floats, Int8, blend, cosines, mean_direction

WEIGHTS = (0.0, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)
"""Weights of the nearness that are tried; cosines of embeddings differ by less than posteriors do."""

MOST_CLASSES = 10
"""Classes that are left out in turn, evenly over all."""

ROUNDS = 20
"""Of k-means, at most."""

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Embedded:
    """Patches as a net embeds them.

    Args:
        embeddings: ``(patches, size)`` float32.
        target: ``(patches,)`` int64, class of each.
        clip: ``(patches,)`` int64, clip of each, from 0 on.
    """

    embeddings: Floats
    target: Indices
    clip: Indices

    def without(self, label: int) -> "Embedded":
        """All patches but those of a class."""
        kept = self.target != label
        return Embedded(self.embeddings[kept], self.target[kept], self.clip[kept])


LastLayer = Callable[[Embedded], Callable[[Floats], Floats]]
"""Patches -> a last layer trained on them: embeddings ``(rows, size)`` -> posteriors of their classes."""


def means_of_classes(patches: Embedded, num_classes: int, per_class: int) -> tuple[Int8, Indices]:
    """Directions of the means of classes ``(num_means, size)``, and the class of each ``(num_means,)``.

    Args:
        patches: Of training, at least one of each class.
        num_classes: Of the model.
        per_class: Means of a class, by k-means on embeddings of length 1; fewer where it has no more patches.

    Raises:
        AedError: A class has no patch.
    """
    vectors, classes = [], []
    for label in range(num_classes):
        own = patches.embeddings[patches.target == label]
        if not len(own):
            raise AedError(f"decision.means: class number {label} has no training patch")
        groups = clusters(own, per_class)
        vectors += [mean_direction(own[groups == group]) for group in np.unique(groups)]
        classes += [label] * len(np.unique(groups))
    return np.stack(vectors), np.array(classes, np.int64)


def clusters(embeddings: Floats, count: int) -> Indices:
    """The group of each embedding ``(rows,)``, at most ``count`` groups, by spherical k-means; the same each time.

    Source: Dhillon and Modha, 2001; started as k-means++ (Arthur and Vassilvitskii, 2007) from seed 0.
    """
    unit = embeddings.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    random = np.random.default_rng(0)
    centres = unit[[int(random.integers(len(unit)))]]
    while len(centres) < min(count, len(unit)):
        far = np.cumsum(np.maximum(1 - (unit @ centres.T).max(axis=1), 0))
        if far[-1] < 1e-9:  # all alike
            break
        centres = np.concatenate([centres, unit[[int(np.searchsorted(far, random.random() * far[-1]))]]])
    groups: Indices = (unit @ centres.T).argmax(axis=1)
    for _ in range(ROUNDS):
        sums = np.stack([unit[groups == group].sum(axis=0) for group in range(len(centres))])
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(lengths > 1e-12, sums / np.maximum(lengths, 1e-12), centres)
        before, groups = groups, (unit @ centres.T).argmax(axis=1)
        if np.array_equal(before, groups):
            break
    return groups


def held_out_auroc(
    train: Embedded, val: Embedded, vectors: Int8, classes: Indices, aggregate: Aggregate, last_layer: LastLayer
) -> Mapping[float, float]:
    """Mean AUROC, over classes that are left out, of each weight of the nearness.

    Args:
        train: Of training.
        val: Validation clips.
        vectors: Of :func:`means_of_classes`.
        classes: Of the vectors.
        aggregate: How patches become clips.
        last_layer: As the model's is trained.

    Raises:
        AedError: There are fewer than three classes with validation clips.
    """
    from sklearn.metrics import roc_auc_score  # takes 0.7 s to import

    found = np.unique(val.target)
    if len(found) < 3:
        raise AedError(
            f"decision.means: need validation clips of at least 3 classes to leave one out, got {len(found)}"
        )
    truth = clip_classes(val)
    areas: list[list[float]] = []
    for label in found[evenly(len(found), MOST_CLASSES)]:
        posteriors = last_layer(train.without(int(label)))(val.embeddings)
        most = by_clip(posteriors, val.clip, aggregate).max(axis=1)
        nearest = cosines(val.embeddings, vectors[classes != label]).max(axis=1)
        near = by_clip(nearest[:, None], val.clip, aggregate)[:, 0]
        areas.append([float(roc_auc_score(truth != label, blend(most, near, weight))) for weight in WEIGHTS])
    return dict(zip(WEIGHTS, np.mean(areas, axis=0).tolist(), strict=True))


def best_weight(auroc: Mapping[float, float]) -> float:
    """The weight with the greatest AUROC, of equal ones the least: 0 where the nearness does not help."""
    return max(sorted(auroc), key=lambda weight: auroc[weight])


def by_clip(rows: Floats, clip: Indices, how: Aggregate) -> Floats:
    """Rows of patches ``(patches, columns)`` as those of their clips, ``(clips, columns)``."""
    own = torch.from_numpy(np.ascontiguousarray(rows)), torch.from_numpy(clip)
    clips: Floats = clip_posteriors(*own, int(clip.max()) + 1, how).numpy()
    return clips


def clip_classes(patches: Embedded) -> Indices:
    """The class of each clip, ``(clips,)``."""
    return by_clip(patches.target[:, None].astype(np.float32), patches.clip, "max")[:, 0].astype(np.int64)
