"""A run: its parts built from a configuration, then stage after stage, each with the files of earlier ones."""

import logging
import os
import re
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.plugins import TorchCheckpointIO
from omegaconf import DictConfig, OmegaConf

from aed.base.errors import AedError, find_aed_error, source_line
from aed.base.loading import loading
from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule
from aed.modules.classifier import ClipClassifier
from aed.run import decide
from aed.run.callbacks import WholeCheckpoints
from aed.run.check_config import (
    check_checkpoint,
    check_devices,
    check_monitors,
    check_num_classes,
    check_range,
    check_scored,
    check_training,
)
from aed.run.check_net import check_net
from aed.run.fit import CURVES, draw_curves
from aed.run.from_checkpoint import take_over
from aed.run.loggers import LateLogger, can_wait, creating, installed, without_finished
from aed.run.model_data import check_classes
from aed.run.records import LAST, Records
from aed.run.registry import check_net_class
from aed.run.resume import check_resumable
from aed.run.stages import STAGES, choose_stages
from aed.run.state import Run
from aed.run.stream_recall import StreamRecall
from aed.run.tracking import mlflow_logger, sweeps
from aed.run.tracking.names import without_secrets
from aed.run.tracking.results import pass_on, prepare_models
from aed.scoring import tables
from aed.settings.hydra_errors import check

log = logging.getLogger(__name__)

_EXPECTED_WARNINGS = (
    "Experiment logs directory .* exists and is not empty",  # Hydra's folder, with its own files
    ".*module\\(s\\) in eval mode at the start of training",  # a frozen backbone
    "Total length of `list` across ranks is zero",  # no validation set
    ".*smaller than the logging interval",  # an epoch of few batches; its mean is logged all the same
    ".*does not have many workers",  # reading the cache needs none
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",  # between Lightning and torch
)


def build_data(config: DictConfig, trained_on: str | None = None) -> PatchDataModule:
    """The data of a composed configuration, not yet prepared; the process is.

    Args:
        config: Checked.
        trained_on: Name of the data set of the model that the run starts from.

    Raises:
        AedError: Something in it cannot be used.
    """
    prepare_process(config)
    data: PatchDataModule = created("data", config.data)
    check_classes(data, trained_on)
    check_net_class(config.model.net)
    return data


def build(config: DictConfig, folder: Path, data: PatchDataModule | None = None) -> Run:
    """The run of a composed configuration; the data is ready afterwards.

    Args:
        config: Checked.
        folder: Of the run.
        data: Of :func:`build_data`; None: it is built here.

    Raises:
        AedError: Something in it cannot be used.
    """
    data = data or build_data(config)
    check_num_classes(config.model.net, data.num_classes)
    model: ClipClassifier = created("model", config.model, net={"num_classes": data.num_classes})
    callbacks = [created(f"callbacks.{key}", node) for key, node in config.callbacks.items() if node]
    trainer: L.Trainer = created("trainer", config.trainer, logger=False, callbacks=callbacks)
    return assemble(Run(config, folder, data, model, trainer), callbacks)


def prepare_process(config: DictConfig) -> None:
    """Seeds the process, sets its threads and silences what says nothing, before anything is instantiated.

    Args:
        config: Configuration of the run: seed, threads, stages and trainer are read.

    Raises:
        AedError: One of these is out of its range.
    """
    check_range("seed", config.seed, 0, 2**32 - 1)
    check_range("threads", config.threads, 1, os.cpu_count() or 1)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    L.seed_everything(config.seed, workers=True, verbose=False)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    for expected in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", expected)
    check_devices(config.trainer)
    if "fit" in config.stages:
        check_training(config.trainer, config.stages)


def assemble(run: Run, callbacks: Sequence[L.Callback]) -> Run:
    """Checks a run's parts against each other, prepares its data and opens its loggers.

    Args:
        run: Its parts are instantiated, its trainer without a logger.
        callbacks: Callbacks of the trainer, in the order of the configuration.

    Raises:
        AedError: The parts do not fit each other, or the data cannot be used.
    """
    config, data, trainer = run.config, run.data, run.trainer
    usable = installed(config.logger)
    check_loggers(usable)
    check_scored(config, data)
    if "fit" in config.stages:
        if asked := check_monitors(config, callbacks, data):
            trainer.callbacks.insert(0, StreamRecall(asked, data))  # type: ignore[attr-defined]
        run.model.try_schedule(config.trainer.max_epochs)
    else:
        usable = without_finished(usable, run.folder)
    if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:  # not one of trainer.plugins
        trainer.strategy.checkpoint_io = WholeCheckpoints()
    if int(os.environ.get("LOCAL_RANK", "0")) == 0:
        data.prepare_data()  # after all that takes no time, before anything that a bad data set would leave behind
    opening = {key: partial(_opened, f"logger.{key}", node, run) for key, node in usable.items()}
    is_fit = "fit" in config.stages  # of a short one most would be MLflow's import
    pool = ThreadPoolExecutor(1)
    late = {
        key: LateLogger(partial(_ready, usable[key], own, run), pool)
        for key, own in opening.items()
        if is_fit and can_wait(usable[key], callbacks)
    }
    run.later += [logger.begin for logger in late.values()]
    trainer.loggers = loggers = [late.get(key) or own() for key, own in opening.items()]
    settings = without_secrets(OmegaConf.to_container(config, resolve=True, throw_on_missing=False))
    for logger in loggers:
        logger.log_hyperparams(settings)
    decide.settings(run)
    check_net(run)
    return run


def check_loggers(loggers: Mapping[str, DictConfig]) -> None:
    """Refuses a server of MLflow that cannot be used, before anything is computed.

    Args:
        loggers: Name -> configuration.

    Raises:
        AedError: Its address holds a password, or nothing answers there.
    """
    for key, node in loggers.items():
        if mlflow_logger.is_mlflow(node):
            mlflow_logger.check(f"logger.{key}", node)


def _opened(key: str, node: DictConfig, run: Run) -> Any:
    """The logger that a node describes, opened; MLflow's goes on with the folder's run unless that is trained anew."""
    if not (mlflow_logger.is_mlflow(node) and run.is_main_process):
        with creating(node):
            logger = created(key, node)
            _ = logger.experiment  # creates the database
        return logger
    is_new = "fit" in run.config.stages and not run.config.resume
    known = {} if is_new else mlflow_logger.known_run(node, run.folder)
    with loading(), creating(node):
        logger = created(key, node, **known)
        if not mlflow_logger.open_run(logger, run.folder, known):
            logger = created(key, node)
            mlflow_logger.open_run(logger, run.folder, {})
    if sweep := sweeps.sweep_folder():
        sweeps.place_below(logger, sweep)
    logger.ends_with_training = False
    return logger


def _ready(node: DictConfig, opening: Callable[[], Any], run: Run) -> Any:
    """The logger that ``opening`` opens, and MLflow ready for the models of the run, where nobody waits for it."""
    logger = opening()
    if mlflow_logger.is_mlflow(node) and {"export", "quantize"} & set(run.config.stages):
        with suppress(Exception):  # what fails here is said when a model is logged
            prepare_models()
    return logger


def created(key: str, node: DictConfig, **arguments: Any) -> Any:
    """The object that a node of the configuration describes.

    Args:
        key: Of the node, for messages.
        node: Names a class.
        arguments: Further ones.

    Raises:
        AedError: Its class does not take the values, or fails for whatever reason.
    """
    try:
        return instantiate(node, **arguments, _convert_="all")
    except InstantiationException as error:
        if known := find_aed_error(error):
            raise known from error
        cause = error.__cause__ or error
        inner = re.search(r"full_key: (\S+)", str(error))  # of the part that failed
        raise AedError(f"{inner[1] if inner else key}: {type(cause).__name__}: {cause}{source_line(cause)}") from error


def run(config: DictConfig, folder: Path) -> dict[str, float]:
    """Runs ``config.stages`` in order and returns the metrics, which are in ``metrics.json`` after each stage.

    Raises:
        AedError: A stage is unknown, or fails for a reason the user can remove.
    """
    check(config, CONFIG_DIR)
    config.stages = choose_stages(config.stages, config.operation_mode, config.evaluate.on)
    if config.ckpt_path:
        check_checkpoint(config.ckpt_path)
        if "fit" in config.stages:
            check_resumable(Path(config.ckpt_path), bool(config.model.scheduler))
    check_stages(config)
    model = take_over(config, folder)  # reads it, before features are computed
    data = build_data(config, model.data.get("name") if model else None)
    records = Records.of(config, folder, data)
    done = skip_done(config, records) if config.resume else []
    if done and not config.stages:
        metrics = records.metrics(done[-1])
        tables.write_json(folder / "metrics.json", metrics)  # of this run, for the summary of a multirun
        return metrics
    state = build(config, folder, data)
    if model is not None:
        state.model.weights = model.weights
    if config.resume and state.trainer.world_size > 1:
        raise AedError("resume=true: needs one process; set trainer.devices=1, or ckpt_path to go on with a training")
    if done:
        state.done, state.checkpoint = tuple(done), records.checkpoint(done[-1])
        state.metrics |= records.metrics(done[-1])
        if "fit" in done and not (folder / CURVES).is_file():  # the run ended before it was drawn
            draw_curves(state)
    run_stages(state, config.stages, records)
    return state.metrics


def skip_done(config: DictConfig, records: Records) -> list[str]:
    """Takes the stages that are up to date out of a configuration, returns them, and says so.

    A training that was begun with the same settings goes on from its last epoch.
    """
    done = records.up_to_date()
    config.stages = list(config.stages)[len(done) :]
    if records.why:
        log.warning("resume: nothing is skipped: %s", records.why)
    elif done:
        log.info("resume: up to date in %s and skipped: %s", records.folder, ", ".join(done))
    else:
        log.info("resume: nothing in %s is up to date; hydra.run.dir=... names the folder of a run", records.folder)
    last = records.folder / LAST
    if config.stages[:1] == ["fit"] and not config.ckpt_path and last.is_file() and records.begun("fit"):
        check_resumable(last, bool(config.model.scheduler))
        config.ckpt_path = str(last)
        log.info("resume: the training goes on from %s", last)
    return done


def run_stages(state: Run, stages: Sequence[str], records: Records | None = None) -> None:
    """Runs some stages of a run in order; ``metrics.json`` has their metrics after each.

    Args:
        state: The run.
        stages: In order.
        records: Notes what each stage left; None: nothing is noted.

    Raises:
        AedError: A stage fails for a reason the user can remove.
    """
    folder = state.folder
    if "fit" not in stages and not state.done:  # later stages on an earlier run's folder
        state.metrics |= tables.read_metrics(folder / "metrics.json")
    try:
        for at, name in enumerate(stages):
            stage = STAGES[name]
            if not stage.in_all_processes:
                state.data.setup()
            if state.is_main_process or stage.in_all_processes:
                started = time.monotonic()
                if records is not None and state.is_main_process:
                    records.begin(name)
                stage.execute(state)
                log.info("%s took %.1f s", name, time.monotonic() - started)
            if state.is_main_process:
                tables.write_json(folder / "metrics.json", _facts(state) | state.metrics)
            if name != "fit":
                state.catch_up()
            if state.is_main_process:
                _begin(state, name, stages[at + 1 :])
            if records is not None and state.is_main_process:
                records.end(name, _facts(state) | state.metrics, state.checkpoint)
    except BaseException as error:
        _end(state, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    _end(state, "FINISHED")
    log.info("outputs in %s", folder)


def _begin(state: Run, done: str, stages: Sequence[str]) -> None:
    """Begins those of the stages to come that can begin beside others, now that a stage is done."""
    for stage in map(STAGES.__getitem__, stages):
        if stage.after == done and stage.begin:
            stage.begin(state)


def _end(state: Run, status: str) -> None:
    """Does what waits, and tells the loggers what there is now."""
    state.catch_up()
    if state.is_main_process:
        loggers = [logger.opened if isinstance(logger, LateLogger) else logger for logger in state.trainer.loggers]
        pass_on(state, [logger for logger in loggers if logger], status)


def check_stages(config: DictConfig) -> None:
    """Reads the settings of every stage: what is wrong in them is said before hours of training.

    Raises:
        AedError: Names the key.
    """
    for key in ("budget", "decision"):
        created(key, config[key])
    for name, stage in STAGES.items():
        settings = created(stage.key, config[stage.key]) if stage.key else None
        if stage.check and name in config.stages:
            stage.check(settings)


def _facts(state: Run) -> dict[str, float]:
    data = state.data
    return {
        "data/leaking_sources": float(len(data.leaking_sources)),
        "data/skipped_clips": float(len(data.skipped)),
        **{f"data/{split}_clips": float(part.num_clips) for split, part in data.datasets.items()},
    }
