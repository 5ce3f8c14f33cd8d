"""What a checkpoint says of its model: enough to use the net without the configuration that trained it."""

import importlib
import inspect
import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, get_args

import torch
from torch import nn

from aed.base.errors import AedError, entry, in_brief, source_line
from aed.base.files import sha256_of, write_whole
from aed.dsp.frontend import FrontendConfig
from aed.scoring.decision import Decision, Task, check_num_outputs, checked_class_names

log = logging.getLogger(__name__)

CHECKPOINT_VERSION = 1
"""Of the entry ``aed`` that :class:`aed.modules.classifier.ClipClassifier` adds to Lightning's checkpoints."""

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
            log.warning("%s is no decision rule of this project: that in %s counts", path, checkpoint)
            return None
        raise _damaged_rule(path, error) from error
    try:
        return Decision.from_dict(content["decision"])
    except (ValueError, KeyError, TypeError, AedError) as error:
        raise _damaged_rule(path, error) from error


def _damaged_rule(path: Path, error: Exception) -> AedError:
    return AedError(f"{path}: damaged ({in_brief(error)}); add the stage test, or delete the file")


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


def build_net(facts: dict[str, Any], asked: str | None = None) -> nn.Module:
    """The net that :func:`net_facts` describes, without its weights.

    Importing a module runs it, so a file's word is not enough: a class is the project's own or the user's.

    Args:
        facts: Of a file.
        asked: Class that the user names.

    Raises:
        AedError: Its class is neither, or cannot be imported.
    """
    name = str(facts["class"])
    if "." not in name or not all(part.isidentifier() for part in name.split(".")):
        raise AedError(f"damaged checkpoint (net: its class {name!r} is no name that can be imported)")
    is_own = name.startswith("aed.modules.")
    if not is_own and asked is None:
        raise AedError(
            f"its net is {name}, which is none of this project's; to have it imported, name it: net_class={name}"
        )
    cls = _imported(name if is_own or asked is None else asked)
    if (found := f"{cls.__module__}.{cls.__qualname__}") != name:
        raise AedError(
            f"its net is {name}, and this command has {found}; name the former: net_class={name}, in a training "
            f"model/net=user model.net._target_={name}"
        )
    with _entry("net"):
        net: nn.Module = cls(**facts["arguments"])
    return net


def _imported(name: str) -> type[nn.Module]:
    module, _, leaf = name.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), leaf)
    except Exception as error:  # whatever a user's module raises
        raise AedError(
            f"its net {name} cannot be imported: {type(error).__name__}: {error}{source_line(error)}"
        ) from error
    if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
        raise AedError(f"its net {name} is no nn.Module; do not trust this file")
    return cls


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
    """Refuses weights that are not those of a net, in one line where torch takes one a tensor.

    Args:
        ours: ``state_dict`` of the net.
        theirs: That of a file.
        net: What the net is called, for messages.

    Raises:
        AedError: Names the first that is missing, of another shape, or none of the net's.
    """
    mine, found = ({key: _shape(value) for key, value in state.items()} for state in (ours, theirs))
    wrong = [key for key in {**mine, **found} if mine.get(key) != found.get(key)]
    if not wrong:
        return
    key = wrong[0]
    if key not in found:
        words = f"{key} is missing"
    elif key not in mine:
        words = f"{key} is none of its own"
    else:
        words = f"{key} is {found[key]}, need {mine[key]}"
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    raise AedError(f"damaged checkpoint: its weights do not fit {net}: {words}{more}")


def _shape(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"


@contextmanager
def _entry(name: str) -> Iterator[None]:
    """Says which entry of a checkpoint is damaged."""
    try:
        with entry(name):
            yield
    except AedError as error:
        raise AedError(f"damaged checkpoint ({error})") from error


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
    def load(cls, path: Path, net_class: str | None = None) -> Self:
        """The trained net of a checkpoint file.

        Args:
            path: The file.
            net_class: Class of its net that the user names, where that is one of his.

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
        with _entry("net"):
            described = {"class": facts["net"]["class"], "arguments": dict(facts["net"]["arguments"])}
        net = build_net(described, net_class)
        with _entry("state_dict"):
            state = {key.removeprefix("net."): value for key, value in weights.items() if key.startswith("net.")}
        check_finite(state, str(path))
        check_shapes(net.state_dict(), state, described["class"])
        net.load_state_dict(state)
        with _entry("task"):
            if (task := facts["task"]) not in get_args(Task):
                raise ValueError(f"need one of {get_args(Task)}, got {task!r}")
        with _entry("class_names"):
            names = checked_class_names(facts["class_names"])
        with _entry("frontend"):
            frontend = FrontendConfig.from_dict(facts["frontend"])
        with _entry("decision"):
            decision = Decision.from_dict(facts["decision"])
            decision.check(task, len(names))
        check_num_outputs(_num_outputs(net.eval(), frontend), names, str(path))
        parents = path.absolute().parents
        run = parents[min(1, len(parents) - 1)]  # <run>/checkpoints/best.ckpt
        if chosen := chosen_decision(path, run, is_run=False):
            chosen.check(task, len(names))
        with _entry("weights"):
            source = None if facts["weights"] is None else dict(facts["weights"])
        with _entry("data"):
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
