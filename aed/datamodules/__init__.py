"""LightningDataModules: labelled recordings in, batches of log-mel patches out.

The names below are imported when they are first asked for: Lightning takes seconds, and sources, splits and the cache,
which worker processes import, do without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aed.datamodules.datamodule import PatchDataModule
    from aed.datamodules.sources.annotated import Annotated
    from aed.datamodules.sources.audioset import AudioSet
    from aed.datamodules.sources.clips import ESC10, EscCsv, Synthetic
    from aed.datamodules.sources.dcase import Dcase
    from aed.datamodules.sources.edge_impulse import EdgeImpulse
    from aed.datamodules.sources.folder import Folder
    from aed.datamodules.sources.fsd50k import FSD50K
    from aed.datamodules.sources.fsdkaggle import FSDKaggle2018, FSDKaggle2019
    from aed.datamodules.sources.label_studio import LabelStudio, LabelStudioChoices
    from aed.datamodules.sources.segments import Segments
    from aed.datamodules.sources.sonyc import SONYCUST
    from aed.datamodules.sources.speech_commands import SpeechCommands
    from aed.datamodules.sources.urbansound8k import UrbanSound8K

__all__ = [
    "ESC10",
    "FSD50K",
    "SONYCUST",
    "Annotated",
    "AudioSet",
    "Dcase",
    "EdgeImpulse",
    "EscCsv",
    "FSDKaggle2018",
    "FSDKaggle2019",
    "Folder",
    "LabelStudio",
    "LabelStudioChoices",
    "PatchDataModule",
    "Segments",
    "SpeechCommands",
    "Synthetic",
    "UrbanSound8K",
]

_MODULES = {
    "datamodule": ("PatchDataModule",),
    "sources.annotated": ("Annotated",),
    "sources.audioset": ("AudioSet",),
    "sources.clips": ("ESC10", "EscCsv", "Synthetic"),
    "sources.dcase": ("Dcase",),
    "sources.edge_impulse": ("EdgeImpulse",),
    "sources.folder": ("Folder",),
    "sources.fsd50k": ("FSD50K",),
    "sources.fsdkaggle": ("FSDKaggle2018", "FSDKaggle2019"),
    "sources.label_studio": ("LabelStudio", "LabelStudioChoices"),
    "sources.segments": ("Segments",),
    "sources.sonyc": ("SONYCUST",),
    "sources.speech_commands": ("SpeechCommands",),
    "sources.urbansound8k": ("UrbanSound8K",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
