"""Published backbone weights: where they are, that they are the right ones, their arrays."""

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base import paths
from aed.base.download import fetch
from aed.base.errors import AedError
from aed.base.extras import need
from aed.dsp.frontend import PRESETS, FrontendConfig

_GRID = {"patch_frames", "overlap", "include_last_patch"}
_LENGTH = {"min_length_s", "max_length_s", "lengthen"}
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
        origin: Where the recordings it was trained on come from, if data sets of aed come from there too.
    """

    file: str
    sha256: str
    url: str
    licence: str
    source: str
    frontend: str = ""
    origin: str = ""

    def fetch(self) -> Path:
        """The file in ``$AED_PRETRAINED_DIR``, downloaded there if missing, its digest checked.

        Raises:
            AedError: It can neither be found nor downloaded, or is not the published file, or what reads it is missing.
        """
        need("tflite" if self.file.endswith(".tflite") else "h5py", f"{self.file} (published weights)")
        path = paths.pretrained_dir() / self.file
        advice = (
            f"Put {self.file} into {path.parent.absolute()} (or set AED_PRETRAINED_DIR), or train from scratch "
            "with model.pretrained=false; experiment=demo needs no file at all"
        )
        return fetch(self.url, path, digest=f"sha256:{self.sha256}", advice=advice)

    def check_frontend(self, frontend: FrontendConfig) -> None:
        """Refuses other features than those the weights were trained on; silence and the patch grid are free.

        Raises:
            AedError: What differs.
        """
        if not self.frontend:
            return
        trained = PRESETS[self.frontend]
        names = [field.name for field in fields(trained) if field.name not in _FREE]
        if wrong := [name for name in names if getattr(frontend, name) != getattr(trained, name)]:
            facts = ", ".join(f"{name}={getattr(trained, name)} (here {getattr(frontend, name)})" for name in wrong)
            raise AedError(
                f"frontend: {self.file} was trained on features with {facts}; use frontend={self.frontend}, or train "
                "from scratch with model.pretrained=false"
            )


def read_keras_h5(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """All weight arrays of a Keras ``.h5`` model, named by their path under ``model_weights``.

    The name of the group that holds a layer (``model_2`` or the layer's own) is dropped:
    ``layer1/conv/kernel:0``, ``layer1/conv/bn/beta:0``.

    Raises:
        AedError: The file is no Keras weights file, or h5py is not installed.
    """
    need("h5py", str(path))
    import h5py

    arrays: dict[str, npt.NDArray[np.float32]] = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name.split("/", 1)[1]] = np.asarray(item[()], dtype=np.float32)

    try:
        with h5py.File(path, "r") as file:
            file["model_weights"].visititems(collect)
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise AedError(f"{path}: not a Keras .h5 file with model_weights ({error})") from error
    return arrays
