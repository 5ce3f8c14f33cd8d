"""A net that hears level alone, and recordings whose events are known to the sample."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile as sf
import tiny
import torch
from torch import Tensor, nn

from aed.export.card import ModelCard
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.scoring.rule import EventRule

RATE = 16000
FRONTEND = replace(tiny.FRONTEND, min_length_s=0.5)
HOP_S = FRONTEND.patch_hop * FRONTEND.hop_length / RATE
PATCH_S = FRONTEND.patch_samples / RATE


class Level(nn.Module):
    """Probabilities of loud, of quiet and of nothing by the mean of a patch alone."""

    def forward(self, patches: Tensor) -> Tensor:
        level = patches.mean(dim=(1, 2, 3))
        return torch.stack([4 * (level + 4), -4 * (level + 4), 0 * level], dim=1)


def level_model(path: Path) -> Path:
    """An .onnx whose rule names what is loud."""
    card = ModelCard(frontend=FRONTEND, class_names=("loud", "quiet", "neither"), rule=EventRule(on=(0.5, None, None)))
    save_model(path, to_onnx(Level().eval(), FRONTEND, ExportConfig()), card)
    return path


def recording(path: Path, *loud: tuple[float, float], seconds: float = 12.0, level: float = 0.3) -> Path:
    """Faint noise, loud from one second to another; a third number is another level there."""
    draw = np.random.default_rng(0)
    wave = 1e-4 * draw.standard_normal(int(seconds * RATE))
    for start, stop, *own in loud:
        span = slice(int(start * RATE), int(stop * RATE))
        wave[span] = (own[0] if own else level) * draw.standard_normal(span.stop - span.start)
    sf.write(path, np.clip(wave, -1, 1), RATE)
    return path
