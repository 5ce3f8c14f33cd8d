"""What a search is about: its nets, limits, objectives and data; and the configuration of each of its trainings."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, open_dict

from aed.base.errors import AedError
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.run.loggers import installed
from aed.run.pipeline import build_data, check_loggers, check_stages
from aed.run.search.costs import Limits
from aed.run.search.front import OBJECTIVES
from aed.run.search.space import Family, Range, Scalar, Values
from aed.run.tracking.mlflow_logger import is_mlflow
from aed.scoring.levels import LEVELS, alarms_of
from aed.settings.composing import compose_beside
from aed.settings.hydra_errors import check
from aed.target.boards import Board

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

log = logging.getLogger(__name__)

NET = "net"
"""Parameter of a study: the family."""

EXPERIMENT = "search"
"""Of MLflow, where the user names none."""

VAL_SHARE = 0.2
"""Of the training recordings, where the data come without folds and the user says nothing."""

_QUIET = ["callbacks.progress=null", "trainer.enable_progress_bar=false"]


@dataclass(frozen=True)
class Plan:
    """A search.

    Args:
        families: By name.
        typed: Overrides of every training.
        board: That nets are to run on.
        limits: Of their costs.
        objectives: Some of :data:`aed.run.search.front.OBJECTIVES`.
        metric: The score, ``val/clip_acc``.
        num_classes: Of the data.
        behind: Points by which a training may be behind another one that costs no more; None: all go to their end.
        seed: Of every training.
    """

    families: Mapping[str, Family]
    typed: Sequence[str]
    board: Board
    limits: Limits
    objectives: Sequence[str]
    metric: str
    num_classes: int
    behind: float | None
    seed: int

    def config(self, family: Family, chosen: Mapping[str, Scalar], folder: Path, stages: Sequence[str]) -> DictConfig:
        """The configuration of a training.

        Raises:
            AedError: It does not compose, or a value is out of range.
        """
        config = training_config(self.overrides(family, chosen), folder, stages)
        check(config, CONFIG_DIR)
        check_stages(config)
        return config

    def overrides(self, family: Family, chosen: Mapping[str, Scalar]) -> list[str]:
        """What a user types for the same training."""
        monitor = [f"callbacks.checkpoint.monitor={self.metric}"] if alarms_of(self.metric) is not None else []
        return [*family.overrides(chosen), *monitor, *self.typed, f"seed={self.seed}"]

    def first(self) -> list[dict[str, Scalar]]:
        """Parameters of the experiments that the families start from, as far as the space has them."""
        return [_as_shipped(family, self.typed) for family in self.families.values()]


def training_config(overrides: Sequence[str], folder: Path, stages: Sequence[str]) -> DictConfig:
    """A configuration of ``aed train`` that writes to a folder, and nowhere else."""
    config = compose_beside("train", _quiet(overrides))
    with open_dict(config):
        config.output_dir = str(folder)
        for node in filter(is_mlflow, config.logger.values()):
            if OmegaConf.is_interpolation(node, "experiment_name"):  # of one family; all trials lie below one run
                node.experiment_name = EXPERIMENT
    config.stages = list(stages)
    return config


def _quiet(overrides: Sequence[str]) -> list[str]:
    has_logger = any(word.startswith("logger=") for word in overrides)
    return [*overrides, *_QUIET, *([] if has_logger else ["logger=csv"])]


def with_validation(family: Family, typed: Sequence[str], folder: Path) -> tuple[list[str], PatchDataModule]:
    """Overrides with a validation set, which a search chooses by, where the user has not asked for one; and the data.

    Raises:
        AedError: The data cannot be used, or has no validation clips all the same.
    """
    chosen = _values_of(_as_shipped(family, typed))
    config = training_config([*family.overrides(chosen), *typed], folder, ["fit"])
    check(config, CONFIG_DIR)
    check_loggers(installed(config.logger))
    data, added = config.data, []
    if data.split == "folds" and data.val_fold is None:
        added = [f"data.val_fold={data.test_fold - 1 if data.test_fold > 1 else data.test_fold + 1}"]
    elif data.split in ("random", "source") and not data.val_fraction:
        added = [f"data.val_fraction={VAL_SHARE}"]
    if added:
        log.info("the search chooses by the validation clips of %s; test clips are for the winners", added[0])
        config = training_config([*family.overrides(chosen), *typed, *added], folder, ["fit"])
    module = build_data(config)
    if not (module.table["split"] == "val").any():
        raise AedError("data: there are no validation clips, which a search chooses by; set data.val_fold or so")
    if not module.table["split"].isin(["train"]).any():
        raise AedError("data: there are no training clips beside those of validation and test")
    return [*typed, *added], module


def check_metric(metric: str | None, data: PatchDataModule) -> str:
    """The score that a search maximises.

    Raises:
        AedError: It is none.
    """
    known = [f"val/{name}" for name in reversed(LEVELS[data.task])]
    chosen = metric or known[0]
    if chosen not in known and alarms_of(chosen) is None:
        raise AedError(f"metric: need one of {[*known, 'val/recall_at_<N>_per_hour']}, got {metric!r}")
    return chosen


def check_objectives(objectives: Sequence[str]) -> list[str]:
    """The objectives, once each.

    Raises:
        AedError: One is unknown, or the score is not the first.
    """
    if unknown := [name for name in objectives if name not in OBJECTIVES]:
        raise AedError(f"objectives: need some of {list(OBJECTIVES)}, got {unknown[0]!r}")
    if not objectives or objectives[0] != "score" or len(set(objectives)) != len(objectives):
        raise AedError(f"objectives: need score first, then others once each, got {list(objectives)}")
    return list(objectives)


def suggest(trial: "BaseTrial", families: Mapping[str, Family]) -> tuple[Family, dict[str, Scalar]]:
    """The next point: a family and a value of each of its parameters, by key."""
    family = families[trial.suggest_categorical(NET, list(families))]
    chosen: dict[str, Scalar] = {}
    for own in family.parameters:
        name = f"{family.name}/{own.key}"
        if isinstance(own, Range):
            if all(isinstance(end, int) for end in (own.low, own.high)):
                step = int(own.step or 1)
                chosen[own.key] = trial.suggest_int(name, int(own.low), int(own.high), step=step, log=own.log)
            else:
                chosen[own.key] = trial.suggest_float(name, own.low, own.high, step=own.step, log=own.log)
        else:
            values = own.values if isinstance(own, Values) else list(own.choices)
            chosen[own.key] = trial.suggest_categorical(name, values)
    return family, chosen


def point_of(params: Mapping[str, Any], families: Mapping[str, Family]) -> tuple[Family, dict[str, Scalar]]:
    """The point of a trial that is over."""
    return families[params[NET]], _values_of(params)


def _values_of(params: Mapping[str, Any]) -> dict[str, Scalar]:
    return {name.partition("/")[2]: value for name, value in params.items() if name != NET}


def middle(own: Range) -> float:
    """The middle of a range, on its own scale; one of its steps, and whole where its ends are."""
    value = math.sqrt(own.low * own.high) if own.log else (own.low + own.high) / 2
    if own.step is not None:
        value = own.low + own.step * round((value - own.low) / own.step)
    return round(value) if isinstance(own.low, int) and isinstance(own.high, int) else value


def _as_shipped(family: Family, typed: Sequence[str]) -> dict[str, Scalar]:
    """Parameters with the values of the family's experiment; of one that the space has not, the first or the middle."""
    config = compose_beside("train", [f"experiment={family.experiment}", *_quiet(typed)], with_hydra=True)
    picked = dict(config.hydra.runtime.choices)

    def own_value(key: str) -> Any:
        if key in picked:
            return picked[key]
        value = OmegaConf.select(config, key.replace("/", "."), throw_on_missing=False)
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value

    found: dict[str, Scalar] = {NET: family.name}
    for parameter in family.parameters:
        name, value = f"{family.name}/{parameter.key}", own_value(parameter.key)
        if isinstance(parameter, Values):
            found[name] = value if value in parameter.values else parameter.values[0]
        elif isinstance(parameter, Range):
            is_inside = isinstance(value, int | float) and parameter.low <= value <= parameter.high
            found[name] = value if is_inside else middle(parameter)
        else:
            same = [
                choice
                for choice, keys in parameter.choices.items()
                if all(own_value(key) == wanted for key, wanted in keys.items())
            ]
            found[name] = (same or list(parameter.choices))[0]
    return found
