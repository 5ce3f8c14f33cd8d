"""The nearness of a run's model: means of its classes from training patches, their weight by classes left out."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aed.base.spacing import evenly
from aed.datamodules.patches import PatchDataset
from aed.inference.checkpoint import TorchClassifier
from aed.modules.closed_form import clip_weights, softmax_regression
from aed.modules.embeddings import EMBED_BATCH, outputs_and_embedding
from aed.run.state import Run
from aed.scoring.decision import Decision
from aed.scoring.held_out import Embedded, LastLayer, best_weight, held_out_auroc, means_of_classes
from aed.scoring.learning import choose_limits
from aed.scoring.nearness import Floats, Nearness

log = logging.getLogger(__name__)

MOST_PER_CLASS = 500
"""Training patches of a class whose mean is taken, evenly over all of it."""


MOST_PATCHES = 5000
"""Training patches from which a last layer is trained anew, evenly over all."""


def last_layer(smoothing: float) -> LastLayer:
    """Trains a last layer on some patches, by softmax regression.

    Args:
        smoothing: Share of a target that is spread over all classes, as in the model's training: posteriors of sounds
            that the net has not met are the lower for it (ESC-10, mn04 to x13: AUROC of classes left out 0.876, without
            0.819).
    """

    def trained(patches: Embedded) -> Callable[[Floats], Floats]:
        rows = evenly(len(patches.target), MOST_PATCHES)
        names, target = np.unique(patches.target[rows], return_inverse=True)
        weights = clip_weights(patches.clip[rows])
        some = patches.embeddings[rows]
        head = softmax_regression(some, target, len(names), smoothing=smoothing, weights=weights)
        return lambda embeddings: torch.from_numpy(head.logits(embeddings)).softmax(dim=1).float().numpy()

    return trained


def tested(run: Run, rule: Decision) -> TorchClassifier:
    """The checkpoint that the stage test scores, with a rule for it."""
    model = TorchClassifier(run.need_checkpoint("test"), run.net_class)
    model.card = replace(model.card, decision=rule)
    return model


def choose_nearness(run: Run, rule: Decision, per_class: int) -> tuple[Nearness, dict[float, float]]:
    """Means of the classes and their weight; and the AUROC of each weight, of validation classes left out.

    Metrics: ``val/held_out_auroc``, ``val/held_out_auroc_posterior``: with that weight, and with the posterior alone.

    Args:
        run: After training.
        rule: What else is chosen.
        per_class: Means of a class.

    Raises:
        AedError: The net does not end in a dense layer, or validation has clips of too few classes.
    """
    net, data = tested(run, replace(rule, nearness=None, unknown_threshold=None)).net, run.data
    train, val = data.labelled_data, data.datasets["val"]
    trained = embedded(net, train, some_of_each(train.patch_targets))
    vectors, classes = means_of_classes(trained, data.num_classes, per_class)
    validated = embedded(net, val, range(len(val)))
    auroc = dict(
        held_out_auroc(trained, validated, vectors, classes, rule.aggregate, last_layer(run.model.label_smoothing))
    )
    weight, limits = best_weight(auroc), choose_limits(trained, validated, vectors, classes, rule.aggregate)
    run.metrics |= {"val/held_out_auroc": auroc[weight], "val/held_out_auroc_posterior": auroc[0.0]}
    log.info(
        "nearness: %d means of %d values, weight %g: AUROC of validation classes left out %.3f, by the posterior %.3f",
        *(*vectors.shape, weight, auroc[weight], auroc[0.0]),
    )
    return Nearness.of(weight, vectors, limits), auroc


def some_of_each(target: npt.NDArray[np.int64]) -> Sequence[int]:
    """Indices of at most :data:`MOST_PER_CLASS` patches of each class ``(patches,)``, in their order."""
    parts = [np.flatnonzero(target == label) for label in np.unique(target)]
    return sorted(int(part[index]) for part in parts for index in evenly(len(part), MOST_PER_CLASS))


def embedded(net: nn.Module, data: PatchDataset, indices: Sequence[int]) -> Embedded:
    """Patches of a split as a net, on the CPU, embeds them.

    Raises:
        AedError: The net does not end in a dense layer.
    """
    parts = []
    for first in range(0, len(indices), EMBED_BATCH):
        patches = data.__getitems__(indices[first : first + EMBED_BATCH]).patches
        parts.append(outputs_and_embedding(net, patches)[1].numpy())
    rows = np.array(indices, np.int64)
    return Embedded(np.concatenate(parts), np.asarray(data.patch_targets)[rows], np.asarray(data.clip)[rows])
