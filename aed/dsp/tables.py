"""Window and mel tables, computed once: PyTorch and the C front end read the same numbers."""

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError

if TYPE_CHECKING:
    from aed.dsp.frontend import FrontendConfig


@lru_cache(maxsize=32)
def window_table(name: str, win_length: int) -> npt.NDArray[np.float64]:
    """The periodic analysis window, ``(win_length,)`` float64.

    Rounded to float32, its error shows in the quiet bands of a tonal clip: 1e-3 in log units on a rooster (ESC-10,
    offset 1e-4), against 6e-7 in float64.

    Args:
        name: ``hann``, or another name that ``scipy.signal.get_window`` knows.
        win_length: Samples.

    Raises:
        AedError: scipy does not know the name.
    """
    if name == "hann" and win_length > 1:  # scipy.signal takes 1.5 s to import
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    else:
        from scipy.signal import get_window

        try:
            window = np.asarray(get_window(name, win_length, fftbins=True))
        except ValueError as error:
            raise AedError(
                f"frontend.window: {name!r} is no window of scipy.signal.get_window ({error}); usual is 'hann'"
            ) from error
    return window


def hz_to_mel(hz: npt.ArrayLike, scale: str) -> npt.NDArray[np.float64]:
    """Mel values of frequencies, any shape, float64.

    Args:
        hz: Frequencies, Hz.
        scale: ``htk`` (O'Shaughnessy: ``2595 log10(1 + f / 700)``) or ``slaney`` (Auditory Toolbox: linear
            under 1 kHz, 200/3 Hz a mel, logarithmic above with 27 mels for a factor of 6.4).
    """
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    return np.where(hz < 1000, 3 * hz / 200, 15 + 27 * np.log(np.maximum(hz, 1e-9) / 1000) / np.log(6.4))


def mel_to_hz(mel: npt.ArrayLike, scale: str) -> npt.NDArray[np.float64]:
    """Frequencies in Hz of mel values, any shape, float64: the inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((mel - 15) / 27))


@lru_cache(maxsize=32)
def mel_table(config: "FrontendConfig") -> npt.NDArray[np.float32]:
    """The mel filter bank, ``(n_mels, n_fft // 2 + 1)`` float32: triangles on continuous frequencies.

    Source: the definition of ``librosa.filters.mel``.

    Raises:
        AedError: A band is so narrow that no FFT bin falls into it.
    """
    bins_hz = np.fft.rfftfreq(config.n_fft, 1 / config.sample_rate)
    low, high = hz_to_mel([config.f_min, config.f_max], config.mel_scale)
    edges_hz = mel_to_hz(np.linspace(low, high, config.n_mels + 2), config.mel_scale)
    widths = np.diff(edges_hz)
    rising = (bins_hz - edges_hz[:-2, None]) / widths[:-1, None]
    falling = (edges_hz[2:, None] - bins_hz) / widths[1:, None]
    weights = np.maximum(0, np.minimum(rising, falling))
    if config.norm == "slaney":
        weights *= (2 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    if empty := np.flatnonzero(weights.max(axis=1) == 0).tolist():
        raise AedError(
            f"frontend: mel bands {empty} hold no FFT bin; use fewer n_mels ({config.n_mels}), "
            f"a larger n_fft ({config.n_fft}) or a wider f_min..f_max"
        )
    return weights.astype(np.float32)
