"""Window and mel tables, computed once: PyTorch and the C front end read the same numbers."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError

if TYPE_CHECKING:
    from aed.dsp.frontend import FrontendConfig


SYMMETRIC = "_symmetric"
"""End of the name of a window whose last value is its first."""


@lru_cache(maxsize=32)
def window_table(name: str, win_length: int) -> npt.NDArray[np.float64]:
    """The analysis window, ``(win_length,)`` float64; periodic, unless its name ends in ``_symmetric``.

    Rounded to float32, its error shows in the quiet bands of a tonal clip: 1e-3 in log units on a rooster (ESC-10,
    offset 1e-4), against 6e-7 in float64.

    Args:
        name: ``hann``, or another name that ``scipy.signal.get_window`` knows; ``hann_symmetric`` ends in 0, as
            it begins.
        win_length: Samples.

    Raises:
        AedError: scipy does not know the name.
    """
    kind = name.removesuffix(SYMMETRIC)
    if kind == "hann" and win_length > 1:  # scipy.signal takes 1.5 s to import
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / (win_length - (kind != name)))
    else:
        from scipy.signal import get_window

        try:
            window = np.asarray(get_window(kind, win_length, fftbins=kind == name))
        except ValueError as error:
            raise AedError(
                f"frontend.window: {name!r} is no window of scipy.signal.get_window ({error}); usual is 'hann'"
            ) from error
    return window


def hz_to_mel(hz: npt.ArrayLike, scale: str) -> npt.NDArray[np.float64]:
    """Mel values of frequencies, any shape, float64.

    Args:
        hz: Frequencies, Hz.
        scale: ``htk`` and ``kaldi`` (O'Shaughnessy: ``2595 log10(1 + f / 700)``) or ``slaney`` (Auditory Toolbox:
            linear under 1 kHz, 200/3 Hz a mel, logarithmic above with 27 mels for a factor of 6.4).
    """
    hz = np.asarray(hz, dtype=np.float64)
    if scale != "slaney":
        return 2595 * np.log10(1 + hz / 700)
    return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))


def mel_to_hz(mel: npt.ArrayLike, scale: str) -> npt.NDArray[np.float64]:
    """Frequencies in Hz of mel values, any shape, float64: the inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if scale != "slaney":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@lru_cache(maxsize=32)
def mel_table(config: "FrontendConfig") -> npt.NDArray[np.float32]:
    """The mel filter bank, ``(n_mels, n_fft // 2 + 1)`` float32: triangles on continuous frequencies.

    With ``trained_rate`` the weights hold what recordings at that rate would have had besides: pre-emphasis, and the
    level of a spectrum of as many more samples.

    Source: the definitions of ``librosa.filters.mel``, and of ``torchaudio.compliance.kaldi.get_mel_banks``.

    Raises:
        AedError: A band is so narrow that no FFT bin falls into it.
    """
    bins_hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    low, high = hz_to_mel([config.f_min, config.f_max], config.mel_scale)
    edges_mel = np.linspace(low, high, config.n_mels + 2)
    edges_hz = mel_to_hz(edges_mel, config.mel_scale)
    straight_in_mel = config.mel_scale == "kaldi"
    edges, bins = (edges_mel, hz_to_mel(bins_hz, config.mel_scale)) if straight_in_mel else (edges_hz, bins_hz)
    widths = np.diff(edges)
    rising = (bins - edges[:-2, None]) / widths[:-1, None]
    falling = (edges[2:, None] - bins) / widths[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    if config.norm == "slaney":
        weights *= (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    if config.trained_rate is not None:
        emphasis = np.abs(1 - config.pre_emphasis * np.exp(-2j * np.pi * bins_hz / config.trained_rate))
        weights *= (emphasis * config.trained_rate / config.sample_rate) ** config.power
    audible = edges_hz[:-2] < config.sample_rate / 2  # the others are silent, as they have to be
    if empty := np.flatnonzero((weights.max(axis=1) == 0) & audible).tolist():
        raise AedError(
            f"frontend: mel bands {empty} hold no FFT bin; use fewer n_mels ({config.n_mels}), "
            f"a larger n_fft ({config.n_fft}) or a wider f_min..f_max"
        )
    return weights.astype(np.float32)
