"""What the augmented crops of a training set are like."""

import math
from dataclasses import dataclass

from aed.base.errors import AedError

_RANGES = {"equalizer_db": (0.0, 40.0), "speed": (0.0, 0.5), "mix_alpha": (0.01, 100.0)}
_PAIRS = {"snr_db": (-60.0, 80.0), "rt60_s": (0.05, 5.0), "direct_db": (-20.0, 40.0), "gain_db": (-80.0, 40.0)}


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """Augmented crops that training sees in place of the clips; each change is drawn for a crop alone.

    The order is that of the world: the sound and others with it, its room, the microphone, noise, level. Samples over
    full scale are cut, as by a converter.

    Args:
        per_clip: Crops of each training clip; 0: none, training sees the clips.
        length_s: Of a crop, s; a patch is taken from a random place of it. Of a shorter clip, repetitions of it.
        speed_share: Share of the crops that are played at another speed.
        speed: Natural logarithm of the highest speed; of the lowest with a minus.
        mix_share: Share that is mixed with a crop of another clip at the same RMS, as their targets are.
        mix_alpha: Of the Beta(alpha, alpha) distribution of the two shares, of which the crop's own is the larger.
        equalizer_share: Share with a random smooth response.
        equalizer_db: Its greatest gain and loss, dB.
        room_share: Share in a made room.
        rt60_s: Shortest and longest time in which its echoes fall by 60 dB, s.
        direct_db: Lowest and highest energy of the direct sound over the echoes, dB.
        microphone_share: Share through one of :data:`aed.dsp.disturb.MICROPHONES`.
        noise_share: Share with noise.
        snr_db: Lowest and highest RMS of the crop over the noise, dB.
        ambient: Folder of recordings that are the noise, as of ``data.soundscapes.ambient``; null: computed.
        gain_db: Lowest and highest gain, dB.

    Raises:
        AedError: A value is out of its range.
    """

    per_clip: int = 0
    length_s: float = 2.0
    speed_share: float = 0.35
    speed: float = 0.15
    mix_share: float = 0.5
    mix_alpha: float = 0.7
    equalizer_share: float = 0.35
    equalizer_db: float = 6.0
    room_share: float = 0.0
    rt60_s: tuple[float, ...] = (0.1, 0.6)
    direct_db: tuple[float, ...] = (0.0, 15.0)
    microphone_share: float = 0.0
    noise_share: float = 0.3
    snr_db: tuple[float, ...] = (10.0, 35.0)
    ambient: str | None = None
    gain_db: tuple[float, ...] = (-12.0, 6.0)

    def __post_init__(self) -> None:
        if self.per_clip < 0:
            raise AedError(f"data.crops.per_clip: need 0 or more, got {self.per_clip}")
        if not 0.1 <= self.length_s <= 60:
            raise AedError(f"data.crops.length_s: need 0.1 to 60 s, got {self.length_s}")
        for name in ("speed", "mix", "equalizer", "room", "microphone", "noise"):
            if not 0 <= (share := getattr(self, f"{name}_share")) <= 1:
                raise AedError(f"data.crops.{name}_share: need a share in [0, 1], got {share}")
        for name, (low, high) in _RANGES.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise AedError(f"data.crops.{name}: need {low:g} to {high:g}, got {value}")
        for name, (low, high) in _PAIRS.items():
            values = getattr(self, name)
            if len(values) != 2 or not low <= values[0] <= values[1] <= high:
                raise AedError(
                    f"data.crops.{name}: need a lowest and a highest value in [{low:g}, {high:g}], got {values}"
                )
            if not all(map(math.isfinite, values)):
                raise AedError(f"data.crops.{name}: need finite values, got {values}")
