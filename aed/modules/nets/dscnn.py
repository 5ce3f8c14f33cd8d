"""DS-CNN: a convolution and depthwise separable layers of one width, small enough to train from scratch.

Paper: Y. Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128. Here it sees larger
patches than a keyword's, so the first separable layer halves the image once more.
"""

from torch import Tensor, nn

from aed.base.errors import AedError


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, ReLU; an odd ``kernel`` keeps the size, ``stride`` divides it, rounding up."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()


class DSCNN(nn.Module):
    """Logits of log-mel patches.

    Args:
        num_classes: Number of outputs.
        channels: Of every layer; the paper has 64, 172 and 276 (S, M, L).
        n_blocks: Separable layers; the first halves the image.
        dropout: Share of the embedding dropped in training.

    Raises:
        AedError: There is no such net.
    """

    def __init__(self, num_classes: int, channels: int = 64, n_blocks: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("n_blocks", n_blocks)):
            if value < 1:
                raise AedError(f"net.{name}: need at least 1, got {value}")
        self.num_classes, self.channels, self.n_blocks, self.dropout = num_classes, channels, n_blocks, dropout
        layers: list[nn.Module] = [_ConvNorm(1, channels, 5, stride=2)]
        for block in range(n_blocks):
            layers.append(_ConvNorm(channels, channels, 3, stride=1 if block else 2, groups=channels))
            layers.append(_ConvNorm(channels, channels, 1))
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)`` of any size."""
        logits: Tensor = self.head(self.backbone(patches))
        return logits
