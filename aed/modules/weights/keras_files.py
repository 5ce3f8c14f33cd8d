"""Files of Keras models: the JSON that describes a model, and its arrays; nothing of a file is executed.

- ``.h5`` of tf.keras 2 and Keras 3: attribute ``model_config``, group ``model_weights/<layer>/<variable>``.
- ``.keras`` of Keras 3: a zip with ``config.json``, ``metadata.json`` and ``model.weights.h5``, whose variables have
  numbers, ``layers/<class>[_n]/vars/<i>``. It is read in memory: nothing is unpacked.

Reference: https://github.com/keras-team/keras/blob/master/keras/src/saving/saving_lib.py.
"""

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from aed.base.archives import DAMAGED_ZIP, read_member
from aed.base.errors import AedError
from aed.base.extras import need
from aed.modules.weights.published import DAMAGED_H5, Arrays, read_arrays

WANTED = "need a whole model, model.save('x.keras') or model.save('x.h5')"

LARGEST_BYTES = {"config.json": 16 << 20, "metadata.json": 1 << 20, "model.weights.h5": 256 << 20}
"""Of the members that are read, unpacked: a net for a microcontroller is far below."""

Item = dict[str, Any]


@dataclass(frozen=True)
class KerasFile:
    """What a file holds.

    Args:
        description: Its model, as Keras writes it in JSON.
        keras: Version of Keras that wrote it.
        arrays: By path; the last part is the name of the variable, ``kernel:0``, before it is its layer's.
    """

    description: Item
    keras: str
    arrays: Arrays


def read_keras(path: Path) -> KerasFile:
    """The content of a file.

    Raises:
        AedError: It is missing, damaged, no whole model, or h5py is not installed.
    """
    if path.is_dir():
        kind = "a SavedModel folder" if (path / "saved_model.pb").exists() else "a folder"
        raise AedError(f"{path}: {kind}; {WANTED}")
    if not path.is_file():
        raise AedError(f"{path}: no such file")
    need("h5py", str(path))
    if zipfile.is_zipfile(path):
        return _archive(path)
    if path.suffix == ".keras":
        raise AedError(f"{path}: not a whole zip file, which a .keras is; {WANTED}")
    return _hdf5(path)


def own_layers(item: Item) -> Iterator[Item]:
    """The layers of a model that are not models themselves, in order, those of nested models in their place."""
    for layer in item["config"]["layers"]:
        if "layers" in layer["config"]:
            yield from own_layers(layer)
        else:
            yield layer


def _described(text: str, path: Path) -> Item:
    try:
        item = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AedError(f"{path}: its description is damaged ({type(error).__name__})") from error
    if not isinstance(item, dict):
        raise AedError(f"{path}: its description is damaged: it is no object")
    return item


# --- HDF5 ------------------------------------------------------------------------------------------------------------


def _hdf5(path: Path) -> KerasFile:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            attributes = [file.attrs.get(name, "") for name in ("model_config", "keras_version")]
        text, keras = (item.decode() if isinstance(item, bytes) else str(item) for item in attributes)
    except (OSError, *DAMAGED_H5) as error:
        raise AedError(f"{path}: not a whole HDF5 file ({error}); {WANTED}") from error
    if not text:
        raise AedError(f"{path}: has no model_config, perhaps weights alone (save_weights); {WANTED}")
    item, arrays = _described(text, path), read_arrays(path, path, "model_weights")
    if keras.partition(".")[0] in ("", "2"):
        return KerasFile(item, keras, arrays)
    depthwise = {layer["config"]["name"] for layer in own_layers(item) if layer["class_name"] == "DepthwiseConv2D"}
    named: Arrays = {}
    for key, array in arrays.items():
        scope, _, variable = key.rpartition("/")
        prefix = "depthwise_" if variable == "kernel" and scope.rpartition("/")[2] in depthwise else ""
        named[f"{scope}/{prefix}{variable}:0"] = array
    return KerasFile(item, keras, named)


# --- .keras ----------------------------------------------------------------------------------------------------------


def _archive(path: Path) -> KerasFile:
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive.namelist())
            members = {name: read_member(archive, name, most) for name, most in LARGEST_BYTES.items()}
    except AedError as error:
        raise AedError(f"{path}: {error}") from error
    except DAMAGED_ZIP as error:
        raise AedError(f"{path}: a damaged .keras file ({error}); {WANTED}") from error
    item = _described(members["config.json"].decode("utf-8", "replace"), path)
    facts = _described(members["metadata.json"].decode("utf-8", "replace"), path)
    names: dict[str, str] = {}
    arrays = read_arrays(io.BytesIO(members["model.weights.h5"]), path, "", names)
    try:
        return KerasFile(item, str(facts.get("keras_version", ""))[:40], _named(item, arrays, names))
    except (KeyError, TypeError, AttributeError, RecursionError, IndexError) as error:
        raise AedError(f"{path}: its config.json is damaged, or of an unknown kind ({error!r})") from error


def _check_members(names: list[str]) -> None:
    if outside := [name for name in names if ".." in PurePosixPath(name).parts or re.match(r"[/\\]|\w:", name)]:
        raise AedError(f"its member {outside[0][:80]!r} would lie outside its folder; not a file of Keras")
    if missing := [name for name in LARGEST_BYTES if name not in names]:
        raise AedError(f"a zip file without {missing[0]}, not a .keras; {WANTED}")
    if doubled := [name for name in LARGEST_BYTES if names.count(name) > 1]:
        raise AedError(f"has {doubled[0]} twice; not a file of Keras")


_VARIABLES = {
    "Conv2D": ("kernel", "bias"),
    "DepthwiseConv2D": ("depthwise_kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""Names of a layer's variables in their order; those that its settings leave out close up."""


def _named(item: Item, arrays: Arrays, names: dict[str, str]) -> Arrays:
    """Arrays by layer and variable.

    Args:
        item: The model.
        arrays: ``layers/conv2d_1/vars/0`` -> array.
        names: ``layers/conv2d_1/vars`` -> name of the layer, as newer versions note it.
    """
    layers, named = dict(_places(item, "")), Arrays()
    by_name = {layer["config"]["name"]: layer for layer in layers.values()}
    for key, array in arrays.items():
        place, _, number = key.rpartition("/vars/")
        layer = by_name.get(names.get(f"{place}/vars", "")) or layers.get(place)
        if layer is None or layer["class_name"] not in _VARIABLES:
            continue
        config = layer["config"]
        switches = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
        kept = [name for name in _VARIABLES[layer["class_name"]] if config.get(switches.get(name, ""), True)]
        named[f"{config['name']}/{kept[int(number)]}:0"] = array
    return named


def _places(item: Item, prefix: str) -> Iterator[tuple[str, Item]]:
    """Where the variables of each layer lie: classes are counted in the order of the layers, in each model anew."""
    count: Counter[str] = Counter()
    for layer in item["config"]["layers"]:
        # Keras' own: Conv2D -> conv2d, ReLU -> re_lu
        kind = re.sub(r"\W+", "", str(layer["class_name"]))
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind)).lower()
        place = f"{prefix}layers/{kind}" + (f"_{count[kind]}" if count[kind] else "")
        count[kind] += 1
        if "layers" in layer["config"]:
            yield from _places(layer, f"{place}/")
        else:
            yield place, layer
