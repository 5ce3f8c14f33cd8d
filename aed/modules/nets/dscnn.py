"""DS-CNN: a convolution and depthwise separable layers of one width, small enough to train from scratch.

Paper: Y. Zhang et al., "Hello Edge: Keyword Spotting on Microcontrollers", arXiv:1711.07128. Here it sees larger
patches than a keyword's, so the first separable layer halves the image once more.
"""

from torch import Tensor, nn

from aed.base.errors import AedError
from aed.modules.head import dense_head
from aed.modules.time_padding import TimePadding, check_frames, check_time_padding


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, ReLU; an odd ``kernel`` keeps the size, ``stride`` divides it, rounding up.

    Along time only with ``time_padding`` ``same``.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, groups: int, time_padding: TimePadding
    ) -> None:
        super().__init__()
        padding = (kernel // 2, kernel // 2 if time_padding == "same" else 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()


class DSCNN(nn.Module):
    """Logits of log-mel patches.

    Args:
        num_classes: Number of outputs.
        channels: Of every layer; the paper has 64, 172 and 276 (S, M, L).
        n_blocks: Separable layers; the first halves the image.
        dropout: Share of the embedding dropped in training.
        time_padding: ``valid``: none, so that the C code can run the net as a stream (``plan=stream``); a patch then
            needs enough frames.
        head_hidden: Size of a hidden layer in the head; null: the head is one layer.

    Raises:
        AedError: There is no such net.
    """

    def __init__(
        self,
        num_classes: int,
        channels: int = 64,
        n_blocks: int = 4,
        dropout: float = 0.0,
        time_padding: TimePadding = "same",
        head_hidden: int | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("n_blocks", n_blocks)):
            if value < 1:
                raise AedError(f"net.{name}: need at least 1, got {value}")
        check_time_padding(time_padding)
        self.num_classes, self.channels, self.n_blocks, self.dropout = num_classes, channels, n_blocks, dropout
        self.time_padding, self.head_hidden = time_padding, head_hidden
        self._windows = [(5, 2), (3, 2), *[(3, 1)] * (n_blocks - 1)] if time_padding == "valid" else []
        layers: list[nn.Module] = [_ConvNorm(1, channels, 5, 2, 1, time_padding)]
        for block in range(n_blocks):
            layers.append(_ConvNorm(channels, channels, 3, 1 if block else 2, channels, time_padding))
            layers.append(_ConvNorm(channels, channels, 1, 1, 1, time_padding))
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = dense_head(channels, num_classes, dropout, head_hidden)

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)`` of any size.

        Raises:
            AedError: There are too few frames to do without padding.
        """
        check_frames(self._windows, int(patches.shape[3]))
        logits: Tensor = self.head(self.backbone(patches))
        return logits
