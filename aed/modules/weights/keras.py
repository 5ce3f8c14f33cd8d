"""Keras ``.h5`` models: the graph that the file describes, run in torch, and the net of ours that does the same.

Nothing of a file is executed: its JSON names layers, of which the few below are known, and h5py reads arrays. Layout:
``tf.keras`` 2, ``Model.save("x.h5")``: attribute ``model_config``, group ``model_weights/<layer>/<variable>``.
"""

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.base.extras import need
from aed.modules.nets import MiniResNet, YAMNet
from aed.modules.nets.yamnet import CUTS
from aed.modules.weights.published import read_keras_h5

Arrays = dict[str, npt.NDArray[np.float32]]

TOLERANCE = 1e-4
"""Most difference between our net's logits and those of the file's own layers, of logits of about 1."""

_WANTED = "need a model saved by tf.keras 2 as HDF5, model.save('x.h5')"

_MODELS = ("Functional", "Model", "Sequential")

_MAX_SIDE = 4096
"""Most mel bands or frames of a patch: a damaged file could name any number."""

_INERT = {"Dropout", "SpatialDropout2D", "GaussianDropout", "AlphaDropout", "GaussianNoise", "ActivityRegularization"}
_INERT |= {"VolumeAugment", "SpecAug"}
"""Layers that do nothing in inference; the last two are ST's augmentation."""

_DAMAGED = (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, RecursionError)
"""What a damaged description leads its reader to; RuntimeError: torch, of shapes that do not fit."""


@dataclass(frozen=True)
class Call:
    """One layer at work.

    Args:
        kind: Keras' class name.
        name: The layer's.
        config: Its settings.
        inputs: Positions in ``KerasModel.calls`` of what it reads.
    """

    kind: str
    name: str
    config: dict[str, Any]
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class KerasModel:
    """A model as its file has it, nested models unrolled.

    Args:
        path: The file.
        keras: Version of Keras that wrote it.
        calls: In order of computation; the first is the input.
        arrays: Layer and array name -> array, e.g. ``conv1_conv/kernel:0``.
        shape: Of the input, without the batch: (n_mels, patch_frames, 1).
    """

    path: Path
    keras: str
    calls: tuple[Call, ...]
    arrays: Arrays
    shape: tuple[int, int, int]

    @classmethod
    def read(cls, path: Path) -> Self:
        """The model of a file.

        Raises:
            AedError: The file is missing, damaged, or no such model.
        """
        text, keras = _read_config(path)
        try:
            config = json.loads(text)
            calls = [Call("InputLayer", "", {}, ())]
            _unroll(config, (0,), calls)
            shape = next(_shapes(config), None)
        except _DAMAGED as error:
            raise AedError(f"{path}: its model_config is damaged, or of an unknown kind ({error!r})") from error
        if shape is None or len(shape) != 3 or shape[2] != 1 or not all(0 < size <= _MAX_SIDE for size in shape):
            raise AedError(f"{path}: need an input of shape (n_mels, frames, 1), got {shape}")
        arrays = _by_layer(read_keras_h5(path), calls, path)
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise AedError(f"{path}: {name} holds NaN or infinite values: the training diverged")
        return cls(path, keras, tuple(calls), arrays, shape)

    def of_kind(self, *kinds: str) -> list[int]:
        """Positions of the calls of these kinds."""
        return [number for number, call in enumerate(self.calls) if call.kind in kinds]

    def check(self) -> None:
        """Refuses layers whose arithmetic is not known here.

        Raises:
            AedError: Names them.
        """
        if unknown := {call.kind for call in self.calls if call.kind not in _OPERATORS}:
            code = "; a file's own code is never run" if "Lambda" in unknown else ""
            raise AedError(f"{self.path}: layers of the kinds {sorted(unknown)} are not known here{code}")

    @torch.no_grad()
    def run(self, patches: Tensor, last: int) -> Tensor:
        """What call ``last`` gives.

        Args:
            patches: ``(B, 1, n_mels, patch_frames)`` float32.
            last: Position in ``calls``.

        Returns:
            ``(B, channels, height, width)``, or ``(B, values)``, flattened as Keras does it.

        Raises:
            AedError: Arrays are missing or do not fit.
        """
        values = [patches]
        for call in self.calls[1 : last + 1]:
            own = {
                name.rpartition("/")[2]: torch.from_numpy(array)
                for name, array in self.arrays.items()
                if name.rpartition("/")[0] == call.name
            }
            try:
                values.append(_OPERATORS[call.kind](call.config, own, *(values[number] for number in call.inputs)))
            except _DAMAGED as error:
                raise AedError(f"{self.path}: layer {call.name!r} ({call.kind}) cannot be computed: {error}") from error
        return values[last]


def _read_config(path: Path) -> tuple[str, str]:
    """The JSON that describes the model, and the version of Keras."""
    if path.is_dir():
        kind = "a SavedModel folder" if (path / "saved_model.pb").exists() else "a folder"
        raise AedError(f"{path}: {kind}; {_WANTED}")
    if not path.is_file():
        raise AedError(f"{path}: no such file")
    if zipfile.is_zipfile(path):
        raise AedError(f"{path}: a .keras or other zip file; {_WANTED}")
    need("h5py", str(path))
    import h5py

    try:
        with h5py.File(path, "r") as file:
            found = [file.attrs.get(name, "") for name in ("model_config", "keras_version")]
        text, keras = (item.decode() if isinstance(item, bytes) else str(item) for item in found)
    except (OSError, *_DAMAGED) as error:
        raise AedError(f"{path}: not a whole HDF5 file ({error}); {_WANTED}") from error
    if not text:
        raise AedError(f"{path}: has no model_config, perhaps weights alone (save_weights); {_WANTED}")
    if keras.partition(".")[0] not in ("", "2"):
        raise AedError(f"{path}: written by Keras {keras}; {_WANTED} (the package tf_keras writes it too)")
    return text, keras


def _unroll(item: dict[str, Any], given: tuple[int, ...], calls: list[Call]) -> int:
    """Appends the calls of a layer, or of all layers of a model; returns the position of the result."""
    kind, config = str(item["class_name"]).rpartition(">")[2], item["config"]
    if kind not in _MODELS:
        calls.append(Call(kind, config["name"], config, given))
        if config.get("activation") not in (None, "linear") and kind != "Activation":
            calls.append(Call("Activation", f"{config['name']}/activation", config, (len(calls) - 1,)))
        return len(calls) - 1
    (read,) = given
    if kind == "Sequential":
        for layer in config["layers"]:
            if layer["class_name"] != "InputLayer":
                read = _unroll(layer, (read,), calls)
        return read
    (entry,), (result,) = config["input_layers"], config["output_layers"]
    made = {entry[0]: read}
    for layer in config["layers"]:
        if layer["name"] not in made:
            (node,) = layer["inbound_nodes"]  # called once; Keras counts its calls from 1 if it is a model
            made[layer["name"]] = _unroll(layer, tuple(made[name] for name, *_ in node), calls)
    return made[result[0]]


def _shapes(item: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Complete input shapes without the batch, the outermost first."""
    shape = item["config"].get("batch_input_shape") or [None]
    if all(isinstance(size, int) for size in shape[1:]) and len(shape) > 1:
        yield tuple(shape[1:])
    for layer in item["config"].get("layers", ()):
        yield from _shapes(layer)


def _by_layer(arrays: Mapping[str, npt.NDArray[np.float32]], calls: list[Call], path: Path) -> Arrays:
    """Arrays by the names of their layers: inside nested models a scope may stand before it."""
    found: Arrays = {}
    names = {call.name for call in calls if call.kind in ("Conv2D", "DepthwiseConv2D", "BatchNormalization", "Dense")}
    for key, array in arrays.items():
        scope, _, variable = key.rpartition("/")
        parts = scope.split("/")
        # the longest name counts: layer1/conv, not a layer that is called conv
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        layer = next((name for name in ends if name in names), None)
        if layer is None:
            continue
        if f"{layer}/{variable}" in found:
            raise AedError(f"{path}: two layers are called {layer!r}")
        found[f"{layer}/{variable}"] = array
    return found


# --- arithmetic of layers: images are (B, channels, height, width), in Keras the channels are last ------------------

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

_OPERATORS: dict[str, Callable[..., Tensor]] = {
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
    **dict.fromkeys(_INERT, lambda config, own, x: x),
}


# --- which net of ours it is ----------------------------------------------------------------------------------------


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
    """The net of ours that computes what ``model`` does, which random patches prove.

    Raises:
        AedError: There is no such net, or the file is damaged.
    """
    try:
        return _converted(model)
    except _DAMAGED as error:
        raise AedError(f"{model.path}: damaged, or of an unknown kind ({error!r})") from error


def _converted(model: KerasModel) -> Converted:
    head, task = _head(model)
    names = {call.name for call in model.calls}
    make = _yamnet if "layer1/conv" in names else _miniresnet if "conv2_block1_1_conv" in names else None
    if make is None:
        kinds = [call.kind for call in model.calls[1:] if call.kind not in _INERT]
        raise AedError(
            f"{model.path}: neither YAMNet nor MiniResNet, by the names of its layers; it has {len(kinds)} layers, "
            f"first {[call.name for call in model.calls[1:4]]}, of the kinds {sorted(set(kinds))}"
        )
    model.check()
    kernel = model.arrays.get(f"{model.calls[head].name}/kernel:0")
    if kernel is None or kernel.ndim != 2:
        raise AedError(f"{model.path}: the head {model.calls[head].name!r} has no kernel (features, classes)")
    net, preset = make(model, kernel.shape)
    _load_head(model, net.eval(), torch.from_numpy(kernel), model.arrays.get(f"{model.calls[head].name}/bias:0"))
    return Converted(net=net, task=task, preset=preset, difference=_difference(model, net, head))


def _head(model: KerasModel) -> tuple[int, Literal["single_label", "multi_label"]]:
    """Position of the Dense layer that gives the logits, and what follows it means."""
    found = model.of_kind("Dense")
    if len(found) != 1:
        names = [model.calls[number].name for number in found]
        what = "a backbone alone has no classes" if not found else f"it has {names}"
        raise AedError(f"{model.path}: need one Dense layer, the head; {what}")
    after = [call for call in model.calls[found[0] + 1 :] if call.kind not in _INERT]
    ends = [str(call.config["activation"]) if call.kind == "Activation" else call.kind.lower() for call in after]
    ends = [end for end in ends if end != "linear"]
    if ends not in ([], ["softmax"], ["sigmoid"]):
        raise AedError(f"{model.path}: need softmax, sigmoid or nothing after the head, got {ends}")
    return found[0], "multi_label" if ends == ["sigmoid"] else "single_label"


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
    version: Literal["v1", "v2"] = "v2" if "post_bn" in names else "v1"
    if version == "v1" and "conv2_block2_0_conv" in names:
        raise AedError(
            f"{model.path}: the MiniResNet v1 of ST's zoo before 2024, whose second blocks have shortcuts with a "
            "convolution; only the later one is known here"
        )
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

    Published files have it with pooling only; what the zoo trains from scratch always has it.
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
    """Takes the head's kernel ``(features, classes)``; Keras flattens (height, width, channels), torch channels first.

    Raises:
        AedError: It does not fit the backbone.
    """
    backbone, linear = net.get_submodule("backbone"), net.get_submodule("head.1")
    assert isinstance(backbone, nn.Sequential) and isinstance(linear, nn.Linear)
    with torch.no_grad():
        _, channels, height, width = backbone[:-1](torch.zeros(1, 1, *model.shape[:2])).shape
        if kernel.shape[0] != channels * height * width or kernel.shape[0] != linear.in_features:
            raise AedError(
                f"{model.path}: the head takes {kernel.shape[0]} features, the backbone makes "
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
