"""Learning-rate schedules whose value is a function of the epoch alone.

Names, arguments and values are those of ST's model zoo (stm32ai-modelzoo-services), so that its recipes
carry over unchanged. The value is absolute: it replaces the optimizer's own ``lr`` from epoch 0 on, in every
parameter group. Epochs count from 0.

Where there is a hold but no warm-up, ``k = epoch - hold_steps + 1`` counts the steps of decay: ``hold_steps``
epochs are held, the next one is one step down.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aed.base.errors import AedError

BORDER_TOLERANCE = 1e-9
"""Share of a restart cycle that rounding of ``first * t_mul**i`` may cost; far under one epoch."""

_LOWEST = {"step_size": 1, "decay_steps": 1, "first_decay_steps": 1, "t_mul": 1}
"""Smallest allowed value of an argument, where it is not 0."""

_LISTS = frozenset({"boundaries", "values"})


def linear_decay(epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float) -> float:
    """Learning rate on the straight line from ``initial_lr`` down to ``end_lr``."""
    k = epoch - hold_steps + 1
    return _between(initial_lr, end_lr, 1 - _part(k, decay_steps))


def exponential_decay(epoch: int, *, initial_lr: float, hold_steps: int, decay_rate: float, min_lr: float) -> float:
    """Learning rate ``initial_lr * exp(-decay_rate * k)``, not below ``min_lr`` once it decays."""
    k = epoch - hold_steps + 1
    return initial_lr if k < 0 else max(min_lr, initial_lr * math.exp(-decay_rate * k))


def step_decay(epoch: int, *, initial_lr: float, step_size: int, decay_rate: float, min_lr: float) -> float:
    """Learning rate ``initial_lr * decay_rate**floor((epoch + 1) / step_size)``, not below ``min_lr``."""
    return max(min_lr, initial_lr * decay_rate ** ((epoch + 1) // step_size))


def cosine_decay(epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float) -> float:
    """Learning rate on half a cosine from ``initial_lr`` down to ``end_lr``."""
    k = epoch - hold_steps + 1
    return _between(initial_lr, end_lr, _half_cosine(_part(k, decay_steps)))


def warmup_cosine_decay(
    epoch: int,
    *,
    initial_lr: float,
    warmup_steps: int,
    max_lr: float,
    hold_steps: int,
    decay_steps: int,
    end_lr: float,
) -> float:
    """Learning rate up a straight line to ``max_lr``, held, then down half a cosine to ``end_lr``."""
    if epoch < warmup_steps - 1:
        return initial_lr + (max_lr - initial_lr) * epoch / warmup_steps
    k = epoch - warmup_steps - hold_steps
    return _between(max_lr, end_lr, _half_cosine(_part(k, decay_steps)))


def cosine_decay_restarts(
    epoch: int, *, initial_lr: float, first_decay_steps: int, end_lr: float, t_mul: float, m_mul: float
) -> float:
    """Learning rate on half cosines, each ``t_mul`` as long and ``m_mul`` as high as the one before.

    Cf. Loshchilov and Hutter, SGDR, 2017 (arXiv:1608.03983).
    """
    cycle, part = restart_cycle(epoch, first_decay_steps=first_decay_steps, t_mul=t_mul)
    return _between(initial_lr, end_lr, m_mul**cycle * _half_cosine(part))


def polynomial_decay(
    epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float, power: float
) -> float:
    """Learning rate ``(initial_lr - end_lr) * (1 - p)**power + end_lr``, ``p`` the part of the decay done."""
    k = epoch - hold_steps + 1
    return _between(initial_lr, end_lr, (1 - _part(k, decay_steps)) ** power)


def polynomial_decay_restarts(
    epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float, power: float
) -> float:
    """Learning rate of ``polynomial_decay`` with ``p`` over the next multiple of ``decay_steps``."""
    k = epoch - hold_steps + 1
    reached = -(-k // decay_steps) * decay_steps
    return _between(initial_lr, end_lr, (1 - _part(k, reached)) ** power)


def piecewise_constant_decay(epoch: int, *, boundaries: Sequence[int], values: Sequence[float]) -> float:
    """Learning rate ``values[i]`` of the first ``boundaries[i] > epoch``, the last value beyond them."""
    return values[bisect_right(boundaries, epoch)]


def restart_cycle(epoch: int, *, first_decay_steps: int, t_mul: float) -> tuple[int, float]:
    """Number of the restart cycle that ``epoch`` is in, and the part of it that is done, in [0, 1).

    Cycles are counted one by one: ``floor(log(1 - c * (1 - t_mul)) / log(t_mul))``, with
    ``c = epoch / first_decay_steps``, is one too low at some borders because the logarithms round.
    """
    cycle, start, length = 0, 0.0, float(first_decay_steps)
    while epoch - start >= length * (1 - BORDER_TOLERANCE):
        cycle, start, length = cycle + 1, start + length, length * t_mul
    return cycle, max(0.0, (epoch - start) / length)


def _part(k: int, steps: int) -> float:
    """Part of ``steps`` that ``k`` steps have done, in [0, 1]."""
    return 0.0 if k <= 0 else min(k, steps) / steps


def _half_cosine(part: float) -> float:
    """Height of half a cosine that falls from 1 at part 0 to 0 at part 1."""
    return (1 + math.cos(math.pi * part)) / 2


def _between(start: float, end: float, height: float) -> float:
    """Value on the way from ``start``, which it is exactly at height 1, to ``end``, exactly at height 0."""
    return start if height == 1 else end + (start - end) * height


class EpochSchedule(LRScheduler):
    """Base of the schedules: ``curve(last_epoch, **arguments)`` in every parameter group.

    Args:
        optimizer: Optimizer whose learning rates are set.
        arguments: Keyword arguments of ``curve``, as the user gave them.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve: ClassVar[Callable[..., float]]

    def __init__(self, optimizer: Optimizer, arguments: dict[str, Any], last_epoch: int) -> None:
        # plain types and no callable, so that a checkpoint loads with torch.load(weights_only=True)
        self.arguments = _checked_arguments(type(self).__name__, arguments)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of the current epoch, once for each parameter group."""
        lr = self.curve(self.last_epoch, **self.arguments)
        return [lr] * len(self.optimizer.param_groups)


def _checked_arguments(owner: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """``arguments`` of the class called ``owner`` as plain int, float or list, once all are known to fit."""
    known = {name: _checked(owner, name, value) for name, value in arguments.items()}
    if "boundaries" in known:
        boundaries, values = known["boundaries"], known["values"]
        if len(values) != len(boundaries) + 1:
            raise AedError(
                f"{owner}: values must be one longer than boundaries, got {len(values)} values for "
                f"{len(boundaries)} boundaries"
            )
        if any(left >= right for left, right in pairwise(boundaries)):
            raise AedError(f"{owner}: boundaries must increase, got {boundaries}")
    return known


def _checked(owner: str, name: str, value: Any) -> Any:
    """``value`` of argument ``name`` as plain int, float or list of them, once it is known to be in range."""
    if name in _LISTS:
        # Sequence rather than list: Hydra hands over a ListConfig
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise AedError(f"{owner}: {name} must be a list, got {value!r}")
        return [_checked(owner, f"{name}[{i}]", item) for i, item in enumerate(value)]
    whole = name.endswith("_steps") or name == "step_size" or name.startswith("boundaries")
    lowest = _LOWEST.get(name, 0)
    right_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right_type or not math.isfinite(value) or value < lowest:
        kind = "a whole number" if whole else "a finite number"
        raise AedError(f"{owner}: {name} must be {kind} >= {lowest}, got {value!r}")
    return int(value) if whole else float(value)


class LRLinearDecay(EpochSchedule):
    """Holds ``initial_lr``, then falls on a straight line to ``end_lr`` and stays there.

    Quirk: with ``hold_steps=0`` epoch 0 is already one step down the line.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs from ``initial_lr`` to ``end_lr``.
        end_lr: Last learning rate.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(linear_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        hold_steps: int,
        decay_steps: int,
        end_lr: float,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "hold_steps": hold_steps,
            "decay_steps": decay_steps,
            "end_lr": end_lr,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRExponentialDecay(EpochSchedule):
    """Holds ``initial_lr``, then falls by the factor ``exp(-decay_rate)`` an epoch.

    Quirk: with ``hold_steps=0`` epoch 0 is already one factor down.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_rate: Natural logarithm of the fall per epoch.
        min_lr: The decay stops here.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(exponential_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        hold_steps: int,
        decay_rate: float,
        min_lr: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "hold_steps": hold_steps,
            "decay_rate": decay_rate,
            "min_lr": min_lr,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRStepDecay(EpochSchedule):
    """Multiplies the learning rate by ``decay_rate`` every ``step_size`` epochs.

    Quirk: the first step is one epoch short, ``step_size - 1`` epochs.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        step_size: Epochs between two falls.
        decay_rate: Factor of each fall.
        min_lr: The decay stops here.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(step_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        step_size: int,
        decay_rate: float,
        min_lr: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "step_size": step_size,
            "decay_rate": decay_rate,
            "min_lr": min_lr,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRCosineDecay(EpochSchedule):
    """Holds ``initial_lr``, then falls on half a cosine to ``end_lr`` and stays there.

    Quirk: the first epoch after the hold is one step down; with ``hold_steps=0`` that is epoch 0.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs from ``initial_lr`` to ``end_lr``.
        end_lr: Last learning rate.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(cosine_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        hold_steps: int,
        decay_steps: int,
        end_lr: float,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "hold_steps": hold_steps,
            "decay_steps": decay_steps,
            "end_lr": end_lr,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRWarmupCosineDecay(EpochSchedule):
    """Rises from ``initial_lr`` to ``max_lr``, holds it, then falls on half a cosine to ``end_lr``.

    Quirk: the rise ends in a jump of two steps, so ``max_lr`` is reached at epoch ``warmup_steps - 1`` and
    held for ``hold_steps + 2`` epochs (one less with ``warmup_steps=0``).

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        warmup_steps: Epochs over which the slope of the rise is taken.
        max_lr: Learning rate after the rise.
        hold_steps: Epochs at ``max_lr`` between rise and fall.
        decay_steps: Epochs from ``max_lr`` to ``end_lr``.
        end_lr: Last learning rate.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(warmup_cosine_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        warmup_steps: int,
        max_lr: float,
        hold_steps: int,
        decay_steps: int,
        end_lr: float,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "warmup_steps": warmup_steps,
            "max_lr": max_lr,
            "hold_steps": hold_steps,
            "decay_steps": decay_steps,
            "end_lr": end_lr,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRCosineDecayRestarts(EpochSchedule):
    """Falls on half a cosine to ``end_lr`` again and again, each time longer and from another height.

    Quirk: a cycle's last epoch is one step above ``end_lr``, which itself is never reached.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: Learning rate at the start of the first cycle.
        first_decay_steps: Epochs of the first cycle.
        end_lr: Learning rate the cycles fall towards.
        t_mul: Length of a cycle over the length of the one before, at least 1.
        m_mul: Height over ``end_lr`` of a cycle's start over that of the one before.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(cosine_decay_restarts)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        first_decay_steps: int,
        end_lr: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "first_decay_steps": first_decay_steps,
            "end_lr": end_lr,
            "t_mul": t_mul,
            "m_mul": m_mul,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRPolynomialDecay(EpochSchedule):
    """Holds ``initial_lr``, then falls to ``end_lr`` as ``(1 - p)**power`` and stays there.

    Quirk: with ``hold_steps=0`` epoch 0 is already one step down.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs from ``initial_lr`` to ``end_lr``.
        end_lr: Last learning rate.
        power: Exponent; 1 is the straight line, below 1 falls late.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(polynomial_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        hold_steps: int,
        decay_steps: int,
        end_lr: float,
        power: float = 0.5,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "hold_steps": hold_steps,
            "decay_steps": decay_steps,
            "end_lr": end_lr,
            "power": power,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRPolynomialDecayRestarts(EpochSchedule):
    """Holds ``initial_lr``, then falls to ``end_lr`` again and again, each time from less high.

    Quirk: after ``n`` falls the next one starts at ``p = n / (n + 1)`` of the way, not at ``initial_lr``.

    Args:
        optimizer: Optimizer whose learning rates are set.
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs between two arrivals at ``end_lr``.
        end_lr: Lowest learning rate.
        power: Exponent; 1 is the straight line, below 1 falls late.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range.
    """

    curve = staticmethod(polynomial_decay_restarts)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        initial_lr: float,
        hold_steps: int,
        decay_steps: int,
        end_lr: float,
        power: float = 0.7,
        last_epoch: int = -1,
    ) -> None:
        arguments = {
            "initial_lr": initial_lr,
            "hold_steps": hold_steps,
            "decay_steps": decay_steps,
            "end_lr": end_lr,
            "power": power,
        }
        super().__init__(optimizer, arguments, last_epoch)


class LRPiecewiseConstantDecay(EpochSchedule):
    """Takes ``values[0]`` before epoch ``boundaries[0]``, ``values[1]`` before ``boundaries[1]`` and so on.

    Quirk: a boundary is the first epoch of the next value (in Keras it is the last of the one before).

    Args:
        optimizer: Optimizer whose learning rates are set.
        boundaries: Epochs at which the value changes, increasing.
        values: Learning rates, one more than boundaries.
        last_epoch: Epoch before the first, -1 for a fresh start.

    Raises:
        AedError: An argument is outside its range, or the two lists do not fit each other.
    """

    curve = staticmethod(piecewise_constant_decay)

    def __init__(
        self,
        optimizer: Optimizer,
        *,
        boundaries: list[int],
        values: list[float],
        last_epoch: int = -1,
    ) -> None:
        arguments = {"boundaries": boundaries, "values": values}
        super().__init__(optimizer, arguments, last_epoch)
