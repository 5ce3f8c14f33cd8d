"""Keras models: the graph that a file describes, run in torch layer by layer.

Nothing of a file is executed: its JSON names layers, of which those of :mod:`aed.modules.weights.keras_layers` are
known, and :mod:`aed.modules.weights.keras_files` reads arrays.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aed.base.errors import AedError
from aed.modules.weights.keras_files import read_keras
from aed.modules.weights.keras_layers import AUGMENTATION, OPERATORS
from aed.modules.weights.published import Arrays

DAMAGED = (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, RecursionError)
"""Errors that reading a damaged description ends in; RuntimeError: torch, of shapes that do not fit."""

_MODELS = ("Functional", "Model", "Sequential")

_BIAS = {"use_bias": "bias"}
_SWITCHES = {"Conv2D": _BIAS, "DepthwiseConv2D": _BIAS, "Dense": _BIAS}
_SWITCHES |= {"BatchNormalization": {"scale": "gamma", "center": "beta"}}
"""Kind of layer -> settings that each mean one more array; without it the arithmetic would be another one."""

_MAX_SIDE = 4096
"""Most mel bands or frames of a patch: a damaged file could name any number."""


@dataclass(frozen=True)
class Call:
    """A layer applied to its inputs.

    Args:
        kind: Keras' class name.
        name: The layer's.
        config: Its settings.
        inputs: Positions in ``KerasModel.calls`` of its inputs.
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
        file = read_keras(path)
        config = file.description
        try:
            calls = [Call("InputLayer", "", {}, ())]
            _unroll(config, (0,), calls)
            shape = next(_shapes(config), None)
        except AedError as error:
            raise AedError(f"{path}: {error}") from error
        except DAMAGED as error:
            raise AedError(f"{path}: its description is damaged, or of an unknown kind ({error!r})") from error
        if shape is None or len(shape) != 3 or shape[2] != 1 or not all(0 < size <= _MAX_SIDE for size in shape):
            raise AedError(f"{path}: need an input of shape (n_mels, frames, 1), got {shape}")
        arrays = _by_layer(file.arrays, calls, path)
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                raise AedError(f"{path}: {name} holds NaN or infinite values: the training diverged")
        return cls(path, file.keras, tuple(calls), arrays, shape)

    def of_kind(self, *kinds: str) -> list[int]:
        """Positions of the calls of these kinds."""
        return [number for number, call in enumerate(self.calls) if call.kind in kinds]

    def check(self) -> None:
        """Refuses layers whose arithmetic is not known here, or whose arrays are missing.

        Raises:
            AedError: Names them.
        """
        if unknown := {call.kind for call in self.calls if call.kind not in OPERATORS}:
            own = any(kind == "Lambda" or not kind.isidentifier() for kind in unknown)
            code = "code of the user's is never run; " if own else ""
            raise AedError(
                f"{self.path}: layers of the kinds {sorted(unknown)} are not known here: {code}convert the model to "
                ".tflite, which holds arithmetic alone: tf.lite.TFLiteConverter.from_keras_model(model).convert()"
            )

        for call in self.calls:
            for setting, variable in _SWITCHES.get(call.kind, {}).items():
                if call.config.get(setting) and f"{call.name}/{variable}:0" not in self.arrays:
                    raise AedError(
                        f"{self.path}: layer {call.name!r} has no {variable}, which it needs; a damaged file"
                    )

    @torch.no_grad()
    def run(self, patches: Tensor, last: int) -> Tensor:
        """The output of call ``last``.

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
                values.append(OPERATORS[call.kind](call.config, own, *(values[number] for number in call.inputs)))
            except DAMAGED as error:
                raise AedError(f"{self.path}: layer {call.name!r} ({call.kind}) cannot be computed: {error}") from error
        return values[last]


def _unroll(item: dict[str, Any], inputs: tuple[int, ...], calls: list[Call]) -> int:
    """Append the calls of a layer, or of all layers of a model; return the position of the result."""
    kind, config = _kind(item), item["config"]
    if kind not in _MODELS:
        _check_dtype(config)
        calls.append(Call(kind, config["name"], config, inputs))
        if config.get("activation") not in (None, "linear") and kind != "Activation":
            calls.append(Call("Activation", f"{config['name']}/activation", config, (len(calls) - 1,)))
        return len(calls) - 1
    (source,) = inputs
    if kind == "Sequential":
        for layer in config["layers"]:
            if layer["class_name"] != "InputLayer":
                source = _unroll(layer, (source,), calls)
        return source
    (entry,), (result,) = (_ends(config[f"{end}_layers"]) for end in ("input", "output"))
    results = {entry: source}
    for layer in config["layers"]:
        if layer["name"] not in results:
            (node,) = layer["inbound_nodes"]  # called once; Keras counts its calls from 1 if it is a model
            results[layer["name"]] = _unroll(layer, tuple(results[name] for name in _read_by(node)), calls)
    return results[result]


def _kind(item: dict[str, Any]) -> str:
    """Keras' name of the class; that of a user's class, whatever it is called, in full."""
    kind, module, registered = str(item["class_name"]), item.get("module"), item.get("registered_name")
    own = kind.rpartition(">")[2]
    if own in AUGMENTATION:
        return own
    if registered not in (None, own) and ">" in str(registered):
        return str(registered)
    if "module" in item and str(module).partition(".")[0] != "keras":
        return f"{module}.{kind}"
    return kind


def _check_dtype(config: dict[str, Any]) -> None:
    """Refuses layers that compute in fewer bits, or in whole numbers."""
    policy = config.get("dtype", "float32")
    name = policy.get("config", {}).get("name") if isinstance(policy, dict) else policy
    if name not in ("float32", None):
        raise AedError(f"layer {config['name']!r} computes in {str(name)[:40]}, not in float32; save it as float32")


def _ends(names: list[Any]) -> list[str]:
    """The layers at an end of a model: ``[[name, 0, 0]]``, of one layer also ``[name, 0, 0]``."""
    return [names[0]] if isinstance(names[0], str) else [name for name, *_ in names]


def _read_by(node: Any) -> list[str]:
    """The layers that a call of a layer reads."""
    if isinstance(node, list):
        return [name for name, *_ in node]
    tensors = [part for item in node["args"] for part in (item if isinstance(item, list) else [item])]
    if any(isinstance(value, dict) for value in node["kwargs"].values()):
        raise ValueError("a layer reads another one by keyword")
    return [tensor["config"]["keras_history"][0] for tensor in tensors]


def _shapes(item: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Complete input shapes without the batch, the outermost first."""
    shape = item["config"].get("batch_input_shape") or item["config"].get("batch_shape") or [None]
    if all(isinstance(size, int) for size in shape[1:]) and len(shape) > 1:
        yield tuple(shape[1:])
    for layer in item["config"].get("layers", ()):
        yield from _shapes(layer)


def _by_layer(arrays: Mapping[str, npt.NDArray[np.float32]], calls: list[Call], path: Path) -> Arrays:
    """Arrays by the names of their layers: inside nested models a scope may stand before it."""
    by_layer: Arrays = {}
    names = {call.name for call in calls if call.kind in ("Conv2D", "DepthwiseConv2D", "BatchNormalization", "Dense")}
    for key, array in arrays.items():
        scope, _, variable = key.rpartition("/")
        parts = scope.split("/")
        # the longest name wins: layer1/conv, not a layer that is called conv
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        layer = next((name for name in ends if name in names), None)
        if layer is None:
            continue
        if f"{layer}/{variable}" in by_layer:
            raise AedError(f"{path}: two layers are called {layer!r}")
        by_layer[f"{layer}/{variable}"] = array
    return by_layer
