"""From a folder of labelled sounds to a microcontroller that recognises them.

The commands are ``aed <verb>``; from Python:

>>> import aed
>>> model = aed.load("model.onnx")
>>> for result in model.predict(["recordings/hiss.wav", "recordings/tone.wav"]):
...     print(result.file, result.label)
recordings/hiss.wav hiss
recordings/tone.wav tone

Data sets are LightningDataModules; a batch holds log-mel patches and their classes:

>>> sounds = aed.datamodules.Synthetic(class_names=["alarm", "hum"], sources_per_class=5, takes_per_source=1)
>>> data = aed.datamodules.PatchDataModule(sounds, aed.FrontendConfig(n_mels=16, patch_frames=32), batch_size=4)
>>> data.prepare_data()
>>> data.setup()
>>> batch = next(iter(data.train_dataloader()))
>>> batch.patches.shape, batch.target.shape
(torch.Size([4, 1, 16, 32]), torch.Size([4]))

A name is imported when it is first used: ``import aed`` itself loads nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aed import datamodules
    from aed.base.errors import AedError
    from aed.dsp.frontend import PRESETS, FrontendConfig
    from aed.inference.api import Model, RecordingPrediction, load
    from aed.inference.prediction import Prediction

__all__ = [
    "PRESETS",
    "AedError",
    "FrontendConfig",
    "Model",
    "Prediction",
    "RecordingPrediction",
    "datamodules",
    "load",
]

__version__ = "0.1.0"

_MODULES = {"AedError": "aed.base.errors", "FrontendConfig": "aed.dsp.frontend", "PRESETS": "aed.dsp.frontend"}
"""Public name -> its module; the others are of :mod:`aed.inference.api`."""

if not TYPE_CHECKING:  # else a type checker takes any name for a known one

    def __getattr__(name: str) -> Any:
        """The public object of that name, imported now."""
        if name not in __all__:
            raise AttributeError(f"module 'aed' has no attribute {name!r}")
        if name == "datamodules":
            return import_module("aed.datamodules")
        value = getattr(import_module(_MODULES.get(name, "aed.inference.api")), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
