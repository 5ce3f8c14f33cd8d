"""The verb search: opens the study, works on it, and picks, tests and delivers the winners once it is over."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock

from aed.base.addresses import without_credentials
from aed.base.errors import AedError
from aed.base.extras import need
from aed.base.files import refused
from aed.base.paths import CONFIG_DIR
from aed.run.registry import register
from aed.run.search.costs import limits_of
from aed.run.search.files import MARK, PICTURE, RESULTS, TRIALS
from aed.run.search.front import OBJECTIVES
from aed.run.search.identity import identity
from aed.run.search.plan import Plan, check_metric, check_objectives, with_validation
from aed.run.search.printed import print_results
from aed.run.search.results import rows_of, summary_of, write_results
from aed.run.search.space import check_typed, chosen_families, with_experiment
from aed.run.search.space_file import read_space
from aed.run.search.storage import address
from aed.run.search.study import Study
from aed.run.search.winners import candidates, choose_winners, deploy_best
from aed.run.search.work import Worker
from aed.run.tracking import sweeps
from aed.settings.composing import aside, compose_beside
from aed.settings.own_experiment import EXPERIMENT, with_own_experiments
from aed.settings.typed import as_typed
from aed.target.boards import load_board

log = logging.getLogger(__name__)

_WORKER = "AED_SEARCH_WORKER"
"""Variable of the processes that a search starts: they try points and leave the winners to it."""


def search(
    training: list[str],
    board: str,
    space: str = "small",
    nets: list[str] | None = None,
    flash_kib: float | None = None,
    ram_kib: float | None = None,
    load: float | None = 1.0,
    trials: int = 30,
    metric: str | None = None,
    objectives: list[str] = ["score", "instructions", "flash", "ram"],  # noqa: B006 - a default of the command line
    behind: float | None = 0.1,
    winners: int = 3,
    deploy: bool = True,
    folder: str = "outputs/search",
    storage: str | None = None,
    name: str = "search",
    processes: int = 1,
    seed: int = 0,
) -> None:
    """Tries nets, front ends and trainings, and delivers the best net that fits a board.

    Args:
        training: Keys of ``aed train`` for every trial; what is no key of the search is one of them: ``data=folder
            data.clips.root=sounds``. A key that is typed is no longer searched. ``experiment=<name>`` is where all
            start from, with its net; without, each net of the space starts from its own. ``logger=mlflow``: trials lie
            below one run of MLflow, in the experiment ``search`` or that of ``logger.mlflow.experiment_name``.
        board: Board that the net is to run on: a file in ``configs/boards``.
        space: What may be chosen: a file in ``configs/spaces``, or a ``.yaml`` of your own.
        nets: Nets of the space, by its names; null: all.
        flash_kib: Most KiB of flash of net and front end; null: as much as the board has.
        ram_kib: Most KiB of RAM, stack included; null: as much as the board has.
        load: Largest share of the core's cycles, where an estimate for the core exists; null: any.
        trials: Trainings of the study, by all processes and earlier calls together; points that cannot fit are not
            trained and do not count.
        metric: Score to maximise: ``val/clip_acc``, ``val/patch_acc``, multi-label ``val/clip_map``, or
            ``val/recall_at_10_per_hour``, the share of events found with so many alarms an hour; null: the first of
            these that the data have.
        objectives: ``score``, and which costs to make small: ``instructions`` a second of sound, ``flash``, ``ram``.
        behind: Points of the score (0.1: ten) by which a training may be behind another one that costs no more, after
            a quarter and half of its epochs; it is then given up. null: none is.
        winners: Nets that are tested at the end, of those that no other is better than; the best scores first.
        deploy: Whether the C library of the best one is written, to ``firmware/`` in the folder.
        folder: Folder of the search. With the study of an earlier call, that one goes on.
        storage: Where the study is: null: ``study.db`` in the folder, or what AED_SEARCH_STORAGE says. A file that ends
            in ``.journal`` (also on a network drive), ``sqlite:///<file>``, ``postgresql://<host>/<name>``,
            ``grpc://<host>:<port>`` (``optuna.storages.run_grpc_proxy_server``).
        name: Of the study, where a storage holds several.
        processes: Processes on this machine, each with its share of the cores.
        seed: Of the trainings and of the optimiser.

    Raises:
        AedError: A setting cannot be used, the study is of another search, its storage is gone, or nothing fits.
    """
    need("optuna", "aed search")
    for key, value, least in (("trials", trials, 1), ("winners", winners, 1), ("processes", processes, 1)):
        if value < least:
            raise AedError(f"{key}: need at least {least}, got {value}")
    if behind is not None and not 0 < behind <= 1:
        raise AedError(f"behind: need a number over 0, at most 1, or null, got {behind}")
    wanted = check_objectives(objectives)
    register()
    place = Path(folder)
    target = load_board(board)
    limits = limits_of(target, flash_kib, ram_kib, load)
    where = address(storage, place)
    experiment, typed = _typed(training, processes)
    families = chosen_families(read_space(space), nets)
    families = with_experiment(families, experiment, _net_class) if experiment else families
    families = {key: family.without(_keys(typed)) for key, family in families.items()}
    typed, data = with_validation(next(iter(families.values())), typed, place)
    plan = Plan(
        families, typed, target, limits, wanted, check_metric(metric, data), data.num_classes,
        behind, seed,
    )  # fmt: skip
    settings = {"board": board, **asdict(limits), "metric": plan.metric, "behind": behind, "seed": seed}
    settings["objectives"] = ", ".join(wanted)
    _take(place)
    directions = [OBJECTIVES[objective] for objective in plan.objectives]
    study = Study.open(where, place, name, directions, identity(settings, families, typed, data), plan.first(), seed)
    log.info("%d trials, study %s in %s", trials, name, without_credentials(where))
    with _others(processes):
        Worker(plan, study, trials).work()
    if _WORKER not in os.environ:
        _finish(plan, study, winners, deploy)


def _finish(plan: Plan, study: Study, most: int, deploy: bool) -> None:
    """Winners, tables and the library, unless other processes still work."""
    trials = study.trials()
    running = [trial.number for trial in trials if trial.state.name == "RUNNING"]
    if running:
        write_results(plan, trials, (), {}, study.folder)
        log.info("trials %s are still at work elsewhere; the same command picks the winners once they end", running)
        return
    with FileLock(study.folder / ".winners.lock"):
        if not candidates(trials, plan.objectives):
            write_results(plan, trials, (), {}, study.folder)
            sweeps.end(study.folder, summary_of(plan, trials, ()), may_fail=True)
            raise AedError(_nothing(plan, study))
        winners, refused = choose_winners(plan, study, most)
        write_results(plan, trials, winners, refused, study.folder)
        sweeps.end(study.folder, summary_of(plan, trials, winners), may_fail=True)
        print_results(plan, trials, winners, refused)
        log.info("%s, %s, %s in %s", TRIALS, RESULTS, PICTURE, study.folder)
        if not winners:
            raise AedError("no net of the front keeps the limits once it is int8; give larger ones, or more trials")
        best = winners[0]
        rows = {row.number: row for row in rows_of(plan, trials)}
        log.info("the best: trial %d in %s", best.number, study.folder_of(best.number))
        log.info("the same on other folds or seeds: %s", rows[best.number].command)
        if deploy:
            log.info("its C library: %s", deploy_best(plan, study, best))


def _nothing(plan: Plan, study: Study) -> str:
    """Why a search has found nothing."""
    rows = rows_of(plan, study.trials())
    cut = [row for row in rows if row.state == "cut" and row.costs]
    if cut:
        nearest = min(cut, key=lambda row: max(plan.limits.excess(row.costs).values()) if row.costs else 0)
        return f"none of {len(rows)} points fits; the nearest, {nearest.words}, {nearest.why}; give larger limits"
    why = next((f": {row.why}" for row in rows if row.why), "")
    return f"none of {len(rows)} points was trained to its end{why}; see {study.folder / TRIALS}"


def _typed(words: Sequence[str], processes: int) -> tuple[str | None, list[str]]:
    """The experiment that is typed, and overrides of every training, quoted for Hydra."""
    known = with_own_experiments(words, CONFIG_DIR)
    chosen = [word.removeprefix(EXPERIMENT) for word in known if word.startswith(EXPERIMENT)]
    with aside():
        typed = as_typed([word for word in known if not word.startswith(EXPERIMENT)], "train")
    check_typed(_keys(typed))
    if processes > 1 and "threads" not in _keys(typed):
        typed.append(f"threads={max(1, (os.cpu_count() or 1) // processes)}")
    return (chosen[-1] if chosen else None), typed


def _keys(typed: Sequence[str]) -> list[str]:
    return [word.lstrip("+~").partition("=")[0].partition("@")[0] for word in typed]


def _net_class(overrides: Sequence[str]) -> str:
    config = compose_beside("train", [*overrides, "logger=csv"])
    return str(config.model.net.get("_target_"))


def _take(folder: Path) -> None:
    """Makes the folder of a search, or takes that of an earlier one.

    Raises:
        AedError: It holds something else, or cannot be written.
    """
    try:
        if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
            raise AedError(f"folder={folder}: holds files that are of no search; give another folder=...")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        if isinstance(error, AedError):
            raise
        raise refused(folder, error) from error


@contextmanager
def _others(processes: int) -> Iterator[None]:
    """Starts the other processes of a search, with the same command, and waits for them at the end."""
    started = []
    if _WORKER not in os.environ:
        environment = os.environ | {_WORKER: "1"}
        started = [subprocess.Popen(sys.orig_argv, env=environment) for _ in range(processes - 1)]
    try:
        yield
    except BaseException:
        for process in started:
            process.terminate()
        raise
    finally:
        codes = [process.wait() for process in started]
    if any(codes):
        log.warning("%d of the other processes have failed; what they said stands above", sum(map(bool, codes)))
