"""Google's YAMNet as published: 521 classes of AudioSet, without training."""

from dataclasses import asdict, replace
from pathlib import Path

import torch

from aed.dsp.frontend import PRESETS
from aed.export.card import ModelCard
from aed.inference.checkpoint import TorchClassifier
from aed.inference.classifier import AUDIOSET
from aed.modules.nets import YAMNet


class AudioSetClassifier(TorchClassifier):
    """Google's YAMNet with its own head: 521 classes of AudioSet, any number of them at once.

    Patches start every 0.48 s, as published.

    Raises:
        AedError: The published file is neither here nor can it be downloaded.
    """

    def __init__(self) -> None:
        weights = YAMNet.WEIGHTS["google"]
        net, names = YAMNet.audioset()
        self.path, self.net = Path(AUDIOSET), net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = ModelCard(
            frontend=replace(PRESETS[weights.frontend], overlap=0.5),
            class_names=names,
            task="multi_label",
            weights=asdict(weights),
        )
