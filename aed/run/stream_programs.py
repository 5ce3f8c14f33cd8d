"""What hears a stream as a model's file does: its C code, on this machine and on an emulated board."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from aed.audio.audio_file import AudioFile
from aed.base.errors import AudioError
from aed.base.files import temporary_folder
from aed.dsp.gate import column_powers, patch_powers
from aed.dsp.stream import resampled
from aed.dsp.waveform import mono, to_int16
from aed.inference.classifier import Classifier, to_event_posteriors
from aed.inference.detection import Decisions, Detector
from aed.inference.prediction import BLOCK_S
from aed.run.annotated import Program
from aed.run.int8_programs import Device, build_devices, with_device_samples
from aed.run.program_choice import choose_board, int8_graph
from aed.scoring.rule import EventRule


@contextmanager
def c_programs(
    classifier: Classifier, rule: EventRule, board: str | None
) -> Iterator[tuple[Detector, dict[str, Program]]]:
    """The detector, and by name what hears as it does: ``runtime``, ``c`` and, for a board, ``emulator``.

    Args:
        classifier: int8.
        rule: Of its events.
        board: To emulate; None: C on this machine alone.

    Raises:
        AedError: The model has no C form, or a tool is missing.
    """
    on = "c" if board is None else "emulator"
    target, int8 = choose_board(on, board or ""), int8_graph(classifier, on)
    int8.card = with_device_samples(int8.card)
    detector = Detector(int8, rule)
    with temporary_folder() as build:
        devices = build_devices(int8, int8.card, build, target, detector.gate)
        programs: dict[str, Program] = {"runtime": detector.decisions}
        yield detector, programs | {name: _Listener(detector, device) for name, device in devices.items()}


class _Listener:
    """A device that listens to whole recordings.

    Args:
        detector: Of the same model.
        device: Its front end and net in C.
    """

    def __init__(self, detector: Detector, device: Device) -> None:
        self.detector, self.device = detector, device

    def __call__(self, name: str) -> Decisions:
        """The decisions of a recording."""
        card = self.detector.card
        rate = card.frontend.sample_rate
        with AudioFile(Path(name)) as file:
            blocks = map(mono, file.blocks(int(BLOCK_S * file.rate)))
            parts = [to_int16(block) for block in resampled(blocks, file.rate, rate)]
        samples = np.concatenate([*parts, np.zeros(0, np.int16)])
        outputs, is_open = self.device.decisions(samples)
        if not len(outputs):
            raise AudioError(f"{name}: shorter than one patch ({self.detector.patch_s:.2f} s)")
        first = np.arange(len(outputs)) * card.frontend.patch_hop
        posteriors = np.where(is_open[:, None], to_event_posteriors(card, outputs), np.float32(0))
        power = patch_powers(column_powers(samples, card.frontend), first, card.frontend)
        return Decisions(posteriors, first * card.frontend.hop_length / rate, is_open, power)
