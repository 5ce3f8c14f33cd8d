"""Architectures: plain nn.Modules, ``forward(patches) -> logits``, one file each.

A net with a ``backbone`` and a ``head`` can be trained with the backbone frozen; one with
``load_pretrained() -> Weights`` can start from published weights.
"""

from aed.modules.nets.bcresnet import BCResNet
from aed.modules.nets.dscnn import DSCNN
from aed.modules.nets.miniresnet import MiniResNet
from aed.modules.nets.yamnet import YAMNet

__all__ = ["DSCNN", "BCResNet", "MiniResNet", "YAMNet"]
