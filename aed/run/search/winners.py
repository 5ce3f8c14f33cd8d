"""From the front of a study to what is delivered: nets whose true sizes fit, tested once, the best one as C.

Candidates are taken by their validation score. Each is exported, made int8, and its library linked and run on an
emulated board; only one that keeps the limits then is called a winner, and only then are its test clips looked at.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from aed.base.errors import AedError
from aed.run import pipeline
from aed.run.deploy import DeployConfig, deliver
from aed.run.search.costs import Costs
from aed.run.search.files import FIRMWARE
from aed.run.search.front import front, rank
from aed.run.search.measured import measured_costs
from aed.run.search.plan import Plan, point_of
from aed.run.search.study import CUT, Study
from aed.run.search.trial import LOG, keep_configuration, own_log
from aed.run.search.work import COSTS, in_figures, objectives_of
from aed.run.state import INT8, SCORED
from aed.run.tracking import sweeps
from aed.scoring import tables
from aed.scoring.levels import HEADLINE

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

CHECK, TEST = ("export", "quantize"), ("test", "export", "quantize", "evaluate")
"""Stages of a candidate, and of a winner."""


@dataclass(frozen=True)
class Winner:
    """A net that keeps the limits, by its true sizes where they could be measured.

    Args:
        number: Of its trial.
        score: Of the validation clips, float.
        estimated: Costs before training.
        costs: Of the int8 net; estimated where the tools are missing.
        source: ``emulated`` or ``estimated``.
        tested: Score of the test clips, by model: ``float``, ``int8``.
        validated: Score of the validation clips in int8; None: not scored.
        between: Ends of the 95 % interval of the test clips' score in int8; None: it is no share of clips.
    """

    number: int
    score: float
    estimated: Costs
    costs: Costs
    source: str
    tested: Mapping[str, float] = field(default_factory=dict)
    validated: float | None = None
    between: tuple[float, float] | None = None

    def content(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Winner":
        """That of :meth:`content`."""
        costs = {key: Costs(**content[key]) for key in ("estimated", "costs")}
        return cls(**{**content, **costs})


def points(trials: "Sequence[FrozenTrial]", objectives: Sequence[str]) -> dict[int, dict[str, float]]:
    """The objectives of every trial that was trained to its end and fits."""
    return {
        number: {name: values[name] for name in objectives}
        for number, values in ((trial.number, _values(trial)) for trial in trials if _is_good(trial))
    }


def _is_good(trial: "FrozenTrial") -> bool:
    fits = CUT not in trial.user_attrs and all(share <= 0 for share in trial.constraints.values())
    return trial.state.name == "COMPLETE" and fits


def _values(trial: "FrozenTrial") -> dict[str, float]:
    return objectives_of(Costs(**trial.user_attrs[COSTS]), trial.values[0])


def candidates(trials: "Sequence[FrozenTrial]", objectives: Sequence[str]) -> list[int]:
    """Numbers of the trials on the front, the best score first; of equal ones the one that costs less."""
    return sorted(front(points(trials, objectives)), key=lambda number: rank(_values(trials[number])))


def choose_winners(plan: Plan, study: Study, most: int) -> tuple[list[Winner], dict[int, str]]:
    """Up to ``most`` winners, and of other candidates why they are none.

    Args:
        plan: Of the search.
        study: That is over.
        most: Winners.

    Raises:
        AedError: The storage is gone.
    """
    trials = study.trials()
    winners: list[Winner] = []
    refused: dict[int, str] = {}
    equal: dict[tuple[float, ...], int] = {}
    for number in candidates(trials, plan.objectives):
        if len(winners) == most:
            break
        trial = trials[number]
        if (same := equal.setdefault(rank(_values(trial)), number)) != number:
            refused[number] = f"score and costs are those of trial {same}"
            continue
        if number in study.tested:
            winners.append(Winner.of(study.tested[number]))
            continue
        try:
            winner = _measured(plan, study, trial)
            if why := plan.limits.why_not(winner.costs):
                refused[number] = f"{why} ({winner.source})"
                log.warning("trial %d is no winner: its int8 net %s", number, refused[number])
                continue
            winners.append(_tested(plan, study, trial, winner))
        except AedError as error:
            refused[number] = str(error)
            log.warning("trial %d is no winner: %s", number, error)
    return winners, refused


def _measured(plan: Plan, study: Study, trial: "FrozenTrial") -> Winner:
    """The costs of a candidate's int8 net."""
    folder = study.folder_of(trial.number)
    config = _run(plan, trial, folder, CHECK)
    estimated = Costs(**trial.user_attrs[COSTS])
    log.info("trial %d: %s; its sizes are checked", trial.number, in_figures(trial.values[0], estimated))
    costs, source = measured_costs(plan.board, config, folder)
    return Winner(trial.number, trial.values[0], estimated, costs, source)


def _tested(plan: Plan, study: Study, trial: "FrozenTrial", winner: Winner) -> Winner:
    """A winner with its scores of the test clips."""
    folder = study.folder_of(trial.number)
    _run(plan, trial, folder, TEST)
    metrics = tables.read_metrics(folder / "metrics.json")
    tested, validated = ({model: _headline(metrics, f"{split}{end}") for model, end in _ENDS} for split in SCORED[::-1])
    between = tables.interval_of(metrics, f"test_int8/{HEADLINE['single_label']}")
    done = replace(winner, tested=tested, validated=validated["int8"], between=between)
    study.add_tested(trial.number, done.content())
    return done


_ENDS = (("float", ""), ("int8", "_int8"))


def _headline(metrics: Mapping[str, float], split: str) -> float:
    """The score of a split's clips, whatever the task."""
    return next(metrics[name] for key in HEADLINE.values() if (name := f"{split}/{key}") in metrics)


def _run(plan: Plan, trial: "FrozenTrial", folder: Path, stages: Sequence[str]) -> DictConfig:
    """Further stages of a trial's run; one that was trained on another machine is trained here once more."""
    family, chosen = point_of(trial.params, plan.families)
    is_here = (folder / "checkpoints" / "best.ckpt").is_file()
    config = plan.config(family, chosen, folder, stages if is_here else ["fit", "validate", *stages])
    keep_configuration(config, folder, plan.overrides(family, chosen))
    with own_log(folder / LOG), sweeps.below(folder.parents[1]):
        pipeline.run(config, folder)
    return config


def deploy_best(plan: Plan, study: Study, winner: Winner) -> Path:
    """Writes the C library of the best net; returns its folder.

    Raises:
        AedError: It cannot be written.
    """
    folder, trial = study.folder / FIRMWARE, study.trials()[winner.number]
    family, chosen = point_of(trial.params, plan.families)
    run = study.folder_of(winner.number)
    if not (run / INT8).is_file():  # made on another machine
        _run(plan, trial, run, CHECK)
    config = plan.config(family, chosen, run, ["fit"])
    delivery: DeployConfig = instantiate(config.deploy, _convert_="all")
    with own_log(run / LOG):
        deliver(run / INT8, folder, replace(delivery, target="c"))
    return folder
