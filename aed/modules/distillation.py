"""Distillation: a student learns from labels, from the posteriors of teachers and from where they embed a sound.

Sources: G. Hinton et al., "Distilling the Knowledge in a Neural Network", arXiv:1503.02531; A. Romero et al., "FitNets:
Hints for Thin Deep Nets", arXiv:1412.6550.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.dsp.waveform import Wave
from aed.modules.embeddings import EMBED_BATCH
from aed.modules.teachers import Teacher, directions, mean_posteriors, taught

log = logging.getLogger(__name__)

MOST_ROWS = 4096
"""Crops from which the projection starts, evenly over all."""

RIDGE = 1e-2
"""Penalty of its start, as a share of the embedding's mean variance."""


class Sounds(Protocol):
    """What a student and its teachers hear; :class:`aed.datamodules.PatchDataModule` has it."""

    @property
    def num_classes(self) -> int:
        """Classes of the data."""

    @property
    def training_data(self) -> Any:
        """Patches of crops."""

    @property
    def crop_pool(self) -> Any:
        """The crops; see :class:`aed.datamodules.crops.pool.CropPool`."""

    def training_waves(self) -> Iterable[tuple[Wave, int]]:
        """Samples and class of each training clip."""


class Distillation:
    """The loss of a student that several teachers teach, over crops of the training clips (``data.crops``).

    Teachers hear a crop whole, the student a patch of it. Their heads are solved for on training clips alone.

    Args:
        teachers: Under names of your choice; two different ones teach better than one.
        label_share: Share of the labels in the loss of the outputs; the rest is that of the teachers.
        temperature: At which posteriors are compared.
        embedding: Weight of the distance between embeddings.
        components: Principal components of the teachers' embeddings that the student's is compared with.

    Raises:
        AedError: A value is out of its range.
    """

    def __init__(
        self,
        teachers: Mapping[str, Teacher],
        label_share: float = 0.3,
        temperature: float = 2.0,
        embedding: float = 2.0,
        components: int = 128,
    ) -> None:
        if not teachers:
            raise AedError("model.distillation.teachers: name at least one")
        if not 0 <= label_share <= 1:
            raise AedError(f"model.distillation.label_share: need a share in [0, 1], got {label_share}")
        for name, value, least in (
            ("temperature", temperature, 0.1),
            ("embedding", embedding, 0),
            ("components", components, 1),
        ):
            if not least <= value < float("inf"):
                raise AedError(f"model.distillation.{name}: need at least {least}, got {value}")
        self.teachers, self.label_share, self.temperature = teachers, label_share, temperature
        self.embedding, self.components = embedding, components
        self.projection: nn.Linear | None = None
        """From the student's embedding to the teachers' components."""
        self._log_posteriors = self._directions = torch.empty(0)

    def prepare(self, data: Sounds, net: nn.Module, label_smoothing: float) -> None:
        """Has the teachers judge all crops, and starts the projection where it fits the student as it is.

        Args:
            data: Its crops are those of the training patches.
            net: The student.
            label_smoothing: Of the teachers' heads.
        """
        waves, targets = zip(*data.training_waves(), strict=True)
        rate = data.training_data.config.sample_rate
        posteriors: list[npt.NDArray[np.float64]] = []
        means: list[npt.NDArray[np.float32]] = []
        for name, teacher in self.teachers.items():
            clips = [teacher.embed(wave, rate) for wave in waves]
            head = taught(clips, np.array(targets), data.num_classes, label_smoothing)
            groups = data.crop_pool.values(teacher.name, partial(teacher.embed, rate=rate))
            posteriors.append(np.concatenate([mean_posteriors(head, crops) for crops in groups]))
            means.append(np.concatenate([crops.mean(axis=1, dtype=np.float32) for crops in groups]))
            right = (posteriors[-1].argmax(axis=1) == data.training_data.targets.argmax(axis=1)).mean()
            log.info("teacher %s: %.1f %% of the augmented training crops by their louder class", name, 100 * right)
        self._log_posteriors = torch.from_numpy(np.log(np.mean(posteriors, axis=0))).float()
        self._directions = torch.from_numpy(directions(means, self.components))
        self.projection = self._started(data.training_data, net.get_submodule("backbone"))

    @torch.no_grad()
    def _started(self, crops: Any, backbone: nn.Module) -> nn.Linear:
        """The least-squares projection of the embeddings of the first patches of crops."""
        firsts = crops.labels.first_windows()
        rows = firsts[np.unique(np.linspace(0, len(firsts) - 1, MOST_ROWS).round().astype(int))]
        was_training = backbone.training
        backbone.eval()
        parts = [crops.__getitems__(rows[at : at + EMBED_BATCH].tolist()) for at in range(0, len(rows), EMBED_BATCH)]
        device = next(backbone.parameters()).device
        embeddings = torch.cat([backbone(part.patches.to(device)) for part in parts]).double().cpu()
        backbone.train(was_training)
        goals = self._directions[torch.cat([part.recording for part in parts])].double()
        centre, goal = embeddings.mean(dim=0), goals.mean(dim=0)
        centred = embeddings - centre
        square = centred.T @ centred
        square += torch.eye(len(square)) * (RIDGE * square.trace() / len(square)).clamp(min=1e-12)
        solved = torch.linalg.solve(square, centred.T @ (goals - goal))
        projection = nn.Linear(*solved.shape)
        projection.weight.copy_(solved.T)
        projection.bias.copy_(goal - centre @ solved)
        return projection

    def loss(self, label_loss: Tensor, logits: Tensor, embeddings: Tensor, crops: Tensor) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            label_loss: Cross entropy with the labels, nats.
            logits: ``(B, num_classes)`` of the student.
            embeddings: ``(B, size)`` of the student.
            crops: ``(B,)``, which crop each patch is of.
        """
        assert self.projection is not None
        judged = torch.softmax(self._log_posteriors[crops.cpu()].to(logits.device) / self.temperature, dim=1)
        learned = torch.log_softmax(logits / self.temperature, dim=1)
        divergence = self.temperature**2 * F.kl_div(learned, judged, reduction="batchmean")
        distance = F.mse_loss(self.projection(embeddings), self._directions[crops.cpu()].to(embeddings.device))
        return self.label_share * label_loss + (1 - self.label_share) * divergence + self.embedding * distance
