"""Base of the learning-rate schedules: a formula of the epoch, its signature, the ranges of its arguments."""

import inspect
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from aed.base.errors import AedError

_LEAST = {"step_size": 1, "decay_steps": 1, "first_decay_steps": 1, "t_mul": 1}
"""Least allowed value of an argument, where it is not 0."""

_LISTS = frozenset({"boundaries", "values"})


class EpochSchedule(LRScheduler):
    """Set ``curve(epoch, **arguments)`` as the learning rate of every parameter group; epochs count from 0.

    A subclass has a formula and nothing else: a static method ``curve(epoch, *, ...) -> float``. Its keyword arguments
    become those of the class, between ``optimizer`` and ``last_epoch``; configurations read them from there.

    Args:
        optimizer: Optimizer whose learning rates are set.
        last_epoch: Epoch before the first, -1 for a fresh start.
        arguments: Keyword arguments of ``curve``.

    Raises:
        AedError: An argument is outside its range.
        TypeError: An argument is missing, or ``curve`` has none of its name.
    """

    curve: ClassVar[Callable[..., float]]

    def __init__(self, optimizer: Optimizer, *, last_epoch: int = -1, **arguments: Any) -> None:
        bound = inspect.signature(self.curve).bind(0, **arguments)
        bound.apply_defaults()
        # plain types and no callable, so that a checkpoint loads with torch.load(weights_only=True)
        self.arguments = _checked_arguments(type(self).__name__, bound.kwargs)
        super().__init__(optimizer, last_epoch)

    def __init_subclass__(cls) -> None:
        """Gives the subclass an ``__init__`` whose signature and annotations are those of its formula."""

        def __init__(self: EpochSchedule, optimizer: Optimizer, *, last_epoch: int = -1, **arguments: Any) -> None:
            EpochSchedule.__init__(self, optimizer, last_epoch=last_epoch, **arguments)

        this, optimizer, last_epoch, _ = inspect.signature(__init__).parameters.values()
        _, *own = inspect.signature(cls.curve).parameters.values()
        signature = inspect.Signature([this, optimizer, *own, last_epoch], return_annotation=None)
        __init__.__signature__ = signature  # type: ignore[attr-defined]
        __init__.__annotations__ = {part.name: part.annotation for part in (optimizer, *own, last_epoch)} | {
            "return": None
        }
        cls.__init__ = __init__  # type: ignore[method-assign]

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of the current epoch, for each parameter group: times its ``scale``, where it has one."""
        lr = self.curve(self.last_epoch, **self.arguments)
        return [lr * group.get("scale", 1.0) for group in self.optimizer.param_groups]


def _checked_arguments(owner: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """``arguments`` of the class called ``owner`` as plain int, float or list, each in its range."""
    checked = {name: _checked(owner, name, value) for name, value in arguments.items()}
    if "boundaries" in checked:
        boundaries, values = checked["boundaries"], checked["values"]
        if len(values) != len(boundaries) + 1:
            raise AedError(
                f"{owner}: values must be one longer than boundaries, got {len(values)} values for "
                f"{len(boundaries)} boundaries"
            )
        if any(left >= right for left, right in pairwise(boundaries)):
            raise AedError(f"{owner}: boundaries must increase, got {boundaries}")
    return checked


def _checked(owner: str, name: str, value: Any) -> Any:
    """``value`` of argument ``name`` as plain int, float or list of them, in its range."""
    if name in _LISTS:
        # Sequence rather than list: Hydra passes a ListConfig
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise AedError(f"{owner}: {name} must be a list, got {value!r}")
        return [_checked(owner, f"{name}[{i}]", item) for i, item in enumerate(value)]
    whole = name.endswith("_steps") or name == "step_size" or name.startswith("boundaries")
    least = _LEAST.get(name, 0)
    right_type = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not right_type or not math.isfinite(value) or value < least:
        kind = "a whole number" if whole else "a finite number"
        raise AedError(f"{owner}: {name} must be {kind} >= {least}, got {value!r}")
    return int(value) if whole else float(value)
