"""A Keras model as the net of aed that computes the same: YAMNet or MiniResNet, proved on random patches."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.modules.nets import MiniResNet, YAMNet
from aed.modules.nets.miniresnet import Version
from aed.modules.nets.yamnet import CUTS
from aed.modules.weights.keras import DAMAGED, KerasModel
from aed.modules.weights.keras_layers import INERT
from aed.modules.weights.published import Arrays

TOLERANCE = 1e-4
"""Most difference between our net's logits and those of the file's own layers, of logits of about 1."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A Keras model as one of our nets.

    Args:
        net: With the file's weights, in inference mode; gives logits.
        task: ``multi_label`` where the model ended in a sigmoid.
        preset: Name of the front end that the architecture goes with.
        difference: Most absolute difference of its logits to those of the file's own layers, on random patches.
    """

    net: nn.Module
    task: Literal["single_label", "multi_label"]
    preset: str
    difference: float


def convert(model: KerasModel) -> Converted:
    """The net of ours that computes the same as ``model``, checked on random patches.

    Raises:
        AedError: There is no such net, or the file is damaged.
    """
    try:
        return _converted(model)
    except DAMAGED as error:
        raise AedError(f"{model.path}: damaged, or of an unknown kind ({error!r})") from error


def _converted(model: KerasModel) -> Converted:
    model.check()
    head, task = _head(model)
    model = _with_yamnet_names(model)
    names = {call.name for call in model.calls}
    make = _yamnet if "layer1/conv" in names else _miniresnet if "conv2_block1_1_conv" in names else None
    if make is None:
        kinds = [call.kind for call in model.calls[1:] if call.kind not in INERT]
        raise AedError(
            f"{model.path}: neither YAMNet nor MiniResNet, by its layers; it has {len(kinds)}, first "
            f"{[call.name for call in model.calls[1:4]]}, kinds {sorted(set(kinds))}; any net of common operators "
            "can come as .tflite: tf.lite.TFLiteConverter.from_keras_model(model).convert()"
        )
    kernel = model.arrays.get(f"{model.calls[head].name}/kernel:0")
    if kernel is None or kernel.ndim != 2:
        raise AedError(f"{model.path}: the head {model.calls[head].name!r} has no kernel (features, classes)")
    net, preset = make(model, kernel.shape)
    _load_head(model, net.eval(), torch.from_numpy(kernel), model.arrays.get(f"{model.calls[head].name}/bias:0"))
    return Converted(net=net, task=task, preset=preset, difference=_difference(model, net, head))


def _head(model: KerasModel) -> tuple[int, Literal["single_label", "multi_label"]]:
    """Position of the Dense layer that computes the logits, and the task that the activation after it stands for."""
    heads = model.of_kind("Dense")
    if len(heads) != 1:
        names = [model.calls[number].name for number in heads]
        problem = "a backbone alone has no classes" if not heads else f"it has {names}"
        raise AedError(f"{model.path}: need one Dense layer, the head; {problem}")
    after = [call for call in model.calls[heads[0] + 1 :] if call.kind not in INERT]
    ends = [str(call.config["activation"]) if call.kind == "Activation" else call.kind.lower() for call in after]
    ends = [end for end in ends if end != "linear"]
    if ends not in ([], ["softmax"], ["sigmoid"]):
        raise AedError(f"{model.path}: need softmax, sigmoid or nothing after the head, got {ends}")
    return heads[0], "multi_label" if ends == ["sigmoid"] else "single_label"


def _with_yamnet_names(model: KerasModel) -> KerasModel:
    """``model``, its layers renamed as Google named them if they are a YAMNet's; Keras 3 has no ``/`` in names."""
    weighted = model.of_kind("Conv2D", "DepthwiseConv2D")
    kinds = [model.calls[number].kind for number in weighted]
    if len(kinds) < 3 or kinds != ["Conv2D", *["DepthwiseConv2D", "Conv2D"] * (len(kinds) // 2)]:
        return model
    names = {}
    for place, number in enumerate(weighted):
        kind = "conv" if place == 0 else "pointwise_conv" if model.calls[number].kind == "Conv2D" else "depthwise_conv"
        names[model.calls[number].name] = name = f"layer{(place + 3) // 2}/{kind}"
        norms = [other for other in model.of_kind("BatchNormalization") if number in model.calls[other].inputs]
        names |= {model.calls[other].name: f"{name}/bn" for other in norms}
    arrays = {}
    for key, array in model.arrays.items():
        layer, _, variable = key.rpartition("/")
        arrays[f"{names.get(layer, layer)}/{variable}"] = array
    calls = tuple(replace(call, name=names.get(call.name, call.name)) for call in model.calls)
    return replace(model, calls=calls, arrays=arrays)


def _dropout(model: KerasModel) -> float:
    return float(next((model.calls[number].config["rate"] for number in model.of_kind("Dropout")), 0.0))


def _yamnet(model: KerasModel, head: tuple[int, ...]) -> tuple[nn.Module, str]:
    names = {call.name for call in model.calls}
    depth = 1
    while f"layer{depth + 1}/pointwise_conv" in names:
        depth += 1
    clipped = {model.calls[number].config.get("max_value") for number in model.of_kind("ReLU")} == {6.0}
    features, classes = head
    try:
        net = YAMNet(
            classes,
            embedding_size=features,
            dropout=_dropout(model),
            weights="google" if clipped else "st",
            layers=None if CUTS.get(features) == depth else depth,
        )
    except AedError as error:
        raise AedError(f"{model.path}: a YAMNet of {depth} layers and {features} features: {error}") from error
    net.load_keras(model.arrays, str(model.path))
    return net, "yamnet_64x96"


def _miniresnet(model: KerasModel, head: tuple[int, ...]) -> tuple[nn.Module, str]:
    names = {call.name for call in model.calls}
    version: Version = "v2" if "post_bn" in names else "v1_2023" if "conv2_block2_0_conv" in names else "v1"
    stacks = 0
    while f"conv{stacks + 2}_block1_1_conv" in names:
        stacks += 1
    average, largest = model.of_kind("GlobalAveragePooling2D"), model.of_kind("GlobalMaxPooling2D")
    pooling: Literal["none", "avg", "max"] = "avg" if average else "max" if largest else "none"
    n_mels, frames, _ = model.shape
    try:
        net = MiniResNet(head[1], version, stacks, pooling, n_mels, frames, _dropout(model))
    except AedError as error:
        raise AedError(f"{model.path}: {error}") from error
    own = model.calls[model.of_kind("Dense")[0]].name
    arrays = {key: array for key, array in model.arrays.items() if key.rpartition("/")[0] != own}
    if version == "v2":
        _fit_biases(arrays, stacks, keep=pooling != "none")
    net.load_keras(arrays, str(model.path))
    return net, "miniresnet_64x50"


def _fit_biases(arrays: Arrays, stacks: int, keep: bool) -> None:
    """Gives the 3x3 convolutions of v2 a bias, or moves it to where the same net has one without.

    Published files have it with pooling only; models that the zoo trains from scratch always have it.
    """
    for block in (f"conv{number}_block" for number in range(2, stacks + 2)):
        shortcut = f"{block}1_0_conv/bias:0"
        biases = [arrays.pop(f"{block}{number}_2_conv/bias:0", np.zeros(1, np.float32)) for number in (1, 2)]
        if shortcut not in arrays:
            continue  # load_keras says so
        if keep:
            for number, bias in zip((1, 2), biases, strict=True):
                arrays[f"{block}{number}_2_conv/bias:0"] = np.broadcast_to(bias, arrays[shortcut].shape).copy()
            continue
        # the second block's shortcut hands its input on as it is, and its main path takes the mean away first
        arrays[shortcut] = arrays[shortcut] + biases[0] + biases[1]
        mean = f"{block}2_preact_bn/moving_mean:0"
        arrays[mean] = arrays.get(mean, np.zeros(1, np.float32)) + biases[1]


def _load_head(model: KerasModel, net: nn.Module, kernel: Tensor, bias: npt.NDArray[np.float32] | None) -> None:
    """Loads the head's kernel ``(features, classes)``; Keras flattens (height, width, channels), torch channels first.

    Raises:
        AedError: It does not fit the backbone.
    """
    backbone, linear = net.get_submodule("backbone"), net.get_submodule("head.1")
    assert isinstance(backbone, nn.Sequential) and isinstance(linear, nn.Linear)
    with torch.no_grad():
        _, channels, height, width = backbone[:-1](torch.zeros(1, 1, *model.shape[:2])).shape
        if kernel.shape[0] != channels * height * width or kernel.shape[0] != linear.in_features:
            raise AedError(
                f"{model.path}: the head takes {kernel.shape[0]} features, the backbone has "
                f"{channels * height * width} of an input of shape {model.shape}"
            )
        ordered = kernel.reshape(height, width, channels, -1).permute(3, 2, 0, 1).flatten(1)
        linear.weight.copy_(ordered)
        linear.bias.copy_(torch.zeros(len(ordered)) if bias is None else torch.from_numpy(bias))


def _difference(model: KerasModel, net: nn.Module, head: int) -> float:
    """Most absolute difference of logits, on noise in the range of log-mel and on noise in that of dB."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 1, *model.shape[:2], generator=generator)
    patches = torch.cat([12 * noise - 9, 80 * noise - 80])
    expected = model.run(patches, head)
    with torch.no_grad():
        difference = float((net(patches) - expected).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise AedError(
            f"{model.path}: its layers have the names of {type(net).__name__}, but compute something else: logits "
            f"differ by {difference:.2g}; was its architecture changed?"
        )
    return difference
