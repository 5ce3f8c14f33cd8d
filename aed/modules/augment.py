"""Augmentation of log-mel patches, in training, on the device."""

from dataclasses import asdict, dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig

FILTER_POINTS = 4
"""Of :func:`random_filter`."""


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


def mel_shift(patches: Tensor, most: int) -> Tensor:
    """``patches`` moved up or down by a whole number of mel bands, as if of another pitch; the edge band is repeated.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)``.
        most: Bands of the greatest shift; each of -most..most is as likely.
    """
    n_mels = patches.shape[2]
    shift = torch.randint(-most, most + 1, (len(patches), 1), device=patches.device)
    band = (torch.arange(n_mels, device=patches.device) - shift).clamp(0, n_mels - 1)
    return patches.gather(2, band[:, None, :, None].expand_as(patches))


def random_filter(patches: Tensor, std: float, floor: float) -> Tensor:
    """``patches`` as if recorded with another microphone and room: a smooth gain over the mel bands is added.

    It is normal at :data:`FILTER_POINTS` evenly spaced bands and linear between them.
    Source: H. Nam et al., "FilterAugment", arXiv:2110.03282, its linear type.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)``.
        std: Deviation at the points, feature units.
        floor: Value of silence.
    """
    points = std * torch.randn(len(patches), 1, FILTER_POINTS, device=patches.device)
    gain = F.interpolate(points, size=patches.shape[2], mode="linear", align_corners=True)
    return (patches + gain[..., None]).clamp(min=floor)


def mask(patches: Tensor, axis: int, count: int, max_width: int, fill: float | Tensor) -> Tensor:
    """``patches`` with ``count`` bands filled along ``axis``, drawn for each patch alone.

    A width is drawn evenly from 0..max_width and is the exact number of rows filled; bands may overlap.
    Source: D. S. Park et al., "SpecAugment", arXiv:1904.08779.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)``.
        axis: 2 masks mel bands, 3 frames.
        count: Masks a patch.
        max_width: Rows of the widest.
        fill: Value written, or one per patch ``(B, 1, 1, 1)``.
    """
    size, batch = patches.shape[axis], len(patches)
    width = torch.randint(0, max_width + 1, (batch, count, 1), device=patches.device)
    # floor of uniform * (room + 1) is even over 0..room, whatever the room of each width
    start = (torch.rand(batch, count, 1, device=patches.device) * (size - width + 1)).floor().long()
    row = torch.arange(size, device=patches.device)
    hidden = ((row >= start) & (row < start + width)).any(dim=1)
    return torch.where(hidden[:, None, :, None] if axis == 2 else hidden[:, None, None, :], fill, patches)


def mixup(patches: Tensor, target: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Each patch and its target averaged with those of another patch of the batch.

    A patch keeps at least half of itself, so its own class stays the likeliest.
    Source: H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412; a share for each patch.

    Args:
        patches: ``(B, 1, n_mels, patch_frames)``.
        target: ``(B, num_classes)`` float32, probabilities.
        alpha: Of the Beta(alpha, alpha) distribution of shares; small: most patches are hardly mixed.
    """
    share = torch.distributions.Beta(alpha, alpha).sample((len(patches), 1)).to(patches.device)
    share = torch.maximum(share, 1 - share)
    partner = torch.randperm(len(patches), device=patches.device)
    part = share[:, :, None, None]
    return part * patches + (1 - part) * patches[partner], share * target + (1 - share) * target[partner]


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Changes of log-mel patches in training; the defaults change nothing.

    Args:
        noise_std: Deviation of additive noise, feature units; 0.1 is usual for log-mel, over ``frontend.log_std``.
        min_gain: Least factor on the waveform; ST's zoo: 0.8.
        max_gain: Greatest factor; ST's zoo: 1.2.
        mel_shift: Mel bands of the greatest shift in pitch.
        filter_std: Deviation of a random frequency response, feature units.
        freq_masks: Masks over mel bands a patch.
        freq_mask_width: Bands of the widest.
        time_masks: Masks over frames a patch.
        time_mask_width: Frames of the widest.
        mask_value: Value that masks write: that of ``silence``, or each patch's ``mean``, which leaves the statistics
            that a pretrained net expects as they are.
        mixup: Parameter of the Beta distribution that patches and targets are mixed by, 0: none; 0.4 is usual.

    Raises:
        AedError: A value is out of range.
    """

    noise_std: float = 0.0
    min_gain: float = 1.0
    max_gain: float = 1.0
    mel_shift: int = 0
    filter_std: float = 0.0
    freq_masks: int = 0
    freq_mask_width: int = 0
    time_masks: int = 0
    time_mask_width: int = 0
    mask_value: Literal["silence", "mean"] = "silence"
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if self.mask_value not in ("silence", "mean"):
            raise AedError(f"model.augment.mask_value: need silence or mean, got {self.mask_value!r}")
        for name, value in asdict(self).items():
            if name != "mask_value" and value < 0:
                raise AedError(f"model.augment.{name}: must not be negative, got {value}")
        for masks in ("freq_mask", "time_mask"):
            count, width = getattr(self, f"{masks}s"), getattr(self, f"{masks}_width")
            if (count == 0) != (width == 0):
                raise AedError(f"model.augment: {masks}s={count} with {masks}_width={width} masks nothing; give both")
        if not 0 < self.min_gain <= self.max_gain:
            raise AedError(f"model.augment: need 0 < min_gain <= max_gain, got {self.min_gain} and {self.max_gain}")

    @property
    def active(self) -> bool:
        """Whether training patches are changed at all."""
        return self != AugmentConfig()


class PatchAugment(nn.Module):
    """Augmentation of a batch of patches, in training only; :func:`mixup`, which needs targets, is applied elsewhere.

    Args:
        config: The changes.
        frontend: Gives the value of silence and the addition that a gain is.

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
        if config.mel_shift:
            patches = mel_shift(patches, config.mel_shift)
        if config.filter_std:
            patches = random_filter(patches, config.filter_std, self.silence)
        fill = self.silence if config.mask_value == "silence" else patches.mean(dim=(1, 2, 3), keepdim=True)
        if config.freq_masks:
            patches = mask(patches, 2, config.freq_masks, config.freq_mask_width, fill)
        if config.time_masks:
            patches = mask(patches, 3, config.time_masks, config.time_mask_width, fill)
        return patches
