"""ClipClassifier: trains a net on patches, judges it by clips."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any, Literal

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torchmetrics.classification import MulticlassAccuracy

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import PatchBatch
from aed.modules.augment import AugmentConfig, PatchAugment, mixup
from aed.modules.checkpoint import CHECKPOINT_VERSION, check_facts, check_finite, check_shapes, net_facts
from aed.modules.outputs import check_outputs, trial_patches
from aed.modules.schedules import EpochSchedule
from aed.modules.weights.published import Weights
from aed.scoring.decision import Decision, Task, to_posteriors
from aed.scoring.levels import HEADLINE, LEVELS
from aed.scoring.scores import PatchPosteriors, Scores, score

log = logging.getLogger(__name__)

BANK_BYTES = 256 * 2**20
"""Most memory the embeddings of a frozen backbone may take; over it they are computed anew each epoch."""

MOST_WEIGHT = 100.0
"""Of a class."""

MOST_TRIED = 5
"""Steps of a schedule that are tried before training."""


class ClipClassifier(L.LightningModule):
    """A net that names clips: patches in, the mean or greatest posterior of a clip's patches out.

    Where clips have any number of classes (``data.multi_label``), the loss is binary cross entropy, else cross entropy.

    With ``pretrained`` and without ``fine_tune`` the backbone is frozen, its BatchNorm in inference mode. Each
    patch's embedding is then computed once and kept, unless augmentation or random offsets change patches.

    Args:
        net: ``forward(patches) -> logits``; see :mod:`aed.modules.nets`.
        frontend: What the patches are.
        optimizer: Makes the optimizer of the trainable parameters.
        scheduler: Makes the learning-rate schedule; null: constant.
        scheduler_interval: Whether the schedule counts epochs or steps.
        monitor: Metric that ``ReduceLROnPlateau`` watches.
        augment: What training does to patches.
        pretrained: Start from the net's published weights.
        fine_tune: Train the pretrained backbone too.
        label_smoothing: Share of the target spread over all classes.
        class_weights: Rare classes count more: inversely to their clips or, where classes are independent, a positive
            counts as many times as there are negatives to one, at most :data:`MOST_WEIGHT`.
        aggregate: A clip's posterior: ``mean`` or ``max`` over its patches.
        outputs_are_logits: Take what the net gives for logits even where it is bound to be probabilities; without,
            such a net is refused before it is trained.
        seed: Of dropout and augmentation; each step starts from (seed, step), so that a resumed run repeats it.
    """

    def __init__(
        self,
        net: nn.Module,
        frontend: FrontendConfig,
        optimizer: OptimizerCallable = torch.optim.Adam,
        scheduler: LRSchedulerCallable | None = None,
        scheduler_interval: Literal["epoch", "step"] = "epoch",
        monitor: str = "val/loss",
        augment: AugmentConfig = AugmentConfig(),  # noqa: B008 - frozen
        pretrained: bool = False,
        fine_tune: bool = False,
        label_smoothing: float = 0.0,
        class_weights: bool = False,
        aggregate: Literal["mean", "max"] = "mean",
        outputs_are_logits: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if scheduler_interval not in ("epoch", "step"):
            raise AedError(f"model.scheduler_interval: need epoch or step, got {scheduler_interval!r}")
        if not 0 <= label_smoothing < 1:
            raise AedError(f"model.label_smoothing: need [0, 1), got {label_smoothing}")
        if any(isinstance(parameter, UninitializedParameter) for parameter in net.parameters()):
            raise AedError(f"{type(net).__name__}: has lazy layers; give them their sizes")
        self.net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.frontend, self.optimizer, self.scheduler = frontend, optimizer, scheduler
        self.scheduler_interval, self.monitor = scheduler_interval, monitor
        self.augment = PatchAugment(augment, frontend)
        self.label_smoothing, self.class_weights, self.seed = label_smoothing, class_weights, seed
        self.decision, self.outputs_are_logits = Decision(aggregate=aggregate), outputs_are_logits
        self.task: Task = "single_label"
        self.collected_posteriors: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self.weights: dict[str, str] | None = self._load_pretrained() if pretrained else None
        self.frozen = pretrained and not fine_tune
        if self.frozen:
            self._part("backbone").requires_grad_(False)
        self.class_names: tuple[str, ...] = ()
        self.data_facts: dict[str, Any] = {}
        self.scores: dict[str, Scores] = {}
        self._plateau: ReduceLROnPlateau | None = None
        self._plateau_state: dict[str, Any] | None = None
        self._is_split = False
        self._bank: Tensor | None = None
        self._val_bank: dict[int, Tensor] = {}
        self.class_weight: Tensor | None

    def _load_pretrained(self) -> dict[str, str]:
        if not hasattr(self.net, "load_pretrained"):
            raise AedError(f"model.pretrained: {type(self.net).__name__} has no published weights; use false")
        weights = self.net.load_pretrained()
        if not isinstance(weights, Weights):
            raise AedError(
                f"{type(self.net).__name__}.load_pretrained: need modules.weights.published.Weights, got {weights!r}"
            )
        weights.check_frontend(self.frontend)
        return asdict(weights)

    def _part(self, name: str) -> nn.Module:
        part = getattr(self.net, name, None)
        if not isinstance(part, nn.Module):
            raise AedError(f"model.fine_tune=false: {type(self.net).__name__} has no {name} to tell apart")
        return part

    def setup(self, stage: str) -> None:
        """Takes class names from the DataModule and checks that the net fits them and the patches."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        self.class_names, self.data_facts = tuple(data.class_names), data.facts()
        if data.frontend != self.frontend:
            raise AedError("model.frontend and data.frontend differ; both are ${frontend} in the shipped configs")
        self.task = data.task
        self._check_net(stage)
        self._is_split = self._check_split()
        self.register_buffer("class_weight", self._class_weight(data), persistent=False)
        if self.task == "single_label":
            self.train_acc = MulticlassAccuracy(len(self.class_names), average="micro")
        self.collected = nn.ModuleDict({split: PatchPosteriors() for split in ("val", "test")})

    @property
    def headline(self) -> str:
        """The metric that tells how good the model is, without its split."""
        return HEADLINE[self.task]

    def _class_weight(self, data: Any) -> Tensor | None:
        """Weight of each class ``(num_classes,)``, or of its positives."""
        if not self.class_weights or "train" not in data.datasets:
            return None
        patches, drawn = data.drawn_counts()
        counts = torch.from_numpy(drawn).float()
        weight: Tensor = (patches - counts) / counts if self.task == "multi_label" else patches / (len(counts) * counts)
        return weight.clamp(1 / MOST_WEIGHT, MOST_WEIGHT)

    def _loss(
        self, logits: Tensor, target: Tensor, label_smoothing: float = 0.0, weight: Tensor | None = None
    ) -> Tensor:
        if self.task == "single_label":
            return F.cross_entropy(logits, target, weight, label_smoothing=label_smoothing)
        smooth = target * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, pos_weight=weight)

    def _check_net(self, stage: str) -> None:
        frontend = self.frontend
        patches = trial_patches(2, frontend.n_mels, frontend.patch_frames, frontend.silence)
        shape, num_classes = tuple(patches.shape), len(self.class_names)
        try:
            with torch.no_grad():
                logits = self.eval()(patches.to(self.device))
        except RuntimeError as error:
            raise AedError(f"{type(self.net).__name__} does not take patches of shape {shape}: {error}") from error
        self.train()  # Lightning leaves modes as it finds them, and switches for evaluation itself
        if logits.shape != (2, num_classes):
            raise AedError(
                f"{type(self.net).__name__} gives logits of shape {tuple(logits.shape)} for two patches; "
                f"{num_classes} classes need (2, {num_classes})"
            )
        if stage == "fit" and not self.outputs_are_logits:
            check_outputs(self.net, patches, self.task)

    @torch.no_grad()
    def _check_split(self) -> bool:
        """Whether embeddings can be kept: the backbone is frozen and ``forward`` is ``head(backbone(patches))``."""
        if not self.frozen:
            return False
        generator = torch.Generator().manual_seed(0)
        patches = torch.randn(2, 1, self.frontend.n_mels, self.frontend.patch_frames, generator=generator)
        patches, is_training = patches.to(self.device), self.training
        self.eval()
        try:
            logits = self._part("head")(self._part("backbone")(patches))
            return torch.allclose(logits, self.forward(patches), rtol=1e-4, atol=1e-5)
        except RuntimeError:  # shapes that forward mends in between
            return False
        finally:
            self.train(is_training)

    def train(self, mode: bool = True) -> "ClipClassifier":
        """Training mode, but a frozen backbone stays in inference mode."""
        super().train(mode)
        if self.frozen:
            self._part("backbone").eval()
        return self

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)``."""
        logits: Tensor = self.net(patches)
        return logits

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Loss of a batch; its randomness depends on (seed, step, process) alone."""
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx  # global_step stays while gradients accumulate
        seed = (self.seed * 1_000_003 + step) * 1_009 + self.global_rank
        # not torch.manual_seed: each call of it stores a stack trace where CUDA is not initialised
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        target = batch.target
        if alpha := self.augment.config.mixup:
            shares = target if target.ndim == 2 else F.one_hot(target, len(self.class_names)).float()
            patches, target = mixup(batch.patches, shares, alpha)
            batch = batch._replace(patches=patches)
        logits = self._train_logits(batch)
        loss = self._loss(logits, target, self.label_smoothing, self.class_weight)
        self._log("train", loss, len(batch.target))
        if self.task == "single_label":
            self.train_acc(logits, batch.target)
            self.log("train/patch_acc", self.train_acc, on_step=False, on_epoch=True)
        return loss

    def _train_logits(self, batch: PatchBatch) -> Tensor:
        if not self._is_split or self.augment.config.active or int(batch.position[0]) < 0:
            return self.forward(self.augment(batch.patches))
        if self._bank is None:
            self._bank = self._embed(self.trainer.train_dataloader.dataset)  # type: ignore[union-attr]
        if not len(self._bank):
            return self.forward(batch.patches)
        logits: Tensor = self._part("head")(self._bank[batch.position])
        return logits

    @torch.no_grad()
    def _embed(self, dataset: Any) -> Tensor:
        """Embeddings ``(num_patches, E)`` of the whole grid, in its order; empty if they would take too much."""
        backbone, step = self._part("backbone"), 64
        parts: list[Tensor] = []
        for first in range(0, len(dataset), step):
            patches = dataset.__getitems__(range(first, min(first + step, len(dataset)))).patches
            parts.append(backbone(patches.to(self.device)))
            if parts[0][0].nbytes * len(dataset) > BANK_BYTES:
                return torch.empty(0)
        return torch.cat(parts)

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Scores a batch."""
        self._score("val", self._val_logits(batch, batch_idx), batch)

    def _val_logits(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        if not self._is_split or self.trainer.state.fn != "fit":
            return self.forward(batch.patches)
        known = self._val_bank.get(batch_idx)  # batches come in the same order each epoch
        embedding: Tensor = self._part("backbone")(batch.patches) if known is None else known
        if known is None and sum(own.nbytes for own in self._val_bank.values()) < BANK_BYTES:
            self._val_bank[batch_idx] = embedding
        logits: Tensor = self._part("head")(embedding)
        return logits

    def test_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Scores a batch."""
        self._score("test", self(batch.patches), batch)

    def _score(self, split: str, logits: Tensor, batch: PatchBatch) -> None:
        self._log(split, self._loss(logits, batch.target), len(batch.target))
        self._collected(split).update(to_posteriors(logits, self.task), batch.target, batch.clip)

    def _collected(self, split: str) -> PatchPosteriors:
        metric = self.collected[split]
        assert isinstance(metric, PatchPosteriors)
        return metric

    def _log(self, split: str, loss: Tensor, size: int) -> None:
        self.log(f"{split}/loss", loss, on_step=False, on_epoch=True, batch_size=size, sync_dist=True)

    def on_validation_epoch_end(self) -> None:
        """Logs accuracies, or average precisions, of validation patches and clips."""
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        """Logs those of test patches and clips."""
        self._finish("test")

    def _finish(self, split: str) -> None:
        collected = self._collected(split)
        self.collected_posteriors[split] = collected.compute()
        self.scores[split] = score(*self.collected_posteriors[split], self.class_names, self.decision)
        collected.reset()
        for level in LEVELS[self.task]:
            self.log(f"{split}/{level}", self.scores[split].metrics[level], prog_bar=split == "val")

    def on_fit_end(self) -> None:
        """Frees the embeddings."""
        self._bank, self._val_bank = None, {}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the trainable parameters, with its schedule."""
        with _named("model.optimizer", self.optimizer):
            optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        if self.scheduler is None:
            return optimizer
        with _named("model.scheduler", self.scheduler):
            scheduler = self.scheduler(optimizer)
        name = type(scheduler).__name__
        if isinstance(scheduler, EpochSchedule) and self.scheduler_interval == "step":
            raise AedError(f"model.scheduler_interval=step: {name} counts epochs; use epoch, or a scheduler of torch's")
        if self.trainer.max_epochs == 1 and not any(group["lr"] for group in optimizer.param_groups):
            log.warning("%s: the rate of the only epoch is 0, nothing is learnt; train for more epochs", name)
        if isinstance(scheduler, ReduceLROnPlateau):
            if self._plateau_state:
                scheduler.load_state_dict(self._plateau_state)
            self._plateau = scheduler
            return optimizer
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": self.scheduler_interval},
        }

    def try_schedule(self, epochs: int | None) -> None:
        """Tries optimizer and schedule on a single weight, so that values they fail at are found before training.

        Args:
            epochs: Steps of the schedule; a few at the most are taken.

        Raises:
            AedError: Names the key.
        """
        with _named("model.optimizer", self.optimizer):
            optimizer = self.optimizer([nn.Parameter(torch.zeros(2, 2))])
        if self.scheduler is None:
            return
        with _named("model.scheduler", self.scheduler), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a schedule that steps without an optimizer that did
            scheduler = self.scheduler(optimizer)
            for _ in range(max(0, min(epochs or 1, MOST_TRIED))):
                scheduler.step(0) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        if not all(math.isfinite(rate) for rate in rates):
            raise AedError(f"model.scheduler: the learning rate becomes {rates[0]}; need a finite one")

    def on_train_epoch_end(self) -> None:
        """Steps ``ReduceLROnPlateau`` here: Lightning does so after saving, and a resumed run would miss a step.

        Raises:
            AedError: The training diverged.
        """
        if not all(parameter.isfinite().all() for parameter in self.parameters()):
            raise AedError(
                f"the training diverged in epoch {self.current_epoch + 1}: weights are infinite or NaN; lower "
                "model.optimizer.lr, or set trainer.gradient_clip_val=1"
            )
        if self._plateau is None:
            return
        metrics = self.trainer.callback_metrics
        if self.monitor not in metrics:
            raise AedError(f"model.monitor: ReduceLROnPlateau needs one of {sorted(metrics)}, got {self.monitor!r}")
        self._plateau.step(metrics[self.monitor].item())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds, as plain types, all that is needed to use the model without its configuration."""
        checkpoint["aed"] = {
            "version": CHECKPOINT_VERSION,
            "net": net_facts(self.net),
            "frontend": asdict(self.frontend),
            "class_names": list(self.class_names),
            "task": self.task,
            "decision": asdict(self.decision),
            "weights": self.weights,
            "data": self.data_facts,
            "plateau": self._plateau.state_dict() if self._plateau else None,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another front end, net or class list.

        Raises:
            AedError: What differs.
        """
        name = getattr(self._trainer, "ckpt_path", None) or "the checkpoint"
        facts = check_facts(checkpoint, name)
        check_finite(checkpoint["state_dict"], name)
        self._plateau_state = facts["plateau"]
        mine: dict[str, Any] = {}
        self.on_save_checkpoint(mine)
        parts = ("net", "frontend", "class_names", "task")
        if wrong := [part for part in parts if facts[part] != mine["aed"][part]]:
            said = "; ".join(f"its {part} differs: {_difference(facts[part], mine['aed'][part])}" for part in wrong)
            raise AedError(f"{name}: {said}; resume with the settings it was trained with")
        try:
            check_shapes(self.state_dict(), checkpoint["state_dict"], type(self.net).__name__)
        except AedError as error:
            raise AedError(f"{name}: {error}") from error


def _difference(theirs: Any, ours: Any) -> str:
    """In what a part of a checkpoint's facts differs: dicts by the keys that do."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{theirs}, here {ours}"
    keys = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    return ", ".join(f"{key} {_difference(theirs.get(key), ours.get(key))}" for key in keys)


@contextmanager
def _named(key: str, maker: Callable[..., Any]) -> Iterator[None]:
    """Says of which key torch does not take the values."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        made, values = getattr(maker, "func", maker), getattr(maker, "keywords", {})
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        raise AedError(f"{key}: {type(error).__name__}: {error}; torch refused {made.__name__}({shown})") from error
