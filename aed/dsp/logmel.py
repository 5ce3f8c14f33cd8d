"""Log-mel features: torchaudio's spectrogram, the mel table, a logarithm."""

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aed.dsp._torchaudio import transforms
from aed.dsp.frontend import AMIN_POWER, DB_RANGE, TINY, FrontendConfig
from aed.dsp.tables import mel_table, window_table

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}

FEWEST_FRAMES = 32
"""Columns of a product: see :meth:`LogMel._mel`."""


def compress(mel: Tensor, config: FrontendConfig) -> Tensor:
    """The logarithm of mel values, same shape: natural with offset or dB, less its mean, over its deviation.

    Args:
        mel: ``(..., n_mels, n_frames)``, magnitudes or powers, >= 0; the leading axes are clips.
        config: The front end, of which ``to_db``, ``log_offset``, ``db_ref``, ``power``, ``log_mean`` and ``log_std``
            are used.
    """
    level = _level(mel, config)
    standard = config.log_mean == 0 and config.log_std == 1
    return level if standard else level.sub_(config.log_mean).div_(config.log_std)


def _level(mel: Tensor, config: FrontendConfig) -> Tensor:
    if not config.to_db:
        return torch.log(mel + config.log_offset if config.log_offset else mel.clamp(min=TINY))
    factor, amin = 20 / config.power, AMIN_POWER ** (config.power / 2)
    level = factor * mel.clamp(min=amin).log10()
    if config.db_ref is not None:
        return level - factor * math.log10(config.db_ref)
    level = level - level.amax(dim=(-2, -1), keepdim=True)
    return level.clamp(min=-DB_RANGE)


def to_resolution(wave: Tensor, bits: int | None) -> Tensor:
    """Samples rounded to a resolution, half to even, and saturated; still floats in [-1, 1].

    Args:
        wave: Any shape, float.
        bits: Bits of a signed sample; None: no rounding.
    """
    if bits is None:
        return wave
    full = float(1 << (bits - 1))
    return (wave * full).round_().clamp_(-full, full - 1).div_(full)


class LogMel(nn.Module):
    """Log-mel features of waveforms; the Fourier transform is computed in float64.

    In float32 the FFT's own rounding, about 1e-7 of the loudest bin, shows in the quiet bands of a tonal clip:
    7e-3 in log units on a rooster (ESC-10, offset 1e-4), against 6e-7 in float64.

    Args:
        config: The front end.
    """

    mel: Tensor

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        window = torch.from_numpy(window_table(config.window, config.win_length))
        self.spectrogram = transforms.Spectrogram(
            n_fft=config.n_fft,
            win_length=config.win_length,
            hop_length=config.hop_length,
            window_fn=lambda _: window,
            power=None,
            center=config.center,
            pad_mode=_PAD_MODES[config.pad_mode],
        )
        self.register_buffer("mel", torch.from_numpy(mel_table(config)), persistent=False)

    @torch.no_grad()
    def forward(self, wave: Tensor) -> Tensor:
        """Log-mel ``(..., n_mels, n_frames)`` float32 of ``wave`` ``(..., T)`` float32 in [-1, 1]."""
        samples = to_resolution(wave.double(), self.config.sample_bits)
        if self.config.filters_samples:
            samples = samples[..., 1:] - self.config.pre_emphasis * samples[..., :-1]
        spectrum = self.spectrogram(samples)
        # |X|^2 from real and imaginary part takes a third of the time of torch's complex abs, which avoids overflow
        parts = torch.view_as_real(spectrum).square_()
        power = (parts[..., 0] + parts[..., 1]).float()
        return compress(self._mel(self._root(power)), self.config)

    def array(self, wave: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Log-mel ``(n_mels, n_frames)`` float32 of ``wave`` ``(T,)`` float32, for callers that know no tensors.

        On one thread, as features for training are: several wait for each other longer than such arrays take.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            frames: npt.NDArray[np.float32] = self(torch.from_numpy(np.ascontiguousarray(wave))).numpy()
        finally:
            torch.set_num_threads(threads)
        return frames

    def _mel(self, spectrum: Tensor) -> Tensor:
        """Mel energies of ``(..., bins, n_frames)``, the same bits for a frame however many come with it.

        MKL sums products of a few columns in another order on some processors (fewer than 12 on an AMD EPYC).
        """
        n_frames = spectrum.shape[-1]
        padded = F.pad(spectrum, (0, max(0, FEWEST_FRAMES - n_frames)))
        return (self.mel @ padded)[..., :n_frames]

    def _root(self, power: Tensor) -> Tensor:
        """``|X| ** config.power``."""
        if self.config.power == 2:
            return power
        return power.sqrt_() if self.config.power == 1 else power.pow_(self.config.power / 2)
