"""Error of int8, layer by layer: signal to quantisation noise, ranges, saturation; float against int8 on patches."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from aed.export.footprint import Footprint
from aed.export.graph import constants, copy_of, input_of, producers
from aed.export.precision import Int8Layer, float_layers, int8_layers
from aed.export.quantize import Patches
from aed.export.runtime import open_session, run_all

Array = npt.NDArray[np.float32]

EXACT_DB = 200.0
"""The ratio without any error; float32 itself has about 150 dB."""


@dataclass(frozen=True, kw_only=True)
class LayerError:
    """One layer of an int8 model beside the float one.

    Args:
        name: Of its node.
        op: Operator.
        precision: ``int8`` or ``float``.
        sqnr_db: Signal to quantisation noise of its output, the error of all layers before it included; null: exact.
        activation_min: Least value of its output, float.
        activation_max: Largest.
        scale: One int8 step of its output; null where it stays float.
        zero_point: Integer that stands for 0.
        saturated: Share of its float outputs outside the int8 range by more than half a step.
        weight_min: Least weight; null where there are none.
        weight_max: Largest.
        weights_bytes: int8 weights and int32 biases.
        macc: Multiply-accumulates a patch.
    """

    name: str
    op: str
    precision: str
    sqnr_db: float | None
    activation_min: float
    activation_max: float
    scale: float | None
    zero_point: int | None
    saturated: float
    weight_min: float | None
    weight_max: float | None
    weights_bytes: int
    macc: int

    def facts(self) -> dict[str, Any]:
        """Fields as JSON-compatible values."""
        return asdict(self)


def sqnr_db(signal: Array, noise: Array) -> Array:
    """Ratio of the energies of ``signal`` and ``noise`` ``(N, ...)`` in dB, ``(N,)``; at most :data:`EXACT_DB`."""
    axes = tuple(range(1, signal.ndim))
    power, error = (np.square(part.astype(np.float64)).sum(axis=axes) for part in (signal, noise))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, EXACT_DB, 10 * np.log10(power / error))
    return np.asarray(np.minimum(ratio, EXACT_DB), dtype=np.float32)


def outputs(model: onnx.ModelProto, patches: Patches, name: str | None = None) -> Array:
    """An output, the first where none is named, of a graph with float ends for ``patches``: ``(N, num_classes)``."""
    session = open_session(model)
    source, wanted = input_of(model).name, name or model.graph.output[0].name
    return np.concatenate(
        [made for (made,) in run_all(session, [{source: patch[None]} for patch in patches], [wanted])]
    )


@dataclass
class _Sums:
    """Running sums of one tensor."""

    signal: float = 0.0
    noise: float = 0.0
    least: float = np.inf
    largest: float = -np.inf
    outside: int = 0
    values: int = 0


def layer_errors(model: onnx.ModelProto, int8: onnx.ModelProto, patches: Patches, cost: Footprint) -> list[LayerError]:
    """One row a layer of ``int8``, in order of execution.

    Args:
        model: The float graph whose function ``int8`` stands for.
        int8: QDQ, float input and output.
        patches: ``(N, 1, n_mels, patch_frames)``, real ones.
        cost: Of ``model``.
    """
    float_arrays, arrays = constants(model), constants(int8)
    every = list(int8_layers(int8))
    sums = _compare(model, int8, patches, every)
    in_float = set(float_layers(int8))
    macc = {layer.name: layer for layer in cost.layers}
    rows = []
    for layer in every:
        node, quantizer = layer.node, layer.quantizer
        total, own = sums.get(node.name), macc.get(node.name)
        if total is None or total.values == 0:
            continue
        weights = [name for name in (own.weights if own else ()) if name in float_arrays]
        kernel = float_arrays[weights[0]] if weights else None
        rows.append(
            LayerError(
                name=node.name,
                op=layer.op,
                precision="float" if node.name in in_float else "int8",
                sqnr_db=float(10 * np.log10(total.signal / total.noise)) if total.noise and total.signal else None,
                activation_min=total.least,
                activation_max=total.largest,
                scale=float(arrays[layer.scale]) if quantizer else None,
                zero_point=int(arrays[quantizer.input[2]]) if quantizer else None,
                saturated=total.outside / total.values,
                weight_min=float(kernel.min()) if kernel is not None else None,
                weight_max=float(kernel.max()) if kernel is not None else None,
                weights_bytes=own.weights_bytes if own else 0,
                macc=own.macc if own else 0,
            )
        )
    return rows


def _compare(
    model: onnx.ModelProto, int8: onnx.ModelProto, patches: Patches, every: list[Int8Layer]
) -> dict[str, _Sums]:
    """Sums over patches of each layer's output, float against int8; a patch at a time, so memory stays small."""
    arrays, float_nodes = constants(int8), producers(model)
    pairs: dict[str, tuple[str, str]] = {}
    scales: dict[str, tuple[float, float]] = {}
    for layer in every:
        name, quantizer = layer.node.name, layer.quantizer
        if layer.output in float_nodes:
            # the integers, not the layer's output before rounding: so the graph is fused as ever
            pairs[name] = layer.output, quantizer.output[0] if quantizer else layer.node.output[0]
        if quantizer:
            scales[name] = arrays[layer.scale].item(), arrays[quantizer.input[2]].item()
    float_session = open_session(_with_outputs(model, {name for name, _ in pairs.values()}))
    int8_session = open_session(_with_outputs(int8, {name for _, name in pairs.values()}))
    sums = {name: _Sums() for name in pairs}
    for patch in patches:
        feed = {input_of(model).name: patch[None]}
        expected = _run(float_session, feed)
        got = _run(int8_session, feed)
        for name, (float_name, int8_name) in pairs.items():
            value, other, total = expected[float_name], got[int8_name], sums[name]
            if name in scales:
                scale, zero = scales[name]
                low, high = scale * (-128.5 - zero), scale * (127.5 - zero)
                total.outside += int(((value < low) | (value > high)).sum())
                other = scale * (other.astype(np.float32) - zero)
            total.values += value.size
            total.signal += float(np.square(value, dtype=np.float64).sum())
            total.noise += float(np.square(value - other, dtype=np.float64).sum())
            total.least, total.largest = min(total.least, float(value.min())), max(total.largest, float(value.max()))
    return sums


def _run(session: Any, feed: dict[str, Array]) -> dict[str, Array]:
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, feed), strict=True))


def _with_outputs(model: onnx.ModelProto, names: set[str]) -> onnx.ModelProto:
    """``model`` with more of its tensors as outputs."""
    more = copy_of(model)
    present = {value.name for value in more.graph.output}
    more.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names - present))
    return more
