"""LightningDataModules: labelled recordings in, batches of log-mel patches out."""

from aed.datamodules.datamodule import PatchDataModule
from aed.datamodules.sources.clips import ESC10, EscCsv, Synthetic
from aed.datamodules.sources.dcase import Dcase
from aed.datamodules.sources.folder import Folder
from aed.datamodules.sources.fsd50k import FSD50K
from aed.datamodules.sources.segments import Segments

__all__ = ["ESC10", "FSD50K", "Dcase", "EscCsv", "Folder", "PatchDataModule", "Segments", "Synthetic"]
