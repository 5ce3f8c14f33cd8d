"""LightningDataModules: labelled recordings in, batches of log-mel patches out."""

from aed.datamodules.clips import ESC10, EscCsv, Synthetic
from aed.datamodules.datamodule import PatchDataModule

__all__ = ["ESC10", "EscCsv", "PatchDataModule", "Synthetic"]
