"""YAMNet: MobileNet v1 on log-mel patches, whole or cut after any layer.

Paper: A. G. Howard et al., "MobileNets", arXiv:1704.04861. Reference: Google's YAMNet, trained on AudioSet
(https://github.com/tensorflow/models/tree/master/research/audioset/yamnet), and ST's ``yamnet_256``, its first six
layers retrained (ST model zoo, ``audio_event_detection``).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.modules.head import dense_head
from aed.modules.time_padding import TimePadding, check_frames, check_time_padding
from aed.modules.weights.published import Weights, read_keras_h5
from aed.modules.weights.tflite import read_labels, read_tflite

_LAYERS = ((32, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""(channels, stride): a convolution, then separable layers."""

CUTS = {256: 6, 512: 8, 1024: 14}
"""Embedding size -> layers: ST's cut, two layers more (34 M MACC at 64x96), all."""

EPS = 1e-4
"""Of BatchNorm, as published."""


class _ConvNorm(nn.Sequential):
    """Convolution, BatchNorm, activation, with TensorFlow's SAME padding for even sizes: (0, 1) at stride 2.

    With ``time_padding`` ``valid`` there is none along time.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        relu: type[nn.Module] = nn.ReLU,
        time_padding: TimePadding = "same",
    ) -> None:
        super().__init__()
        over_time = time_padding == "same"
        self.pad = nn.ZeroPad2d((0, int(over_time), 0, 1)) if stride == 2 else nn.Identity()
        padding = (0, 0) if stride == 2 else (kernel // 2, kernel // 2 if over_time else 0)
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=EPS)
        self.relu = relu()

    @torch.no_grad()
    def load(self, kernel: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> None:
        """Loads a kernel ``(out, in, mel, time)`` and the values of its BatchNorm, ``(out,)`` each."""
        self.conv.weight.copy_(kernel)
        values = (self.norm.weight, scale), (self.norm.bias, bias)
        for own, value in (*values, (self.norm.running_mean, mean), (self.norm.running_var, variance)):
            assert own is not None
            own.copy_(value)


class YAMNet(nn.Module):
    """Logits of log-mel patches.

    Args:
        num_classes: Number of outputs.
        embedding_size: Channels before the head: 256 (23.9 M MACC at 64x96), 512 (34) or 1024 (69).
        dropout: Share of the embedding dropped in training.
        weights: Whose published backbone ``load_pretrained`` takes, and so the activation. ``st``: six layers, ReLU,
            on ``frontend=yamnet_64x96``. ``google``: any cut of the original, ReLU6, on
            ``frontend=yamnet_google_64x96``; ST's own yamnet_512 and yamnet_1024 files are others.
        layers: To cut after, the first convolution included; null: 6, 8 or 14, by ``embedding_size``.
        time_padding: ``valid``: none, so that the C code can run the net as a stream (``plan=stream``); a patch then
            needs enough frames. Weights were published for ``same``.
        head_hidden: Size of a hidden layer in the head; null: the head is one layer.

    Raises:
        AedError: There is no such cut.
    """

    WEIGHTS: ClassVar[dict[str, Weights]] = {
        "st": Weights(
            file="yamnet_256_f32.h5",
            sha256="dfa6066b3f3bece880e9813b05cffb6a8328fe3da832f62401ce553dd380d2b3",
            url="https://github.com/STMicroelectronics/stm32ai-modelzoo/raw/"
            "79cff53625b6b300b69f007d1ed11a40d5704795/audio_event_detection/src/models/yamnet/yamnet_256_f32.h5",
            licence="Apache-2.0",
            source="ST model zoo: YAMNet trained on AudioSet, cut to 256 features",
            frontend="yamnet_64x96",
        ),
        "google": Weights(
            file="lite-model_yamnet_classification_tflite_1.tflite",
            sha256="10c95ea3eb9a7bb4cb8bddf6feb023250381008177ac162ce169694d05c317de",
            url="https://storage.googleapis.com/download.tensorflow.org/models/tflite/task_library/"
            "audio_classification/android/lite-model_yamnet_classification_tflite_1.tflite",
            licence="Apache-2.0",
            source="Google: YAMNet trained on AudioSet, published in int8, dequantised",
            frontend="yamnet_google_64x96",
        ),
    }

    def __init__(
        self,
        num_classes: int,
        embedding_size: int = 256,
        dropout: float = 0.0,
        weights: Literal["st", "google"] = "st",
        layers: int | None = None,
        time_padding: TimePadding = "same",
        head_hidden: int | None = None,
    ) -> None:
        super().__init__()
        check_time_padding(time_padding)
        if weights not in self.WEIGHTS:
            raise AedError(f"net.weights: need one of {sorted(self.WEIGHTS)}, got {weights!r}")
        if layers is None and embedding_size not in CUTS:
            raise AedError(f"net.embedding_size: need one of {sorted(CUTS)} or layers, got {embedding_size}")
        depth = CUTS[embedding_size] if layers is None else layers
        fitting = [number for number, (size, _) in enumerate(_LAYERS, 1) if size == embedding_size]
        if depth not in fitting:
            raise AedError(f"net.layers: embedding_size={embedding_size} is that of layers {fitting}, got {layers}")
        self.num_classes, self.embedding_size, self.dropout = num_classes, embedding_size, dropout
        self.weights, self.layers, self.time_padding = weights, layers, time_padding
        self._windows = [(3, stride) for _, stride in _LAYERS[:depth]] if time_padding == "valid" else []
        self.head_hidden = head_hidden
        relu = nn.ReLU6 if weights == "google" else nn.ReLU
        (inputs, stride), *separable = _LAYERS[:depth]
        layers_: list[nn.Module] = [_ConvNorm(1, inputs, 3, stride, relu=relu, time_padding=time_padding)]
        for outputs, stride in separable:
            layers_.append(_ConvNorm(inputs, inputs, 3, stride, groups=inputs, relu=relu, time_padding=time_padding))
            layers_.append(_ConvNorm(inputs, outputs, 1, relu=relu))
            inputs = outputs
        self.backbone = nn.Sequential(*layers_, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = dense_head(inputs, num_classes, dropout, head_hidden)
        self._folded = False

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)``, both even before each stride.

        Raises:
            AedError: There are too few frames to do without padding.
        """
        check_frames(self._windows, int(patches.shape[3]))
        logits: Tensor = self.head(self.backbone(patches))
        return logits

    def train(self, mode: bool = True) -> Self:
        """Training mode, but a BatchNorm that was published folded, hence without statistics, stays affine."""
        super().train(mode)
        if self._folded:
            for layer in self._conv_norms():
                layer.norm.eval()
        return self

    def load_pretrained(self) -> Weights:
        """Loads the published backbone and returns its description.

        The published nets see (time, mel); here a patch is (mel, time), so every kernel is transposed once and
        no Transpose is left in the graph.

        Raises:
            AedError: The file cannot be had, or its arrays do not fit.
        """
        weights = self.WEIGHTS[self.weights]
        depth = CUTS[self.embedding_size] if self.layers is None else self.layers
        if self.weights == "st" and depth > CUTS[256]:
            raise AedError(
                f"net.weights=st: published for {CUTS[256]} layers, not {depth}; for more take weights=google and "
                f"frontend={self.WEIGHTS['google'].frontend}"
            )
        path = weights.fetch()
        if self.weights == "google":
            self._load_google(path)
        else:
            self.load_keras(read_keras_h5(path), str(path))
        return weights

    @classmethod
    def audioset(cls) -> tuple[Self, tuple[str, ...]]:
        """Google's YAMNet with its own head, in inference mode, and the names of AudioSet's 521 classes it knows.

        Its outputs are independent: a sigmoid makes a class's posterior.

        Raises:
            AedError: The file is not to be had.
        """
        path = cls.WEIGHTS["google"].fetch()
        names = read_labels(path, "yamnet_label_list.txt")
        net = cls(len(names), embedding_size=1024, weights="google")
        net.load_pretrained()
        own, linear = read_tflite(path)[-1], net.head[-1]
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(own.weight))
            linear.bias.copy_(torch.from_numpy(own.bias))
        return net.eval(), names

    def load_keras(self, arrays: Mapping[str, npt.NDArray[np.float32]], name: str) -> None:
        """Loads the backbone from a Keras model's arrays; others are left out.

        Args:
            arrays: Layer and array name -> array, e.g. ``layer2/pointwise_conv/kernel:0`` (time, mel, in, out).
            name: Of the file, for messages.

        Raises:
            AedError: An array is missing, or has another shape.
        """
        arranged: list[tuple[_ConvNorm, list[Tensor]]] = []
        for number, layer in enumerate(self._conv_norms()):
            depthwise = layer.conv.groups > 1
            kind = "conv" if number == 0 else "depthwise_conv" if depthwise else "pointwise_conv"
            scope = f"layer{(number + 3) // 2}/{kind}"
            parts = [f"{scope}/bn/{part}:0" for part in ("gamma", "beta", "moving_mean", "moving_variance")]
            keys = [f"{scope}/{'depthwise_kernel' if depthwise else 'kernel'}:0", *parts]
            ones = np.ones(layer.conv.out_channels, np.float32)
            available = {keys[1]: ones, **arrays}  # published without a scale
            if missing := [key for key in keys if key not in available]:
                raise AedError(f"{name}: as a YAMNet with embedding_size={self.embedding_size} it lacks {missing}")
            kernel, *rest = (torch.from_numpy(available[key]) for key in keys)
            # (time, mel, in, out) -> (out, in, mel, time); depthwise is (time, mel, channels, 1)
            kernel = kernel.permute((2, 3, 1, 0) if depthwise else (3, 2, 1, 0)) if kernel.ndim == 4 else kernel
            for key, value, wanted in zip(
                keys, [kernel, *rest], [layer.conv.weight, *[layer.norm.weight] * 4], strict=True
            ):
                if value.shape != wanted.shape:
                    raise AedError(
                        f"{name}: {key} needs shape {tuple(wanted.shape)} in torch's order, got {tuple(value.shape)}"
                    )
            arranged.append((layer, [kernel, *rest]))
        for layer, values in arranged:
            layer.load(*values)

    def _load_google(self, path: Path) -> None:
        _, *published = read_tflite(path)  # the first is the mel matrix
        for layer, (weight, bias) in zip(self._conv_norms(), published, strict=False):
            depthwise = layer.conv.groups > 1
            # (out, time, mel, in) -> (out, in, mel, time); depthwise is (1, time, mel, channels)
            kernel = torch.from_numpy(weight).permute((3, 0, 2, 1) if depthwise else (0, 3, 2, 1))
            shift = torch.from_numpy(bias)
            # BatchNorm was published folded into the kernel, w = v * scale. Its factors span 0.014 to 32 a channel in
            # the last layers, and trained as one with the direction they diverge: on fold 3 of ESC-10, layers 12 to 14
            # and the head, SGD, rate 0.02, momentum 0.9, 3 epochs, ended at 97.5 % of the clips with the scale held
            # apart and at 10 % without. Adam, which rescales by itself, at 0.001: 93.2 and 90.3 % of the patches.
            scale = kernel.flatten(1).norm(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
            none = torch.zeros_like(shift)
            layer.load(kernel / scale[:, None, None, None], scale, shift, none, none + (1 - EPS))
        self._folded = True

    def _conv_norms(self) -> Iterator[_ConvNorm]:
        return (layer for layer in self.backbone if isinstance(layer, _ConvNorm))
