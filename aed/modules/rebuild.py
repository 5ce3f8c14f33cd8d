"""Description of a net in a checkpoint, class and arguments, and the net rebuilt from it."""

import importlib
import inspect
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from torch import nn

from aed.base.errors import AedError, source_line
from aed.dsp.frontend import FrontendConfig
from aed.modules.checkpoint import CHECKPOINT_VERSION, checkpoint_entry
from aed.scoring.decision import Decision, Task


def net_facts(net: nn.Module) -> dict[str, Any]:
    """Class and constructor arguments of ``net``, the latter read from its attributes of the same names.

    Raises:
        AedError: An argument is no attribute of the net, or holds something else than numbers, texts, lists and dicts.
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
            "from numbers, texts and lists; keep the argument under its name, and what is built from it under another"
        )
    return {"class": f"{cls.__module__}.{cls.__qualname__}", "arguments": arguments}


def model_facts(
    net: nn.Module,
    frontend: FrontendConfig,
    class_names: Sequence[str],
    task: Task,
    decision: Decision,
    weights: dict[str, Any] | None,
    data: dict[str, Any],
) -> dict[str, Any]:
    """The entry ``aed`` of a checkpoint: all that is needed to use the model without its configuration, as plain types.

    Args:
        net: Its class and arguments are kept.
        frontend: Its features.
        class_names: In the order of its outputs.
        task: What its outputs are.
        decision: What is made of them.
        weights: Published ones that it began with.
        data: It was trained on.
    """
    return {
        "version": CHECKPOINT_VERSION,
        "net": net_facts(net),
        "frontend": asdict(frontend),
        "class_names": list(class_names),
        "task": task,
        "decision": asdict(decision),
        "weights": weights,
        "data": data,
    }


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
        raise AedError(f"its net is {name}, which is not part of aed; allow the import with net_class={name}")
    cls = _imported(name if is_own or asked is None else asked)
    if (imported := f"{cls.__module__}.{cls.__qualname__}") != name:
        raise AedError(
            f"its net is {name}, and this command names {imported}; set net_class={name}, in a training "
            f"model/net=user model.net._target_={name}"
        )
    with checkpoint_entry("net"):
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
