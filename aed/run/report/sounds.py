"""The sound and the pictures of a page: each once, as long as there is room."""

import base64
import io
from collections.abc import Hashable
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile as sf

from aed.dsp.waveform import Wave

SOUND_BYTES, LOSSLESS_BYTES = 12_000_000, 2_000_000
"""Most sound in a page, in characters of base64, and how much of it may be lossless."""

FINE, COARSE = 0.5, 0.9
"""Compression levels of libsndfile's Vorbis: 6.9 and 4.8 kB a second of 16 kHz in base64, on ESC-10."""

FINE_BYTES = 9_000
"""Room for each second that is left, in characters of base64, from which sound is compressed less."""


class Sounds:
    """The sound of a page.

    Attributes:
        uris: Of each sound, in the order of their numbers.
    """

    def __init__(self) -> None:
        self.uris: list[str] = []
        self.left, self.lossless_left = SOUND_BYTES, LOSSLESS_BYTES
        self.awaited = 0
        self._numbers: dict[Hashable, int] = {}

    def expect(self, number: int) -> None:
        """Says that so many more sounds will be asked for: the room is shared among them."""
        self.awaited += number

    def number(self, key: Hashable) -> int | None:
        """The number of a sound that is in already."""
        return self._numbers.get(key)

    @property
    def has_room(self) -> bool:
        """Whether another sound may be put in."""
        return self.left > 0

    def put(self, key: Hashable, wave: Wave, rate: int, lossless: bool = False) -> int | None:
        """The number of a sound, which is put in if it is not there; None: no room is left.

        Args:
            key: Of the sound.
            wave: ``(T,)``.
            rate: In Hz.
            lossless: As FLAC, as long as there is room for that.
        """
        if key not in self._numbers and self.has_room:
            share = self.left / max(1, self.awaited)
            fine = share >= FINE_BYTES * len(wave) / rate
            exact = lossless and self.lossless_left > 0
            self.uris.append(data_uri(wave, rate, "FLAC" if exact else "OGG", FINE if fine else COARSE))
            self.left -= len(self.uris[-1])
            self.lossless_left -= len(self.uris[-1]) if exact else 0
            self._numbers[key] = len(self.uris) - 1
        self.awaited -= 1
        return self.number(key)


def data_uri(wave: Wave, rate: int, form: Literal["FLAC", "OGG"], level: float = FINE) -> str:
    """Samples as FLAC, or as Ogg Vorbis of a quarter the size.

    Args:
        wave: ``(T,)``.
        rate: In Hz.
        form: Vorbis is encoded ten times as fast as Opus by the same library, in half as many bytes again.
        level: Of Vorbis: 0 the best, 1 the smallest.
    """
    file = io.BytesIO()
    options = {"subtype": "PCM_16"} if form == "FLAC" else {"subtype": "VORBIS", "compression_level": level}
    with sf.SoundFile(file, "w", rate, 1, format=form, **options) as sound:
        for start in range(0, len(wave), rate):  # libsndfile's stack cannot hold long ones at once
            sound.write(wave[start : start + rate])
    return f"data:audio/{form.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def image_uri(frames: npt.NDArray[np.float32]) -> str:
    """A log-mel ``(n_mels, n_frames)`` as a PNG of 256 colours, low bands at the bottom; the widest 2000 frames."""
    from matplotlib import colormaps
    from PIL import Image

    frames = frames[::-1, :: -(-frames.shape[1] // 2000)]
    low, high = float(frames.min()), float(frames.max())
    levels = np.rint((frames - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    image = Image.fromarray(levels)
    image.putpalette((colormaps["magma"].resampled(256)(np.arange(256))[:, :3] * 255).astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
