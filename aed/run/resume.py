"""Resuming a training: the state in its checkpoint is checked before features are computed."""

import logging
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.trainer.connectors import checkpoint_connector

from aed.base.errors import AedError, entry, in_brief
from aed.modules.checkpoint import read_checkpoint
from aed.run.callbacks import OF_LIGHTNING

log = logging.getLogger(__name__)


def check_resumable(path: Path, has_schedule: bool) -> None:
    """Refuses a checkpoint whose state of the training is damaged; warns of parts that are missing.

    An imported model has weights alone: a training from it does not end as an unbroken run would.

    Args:
        path: The file.
        has_schedule: Whether the run has a schedule of the learning rate.

    Raises:
        AedError: The file cannot be read, or names the entry that is damaged.
    """
    checkpoint = read_checkpoint(path)
    try:
        if lacking := [key for key in OF_LIGHTNING if key not in checkpoint]:
            raise AedError(f"it has no {lacking[0]}")
        _check_kinds(checkpoint)
        with entry("loops"):
            _check_loops(checkpoint)
    except AedError as error:
        raise AedError(f"{path}: damaged checkpoint ({error}); give another, or none to train anew") from error
    has_rates = checkpoint["lr_schedulers"] or checkpoint["aed"]["plateau"]
    parts = {
        "optimizer": bool(checkpoint["optimizer_states"]),
        "schedule": bool(has_rates) or not has_schedule,
        "epoch count": checkpoint.get("loops") is not None,
    }
    if anew := [name for name, is_there in parts.items() if not is_there]:
        log.warning(
            "ckpt_path: %s holds no state of its %s: started anew, so the result differs from an uninterrupted run",
            path,
            ", ".join(anew),
        )


def _check_kinds(checkpoint: Mapping[str, Any]) -> None:
    """Refuses an entry of another kind than Lightning restores."""
    for key in ("epoch", "global_step"):
        if not _is_count(checkpoint[key]):
            raise AedError(f"its entry {key}: need a whole number of at least 0, got {checkpoint[key]!r:.40}")
    for key in ("optimizer_states", "lr_schedulers"):
        states = checkpoint[key]
        if not (isinstance(states, list) and all(isinstance(state, dict) and state for state in states)):
            raise AedError(f"its entry {key}: need a list of dictionaries")
    for state in checkpoint["optimizer_states"]:
        if not (isinstance(state.get("state"), dict) and isinstance(state.get("param_groups"), list)):
            raise AedError("its entry optimizer_states: need state and param_groups of each optimizer")
    callbacks = checkpoint.get("callbacks", {})
    if not (isinstance(callbacks, dict) and all(isinstance(state, dict) for state in callbacks.values())):
        raise AedError("its entry callbacks: need a dictionary a callback")
    if not isinstance(checkpoint["aed"].get("plateau", 0), dict | None):
        raise AedError("its entry aed: need plateau, a dictionary or nothing")


def _check_loops(checkpoint: Mapping[str, Any]) -> None:
    """Refuses a progress of the training that is not as Lightning writes it: parts of the loops, and counts in them."""
    loops = checkpoint.get("loops")
    if loops is None:
        return
    state = loops["fit_loop"] if isinstance(loops, dict) else None
    if not isinstance(state, dict) or "epoch_progress" not in state:
        raise AedError("its entry loops: need fit_loop, a dictionary with epoch_progress")
    for key, part in state.items():
        if not isinstance(part, dict):
            raise AedError(f"its entry loops: fit_loop.{key} is no dictionary")
        if str(key).endswith("progress") and (wrong := next(_no_counts(part), None)):
            raise AedError(f"its entry loops: fit_loop.{key}.{wrong} is no count")
    for kind in ("total", "current"):
        if not isinstance(state["epoch_progress"].get(kind), dict):
            raise AedError(f"its entry loops: fit_loop.epoch_progress has no {kind}")


def _no_counts(progress: Mapping[str, Any]) -> Iterator[str]:
    for key, value in progress.items():
        if isinstance(value, dict):
            yield from (f"{key}.{name}" for name in _no_counts(value))
        elif not _is_count(value):
            yield str(key)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


@contextmanager
def restoring(path: Path | str | None) -> Iterator[None]:
    """Names the file where Lightning fails as it restores a checkpoint; other errors pass.

    Args:
        path: The checkpoint; None: there is none.

    Raises:
        AedError: Names the file.
    """
    try:
        yield
    except AedError:
        raise
    except Exception as error:
        if path is None or not _as_it_restored(error):
            raise
        raise AedError(f"{path}: damaged checkpoint, or of other settings: {in_brief(error)}") from error


def _as_it_restored(error: Exception) -> bool:
    frames = [frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = [code.co_name for code in frames if code.co_filename == checkpoint_connector.__file__]
    return any(name.lstrip("_").startswith(("restore", "resume")) for name in ours)
