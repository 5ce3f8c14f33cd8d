"""Published backbone weights: where they are, that they are the right ones, their arrays."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from aed.base import paths
from aed.base.download import fetch
from aed.base.errors import AedError
from aed.base.extras import need
from aed.dsp.frontend import PRESETS, FrontendConfig

if TYPE_CHECKING:
    from torch import Tensor

_READERS = {".tflite": "tflite", ".h5": "h5py"}
"""Suffix -> the optional package that reads such a file."""

_GRID = {"patch_frames", "overlap", "include_last_patch"}
_LENGTH = {"min_length_s", "max_length_s", "cut", "lengthen"}
_SILENCE = {"trim", "trim_top_db", "trim_frame_length", "trim_hop_length", "trim_last_second"}
_FREE = _GRID | _LENGTH | _SILENCE | {"sample_bits", "center", "pad_mode", "db_ref"}
"""Fields that change no feature but at a clip's ends; the reference of dB is set on the device."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A published file of weights.

    Args:
        file: Its name.
        sha256: Its digest, hex.
        url: Its official address.
        licence: SPDX name.
        source: Who trained it on what.
        frontend: Preset of the patches it was trained on.
        other_frontends: Presets of patches that it takes as well as those.
        origin: Where the recordings it was trained on come from, if data sets of aed come from there too.
    """

    file: str
    sha256: str
    url: str
    licence: str
    source: str
    frontend: str = ""
    other_frontends: tuple[str, ...] = ()
    origin: str = ""

    def fetch(self) -> Path:
        """The file in ``$AED_PRETRAINED_DIR``, downloaded there if missing, its digest checked.

        Raises:
            AedError: It can neither be found nor downloaded, or is not the published file, or what reads it is missing.
        """
        path = paths.pretrained_dir() / self.file
        if reader := _READERS.get(path.suffix):
            need(reader, f"{self.file} (published weights)")
        advice = (
            f"Put {self.file} into {path.parent.absolute()} (or set AED_PRETRAINED_DIR), or train from scratch "
            "with model.pretrained=false; experiment=demo needs no file at all"
        )
        return fetch(self.url, path, digest=f"sha256:{self.sha256}", advice=advice)

    @property
    def facts(self) -> dict[str, str]:
        """What checkpoints and model cards tell of them."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, str)}

    def check_frontend(self, frontend: FrontendConfig) -> None:
        """Refuses other features than those the weights were trained on; silence and the patch grid are free.

        Raises:
            AedError: What differs.
        """
        if not self.frontend:
            return
        names = [field.name for field in fields(FrontendConfig) if field.name not in _FREE]
        differing = {
            preset: [name for name in names if getattr(frontend, name) != getattr(PRESETS[preset], name)]
            for preset in (self.frontend, *self.other_frontends)
        }
        nearest = min(differing, key=lambda preset: len(differing[preset]))
        if wrong := differing[nearest]:
            trained = PRESETS[nearest]
            facts = ", ".join(f"{name}={getattr(trained, name)} (here {getattr(frontend, name)})" for name in wrong)
            raise AedError(
                f"frontend: {self.file} was trained on features with {facts}; use frontend={nearest}, or train "
                "from scratch with model.pretrained=false"
            )


def read_torch(path: Path) -> "dict[str, Tensor]":
    """The arrays of a state dict that ``torch.save`` wrote, by name; no code of the file is run.

    Raises:
        AedError: The file is none.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unpickler raises whatever a damaged file leads it to
        raise AedError(f"{path}: not a whole file of torch.save with weights alone") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise AedError(f"{path}: need a state dict: names and arrays")
    return state


Arrays = dict[str, npt.NDArray[np.float32]]

DAMAGED_H5 = (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError)
"""Errors that h5py ends in at a damaged file, beside OSError."""

_MOST_VALUES = 1 << 26
"""Of all arrays of a file together, 256 MiB: a dataset may claim any size and hold nothing."""


def read_keras_h5(path: Path) -> Arrays:
    """All weight arrays of a Keras ``.h5`` model, named by their path under ``model_weights``.

    The name of the group that holds a layer (``model_2`` or the layer's own) is dropped:
    ``layer1/conv/kernel:0``, ``layer1/conv/bn/beta:0``.

    Raises:
        AedError: The file is no Keras weights file, or h5py is not installed.
    """
    need("h5py", str(path))
    arrays = read_arrays(path, path, "model_weights")
    return {name.partition("/")[2]: array for name, array in arrays.items()}


def read_arrays(file: Path | BinaryIO, path: Path, group: str, names: dict[str, str] | None = None) -> Arrays:
    """All arrays of numbers below a group of an HDF5 file, by their path in it.

    Args:
        file: The file, or its bytes.
        path: Of the file, for messages.
        group: Its name; "": all.
        names: Gets the attribute ``name`` of each group that has one, by its path.

    Raises:
        AedError: It is no such file, or its arrays lie in other files.
    """
    import h5py

    arrays: Arrays = {}

    def collect(name: str, item: Any) -> None:
        if names is not None and isinstance(item.attrs.get("name"), str):
            names[name] = item.attrs["name"]
        if not isinstance(item, h5py.Dataset):
            return
        if item.external or item.is_virtual:
            raise AedError(f"{path}: the values of {name} lie in another file, which is not read")
        if sum(array.size for array in arrays.values()) + item.size > _MOST_VALUES:
            raise AedError(f"{path}: holds over {_MOST_VALUES:,} values; no net for a microcontroller is as large")
        arrays[name] = np.asarray(item[()], dtype=np.float32)

    try:
        with h5py.File(file, "r") as opened:
            (opened[group] if group else opened).visititems(collect)
    except (OSError, *DAMAGED_H5) as error:
        what = f"with {group}" if group else "of weights"
        raise AedError(f"{path}: not a Keras .h5 file {what} ({error})") from error
    return arrays
