"""The head of a net: from an embedding to logits."""

from torch import nn

from aed.base.errors import AedError


def dense_head(
    inputs: int, num_classes: int, dropout: float, hidden: int | None, curve: type[nn.Module] = nn.ReLU
) -> nn.Sequential:
    """A dense layer from ``(B, inputs)`` to logits ``(B, num_classes)``, with a hidden one where asked.

    Args:
        inputs: Size of the embedding.
        num_classes: Number of outputs.
        dropout: Share of the embedding dropped in training.
        hidden: Size of the hidden layer; None: there is none.
        curve: Its activation.

    Raises:
        AedError: It has no units.
    """
    if hidden is None:
        return nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, num_classes))
    if hidden < 1:
        raise AedError(f"net.head_hidden: need at least 1 or null, got {hidden}")
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, hidden), curve(), nn.Linear(hidden, num_classes))
