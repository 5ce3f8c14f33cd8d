"""New sounds, learned from a few examples without training: what ``aed_learn.c`` does on a device, bit for bit.

A learned sound is the mean of its examples' embeddings. It is heard where an embedding is near enough to that mean, and
no nearer to the classes than a margin; both limits are chosen on validation, where each class in turn plays the sound.
"""

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.spacing import evenly
from aed.dsp.aggregate import Aggregate
from aed.scoring.held_out import MOST_CLASSES, Embedded, by_clip, clip_classes
from aed.scoring.nearness import Floats, Int8, Nearness, cosines, mean_direction

EXAMPLES, DRAWS = 3, 3
"""Clips from which a class that is left out is learned, and how often."""

KEPT, TAKEN = 0.95, 0.02
"""Shares of its validation clips that are near enough, and of other classes' clips that may be named for it."""


def learned(rule: Nearness, nearness: Floats, to_sounds: Floats) -> npt.NDArray[np.int64]:
    """The number of the learned sound that is heard in each row, ``(rows,)``; -1: none.

    Args:
        rule: Has the limits.
        nearness: To the classes, ``(rows,)``.
        to_sounds: Cosines to the learned sounds, ``(rows, num_sounds)``, at least one; of a clip their means.
    """
    best = to_sounds.argmax(axis=1)
    most = np.take_along_axis(to_sounds, best[:, None], axis=1)[:, 0].astype(np.float32)
    heard = (most >= np.float32(rule.learn_least)) & (most + np.float32(rule.learn_margin) > nearness)
    return np.where(heard, best, -1)


def choose_limits(
    train: Embedded, val: Embedded, vectors: Int8, classes: npt.NDArray[np.int64], aggregate: Aggregate
) -> tuple[float, float]:
    """The least cosine to a learned sound, and the margin, by which it may be under the nearness to the classes.

    Each class is left out in turn and learned from :data:`EXAMPLES` training clips. The least cosine keeps
    :data:`KEPT` of its validation clips. The margin names no more than :data:`TAKEN` of the others' clips for it,
    and is no more than any of its own clips needs.

    Args:
        train: Of training.
        val: Validation clips, of at least two classes.
        vectors: Means of the classes.
        classes: Of the vectors.
        aggregate: How patches become clips.

    Raises:
        AedError: No class has both training and validation clips.
    """
    random, truth = np.random.default_rng(0), clip_classes(val)
    own, needs, others, gaps = [], [], [], []
    known = np.intersect1d(val.target, train.target)
    for label in known[evenly(len(known), MOST_CLASSES)]:
        near = by_clip(cosines(val.embeddings, vectors[classes != label]).max(axis=1)[:, None], val.clip, aggregate)
        pool = np.unique(train.clip[train.target == label])
        for _ in range(DRAWS):
            chosen = random.choice(pool, min(EXAMPLES, len(pool)), replace=False)
            sound = mean_direction(train.embeddings[np.isin(train.clip, chosen) & (train.target == label)])
            cosine = by_clip(cosines(val.embeddings, sound[None]), val.clip, aggregate)[:, 0]
            own.append(cosine[truth == label])
            others.append(cosine[truth != label])
            gap = near[:, 0] - cosine
            needs.append(gap[truth == label])
            gaps.append(gap[truth != label])
    if not own or not sum(map(len, others)):
        raise AedError("decision.means: need training and validation clips of the same classes, at least two")
    least = float(np.quantile(np.concatenate(own), 1 - KEPT))
    rivals = np.where(np.concatenate(others) >= least, np.concatenate(gaps), np.inf)
    margin = min(float(np.quantile(rivals, TAKEN, method="lower")), float(np.concatenate(needs).max()))
    return max(-1.0, min(1.0, least)), max(-1.0, min(1.0, margin))


class Learner:
    """Learned sounds of one device.

    Args:
        num_sounds: It has room for.
        size: Values of an embedding.
    """

    def __init__(self, num_sounds: int, size: int) -> None:
        self.size = size
        self.directions: list[Int8 | None] = [None] * num_sounds

    def learn(self, sound: int, embeddings: Floats) -> None:
        """Learns a sound anew from the embeddings of its examples, ``(examples, size)``.

        Raises:
            AedError: There is no such number, or the examples have no mean.
        """
        if not 0 <= sound < len(self.directions):
            raise AedError(f"sound: need 0 to {len(self.directions) - 1}, got {sound}")
        self.directions[sound] = mean_direction(embeddings)

    def cosines(self, embeddings: Floats) -> Floats:
        """Cosines of embeddings ``(rows, size)`` to each sound, ``(rows, num_sounds)``; -1 where nothing is learned."""
        columns = [
            np.full(len(embeddings), -1, np.float32) if one is None else cosines(embeddings, one[None])[:, 0]
            for one in self.directions
        ]
        return np.stack(columns, axis=1)
