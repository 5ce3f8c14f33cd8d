"""A checkpoint of this project as a classifier."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from aed.export.card import ModelCard
from aed.inference.classifier import BATCH, Classifier
from aed.modules.embeddings import outputs_and_embedding
from aed.modules.trained import Trained

Array = npt.NDArray[np.float32]


class TorchClassifier(Classifier):
    """A checkpoint of this project.

    Args:
        path: The ``.ckpt``.
        net_class: Class of its net that the user names, where that is one of his.

    Raises:
        AedError: It is none.
    """

    kind = "float"

    def __init__(self, path: Path, net_class: str | None = None) -> None:
        trained = Trained.load(path, net_class)
        self.path, self.net = path, trained.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = ModelCard(
            frontend=trained.frontend,
            class_names=trained.class_names,
            task=trained.task,
            decision=trained.decision,
            data=trained.data,
            weights=trained.weights,
        )

    @torch.no_grad()
    def outputs(self, patches: Array) -> Array:
        """Logits, and the embedding where the card has means of the classes."""
        parts = torch.split(torch.from_numpy(np.ascontiguousarray(patches)), BATCH)
        if self.card.decision.nearness is not None:
            both = [torch.cat(outputs_and_embedding(self.net, part), dim=1) for part in parts]
            outputs: Array = torch.cat(both).numpy()
            return outputs
        logits: Array = torch.cat([self.net(part) for part in parts]).numpy()
        return logits
