"""Keras ``.h5`` models: the graph that the file describes, run in torch layer by layer.

Nothing of a file is executed: its JSON names layers, of which those of :mod:`aed.modules.weights.keras_layers` are
known, and h5py reads arrays. Layout: ``tf.keras`` 2, ``Model.save("x.h5")``: attribute ``model_config``, group
``model_weights/<layer>/<variable>``.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from aed.base.errors import AedError
from aed.base.extras import need
from aed.modules.weights.keras_layers import OPERATORS
from aed.modules.weights.published import read_keras_h5

DAMAGED = (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError, RecursionError)
"""Errors that reading a damaged description ends in; RuntimeError: torch, of shapes that do not fit."""

Arrays = dict[str, npt.NDArray[np.float32]]

_WANTED = "need a model saved by tf.keras 2 as HDF5, model.save('x.h5')"

_MODELS = ("Functional", "Model", "Sequential")

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
        text, keras = _read_config(path)
        try:
            config = json.loads(text)
            calls = [Call("InputLayer", "", {}, ())]
            _unroll(config, (0,), calls)
            shape = next(_shapes(config), None)
        except DAMAGED as error:
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
        if unknown := {call.kind for call in self.calls if call.kind not in OPERATORS}:
            code = "; a file's own code is never run" if "Lambda" in unknown else ""
            raise AedError(f"{self.path}: layers of the kinds {sorted(unknown)} are not known here{code}")

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
            attributes = [file.attrs.get(name, "") for name in ("model_config", "keras_version")]
        text, keras = (item.decode() if isinstance(item, bytes) else str(item) for item in attributes)
    except (OSError, *DAMAGED) as error:
        raise AedError(f"{path}: not a whole HDF5 file ({error}); {_WANTED}") from error
    if not text:
        raise AedError(f"{path}: has no model_config, perhaps weights alone (save_weights); {_WANTED}")
    if keras.partition(".")[0] not in ("", "2"):
        raise AedError(f"{path}: written by Keras {keras}; {_WANTED} (the package tf_keras writes it too)")
    return text, keras


def _unroll(item: dict[str, Any], inputs: tuple[int, ...], calls: list[Call]) -> int:
    """Append the calls of a layer, or of all layers of a model; return the position of the result."""
    kind, config = str(item["class_name"]).rpartition(">")[2], item["config"]
    if kind not in _MODELS:
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
    (entry,), (result,) = config["input_layers"], config["output_layers"]
    results = {entry[0]: source}
    for layer in config["layers"]:
        if layer["name"] not in results:
            (node,) = layer["inbound_nodes"]  # called once; Keras counts its calls from 1 if it is a model
            results[layer["name"]] = _unroll(layer, tuple(results[name] for name, *_ in node), calls)
    return results[result[0]]


def _shapes(item: dict[str, Any]) -> Iterator[tuple[int, ...]]:
    """Complete input shapes without the batch, the outermost first."""
    shape = item["config"].get("batch_input_shape") or [None]
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
