"""The state that the stages of a run share; models pass from one to the next as files in its folder."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
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

REPORT = "report.html"
"""Page in the folder of a run."""

SCORED = ("val", "test")
"""Splits that models are scored on."""


@dataclass(kw_only=True)
class RunConfig:
    """Configuration of a run.

    Args:
        seed: Seed of weights, splits, order, dropout and augmentation.
        stages: Stages in order; null: fit, test, export, quantize, evaluate. Further: validate, predict, detect,
            benchmark, deploy, report.
        operation_mode: Instead of stages: a name of ST's zoo, ``chain_tqe``, ...
        ckpt_path: Checkpoint. With the stage fit: training resumes from it. Without: it is tested or exported; null:
            ``best.ckpt`` in the run's folder.
        resume: Skip the first stages whose results in the run's folder (``hydra.run.dir``) are up to date, and go on
            with a training that was stopped: for a chain that failed, or of which something has changed.
        threads: CPU threads of torch, 1 where folds run in parallel; null: one per core.
        optimized_metric: Metric that a search optimises; null: ``test/clip_acc``, multi-label ``test/clip_map``.
        output_dir: Folder of the run.
        frontend: Front end, from recording to patch: a preset.
        data: Data set.
        model: LightningModule that trains the net.
        trainer: Lightning's Trainer.
        callbacks: Callbacks of the Trainer, under names of your choice.
        logger: Loggers of the Trainer, under names of your choice.
        quantization: Settings of the stage quantize.
        decision: Settings of the decision rule.
        export: Settings of the stage export.
        budget: Limits of the net's size.
        benchmark: Settings of the stage benchmark.
        deploy: Settings of the stage deploy.
        predict: Settings of the stage predict.
        detect: Settings of the stage detect.
        evaluate: Settings of the stage evaluate.
    """

    seed: int = 0
    stages: list[str] | None = None
    operation_mode: str | None = None
    ckpt_path: str | None = None
    resume: bool = False
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
    detect: Any = MISSING
    evaluate: Any = MISSING


@dataclass
class Run:
    """State that the stages of a run share.

    Args:
        config: The composed configuration.
        folder: Folder to write to.
        data: The DataModule.
        model: The LightningModule.
        trainer: The Trainer.
        checkpoint: Chosen by ``fit``, for later stages.
        metrics: Content of ``metrics.json``.
        later: What nobody waits for: done after the first table of scores.
        done: Earlier stages of the run whose results are up to date.
        begun: Stage -> what was begun of it beside others.
    """

    config: DictConfig
    folder: Path
    data: PatchDataModule
    model: ClipClassifier
    trainer: L.Trainer
    checkpoint: Path | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    later: list[Callable[[], None]] = field(default_factory=list)
    done: tuple[str, ...] = ()
    begun: dict[str, Future[Any]] = field(default_factory=dict)

    def catch_up(self) -> None:
        """Does what waits in :attr:`later`, once."""
        while self.later:
            self.later.pop(0)()

    @property
    def net_class(self) -> str:
        """The class of net that the run's configuration names."""
        return str(self.config.model.net.get("_target_"))

    @property
    def subject(self) -> str:
        """Net and data set, for titles: ``YAMNet on esc10``."""
        return f"{type(self.model.net).__name__} on {self.data.clips.name}"

    @property
    def is_main_process(self) -> bool:
        """Whether this is the main process, which writes files and tables."""
        return self.trainer.is_global_zero

    def drop_metrics(self, prefixes: tuple[str, ...]) -> None:
        """Removes metrics of an earlier model in this folder, by the first letters of their names."""
        self.metrics = {key: value for key, value in self.metrics.items() if not key.startswith(prefixes)}

    def need_file(self, stage: str, file: str, writer: str) -> Path:
        """A file of the run's folder that ``stage`` works on.

        Args:
            stage: Needs it.
            file: Its name.
            writer: The stage that writes it.

        Raises:
            AedError: It is not there.
        """
        path = self.folder / file
        if not path.is_file():
            raise AedError(f"stages: {stage} needs {file}; add {writer} before it")
        return path

    def need_checkpoint(self, stage: str) -> Path:
        """The checkpoint that ``stage`` works on: this run's, the configured one, or that of an earlier run here.

        Raises:
            AedError: There is none.
        """
        configured, earlier = self.config.ckpt_path, self.folder / "checkpoints" / "best.ckpt"
        checkpoint = self.checkpoint or (Path(configured) if configured else earlier)
        if not checkpoint.is_file():
            raise AedError(f"stages: {stage} needs a model; add fit before it or set ckpt_path")
        return checkpoint
