"""Embeddings: the input of the last layer, and what a frozen backbone gives, computed once for its head's training."""

from collections.abc import Hashable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.dsp.patches import PatchBatch

BANK_BYTES = 256 * 2**20
"""Most memory that the embeddings of a split may take; over it they are computed anew each epoch."""

EMBED_BATCH = 64
"""Patches that are embedded together."""


@torch.no_grad()
def is_separable(net: nn.Module, patches: Tensor) -> tuple[bool, bool]:
    """Whether ``net(patches)`` is ``net.head(net.backbone(patches))``, so that embeddings can be stored between them.

    Args:
        net: In inference mode, with a ``backbone`` and a ``head``.
        patches: ``(B, 1, n_mels, patch_frames)``.

    Returns:
        Whether it is, nearly; and whether to the bit.
    """
    backbone, head = net.get_submodule("backbone"), net.get_submodule("head")
    try:
        parts, whole = head(backbone(patches)), net(patches)
        return torch.allclose(parts, whole, rtol=1e-4, atol=1e-5), torch.equal(parts, whole)
    except RuntimeError:  # forward reshapes in between
        return False, False


@torch.no_grad()
def outputs_and_embedding(net: nn.Module, patches: Tensor) -> tuple[Tensor, Tensor]:
    """Logits ``(B, num_classes)`` of a net, and the input ``(B, size)`` of the dense layer that makes them.

    Args:
        net: In inference mode.
        patches: ``(B, 1, n_mels, patch_frames)``.

    Raises:
        AedError: The net does not end in a dense layer.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def see(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((inputs[0], output))

    hooks = [layer.register_forward_hook(see) for layer in net.modules() if isinstance(layer, nn.Linear)]
    try:
        logits: Tensor = net(patches)
    finally:
        for hook in hooks:
            hook.remove()
    if not seen or seen[-1][0].ndim != 2 or not torch.equal(seen[-1][1], logits):
        raise AedError(
            f"decision.means: {type(net).__name__} does not end in a dense layer, whose input is the embedding; use 0"
        )
    return logits, seen[-1][0]


def split_head(head: nn.Module) -> tuple[nn.Module, nn.Linear]:
    """What a head does before its dense layer, which has no weights, and the dense layer.

    Raises:
        AedError: It has weights elsewhere, or does not end in a dense layer.
    """
    *before, last = head if isinstance(head, nn.Sequential) else (head,)
    if not isinstance(last, nn.Linear) or any(True for layer in before for _ in layer.parameters()):
        raise AedError("a head of one dense layer can be solved for, and nothing else")
    return nn.Sequential(*before), last


@torch.no_grad()
def embedded(
    backbone: nn.Module,
    dataset: Any,
    device: torch.device,
    most_bytes: int | None = None,
    batch_size: int = EMBED_BATCH,
) -> Tensor:
    """Embeddings ``(num_patches, ...)`` of the whole grid of a data set, in its order.

    Args:
        backbone: In inference mode, on ``device``.
        dataset: See :class:`aed.datamodules.patches.PatchDataset`.
        device: Where they are computed and stay.
        most_bytes: What they may take; they are empty if they took more.
        batch_size: Patches that are embedded together.
    """
    parts: list[Tensor] = []
    for first in range(0, len(dataset), batch_size):
        patches = dataset.__getitems__(range(first, min(first + batch_size, len(dataset)))).patches
        parts.append(backbone(patches.to(device)))
        if most_bytes is not None and parts[0][0].nbytes * len(dataset) > most_bytes:
            return torch.empty(0)
    return torch.cat(parts)


class EmbeddingBank:
    """Logits of a net with a frozen backbone, from embeddings that are stored as far as :data:`BANK_BYTES` allows.

    Args:
        backbone: Frozen, in inference mode: patches ``(B, 1, n_mels, patch_frames)`` -> embeddings ``(B, ...)``.
        head: Embeddings -> logits ``(B, num_classes)``.
        is_exact: Whether the net gives the very bits of both.
    """

    def __init__(self, backbone: nn.Module, head: nn.Module, is_exact: bool = False) -> None:
        self.backbone, self.head, self.is_exact = backbone, head, is_exact
        self.train: Tensor | None = None
        """Embedding of each patch of the training grid, in its order; empty if they would take too much memory."""
        self.whole: dict[str, Tensor] = {}
        """Embedding of each patch of another split, in its order; empty if they would take too much memory."""
        self.val: dict[Hashable, Tensor] = {}
        """Embeddings of patches that come again each epoch, by a key of their own."""

    def train_logits(self, batch: PatchBatch) -> Tensor:
        """Logits ``(B, num_classes)`` of patches on the grid of the training split, of which :attr:`train` is."""
        assert self.train is not None
        embeddings = self.train[batch.position] if len(self.train) else self.backbone(batch.patches)
        logits: Tensor = self.head(embeddings)
        return logits

    def val_logits(self, patches: Tensor, key: Hashable) -> Tensor:
        """Logits ``(B, num_classes)`` of patches that are the same whenever ``key`` is."""
        embeddings = self.val.get(key)
        if embeddings is None:
            embeddings = self.backbone(patches)
            if sum(stored.nbytes for stored in self.val.values()) < BANK_BYTES:
                self.val[key] = embeddings
        logits: Tensor = self.head(embeddings)
        return logits

    @torch.no_grad()
    def keep(self, rows: npt.NDArray[np.float32], shape: torch.Size, device: torch.device) -> Tensor:
        """Stores embeddings of the training grid, in its order; returns what the dense layer of the head sees of them.

        Args:
            rows: ``(num_patches, size)``.
            shape: Of one embedding.
            device: Of the head.
        """
        self.train = torch.from_numpy(rows).to(device).reshape(-1, *shape)
        before, _ = split_head(self.head.eval())
        seen: Tensor = before(self.train)
        return seen
