"""The programs of an int8 model besides ONNX Runtime: its C code here or on an emulated board, and ST's code."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from rich.progress import track

from aed.datamodules.patches import PatchDataset
from aed.dsp.waveform import load_clip, to_int16
from aed.export.card import ModelCard
from aed.export.runtime import onnx_runtime_on
from aed.inference.onnx import OnnxClassifier
from aed.run.split_scores import Result, chunks, score_outputs
from aed.scoring import tables
from aed.target.boards import Board
from aed.target.emulator.device import EmulatedDevice
from aed.target.host import GatedOutputs, HostDevice
from aed.target.stedgeai.classifier import StClassifier

log = logging.getLogger(__name__)


class Device(Protocol):
    """Front end and net in C as a function of samples."""

    workers: int
    """Clips it can process at once."""

    def outputs(self, samples: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
        """Outputs for each patch of a clip ``(T,)``: ``(patches, num_outputs)``."""

    def decisions(self, samples: npt.NDArray[np.int16]) -> GatedOutputs:
        """The same of a stream under a gate, and for which patches the net ran."""


def with_device_samples(card: ModelCard) -> ModelCard:
    """The card with features of 16-bit samples, so that ONNX Runtime and C compute them of the same input."""
    if card.frontend.sample_bits is not None:
        return card
    log.info(
        "the model's features are of float samples, the C code reads 16 bits: ONNX Runtime is therefore scored on "
        "16-bit samples too (frontend.sample_bits=16)"
    )
    return replace(card, frontend=replace(card.frontend, sample_bits=16))


def build_devices(
    classifier: OnnxClassifier, card: ModelCard, folder: Path, board: Board | None, gate: int | None = None
) -> dict[str, Device]:
    """``c``, the C code compiled for this machine, and ``emulator``, for an emulated board if one is passed.

    Args:
        classifier: int8.
        card: Its front end is compiled, too.
        folder: For sources and programs.
        board: Emulated.
        gate: Power of a column under which a patch is not given to the net; None: all are.

    Raises:
        AedError: Front end or net cannot be written in C, or a tool is missing.
    """
    with onnx_runtime_on(classifier.path):
        devices: dict[str, Device] = {"c": HostDevice(folder / "host", classifier.model, card.frontend, gate=gate)}
        if board is not None:
            devices["emulator"] = EmulatedDevice(folder / "board", classifier.model, card.frontend, board, gate=gate)
    return devices


def score_device(
    device: Device, card: ModelCard, files: Sequence[Path], targets: npt.NDArray[Any], class_names: Sequence[str]
) -> Result:
    """The result of C code for whole clips, whose features are computed by C, too.

    Args:
        device: Front end and net.
        card: Of the model.
        files: The clips.
        targets: ``(num_clips,)`` or ``(num_clips, num_classes)``.
        class_names: In the order of the outputs.
    """

    def outputs(path: Path) -> npt.NDArray[np.float32]:
        return device.outputs(to_int16(load_clip(path, card.frontend)))

    with ThreadPoolExecutor(device.workers) as pool:
        parts = list(track(pool.map(outputs, files), f"C: {len(files)} clips", len(files), transient=True))
    clip = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return score_outputs(card, np.concatenate(parts), targets[clip], clip, class_names)


def score_on_board(program: StClassifier, data: PatchDataset, class_names: Sequence[str], folder: Path) -> Result:
    """The result of ST's code for a split; its report is written to ``folder/target/stedgeai``.

    Args:
        program: Model, tool and board.
        data: The split.
        class_names: In the order of the outputs.
        folder: To write to.

    Raises:
        AedError: The tool or the board fails.
    """
    folder = folder / "target" / "stedgeai" / program.board.name
    patches = np.concatenate(list(chunks(data)))
    validation = program.tool.compare(program.path, program.board, folder, patches)
    tables.write_json(folder / "report.json", {"model": program.path.name} | validation.report.content())
    return score_outputs(program.card, validation.outputs, data.patch_targets, data.clip, class_names)
