"""An ONNX model as a classifier: float or int8, of this package with a card or a user's without one."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.export.card import ModelCard
from aed.export.embedding import EMBEDDING, embedding_size
from aed.export.graph import constants, copy_of, input_of, producers, readers
from aed.export.runtime import onnx_runtime_on, open_session, run_all
from aed.inference.classifier import BATCH, Classifier
from aed.scoring.decision import Task, check_num_outputs, checked_class_names

log = logging.getLogger(__name__)

Outputs = Literal["logits", "probabilities"]
Array = npt.NDArray[np.float32]

RUN_TOGETHER = 4
"""Patches of a run: the activations of more leave the caches."""


class OnnxClassifier(Classifier):
    """An ONNX model; the file is only read.

    Args:
        model: The graph, which is left as it is.
        card: Its card, or one of the user's description.
        path: Of its file, for messages.
        threads: CPU threads; 0: as many as torch.

    Attributes:
        model: The graph.

    Raises:
        AedError: It does not fit its card, or ONNX Runtime cannot run it.
    """

    def __init__(self, model: onnx.ModelProto, card: ModelCard, path: Path, threads: int = 0) -> None:
        self.path, self.card, self.model = path, card, model
        self.channels_last = _is_channels_last(model, card.frontend, path)
        self.session, self.max_batch = open_batch(model, path)
        self.threads = threads
        first = self.session.get_inputs()[0]
        self.input_name, self.input_type = first.name, first.type
        check_num_outputs(_num_classes(model, path), card.class_names, str(path))
        if (has := embedding_size(model)) != (need := card.decision.nearness.size if card.decision.nearness else 0):
            raise AedError(f"{path}: an embedding of {has} values, its card needs {need}; export it anew")
        self.embedding_step = _embedding_step(model) if has else (1.0, 0)
        if self.input_type not in _DTYPES:
            raise AedError(f"{path}: input of type {self.input_type}; need one of {sorted(_DTYPES)}")
        if self.input_type == "tensor(int8)" and (card.quantization is None or card.quantization.io == "float"):
            raise AedError(f"{path}: int8 input without scale and zero point; a model card gives them")
        self.kind = "int8" if any(node.op_type in _INT8_OPS for node in model.graph.node) else "float"

    def outputs(self, patches: Array) -> Array:
        """Outputs of the graph, dequantised; of an int8 model the embedding in steps from its zero point on."""
        if self.channels_last:
            patches = patches.transpose(0, 2, 3, 1)
        feed = self._quantise(patches) if self.input_type == "tensor(int8)" else patches
        with onnx_runtime_on(self.path):
            feeds = [{self.input_name: part} for part in batches(feed, self.max_batch)]
            parts = run_all(self.session, feeds, threads=self.threads)
        first, *embedding = (np.concatenate(part)[: len(patches)] for part in zip(*parts, strict=True))
        return np.concatenate([self._dequantise(first), *map(self._in_steps, embedding)], axis=1)

    def _in_steps(self, embedding: npt.NDArray[Any]) -> Array:
        scale, zero = self.embedding_step
        if embedding.dtype == np.int8:
            return embedding.astype(np.float32) - np.float32(zero)
        if scale == 1:
            return embedding.astype(np.float32)
        return np.rint(embedding.astype(np.float64) / scale).astype(np.float32)

    def _end(self, name: str) -> tuple[float, int]:
        """Scale and zero point of an int8 ``input`` or ``output``, from the card."""
        facts = self.card.quantization
        return float(getattr(facts, f"{name}_scale")), int(getattr(facts, f"{name}_zero_point"))

    def _quantise(self, patches: Array) -> npt.NDArray[np.int8]:
        scale, zero = self._end("input")
        steps = np.rint(patches / np.float32(scale)) + zero
        clipped: npt.NDArray[np.int8] = np.clip(steps, -128, 127).astype(np.int8)
        return clipped

    def _dequantise(self, outputs: npt.NDArray[Any]) -> Array:
        if outputs.dtype != np.int8:
            return outputs.astype(np.float32)
        scale, zero = self._end("output")
        real: Array = np.float32(scale) * (outputs.astype(np.float32) - np.float32(zero))
        return real


_DTYPES = {"tensor(float)": np.float32, "tensor(int8)": np.int8}
_INT8_OPS = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul"}


def _is_channels_last(model: onnx.ModelProto, frontend: FrontendConfig, path: Path) -> bool:
    """Whether the input is (N, n_mels, frames, 1) rather than (N, 1, n_mels, frames)."""
    try:
        value = input_of(model)
    except AedError as error:
        raise AedError(f"{path}: {error}") from error
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim][1:]
    size = [frontend.n_mels, frontend.patch_frames]
    if shape not in ([1, *size], [*size, 1]):
        raise AedError(
            f"{path}: this front end gives patches of shape (N, 1, {size[0]}, {size[1]}) or "
            f"(N, {size[0]}, {size[1]}, 1), the model takes (N, {', '.join(map(str, shape))}); choose another frontend="
        )
    return shape == [*size, 1]


def _num_classes(model: onnx.ModelProto, path: Path) -> int:
    """Second axis of the one output beside the embedding."""
    outputs = [value for value in model.graph.output if value.name != EMBEDDING or not embedding_size(model)]
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] < 1:
        raise AedError(f"{path}: needs one output of shape (N, classes), got {shapes}")
    return int(shapes[0][1])


def _embedding_step(model: onnx.ModelProto) -> tuple[float, int]:
    """Scale and zero point of the embedding of an int8 graph; 1 and 0 of a float one."""
    made = producers(model).get(EMBEDDING)
    if made is None or made.op_type != "DequantizeLinear":  # int8 ends: the dense layer's own has them
        made = next((node for node in readers(model).get(EMBEDDING, []) if node.op_type == "DequantizeLinear"), None)
    if made is None:
        return 1.0, 0
    arrays = constants(model)
    return float(arrays[made.input[1]]), int(arrays[made.input[2]])


def open_foreign(
    model: onnx.ModelProto,
    path: Path,
    frontend: FrontendConfig | None,
    class_names: tuple[str, ...] | None,
    threads: int = 0,
    outputs: Outputs | None = None,
    task: Task | None = None,
) -> OnnxClassifier:
    """A model that has no card.

    Args:
        model: A user's.
        path: Of its file, for messages.
        frontend: From recording to patch.
        class_names: In the order of the outputs; default: ``class_0``, ...
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        outputs: None: probabilities where it ends in a softmax or sigmoid, or where its outputs for trial patches are
            all in [0, 1], else logits.
        task: Of the data; None: one class a clip; a model with one output detects that class.

    Raises:
        AedError: No front end is passed, or the model cannot be used.
    """
    if frontend is None:
        raise AedError(f"{path}: no model card inside; say how patches are computed, e.g. frontend=yamnet_64x96")
    names = class_names or tuple(f"class_{number}" for number in range(_num_classes(model, path)))
    names = checked_class_names(names)
    card = ModelCard(
        frontend=frontend,
        class_names=names,
        outputs=outputs or "logits",
        task=task or ("multi_label" if len(names) == 1 else "single_label"),
    )
    opened = OnnxClassifier(model, card, path, threads)
    if outputs is None:
        reason = _why_probabilities(opened, _last_operator(model))
        if reason:
            opened.card = replace(card, outputs="probabilities")
        log.info(
            "%s: no model card; outputs are treated as %s%s",
            path,
            opened.card.outputs,
            f": {reason}" if reason else ", for they are not all in [0, 1]",
        )
    return opened


def _why_probabilities(classifier: OnnxClassifier, last: str) -> str | None:
    """Why outputs are treated as probabilities; None: they are treated as logits.

    Args:
        classifier: Of a model without a card; tried.
        last: Its last operator.
    """
    import torch

    from aed.modules.outputs import forms, trial_patches  # here: a model with a card is opened without torch

    frontend = classifier.card.frontend
    patches = trial_patches(BATCH, frontend.n_mels, frontend.patch_frames, frontend.silence)
    tried = torch.from_numpy(classifier.outputs(patches.numpy()))
    if last in ("Softmax", "Sigmoid", "HardSigmoid"):
        return f"it ends in {last}"
    return "those of trial patches are all in [0, 1]" if "sigmoid" in forms(tried) else None


def _last_operator(model: onnx.ModelProto) -> str:
    """The last operator before those that only convert or move its output; "": there is none."""
    producer = {name: node for node in model.graph.node for name in node.output}
    node = producer.get(model.graph.output[0].name)
    moving = ("DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
    while node is not None and node.op_type in moving:
        node = producer.get(node.input[0])
    return node.op_type if node is not None else ""


def batches(feed: npt.NDArray[Any], fixed: int | None) -> Iterator[npt.NDArray[Any]]:
    """Parts of ``(B, ...)`` for a session of :func:`open_batch`; the last is filled up with zeros where need be.

    Args:
        feed: What it is fed.
        fixed: Size of its batch; None: any.
    """
    step = fixed or RUN_TOGETHER
    for first in range(0, len(feed), step):
        part = feed[first : first + step]
        if fixed and len(part) < step:  # a graph of a fixed batch takes no less
            part = np.concatenate([part, np.zeros((step - len(part), *part.shape[1:]), part.dtype)])
        yield np.ascontiguousarray(part)


def open_batch(model: onnx.ModelProto, path: Path) -> tuple[Any, int | None]:
    """A session with an open batch size where the graph allows it, else with the model's own; and that size.

    Args:
        model: Left as it is.
        path: Of its file, for messages.

    Raises:
        AedError: ONNX Runtime cannot run it.
    """
    free = copy_of(model)
    for value in (input_of(free), *free.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    try:
        session = open_session(free)
        first = session.get_inputs()[0]
        random = np.random.default_rng(0).uniform(-9, 3, [2, *first.shape[1:]])
        probe = random.astype(_DTYPES.get(first.type, np.float32))
        both = session.run(None, {first.name: probe})[0]
        alone = [session.run(None, {first.name: one[None]})[0] for one in probe]
        if np.allclose(both, np.concatenate(alone), rtol=1e-4, atol=1e-4):
            return session, None
    except Exception:  # a Reshape to batch 1, say: then one patch at a time
        pass
    with onnx_runtime_on(path):
        session = open_session(model)
    size = session.get_inputs()[0].shape[0]
    return session, size if isinstance(size, int) else None
