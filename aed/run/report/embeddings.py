"""The map of a run's clips: embeddings in two dimensions."""

import logging
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError
from aed.base.extras import need
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import cut
from aed.inference.embedding import Embedder

log = logging.getLogger(__name__)

Kind = Literal["pca", "umap"]
"""How embeddings get two dimensions."""

Array = npt.NDArray[np.float32]

MOST_MAPPED = 600
"""Clips of a page on maps."""

MOST_PATCHES = 3
"""Of a clip, the mean of whose embeddings stands for it."""


def check_kind(kind: Kind) -> None:
    """Refuses a map that cannot be made.

    Raises:
        AedError: A package is not installed; names the command that installs it.
    """
    if kind == "umap":
        need("umap", "map=umap")


def open_embedder(path: Path) -> Embedder | None:
    """Of a run's float model; None: it has none, or one whose embedding is not known."""
    if not path.is_file():
        return None
    try:
        return Embedder(path)
    except AedError as error:
        log.info("no map: %s", error)
        return None


def clip_embedding(embedder: Embedder, frames: Array, starts: npt.NDArray[np.int64], config: FrontendConfig) -> Array:
    """The mean embedding ``(size,)`` of up to :data:`MOST_PATCHES` patches, spread over the clip.

    Args:
        embedder: Of the model.
        frames: Log-mel ``(n_mels, n_frames)``.
        starts: Of all patches.
        config: The front end.
    """
    few = starts[np.unique(np.linspace(0, len(starts) - 1, min(len(starts), MOST_PATCHES)).round().astype(int))]
    mean: Array = embedder.of(cut(frames, few, config.patch_frames)[:, None]).mean(axis=0)
    return mean


def flat(rows: Array, kind: Kind) -> tuple[npt.NDArray[np.float64], float | None]:
    """Places ``(N, 2)`` of embeddings ``(N, size)``, and of the PCA the share of the variance that they show.

    Args:
        rows: At least 3.
        kind: ``pca``: the first two principal components, the sign of each so that its largest weight is positive.
            ``umap``: by umap-learn, of the same rows the same.
    """
    if kind == "umap":
        from umap import UMAP

        # the usual first layout, spectral, fails with few rows
        made = UMAP(n_neighbors=min(15, len(rows) - 1), init="pca", random_state=0, n_jobs=1)
        return np.asarray(made.fit_transform(rows), np.float64), None
    centred = rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:2] * np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])[:, None]
    total = float((sizes**2).sum())
    return centred @ axes.T, float((sizes[:2] ** 2).sum()) / total if total else 0.0
