"""Sessions of ONNX Runtime whose int8 results are exact, and its errors in our words."""

import functools
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from aed.base.errors import AedError
from aed.base.processors import num_cores
from aed.export.exact_float import UNFUSED, in_float
from aed.export.graph import CURVES, QDQ, VIEWS, constants, copy_of, strip_ends
from aed.export.precision import int8_layers

log = logging.getLogger(__name__)

MOVABLE = {"QuantizeLinear", "DequantizeLinear", "Conv", "Gemm", "MatMul", "Relu", "Clip", "MaxPool"}
MOVABLE |= {"GlobalAveragePool", "Concat", "Pad", "Slice", "Identity", "PRelu", *CURVES, *VIEWS}
"""Operators that ONNX Runtime computes alike for uint8 and int8.

Its AveragePool rounds ties otherwise; its Add and Mul, with some scales, 1 to 4 of the 65,536 pairs of inputs, which a
net that adds images of 36,864 values meets in a third of its patches.
"""

ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    kind for kind in vars(ort_state).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
"""ONNX Runtime's exceptions; they have no common base class."""


@contextmanager
def onnx_runtime_on(path: Path | str) -> Iterator[None]:
    """Names the model's file that ONNX Runtime refuses, in an AedError of one line."""
    try:
        yield
    except ORT_ERRORS as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise AedError(f"{path}: ONNX Runtime cannot run it: {lines[0]}") from error


def open_session(model: onnx.ModelProto) -> Any:
    """An ONNX Runtime session whose int8 results are those of exact integer arithmetic.

    x86 multiplies uint8 with int8 ten times as fast as int8 with int8. So activations inside the graph are moved by
    128, which changes no result, except on CPUs without VNNI, which saturate 16-bit sums, and in operators outside
    :data:`MOVABLE`. There layers whose sums float32 holds are computed in it, the others in int8.

    A session has one thread: nets of this size are computed no faster by two, but two runs at once are
    (:func:`run_all`).

    Args:
        model: Float or QDQ; left as it is.
    """
    # what is inside a layer with a curve is float, whatever its operators
    movable = {layer.node.op_type for layer in int8_layers(model)} <= MOVABLE
    try:
        if movable and _adds_exactly():
            return _session(_in_uint8(model), exact=False)
        if (whole := in_float(model)) is not None:
            return _session(whole, exact=True, without=UNFUSED)
    except Exception:  # a graph of other makers that moves int8 about in a way unknown here
        log.debug("int8 is computed as it comes", exc_info=True)
    return _session(model, exact=True)


def open_exact(model: onnx.ModelProto) -> Any:
    """The session that C code is compared with: int8 in and out, exact integer arithmetic.

    Args:
        model: QDQ, with float or int8 ends; left as it is.
    """
    return _session(strip_ends(model), exact=True)


def run_all(
    session: Any, feeds: Sequence[Mapping[str, npt.NDArray[Any]]], names: Sequence[str] | None = None, threads: int = 0
) -> list[list[npt.NDArray[Any]]]:
    """Outputs of a session for each of some inputs, in their order, several runs at once.

    Args:
        session: ONNX Runtime's.
        feeds: Input -> values, a run each.
        names: Of outputs; None: all.
        threads: Runs at once; 0: as many as torch has threads.
    """
    at_once = min(threads or usual_threads() or 1, len(feeds))
    if at_once < 2:
        return [session.run(names, feed) for feed in feeds]
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda feed: session.run(names, feed), feeds))


def run_exact(session: Any, image: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Outputs ``(N, size)`` of a session of :func:`open_exact`; of several outputs one after the other, as in C."""
    parts = session.run(None, {session.get_inputs()[0].name: image})
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _in_uint8(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with uint8 where it has int8 activations; its input and output stay as they are."""
    twin = copy_of(model)
    arrays = constants(twin)
    outputs = {value.name for value in twin.graph.output}
    inside = {node.output[0] for node in twin.graph.node if node.op_type == "QuantizeLinear"} - outputs
    # what only moves integers about
    for node in twin.graph.node:
        if node.op_type in VIEWS and node.input[0] in inside:
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


def _session(model: onnx.ModelProto, exact: bool, without: tuple[str, ...] = ()) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    content = model.SerializeToString()
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], disabled_optimizers=[*without])


def usual_threads() -> int:
    """CPU threads where no number is asked for: as many as torch has, or would have if it were imported.

    That is ``MKL_NUM_THREADS``, else ``OMP_NUM_THREADS``, yet no more than there are cores. ONNX Runtime's own rule
    heeds neither these nor the processors that a container may use. 0, which leaves it to that rule, only where the
    system does not tell its cores.

    Source: ``at::get_num_threads`` asks ``mkl_get_max_threads``.
    """
    if torch := sys.modules.get("torch"):
        return int(torch.get_num_threads())
    cores = num_cores()
    for variable in ("MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").partition(",")[0]  # of nested regions the outermost
        if text.isdecimal() and int(text):
            return min(int(text), cores or int(text))
    return cores or 0


@functools.cache
def _adds_exactly() -> bool:
    """Whether this CPU multiplies uint8 with int8 without saturating: the largest values through one layer."""
    side = 64
    ends = {"scale": np.float32(1), "zero": np.int8(-128), "weight": np.full((1, side, 1, 1), 127, np.int8)}
    ends |= {"wide": np.float32(2 * 127 * side), "none": np.int8(0)}
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["a"]),
        helper.make_node("DequantizeLinear", ["a", "scale", "zero"], ["b"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "none"], ["w"]),
        helper.make_node("Conv", ["b", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "wide", "none"], ["d"]),
        helper.make_node("DequantizeLinear", ["d", "wide", "none"], ["output"]),
    ]
    source = helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, side, 2, 2])
    result = helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, [1, 1, 2, 2])
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in ends.items()]
    graph = helper.make_graph(nodes, "probe", [source], [result], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    feed = {"input": np.full((1, side, 2, 2), 255, np.float32)}
    sessions = _session(_in_uint8(model), exact=False), _session(model, exact=True)
    return bool(np.array_equal(*(session.run(None, feed)[0] for session in sessions)))
