"""Cost of a graph on a device, estimated without any tool: MACC, weight bytes, peak activation bytes."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import shape_inference

from aed.base.errors import AedError

_ALIASES = {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "QuantizeLinear", "DequantizeLinear"}
"""Operators that leave their input's bytes where they are."""

_FLOAT = onnx.TensorProto.FLOAT
"""Of weights; constants of other types are sizes and places."""

_ABSORBED = {"Relu", "Clip"}
"""Operators that become the range of the layer before them."""


@dataclass(frozen=True)
class Layer:
    """One layer's cost.

    Args:
        name: Of its node.
        op: Operator.
        macc: Multiply-accumulates of one patch.
        weights: Names of its constants: weights, then bias.
        weights_bytes: int8 weights and int32 biases.
        output_bytes: Its activations, one byte each.
    """

    name: str
    op: str
    macc: int
    weights: tuple[str, ...]
    weights_bytes: int
    output_bytes: int


@dataclass(frozen=True)
class Footprint:
    """A net's cost as int8, one patch at a time.

    Args:
        layers: In order of execution.
        macc: Sum.
        weights_bytes: Sum.
        activations_bytes: Most bytes of activations alive at once.
        peak_layer: The layer at which that happens.
        planned: Whether that is the arena of the C code; else an estimate: input and output of a layer together.
    """

    layers: tuple[Layer, ...]
    macc: int
    weights_bytes: int
    activations_bytes: int
    peak_layer: str
    planned: bool = False


def footprint(model: onnx.ModelProto) -> Footprint:
    """The cost of ``model``, a float graph as :func:`aed.export.onnx.to_onnx` returns it, once it is int8; not planned.

    Raises:
        AedError: A shape is unknown.
    """
    inferred = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    constants = {item.name: item for item in inferred.graph.initializer}
    shapes = {
        value.name: [max(1, dim.dim_value) for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    }
    layers: list[Layer] = []
    for node in inferred.graph.node:
        if node.output[0] not in shapes:
            raise AedError(f"{node.name or node.op_type}: its output has no static shape; export with batch 1")
        held = [] if node.op_type in _ALIASES | _ABSORBED else node.input
        weights = [constants[name] for name in held if name in constants and constants[name].data_type == _FLOAT]
        layers.append(
            Layer(
                name=node.name or node.output[0],
                op=node.op_type,
                macc=_macc(node, shapes, constants),
                weights=tuple(item.name for item in weights),
                weights_bytes=sum(_bytes(item, number) for number, item in enumerate(weights)),
                output_bytes=int(np.prod(shapes[node.output[0]])),
            )
        )
    peak, peak_layer = _peak(inferred.graph, shapes, set(constants))
    return Footprint(
        layers=tuple(layers),
        macc=sum(layer.macc for layer in layers),
        weights_bytes=sum(layer.weights_bytes for layer in layers),
        activations_bytes=peak,
        peak_layer=peak_layer,
    )


def _bytes(item: onnx.TensorProto, number: int) -> int:
    """Weights are int8; what comes after them, the bias, is int32."""
    return int(np.prod(item.dims)) * (1 if number == 0 else 4)


def _macc(node: onnx.NodeProto, shapes: dict[str, list[int]], constants: dict[str, onnx.TensorProto]) -> int:
    if node.op_type == "Conv":
        kernel = constants[node.input[1]].dims
        return int(np.prod(shapes[node.output[0]]) * np.prod(kernel[1:]))
    if node.op_type in ("Gemm", "MatMul"):
        inner = shapes[node.input[0]][-1]
        return int(np.prod(shapes[node.output[0]]) * inner)
    return 0


def _peak(graph: onnx.GraphProto, shapes: dict[str, list[int]], constants: set[str]) -> tuple[int, str]:
    """Most bytes alive at once and the layer where; a view shares its input's bytes."""
    home: dict[str, str] = {}
    last_use: dict[str, int] = {}
    for number, node in enumerate(graph.node):
        source = node.input[0]
        shares = node.op_type in _ALIASES | _ABSORBED
        home[node.output[0]] = home.get(source, source) if shares else node.output[0]
        for name in node.input:
            if name and name not in constants:
                last_use[home.get(name, name)] = number
    last_use[home[graph.output[0].name]] = len(graph.node)
    alive = {graph.input[0].name: int(np.prod(shapes[graph.input[0].name]))}
    peak, where = 0, ""
    for number, node in enumerate(graph.node):
        own = home[node.output[0]]
        if own not in alive:
            alive[own] = int(np.prod(shapes[node.output[0]]))
        if sum(alive.values()) > peak:
            peak, where = sum(alive.values()), node.name or node.output[0]
        alive = {name: size for name, size in alive.items() if last_use.get(name, -1) > number}
    return peak, where


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a net on a device; null: no limit.

    Args:
        flash_kib: KiB of weights.
        ram_kib: KiB of activations.
        macc: Multiply-accumulates a patch.
        board: Its memories are the limits left null; a file in ``configs/boards``.
    """

    flash_kib: float | None = None
    ram_kib: float | None = None
    macc: float | None = None
    board: str | None = None

    def check(self, cost: Footprint) -> None:
        """Refuses a net that does not fit.

        Raises:
            AedError: A limit is passed; names the layer to blame.
        """
        heaviest = max(cost.layers, key=lambda layer: layer.weights_bytes)
        busiest = max(cost.layers, key=lambda layer: layer.macc)
        for name, value, limit, unit, blame in (
            ("flash_kib", cost.weights_bytes / 1024, self.flash_kib, "KiB of weights", heaviest.name),
            ("ram_kib", cost.activations_bytes / 1024, self.ram_kib, "KiB of activations", cost.peak_layer),
            ("macc", float(cost.macc), self.macc, "MACC", busiest.name),
        ):
            if limit is not None and value > limit:
                raise AedError(
                    f"budget.{name}: the net needs {value:,.1f} {unit}, {limit:,} are allowed; most at {blame}"
                )
