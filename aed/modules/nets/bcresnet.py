"""BC-ResNet: residual blocks whose temporal half works on the mean over frequency and is added back to every band.

Paper: B. Kim et al., "Broadcasted Residual Learning for Efficient Keyword Spotting", arXiv:2106.04140. Reference:
https://github.com/Qualcomm-AI-research/bcresnet. Here BatchNorm stands where it has SubSpectralNorm, whose reshaping of
frequency into channels int8 tools do not know, and the classifier averages whatever bands its convolution leaves.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.modules.head import dense_head

_BLOCKS = (2, 2, 4, 4)
"""Of the four stages; the second and the third halve the mel axis, and frames are dilated by 1, 2, 4 and 8."""

_WIDTHS = (2.0, 1.0, 1.5, 2.0, 2.5, 4.0)
"""Channels of the first convolution, the stages and the embedding, in units of ``width``."""


class _Block(nn.Module):
    """Broadcasted residual block.

    Args:
        inputs: Channels in.
        outputs: Channels out; where they differ nothing is added from the input.
        stride: Of the mel axis.
        dilation: Of the frames.
        activation: Of the temporal half.
        dropout: Share of its channels dropped in training.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, dilation: int, activation: nn.Module, dropout: float
    ) -> None:
        super().__init__()
        self.widen = nn.Sequential()
        if inputs != outputs:
            self.widen = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
        self.same = inputs == outputs
        self.bands = nn.Sequential(
            nn.Conv2d(outputs, outputs, (3, 1), (stride, 1), (1, 0), groups=outputs, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.frames = nn.Sequential(
            nn.Conv2d(outputs, outputs, (1, 3), 1, (0, dilation), (1, dilation), groups=outputs, bias=False),
            nn.BatchNorm2d(outputs),
            activation,
            nn.Conv2d(outputs, outputs, 1, bias=False),
            nn.Dropout2d(dropout),
        )

    def forward(self, image: Tensor) -> Tensor:
        bands = self.bands(self.widen(image))
        # a plain pool: int8 kernels have no mean over one axis; int: a constant to the exporter
        summed: Tensor = bands + self.frames(F.avg_pool2d(bands, (int(bands.shape[2]), 1)))
        if self.same:
            summed = summed + image
        return summed.relu()


class BCResNet(nn.Module):
    """Logits of log-mel patches.

    Args:
        num_classes: Number of outputs.
        width: Channels of the first stage: 8 makes BC-ResNet-1, 16 BC-ResNet-2 and so on.
        activation: Of the temporal halves: ``silu`` as published, or ``relu``, which every int8 tool has.
        block_dropout: Share of the channels that a temporal half loses in training.
        dropout: Share of the embedding dropped in training.
        head_hidden: Size of a hidden layer in the head; null: the head is one layer.

    Raises:
        AedError: There is no such net.
    """

    def __init__(
        self,
        num_classes: int,
        width: int = 8,
        activation: Literal["silu", "relu"] = "silu",
        block_dropout: float = 0.1,
        dropout: float = 0.0,
        head_hidden: int | None = None,
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise AedError(f"net.width: need an even number from 2, got {width}")
        if activation not in ("silu", "relu"):
            raise AedError(f"net.activation: need one of ('silu', 'relu'), got {activation!r}")
        self.num_classes, self.width, self.activation = num_classes, width, activation
        self.block_dropout, self.dropout, self.head_hidden = block_dropout, dropout, head_hidden
        kind = {"silu": nn.SiLU, "relu": nn.ReLU}[activation]
        inputs, *widths, embedding = (int(width * factor) for factor in _WIDTHS)
        layers: list[nn.Module] = [
            nn.Conv2d(1, inputs, 5, (2, 1), 2, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
        ]
        for stage, (blocks, outputs) in enumerate(zip(_BLOCKS, widths, strict=True)):
            for block in range(blocks):
                stride = 2 if block == 0 and stage in (1, 2) else 1
                layers.append(_Block(inputs, outputs, stride, 2**stage, kind(), block_dropout))
                inputs = outputs
        layers += [
            # the reference pads frames alone, for its 40 bands leave 5; padded, other numbers of bands pass too
            nn.Conv2d(inputs, inputs, 5, padding=2, groups=inputs, bias=False),
            nn.Conv2d(inputs, embedding, 1, bias=False),
            nn.BatchNorm2d(embedding),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        ]
        self.backbone = nn.Sequential(*layers)
        self.head = dense_head(embedding, num_classes, dropout, head_hidden)

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)`` of any size."""
        logits: Tensor = self.head(self.backbone(patches))
        return logits
