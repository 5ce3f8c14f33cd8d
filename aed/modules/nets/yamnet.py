"""YAMNet: MobileNet v1 on log-mel patches, cut to a small embedding.

Paper: A. G. Howard et al., "MobileNets", arXiv:1704.04861. Reference: Google's YAMNet (AudioSet) and ST's
``yamnet_256``, its first six layers retrained (ST model zoo, ``audio_event_detection``).
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn

from aed.errors import AedError
from aed.modules.pretrained import Weights, read_keras_h5

_LAYERS = {256: ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1))}
"""Embedding size -> (channels, stride) of the separable layers after the first convolution."""


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, ReLU, with TensorFlow's SAME padding for even sizes: (0, 1) at stride 2."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.pad = nn.ZeroPad2d((0, 1, 0, 1)) if stride == 2 else nn.Identity()
        padding = 0 if stride == 2 else kernel // 2
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-4)
        self.relu = nn.ReLU()


class YAMNet(nn.Module):
    """Logits of log-mel patches.

    Args:
        num_classes: Outputs.
        embedding_size: Channels before the head; 256 is the cut after layer 6 (23.9 M MACC at 64x96).
        dropout: Share of the embedding dropped in training.

    Raises:
        AedError: There is no such cut.
    """

    WEIGHTS: ClassVar[dict[int, Weights]] = {
        256: Weights(
            file="yamnet_256_f32.h5",
            sha256="dfa6066b3f3bece880e9813b05cffb6a8328fe3da832f62401ce553dd380d2b3",
            url="https://github.com/STMicroelectronics/stm32ai-modelzoo/raw/"
            "79cff53625b6b300b69f007d1ed11a40d5704795/audio_event_detection/src/models/yamnet/yamnet_256_f32.h5",
            licence="Apache-2.0",
            source="ST model zoo: YAMNet trained on AudioSet, cut to 256 features",
        )
    }

    def __init__(self, num_classes: int, embedding_size: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        if embedding_size not in _LAYERS:
            raise AedError(f"net.embedding_size: need one of {sorted(_LAYERS)}, got {embedding_size}")
        self.num_classes, self.embedding_size, self.dropout = num_classes, embedding_size, dropout
        layers: list[nn.Module] = [_ConvNorm(1, 32, 3, stride=2)]
        inputs = 32
        for outputs, stride in _LAYERS[embedding_size]:
            layers += [_ConvNorm(inputs, inputs, 3, stride, groups=inputs), _ConvNorm(inputs, outputs, 1)]
            inputs = outputs
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, num_classes))

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)``, both even multiples of 8."""
        logits: Tensor = self.head(self.backbone(patches))
        return logits

    def load_pretrained(self) -> Weights:
        """Loads the published backbone and returns what it is.

        The published net sees (time, mel); here a patch is (mel, time), so every kernel is transposed once and
        no Transpose is left in the graph.

        Raises:
            AedError: The file is not to be had, or its arrays do not fit.
        """
        weights = self.WEIGHTS[self.embedding_size]
        arrays = read_keras_h5(weights.fetch())
        for name, layer in zip(self._published_names(), self._conv_norms(), strict=True):
            depthwise = name.endswith("depthwise_conv")
            kernel = torch.from_numpy(arrays[f"{name}/{'depthwise_kernel' if depthwise else 'kernel'}:0"])
            conv, norm = layer.conv, layer.norm
            with torch.no_grad():
                # (time, mel, in, out) -> (out, in, mel, time); depthwise is (time, mel, channels, 1)
                conv.weight.copy_(kernel.permute((2, 3, 1, 0) if depthwise else (3, 2, 1, 0)))
                norm.weight.fill_(1.0)  # published without a scale
                norm.bias.copy_(torch.from_numpy(arrays[f"{name}/bn/beta:0"]))
                for kept, published in (("running_mean", "moving_mean"), ("running_var", "moving_variance")):
                    norm.get_buffer(kept).copy_(torch.from_numpy(arrays[f"{name}/bn/{published}:0"]))
        return weights

    def _published_names(self) -> Iterator[str]:
        yield "layer1/conv"
        for number in range(2, 2 + len(_LAYERS[self.embedding_size])):
            yield from (f"layer{number}/depthwise_conv", f"layer{number}/pointwise_conv")

    def _conv_norms(self) -> Iterator[_ConvNorm]:
        return (layer for layer in self.backbone if isinstance(layer, _ConvNorm))
