"""Architectures: plain nn.Modules, ``forward(patches) -> logits``, one per file; a new file is a choice at once.

A net with a ``backbone`` and a ``head`` can be trained with the backbone frozen; a net with
``load_pretrained() -> Weights`` can start from published weights.
"""

import importlib
import inspect
import pkgutil

from torch import nn

from aed.modules.nets.bcresnet import BCResNet
from aed.modules.nets.dscnn import DSCNN
from aed.modules.nets.miniresnet import MiniResNet
from aed.modules.nets.mobilenet import MobileNetAS
from aed.modules.nets.yamnet import YAMNet

__all__ = ["DSCNN", "BCResNet", "MiniResNet", "MobileNetAS", "YAMNet", "net_classes"]

_FILES = [importlib.import_module(f"{__name__}.{file.name}") for file in pkgutil.iter_modules(__path__)]


def net_classes() -> list[type[nn.Module]]:
    """The nets of all files of this folder, by name: the public classes of ``nn.Module`` that a file defines."""
    own = [
        cls
        for module in _FILES
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, nn.Module) and cls.__module__ == module.__name__ and not name.startswith("_")
    ]
    return sorted(own, key=lambda cls: cls.__name__)
