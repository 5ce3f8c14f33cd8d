"""Teachers: pretrained nets, mostly larger ones, whose judgement of a sound another net learns."""

import hashlib
import json
from dataclasses import asdict

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.dsp.waveform import Wave, resample
from aed.modules.closed_form import Head, softmax_regression
from aed.modules.rebuild import net_facts
from aed.modules.weights.published import Weights

Embeddings = npt.NDArray[np.float32]


class Teacher:
    """A frozen pretrained backbone with a head that is solved for.

    Args:
        net: With published weights; its own head is not used.
        frontend: Its patches, which are cut out of the same sounds as the student's.

    Raises:
        AedError: It has no published weights, they are not to be had, or want other features.
    """

    def __init__(self, net: nn.Module, frontend: FrontendConfig) -> None:
        if not hasattr(net, "load_pretrained") or not hasattr(net, "backbone"):
            raise AedError(
                f"model.distillation.teachers: {type(net).__name__} has no published weights; use another net"
            )
        weights: Weights = net.load_pretrained()  # type: ignore[operator]
        weights.check_frontend(frontend)
        self.backbone = net.get_submodule("backbone").eval().requires_grad_(False)
        self.frontend = frontend
        self._logmel = LogMel(frontend)
        facts = {"net": net_facts(net), "weights": weights.sha256, "frontend": asdict(frontend)}
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.name = f"{type(net).__name__}-{digest[:16]}"
        """The same name, the same embeddings."""

    @torch.inference_mode()
    def embed(self, wave: Wave, rate: int) -> Embeddings:
        """Embeddings ``(num_patches, size)`` of the patches of a sound; one shorter than a patch is repeated.

        Args:
            wave: ``(T,)``.
            rate: Samples a second, Hz.
        """
        wave = resample(wave, rate, self.frontend.sample_rate)
        wave = wave if len(wave) >= (least := self.frontend.min_clip_samples) else np.resize(wave, least)
        frames = self._logmel.array(wave)
        patches = cut(frames, grid_starts(frames.shape[1], self.frontend), self.frontend.patch_frames)
        embeddings: Embeddings = self.backbone(torch.from_numpy(patches).unsqueeze(1)).numpy()
        return embeddings


def taught(clips: list[Embeddings], targets: npt.NDArray[np.int64], num_classes: int, label_smoothing: float) -> Head:
    """The head of a teacher, from its embeddings of training clips.

    Args:
        clips: ``(num_patches, size)`` of each clip.
        targets: ``(num_clips,)``, class of each.
        num_classes: Of the head.
        label_smoothing: Share of the target spread over all classes.
    """
    counts = [len(own) for own in clips]
    return softmax_regression(np.concatenate(clips), np.repeat(targets, counts), num_classes, smoothing=label_smoothing)


def mean_posteriors(head: Head, crops: Embeddings) -> npt.NDArray[np.float64]:
    """The mean posterior ``(num_crops, num_classes)`` of a teacher over the patches of a crop.

    Args:
        head: Of the teacher.
        crops: ``(num_crops, num_patches, size)``.
    """
    number, patches, size = crops.shape
    logits = torch.from_numpy(head.logits(crops.reshape(-1, size)))
    posteriors: npt.NDArray[np.float64] = torch.softmax(logits, dim=1).view(number, patches, -1).mean(dim=1).numpy()
    return posteriors


def directions(teachers: list[Embeddings], components: int) -> npt.NDArray[np.float32]:
    """Where a crop lies among all as the teachers embed it: ``(num_crops, components)`` of RMS 0.5.

    The embeddings of all teachers side by side, each of the same total variance, on their principal components, each
    divided by the fourth root of its variance: large ones count more than small ones, but less than they would.

    Args:
        teachers: ``(num_crops, size)`` of each.
        components: How many are kept, if there are so many.
    """
    parts = []
    for embeddings in teachers:
        centred = embeddings - embeddings.mean(axis=0)
        parts.append(centred / max(float(np.sqrt(np.square(centred).sum(axis=1).mean())), 1e-12))
    together = np.concatenate(parts, axis=1)
    variance, axes = np.linalg.eigh(together.T.astype(np.float64) @ together / len(together))
    kept = slice(-1, -1 - min(components, len(together) - 1, len(variance)), -1)
    scores = together @ (axes[:, kept] / np.maximum(variance[kept], 1e-12) ** 0.25)
    scores *= 0.5 / max(float(np.sqrt(np.square(scores).mean())), 1e-12)
    return np.asarray(scores, np.float32)
