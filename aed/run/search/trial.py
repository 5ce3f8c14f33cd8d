"""A trial: a point of the space, refused before training if it cannot fit, else trained and scored on validation."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import lightning.pytorch as L
from lightning.pytorch.trainer.states import TrainerFn
from omegaconf import DictConfig, OmegaConf

from aed.base.errors import AedError
from aed.base.files import write_whole
from aed.run.pipeline import build, run_stages
from aed.run.search.costs import Costs

RUNGS = (0.25, 0.5)
"""Shares of the epochs at which a training may be given up."""

LOG = "train.log"
"""File of a run."""


@dataclass(frozen=True)
class Rival:
    """A training that is over.

    Args:
        number: Of its trial.
        costs: Of its net.
        curve: Validation score of each of its epochs.
        score: In the end.
    """

    number: int
    costs: Costs
    curve: Sequence[float]
    score: float

    def score_at(self, share: float) -> float:
        """The best score within a share of its epochs."""
        return max(self.curve[: max(1, round(share * len(self.curve)))], default=self.score)


@dataclass(frozen=True)
class Outcome:
    """What a training gave.

    Args:
        score: Of the validation clips; None: it was given up.
        curve: Score of each epoch.
        behind: Number of the trial that it fell behind.
    """

    score: float | None
    curve: list[float]
    behind: int | None = None


def ahead(rivals: Sequence[Rival], costs: Costs, curve: Sequence[float], share: float, behind: float) -> int | None:
    """The trial that costs no more and has been better by this share of its epochs; None: there is none.

    Args:
        rivals: That were trained.
        costs: Of the net in training.
        curve: Of its epochs so far.
        share: Of its epochs that are over.
        behind: Points by which it may be behind.
    """
    best = max(curve, default=0.0)
    for rival in rivals:
        own = rival.costs
        cheaper = own.instructions <= costs.instructions and own.flash_bytes <= costs.flash_bytes
        if cheaper and own.ram_bytes <= costs.ram_bytes and rival.score_at(share) > best + behind:
            return rival.number
    return None


class Watch(L.Callback):
    """Keeps the score of each epoch, and ends a training that is behind one that costs no more.

    Args:
        metric: The score.
        rivals: Trainings that are over.
        costs: Of the net.
        behind: Points by which it may be behind; None: it is not ended.
    """

    def __init__(self, metric: str, rivals: Sequence[Rival], costs: Costs, behind: float | None) -> None:
        self.metric, self.rivals, self.costs, self.margin = metric, rivals, costs, behind
        self.curve: list[float] = []
        self.behind: int | None = None

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Notes the score, and compares it a quarter and half of the way."""
        is_epoch = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if not is_epoch or self.metric not in trainer.callback_metrics:
            return
        self.curve.append(float(trainer.callback_metrics[self.metric]))
        epochs = trainer.max_epochs or 0
        rungs = {max(1, round(share * epochs)) for share in RUNGS}
        if self.margin is None or epochs < 4 or len(self.curve) not in rungs:
            return
        self.behind = ahead(self.rivals, self.costs, self.curve, len(self.curve) / epochs, self.margin)
        if self.behind is not None:
            trainer.should_stop = True


def train(config: DictConfig, folder: Path, overrides: Sequence[str], metric: str, watch: Watch) -> Outcome:
    """Trains in a folder that looks like that of ``aed train``, and scores the validation clips.

    Args:
        config: Composed; its stages are fit and validate.
        folder: Of the run.
        overrides: As a user would have typed them.
        metric: The score.
        watch: Looks at every epoch.

    Raises:
        AedError: The training fails for a reason the user can remove, or gives no score.
    """
    keep_configuration(config, folder, overrides)
    with own_log(folder / LOG):
        state = build(config, folder)
        state.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        state.metrics |= watch.costs.metrics()
        run_stages(state, ["fit"])
        if watch.behind is not None:
            return Outcome(None, watch.curve, watch.behind)
        run_stages(state, ["validate"])
    score = state.metrics.get(metric)
    if score is None and metric == getattr(state.trainer.checkpoint_callback, "monitor", None):
        best = getattr(state.trainer.checkpoint_callback, "best_model_score", None)
        score = None if best is None else float(best)
    if score is None or not 0 <= score <= 1:
        raise AedError(f"the training left no {metric}, got {score}; see {folder / LOG}")
    return Outcome(score, watch.curve)


def keep_configuration(config: DictConfig, folder: Path, overrides: Sequence[str]) -> None:
    """Writes what Hydra writes into the folder of a run, for those who read it later."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".hydra").mkdir(exist_ok=True)
    for name, content in (("config", config), ("overrides", list(overrides))):
        text = OmegaConf.to_yaml(content).encode()
        write_whole(folder / ".hydra" / f"{name}.yaml", partial(_write, text))


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


@contextmanager
def own_log(path: Path) -> Iterator[None]:
    """Sends all that is logged or printed to a file: tables and warnings of thirty trainings are no news."""
    root = logging.getLogger()
    with path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as file, ExitStack() as stack:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("[%(asctime)s][%(name)s][%(levelname)s] - %(message)s"))
        others = list(root.handlers)
        for own in others:
            root.removeHandler(own)
            stack.callback(root.addHandler, own)
        root.addHandler(handler)
        stack.callback(root.removeHandler, handler)
        stack.enter_context(redirect_stdout(file))
        stack.enter_context(redirect_stderr(file))
        yield
