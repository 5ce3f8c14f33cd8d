"""The clips of a split once more under noise, from afar, through small microphones: what a program still gets right."""

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.progress import track
from rich.table import Table

from aed.base.console import PlainConsole
from aed.base.errors import AedError
from aed.datamodules import PatchDataModule
from aed.datamodules.sources.events import EventSource
from aed.dsp import disturb
from aed.dsp.frontend import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.noise import coloured_noise
from aed.dsp.stream import clip_patches
from aed.dsp.waveform import Wave, load_clip, to_int16
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier
from aed.run.int8_programs import Device
from aed.run.model_data import SplitClips
from aed.run.split_scores import score_outputs
from aed.scoring import tables
from aed.scoring.pictures.robustness import plot_robustness
from aed.scoring.robustness import HEADER, UNDISTURBED, Outcome, rows_of

log = logging.getLogger(__name__)

DEVICE_BITS = 16
"""Of the samples after every disturbance, as a device's converter gives them."""


@dataclass(frozen=True)
class DisturbedClip:
    """A clip, and what disturbs it.

    Args:
        wave: The clip ``(T,)``, trimmed and repeated as in training.
        other: A clip of another class, which is not silent.
        frontend: Tells rate and patch hop.
        seed: Of the noise; the same at every level of noise.
    """

    wave: Wave
    other: Wave
    frontend: FrontendConfig
    seed: Sequence[int]

    def pink_noise(self, snr_db: float) -> npt.NDArray[np.floating]:
        """With pink noise."""
        generator, rate = np.random.default_rng(self.seed), self.frontend.sample_rate
        noise = coloured_noise(len(self.wave), rate, "pink", generator)
        return disturb.mixed(self.wave, noise, snr_db)

    def other_sound(self, snr_db: float) -> npt.NDArray[np.floating]:
        """With a clip of another class, from any sample on."""
        noise = disturb.other_sound(self.other, len(self.wave), np.random.default_rng(self.seed))
        return disturb.mixed(self.wave, noise, snr_db)

    def level(self, gain_db: float) -> npt.NDArray[np.floating]:
        """From farther away, or with less gain."""
        return disturb.amplified(self.wave, gain_db)

    def grid_offset(self, hops: float) -> npt.NDArray[np.floating]:
        """With patches that begin later by a share of their hop."""
        hop = self.frontend.patch_hop * self.frontend.hop_length
        return disturb.turned(self.wave, round(hops * hop))

    def microphone(self, name: str) -> npt.NDArray[np.floating]:
        """Through a small microphone."""
        return disturb.MICROPHONES[name](self.wave, self.frontend.sample_rate)

    def bits(self, number: int) -> npt.NDArray[np.floating]:
        """From a converter of few bits."""
        return disturb.rounded(self.wave, number)

    def over_full_scale(self, over_db: float) -> npt.NDArray[np.floating]:
        """Too loud for the converter."""
        return disturb.overdriven(self.wave, over_db)


@dataclass(frozen=True)
class Condition:
    """A disturbance of one strength.

    Args:
        name: Its kind and the unit of its value.
        value: How strong it is.
        disturb: What is done to a clip; None: nothing.
    """

    name: str
    value: float | str
    disturb: Callable[..., npt.NDArray[np.floating]] | None

    def heard(self, clip: DisturbedClip) -> Wave:
        """The samples of a device, as floats; of no disturbance the clip itself."""
        if self.disturb is None:
            return clip.wave
        return disturb.rounded(self.disturb(clip, self.value), DEVICE_BITS).astype(np.float32)


CONDITIONS = (
    Condition(UNDISTURBED, "", None),
    *(Condition("pink_noise_snr_db", value, DisturbedClip.pink_noise) for value in (20, 10, 5, 0)),
    *(Condition("other_sound_snr_db", value, DisturbedClip.other_sound) for value in (20, 10, 5, 0)),
    *(Condition("level_db", value, DisturbedClip.level) for value in (-12, -24, -36)),
    *(Condition("grid_offset_hops", value, DisturbedClip.grid_offset) for value in (0.333, 0.667)),
    *(Condition("microphone", name, DisturbedClip.microphone) for name in disturb.MICROPHONES),
    Condition("bits", 8, DisturbedClip.bits),
    *(Condition("over_full_scale_db", value, DisturbedClip.over_full_scale) for value in (6, 12)),
)
"""In the order of the report."""

Program = Callable[[Wave], npt.NDArray[np.float32]]
"""Outputs ``(patches, num_classes)`` of a clip's samples ``(T,)``."""


def check_data(module: PatchDataModule) -> None:
    """Refuses data whose clips cannot be disturbed one by one, or counted as right.

    Raises:
        AedError: Says why.
    """
    if module.multi_label:
        raise AedError("robustness=true: counts clips that are right, of models with one class a clip; use false")
    if isinstance(module.clips, EventSource):
        raise AedError(f"robustness=true: disturbs whole clips, {module.clips.name} has parts of recordings; use false")
    if (rate := module.frontend.sample_rate) < disturb.MIN_RATE_HZ:
        raise AedError(
            f"robustness=true: its microphones need frontend.sample_rate of at least {disturb.MIN_RATE_HZ} Hz, the "
            f"model's is {rate} Hz; use false"
        )


def program_of(classifier: Classifier, card: ModelCard, device: Device | None) -> Program:
    """A model in torch or ONNX Runtime, or its C code, as a function of samples.

    Args:
        classifier: The model.
        card: Its front end is the one to compute.
        device: Its C code; None: torch or ONNX Runtime.
    """
    if device is not None:
        return lambda wave: device.outputs(to_int16(wave))
    logmel = LogMel(card.frontend)
    return lambda wave: classifier.outputs(clip_patches(wave, np.arange(len(wave)), logmel).patches)


def outcomes_of(
    program: Program, card: ModelCard, clips: SplitClips, class_names: Sequence[str], seed: int, workers: int = 1
) -> list[Outcome]:
    """What a program gets right under every condition; that of the undisturbed clips first.

    Args:
        program: Of a single-label model.
        card: Of the model.
        clips: Each a recording of its own.
        class_names: In the order of the outputs.
        seed: Of noise, and of the choice of other sounds.
        workers: Calls of ``program`` at once.

    Raises:
        AedError: There is no clip of another class, or a clip cannot be read.
    """
    parts: list[list[npt.NDArray[np.float32]]] = [[] for _ in CONDITIONS]
    heard = track(_clips(card, clips, seed), "disturbed clips", len(clips.names), transient=True)
    with ThreadPoolExecutor(workers) as pool:
        for clip in heard:
            waves = [condition.heard(clip) for condition in CONDITIONS]
            for own, outputs in zip(parts, pool.map(program, waves), strict=True):
                own.append(outputs)
    _, targets = clips.recordings()
    outcomes = []
    for condition, own in zip(CONDITIONS, parts, strict=True):
        number = np.repeat(np.arange(len(own)), [len(part) for part in own])
        result = score_outputs(card, np.concatenate(own), targets[number], number, class_names)
        outcomes.append(Outcome.of(condition.name, condition.value, result.scores))
    return outcomes


def _clips(card: ModelCard, clips: SplitClips, seed: int) -> Iterator[DisturbedClip]:
    """The clips and, for each, one of another class."""
    files, targets = clips.recordings()
    for place, (path, number) in enumerate(zip(files, clips.indices, strict=True)):
        generator = np.random.default_rng((seed, number))
        others = generator.permutation(np.flatnonzero(targets != targets[place])).tolist()
        sounds = (load_clip(files[index], card.frontend) for index in others)
        other = next((sound for sound in sounds if sound.any()), None)
        if other is None:
            raise AedError(f"robustness: {clips.names[place]}: no clip of another class that is not silent")
        yield DisturbedClip(load_clip(path, card.frontend), other, card.frontend, (seed, number))


def write_robustness(folder: Path, prefix: str, outcomes: Sequence[Outcome], subject: str) -> None:
    """Writes ``<prefix>_robustness.csv`` and its picture, and prints the table.

    Args:
        folder: Of the evaluation.
        prefix: ``test``, ``test_int8``, ``test_c``, ...
        outcomes: That of the undisturbed clips first.
        subject: Model and data set.
    """
    place = folder / f"{prefix}_robustness.csv"
    tables.write_rows(place, HEADER, rows_of(outcomes))
    plot_robustness(folder / "plots" / f"{prefix}_robustness.png", outcomes, prefix, subject)
    PlainConsole().print(_table(prefix, outcomes))
    log.info("disturbed clips in %s", place)


def _table(prefix: str, outcomes: Sequence[Outcome]) -> Table:
    table, plain = Table(title=f"{prefix}: disturbed clips, accuracy in %"), outcomes[0]
    for head in ("", "right", "clips", "95 % interval", "change", "patches"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for each in outcomes:
        low, high = each.interval
        table.add_row(
            each.label,
            f"{each.clips_right} of {each.clips}",
            f"{100 * each.clip_acc:.2f}",
            f"{100 * low:.1f} .. {100 * high:.1f}",
            f"{100 * (each.clip_acc - plain.clip_acc):+.2f}",
            f"{100 * each.patch_acc:.2f}",
        )
    return table
