"""Augmentation of log-mel patches, in training, on the device."""

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from aed.dsp.frontend import FrontendConfig
from aed.errors import AedError


def gaussian_noise(patches: Tensor, std: float) -> Tensor:
    """``patches`` plus independent normal noise of deviation ``std`` in feature units (log or dB)."""
    return patches + std * torch.randn_like(patches)


def random_gain(patches: Tensor, low: float, high: float, floor: float) -> Tensor:
    """``patches`` as if each had been recorded louder or softer.

    A gain on the waveform adds a constant to a log-mel patch (it does not multiply it), and nothing falls under
    the value of silence.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)``.
        low: Least addition, feature units.
        high: Greatest addition.
        floor: Value of silence.
    """
    step = torch.empty(len(patches), 1, 1, 1, device=patches.device).uniform_(low, high)
    return (patches + step).clamp(min=floor)


def mask(patches: Tensor, axis: int, count: int, max_width: int, fill: float) -> Tensor:
    """``patches`` with ``count`` bands filled along ``axis``, drawn for each patch alone.

    A width is drawn evenly from 0..max_width and is the exact number of rows filled; bands may overlap.
    Source: D. S. Park et al., "SpecAugment", arXiv:1904.08779.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)``.
        axis: 2 masks mel bands, 3 frames.
        count: Masks a patch.
        max_width: Rows of the widest.
        fill: Value written.
    """
    size, batch = patches.shape[axis], len(patches)
    width = torch.randint(0, max_width + 1, (batch, count, 1), device=patches.device)
    # floor of uniform * (room + 1) is even over 0..room, whatever the room of each width
    start = (torch.rand(batch, count, 1, device=patches.device) * (size - width + 1)).floor().long()
    row = torch.arange(size, device=patches.device)
    hidden = ((row >= start) & (row < start + width)).any(dim=1)
    return patches.masked_fill(hidden[:, None, :, None] if axis == 2 else hidden[:, None, None, :], fill)


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What training does to log-mel patches; the defaults do nothing.

    Args:
        noise_std: Deviation of additive noise, feature units; 0.1 is usual for log-mel.
        min_gain: Least factor on the waveform; ST's zoo: 0.8.
        max_gain: Greatest factor; ST's zoo: 1.2.
        freq_masks: Masks over mel bands a patch.
        freq_mask_width: Bands of the widest.
        time_masks: Masks over frames a patch.
        time_mask_width: Frames of the widest.

    Raises:
        AedError: A value is out of range.
    """

    noise_std: float = 0.0
    min_gain: float = 1.0
    max_gain: float = 1.0
    freq_masks: int = 0
    freq_mask_width: int = 0
    time_masks: int = 0
    time_mask_width: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value < 0:
                raise AedError(f"model.augment.{name}: must not be negative, got {value}")
        if not 0 < self.min_gain <= self.max_gain:
            raise AedError(f"model.augment: need 0 < min_gain <= max_gain, got {self.min_gain} and {self.max_gain}")

    @property
    def active(self) -> bool:
        """Whether training patches are changed at all."""
        return self != AugmentConfig()


class PatchAugment(nn.Module):
    """Noise, gain and SpecAugment on a batch of patches, in training only.

    Args:
        config: What to do.
        frontend: Says what silence is and what a gain adds.

    Raises:
        AedError: A mask is wider than a patch.
    """

    def __init__(self, config: AugmentConfig, frontend: FrontendConfig) -> None:
        super().__init__()
        for name, size in (("freq_mask_width", frontend.n_mels), ("time_mask_width", frontend.patch_frames)):
            if getattr(config, name) > size:
                raise AedError(f"model.augment.{name}: a patch has {size}, got {getattr(config, name)}")
        self.config, self.silence = config, frontend.silence
        self.gain = (frontend.gain_term(config.min_gain), frontend.gain_term(config.max_gain))

    def forward(self, patches: Tensor) -> Tensor:
        """Augmented patches, same shape ``(B, 1, n_mels, patch_frames)``; unchanged in evaluation."""
        config = self.config
        if not self.training:
            return patches
        if config.noise_std:
            patches = gaussian_noise(patches, config.noise_std)
        if self.gain != (0.0, 0.0):
            patches = random_gain(patches, *self.gain, floor=self.silence)
        if config.freq_masks:
            patches = mask(patches, 2, config.freq_masks, config.freq_mask_width, self.silence)
        if config.time_masks:
            patches = mask(patches, 3, config.time_masks, config.time_mask_width, self.silence)
        return patches
