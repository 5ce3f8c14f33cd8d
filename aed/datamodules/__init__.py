"""LightningDataModules: labelled recordings in, batches of log-mel patches out."""

from aed.datamodules.clips import ESC10, EscCsv, Synthetic
from aed.datamodules.datamodule import PatchDataModule
from aed.datamodules.dcase import Dcase
from aed.datamodules.folder import Folder
from aed.datamodules.fsd50k import FSD50K
from aed.datamodules.segments import Segments

__all__ = ["ESC10", "FSD50K", "Dcase", "EscCsv", "Folder", "PatchDataModule", "Segments", "Synthetic"]
