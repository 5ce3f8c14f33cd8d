"""FrontendConfig: every parameter that can change a patch, in one frozen dataclass."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

from aed.base.errors import AedError
from aed.dsp.tables import mel_table, window_table

LONGEST_S = 86400.0
"""A day: read of a recording that is not cut before silence is removed."""

FEATURES_VERSION = 2
"""Part of every cache key: raise it when code changes a log-mel value without a change of a parameter.

2: recordings that were read in part, in silence, are read whole or refused (chained Ogg, cut W64, MP3 of no length).
"""

AMIN_POWER = 1e-10
"""Smallest power before a dB logarithm (librosa's ``power_to_db``); its root serves magnitudes."""

DB_RANGE = 80.0
"""Range in dB below the clip's maximum when ``db_ref`` is the clip's maximum (librosa's default ``top_db``)."""

TINY = 1.1754944e-38
"""FLT_MIN, the floor under a logarithm without offset: what a float32 C front end can represent."""

_PATCH_FIELDS = frozenset({"patch_frames", "overlap", "include_last_patch"})

_CHOICES: dict[str, tuple[object, ...]] = {
    "cut": ("before", "after"),
    "lengthen": ("before", "after"),
    "trim": ("aligned", "compatible", "none"),
    "pad_mode": ("constant", "reflect", "edge"),
    "mel_scale": ("htk", "slaney", "kaldi"),
    "norm": ("slaney", None),
}

_ST_NAMES = {
    "target_rate": "sample_rate",
    "min_length": "min_length_s",
    "max_length": "max_length_s",
    "top_db": "trim_top_db",
    "frame_length": "trim_frame_length",
    "lengthen": "lengthen",
    "trim_last_second": "trim_last_second",
    "patch_length": "patch_frames",
    "n_mels": "n_mels",
    "overlap": "overlap",
    "n_fft": "n_fft",
    "window_length": "win_length",
    "window": "window",
    "center": "center",
    "pad_mode": "pad_mode",
    "power": "power",
    "fmin": "f_min",
    "fmax": "f_max",
    "norm": "norm",
    "to_db": "to_db",
    "include_last_patch": "include_last_patch",
}
"""ST model zoo key -> our field, where the value carries over unchanged."""


@dataclass(frozen=True, kw_only=True)
class FrontendConfig:
    """The way from a recording to log-mel patches ``(n_mels, patch_frames)``.

    The defaults are the front end of ST's yamnet_256 backbone, with the silence trimming corrected.

    Args:
        sample_rate: Rate everything after loading runs at, Hz.
        min_length_s: Shorter clips are repeated up to this length, s.
        max_length_s: Length of the longest clip, s.
        cut: Longer recordings are cut ``before`` silence is removed: only so much of the start of a file is read. Or
            ``after`` it: all of the file is read, as ST's zoo does since version 4.
        lengthen: Repeat short clips ``before`` or ``after`` silence is removed.
        trim: Silence removal. ``aligned`` judges each block by its own samples; ``compatible`` is
            ``librosa.effects.split`` as ST's zoo uses it, whose frames are centred on block starts, so it
            can cut the start of an event and keep silence; ``none`` keeps everything.
        trim_top_db: A block is silent when this far under the clip's loudest block, dB; larger keeps more.
        trim_frame_length: Samples over which loudness is measured.
        trim_hop_length: Samples between such measurements.
        trim_last_second: Cut to a whole number of seconds (clips under 1 s stay).
        sample_bits: Resolution of the samples that features are computed from, as of an analogue-to-digital converter;
            null: none, then float samples contain detail below a device's last bit, visible in quiet passages.
        n_fft: FFT length, samples.
        win_length: Analysis window, samples; centred in ``n_fft``.
        hop_length: Samples between frames.
        window: Window name as ``scipy.signal.get_window`` knows it; periodic, or ``hann_symmetric``.
        center: Pad ``n_fft // 2`` on both sides so that frame ``i`` is centred on sample ``i * hop_length``.
        pad_mode: Padding where ``center`` is set.
        pre_emphasis: ``x[t] - pre_emphasis * x[t - 1]`` takes the place of the samples; 0: none. With ``trained_rate``
            the mel bands are weighted by the response of this filter at that rate instead.
        power: 1 for the magnitude spectrum, 2 for power.
        trained_rate: Rate in Hz of the recordings that a net was trained with, whose features are to be imitated at
            ``sample_rate``, with ``n_fft``, ``win_length`` and ``hop_length`` of the same durations: bands are where
            they were (``f_max`` up to half of this rate; those beyond ``sample_rate / 2`` stay silent), and as loud.
            null: ``sample_rate``.
        n_mels: Mel bands.
        f_min: Lower edge of the lowest band, Hz.
        f_max: Upper edge of the highest band, Hz.
        mel_scale: Formula: ``htk`` or ``slaney`` (Auditory Toolbox), with triangles straight over Hz; ``kaldi``: htk's,
            with triangles straight over mel.
        norm: ``slaney`` divides each band by its width in Hz.
        to_db: dB instead of the natural logarithm.
        log_offset: Natural log only: ``ln(mel + log_offset)``; 1e-4 in ST's zoo, 1e-3 in Google's YAMNet.
        db_ref: dB only: the value that is 0 dB; ``None`` takes each clip's maximum and keeps 80 dB under it.
        log_mean: Subtracted from the logarithm, then
        log_std: divides it: features are ``(logarithm - log_mean) / log_std``.
        patch_frames: Frames of a patch.
        overlap: Share of a patch that the next patch on the grid repeats, 0 <= overlap < 1.
        include_last_patch: One more patch that ends at the clip's end where the grid does not.

    Raises:
        AedError: A value is outside its range; the message names field, range and value.

    Examples:
        >>> config = aed.FrontendConfig(n_mels=40, patch_frames=48, hop_length=320)
        >>> config.patch_samples / config.sample_rate  # seconds of sound behind a patch
        0.972
        >>> aed.PRESETS["yamnet_64x96"] == aed.FrontendConfig()
        True
    """

    sample_rate: int = 16000
    min_length_s: float = 1.0
    max_length_s: float = 10.0
    cut: Literal["before", "after"] = "before"
    lengthen: Literal["before", "after"] = "after"
    trim: Literal["aligned", "compatible", "none"] = "aligned"
    trim_top_db: float = 60.0
    trim_frame_length: int = 3200
    trim_hop_length: int = 3200
    trim_last_second: bool = False
    sample_bits: int | None = 16
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    window: str = "hann"
    center: bool = False
    pad_mode: Literal["constant", "reflect", "edge"] = "constant"
    pre_emphasis: float = 0.0
    power: float = 1.0
    trained_rate: int | None = None
    n_mels: int = 64
    f_min: float = 125.0
    f_max: float = 7500.0
    mel_scale: Literal["htk", "slaney", "kaldi"] = "htk"
    norm: Literal["slaney"] | None = None
    to_db: bool = False
    log_offset: float = 1e-4
    db_ref: float | None = None
    log_mean: float = 0.0
    log_std: float = 1.0
    patch_frames: int = 96
    overlap: float = 0.25
    include_last_patch: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise AedError(f"frontend.{field.name}: need a finite number, got {value}")
            whole = field.type is int or (field.type == (int | None) and value is not None)
            if whole and not (isinstance(value, int) and not isinstance(value, bool)):
                raise AedError(f"frontend.{field.name}: need a whole number, got {value!r}")
            if isinstance(value, int) and field.type in (float, float | None):
                object.__setattr__(self, field.name, float(value))  # 125 and 125.0 are the same front end
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise AedError(f"frontend.{name}: need one of {allowed}, got {getattr(self, name)!r}")
        positive = ("sample_rate", "max_length_s", "trim_frame_length", "trim_hop_length", "n_fft", "log_std")
        for name in (*positive, "trim_top_db", "win_length", "hop_length", "power", "n_mels", "patch_frames"):
            self._need(name, getattr(self, name) > 0, "> 0")
        self._need("min_length_s", self.min_length_s >= 0, ">= 0")
        self._need("win_length", self.win_length <= self.n_fft, f"<= n_fft = {self.n_fft}")
        self._need("sample_bits", self.sample_bits is None or 8 <= self.sample_bits <= 24, "8 to 24, or null (float)")
        self._need("pre_emphasis", 0 <= self.pre_emphasis < 1, "in [0, 1)")
        self._need("trained_rate", self.trained_rate is None or self.trained_rate > 0, "> 0 or null")
        self._need("overlap", 0 <= self.overlap < 1, "in [0, 1)")
        self._need("log_offset", self.log_offset == 0 or self.log_offset >= TINY, f"0 or >= {TINY} (float32)")
        self._need("db_ref", self.db_ref is None or self.db_ref > 0, "> 0 or null")
        if self.trim == "aligned":
            self._need("trim_hop_length", self.trim_hop_length <= self.trim_frame_length, "<= trim_frame_length")
        rate = "sample_rate" if self.trained_rate is None else "trained_rate"
        nyquist = getattr(self, rate) / 2
        if not 0 <= self.f_min < self.f_max <= nyquist:
            raise AedError(
                f"frontend: need 0 <= f_min < f_max <= {nyquist} Hz (half of {rate}), "
                f"got f_min {self.f_min}, f_max {self.f_max}"
            )
        if self.to_db and self.power not in (1.0, 2.0):
            raise AedError(f"frontend.power: to_db=true needs 1 (magnitude) or 2 (power), got {self.power}")
        if self.max_length_s < self.min_length_s:
            raise AedError(
                f"frontend.max_length_s: need >= min_length_s = {self.min_length_s}, got {self.max_length_s}"
            )
        frames = self.num_frames(round(self.min_length_s * self.sample_rate))
        if self.lengthen == "after" and frames < self.patch_frames:
            raise AedError(
                f"frontend.min_length_s: a clip of {self.min_length_s} s has {frames} frames, a patch needs "
                f"{self.patch_frames}; use at least {math.ceil(self.min_clip_samples / self.sample_rate * 1e4) / 1e4} s"
            )

        window_table(self.window, self.win_length)
        mel_table(self)

    def _need(self, name: str, ok: bool, what: str) -> None:
        if not ok:
            raise AedError(f"frontend.{name}: need {what}, got {getattr(self, name)!r}")

    @property
    def read_s(self) -> float:
        """Seconds of the start of a recording that a clip is made of."""
        return self.max_length_s if self.cut == "before" else LONGEST_S

    @property
    def patch_hop(self) -> int:
        """Frames between the starts of neighbouring patches on the grid."""
        return self.patch_frames - math.floor(self.patch_frames * self.overlap)

    @property
    def filters_samples(self) -> bool:
        """Whether ``pre_emphasis`` is applied to samples, the first of which has none before it and so is lost."""
        return self.pre_emphasis > 0 and self.trained_rate is None

    @property
    def frame_samples(self) -> int:
        """Samples a frame depends on: ``n_fft``, and one before them where they are filtered."""
        return self.n_fft + int(self.filters_samples)

    @property
    def patch_samples(self) -> int:
        """Samples a device needs for one patch: ``(patch_frames - 1) * hop_length + frame_samples``."""
        return (self.patch_frames - 1) * self.hop_length + self.frame_samples

    @property
    def min_clip_samples(self) -> int:
        """Samples of the shortest clip with a patch."""
        return self.patch_samples - self._padding

    def num_frames(self, num_samples: int) -> int:
        """Frames of a clip of ``num_samples`` samples."""
        room = num_samples + self._padding - self.frame_samples
        return 1 + room // self.hop_length if room >= 0 else 0

    @property
    def _padding(self) -> int:
        """Samples that ``center`` adds to a clip."""
        return 2 * (self.n_fft // 2) if self.center else 0

    @property
    def not_streamable(self) -> tuple[str, ...]:
        """Reasons why a device that sees one patch at a time cannot compute these features; () if it can."""
        reasons = []
        if self.center:
            reasons.append("center=true pads a clip's ends, which a stream does not have")
        if self.to_db and self.db_ref is None:
            reasons.append("db_ref=null takes each clip's maximum as 0 dB, which a stream does not know")
        if not self.to_db and self.log_offset == 0:
            reasons.append("log_offset=0 leaves the logarithm of silence without a floor")
        return tuple(reasons)

    @property
    def streamable(self) -> bool:
        """Whether a patch depends on its own ``patch_samples`` samples alone."""
        return not self.not_streamable

    @property
    def silence(self) -> float:
        """Feature value of digital silence: the smallest value in any patch."""
        if not self.to_db:
            least = math.log(max(self.log_offset, TINY))
        else:
            least = -DB_RANGE if self.db_ref is None else 10 * math.log10(AMIN_POWER) - self._db(self.db_ref)
        return (least - self.log_mean) / self.log_std

    def gain_term(self, gain: float) -> float:
        """The amount that a gain of the waveform adds to a feature: dB or ``power * ln(gain)``, over ``log_std``.

        If ``db_ref`` is the clip's maximum, a gain does not change the features; the term is then the change of level
        on a device with a fixed reference, by which ST's zoo augments, too.
        """
        return (20 * math.log10(gain) if self.to_db else self.power * math.log(gain)) / self.log_std

    def _db(self, value: float) -> float:
        return 20 / self.power * math.log10(value)

    @property
    def feature_key(self) -> str:
        """SHA-256 of all parameters that change a clip's log-mel; those of patches, windows over it, are left out."""
        facts = {name: value for name, value in asdict(self).items() if name not in _PATCH_FIELDS}
        text = json.dumps({"version": FEATURES_VERSION, **facts}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The front end of a dict written by ``dataclasses.asdict``, for example in a checkpoint.

        Raises:
            AedError: A key is unknown.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise AedError(f"front end: unknown {unknown}; this version knows {sorted(known)}")
        return cls(**values)

    @classmethod
    def from_st(
        cls, preprocessing: Mapping[str, Any], feature_extraction: Mapping[str, Any], since_v4: bool = False
    ) -> Self:
        """The front end of an ST model zoo YAML, with that zoo's exact behaviour.

        Args:
            preprocessing: The section of that name (2023: ``pre_processing``); ``lengthen``, which the zoo ignores, is
                applied.
            feature_extraction: The section of that name; the text ``None`` means null.
            since_v4: Of version 4.0 or later: the logarithm has another offset, recordings are cut after silence is
                removed, ``lengthen``, ``trim_last_second`` and ``include_last_patch`` have no effect.

        Raises:
            AedError: A key is unknown.
        """
        values: dict[str, Any] = {"trim": "compatible", "sample_bits": None, "log_offset": 1e-4}
        for name, section in (("preprocessing", preprocessing), ("feature_extraction", feature_extraction)):
            for key, text in section.items():
                value = None if text == "None" else text
                field = cls.st_field(name, key)
                values[field] = ("htk" if value else "slaney") if key == "htk" else value
        if since_v4:
            values |= {"log_offset": 1e-6, "cut": "after"}
            values |= {"lengthen": "after", "trim_last_second": False, "include_last_patch": False}
        return cls(**values)

    @staticmethod
    def st_field(section: str, key: str) -> str:
        """The field that a key of an ST model zoo YAML sets.

        Args:
            section: ``preprocessing`` or ``feature_extraction``.
            key: Of that section.

        Raises:
            AedError: The key is unknown.
        """
        special = {"hop_length": "hop_length", "htk": "mel_scale"}
        if section == "preprocessing":
            special["hop_length"] = "trim_hop_length"
        names = _ST_NAMES | special
        if key not in names:
            raise AedError(f"front end: unknown key {key!r}; known are {sorted(names)}")
        return names[key]


_MN = FrontendConfig(
    n_fft=512,
    win_length=400,
    hop_length=160,
    window="hann_symmetric",
    pre_emphasis=0.97,
    power=2.0,
    trained_rate=32000,
    n_mels=96,
    f_min=0.0,
    f_max=6558.001972505274,  # the lowest 96 of 128 bands up to 15 kHz
    mel_scale="kaldi",
    log_offset=1e-5,
    log_mean=-4.5,
    log_std=5.0,
)
"""EfficientAT's front end from recordings at 16 kHz."""

PRESETS: dict[str, FrontendConfig] = {
    "yamnet_64x96": FrontendConfig(),
    "yamnet_google_64x96": FrontendConfig(log_offset=1e-3),
    "miniresnet_64x50": FrontendConfig(
        min_length_s=2.0,
        n_fft=1024,
        win_length=1024,
        hop_length=320,
        center=True,
        power=2.0,
        f_min=20.0,
        mel_scale="slaney",
        norm="slaney",
        to_db=True,
        patch_frames=50,
    ),
    "mn_96x96": _MN,
    "mn_96x192": replace(_MN, min_length_s=2.0, patch_frames=192, overlap=0.625),
    "mn_96x496": replace(_MN, min_length_s=5.0, trim="none", patch_frames=496),
    "mn_128x496": replace(_MN, min_length_s=5.0, trim="none", n_mels=128, f_max=15000.0, patch_frames=496),
    "mn_32k_128x500": replace(
        _MN,
        sample_rate=32000,
        min_length_s=5.0,
        trim="none",
        sample_bits=None,
        n_fft=1024,
        win_length=800,
        hop_length=320,
        center=True,
        pad_mode="reflect",
        trained_rate=None,
        n_mels=128,
        f_max=15000.0,
        patch_frames=500,
    ),
}
"""Front ends of the published backbones (ST model zoo, Google, EfficientAT), with the silence trimming corrected."""
