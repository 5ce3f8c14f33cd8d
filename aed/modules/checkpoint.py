"""Checkpoint files: written whole, read without running their code, checked entry by entry."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from aed.base.errors import AedError, entry
from aed.base.files import write_whole

CHECKPOINT_VERSION = 1
"""Of the entry ``aed`` that :class:`aed.modules.classifier.ClipClassifier` adds to Lightning's checkpoints."""


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Writes a checkpoint, whole or not at all.

    Raises:
        WriteError: It cannot be written.
    """
    buffer = io.BytesIO()  # not straight to the file: torch gives a full disk another name
    torch.save(content, buffer)
    write_whole(path, lambda file: file.write(buffer.getbuffer()))


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of this project; no code of its own is run.

    Raises:
        AedError: The file is missing, damaged, or no checkpoint of this project.
    """
    if not path.is_file():
        raise AedError(f"{path}: a folder; give a file in it" if path.is_dir() else f"{path}: no such checkpoint")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        # torch reads a cut file past its end: an error without the file's name
        why = error.strerror if error.filename else "not a whole checkpoint, it is truncated"
        raise AedError(f"{path}: {why}") from error
    except Exception as error:  # the unpickler raises whatever a damaged file leads it to
        raise AedError(f"{path}: not a whole checkpoint: it is truncated, or not one of this project") from error
    checkpoint = checkpoint if isinstance(checkpoint, dict) else {}
    check_facts(checkpoint, str(path))
    if lacking := [key for key in ("state_dict", "epoch", "global_step") if key not in checkpoint]:
        raise AedError(f"{path}: damaged checkpoint (it has no {lacking[0]})")
    return checkpoint


def check_facts(checkpoint: dict[str, Any], name: str) -> dict[str, Any]:
    """The entry ``aed`` of a loaded checkpoint; ``name`` is for messages.

    Raises:
        AedError: It has none, or one of a newer version.
    """
    facts = checkpoint.get("aed")
    if not isinstance(facts, dict) or not isinstance(facts.get("version"), int):
        raise AedError(f"{name} was not written by this project: it has no entry 'aed'")
    if facts["version"] > CHECKPOINT_VERSION:
        raise AedError(f"{name} has version {facts['version']}, this program reads {CHECKPOINT_VERSION}; update it")
    return facts


def check_same(theirs: Mapping[str, Any], ours: Mapping[str, Any], name: str) -> None:
    """Refuses the facts of a checkpoint that is resumed with other settings; ``name`` is the checkpoint's.

    Raises:
        AedError: Names each part that differs, and in which values.
    """
    parts = ("net", "frontend", "class_names", "task")
    if wrong := [part for part in parts if theirs[part] != ours[part]]:
        listed = "; ".join(f"its {part} differs: {_difference(theirs[part], ours[part])}" for part in wrong)
        raise AedError(f"{name}: {listed}; resume with the settings it was trained with")


def _difference(theirs: Any, ours: Any) -> str:
    """Values of a part of a checkpoint's facts that differ; dicts by their keys."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return f"{theirs}, here {ours}"
    keys = [key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key)]
    return ", ".join(f"{key} {_difference(theirs.get(key), ours.get(key))}" for key in keys)


def check_finite(state: Mapping[str, Any], name: str) -> None:
    """Refuses weights that are no numbers; ``name`` is the checkpoint's, for messages.

    Raises:
        AedError: Names the first.
    """
    for key, value in state.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point() and not value.isfinite().all():
            wrong = int((~value.isfinite()).sum())
            raise AedError(
                f"{name}: {wrong} of the {value.numel()} values of {key} are NaN or infinite: the training diverged; "
                "train anew with a lower model.optimizer.lr"
            )


def check_shapes(ours: Mapping[str, Any], theirs: Mapping[str, Any], net: str) -> None:
    """Refuses weights that are not those of a net, in one line where torch prints a line per tensor.

    Args:
        ours: ``state_dict`` of the net.
        theirs: That of a file.
        net: What the net is called, for messages.

    Raises:
        AedError: Names the first that is missing, of another shape, or none of the net's.
    """
    mine, stored = ({key: _shape(value) for key, value in state.items()} for state in (ours, theirs))
    wrong = [key for key in {**mine, **stored} if mine.get(key) != stored.get(key)]
    if not wrong:
        return
    key = wrong[0]
    if key not in stored:
        words = f"{key} is missing"
    elif key not in mine:
        words = f"{key} is none of its own"
    else:
        words = f"{key} is {stored[key]}, need {mine[key]}"
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    raise AedError(f"damaged checkpoint: its weights do not fit {net}: {words}{more}")


def _shape(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


@contextmanager
def checkpoint_entry(name: str) -> Iterator[None]:
    """Names the entry of a checkpoint that is damaged."""
    try:
        with entry(name):
            yield
    except AedError as error:
        raise AedError(f"damaged checkpoint ({error})") from error
