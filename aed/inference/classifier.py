"""One interface for every kind of model: a checkpoint, an ONNX file, float or int8, of this package or a user's."""

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.scoring.steps import step_posteriors

Array = npt.NDArray[np.float32]

AUDIOSET = "yamnet_audioset"
"""Names Google's YAMNet, :class:`aed.inference.audioset.AudioSetClassifier`, in place of a model's file."""

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
        """Logits or posteriors ``(B, num_classes)`` float32 of patches ``(B, 1, n_mels, patch_frames)`` float32."""

    def posteriors(self, patches: Array) -> Array:
        """Posteriors ``(B, num_classes)`` float32 of patches ``(B, 1, n_mels, patch_frames)`` float32."""
        return to_posteriors(self.card, self.outputs(patches))


def to_posteriors(card: ModelCard, outputs: Array) -> Array:
    """Posteriors ``(B, num_classes)`` of a model's outputs, same shape; of int8 logits those of the C library.

    Raises:
        AedError: Some are NaN.
    """
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
