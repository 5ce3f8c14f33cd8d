"""LightningDataModules: labelled recordings in, batches of log-mel patches out.

The names below are imported when they are first asked for: Lightning takes seconds, and sources, splits and the cache,
which worker processes import, do without it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aed.datamodules.datamodule import PatchDataModule
    from aed.datamodules.sources.clips import ESC10, EscCsv, Synthetic
    from aed.datamodules.sources.dcase import Dcase
    from aed.datamodules.sources.folder import Folder
    from aed.datamodules.sources.fsd50k import FSD50K
    from aed.datamodules.sources.segments import Segments

__all__ = ["ESC10", "FSD50K", "Dcase", "EscCsv", "Folder", "PatchDataModule", "Segments", "Synthetic"]

_MODULES = {
    "datamodule": ("PatchDataModule",),
    "sources.clips": ("ESC10", "EscCsv", "Synthetic"),
    "sources.dcase": ("Dcase",),
    "sources.folder": ("Folder",),
    "sources.fsd50k": ("FSD50K",),
    "sources.segments": ("Segments",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
