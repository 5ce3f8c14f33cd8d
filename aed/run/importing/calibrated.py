"""An imported float model in int8, its ranges fixed by recordings."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aed.base.errors import AedError, AudioError
from aed.base.spacing import evenly
from aed.export import fidelity
from aed.export.graph import graph_sha256
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.inference.files import find_files
from aed.inference.onnx import OnnxClassifier
from aed.inference.prediction import Predictor
from aed.run.importing.written import Ready

log = logging.getLogger(__name__)

Patches = npt.NDArray[np.float32]


def to_int8(file: Path, ready: Ready, recordings: str) -> Ready:
    """A float model in int8, its ranges by recordings, half of which only tell how well it went.

    Args:
        file: That was imported.
        ready: Float, with its graph.
        recordings: A file, folder or glob.

    Raises:
        AedError: It is int8 already, or there are not enough recordings.
    """
    if ready.card.quantization is not None or ready.graph is None:
        raise AedError(f"calibrate={recordings}: {file} is int8 already, with its own steps; leave calibrate out")
    config = QuantizeConfig()
    classifier = OnnxClassifier(ready.graph, ready.card, file)
    by_recording = _patches(Predictor(classifier, mode="clip"), recordings, 2 * config.n_calibration)
    names = sorted(by_recording)
    used, judging = names[::2], names[1::2]
    patches, others = (_some(by_recording, part, config.n_calibration) for part in (used, judging))
    graph = quantize(ready.graph, patches, config)
    card = replace(
        ready.card,
        float_sha256=graph_sha256(ready.graph),
        quantization=quantization_facts(graph, config, tuple(Path(name).name for name in used)),
    )
    if len(others):
        in_float, in_int8 = (fidelity.outputs(model, others).argmax(axis=1) for model in (ready.graph, graph))
        log.info(
            "int8: %d patches of %d recordings fixed its ranges; it names the class that float names on %.1f %% of %d "
            "patches of the other recordings",
            len(patches), len(used), 100 * float((in_float == in_int8).mean()), len(others),
        )  # fmt: skip
    return Ready(card=card, graph=graph)


def _patches(predictor: Predictor, recordings: str, most: int) -> dict[str, Patches]:
    """Patches of each recording, as clips; those that cannot be used are named and left out."""
    files = find_files([recordings])
    files = [files[index] for index in evenly(len(files), most)]
    found: dict[str, Patches] = {}
    for name in files:
        try:
            parts = [timed.patches for timed in predictor.patches(name)]
        except AudioError as error:
            log.warning("left out: %s", error)
            continue
        found[name] = np.concatenate(parts)
    if not found:
        raise AedError(f"calibrate={recordings}: none of {len(files)} recordings can be used")
    if len(found) < len(files):
        log.warning("%d of %d recordings could not be used", len(files) - len(found), len(files))
    return found


def _some(by_recording: dict[str, Patches], names: list[str], most: int) -> Patches:
    """At most ``most`` patches, as many of each recording as can be, evenly over it."""
    if not names:
        return np.zeros((0,), np.float32)
    share = -(-most // len(names))
    parts = [by_recording[name][evenly(len(by_recording[name]), share)] for name in names]
    patches = np.concatenate(parts)
    return patches[evenly(len(patches), most)]
