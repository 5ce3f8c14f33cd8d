"""ClipClassifier: train a net on patches, judge it by clips."""

import hashlib
import logging
from collections.abc import Hashable
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import lightning.pytorch as L
import torch
import torch.nn.functional as F
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.optim.lr_scheduler import ReduceLROnPlateau

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.patches import PatchBatch
from aed.modules import optimization
from aed.modules.augment import AugmentConfig, PatchAugment, mixup
from aed.modules.checkpoint import check_facts, check_finite, check_same, check_shapes
from aed.modules.distillation import Distillation
from aed.modules.embeddings import BANK_BYTES, EMBED_BATCH, EmbeddingBank, embedded, is_separable, split_head
from aed.modules.loss import balancing_weights, patch_loss
from aed.modules.optimization import LRSchedulerCallable, OptimizerCallable
from aed.modules.outputs import check_num_logits, check_outputs, trial_patches
from aed.modules.rebuild import model_facts, net_facts
from aed.modules.solving import HeadKind, Samples, Solved, check_kind, solve
from aed.modules.tuning import TuningConfig, freeze_layers, parameter_groups, resting, scale_rates, solve_head
from aed.modules.weights.published import Weights
from aed.scoring.decision import Decision, Task, to_posteriors
from aed.scoring.levels import HEADLINE, LEVELS
from aed.scoring.scores import PatchPosteriors, Scores, score

log = logging.getLogger(__name__)

SOLVED_BYTES = 2**30
"""Most memory that the embeddings may take from which a head is solved for."""


class ClipClassifier(L.LightningModule):
    """Train a net that classifies clips: patches in, the mean or greatest posterior of a clip's patches out.

    Where clips have any number of classes (``data.multi_label``), the loss is binary cross entropy, else cross entropy.

    With ``pretrained`` and without ``fine_tune`` the backbone is frozen, its BatchNorm in inference mode. Each
    patch's embedding is then computed once and stored, unless augmentation or random offsets change patches; and the
    head can be solved for in place of epochs.

    Args:
        net: The net: ``forward(patches) -> logits``; see :mod:`aed.modules.nets`.
        frontend: From recording to patch.
        optimizer: Factory of the optimizer of the trainable parameters.
        scheduler: Factory of the learning-rate schedule; null: constant.
        scheduler_interval: Whether the schedule counts epochs or steps.
        monitor: Metric that ``ReduceLROnPlateau`` watches.
        augment: Changes of training patches.
        pretrained: Start from the net's published weights.
        fine_tune: Train the pretrained backbone too.
        tuning: How it is trained then.
        distillation: Teachers, and what is learned of them; null: labels alone.
        head: Where the weights of the head of a frozen backbone come from: ``trained``: epochs of the optimizer.
            ``softmax``: softmax regression; ``lda``: linear discriminant; ``means``: means of classes, for very few
            clips: solved for at once, the same each time. ``auto``: the best of these on inner folds of the training
            clips.
        head_constant: ``softmax``: what the patches weigh against the penalty; ``lda``: shrinkage; null: 0.1.
        label_smoothing: Share of the target spread over all classes.
        class_weights: Weigh rare classes more: inversely to their clips or, where classes are independent, each
            positive as many times as there are negatives to a positive; at most 100.
        aggregate: A clip's posterior: ``mean`` or ``max`` over its patches.
        outputs_are_logits: Take the outputs of the net for logits even where they are bound to be probabilities;
            without, such a net is refused before it is trained.
        seed: Seed of dropout and augmentation; each step starts from (seed, step), so that a resumed run repeats it.
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
        tuning: TuningConfig = TuningConfig(),  # noqa: B008 - frozen
        distillation: Distillation | None = None,
        head: HeadKind = "trained",
        head_constant: float | None = None,
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
        self.scheduler_interval, self.plateau = scheduler_interval, optimization.Plateau(monitor)
        self.augment = PatchAugment(augment, frontend)
        self.label_smoothing, self.class_weights, self.seed = label_smoothing, class_weights, seed
        self.decision, self.outputs_are_logits = Decision(aggregate=aggregate), outputs_are_logits
        self.task: Task = "single_label"
        self.collected_posteriors: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        self.weights: dict[str, str] | None = self._load_pretrained() if pretrained else None
        self.frozen = pretrained and not fine_tune
        check_kind(head, head_constant, self.frozen)
        self.head, self.head_constant = head, head_constant
        self.solved: Solved | None = None
        if self.frozen:
            self._part("backbone").requires_grad_(False)
        self.tuning, self.distillation = tuning, distillation
        self._check_tuning()
        self.class_names: tuple[str, ...] = ()
        self.data_facts: dict[str, Any] = {}
        self.scores: dict[str, Scores] = {}
        self.trained: dict[str, Tensor] = {}
        self.embeddings: EmbeddingBank | None = None
        self.class_weight: Tensor | None

    def _check_tuning(self) -> None:
        """Freezes the first layers.

        Raises:
            AedError: What is asked for is not done with a frozen backbone, or not with this net.
        """
        asked = [
            name for name, on in (("tuning", self.tuning != TuningConfig()), ("distillation", self.distillation)) if on
        ]
        if asked and self.frozen:
            raise AedError(
                f"model.{asked[0]}: the pretrained backbone is frozen; use model.fine_tune=true, or leave it out"
            )
        if self.distillation and self.augment.config.mixup:
            raise AedError(
                "model.augment.mixup: not with model.distillation, whose crops are mixed by data.crops; use 0"
            )
        if asked:
            freeze_layers(self._part("backbone"), self.tuning.frozen_layers)

    def _load_pretrained(self) -> dict[str, str]:
        if not hasattr(self.net, "load_pretrained"):
            raise AedError(f"model.pretrained: {type(self.net).__name__} has no published weights; use false")
        weights = self.net.load_pretrained()
        if not isinstance(weights, Weights):
            raise AedError(
                f"{type(self.net).__name__}.load_pretrained: need modules.weights.published.Weights, got {weights!r}"
            )
        weights.check_frontend(self.frontend)
        return weights.facts

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
        self.embeddings = self._embedding_bank()
        if stage == "fit":
            self._begin_tuning(data)
        if stage == "fit" and self.head != "trained":
            self._check_solvable(data)
            self.trainer.fit_loop.max_epochs = 1
        self.register_buffer("class_weight", self._class_weight(data), persistent=False)
        self.collected = nn.ModuleDict({split: PatchPosteriors() for split in ("val", "test")})

    def _begin_tuning(self, data: Any) -> None:
        """Starts the head, and has the teachers judge, as is asked for."""
        if self.tuning.solved_head:
            solve_head(self.net, data.labelled_data, len(self.class_names), self.label_smoothing)
        if self.distillation is None:
            return
        if self.task != "single_label":
            raise AedError("model.distillation: needs a single-label model, not data.multi_label=true")
        if not data.crops.per_clip:
            raise AedError(
                "model.distillation: teachers judge the crops of data.crops; set data.crops.per_clip=26, say"
            )
        if not self._is_separable()[0]:
            raise AedError(f"model.distillation: {type(self.net).__name__} is not head(backbone(patches))")
        self.distillation.prepare(data, self.net, self.label_smoothing)

    @property
    def headline(self) -> str:
        """Name of the metric that ranks models, without its split."""
        return HEADLINE[self.task]

    def _class_weight(self, data: Any) -> Tensor | None:
        """Weight of each class ``(num_classes,)``, or of its positives; None: all alike."""
        if not self.class_weights or "train" not in data.datasets:
            return None
        num_patches, counts = data.drawn_counts()
        return balancing_weights(num_patches, counts, self.task)

    def _check_net(self, stage: str) -> None:
        frontend = self.frontend
        patches = trial_patches(2, frontend.n_mels, frontend.patch_frames, frontend.silence)
        self.eval()
        check_num_logits(self.net, patches.to(self.device), len(self.class_names))
        self.train()  # Lightning leaves modes as they are, and switches for evaluation itself
        if stage == "fit" and not self.outputs_are_logits:
            check_outputs(self.net, patches, self.task)

    def _embedding_bank(self) -> EmbeddingBank | None:
        """A store of embeddings, if the backbone is frozen and ``forward`` is ``head(backbone(patches))``."""
        if not self.frozen:
            return None
        backbone, head = self._part("backbone"), self._part("head")
        is_separable, is_exact = self._is_separable()
        return EmbeddingBank(backbone, head, is_exact) if is_separable else None

    def _is_separable(self) -> tuple[bool, bool]:
        """Whether the net is ``head(backbone(patches))``, and whether to the bit."""
        is_training = self.training
        self.eval()
        separable = is_separable(self.net, self._noise())
        self.train(is_training)
        return separable

    def _noise(self) -> Tensor:
        """Two patches ``(2, 1, n_mels, patch_frames)``, always the same."""
        generator = torch.Generator().manual_seed(0)
        patches = torch.randn(2, 1, self.frontend.n_mels, self.frontend.patch_frames, generator=generator)
        return patches.to(self.device)

    def _check_solvable(self, data: Any) -> None:
        """Refuses a head that is to be solved for where one can only be trained.

        Raises:
            AedError: Names the key that stands against it.
        """
        reasons = {
            "data.multi_label=true: a head of one class a clip is solved for": self.task == "multi_label",
            "model.augment: a head is solved for from patches as they are": self.augment.config.active,
            "data.train_patches=random: a head is solved for from the grid": data.train_patches == "random",
            "data.crops.per_clip: a head is solved for from clips": data.crops.per_clip > 0,
            "data.class_balance=true: nothing is drawn; use model.class_weights=true": data.class_balance,
            "its forward is not head(backbone(patches))": self.embeddings is None,
        }
        if found := next((words for words, holds in reasons.items() if holds), None):
            raise AedError(f"model.head={self.head}: {found}; or use model.head=trained")
        try:
            split_head(self._part("head"))
        except AedError as error:
            raise AedError(
                f"model.head={self.head}: {error}: model.net.head_hidden=null, or model.head=trained"
            ) from error

    def on_train_start(self) -> None:
        """Solves for the head, unless it is trained."""
        if self.head == "trained":
            return
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        labels = data.training_data.labels
        targets = labels.target_at(slice(None))
        weights = None if self.class_weight is None else self.class_weight.cpu().numpy()[targets]
        inputs = self._head_inputs(data).cpu().numpy()
        samples = Samples(inputs, targets, labels.clip, data.training_recordings(), weights)
        self.solved = solve(
            samples,
            len(self.class_names),
            self.head,
            constant=self.head_constant,
            smoothing=self.label_smoothing,
            aggregate=self.decision.aggregate,
            seed=self.seed,
        )
        _, dense = split_head(self._part("head"))
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(self.solved.head.weight))
            dense.bias.copy_(torch.from_numpy(self.solved.head.bias))
        log.info("head: %s, from %d patches", self.solved.candidate.name, len(targets))

    def _head_inputs(self, data: Any) -> Tensor:
        """What the dense layer sees of the training patches, ``(patches, size)``.

        Raises:
            AedError: It does not fit into memory.
        """
        bank, device = self.embeddings, self.device
        assert bank is not None
        with torch.no_grad():
            of_noise = bank.backbone(self._noise())
        shape, facts = of_noise[0].shape, self._embedding_facts(of_noise)
        if (num_bytes := 4 * shape.numel() * len(data.training_data)) > SOLVED_BYTES:
            raise AedError(
                f"model.head={self.head}: the training patches are {num_bytes / 2**30:.1f} GiB of embeddings, more "
                f"than {SOLVED_BYTES / 2**30:.0f}; a greater frontend hop, or model.head=trained"
            )
        rows = data.training_embeddings(
            facts,
            bank.backbone.state_dict(),
            shape.numel(),
            lambda own: bank.backbone(own.to(device)).flatten(1).cpu(),
        )
        return bank.keep(rows, shape, device)

    def train(self, mode: bool = True) -> "ClipClassifier":
        """Training mode, but a frozen backbone, or what of it is frozen, stays in inference mode."""
        super().train(mode)
        if self.frozen:
            self._part("backbone").eval()
        elif self.tuning.rests:
            for layer in resting(self._part("backbone"), self.tuning):
                layer.eval()
        return self

    def forward(self, patches: Tensor) -> Tensor:
        """Logits ``(B, num_classes)`` of patches ``(B, 1, n_mels, patch_frames)``."""
        logits: Tensor = self.net(patches)
        return logits

    def training_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Loss of a batch; its randomness depends on (seed, step, process) alone."""
        self._seed_step()
        mixed, target = self._mixed(batch)
        embeddings, logits = self._tuned(mixed) if self.distillation else (None, self._train_logits(mixed))
        loss = patch_loss(logits, target, self.task, self.label_smoothing, self.class_weight)
        if self.distillation:
            assert embeddings is not None
            loss = self.distillation.loss(loss, logits, embeddings, batch.recording)
        self._log_training(loss, logits, batch.target)
        return loss

    def _seed_step(self) -> None:
        step = self.trainer.fit_loop.epoch_loop.total_batch_idx  # global_step stays while gradients accumulate
        seed = (self.seed * 1_000_003 + step) * 1_009 + self.global_rank
        # not torch.manual_seed: each call of it stores a stack trace where CUDA is not initialised
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _mixed(self, batch: PatchBatch) -> tuple[PatchBatch, Tensor]:
        """The batch and its targets, mixed where the augmentation says so."""
        target = batch.target
        if not (alpha := self.augment.config.mixup):
            return batch, target
        shares = target if target.ndim == 2 else F.one_hot(target, len(self.class_names)).float()
        patches, mixed = mixup(batch.patches, shares, alpha)
        return batch._replace(patches=patches), mixed

    def _tuned(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """Embeddings ``(B, size)`` and logits ``(B, num_classes)`` of a batch."""
        embeddings = self._part("backbone")(self.augment(batch.patches))
        return embeddings, self._part("head")(embeddings)

    def _train_logits(self, batch: PatchBatch) -> Tensor:
        on_grid = int(batch.position[0]) >= 0
        if self.embeddings is None or self.augment.config.active or not on_grid:
            return self.forward(self.augment(batch.patches))
        if self.embeddings.train is None:
            self.embeddings.train = self._grid_embeddings("train", EMBED_BATCH)
        return self.embeddings.train_logits(batch)

    def _eval_logits(self, split: str, batch: PatchBatch) -> Tensor:
        """Logits ``(B, num_classes)`` of a batch of a split that is evaluated in order; the bits of :meth:`forward`."""
        bank = self.embeddings
        if bank is None or self.trainer.world_size > 1 or not bank.is_exact:
            return self.forward(batch.patches)
        if split not in bank.whole:
            bank.whole[split] = self._grid_embeddings(split, self.trainer.datamodule.eval_batch_size)  # type: ignore[attr-defined]
        rows = bank.whole[split]
        logits: Tensor = bank.head(rows[batch.position]) if len(rows) else self.forward(batch.patches)
        return logits

    @torch.no_grad()
    def _grid_embeddings(self, split: str, batch_size: int) -> Tensor:
        """Those of the grid of a split, from the cache folder where they are known; empty where they are too many.

        Args:
            split: Of the data.
            batch_size: Patches that are embedded together.
        """
        bank, device, data = self.embeddings, self.device, self.trainer.datamodule  # type: ignore[attr-defined]
        assert bank is not None
        patches = data.training_data if split == "train" else data.datasets[split]
        compute = partial(embedded, bank.backbone, patches, device, BANK_BYTES, batch_size)
        of_noise = bank.backbone(self._noise())
        one = of_noise[0]
        if one.ndim != 1 or one.dtype != torch.float32 or one.nbytes * len(patches) > BANK_BYTES:
            return compute()
        # bits depend on what is computed together and by how many threads
        facts = self._embedding_facts(of_noise) | {"batch": batch_size, "threads": torch.get_num_threads()}
        weights = bank.backbone.state_dict()
        rows = data.grid_embeddings(split, facts, weights, len(one), lambda: compute().cpu().numpy())
        return torch.from_numpy(rows).to(device)

    def _embedding_facts(self, of_noise: Tensor) -> dict[str, Any]:
        """All that embeddings depend on besides patches and weights, as JSON can hold it: of code, what it computes.

        Args:
            of_noise: What the backbone computes of :meth:`_noise`.
        """
        return {
            "net": net_facts(self.net),
            "frontend": asdict(self.frontend),
            "device": self.device.type,
            "torch": torch.__version__,
            "of_noise": hashlib.sha256(of_noise.float().cpu().numpy().tobytes()).hexdigest(),
        }

    def _log_training(self, loss: Tensor, logits: Tensor, target: Tensor) -> None:
        """Adds to the sums of the epoch: what Lightning does for a step takes longer than the step of a small head."""
        sums = {"loss": loss.detach() * len(target), "patches": torch.tensor(float(len(target)))}
        if self.task == "single_label":
            known = target if target.ndim == 1 else target.argmax(dim=1)
            sums["patch_acc"] = (logits.argmax(dim=1) == known).sum().float()
        self.trained = {name: self.trained[name] + value if self.trained else value for name, value in sums.items()}

    def _log_epoch(self) -> None:
        """Logs loss and accuracy of the patches of the epoch, as they were trained on."""
        sums, self.trained = self.trained, {}
        if patches := sums.pop("patches", None):
            for name, total in sums.items():
                mean = total / patches.to(total.device)
                self.log(f"train/{name}", mean, batch_size=int(patches), sync_dist=True)

    def validation_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Score a batch."""
        again = self.trainer.state.fn == "fit"
        logits = self.val_logits(batch.patches, batch_idx) if again else self._eval_logits("val", batch)
        self._score("val", logits, batch)

    def val_logits(self, patches: Tensor, key: Hashable) -> Tensor:
        """Logits ``(B, num_classes)`` of patches that come again each epoch, under the same key.

        Where the backbone is frozen, each is embedded once.
        """
        stored = self.embeddings
        logits: Tensor = stored.val_logits(patches, key) if stored else self(patches)
        return logits

    def test_step(self, batch: PatchBatch, batch_idx: int) -> None:
        """Score a batch."""
        self._score("test", self._eval_logits("test", batch), batch)

    def predict_step(self, batch: PatchBatch, batch_idx: int) -> Tensor:
        """Logits ``(B, num_classes)`` of a batch."""
        return self.forward(batch.patches)

    def _score(self, split: str, logits: Tensor, batch: PatchBatch) -> None:
        self._log(split, patch_loss(logits, batch.target, self.task), len(batch.target))
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
        """Free the embeddings."""
        self.embeddings = None

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer of the trainable parameters, with its schedule."""
        if self.head != "trained":  # Lightning saves no checkpoint before a step: an epoch of steps that change nothing
            return torch.optim.SGD(self._trained(), lr=0.0)
        optimizer = optimization.build_optimizer(self.optimizer, self._trained())
        scale_rates(optimizer)
        if self.scheduler is None:
            return optimizer
        schedule = optimization.build_schedule(self.scheduler, optimizer)
        optimization.check_interval(schedule, self.scheduler_interval)
        if self.trainer.max_epochs == 1 and not any(group["lr"] for group in optimizer.param_groups):
            name = type(schedule).__name__
            log.warning("%s: the rate of the only epoch is 0, nothing is learnt; train for more epochs", name)
        if isinstance(schedule, ReduceLROnPlateau):
            self.plateau.attach(schedule)
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": self.scheduler_interval}}

    def _trained(self) -> list[Any]:
        """Trained parameters, in groups where their rates differ."""
        parts = [self, self.distillation.projection] if self.distillation else [self]
        trained = [own for part in parts if part for own in part.parameters() if own.requires_grad]
        if not self.tuning.by_layer:
            return trained
        inside = set(self._part("backbone").parameters())
        return parameter_groups(self.net, [own for own in trained if own not in inside], self.tuning)

    def try_schedule(self, epochs: int | None) -> None:
        """Tries optimizer and schedule before training; see :func:`aed.modules.optimization.try_schedule`."""
        if self.head != "trained":
            return
        optimization.try_schedule(self.optimizer, self.scheduler, epochs)

    def on_train_epoch_end(self) -> None:
        """Checks that the weights are finite, logs the epoch's loss, and steps ``ReduceLROnPlateau``.

        Raises:
            AedError: The training diverged.
        """
        if not all(parameter.isfinite().all() for parameter in self.parameters()):
            raise AedError(
                f"the training diverged in epoch {self.current_epoch + 1}: weights are infinite or NaN; lower "
                "model.optimizer.lr, or set trainer.gradient_clip_val=1"
            )
        self._log_epoch()
        self.plateau.step(self.trainer.callback_metrics)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add, as plain types, all facts needed to use the model without its configuration."""
        checkpoint["aed"] = {
            **model_facts(
                self.net, self.frontend, self.class_names, self.task, self.decision, self.weights, self.data_facts
            ),
            "plateau": self.plateau.state(),
            **({"head": self.solved.facts()} if self.solved else {}),
        }
        if self.distillation and self.distillation.projection:
            checkpoint["projection"] = self.distillation.projection.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses a checkpoint of another front end, net or class list.

        Raises:
            AedError: Names the difference.
        """
        name = getattr(self._trainer, "ckpt_path", None) or "the checkpoint"
        facts = check_facts(checkpoint, name)
        check_finite(checkpoint["state_dict"], name)
        self.plateau.restore(facts["plateau"])
        if self.distillation and self.distillation.projection and "projection" in checkpoint:
            self.distillation.projection.load_state_dict(checkpoint["projection"])
        mine: dict[str, Any] = {}
        self.on_save_checkpoint(mine)
        check_same(facts, mine["aed"], name)
        try:
            check_shapes(self.state_dict(), checkpoint["state_dict"], type(self.net).__name__)
        except AedError as error:
            raise AedError(f"{name}: {error}") from error
