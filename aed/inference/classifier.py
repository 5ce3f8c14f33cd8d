"""One interface for every kind of model: a checkpoint, an ONNX file, float or int8, of this package or a user's."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.scoring.nearness import blend
from aed.scoring.steps import step_posteriors

Array = npt.NDArray[np.float32]

TAGGERS = ("yamnet_audioset", "mn04_audioset")
"""Names, in place of a model's file, of published nets: :class:`aed.inference.audioset.AudioSetClassifier`."""

BATCH = 32
"""Patches at once where a model takes any number."""


class Classifier(ABC):
    """Posteriors of patches.

    Attributes:
        path: The model's file.
        card: Its model card; of a foreign file, what the user said.
        kind: ``float`` or ``int8``.
    """

    path: Path
    card: ModelCard
    kind: str

    @abstractmethod
    def outputs(self, patches: Array) -> Array:
        """Outputs ``(B, num_outputs)`` float32 of patches ``(B, 1, n_mels, patch_frames)`` float32.

        They are the logits or posteriors of the classes; of a model with means of its classes then its embedding, of an
        int8 model in steps from its zero point on.
        """

    def posteriors(self, patches: Array) -> Array:
        """Posteriors ``(B, num_classes)`` float32 of patches ``(B, 1, n_mels, patch_frames)`` float32."""
        return to_posteriors(self.card, self.outputs(patches))

    def event_posteriors(self, patches: Array) -> Array:
        """Posteriors of patches for an event rule: see :func:`to_event_posteriors`."""
        return to_event_posteriors(self.card, self.outputs(patches))


def to_nearness(card: ModelCard, outputs: Array) -> Array | None:
    """The nearness ``(B,)`` of a model's outputs to its classes; None: it has no means of them.

    Raises:
        AedError: The outputs have no embedding of the size of the means.
    """
    nearness, classes = card.decision.nearness, len(card.class_names)
    if nearness is None:
        return None
    if outputs.shape[1] != classes + nearness.size:
        raise AedError(
            f"the model gives {outputs.shape[1]} outputs; its card needs those of {classes} classes and an embedding "
            f"of {nearness.size} values: export it anew"
        )
    return nearness.of_embeddings(outputs[:, classes:])


def to_event_posteriors(card: ModelCard, outputs: Array) -> Array:
    """Posteriors ``(B, num_classes)`` for an event rule: those of what is unknown by nearness are 0.

    Where the posterior alone decides what is unknown, the rule does it itself.
    """
    posteriors, nearness = to_posteriors(card, outputs), to_nearness(card, outputs)
    threshold, own = card.decision.unknown_threshold, card.decision.nearness
    if nearness is None or own is None or not own.weight or threshold is None or not len(posteriors):
        return posteriors
    is_known = blend(posteriors.max(axis=1), nearness, own.weight) >= np.float32(threshold)
    return np.where(is_known[:, None], posteriors, np.float32(0))


def to_posteriors(card: ModelCard, outputs: Array) -> Array:
    """Posteriors ``(B, num_classes)`` of a model's outputs; of int8 logits those of the C library.

    Raises:
        AedError: Some are NaN.
    """
    if card.decision.nearness is not None:
        outputs = np.ascontiguousarray(outputs[:, : len(card.class_names)])
    posteriors: Array = outputs
    int8 = card.quantization
    if card.outputs == "logits" and int8 and int8.output_scale is not None and int8.output_zero_point is not None:
        of_step = (int8.output_scale, int8.output_zero_point, card.decision.temperature)
        posteriors = step_posteriors(outputs, card.task, *of_step)
    elif card.outputs == "logits":
        import torch  # here: models are opened, and run on boards, without it

        posteriors = card.decision.posteriors(torch.from_numpy(outputs), card.task).numpy()
    if wrong := int(np.isnan(posteriors).any(axis=1).sum()):
        raise AedError(
            f"the model gives NaN, or infinite logits, for {wrong} of {len(posteriors)} patches: its weights are too "
            "large for what it computes; train or export it anew"
        )
    return posteriors
