"""Scores of any model on a split, and what it leaves: metrics, a row a clip, pictures; the same for every kind."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor

from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.patches import PatchDataset
from aed.datamodules.sources.clips import FixedSplit
from aed.datamodules.sources.events import EventSource, FixedEvents
from aed.dsp.waveform import load_clip
from aed.export.card import ModelCard
from aed.export.fidelity import sqnr_db
from aed.inference.classifier import Classifier, to_posteriors
from aed.scoring import pictures, tables
from aed.scoring.confidence import nats
from aed.scoring.levels import LEVELS
from aed.scoring.scores import Scores, score
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
    """Scores of ``classifier`` on all patches of ``data``, by the decision rule of its card.

    Args:
        classifier: Any model.
        data: The split.
        class_names: In the order of the outputs.
    """
    outputs = np.concatenate([classifier.outputs(patches) for patches in chunks(data)])
    return judge(classifier.card, outputs, data.patch_targets, data.clip, class_names)


def judge(
    card: ModelCard,
    outputs: npt.NDArray[np.float32],
    target: npt.NDArray[Any],
    clip: npt.NDArray[np.int64],
    class_names: Sequence[str],
) -> Evaluated:
    """Scores of outputs by the decision rule of the model's card.

    Args:
        card: Says what the outputs are.
        outputs: ``(num_patches, num_classes)``.
        target: ``(num_patches,)`` or ``(num_patches, num_classes)``.
        clip: ``(num_patches,)``, the clip of each patch.
        class_names: In the order of the outputs.
    """
    posteriors = torch.from_numpy(to_posteriors(card, outputs))
    truth = torch.from_numpy(np.ascontiguousarray(target))
    scores = score(posteriors, truth, torch.from_numpy(clip), class_names, card.decision)
    return Evaluated(scores, outputs, posteriors.numpy(), float(nats(posteriors, truth)))


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


def evaluate_clips(
    device: Device, card: ModelCard, files: Sequence[Path], targets: npt.NDArray[Any], class_names: Sequence[str]
) -> Evaluated:
    """Scores of C code that hears whole clips, their features made by C too.

    Args:
        device: Front end and net.
        card: Of the model.
        files: The clips.
        targets: ``(num_clips,)`` or ``(num_clips, num_classes)``.
        class_names: In the order of the outputs.
    """

    def hear(path: Path) -> npt.NDArray[np.float32]:
        return device.outputs(to_int16(load_clip(path, card.frontend)))

    with ThreadPoolExecutor(device.workers) as pool:
        heard = pool.map(hear, files)
        parts = list(track(heard, f"C: {len(files)} clips", len(files), transient=True))
    clip = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return judge(card, np.concatenate(parts), targets[clip], clip, class_names)


def agreement(one: Evaluated, other: Evaluated) -> dict[str, float]:
    """How alike two programs of one model are on the same clips: shares of equal decisions and of equal outputs."""
    same = {"clip_agreement": _share_equal(one.scores.clip_decided, other.scores.clip_decided)}
    if one.outputs.shape == other.outputs.shape:
        same["equal_outputs"] = float((one.outputs == other.outputs).all(axis=1).mean())
    return same


def _share_equal(one: Tensor, other: Tensor) -> float:
    return float((one == other).reshape(len(one), -1).all(dim=1).float().mean())


def model_data(
    data: Callable[..., PatchDataModule], card: ModelCard, split: str, split_by: str, class_names: list[str] | None
) -> PatchDataModule:
    """The DataModule with the model's front end and classes, split as asked; its table is read.

    Args:
        data: Makes it.
        card: Of the model.
        split: ``all``: not split at all.
        split_by: ``card``: as the card lists, where the model was trained on this data set; ``data``: as ``data`` says.
        class_names: In the order of the outputs; None: the data's.

    Raises:
        AedError: The data has not the model's classes.
    """
    module = _split_as_asked(data, card, split, split_by, class_names)
    check_classes(module, card.data.get("name"))
    return module


def check_classes(module: PatchDataModule, trained_on: str | None) -> None:
    """Refuses data that has not a model's classes.

    Args:
        module: The data.
        trained_on: Name of the data set that the model was trained on, if it is known.

    Raises:
        AedError: What it lacks and, where that is another data set, what to type.
    """
    try:
        _ = module.class_names
    except AedError as error:
        if not str(error).startswith("data.class_names") or trained_on in (None, module.clips.name):
            raise
        raise AedError(f"{error}; the model was trained on {trained_on}: {_advice(str(trained_on))}") from error


def _split_as_asked(
    data: Callable[..., PatchDataModule], card: ModelCard, split: str, split_by: str, class_names: list[str] | None
) -> PatchDataModule:
    settings: dict[str, Any] = {"frontend": card.frontend, "multi_label": card.task == "multi_label"}
    if class_names:
        garbage = bool(card.data.get("garbage_class"))
        settings |= {"class_names": class_names[:-1] if garbage else class_names, "garbage_class": garbage}
    module = data(**settings)
    # all that is left after the choice of clips belongs to the garbage class
    fixed = settings | {"split": "folds", "test_fold": None, "val_fold": None, "garbage_share": None}
    with_splits = FixedEvents if isinstance(module.clips, EventSource) else FixedSplit
    if split == "all":
        return data(clips=with_splits(module.clips, None), **fixed)
    if split_by == "card" and card.data.get("name") == module.clips.name:
        return data(clips=with_splits(module.clips, card.data["clips"]), **fixed)
    if split_by == "card":
        log.info("the model was not trained on %s: split as data.* says", module.clips.name)
    return module


def _advice(name: str) -> str:
    """What to type for a data set of this name."""
    if name in ("esc10", "fsd50k", "synthetic"):
        return f"add data={name}"
    return "give that data as in training, or other data with these classes, say data=folder data.clips.root=sounds"


def compare(card: ModelCard, given: Evaluated, int8: Evaluated, names: Sequence[str]) -> dict[str, Any]:
    """Float beside int8 on one split: accuracies, agreement, SQNR at the output, the clips that flip.

    Args:
        card: Of the model.
        given: Of the float model.
        int8: Of the int8 model, on the same split.
        names: File names of the clips.
    """
    sqnr = sqnr_db(given.outputs, int8.outputs - given.outputs)
    clips = [part.scores.clip_decided for part in (given, int8)]
    patches = [card.decision.decide(torch.from_numpy(part.posteriors), card.task) for part in (given, int8)]
    said = [tables.spoken(rows, card.class_names) for rows in (given.scores.clip_target, *clips)]
    return {
        "clips": len(names),
        "patches": len(given.outputs),
        "float": {level: given.scores.metrics[level] for level in LEVELS[card.task]},
        "int8": {level: int8.scores.metrics[level] for level in LEVELS[card.task]},
        "sqnr_db": {"median": float(np.median(sqnr)), "5%": float(np.percentile(sqnr, 5)), "least": float(sqnr.min())},
        "patch_agreement": _share_equal(*patches),
        "clip_agreement": _share_equal(*clips),
        "flipped_clips": [
            {"filename": name, "category": truth, "float": before, "int8": after}
            for name, truth, before, after in zip(names, *said, strict=True)
            if before != after
        ],
    }


def write_scores(folder: Path, prefix: str, scores: Scores, names: Sequence[str], class_names: Sequence[str]) -> None:
    """Writes a row a clip and draws what fits the task.

    Args:
        folder: Of the run.
        prefix: ``test``, ``val_int8``, ...
        scores: Of the split.
        names: File names of its clips.
        class_names: In the order of the outputs.
    """
    tables.write_clips(folder / f"{prefix}_clips.csv", names, scores, class_names)
    pictures.plot_scores(folder / "plots", prefix, scores, class_names)
