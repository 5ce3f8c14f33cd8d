"""Scores of any model on a split, and what it leaves: metrics, a row a clip, pictures; the same for every kind."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
import torch.nn.functional as F
from rich.progress import track

from aed import report
from aed.datamodules import PatchDataModule
from aed.datamodules.clips import FixedSplit
from aed.datamodules.patches import PatchDataset
from aed.dsp.aggregate import decide
from aed.dsp.waveform import load_clip
from aed.export.card import ModelCard
from aed.export.classifier import Classifier, to_posteriors
from aed.export.fidelity import sqnr_db
from aed.scores import Scores, score
from aed.target.host import to_int16

log = logging.getLogger(__name__)

CHUNK = 512
"""Patches in memory at once."""


@dataclass(frozen=True)
class Evaluated:
    """What a model says of a split.

    Args:
        scores: Patch and clip metrics.
        outputs: ``(num_patches, num_classes)``, logits or probabilities.
        posteriors: As above.
        loss: Mean cross entropy of the patches.
    """

    scores: Scores
    outputs: npt.NDArray[np.float32]
    posteriors: npt.NDArray[np.float32]
    loss: float

    def metrics(self, prefix: str) -> dict[str, float]:
        """Flat, as in ``metrics.json``."""
        return {f"{prefix}/{key}": value for key, value in self.scores.metrics.items()} | {f"{prefix}/loss": self.loss}


def evaluate(classifier: Classifier, data: PatchDataset, class_names: Sequence[str]) -> Evaluated:
    """Scores of ``classifier`` on all patches of ``data``; a clip's posterior is the mean over its patches.

    Args:
        classifier: Any model.
        data: The split.
        class_names: In the order of the outputs.
    """
    outputs = np.concatenate([classifier.outputs(patches) for patches in chunks(data)])
    return judge(classifier.card, data, outputs, class_names)


def judge(
    card: ModelCard, data: PatchDataset, outputs: npt.NDArray[np.float32], class_names: Sequence[str]
) -> Evaluated:
    """Scores of ``outputs`` ``(num_patches, num_classes)`` for all patches of ``data``.

    Args:
        card: Of the model that gave them.
        data: The split.
        outputs: In the order of the patches.
        class_names: In the order of the outputs.
    """
    posteriors = to_posteriors(card, outputs)
    clip = torch.from_numpy(data.windows[:, 0])
    target = torch.tensor(data.targets)[clip]
    scores = score(torch.from_numpy(posteriors), target, clip, class_names)
    if card.outputs == "logits":
        loss = F.cross_entropy(torch.from_numpy(outputs), target)
    else:
        loss = F.nll_loss(torch.from_numpy(posteriors).clamp(min=1e-12).log(), target)
    return Evaluated(scores, outputs, posteriors, float(loss))


def chunks(data: PatchDataset) -> Iterator[npt.NDArray[np.float32]]:
    """All patches, at most :data:`CHUNK` at once."""
    for first in range(0, len(data), CHUNK):
        yield data.__getitems__(range(first, min(first + CHUNK, len(data)))).patches.numpy()


class Device(Protocol):
    """C code as a function of samples."""

    workers: int
    """Clips it can hear at once."""

    def outputs(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """The net's output of each patch of a clip ``(T,)``: ``(patches, num_classes)``."""


def evaluate_clips(device: Device, card: ModelCard, clips: pd.DataFrame, class_names: Sequence[str]) -> Evaluated:
    """Scores of C code that hears whole clips, their features made by C too.

    Args:
        device: Front end and net.
        card: Of the model.
        clips: Columns ``path`` and ``target``, one row a clip.
        class_names: In the order of the outputs.
    """

    def hear(path: Path) -> npt.NDArray[np.float32]:
        return device.outputs(to_int16(load_clip(path, card.frontend)))

    with ThreadPoolExecutor(device.workers) as pool:
        heard = pool.map(hear, clips["path"])
        parts = list(track(heard, f"C: {len(clips)} clips", len(clips), transient=True))
    clip = torch.from_numpy(np.repeat(np.arange(len(parts)), [len(part) for part in parts]))
    outputs = np.concatenate(parts)
    posteriors = to_posteriors(card, outputs)
    target = torch.tensor(clips["target"].to_numpy(np.int64))[clip]
    scores = score(torch.from_numpy(posteriors), target, clip, class_names)
    loss = F.nll_loss(torch.from_numpy(posteriors).clamp(min=1e-12).log(), target)
    return Evaluated(scores, outputs, posteriors, float(loss))


def agreement(one: Evaluated, other: Evaluated) -> dict[str, float]:
    """How alike two programs of one model are on the same clips: shares of equal decisions and of equal outputs."""
    decided = [decide(part.scores.clip_posteriors) for part in (one, other)]
    same = {"clip_agreement": float((decided[0] == decided[1]).float().mean())}
    if one.outputs.shape == other.outputs.shape:
        same["equal_outputs"] = float((one.outputs == other.outputs).all(axis=1).mean())
    return same


def model_data(
    data: Callable[..., PatchDataModule], card: ModelCard, split: str, split_by: str, class_names: list[str] | None
) -> PatchDataModule:
    """The DataModule with the model's front end and classes, split as asked.

    Args:
        data: Makes it.
        card: Of the model.
        split: ``all``: not split at all.
        split_by: ``card``: as the card lists, where the model was trained on this data set; ``data``: as ``data`` says.
        class_names: In the order of the outputs; None: the data's.
    """
    module = data(frontend=card.frontend, **({"class_names": class_names} if class_names else {}))
    fixed = {"split": "folds", "test_fold": None, "val_fold": None, "class_names": class_names}
    if split == "all":
        return data(frontend=card.frontend, clips=FixedSplit(module.clips, None), **fixed)
    if split_by == "card" and card.data.get("name") == module.clips.name:
        return data(frontend=card.frontend, clips=FixedSplit(module.clips, card.data["clips"]), **fixed)
    if split_by == "card":
        log.info("the model was not trained on %s: split as data.* says", module.clips.name)
    return module


def compare(given: Evaluated, int8: Evaluated, names: Sequence[str], class_names: Sequence[str]) -> dict[str, Any]:
    """Float beside int8 on one split: accuracies, agreement, SQNR at the output, the clips that flip.

    Args:
        given: Of the float model.
        int8: Of the int8 model, on the same split.
        names: File names of the clips.
        class_names: In the order of the outputs.
    """
    sqnr = sqnr_db(given.outputs, int8.outputs - given.outputs)
    truth = given.scores.clip_target.tolist()
    before, after = (decide(part.scores.clip_posteriors).tolist() for part in (given, int8))
    same = decide(torch.from_numpy(given.posteriors)) == decide(torch.from_numpy(int8.posteriors))
    return {
        "clips": len(names),
        "patches": len(given.outputs),
        "float": {level: given.scores.metrics[level] for level in report.LEVELS},
        "int8": {level: int8.scores.metrics[level] for level in report.LEVELS},
        "sqnr_db": {"median": float(np.median(sqnr)), "5%": float(np.percentile(sqnr, 5)), "least": float(sqnr.min())},
        "patch_agreement": float(same.float().mean()),
        "clip_agreement": float(np.mean([a == b for a, b in zip(before, after, strict=True)])),
        "flipped_clips": [
            {"filename": name, "category": class_names[t], "float": class_names[a], "int8": class_names[b]}
            for name, t, a, b in zip(names, truth, before, after, strict=True)
            if a != b
        ],
    }


def write_scores(folder: Path, prefix: str, scores: Scores, names: Sequence[str], class_names: Sequence[str]) -> None:
    """Writes a row a clip and the confusion matrices of patches and clips.

    Args:
        folder: Of the run.
        prefix: ``test``, ``val_int8``, ...
        scores: Of the split.
        names: File names of its clips.
        class_names: In the order of the outputs.
    """
    report.write_clips(folder / f"{prefix}_clips.csv", names, scores, class_names)
    for level, confusion in (("patches", scores.patch_confusion), ("clips", scores.clip_confusion)):
        path = folder / "plots" / f"{prefix}_{level.removesuffix('es').removesuffix('s')}_confusion.png"
        report.plot_confusion(path, confusion.cpu().numpy(), class_names, f"{prefix}: {level}")
