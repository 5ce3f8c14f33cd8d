"""What the stages of a run share; models pass from one to the next as files in its folder."""

from dataclasses import dataclass, field
from pathlib import Path

import lightning.pytorch as L
from omegaconf import DictConfig

from aed.datamodules import PatchDataModule
from aed.errors import AedError
from aed.modules.classifier import ClipClassifier


@dataclass
class Run:
    """What stages share.

    Args:
        config: The composed configuration.
        folder: Outputs.
        data: The DataModule.
        model: The LightningModule.
        trainer: The Trainer.
        checkpoint: The model later stages use; set by ``fit`` or ``ckpt_path``.
        metrics: Content of ``metrics.json``.
    """

    config: DictConfig
    folder: Path
    data: PatchDataModule
    model: ClipClassifier
    trainer: L.Trainer
    checkpoint: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)

    @property
    def net_class(self) -> str:
        """The class of net that the run's configuration names."""
        return str(self.config.model.net.get("_target_"))

    @property
    def speaks(self) -> bool:
        """Whether this process writes files and tables: the first of several."""
        return self.trainer.is_global_zero

    def need_file(self, stage: str, file: str, maker: str) -> Path:
        """A file of the run's folder that ``stage`` works on.

        Args:
            stage: Asks for it.
            file: Its name.
            maker: The stage that leaves it.

        Raises:
            AedError: It is not there.
        """
        path = self.folder / file
        if not path.is_file():
            raise AedError(f"stages: {stage} needs {file}; add {maker} before it")
        return path

    def need_checkpoint(self, stage: str) -> Path:
        """The checkpoint that ``stage`` works on: this run's, the configured one, or that of an earlier run here.

        Raises:
            AedError: There is none.
        """
        given, earlier = self.config.ckpt_path, self.folder / "checkpoints" / "best.ckpt"
        checkpoint = self.checkpoint or (Path(given) if given else earlier)
        if not checkpoint.is_file():
            raise AedError(f"stages: {stage} needs a model; add fit before it or set ckpt_path")
        return checkpoint
