"""A trained net with its facts, read from a checkpoint without the configuration that trained it."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import torch
from torch import nn

from aed.base.errors import AedError, in_brief, source_line
from aed.base.files import sha256_of
from aed.dsp.frontend import FrontendConfig
from aed.modules.checkpoint import check_finite, check_shapes, checkpoint_entry, read_checkpoint
from aed.modules.rebuild import build_net
from aed.scoring.decision import Decision, Task, check_num_outputs, checked_class_names

log = logging.getLogger(__name__)

DECISION = "decision.json"
"""Of a run's folder: the decision rule, how it was chosen, and of which checkpoint."""


def chosen_decision(checkpoint: Path, folder: Path, *, is_run: bool = True) -> Decision | None:
    """The rule that the ``test`` of a run chose for a checkpoint; None where the folder has none of it.

    Args:
        checkpoint: The file.
        folder: Of the run.
        is_run: Whether that is certain; else a file of the same name may be anyone's, and is left alone.

    Raises:
        AedError: The rule's file is damaged.
    """
    path = folder / DECISION
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["checkpoint"] != sha256_of(checkpoint):
            return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not is_run:
            log.warning("%s is no decision rule of this project: the rule in %s is used", path, checkpoint)
            return None
        raise _damaged_rule(path, error) from error
    try:
        return Decision.from_dict(content["decision"])
    except (ValueError, KeyError, TypeError, AedError) as error:
        raise _damaged_rule(path, error) from error


def _damaged_rule(path: Path, error: Exception) -> AedError:
    return AedError(f"{path}: damaged ({in_brief(error)}); add the stage test, or delete the file")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained net with the facts needed to use it.

    Args:
        net: In inference mode, on the CPU.
        frontend: From recording to patch.
        class_names: In the order of the logits.
        task: One class a clip, or any number.
        decision: From posteriors of patches to the classes of a clip: the one that its run has chosen for it, if any.
        weights: Published weights it started from (file, licence, source), if any.
        data: Data set, split and clips; see ``PatchDataModule.facts``.
    """

    net: nn.Module
    frontend: FrontendConfig
    class_names: tuple[str, ...]
    task: Task
    decision: Decision
    weights: dict[str, str] | None
    data: dict[str, Any]

    @classmethod
    def load(cls, path: Path, net_class: str | None = None) -> Self:
        """The trained net of a checkpoint file.

        Args:
            path: The file.
            net_class: Class of its net that the user names, where it is the user's own.

        Raises:
            AedError: The file is missing, damaged, no checkpoint of this project, or of another class.
        """
        checkpoint = read_checkpoint(path)
        try:
            return cls._of(checkpoint["aed"], checkpoint["state_dict"], path, net_class)
        except AedError as error:
            raise AedError(error if str(path) in str(error) else f"{path}: {error}") from error

    @classmethod
    def _of(cls, facts: dict[str, Any], weights: Any, path: Path, net_class: str | None) -> Self:
        with checkpoint_entry("net"):
            described = {"class": facts["net"]["class"], "arguments": dict(facts["net"]["arguments"])}
        net = build_net(described, net_class)
        with checkpoint_entry("state_dict"):
            state = {key.removeprefix("net."): value for key, value in weights.items() if key.startswith("net.")}
        check_finite(state, str(path))
        check_shapes(net.state_dict(), state, described["class"])
        net.load_state_dict(state)
        with checkpoint_entry("task"):
            if (task := facts["task"]) not in get_args(Task):
                raise ValueError(f"need one of {get_args(Task)}, got {task!r}")
        with checkpoint_entry("class_names"):
            names = checked_class_names(facts["class_names"])
        with checkpoint_entry("frontend"):
            frontend = FrontendConfig.from_dict(facts["frontend"])
        with checkpoint_entry("decision"):
            decision = Decision.from_dict(facts["decision"])
            decision.check(task, len(names))
        check_num_outputs(_num_outputs(net.eval(), frontend), names, str(path))
        parents = path.absolute().parents
        run = parents[min(1, len(parents) - 1)]  # <run>/checkpoints/best.ckpt
        if chosen := chosen_decision(path, run, is_run=False):
            chosen.check(task, len(names))
        with checkpoint_entry("weights"):
            source = None if facts["weights"] is None else dict(facts["weights"])
        with checkpoint_entry("data"):
            data = dict(facts["data"])
        return cls(
            net=net,
            frontend=frontend,
            class_names=names,
            task=task,
            decision=chosen or decision,
            weights=source,
            data=data,
        )


@torch.no_grad()
def _num_outputs(net: nn.Module, frontend: FrontendConfig) -> int:
    """How many logits ``net`` gives for a patch: whatever its arguments are called, tried."""
    shape = (1, 1, frontend.n_mels, frontend.patch_frames)
    try:
        return int(net(torch.full(shape, frontend.silence)).shape[1])
    except Exception as error:  # whatever a net raises for patches of another size
        name = type(net).__name__
        raise AedError(
            f"its net {name} takes no patches of shape {shape}: {in_brief(error)}{source_line(error)}"
        ) from error
