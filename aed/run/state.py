"""What the stages of a run share; models pass from one to the next as files in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import MISSING, DictConfig

from aed.base.errors import AedError

if TYPE_CHECKING:  # an exported model is measured and delivered without what trained it
    import lightning.pytorch as L

    from aed.datamodules import PatchDataModule
    from aed.modules.classifier import ClipClassifier

FLOAT, INT8 = "model.onnx", "model_int8.onnx"
"""Models in the folder of a run."""


@dataclass(kw_only=True)
class RunConfig:
    """What a run is composed of.

    Args:
        seed: Of weights, splits, order, dropout and augmentation.
        stages: In order; null: fit, test, export, quantize, evaluate. Further: predict, benchmark, deploy.
        operation_mode: Instead of stages: a name of ST's zoo, ``chain_tqe``, ...
        ckpt_path: fit: resumes from it. Without fit: it is tested or exported; null: the folder's ``best.ckpt``.
        threads: CPU threads of torch, 1 when folds run in parallel; null: one a core.
        optimized_metric: What a search sees; null: ``test/clip_acc``, multi-label ``test/clip_map``.
        output_dir: Folder of the run.
        frontend: From recording to patch.
        data: The DataModule.
        model: The LightningModule.
        trainer: Lightning's Trainer.
        callbacks: Of the Trainer, by names of your choice.
        logger: Of the Trainer, by names of your choice.
        quantization: Of the stage quantize.
        decision: How decisions are made.
        export: Of the stage export.
        budget: What the net may cost.
        benchmark: Of the stage benchmark.
        deploy: Of the stage deploy.
        predict: Of the stage predict.
    """

    seed: int = 0
    stages: list[str] | None = None
    operation_mode: str | None = None
    ckpt_path: str | None = None
    threads: int | None = None
    optimized_metric: str | None = None
    output_dir: str = MISSING
    frontend: Any = MISSING
    data: Any = MISSING
    model: Any = MISSING
    trainer: Any = MISSING
    callbacks: Any = MISSING
    logger: Any = MISSING
    quantization: Any = MISSING
    decision: Any = MISSING
    export: Any = MISSING
    budget: Any = MISSING
    benchmark: Any = MISSING
    deploy: Any = MISSING
    predict: Any = MISSING


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
