"""The clips of a split once more under noise, from afar, through small microphones: what a program still gets right."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from aed.dsp.logmel import LogMel
from aed.dsp.stream import clip_patches
from aed.dsp.waveform import load_clip, to_int16
from aed.export.card import ModelCard
from aed.inference.classifier import Classifier
from aed.run.disturbances import CONDITIONS, DisturbedClip, Program
from aed.run.int8_programs import Device
from aed.run.model_data import SplitClips
from aed.run.split_scores import score_outputs
from aed.scoring import tables
from aed.scoring.pictures.robustness import plot_robustness
from aed.scoring.robustness import HEADER, EventsFound, Outcome, rows_of

log = logging.getLogger(__name__)


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
        wave = load_clip(path, card.frontend)
        yield DisturbedClip(wave=wave, frontend=card.frontend, seed=(seed, number), other=other)


def write_robustness(folder: Path, prefix: str, outcomes: Sequence[Outcome], subject: str) -> None:
    """Writes ``<prefix>_robustness.csv`` and its picture, and prints a table of clips and one of streams.

    Args:
        folder: Of the evaluation.
        prefix: ``test``, ``test_int8``, ``test_c``, ...
        outcomes: That of the undisturbed clips first.
        subject: Model and data set.
    """
    place = folder / f"{prefix}_robustness.csv"
    tables.write_rows(place, HEADER, rows_of(outcomes))
    plot_robustness(folder / "plots" / f"{prefix}_robustness.png", outcomes, prefix, subject)
    console = PlainConsole()
    console.print(_table(prefix, outcomes))
    if found := {each.label: each.events for each in outcomes if each.events}:
        console.print(_streams_table(prefix, found))
    log.info("what was disturbed in %s", place)


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


def _streams_table(prefix: str, found: Mapping[str, EventsFound]) -> Table:
    number = next(iter(found.values())).events
    table = Table(title=f"{prefix}: disturbed streams, % found of {number} events, and false alarms")
    for head in ("", "found", "95 % interval", "confused", "background"):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for label, own in found.items():
        interval = f"{100 * own.interval[0]:.1f} .. {100 * own.interval[1]:.1f}" if own.interval else ""
        table.add_row(label, f"{100 * own.recall:.1f}", interval, str(own.confused), str(own.background))
    return table
