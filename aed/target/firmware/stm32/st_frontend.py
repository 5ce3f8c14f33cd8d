"""A simulation of the front end of ST's 'getting started' audio firmware, and its effect on accuracy.

The facts were read in the sources of the firmware for the STM32U5 (FreeRTOS and ThreadX applications, one library);
that of the STM32N6 is assumed to compute the same. Guesses, where the sources leave room:

- the FFT is CMSIS-DSP's float32 one; here it is torch's float32 one, which rounds alike but not bit for bit;
- the silence gate sums the magnitudes of all bins from 0 to ``n_fft / 2``;
- quantisation rounds half away from zero, as C's ``roundf``;
- a clip begins with a patch: on a device the patches lie anywhere over an event.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from aed.base.errors import AedError
from aed.dsp.aggregate import Aggregate, clip_posteriors, decide
from aed.dsp.frontend import AMIN_POWER, DB_RANGE, TINY, FrontendConfig
from aed.dsp.logmel import to_resolution
from aed.dsp.patches import grid_starts
from aed.dsp.tables import mel_table, window_table
from aed.dsp.waveform import load_clip, read_audio, resample
from aed.scoring.decision import UNKNOWN_INDEX

Float32 = npt.NDArray[np.float32]
Posteriors = Callable[[Float32], Float32]
"""Patches ``(B, 1, n_mels, patch_frames)`` -> ``(B, num_classes)``."""

MIC_BITS = 16
FREERTOS_RATE = 16000
"""Hz: the FreeRTOS application starts the microphone at this rate, whatever the header has."""

BATCH = 128
"""Patches that the net gets at once, or somewhat more."""


@dataclass(frozen=True, kw_only=True)
class Firmware:
    """Settings of the firmware that a patch, or an answer, depends on.

    Args:
        silence_threshold: Sum of a patch's magnitudes that must be exceeded for an answer.
        unknown_threshold: Posterior that a class must exceed, else the answer is ``unknown``; 0: none.
        input_scale: Real value of one step of the net's int8 input; None: its rounding is left to the net.
        input_zero_point: Integer that stands for 0 at the net's input.
        rtos: The application.
    """

    silence_threshold: float
    unknown_threshold: float = 0.0
    input_scale: float | None = None
    input_zero_point: int | None = None
    rtos: Literal["freertos", "threadx"] = "freertos"


@dataclass(frozen=True)
class Difference:
    """A step at which the firmware and the trained front end differ.

    Args:
        name: Identifier.
        trained: Step of the trained front end.
        firmware: Step of the firmware.
        known: ``read`` in the sources, or a ``guess``.
        measurable: Whether recordings can show its effect.
    """

    name: str
    trained: str
    firmware: str
    known: Literal["read", "guess"] = "read"
    measurable: bool = True


def default_silence_threshold(config: FrontendConfig) -> int:
    """The silence threshold to deploy with: 100 for log, 0 for dB, as ST; -1 (none) for power spectra.

    The firmware sums magnitudes only, so with power spectra the sum stays 0 and exceeds no threshold but a negative
    one: with ST's own values it would never answer.
    """
    if config.power == 2:
        return -1
    return 0 if config.to_db else 100


def differences(config: FrontendConfig, firmware: Firmware) -> tuple[Difference, ...]:
    """The differences between the firmware, set to ``config``, and ``config``, in the order of the steps.

    Args:
        config: The trained front end.
        firmware: Its counterpart.
    """
    every = [*_sample_differences(config, firmware), *_frame_differences(config), *_level_differences(config)]
    if firmware.input_scale is not None:
        every.append(Difference("input_rounding", "half to even", "half away from zero, times 1 / scale", "guess"))
    if firmware.silence_threshold >= 0 and not (firmware.rtos == "threadx" and firmware.silence_threshold == 0):
        what = "magnitudes of the patch" if config.power == 1 else "power spectra, which count as 0,"
        gate = f"no answer unless the sum of the {what} is over {firmware.silence_threshold:g}"
        every.append(Difference("silence_gate", "every patch gets an answer", gate))
    aggregation = "an answer a patch, of it alone: compare patch_acc"
    every.append(Difference("aggregation", "one of all patches of a clip", aggregation, measurable=False))
    microphone = "its gain, noise and response; levels in dBFS"
    every.append(Difference("microphone", "recordings as they are", microphone, measurable=False))
    overrun = "where the net takes longer than a patch lasts, patches are lost"
    every.append(Difference("overrun", "no patch is lost", overrun, measurable=False))
    return tuple(every)


def _sample_differences(config: FrontendConfig, firmware: Firmware) -> Iterable[Difference]:
    if firmware.rtos == "freertos" and config.sample_rate != FREERTOS_RATE:
        what = f"samples come at {FREERTOS_RATE} Hz and are treated as {config.sample_rate} Hz"
        yield Difference("sample_rate", f"{config.sample_rate} Hz", what)
    steps = f"trim={config.trim}, at least {config.min_length_s:g} s by repetition"
    yield Difference("clip_steps", steps, "neither: silence is not cut, short sounds are followed by silence")
    if config.sample_bits != MIC_BITS:
        trained = "float" if config.sample_bits is None else f"{config.sample_bits} bits"
        yield Difference("sample_bits", trained, f"{MIC_BITS} bits")


def _frame_differences(config: FrontendConfig) -> Iterable[Difference]:
    if config.center:
        yield Difference("centre", f"pads n_fft / 2 samples at a clip's ends ({config.pad_mode})", "pads nothing")
    if left := (config.n_fft - config.win_length) // 2:
        what = f"frame i begins at sample i * hop + {left}"
        yield Difference("frame_start", what, "frame i begins at sample i * hop")
    if config.patch_hop * config.hop_length != config.patch_samples:
        what = f"a patch begins {config.patch_samples} samples after the last: none is used twice"
        yield Difference("grid", f"a patch begins {config.patch_hop * config.hop_length} samples after the last", what)
    yield Difference("precision", "float64 window and FFT", "float32 window and FFT (CMSIS-DSP)")


def _level_differences(config: FrontendConfig) -> Iterable[Difference]:
    if not config.to_db:
        if config.log_offset:
            yield Difference("log_offset", f"ln(mel + {config.log_offset:g})", f"ln(max(mel, {TINY:.4g}))")
        return
    if config.power == 1:
        yield Difference("db_factor", "20 log10 of magnitudes", "10 log10 of magnitudes")
    if config.db_ref != 1:
        reference = "the clip's maximum" if config.db_ref is None else f"{config.db_ref:g}"
        yield Difference("db_reference", f"0 dB is {reference}", "0 dB is 1.0")
    floor = f"floor {AMIN_POWER ** (config.power / 2):g}"
    if config.db_ref is None:
        floor += f", and {DB_RANGE:g} dB under the clip's maximum"
    yield Difference("db_floor", floor, f"floor {TINY:.4g}")


def measurable(config: FrontendConfig, firmware: Firmware) -> tuple[str, ...]:
    """Names of the differences that :func:`compute_patches` and :func:`effect` can switch on."""
    return tuple(item.name for item in differences(config, firmware) if item.measurable)


def load(path: Path, config: FrontendConfig, on: Collection[str]) -> Float32:
    """The samples ``(T,)`` of a recording that a front end gets.

    Args:
        path: Of the recording.
        config: The trained front end.
        on: Names of differences; ``clip_steps`` and ``sample_rate`` matter here.

    Raises:
        AudioError: The recording cannot be used.
    """
    rate_hz = FREERTOS_RATE if "sample_rate" in on else config.sample_rate
    if "clip_steps" in on:
        samples, rate = read_audio(path, config.read_s)
        return resample(samples, rate, rate_hz)
    clip = load_clip(path, config)
    return resample(clip, config.sample_rate, rate_hz)


@dataclass(frozen=True)
class ClipPatches:
    """Patches of a clip, as a front end computes them.

    Args:
        patches: ``(P, n_mels, patch_frames)``.
        answered: ``(P,)``; False: the silence gate holds back the answer.
    """

    patches: Float32
    answered: npt.NDArray[np.bool_]


@torch.no_grad()
def compute_patches(
    wave: Float32, config: FrontendConfig, firmware: Firmware, on: Collection[str] | None = None
) -> ClipPatches:
    """Patches as the firmware computes them, or as a front end between it and the trained one would.

    Args:
        wave: ``(T,)`` float32 in [-1, 1]; a clip shorter than a patch is followed by silence.
        config: The trained front end.
        firmware: Its counterpart.
        on: Names of the differences in effect; None: all, which is the firmware; (): the trained front end.
    """
    on = measurable(config, firmware) if on is None else on
    return _finish(_spectra(wave, config, on), config, firmware, on)


_EARLY = frozenset({"sample_rate", "clip_steps", "sample_bits", "centre", "frame_start", "grid", "precision"})
"""Differences in the steps up to the mel values."""


class _Spectra(NamedTuple):
    """Mel values ``(P, n_mels, patch_frames)``, loudness ``(P,)``, and the clip's maximum where it is referred to."""

    mel: Tensor
    loudness: Tensor
    peak: Tensor | None


def _spectra(wave: Float32, config: FrontendConfig, on: Collection[str]) -> _Spectra:
    """The steps before the logarithm."""
    signal = _signal(wave, config, on)
    starts = _starts(len(signal), config, on)
    frames = torch.from_numpy(starts)[:, None] + config.hop_length * torch.arange(config.patch_frames)
    mel, loudness = _mel(signal, frames, config, on)
    peak = None
    if config.to_db and config.db_ref is None:
        last = len(signal) - config.n_fft
        peak = _mel(signal, torch.arange(0, last + 1, config.hop_length)[None], config, on)[0].max()
    return _Spectra(mel, loudness, peak)


def _finish(spectra: _Spectra, config: FrontendConfig, firmware: Firmware, on: Collection[str]) -> ClipPatches:
    """Logarithm, rounding, silence gate."""
    level = _compress(spectra.mel, spectra.peak, config, on)
    if "input_rounding" in on:
        level = _steps(level, firmware)
    answered = spectra.loudness > firmware.silence_threshold
    if "silence_gate" not in on:
        answered = torch.ones_like(answered)
    return ClipPatches(level.numpy(), answered.numpy())


def _signal(wave: Float32, config: FrontendConfig, on: Collection[str]) -> Tensor:
    """Samples at their resolution, padded, ``(T,)`` float64."""
    bits = MIC_BITS if "sample_bits" in on else config.sample_bits
    signal = to_resolution(torch.from_numpy(wave).double(), bits)
    if config.center and "centre" not in on:
        signal = torch.from_numpy(np.pad(signal.numpy(), config.n_fft // 2, mode=config.pad_mode))
    return F.pad(signal, (0, max(0, config.patch_samples - len(signal))))


def _starts(num_samples: int, config: FrontendConfig, on: Collection[str]) -> npt.NDArray[np.int64]:
    """First samples of the patches, ``(P,)``."""
    if "grid" in on:
        return np.arange(0, num_samples - config.patch_samples + 1, config.patch_samples)
    return grid_starts(1 + (num_samples - config.n_fft) // config.hop_length, config) * config.hop_length


def _mel(signal: Tensor, frames: Tensor, config: FrontendConfig, on: Collection[str]) -> tuple[Tensor, Tensor]:
    """Mel values ``(P, n_mels, F)`` of frames that begin at ``frames`` ``(P, F)``, and each patch's loudness ``(P,)``.

    The firmware gates by the loudness: a sum of magnitudes, which stays 0 for power spectra.
    """
    left = (config.n_fft - config.win_length) // 2
    dtype = torch.float32 if "precision" in on else torch.float64
    window = torch.from_numpy(window_table(config.window, config.win_length)).to(dtype)
    rows = signal.unfold(0, config.win_length, 1)[frames + (0 if "frame_start" in on else left)]
    framed = F.pad(rows.to(dtype) * window, (left, config.n_fft - config.win_length - left))
    spectrum = torch.fft.rfft(framed)
    power = (spectrum.real.square() + spectrum.imag.square()).float()
    level = power if config.power == 2 else power.sqrt() if config.power == 1 else power ** (config.power / 2)
    loudness = level.sum(dim=(1, 2)) if config.power == 1 else torch.zeros(len(level))
    return torch.from_numpy(mel_table(config)) @ level.transpose(1, 2), loudness


def _compress(mel: Tensor, peak: Tensor | None, config: FrontendConfig, on: Collection[str]) -> Tensor:
    """The logarithm; ``peak`` is the clip's maximum, where ``config`` refers to it."""
    if not config.to_db:
        offset = 0.0 if "log_offset" in on else config.log_offset
        return torch.log(mel + offset if offset else mel.clamp(min=TINY))
    factor = 10.0 if "db_factor" in on else 20 / config.power
    least = TINY if "db_floor" in on else AMIN_POWER ** (config.power / 2)

    def level(value: Tensor) -> Tensor:
        return factor * value.clamp(min=least).log10()

    if "db_reference" in on:
        zero = torch.tensor(0.0)
    else:
        zero = level(peak if peak is not None else torch.tensor(config.db_ref))
    result = level(mel) - zero
    if peak is not None and "db_floor" not in on:
        result = torch.maximum(result, level(peak) - zero - DB_RANGE)
    return result


def _steps(level: Tensor, firmware: Firmware) -> Tensor:
    """Values that the int8 input can hold, as the firmware rounds them."""
    if firmware.input_scale is None or firmware.input_zero_point is None:
        return level
    steps = level * float(np.float32(1) / np.float32(firmware.input_scale)) + firmware.input_zero_point
    rounded = (steps.sign() * (steps.abs() + 0.5).floor()).clamp(-128, 127)
    return (rounded - firmware.input_zero_point) * float(np.float32(firmware.input_scale))


@dataclass(frozen=True, kw_only=True)
class Effect:
    """Accuracy with a front end.

    Args:
        clip_acc: Share of clips that the answered patches decide rightly together; ``unknown`` and no answer are wrong.
        patch_acc: Share of patches answered rightly: what a device shows.
        answered: Share of patches with an answer.
        answered_acc: Share of these that is right; None where there is none.
        changed_clips: Clips decided otherwise than with the trained front end.
        patches: Number.
    """

    clip_acc: float
    patch_acc: float
    answered: float
    answered_acc: float | None
    changed_clips: int
    patches: int


def effect(
    clips: Sequence[tuple[Path, int]],
    config: FrontendConfig,
    posteriors: Posteriors,
    firmware: Firmware,
    done: Callable[[int], object] = lambda number: None,
    aggregate: Aggregate = "mean",
) -> dict[str, Effect]:
    """Accuracy with the trained front end (``trained``), with each difference alone, and with all (``firmware``).

    The firmware's threshold for ``unknown`` applies to all of them.

    Args:
        clips: Recordings and the index of their class.
        config: The trained front end.
        posteriors: The net.
        firmware: Its counterpart.
        done: Called after each clip with their number so far.
        aggregate: How the posteriors of a clip's patches become one.

    Raises:
        AedError: There are no clips, or one cannot be read.
    """
    if not clips:
        raise AedError("effect of the firmware: need at least one clip")
    names = measurable(config, firmware)
    sets: dict[str, tuple[str, ...]] = {"trained": (), **{name: (name,) for name in names}, "firmware": names}
    answers = {key: _Answers(posteriors, firmware.unknown_threshold, aggregate) for key in sets}
    for number, (path, _) in enumerate(clips):
        waves: dict[frozenset[str], Float32] = {}
        spectra: dict[frozenset[str], _Spectra] = {}
        for key, on in sets.items():
            early = _EARLY.intersection(on)
            loading = early & {"sample_rate", "clip_steps"}
            if loading not in waves:
                waves[loading] = load(path, config, loading)
            if early not in spectra:
                spectra[early] = _spectra(waves[loading], config, early)
            answers[key].add(number, _finish(spectra[early], config, firmware, on))
        done(number + 1)
    target = torch.tensor([index for _, index in clips])
    trained = answers["trained"].judge(target)[0]
    return {key: answers[key].judge(target, trained)[1] for key in sets}


class _Answers:
    """The net's answers with one front end, gathered batch by batch."""

    def __init__(self, posteriors: Posteriors, unknown_threshold: float, aggregate: Aggregate) -> None:
        self.posteriors, self.unknown_threshold, self.aggregate = posteriors, unknown_threshold, aggregate
        self.waiting: list[Float32] = []
        self.outputs: list[Float32] = []
        self.answered: list[npt.NDArray[np.bool_]] = []
        self.clip: list[npt.NDArray[np.int64]] = []

    def add(self, clip: int, patches: ClipPatches) -> None:
        self.waiting.append(patches.patches)
        self.answered.append(patches.answered)
        self.clip.append(np.full(len(patches.patches), clip))
        if sum(map(len, self.waiting)) >= BATCH:
            self._ask()

    def _ask(self) -> None:
        if self.waiting:
            self.outputs.append(self.posteriors(np.concatenate(self.waiting)[:, None]))
            self.waiting = []

    def judge(self, target: Tensor, trained: Tensor | None = None) -> tuple[Tensor, Effect]:
        """Each clip's decision ``(num_clips,)``, -1 where it is unknown or there is no answer, and the accuracies."""
        self._ask()
        each, clip = torch.from_numpy(np.concatenate(self.outputs)), torch.from_numpy(np.concatenate(self.clip))
        answered = torch.from_numpy(np.concatenate(self.answered))
        decisions = self._decide(clip_posteriors(each[answered], clip[answered], len(target), self.aggregate))
        right = (self._decide(each) == target[clip]) & answered
        return decisions, Effect(
            clip_acc=float((decisions == target).double().mean()),
            patch_acc=float(right.double().mean()),
            answered=float(answered.double().mean()),
            answered_acc=float(right[answered].double().mean()) if answered.any() else None,
            changed_clips=0 if trained is None else int((decisions != trained).sum()),
            patches=len(each),
        )

    def _decide(self, posteriors: Tensor) -> Tensor:
        """The firmware's answer for each row, ``(rows,)``; a row of NaN, which has none, is unknown too."""
        exceeds = posteriors.amax(dim=1) > self.unknown_threshold
        return decide(posteriors).masked_fill(~exceeds, UNKNOWN_INDEX)
