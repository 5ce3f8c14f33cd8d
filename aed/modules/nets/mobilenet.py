"""EfficientAT's MobileNets: MobileNetV3 on log-mel patches, trained on AudioSet by transformers, whole or cut.

Papers: F. Schmid et al., "Efficient Large-Scale Audio Tagging via Transformer-to-CNN Knowledge Distillation",
arXiv:2211.04772; A. Howard et al., "Searching for MobileNetV3", arXiv:1905.02244. Reference:
https://github.com/fschmid56/EfficientAT. A cut net ends in the 1x1 expansion of a block, which its frozen embedding is
better for than the block's output.
"""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Self, get_args

from torch import Tensor, nn

from aed.base.errors import AedError
from aed.modules.head import dense_head
from aed.modules.weights.published import Weights, read_torch


class _Block(NamedTuple):
    """Size of the depthwise kernel, channels inside and out before ``width``, squeezing, activation, stride."""

    kernel: int
    expanded: int
    outputs: int
    squeezed: bool
    curve: type[nn.Module]
    stride: int


_FIRST = 16
"""Channels of the first convolution, before ``width``."""

_BLOCKS = (
    _Block(3, 16, 16, False, nn.ReLU, 1),
    _Block(3, 64, 24, False, nn.ReLU, 2),
    _Block(3, 72, 24, False, nn.ReLU, 1),
    _Block(5, 72, 40, True, nn.ReLU, 2),
    _Block(5, 120, 40, True, nn.ReLU, 1),
    _Block(5, 120, 40, True, nn.ReLU, 1),
    _Block(3, 240, 80, False, nn.Hardswish, 2),
    _Block(3, 200, 80, False, nn.Hardswish, 1),
    _Block(3, 184, 80, False, nn.Hardswish, 1),
    _Block(3, 184, 80, False, nn.Hardswish, 1),
    _Block(3, 480, 112, True, nn.Hardswish, 1),
    _Block(3, 672, 112, True, nn.Hardswish, 1),
    _Block(5, 672, 160, True, nn.Hardswish, 2),
    _Block(5, 960, 160, True, nn.Hardswish, 1),
    _Block(5, 960, 160, True, nn.Hardswish, 1),
)
"""Blocks 1 to 15; the first convolution is number 0, the last one 16."""

_LAST_FACTOR = 6
"""Channels of the last convolution for each of the last block's."""

PUBLISHED_HIDDEN = 512
"""Size of the hidden layer in the head of the published net of width 0.4."""

_PUBLISHED_HEAD = {"1": "2", "3": "5"}
"""Number of a dense layer in the head -> its published number."""

CLASS_NAMES = files("aed.modules.weights") / "audioset_classes.txt"
"""AudioSet's 527 classes, one a line, in the order of its ``class_labels_indices.csv`` (Google, 2017; CC BY 4.0)."""

Cut = Literal["x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15"]
"""Block after whose expansion a net ends."""


def _wide(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and at least 90 % of ``channels``; MobileNets' own rule."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm and an activation where there is one; an odd ``kernel`` keeps the size."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, curve: type[nn.Module] | None, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        layers = [conv, nn.BatchNorm2d(outputs, eps=0.001, momentum=0.01)]
        super().__init__(*layers, *([curve()] if curve else []))


class _SqueezeExcite(nn.Module):
    """A factor for each channel, from the means of all over mel and time.

    Source: J. Hu et al., "Squeeze-and-Excitation Networks", arXiv:1709.01507. Its dense layers are 1x1 convolutions
    here, which leave no reshaping in the graph.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _wide(channels // 4)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc1, self.fc2 = nn.Conv2d(channels, squeezed, 1), nn.Conv2d(squeezed, channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        factor: Tensor = self.fc2(self.fc1(self.mean(image)).relu()).sigmoid()
        return image * factor


class _InvertedResidual(nn.Module):
    """1x1 expansion where it widens, depthwise convolution, squeeze and excite, 1x1 projection; added to the input."""

    def __init__(self, inputs: int, expanded: int, outputs: int, block: _Block) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(_ConvNorm(inputs, expanded, 1, block.curve))
        layers.append(_ConvNorm(expanded, expanded, block.kernel, block.curve, block.stride, groups=expanded))
        if block.squeezed:
            layers.append(_SqueezeExcite(expanded))
        layers.append(_ConvNorm(expanded, outputs, 1, None))
        self.block = nn.Sequential(*layers)
        self.added = block.stride == 1 and inputs == outputs

    def forward(self, image: Tensor) -> Tensor:
        result: Tensor = self.block(image)
        return result + image if self.added else result


class MobileNetAS(nn.Module):
    """Logits of log-mel patches.

    Args:
        num_classes: Number of outputs.
        width: Factor of all channels; weights are published for 0.4 (mn04).
        cut: Ends with the expansion of this block, ``x7`` to ``x15`` (``x11``: 42 KiB of weights, ``x13``: 150 KiB);
            null: the whole net, without its hidden layer.
        dropout: Share of the embedding dropped in training.
        head_hidden: Size of a hidden layer in the head, with HardSwish as published (512); null: the head is one layer.

    Raises:
        AedError: There is no such net.
    """

    WEIGHTS: ClassVar[dict[float, Weights]] = {
        0.4: Weights(
            file="mn04_as_mAP_432.pt",
            sha256="899a8c6217063f6941793102a2780b3dd788ab11fce468d9cf5f0577c453321c",
            url="https://github.com/fschmid56/EfficientAT/releases/download/v0.0.1/mn04_as_mAP_432.pt",
            licence="MIT",
            source="EfficientAT: mn04_as, distilled from transformers on AudioSet",
            frontend="mn_96x96",
            other_frontends=("mn_128x496", "mn_32k_128x500"),
        )
    }

    def __init__(
        self,
        num_classes: int,
        width: float = 0.4,
        cut: Cut | None = "x13",
        dropout: float = 0.0,
        head_hidden: int | None = None,
    ) -> None:
        super().__init__()
        if not 0.05 <= width <= 4:
            raise AedError(f"net.width: need 0.05 to 4, got {width}")
        if cut is not None and cut not in get_args(Cut):
            raise AedError(f"net.cut: need one of {get_args(Cut)} or null, got {cut!r}")
        self.num_classes, self.width, self.cut = num_classes, width, cut
        self.dropout, self.head_hidden = dropout, head_hidden
        self._last = len(_BLOCKS) + 1 if cut is None else int(cut[1:])
        inputs = _wide(_FIRST * width)
        layers: list[nn.Module] = [_ConvNorm(1, inputs, 3, nn.Hardswish, 2)]
        for block in _BLOCKS[: self._last - 1]:
            outputs = _wide(block.outputs * width)
            layers.append(_InvertedResidual(inputs, _wide(block.expanded * width), outputs, block))
            inputs = outputs
        last = _LAST_FACTOR * inputs if cut is None else _wide(_BLOCKS[self._last - 1].expanded * width)
        layers.append(_ConvNorm(inputs, last, 1, nn.Hardswish))
        self.backbone = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = dense_head(last, num_classes, dropout, head_hidden, nn.Hardswish)

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)`` of any size."""
        logits: Tensor = self.head(self.backbone(patches))
        return logits

    def load_pretrained(self) -> Weights:
        """Loads the published backbone and returns its description.

        Raises:
            AedError: The file cannot be had, or none is published for this width.
        """
        if self.width not in self.WEIGHTS:
            raise AedError(f"net.width: weights are published for {sorted(self.WEIGHTS)}, got {self.width}")
        weights = self.WEIGHTS[self.width]
        path = weights.fetch()
        self._load("backbone", read_torch(path), path)
        return weights

    @classmethod
    def audioset(cls) -> tuple[Self, tuple[str, ...]]:
        """The whole net of width 0.4 with its own head, in inference mode, and the names of its 527 classes.

        As many of them as there are in a recording may be true; their posteriors are sigmoids of the outputs.

        Raises:
            AedError: The file cannot be had.
        """
        names = tuple(CLASS_NAMES.read_text("utf-8").splitlines())
        net = cls(len(names), cut=None, head_hidden=PUBLISHED_HIDDEN)
        path = cls.WEIGHTS[net.width].fetch()
        published = read_torch(path)
        net._load("backbone", published, path)
        net._load("head", published, path)
        return net.eval(), names

    def _load(self, part: Literal["backbone", "head"], published: Mapping[str, Tensor], path: Path) -> None:
        """Loads a part of the net, all of its arrays or none."""
        state = self.get_submodule(part).state_dict()
        names = {name: self._published_name(f"{part}.{name}") for name in state}
        if missing := [name for name in names.values() if name not in published]:
            raise AedError(f"{path}: as a MobileNetAS with cut={self.cut} it lacks {missing}")
        arrays = {name: published[names[name]] for name in state}
        for name, own in state.items():
            if arrays[name].numel() != own.numel():
                raise AedError(f"{path}: {names[name]} needs {tuple(own.shape)}, has {tuple(arrays[name].shape)}")
        # the matrix of a dense layer is the kernel of a 1x1 convolution
        self.get_submodule(part).load_state_dict({name: arrays[name].view_as(own) for name, own in state.items()})

    def _published_name(self, name: str) -> str:
        """The published name of one of the net's arrays, e.g. ``backbone.4.block.2.fc1.weight``."""
        part, number, rest = name.split(".", 2)
        if part == "head":
            return f"classifier.{_PUBLISHED_HEAD[number]}.{rest}"
        if self.cut is not None and int(number) == self._last:
            rest = f"block.0.{rest}"
        return f"features.{number}.{rest.replace('fc', 'conc_se_layers.0.fc')}"
