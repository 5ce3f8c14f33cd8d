"""The work of one process on a study: a trial after the other until there are enough."""

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from aed.base.errors import AedError, find_aed_error, in_brief
from aed.run.search.costs import Costs, estimate
from aed.run.search.plan import Plan, point_of, suggest
from aed.run.search.space import Family, Scalar
from aed.run.search.storage import clear
from aed.run.search.study import BEHIND, CUT, SAME, WHY, Study, counted
from aed.run.search.trial import Rival, Watch, train
from aed.run.tracking import sweeps
from aed.settings.entry import in_words

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

FRUITLESS = 200
"""Points in a row that cannot fit or were tried already, after which a process looks for no more."""

FAILURES = 5
"""Trials in a row that fail, after which a process stops: the next would, too."""

COSTS, CURVE, SECONDS, CPU = "costs", "curve", "seconds", "cpu_seconds"
"""Attributes of a trial."""


@dataclass
class Worker:
    """A process at work.

    Args:
        plan: Of the search.
        study: That it adds to.
        most: Trials to reach, of all processes.
    """

    plan: Plan
    study: Study
    most: int
    _fruitless: int = 0
    _failures: int = 0

    def work(self) -> None:
        """Tries points until there are enough, or nothing new fits.

        Raises:
            AedError: The storage is gone, or trial after trial fails.
        """
        while (begun := self.study.begin(self.most)) is not None:
            trial, lock = begun
            try:
                with self.study.beating(trial), clear(self.study.storage):
                    self._one(trial)
            except KeyboardInterrupt:
                self.study.take_back(trial.number)
                raise
            finally:
                lock.release()
            if self._fruitless >= FRUITLESS:
                log.warning(
                    "%d points one after the other cannot fit or were tried already: the space has no more; a larger "
                    "one is another file, space=mine.yaml",
                    FRUITLESS,
                )
                return

    def _one(self, trial: "Trial") -> None:
        family, chosen = suggest(trial, self.plan.families)
        folder, stages = self.study.folder_of(trial.number), ["fit", "validate"]
        costs, why = None, ""
        try:
            config = self.plan.config(family, chosen, folder, stages)
            costs = estimate(config, self.plan.num_classes, self.plan.board)
            why = self.plan.limits.why_not(costs)
        except Exception as error:  # whatever a net raises that cannot be: the others may be good
            why = f"cannot be built: {find_aed_error(error) or in_brief(error)}"
        # before the trial can end in any way: one without constraints counts as a good one
        trial.set_constraint("possible", 0.0 if costs else 1.0)
        for name, share in self.plan.limits.excess(costs).items() if costs else ():
            trial.set_constraint(name, share)
        if costs is not None:
            trial.set_user_attr(COSTS, asdict(costs))
        if why or costs is None:
            self._drop(trial, CUT, why)
            self._fruitless += 1
            return
        if (same := self._same(trial)) is not None:
            self._drop(trial, SAME, same)
            self._fruitless += 1
            return
        self._fruitless = 0
        self._train(trial, family, chosen, config, costs)

    def _drop(self, trial: "Trial", reason: str, value: Any) -> None:
        from optuna.trial import TrialState

        trial.set_user_attr(reason, value)
        self.study.own.tell(trial, state=TrialState.PRUNED)
        with suppress(OSError):  # no training: no folder, but for its lock
            self.study.folder_of(trial.number).joinpath(".run.lock").unlink()
            self.study.folder_of(trial.number).rmdir()

    def _same(self, trial: "Trial") -> int | None:
        """An earlier trial of the same point that was trained, is, or has failed."""
        for own in self.study.trials()[: trial.number]:
            if own.params == trial.params and counted([own]):
                return own.number
        return None

    def _train(
        self, trial: "Trial", family: Family, chosen: Mapping[str, Scalar], config: DictConfig, costs: Costs
    ) -> None:
        from optuna.trial import TrialState

        plan, folder = self.plan, self.study.folder_of(trial.number)
        watch = Watch(plan.metric, self._rivals(), costs, plan.behind)
        wall, cpu = time.monotonic(), time.process_time()
        failed, text = "", ""
        try:
            with sweeps.below(self.study.folder):
                outcome = train(config, folder, plan.overrides(family, chosen), plan.metric, watch)
        except Exception as error:  # whatever a net or its data raise: the others may be good
            known = find_aed_error(error)
            failed = str(known) if known else in_words(error) or in_brief(error)
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise KeyboardInterrupt from error
        trial.set_user_attr(SECONDS, round(time.monotonic() - wall, 1))
        trial.set_user_attr(CPU, round(time.process_time() - cpu, 1))
        trial.set_user_attr(CURVE, watch.curve)
        if failed:
            trial.set_user_attr(WHY, failed)
            self.study.own.tell(trial, state=TrialState.FAIL)
            text = f"failed: {failed}"
            self._failures += 1
        elif outcome.score is None:
            trial.set_user_attr(BEHIND, outcome.behind)
            self.study.own.tell(trial, state=TrialState.PRUNED)
            text = f"given up after {len(outcome.curve)} epochs, behind trial {outcome.behind}"
        else:
            values = objectives_of(costs, outcome.score)
            self.study.own.tell(trial, [values[name] for name in plan.objectives])
            text = in_figures(outcome.score, costs)
        self._failures = self._failures if failed else 0
        log.info("trial %d, %d of %d: %s: %s", trial.number, self._count(), self.most, in_short(family, chosen), text)
        if self._failures >= FAILURES:
            raise AedError(f"{FAILURES} trials one after the other have failed; the last: {failed}; see {folder}")

    def _count(self) -> int:
        return counted([own for own in self.study.trials() if own.state.is_finished()])

    def _rivals(self) -> list[Rival]:
        done = [own for own in self.study.trials() if own.state.name == "COMPLETE"]
        return [Rival(own.number, Costs(**own.user_attrs[COSTS]), own.user_attrs[CURVE], own.values[0]) for own in done]


def objectives_of(costs: Costs, score: float) -> dict[str, float]:
    """Objective -> value."""
    return {
        "score": score,
        "instructions": costs.instructions,
        "flash": costs.flash_bytes,
        "ram": costs.ram_bytes,
    }


def in_figures(score: float, costs: Costs) -> str:
    """Score and costs in words."""
    kib = f"{costs.flash_bytes / 1024:.1f} KiB flash, {costs.ram_bytes / 1024:.1f} KiB RAM"
    return f"{100 * score:.2f} %, {costs.instructions / 1e6:.2f} M instructions a second, {kib}"


def in_short(family: Family, chosen: Mapping[str, Scalar]) -> str:
    """A point in words: the net, and the last part of each key with its value."""
    words = (f"{key.rpartition('.')[2]} {_short(value)}" for key, value in chosen.items())
    return " ".join([family.name, *words])


def _short(value: Scalar) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def trial_in_short(trial: "FrozenTrial", families: Mapping[str, Family]) -> str:
    """A trial's point in words."""
    return in_short(*point_of(trial.params, families))
