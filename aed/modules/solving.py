"""Which head is solved for, and with which constant: that which is best on inner folds of the training patches."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from aed.base.errors import AedError
from aed.dsp.aggregate import Aggregate, clip_posteriors
from aed.modules.closed_form import Floats, Head, Labels, class_means, discriminant, softmax_regression

log = logging.getLogger(__name__)

HeadKind = Literal["trained", "softmax", "lda", "means", "auto"]
"""How a head gets its weights: by epochs of an optimizer, or solved for."""

CONSTANT = 0.1
"""Of softmax regression and of the discriminant, where none is given and none is chosen."""

FOLDS = 4
"""Inner ones, at most."""


class Candidate(NamedTuple):
    """A head that can be solved for.

    Args:
        kind: Which.
        constant: ``softmax``: weight of the patches against the penalty; ``lda``: shrinkage; ``means``: None.
    """

    kind: Literal["softmax", "lda", "means"]
    constant: float | None

    @property
    def name(self) -> str:
        """``softmax_0.1``: for metrics."""
        return self.kind if self.constant is None else f"{self.kind}_{self.constant:g}"


CANDIDATES = (
    *(Candidate("softmax", strength) for strength in (0.03, 0.1, 0.3)),
    *(Candidate("lda", shrinkage) for shrinkage in (0.03, 0.1, 0.3)),
    Candidate("means", None),
)
"""Of ``auto``."""

USUAL = Candidate("softmax", CONSTANT)
"""What ``auto`` takes unless another one is better by more than chance, of which two clips of a class hold much."""


@dataclass(frozen=True)
class Samples:
    """Embeddings of training patches, with what is known of them.

    Args:
        embeddings: ``(patches, size)`` float32.
        targets: ``(patches,)`` int64, class of each.
        clips: ``(patches,)`` int64, clip of each.
        recordings: ``(patches,)`` int64, recording of each: no inner fold parts one.
        weights: ``(patches,)``, None: all alike.
    """

    embeddings: Floats
    targets: Labels
    clips: Labels
    recordings: Labels
    weights: Floats | None = None

    def part(self, kept: npt.NDArray[np.bool_]) -> "Samples":
        """Some of the patches."""
        weights = None if self.weights is None else self.weights[kept]
        return Samples(self.embeddings[kept], self.targets[kept], self.clips[kept], self.recordings[kept], weights)


@dataclass(frozen=True)
class Solved:
    """A head, and how it was chosen.

    Args:
        head: Its weights.
        candidate: Its kind and constant.
        scores: Name of a candidate -> its clip and patch accuracy on the inner folds; empty where none was chosen.
    """

    head: Head
    candidate: Candidate
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def metrics(self) -> dict[str, float]:
        """Inner scores by name: ``head/softmax_0.1/clip_acc``."""
        return {f"head/{name}/{key}": value for name, own in self.scores.items() for key, value in own.items()}

    def facts(self) -> dict[str, Any]:
        """As plain types, for a checkpoint and the model card."""
        scores = {name: dict(own) for name, own in self.scores.items()}
        return {"kind": self.candidate.kind, "constant": self.candidate.constant, "inner_scores": scores}


def solve(
    samples: Samples,
    num_classes: int,
    kind: HeadKind,
    *,
    constant: float | None = None,
    smoothing: float = 0.1,
    aggregate: Aggregate = "mean",
    seed: int = 0,
) -> Solved:
    """The head of a kind; of kind ``auto`` the best of :data:`CANDIDATES` on inner folds.

    Args:
        samples: Training patches.
        num_classes: Of the head.
        kind: Not ``trained``.
        constant: Of the kind; None: :data:`CONSTANT`.
        smoothing: Of the targets, for softmax regression.
        aggregate: How patches become clips.
        seed: Of the inner folds.

    Raises:
        AedError: A class has no patch.
    """
    if kind == "auto":
        return _choose(samples, num_classes, smoothing, aggregate, seed)
    assert kind != "trained"
    candidate = Candidate(kind, None if kind == "means" else CONSTANT if constant is None else constant)
    return Solved(fit(candidate, samples, num_classes, smoothing), candidate)


def fit(candidate: Candidate, samples: Samples, num_classes: int, smoothing: float) -> Head:
    """The head of a candidate."""
    given, weights, constant = (samples.embeddings, samples.targets, num_classes), samples.weights, candidate.constant
    if candidate.kind == "means":
        return class_means(*given, weights=weights)
    assert constant is not None
    if candidate.kind == "lda":
        return discriminant(*given, shrinkage=constant, weights=weights)
    return softmax_regression(*given, strength=constant, smoothing=smoothing, weights=weights)


def _choose(samples: Samples, num_classes: int, smoothing: float, aggregate: Aggregate, seed: int) -> Solved:
    """The candidate of the greatest mean of clip and patch accuracy: patches tell apart what few clips cannot.

    :data:`USUAL` stays where the best one is not better by more than a standard error of the difference over clips.
    """
    fold = inner_folds(samples.targets, samples.recordings, num_classes, seed)
    if fold.max() == 0:
        candidate = Candidate("means", None)
        log.info("model.head=auto: a class with one recording leaves none to choose by; class means are taken")
        return Solved(fit(candidate, samples, num_classes, smoothing), candidate)
    right = {each: inner_right(each, samples, fold, num_classes, smoothing, aggregate) for each in CANDIDATES}
    best = max(right, key=lambda each: right[each].of_clips().mean())
    gain = right[best].of_clips() - right[USUAL].of_clips()
    if gain.mean() <= gain.std() / math.sqrt(len(gain)):
        best = USUAL
    scores = {each.name: own.scores() for each, own in right.items()}
    return Solved(fit(best, samples, num_classes, smoothing), best, scores)


def inner_folds(targets: Labels, recordings: Labels, num_classes: int, seed: int) -> Labels:
    """The inner fold of each patch ``(patches,)``, from 0 on; all 0 where a class has a single recording.

    Recordings are whole, and those of each class are spread evenly: as many folds as the rarest class has
    recordings, at most :data:`FOLDS`. A recording of several classes counts for that of its first patch.
    """
    own, first, place = np.unique(recordings, return_index=True, return_inverse=True)
    label = targets[first]
    count = min(FOLDS, int(np.bincount(label, minlength=num_classes).min()))
    if count < 2:
        return np.zeros(len(targets), np.int64)
    random, fold = np.random.default_rng(seed), np.empty(len(own), np.int64)
    for number in range(num_classes):
        members = random.permutation(np.flatnonzero(label == number))
        fold[members] = (np.arange(len(members)) + random.integers(count)) % count
    return fold[place]


@dataclass(frozen=True)
class Right:
    """What a candidate decides rightly on the inner folds.

    Args:
        clips: ``(clips,)`` bool.
        patches: ``(patches,)`` bool.
        clip: ``(patches,)``, clip of each patch, from 0 on.
    """

    clips: npt.NDArray[np.bool_]
    patches: npt.NDArray[np.bool_]
    clip: npt.NDArray[np.intp]

    def scores(self) -> dict[str, float]:
        """Clip and patch accuracy."""
        return {"clip_acc": float(self.clips.mean()), "patch_acc": float(self.patches.mean())}

    def of_clips(self) -> npt.NDArray[np.float64]:
        """For each clip ``(clips,)``: 1 where it is right, and the share of its patches that are."""
        shares: npt.NDArray[np.float64] = np.bincount(self.clip, self.patches) / np.bincount(self.clip)
        return self.clips + shares


def inner_right(
    candidate: Candidate, samples: Samples, fold: Labels, num_classes: int, smoothing: float, aggregate: Aggregate
) -> Right:
    """What a candidate decides rightly, each patch judged by a head that has not seen its recording."""
    logits = np.empty((len(fold), num_classes))
    for number in range(int(fold.max()) + 1):
        inside = fold == number
        logits[inside] = fit(candidate, samples.part(~inside), num_classes, smoothing).logits(
            samples.embeddings[inside]
        )
    clip = np.unique(samples.clips, return_inverse=True)[1]
    posteriors = torch.from_numpy(logits).softmax(dim=1)
    of_clips = clip_posteriors(posteriors, torch.from_numpy(clip), int(clip.max()) + 1, aggregate).numpy()
    truth = np.empty(len(of_clips), np.int64)
    truth[clip] = samples.targets
    return Right(of_clips.argmax(axis=1) == truth, logits.argmax(axis=1) == samples.targets, clip)


def check_kind(kind: str, constant: float | None, frozen: bool) -> None:
    """Refuses values of ``model.head`` and ``model.head_constant`` that cannot work.

    Raises:
        AedError: Names the key.
    """
    kinds = ("trained", "softmax", "lda", "means", "auto")
    if kind not in kinds:
        raise AedError(f"model.head: need one of {', '.join(kinds)}, got {kind!r}")
    if kind != "trained" and not frozen:
        raise AedError(
            f"model.head={kind}: needs a frozen backbone; set model.pretrained=true model.fine_tune=false, or "
            "model.head=trained"
        )
    if constant is None:
        return
    if kind not in ("softmax", "lda"):
        raise AedError(f"model.head_constant={constant}: only of model.head=softmax and lda; leave it out")
    if not constant > 0 or (kind == "lda" and constant > 1):
        raise AedError(
            f"model.head_constant: need {'over 0, at most 1' if kind == 'lda' else 'over 0'}, got {constant}"
        )
