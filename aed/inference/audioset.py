"""Published nets that know AudioSet's classes, without training."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from aed.dsp.frontend import PRESETS
from aed.export.card import ModelCard
from aed.inference.checkpoint import TorchClassifier
from aed.modules.nets import MobileNetAS, YAMNet
from aed.modules.weights.published import Weights


class _Tagger(NamedTuple):
    """What builds the net and names its classes, its weights, and the front end they were published with."""

    make: Callable[[], tuple[nn.Module, tuple[str, ...]]]
    weights: Weights
    frontend: str


_TAGGERS = {
    "yamnet_audioset": _Tagger(YAMNet.audioset, YAMNet.WEIGHTS["google"], "yamnet_google_64x96"),
    "mn04_audioset": _Tagger(MobileNetAS.audioset, MobileNetAS.WEIGHTS[0.4], "mn_32k_128x500"),
}


class AudioSetClassifier(TorchClassifier):
    """A published net with its own head: classes of AudioSet, any number of them at once.

    Patches overlap by half: of YAMNet one starts every 0.48 s, as published, of mn04 every 2.5 s.

    Args:
        name: ``yamnet_audioset``: Google's YAMNet, 521 classes. ``mn04_audioset``: EfficientAT's mn04, 527 classes, at
            32 kHz.

    Raises:
        AedError: The published file is neither here nor can it be downloaded.
    """

    def __init__(self, name: str = "yamnet_audioset") -> None:
        tagger = _TAGGERS[name]
        net, names = tagger.make()
        self.path, self.net = Path(name), net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = ModelCard(
            frontend=replace(PRESETS[tagger.frontend], overlap=0.5),
            class_names=names,
            task="multi_label",
            weights=replace(tagger.weights, frontend=tagger.frontend).facts,
        )
