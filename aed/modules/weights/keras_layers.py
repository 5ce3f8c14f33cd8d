"""Arithmetic of Keras' layers in inference, in torch: images are (B, channels, height, width), not channels last."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

INERT = {"Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout", "GaussianNoise", "ActivityRegularization"}
AUGMENTATION = {"VolumeAugment", "SpecAug"}
"""Classes of ST's zoo."""

INERT |= AUGMENTATION
"""Layers that do nothing in inference."""

Config = dict[str, Any]
Own = dict[str, Tensor]


def _padded(config: Config, x: Tensor, window: list[int], value: float = 0.0) -> Tensor:
    """``x`` with TensorFlow's padding: SAME puts the odd value after."""
    if config.get("data_format", "channels_last") != "channels_last" or set(config.get("dilation_rate", [1])) != {1}:
        raise ValueError("need data_format channels_last and dilation_rate 1")
    if config["padding"] == "valid":
        return x
    pads: list[int] = []
    for size, length, stride in zip(x.shape[:1:-1], window[::-1], config["strides"][::-1], strict=True):
        total = max((-(-size // stride) - 1) * stride + length - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


def _conv(config: Config, own: Own, x: Tensor) -> Tensor:
    kernel, x = own["kernel:0"].permute(3, 2, 0, 1), _padded(config, x, config["kernel_size"])
    return F.conv2d(x, kernel, own.get("bias:0"), config["strides"], groups=config.get("groups", 1))


def _depthwise(config: Config, own: Own, x: Tensor) -> Tensor:
    kernel, x = own["depthwise_kernel:0"].permute(2, 3, 0, 1), _padded(config, x, config["kernel_size"])
    return F.conv2d(x, kernel.flatten(0, 1)[:, None], own.get("bias:0"), config["strides"], groups=len(kernel))


def _norm(config: Config, own: Own, x: Tensor) -> Tensor:
    statistics = own["moving_mean:0"], own["moving_variance:0"]
    return F.batch_norm(x, *statistics, own.get("gamma:0"), own.get("beta:0"), eps=config["epsilon"])


def _relu(config: Config, own: Own, x: Tensor) -> Tensor:
    if config.get("negative_slope") or config.get("threshold"):
        raise ValueError("need a ReLU without slope and threshold")
    return x.clamp(0, config.get("max_value"))


def _max_pool(config: Config, own: Own, x: Tensor) -> Tensor:
    padded = _padded(config, x, config["pool_size"], float("-inf"))
    return F.max_pool2d(padded, config["pool_size"], config["strides"])


def _global_pool(take: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda config, own, x: take(x)[:, :, None, None] if config.get("keepdims") else take(x)


def _permute(config: Config, own: Own, x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).permute(0, *config["dims"]).permute(0, 3, 1, 2)


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": F.relu,
    "relu6": F.relu6,
    "softmax": lambda x: x.softmax(dim=1),
    "sigmoid": torch.sigmoid,
}

OPERATORS: dict[str, Callable[..., Tensor]] = {
    "InputLayer": lambda config, own, x: x,
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _norm,
    "ReLU": _relu,
    "Activation": lambda config, own, x: _ACTIVATIONS[config["activation"]](x),
    "Softmax": lambda config, own, x: x.softmax(dim=1),
    "ZeroPadding2D": lambda config, own, x: F.pad(x, (*config["padding"][1], *config["padding"][0])),
    "MaxPooling2D": _max_pool,
    "GlobalAveragePooling2D": _global_pool(lambda x: x.mean(dim=(2, 3))),
    "GlobalMaxPooling2D": _global_pool(lambda x: x.amax(dim=(2, 3))),
    "Add": lambda config, own, x, y: x + y,
    "Permute": _permute,
    "Flatten": lambda config, own, x: (x.permute(0, 2, 3, 1) if x.ndim == 4 else x).flatten(1),
    "Dense": lambda config, own, x: F.linear(x, own["kernel:0"].T, own.get("bias:0")),
    **dict.fromkeys(INERT, lambda config, own, x: x),
}
"""Kind of layer -> function of its settings, its own arrays and its inputs."""
