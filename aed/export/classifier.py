"""One face for every kind of model: a checkpoint, an ONNX file, float or int8, ours or a user's."""

import functools
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from aed.dsp.decision import Task, check_num_outputs, checked_class_names
from aed.dsp.frontend import FrontendConfig
from aed.errors import AedError
from aed.export.card import ModelCard, read_card
from aed.export.graph import QDQ, constants, copy_of, input_of, load_model, strip_ends
from aed.modules.checkpoint import Trained
from aed.modules.outputs import forms, trial_patches

log = logging.getLogger(__name__)

Outputs = Literal["logits", "probabilities"]
Array = npt.NDArray[np.float32]

BATCH = 32
"""Patches at once where a model takes any number."""


MOVABLE = {"QuantizeLinear", "DequantizeLinear", "Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "MaxPool"}
MOVABLE |= {"GlobalAveragePool", "Concat", "Flatten", "Reshape", "Transpose", "Pad", "Identity"}
"""Operators that ONNX Runtime computes alike for uint8 and int8; its AveragePool rounds ties otherwise."""


ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""ONNX Runtime's exceptions; they have no common base class."""


@contextmanager
def onnx_runtime_on(path: Path | str) -> Iterator[None]:
    """Says of which model's file ONNX Runtime complains, as an AedError of one line."""
    try:
        yield
    except ORT_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise AedError(f"{path}: ONNX Runtime cannot run it: {lines[0]}") from error


def open_session(model: onnx.ModelProto, threads: int = 0) -> Any:
    """An ONNX Runtime session whose int8 results are those of exact integer arithmetic.

    x86 multiplies uint8 with int8 ten times as fast as int8 with int8. So activations inside the graph are moved by
    128, which changes no result, except on CPUs without VNNI, which saturate 16-bit sums, and in operators outside
    :data:`MOVABLE`; these are computed the slow way.

    Args:
        model: Float or QDQ; left as it is.
        threads: CPU threads; 0: as many as torch.
    """
    movable = {node.op_type for node in model.graph.node} <= MOVABLE
    if not (movable and _adds_exactly()):
        return _session(model, threads, exact=True)
    try:
        return _session(_in_uint8(model), threads, exact=False)
    except Exception:  # a graph of other makers that moves int8 about in a way unknown here
        return _session(model, threads, exact=True)


def open_exact(model: onnx.ModelProto) -> Any:
    """The session that C code is held against: int8 in and out, exact integer arithmetic.

    Args:
        model: QDQ, with float or int8 ends; left as it is.
    """
    is_float = input_of(model).type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    return _session(strip_ends(model) if is_float else model, 0, exact=True)


def _in_uint8(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with uint8 where it has int8 activations; its input and output stay as they are."""
    twin = copy_of(model)
    arrays = constants(twin)
    outputs = {value.name for value in twin.graph.output}
    inside = {node.output[0] for node in twin.graph.node if node.op_type == "QuantizeLinear"} - outputs
    # what only moves integers about
    for node in twin.graph.node:
        if node.op_type in ("Flatten", "Reshape", "Transpose") and node.input[0] in inside:
            inside.add(node.output[0])
    moved: set[str] = set()
    for node in twin.graph.node:
        held = node.output[0] if node.op_type == "QuantizeLinear" else node.input[0]
        if node.op_type in QDQ and held in inside and len(node.input) > 2:
            zero = arrays.get(node.input[2])
            if zero is None or zero.dtype != np.int8:
                continue
            name = f"{node.input[2]}.uint8"
            if name not in moved:
                moved.add(name)
                shifted = (zero.astype(np.int16) + 128).astype(np.uint8)
                twin.graph.initializer.append(numpy_helper.from_array(shifted, name))
            node.input[2] = name
    return twin


def _session(model: onnx.ModelProto, threads: int, exact: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@functools.cache
def _adds_exactly() -> bool:
    """Whether this CPU multiplies uint8 with int8 without saturating: the largest values through one layer."""
    side = 64
    ends = {"scale": np.float32(1), "zero": np.int8(-128), "weight": np.full((1, side, 1, 1), 127, np.int8)}
    ends |= {"wide": np.float32(2 * 127 * side), "none": np.int8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["given", "scale", "zero"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "scale", "zero"], ["b"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "none"], ["w"]),
        helper.make_node("Conv", ["b", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "wide", "none"], ["d"]),
        helper.make_node("DequantizeLinear", ["d", "wide", "none"], ["made"]),
    ]
    given = helper.make_tensor_value_info("given", onnx.TensorProto.FLOAT, [1, side, 2, 2])
    made = helper.make_tensor_value_info("made", onnx.TensorProto.FLOAT, [1, 1, 2, 2])
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in ends.items()]
    graph = helper.make_graph(nodes, "probe", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feed = {"given": np.full((1, side, 2, 2), 255, np.float32)}
    sessions = _session(_in_uint8(model), 1, exact=False), _session(model, 1, exact=True)
    return bool(np.array_equal(*(session.run(None, feed)[0] for session in sessions)))


class Classifier(ABC):
    """Posteriors of patches.

    Attributes:
        path: The model's file.
        card: What is known of it.
        kind: ``float`` or ``int8``.
    """

    path: Path
    card: ModelCard
    kind: str

    @abstractmethod
    def outputs(self, patches: Array) -> Array:
        """What the model gives for patches ``(B, 1, n_mels, patch_frames)`` float32: ``(B, num_classes)`` float32."""

    def posteriors(self, patches: Array) -> Array:
        """Posteriors ``(B, num_classes)`` float32 of patches ``(B, 1, n_mels, patch_frames)`` float32."""
        return to_posteriors(self.card, self.outputs(patches))


def to_posteriors(card: ModelCard, outputs: Array) -> Array:
    """Posteriors ``(B, num_classes)`` of a model's outputs, same shape.

    Raises:
        AedError: Some are NaN.
    """
    posteriors: Array = outputs
    if card.outputs == "logits":
        posteriors = card.decision.posteriors(torch.from_numpy(outputs), card.task).numpy()
    if wrong := int(np.isnan(posteriors).any(axis=1).sum()):
        raise AedError(
            f"the model gives NaN, or infinite logits, for {wrong} of {len(posteriors)} patches: its weights are too "
            "large for what it computes; train or export it anew"
        )
    return posteriors


class TorchClassifier(Classifier):
    """A checkpoint of this project.

    Args:
        path: The ``.ckpt``.
        net_class: Class of its net that the user names, where that is one of his.

    Raises:
        AedError: It is none.
    """

    kind = "float"

    def __init__(self, path: Path, net_class: str | None = None) -> None:
        trained = Trained.load(path, net_class)
        self.path, self.net = path, trained.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.card = ModelCard(
            frontend=trained.frontend,
            class_names=trained.class_names,
            task=trained.task,
            decision=trained.decision,
            data=trained.data,
            weights=trained.weights,
        )

    @torch.no_grad()
    def outputs(self, patches: Array) -> Array:
        """Logits."""
        parts = torch.split(torch.from_numpy(np.ascontiguousarray(patches)), BATCH)
        logits: Array = torch.cat([self.net(part) for part in parts]).numpy()
        return logits


class OnnxClassifier(Classifier):
    """An ONNX model; the file is only read.

    Args:
        model: The model.
        card: What is known of it.
        path: Where it is from, for messages.
        threads: CPU threads; 0: as many as torch.

    Raises:
        AedError: It does not fit its card, or ONNX Runtime cannot run it.
    """

    def __init__(self, model: onnx.ModelProto, card: ModelCard, path: Path, threads: int = 0) -> None:
        self.path, self.card = path, card
        self.channels_last = _is_channels_last(model, card.frontend, path)
        self.session, self.max_batch = _open_batch(model, path, threads)
        given = self.session.get_inputs()[0]
        self.input_name, self.input_type = given.name, given.type
        check_num_outputs(_num_classes(model, path), card.class_names, str(path))
        if self.input_type not in _DTYPES:
            raise AedError(f"{path}: input of type {self.input_type}; need one of {sorted(_DTYPES)}")
        if self.input_type == "tensor(int8)" and (card.quantization is None or card.quantization.io != "int8"):
            raise AedError(f"{path}: int8 input without scale and zero point; a model card gives them")
        self.kind = "int8" if any(node.op_type in _INT8_OPS for node in model.graph.node) else "float"

    def outputs(self, patches: Array) -> Array:
        """What the graph gives, dequantised."""
        if self.channels_last:
            patches = patches.transpose(0, 2, 3, 1)
        feed = self._quantise(patches) if self.input_type == "tensor(int8)" else patches
        with onnx_runtime_on(self.path):
            parts = [self.session.run(None, {self.input_name: part})[0] for part in self._batches(feed)]
        return self._dequantise(np.concatenate(parts)[: len(patches)])

    def _batches(self, feed: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
        step = self.max_batch or BATCH
        for first in range(0, len(feed), step):
            part = feed[first : first + step]
            if self.max_batch and len(part) < step:  # a graph of a fixed batch takes no less
                part = np.concatenate([part, np.zeros((step - len(part), *part.shape[1:]), part.dtype)])
            yield np.ascontiguousarray(part)

    def _end(self, name: str) -> tuple[float, int]:
        """Scale and zero point of an int8 end, which the card gave."""
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
        given = input_of(model)
    except AedError as error:
        raise AedError(f"{path}: {error}") from error
    shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim][1:]
    size = [frontend.n_mels, frontend.patch_frames]
    if shape not in ([1, *size], [*size, 1]):
        raise AedError(
            f"{path}: this front end gives patches of shape (N, 1, {size[0]}, {size[1]}) or "
            f"(N, {size[0]}, {size[1]}, 1), the model takes (N, {', '.join(map(str, shape))}); choose another frontend="
        )
    return shape == [*size, 1]


def _num_classes(model: onnx.ModelProto, path: Path) -> int:
    """Second axis of the one output."""
    shapes = [[dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in model.graph.output]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] < 1:
        raise AedError(f"{path}: needs one output of shape (N, classes), got {shapes}")
    return int(shapes[0][1])


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
        path: Where it is from, for messages.
        frontend: How patches are made.
        class_names: In the order of the outputs; default: ``class_0``, ...
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        outputs: What it gives; None: probabilities, where it ends in a softmax or sigmoid, or where its outputs for
            trial patches are all in [0, 1].
        task: Of the data; None: one class a clip, but of a model with one output whether it is heard.

    Raises:
        AedError: There is no front end, or it cannot be used.
    """
    if frontend is None:
        raise AedError(f"{path}: no model card inside; say how patches are made, e.g. frontend=yamnet_64x96")
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
        last = _last_operator(model)
        tried = torch.from_numpy(opened.outputs(_trial(frontend)))
        if last in ("Softmax", "Sigmoid", "HardSigmoid"):
            reason: str | None = f"it ends in {last}"
        else:
            reason = "those of trial patches are all in [0, 1]" if "sigmoid" in forms(tried) else None
        if reason:
            opened.card = replace(card, outputs="probabilities")
        log.info(
            "%s: no model card; its outputs are taken for %s%s",
            path,
            opened.card.outputs,
            f": {reason}" if reason else ", for they are not all in [0, 1]",
        )
    return opened


def _trial(frontend: FrontendConfig) -> Array:
    patches: Array = trial_patches(BATCH, frontend.n_mels, frontend.patch_frames, frontend.silence).numpy()
    return patches


def _last_operator(model: onnx.ModelProto) -> str:
    """The last operator, those aside that only convert or move what it gives; "": there is none."""
    made = {name: node for node in model.graph.node for name in node.output}
    node = made.get(model.graph.output[0].name)
    moving = ("DequantizeLinear", "QuantizeLinear", "Identity", "Cast", "Reshape", "Flatten", "Squeeze", "Unsqueeze")
    while node is not None and node.op_type in moving:
        node = made.get(node.input[0])
    return node.op_type if node is not None else ""


def _open_batch(model: onnx.ModelProto, path: Path, threads: int) -> tuple[Any, int | None]:
    """A session with an open batch size where the graph allows it, else with the model's own; and that size."""
    free = copy_of(model)
    given = input_of(free)
    for value in (given, *free.graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    try:
        session = open_session(free, threads)
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
        session = open_session(model, threads)
    size = session.get_inputs()[0].shape[0]
    return session, size if isinstance(size, int) else None


def open_classifier(
    path: Path,
    frontend: FrontendConfig | None = None,
    class_names: tuple[str, ...] | None = None,
    threads: int = 0,
    net_class: str | None = None,
    outputs: Outputs | None = None,
    task: Task | None = None,
) -> Classifier:
    """The model of a file, by its suffix.

    Args:
        path: ``.ckpt`` or ``.onnx``.
        frontend: For a model without a card.
        class_names: For a model without a card.
        threads: CPU threads of ONNX Runtime; 0: as many as torch.
        net_class: For a ``.ckpt`` whose net is of a class of the user's: that class.
        outputs: For a model without a card, as is ``task``; see :func:`open_foreign`.
        task: See there.

    Raises:
        AedError: It cannot be used.
    """
    if path.suffix in (".h5", ".keras"):
        raise AedError(f"{path}: of Keras; first python -m aed.import_keras {path} class_names=[...]")
    if path.suffix not in (".ckpt", ".onnx"):
        raise AedError(f"{path}: need a .ckpt or a .onnx file")
    if path.suffix == ".ckpt":
        opened: Classifier = TorchClassifier(path, net_class)
    else:
        model = load_model(path)
        card = read_card(model, str(path))
        if card is None:
            return open_foreign(model, path, frontend, class_names, threads, outputs, task)
        opened = OnnxClassifier(model, card, path, threads)
    if frontend not in (None, opened.card.frontend):
        raise AedError(f"{path}: the model's own front end counts; leave frontend= out")
    if class_names not in (None, opened.card.class_names):
        raise AedError(f"{path}: the model's own class names count: {list(opened.card.class_names)}")
    if outputs not in (None, opened.card.outputs):
        raise AedError(f"{path}: its card says that it gives {opened.card.outputs}; leave outputs= out")
    return opened
