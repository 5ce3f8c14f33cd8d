"""Optimizer and learning-rate schedule of a training, from the factories that a configuration composes."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from aed.base.errors import AedError
from aed.modules.epoch_schedule import EpochSchedule

OptimizerCallable = Callable[[Iterable[nn.Parameter]], Optimizer]
LRSchedulerCallable = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]
"""As of ``lightning.pytorch.cli``, which takes a second to import."""

TRIED_STEPS = 5
"""Steps of a schedule that are tried before training."""


def build_optimizer(factory: OptimizerCallable, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The optimizer of ``parameters``.

    Raises:
        AedError: torch refuses the values of ``model.optimizer``.
    """
    with _refused_values("model.optimizer", factory):
        return factory(parameters)


def build_schedule(factory: LRSchedulerCallable, optimizer: Optimizer) -> LRScheduler | ReduceLROnPlateau:
    """The learning-rate schedule of ``optimizer``.

    Raises:
        AedError: torch refuses the values of ``model.scheduler``.
    """
    with _refused_values("model.scheduler", factory):
        return factory(optimizer)


def check_interval(schedule: LRScheduler | ReduceLROnPlateau, interval: str) -> None:
    """Refuses to step a schedule of epochs at each optimizer step.

    Raises:
        AedError: Names ``model.scheduler_interval``.
    """
    if isinstance(schedule, EpochSchedule) and interval == "step":
        raise AedError(
            f"model.scheduler_interval=step: {type(schedule).__name__} counts epochs; use epoch, or a scheduler of "
            "torch's"
        )


def try_schedule(optimizer: OptimizerCallable, scheduler: LRSchedulerCallable | None, epochs: int | None) -> None:
    """Tries optimizer and schedule on a single weight, so that values they fail at are detected before training.

    Args:
        optimizer: Factory.
        scheduler: Factory; None: a constant rate.
        epochs: Steps of the schedule; at most :data:`TRIED_STEPS` are taken.

    Raises:
        AedError: Names the key.
    """
    trial = build_optimizer(optimizer, [nn.Parameter(torch.zeros(2, 2))])
    if scheduler is None:
        return
    with _refused_values("model.scheduler", scheduler), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the schedule steps, the optimizer does not
        schedule = scheduler(trial)
        for _ in range(max(0, min(epochs or 1, TRIED_STEPS))):
            schedule.step(0) if isinstance(schedule, ReduceLROnPlateau) else schedule.step()
    rates = [float(group["lr"]) for group in trial.param_groups]
    if not all(math.isfinite(rate) for rate in rates):
        raise AedError(f"model.scheduler: the learning rate becomes {rates[0]}; need a finite one")


class Plateau:
    """``ReduceLROnPlateau``, stepped at the end of a training epoch.

    Lightning steps it after the checkpoint is saved, and a resumed run would miss a step.

    Args:
        monitor: Metric it watches.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self._schedule: ReduceLROnPlateau | None = None
        self._restored: dict[str, Any] | None = None

    def attach(self, schedule: ReduceLROnPlateau) -> None:
        """Takes over ``schedule``, in the state of the checkpoint that is resumed, if any."""
        if self._restored:
            schedule.load_state_dict(self._restored)
        self._schedule = schedule

    def step(self, metrics: Mapping[str, Tensor]) -> None:
        """Step on the watched one of ``metrics``; without a schedule do nothing.

        Raises:
            AedError: It is not among them.
        """
        if self._schedule is None:
            return
        if self.monitor not in metrics:
            raise AedError(f"model.monitor: ReduceLROnPlateau needs one of {sorted(metrics)}, got {self.monitor!r}")
        self._schedule.step(metrics[self.monitor].item())

    def state(self) -> dict[str, Any] | None:
        """Plain types for a checkpoint; None without a schedule."""
        return self._schedule.state_dict() if self._schedule else None

    def restore(self, state: dict[str, Any] | None) -> None:
        """Starts from the ``state`` of a checkpoint when a schedule is attached."""
        self._restored = state


@contextmanager
def _refused_values(key: str, factory: Callable[..., Any]) -> Iterator[None]:
    """Names the key whose values torch refuses."""
    try:
        yield
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        function, values = getattr(factory, "func", factory), getattr(factory, "keywords", {})
        shown = ", ".join(f"{name}={value}" for name, value in values.items())
        raise AedError(f"{key}: {type(error).__name__}: {error}; torch refused {function.__name__}({shown})") from error
