"""What a checkpoint says of its model: enough to use the net without the configuration that trained it."""

import importlib
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import torch
from torch import nn

from aed.dsp.decision import Decision, Task
from aed.dsp.frontend import FrontendConfig
from aed.errors import AedError
from aed.files import sha256_of

CHECKPOINT_VERSION = 1
"""Of the entry ``aed`` that :class:`aed.modules.classifier.ClipClassifier` adds to Lightning's checkpoints."""

DECISION = "decision.json"
"""Of a run's folder: the decision rule, how it was chosen, and of which checkpoint."""


def chosen_decision(checkpoint: Path, folder: Path) -> Decision | None:
    """The rule that the ``test`` of a run chose for a checkpoint; None where the folder has none of it.

    Args:
        checkpoint: The file.
        folder: Of the run.

    Raises:
        AedError: The rule's file is damaged.
    """
    path = folder / DECISION
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        if content["checkpoint"] != sha256_of(checkpoint):
            return None
        return Decision.from_dict(content["decision"])
    except (ValueError, KeyError, TypeError, AedError) as error:
        raise AedError(f"{path}: damaged ({error!r}); add the stage test, or delete the file") from error


def net_facts(net: nn.Module) -> dict[str, Any]:
    """Class and constructor arguments of ``net``, the latter read from its attributes of the same names.

    Raises:
        AedError: The net does not keep one of them, or as something else than numbers, texts, lists and dicts.
    """
    cls = type(net)
    names = list(inspect.signature(cls).parameters)
    if missing := [name for name in names if not hasattr(net, name)]:
        raise AedError(
            f"{cls.__name__}: keep the constructor arguments {missing} as attributes of these names; "
            "checkpoints rebuild the net from them"
        )
    arguments = {name: getattr(net, name) for name in names}
    if odd := [name for name, value in arguments.items() if not _is_plain(value)]:
        raise AedError(
            f"{cls.__name__}: self.{odd[0]} is a {type(arguments[odd[0]]).__name__}, and checkpoints rebuild the net "
            "from numbers, texts and lists; keep the argument under its name, what is made of it under another"
        )
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "arguments": arguments}


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(own) for key, own in value.items())
    return value is None or type(value) in (bool, int, float, str)


def build_net(facts: dict[str, Any]) -> nn.Module:
    """The net that :func:`net_facts` describes, without its weights.

    Raises:
        AedError: Its class is not to be imported.
    """
    module, _, name = facts["class"].rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise AedError(f"the checkpoint's net {facts['class']} cannot be imported: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise AedError(f"the checkpoint's net {facts['class']} is no nn.Module; do not trust this file")
    net: nn.Module = cls(**facts["arguments"])
    return net


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


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained net and what it needs.

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
    def load(cls, path: Path) -> Self:
        """The trained net of a checkpoint file.

        Raises:
            AedError: The file is missing, damaged, or no checkpoint of this project.
        """
        if not path.is_file():
            raise AedError(f"{path}: no such checkpoint")
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # the unpickler raises whatever a damaged file leads it to
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise AedError(f"{path}: not a whole checkpoint ({reason})") from error
        facts = check_facts(checkpoint if isinstance(checkpoint, dict) else {}, str(path))
        prefix = "net."
        try:
            net = build_net(facts["net"])
            state = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
            check_finite(state, str(path))
            net.load_state_dict(state)
            task, decision, names = facts["task"], Decision.from_dict(facts["decision"]), tuple(facts["class_names"])
            if task not in get_args(Task):
                raise ValueError(f"task {task!r}")
            decision = chosen_decision(path, path.absolute().parents[1]) or decision  # <run>/checkpoints/best.ckpt
            decision.check(task, len(names))
            return cls(
                net=net.eval(),
                frontend=FrontendConfig.from_dict(facts["frontend"]),
                class_names=names,
                task=task,
                decision=decision,
                weights=facts["weights"],
                data=dict(facts["data"]),
            )
        except RuntimeError as error:
            raise AedError(f"{path}: its weights do not fit {facts['net']['class']}: {error}") from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise AedError(f"{path}: damaged checkpoint ({error!r})") from error
