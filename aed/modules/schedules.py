"""Learning-rate schedules whose value is a function of the epoch alone.

Names, arguments and values are those of ST's model zoo (stm32ai-modelzoo-services), so that its recipes
carry over unchanged. The value is absolute: it replaces the optimizer's own ``lr`` from epoch 0 on, in every
parameter group. Epochs count from 0.

Where there is a hold but no warm-up, ``k = epoch - hold_steps + 1`` counts the steps of decay: ``hold_steps``
epochs are held, the next one is one step down.
"""

import math
from bisect import bisect_right

from aed.modules.epoch_schedule import EpochSchedule

__all__ = [
    "EpochSchedule",
    "LRCosineDecay",
    "LRCosineDecayRestarts",
    "LRExponentialDecay",
    "LRLinearDecay",
    "LRPiecewiseConstantDecay",
    "LRPolynomialDecay",
    "LRPolynomialDecayRestarts",
    "LRStepDecay",
    "LRWarmupCosineDecay",
]

BORDER_TOLERANCE = 1e-9
"""Share of a restart cycle that rounding of ``first * t_mul**i`` may cost; far under one epoch."""


class LRLinearDecay(EpochSchedule):
    """Hold ``initial_lr``, then fall on a straight line to ``end_lr`` and stay there.

    Quirk: with ``hold_steps=0`` epoch 0 is already one step down the line.

    Args:
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs from ``initial_lr`` to ``end_lr``.
        end_lr: Last learning rate.
    """

    @staticmethod
    def curve(epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float) -> float:
        """Learning rate on the straight line from ``initial_lr`` down to ``end_lr``."""
        k = epoch - hold_steps + 1
        return _between(initial_lr, end_lr, 1 - _part(k, decay_steps))


class LRExponentialDecay(EpochSchedule):
    """Hold ``initial_lr``, then fall by the factor ``exp(-decay_rate)`` an epoch.

    Quirk: with ``hold_steps=0`` epoch 0 is already one factor down.

    Args:
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_rate: Natural logarithm of the fall per epoch.
        min_lr: The decay stops here.
    """

    @staticmethod
    def curve(epoch: int, *, initial_lr: float, hold_steps: int, decay_rate: float, min_lr: float = 0.0) -> float:
        """Learning rate ``initial_lr * exp(-decay_rate * k)``, not below ``min_lr`` once it decays."""
        k = epoch - hold_steps + 1
        return initial_lr if k < 0 else max(min_lr, initial_lr * math.exp(-decay_rate * k))


class LRStepDecay(EpochSchedule):
    """Multiply the learning rate by ``decay_rate`` every ``step_size`` epochs.

    Quirk: the first step is one epoch short, ``step_size - 1`` epochs.

    Args:
        initial_lr: First learning rate.
        step_size: Epochs between two falls.
        decay_rate: Factor of each fall.
        min_lr: The decay stops here.
    """

    @staticmethod
    def curve(epoch: int, *, initial_lr: float, step_size: int, decay_rate: float, min_lr: float = 0.0) -> float:
        """Learning rate ``initial_lr * decay_rate**floor((epoch + 1) / step_size)``, not below ``min_lr``."""
        return max(min_lr, initial_lr * decay_rate ** ((epoch + 1) // step_size))


class LRCosineDecay(EpochSchedule):
    """Hold ``initial_lr``, then fall on half a cosine to ``end_lr`` and stay there.

    Quirk: the first epoch after the hold is one step down; with ``hold_steps=0`` that is epoch 0.

    Args:
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs from ``initial_lr`` to ``end_lr``.
        end_lr: Last learning rate.
    """

    @staticmethod
    def curve(epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float) -> float:
        """Learning rate on half a cosine from ``initial_lr`` down to ``end_lr``."""
        k = epoch - hold_steps + 1
        return _between(initial_lr, end_lr, _half_cosine(_part(k, decay_steps)))


class LRWarmupCosineDecay(EpochSchedule):
    """Rise from ``initial_lr`` to ``max_lr``, hold it, then fall on half a cosine to ``end_lr``.

    Quirk: the rise ends in a jump of two steps, so ``max_lr`` is reached at epoch ``warmup_steps - 1`` and
    held for ``hold_steps + 2`` epochs (one less with ``warmup_steps=0``).

    Args:
        initial_lr: First learning rate.
        warmup_steps: Epochs over which the slope of the rise is taken.
        max_lr: Learning rate after the rise.
        hold_steps: Epochs at ``max_lr`` between rise and fall.
        decay_steps: Epochs from ``max_lr`` to ``end_lr``.
        end_lr: Last learning rate.
    """

    @staticmethod
    def curve(
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


class LRCosineDecayRestarts(EpochSchedule):
    """Fall on half a cosine to ``end_lr`` again and again, each time longer and from another height.

    Quirk: a cycle's last epoch is one step above ``end_lr``, which itself is never reached.
    Cf. Loshchilov and Hutter, SGDR, 2017 (arXiv:1608.03983).

    Args:
        initial_lr: Learning rate at the start of the first cycle.
        first_decay_steps: Epochs of the first cycle.
        end_lr: Learning rate the cycles fall towards.
        t_mul: Length of a cycle over the length of the one before, at least 1.
        m_mul: Height over ``end_lr`` of a cycle's start over that of the one before.
    """

    @staticmethod
    def curve(
        epoch: int,
        *,
        initial_lr: float,
        first_decay_steps: int,
        end_lr: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
    ) -> float:
        """Learning rate on half cosines, each ``t_mul`` as long and ``m_mul`` as high as the one before."""
        cycle, part = restart_cycle(epoch, first_decay_steps=first_decay_steps, t_mul=t_mul)
        return _between(initial_lr, end_lr, m_mul**cycle * _half_cosine(part))


class LRPolynomialDecay(EpochSchedule):
    """Hold ``initial_lr``, then fall to ``end_lr`` as ``(1 - p)**power`` and stay there.

    Quirk: with ``hold_steps=0`` epoch 0 is already one step down.

    Args:
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs from ``initial_lr`` to ``end_lr``.
        end_lr: Last learning rate.
        power: Exponent; 1 is the straight line, below 1 falls late.
    """

    @staticmethod
    def curve(
        epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float, power: float = 0.5
    ) -> float:
        """Learning rate ``(initial_lr - end_lr) * (1 - p)**power + end_lr``, ``p`` the part of the decay done."""
        k = epoch - hold_steps + 1
        return _between(initial_lr, end_lr, (1 - _part(k, decay_steps)) ** power)


class LRPolynomialDecayRestarts(EpochSchedule):
    """Hold ``initial_lr``, then fall to ``end_lr`` again and again, each time from less high.

    Quirk: after ``n`` falls the next one starts at ``p = n / (n + 1)`` of the way, not at ``initial_lr``.

    Args:
        initial_lr: First learning rate.
        hold_steps: Epochs at ``initial_lr``.
        decay_steps: Epochs between two arrivals at ``end_lr``.
        end_lr: Lowest learning rate.
        power: Exponent; 1 is the straight line, below 1 falls late.
    """

    @staticmethod
    def curve(
        epoch: int, *, initial_lr: float, hold_steps: int, decay_steps: int, end_lr: float, power: float = 0.7
    ) -> float:
        """Learning rate of ``LRPolynomialDecay`` with ``p`` over the next multiple of ``decay_steps``."""
        k = epoch - hold_steps + 1
        next_arrival = -(-k // decay_steps) * decay_steps
        return _between(initial_lr, end_lr, (1 - _part(k, next_arrival)) ** power)


class LRPiecewiseConstantDecay(EpochSchedule):
    """Take ``values[0]`` before epoch ``boundaries[0]``, ``values[1]`` before ``boundaries[1]`` and so on.

    Quirk: a boundary is the first epoch of the next value (in Keras it is the last of the one before).

    Args:
        boundaries: Epochs at which the value changes, increasing.
        values: Learning rates, one more than boundaries.
    """

    @staticmethod
    def curve(epoch: int, *, boundaries: list[int], values: list[float]) -> float:
        """Learning rate ``values[i]`` of the first ``boundaries[i] > epoch``, the last value beyond them."""
        return values[bisect_right(boundaries, epoch)]


def restart_cycle(epoch: int, *, first_decay_steps: int, t_mul: float) -> tuple[int, float]:
    """Number of the restart cycle that ``epoch`` is in, and the part of it that is done, in [0, 1).

    Cycles are counted up: ``floor(log(1 - c * (1 - t_mul)) / log(t_mul))``, with ``c = epoch / first_decay_steps``,
    is one too low at some borders because the logarithms round.
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
