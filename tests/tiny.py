"""Small things that tests train: a net of a user's own, a data set of seconds."""

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor, nn

from aed.base.paths import CONFIG_DIR
from aed.datamodules import PatchDataModule, Synthetic
from aed.dsp import FrontendConfig
from aed.modules.classifier import ClipClassifier
from aed.run import registry

FRONTEND = FrontendConfig(patch_frames=32, n_mels=16, overlap=0.0)
DATA = [
    "data=synthetic",
    "data.clips.class_names=[alarm,hum,rain]",
    "data.clips.sources_per_class=5",
    "data.clips.takes_per_source=1",
]


class TinyNet(nn.Module):
    """A user's net: any forward(patches) -> logits; backbone and head so that it can be frozen."""

    def __init__(self, num_classes: int, width: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_classes, self.width, self.dropout = num_classes, width, dropout
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 5, 4, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, num_classes))

    def forward(self, patches: Tensor) -> Tensor:
        return self.head(self.backbone(patches))


def data(**changes: Any) -> PatchDataModule:
    clips = Synthetic(class_names=["alarm", "hum", "rain"], sources_per_class=5, takes_per_source=1)
    return PatchDataModule(clips, FRONTEND, **{"batch_size": 8, "cache_workers": 1} | changes)


def classifier(net: nn.Module | None = None, **changes: Any) -> ClipClassifier:
    torch.manual_seed(0)
    return ClipClassifier(net or TinyNet(3), FRONTEND, **changes)


def trainer(folder: Path, epochs: int, callbacks: list[L.Callback] | None = None, **changes: Any) -> L.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        callbacks=callbacks,
        default_root_dir=folder,
        enable_checkpointing=bool(callbacks),
        **quiet | changes,
    )


def composed(*overrides: str, folder: Path | str = "/nowhere") -> DictConfig:
    """A configuration as the command line composes it, without a Hydra job around it."""
    registry.register()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIG_DIR)):
        return compose("train", overrides=[*overrides, f"output_dir={folder}"])
