"""MiniResNet v1 and v2: one to three stacks of two residual blocks on dB-mel patches.

Papers: K. He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385 (v1), and "Identity Mappings in
Deep Residual Networks", arXiv:1603.05027 (v2). Reference: ST model zoo, ``audio_event_detection/src/models``, the
topology of its backbone files; what it published as v1 in 2023 has strides and shortcuts elsewhere (``v1_2023``).
"""

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.modules.head import dense_head
from aed.modules.time_padding import TimePadding, check_frames, check_time_padding, frames_left
from aed.modules.weights.published import Weights, read_keras_h5

Version = Literal["v1", "v1_2023", "v2"]
Pooling = Literal["none", "avg", "max"]

_SHA256 = {
    "miniresnet_1_stacks_backbone.h5": "11b54a8c2fe234c97bec1ab735137a8880f66c05c0746d4dbb467b9bedcddd57",
    "miniresnet_2_stacks_backbone.h5": "f3e3d7c43c6bc274619f3ce165096f21c0008acdc414123c1de8f4cc995ee812",
    "miniresnetv2_1_stacks_backbone.h5": "43f954bef26ea2035323c49e37e91913a20c47607b007b1d96826dc03a8e3a19",
    "miniresnetv2_2_stacks_backbone.h5": "04162735818243374c6fdb5b2c4a125f84e1290637a182213ebdfff33073a00d",
    "pooled_miniresnet_1_stacks_backbone.h5": "9e5a8beb4292631b28f4e9613a9e36e7c253e9d671ba7a9ca15674d2cd3c495a",
    "pooled_miniresnet_2_stacks_backbone.h5": "974108c4dda3e98fae1e84c9f358ea51b4fae51fff7859e744db01c18a1482ca",
    "pooled_miniresnetv2_1_stacks_backbone.h5": "932a59f961206b4dcf8ca2da39177382e0e1f13db3f86170bda670a25aff01b2",
    "pooled_miniresnetv2_2_stacks_backbone.h5": "415fb809d296b4b9a5845f086c1a54cda0aac616668b451a0a88c41535e196f3",
}


def published(version: Version, n_stacks: int, pooling: Pooling) -> Weights:
    """The weights that ST published for a net of one or two stacks, with pooling ``none`` or ``avg``."""
    folder = {"v1": "miniresnet", "v2": "miniresnetv2"}[version]
    file = f"{'pooled_' if pooling == 'avg' else ''}{folder}_{n_stacks}_stacks_backbone.h5"
    return Weights(
        file=file,
        sha256=_SHA256[file],
        url="https://github.com/STMicroelectronics/stm32ai-modelzoo/raw/"
        f"79cff53625b6b300b69f007d1ed11a40d5704795/audio_event_detection/src/models/{folder}/{file}",
        licence="Apache-2.0",
        source=f"ST model zoo: MiniResNet {version} trained on FSD50K, stacks: {n_stacks}, pooling: {pooling}",
        frontend="miniresnet_64x50",
        origin="Freesound",
    )


WIDTH = 64
"""Channels of the first stack; each has twice as many as the one before."""

_ENTRY = ((7, 2), (3, 2))
_STACK = {"v1": ((1, 2), (3, 1), (3, 1)), "v1_2023": ((3, 1), (1, 2), (3, 1)), "v2": ((3, 1), (3, 2))}
"""Size and stride along time of the windows before the stacks, and of those of a stack on its main path."""


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1.001e-5, momentum=0.01)  # Keras' ResNet: 0.99 of the old statistics stay


def _around(size: int, time_padding: TimePadding) -> tuple[int, int]:
    """Padding of the mel axis and of time."""
    return size, size if time_padding == "same" else 0


class _Cut(nn.Module):
    """The frames of a shortcut on which a main path without padding along time is centred.

    Args:
        frames: That the main path does not reach at either end.
        time_padding: With ``same`` it reaches all.
    """

    def __init__(self, frames: int, time_padding: TimePadding) -> None:
        super().__init__()
        self.frames = frames if time_padding == "valid" else 0

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, height, width - 2 * frames)`` of ``(B, channels, height, width)``."""
        return image[..., self.frames : -self.frames] if self.frames else image


class _Block(nn.Module):
    """Residual block of v1, with a ReLU before the addition too.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        stride: Of both paths; 2 halves the image.
        projects: Whether the shortcut is a convolution.
        time_padding: ``valid``: the 3x3 convolution has none along time.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, projects: bool, time_padding: TimePadding) -> None:
        super().__init__()
        self.cut = _Cut(stride, time_padding)
        self.shortcut = nn.Sequential()
        if projects:
            self.shortcut = _named(conv0=nn.Conv2d(inputs, outputs, 1, stride), bn0=_norm(outputs))
        self.main = _named(
            conv1=nn.Conv2d(inputs, outputs, 1, stride),
            bn1=_norm(outputs),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(outputs, outputs, 3, padding=_around(1, time_padding)),
            bn2=_norm(outputs),
            relu2=nn.ReLU(),
        )
        self.relu = nn.ReLU()

    def forward(self, image: Tensor) -> Tensor:
        summed: Tensor = self.relu(self.shortcut(self.cut(image)) + self.main(image))
        return summed


class _PreBlock(nn.Module):
    """Residual block of v2: BatchNorm and ReLU come before the convolutions, nothing after the addition.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        first: Of its stack: changes the channels; the other one halves the image.
        bias: Whether the 3x3 convolution has one.
        time_padding: ``valid``: the 3x3 convolution has none along time.
    """

    def __init__(self, inputs: int, outputs: int, first: bool, bias: bool, time_padding: TimePadding) -> None:
        super().__init__()
        self.cut = _Cut(1, time_padding)
        self.preact = _named(preact_bn=_norm(inputs), relu=nn.ReLU())
        # the projection reads what the main path reads; the other shortcut every second value of the block's input
        self.conv0 = nn.Conv2d(inputs, outputs, 1) if first else None
        self.halve = nn.MaxPool2d(1, stride=2)
        self.main = _named(
            conv1=nn.Conv2d(inputs, outputs, 1, bias=False),
            bn1=_norm(outputs),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(outputs, outputs, 3, stride=1 if first else 2, padding=_around(1, time_padding), bias=bias),
        )

    def forward(self, image: Tensor) -> Tensor:
        active = self.preact(image)
        shortcut = self.halve(self.cut(image)) if self.conv0 is None else self.conv0(self.cut(active))
        summed: Tensor = shortcut + self.main(active)
        return summed


class _GlobalMaxPool(nn.Module):
    """The maximum of each channel, as a plain pool over the whole image: int8 kernels have no other."""

    def forward(self, image: Tensor) -> Tensor:
        """``(B, channels, 1, 1)`` of ``(B, channels, height, width)``."""
        return F.max_pool2d(image, (int(image.shape[2]), int(image.shape[3])))  # int: a constant to the exporter


class MiniResNet(nn.Module):
    """Logits of dB-mel patches.

    Args:
        num_classes: Number of outputs.
        version: ``v1``, ``v2`` with BatchNorm and ReLU before the convolutions, or ``v1_2023``: what ST published as
            v1 in 2023, whose second block halves the image, both blocks with a convolution as shortcut.
        n_stacks: Stacks of two blocks, 1 to 3: 64, 128 and 256 channels; each halves the image.
        pooling: From image to embedding: ``none`` keeps all its values, ``avg`` and ``max`` a value per channel.
            Weights are published for one and two stacks with ``none`` and ``avg``; those of v1 are the same, and serve
            ``max`` too.
        n_mels: Mel bands of a patch; without pooling the head's size depends on it.
        patch_frames: Frames of a patch; as above.
        dropout: Share of the embedding dropped in training.
        time_padding: ``valid``: none, so that the C code can run the net as a stream (``plan=stream``) if ``pooling``
            is ``avg``; a patch then needs enough frames. Weights were published for ``same``.
        head_hidden: Size of a hidden layer in the head; null: the head is one layer.

    Raises:
        AedError: There is no such net, or ``patch_frames`` are too few to do without padding.
    """

    WEIGHTS: ClassVar[dict[tuple[Version, int, Pooling], Weights]] = {
        key: published(*key)
        for n_stacks in (1, 2)
        for key in (
            ("v1", n_stacks, "none"),
            ("v1", n_stacks, "avg"),
            ("v1", n_stacks, "max"),
            ("v2", n_stacks, "none"),
            ("v2", n_stacks, "avg"),
        )
    }

    def __init__(
        self,
        num_classes: int,
        version: Version = "v1",
        n_stacks: int = 2,
        pooling: Pooling = "none",
        n_mels: int = 64,
        patch_frames: int = 50,
        dropout: float = 0.0,
        time_padding: TimePadding = "same",
        head_hidden: int | None = None,
    ) -> None:
        super().__init__()
        check_time_padding(time_padding)
        for name, value, allowed in (
            ("version", version, get_args(Version)),
            ("n_stacks", n_stacks, (1, 2, 3)),
            ("pooling", pooling, ("none", "avg", "max")),
        ):
            if value not in allowed:
                raise AedError(f"net.{name}: need one of {allowed}, got {value!r}")
        self.num_classes, self.version, self.n_stacks, self.pooling = num_classes, version, n_stacks, pooling
        self.n_mels, self.patch_frames, self.dropout = n_mels, patch_frames, dropout
        self.time_padding, self.head_hidden = time_padding, head_hidden
        self._windows = [*_ENTRY, *_STACK[version] * n_stacks] if time_padding == "valid" else []
        around = partial(_around, time_padding=time_padding)
        widths = [WIDTH * 2**stack for stack in range(n_stacks)]
        layers: dict[str, nn.Module] = {"conv1_conv": nn.Conv2d(1, WIDTH, 7, stride=2, padding=around(3))}
        if version != "v2":
            # padded with zeros in ST's; after a ReLU no padding can win either
            layers |= {"conv1_bn": _norm(WIDTH), "conv1_relu": nn.ReLU(), "pool1_pool": nn.MaxPool2d(3, 2, around(1))}
        else:
            # here a zero does win over negative values
            bands, frames = around(1)
            layers |= {"pool1_pad": nn.ZeroPad2d((frames, frames, bands, bands)), "pool1_pool": nn.MaxPool2d(3, 2)}
        inputs = WIDTH
        for number, width in enumerate(widths, start=2):
            for block, first in ((1, True), (2, False)):
                bias = pooling != "none"  # as the published files have it
                halves = first if version == "v1" else not first
                layers[f"conv{number}_block{block}"] = (
                    _PreBlock(inputs, width, first, bias, time_padding)
                    if version == "v2"
                    else _Block(inputs, width, 2 if halves else 1, first or version == "v1_2023", time_padding)
                )
                inputs = width
        if version == "v2":
            layers |= {"post_bn": _norm(inputs), "post_relu": nn.ReLU()}
        size = inputs
        if pooling == "none":
            halvings = 2 ** (2 + n_stacks)  # each rounds up
            valid = time_padding == "valid"
            columns = frames_left(self._windows, patch_frames) if valid else -(-patch_frames // halvings)
            size *= -(-n_mels // halvings) * columns
        else:
            layers["pool"] = nn.AdaptiveAvgPool2d(1) if pooling == "avg" else _GlobalMaxPool()
        self.backbone = nn.Sequential(OrderedDict(layers | {"flatten": nn.Flatten()}))
        self.head = dense_head(size, num_classes, dropout, head_hidden)

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)``, of any size with pooling.

        Without pooling an embedding lies in torch's order, channel by channel; Keras' has the channels innermost.

        Raises:
            AedError: There are too few frames to do without padding.
        """
        check_frames(self._windows, int(patches.shape[3]))
        logits: Tensor = self.head(self.backbone(patches))
        return logits

    def load_pretrained(self) -> Weights:
        """Loads the published backbone and returns its description.

        Raises:
            AedError: There is none, its file is not to be had, or its arrays do not fit.
        """
        key = (self.version, self.n_stacks, self.pooling)
        if key not in self.WEIGHTS:
            known = ", ".join(f"{v} with n_stacks={n} pooling={p}" for v, n, p in self.WEIGHTS)
            raise AedError(
                f"net: no weights are published for {self.version} with n_stacks={self.n_stacks} "
                f"pooling={self.pooling}; there are {known}, or train from scratch with model.pretrained=false"
            )
        weights = self.WEIGHTS[key]
        path = weights.fetch()
        self.load_keras(read_keras_h5(path), str(path))
        return weights

    def load_keras(self, arrays: Mapping[str, npt.NDArray[np.float32]], name: str) -> None:
        """Loads the backbone from a Keras model's arrays.

        Args:
            arrays: Layer and array name -> array, e.g. ``conv2_block1_1_conv/kernel:0`` (height, width, in, out).
            name: Of the file, for messages.

        Raises:
            AedError: An array is missing, has another shape, or belongs to another net.
        """
        wanted = dict(self._keras_arrays())
        if set(arrays) != set(wanted):
            raise AedError(
                f"{name} is no backbone of MiniResNet {self.version} with n_stacks={self.n_stacks} "
                f"pooling={self.pooling}: it lacks {sorted(set(wanted) - set(arrays))[:4]} "
                f"and has {sorted(set(arrays) - set(wanted))[:4]} besides"
            )
        ours = {key: torch.from_numpy(array) for key, array in arrays.items()}
        # (height, width, in, out) -> (out, in, height, width)
        ours = {key: array.permute(3, 2, 0, 1) if array.ndim == 4 else array for key, array in ours.items()}
        for key, array in ours.items():
            if array.shape != wanted[key].shape:
                raise AedError(
                    f"{name}: {key} needs shape {tuple(wanted[key].shape)} in torch's order, got {tuple(array.shape)}"
                )
        with torch.no_grad():
            for key, array in ours.items():
                wanted[key].copy_(array)

    def _keras_arrays(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters and statistics of the backbone by the names that Keras files give them."""
        for path, layer in self.backbone.named_modules():
            # conv2_block1.main.conv1 is conv2_block1_1_conv there
            name = re.sub(r"\.(?:\w+\.)?(conv|bn)(\d)$", r"_\2_\1", path)
            name = re.sub(r"\.(?:\w+\.)?preact_bn$", "_preact_bn", name)
            if isinstance(layer, nn.Conv2d):
                yield f"{name}/kernel:0", layer.weight
                if layer.bias is not None:
                    yield f"{name}/bias:0", layer.bias
            elif isinstance(layer, nn.BatchNorm2d):
                yield f"{name}/gamma:0", layer.weight
                yield f"{name}/beta:0", layer.bias
                yield f"{name}/moving_mean:0", layer.get_buffer("running_mean")
                yield f"{name}/moving_variance:0", layer.get_buffer("running_var")


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))
