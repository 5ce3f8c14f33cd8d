"""A TensorFlow Lite model as an ONNX file with a model card: of an int8 file with its own int8 steps."""

import logging
from pathlib import Path
from typing import Any

import onnx

from aed.base.errors import AedError
from aed.dsp.frontend import PRESETS, FrontendConfig
from aed.export.card import ModelCard, Quantization
from aed.export.graph import constants, input_of, producers, readers
from aed.export.tflite import convert, patch_of
from aed.inference.onnx import OnnxClassifier
from aed.modules.weights.tflite import label_files
from aed.modules.weights.tflite_file import TfliteGraph
from aed.run.importing.names import Given, check_number
from aed.run.importing.written import Ready, origin, unknown_data

log = logging.getLogger(__name__)


def from_tflite(file: Path, given: Given) -> Ready:
    """A TensorFlow Lite model, ready to be written.

    Args:
        file: ``.tflite``, int8 or float.
        given: Its front end, and its class names; by default those of a list of labels inside the file.

    Raises:
        AedError: The file is no such model, has operators without counterpart, or its classes or patches do not fit.
    """
    graph = TfliteGraph.read(file)
    size = patch_of(graph)
    if given.frontend is None:
        raise AedError(f"{file}: does not say how its patches of {size[0]} x {size[1]} are computed; {_advice(size)}")
    converted = convert(graph, _is_turned(file, size, given.frontend))
    names = given.names or _labels(file, converted.num_classes)
    check_number(file, names, converted.num_classes)
    kind = "int8" if converted.is_int8 else "float"
    card = ModelCard(
        frontend=given.frontend,
        class_names=names,
        task=converted.task,
        data=unknown_data(file),
        weights=origin(file, f"a TensorFlow Lite model, {kind}, imported"),
        quantization=_quantization(converted.model, file) if converted.is_int8 else None,
    )
    OnnxClassifier(converted.model, card, file)  # ONNX Runtime takes it
    log.info("%s: %s, %d operators, %s", file, kind, len(graph.operators), converted.task)
    if converted.has_posteriors:
        log.info("its softmax or sigmoid is left out: posteriors are computed from the logits")
    if card.quantization is not None:
        _compare_ranges(card.quantization, given.frontend)
    return Ready(card=card, graph=converted.model)


def _advice(size: tuple[int, int]) -> str:
    fitting = [
        f"frontend={name}"
        for name, preset in PRESETS.items()
        if size in ((preset.n_mels, preset.patch_frames), (preset.patch_frames, preset.n_mels))
    ]
    return f"give {' or '.join(['st_config=user_config.yaml', *fitting, 'frontend=... with its parameters'])}"


def _is_turned(file: Path, size: tuple[int, int], frontend: FrontendConfig) -> bool:
    """Whether the file takes (frames, mels)."""
    computed = frontend.n_mels, frontend.patch_frames
    if size not in (computed, computed[::-1]):
        raise AedError(
            f"{file}: takes patches of {size[0]} x {size[1]}, the front end computes {computed[0]} mel bands and "
            f"{computed[1]} frames; {_advice(size)}"
        )
    return size != computed


def _labels(file: Path, num_classes: int) -> tuple[str, ...]:
    """The one list of labels inside the file that is as long as its outputs; () if there is none."""
    fitting = [names for names in label_files(file) if len(names) == num_classes == len(set(names))]
    if fitting:
        log.info("%s: its own labels", file)
    return fitting[0] if len(fitting) == 1 else ()


def _quantization(model: onnx.ModelProto, file: Path) -> Quantization:
    arrays = constants(model)
    first, last = readers(model)[input_of(model).name][0], producers(model)[model.graph.output[0].name]
    ends: dict[str, Any] = {}
    for name, node in (("input", first), ("output", last)):
        ends |= {f"{name}_scale": float(arrays[node.input[1]]), f"{name}_zero_point": int(arrays[node.input[2]])}
    return Quantization(scheme={"imported": file.name}, calibration_clips=(), io="float", **ends)


def _compare_ranges(steps: Quantization, frontend: FrontendConfig) -> None:
    """Warns where silence is outside the range of the input: the model was then calibrated on other features."""
    assert steps.input_scale is not None and steps.input_zero_point is not None
    low, high = (steps.input_scale * (end - steps.input_zero_point) for end in (-128, 127))
    log.info("its input takes features from %.3g to %.3g; silence is %.3g", low, high, frontend.silence)
    if not low - 0.1 * (high - low) <= frontend.silence <= high:
        log.warning("frontend: silence is outside that range; was it calibrated with another front end?")
