"""The embedding of patches by a model: what its last dense layer decides by."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.export.embedding import EMBEDDING, embedding_size, with_embedding
from aed.export.graph import load_model, read_model_card
from aed.export.runtime import onnx_runtime_on, run_all
from aed.inference.onnx import batches, open_batch

Array = npt.NDArray[np.float32]


class Embedder:
    """Embeddings of patches.

    Args:
        path: A float ``.onnx`` of this package, which ends in a dense layer.

    Attributes:
        card: Its model card.

    Raises:
        AedError: It does not, or cannot be used.
    """

    def __init__(self, path: Path) -> None:
        model = load_model(path)
        self.card, self._path = read_model_card(model, path), path
        graph = model if embedding_size(model) else with_embedding(model)
        self._session, self._batch = open_batch(graph, path)
        if self._session.get_inputs()[0].type != "tensor(float)":
            raise AedError(f"{path}: an int8 input; need the float model")

    def of(self, patches: Array) -> Array:
        """Embeddings ``(B, size)`` float32 of patches ``(B, 1, n_mels, patch_frames)``."""
        name = self._session.get_inputs()[0].name
        with onnx_runtime_on(self._path):
            feeds = [{name: part} for part in batches(patches, self._batch)]
            parts = [outputs[0] for outputs in run_all(self._session, feeds, [EMBEDDING])]
        return np.concatenate(parts)[: len(patches)].astype(np.float32)
