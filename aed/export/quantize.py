"""Static int8: a float graph and patches of training clips in, a QDQ graph out."""

import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

from aed.base.errors import AedError
from aed.base.files import temporary_folder
from aed.base.overrides import override
from aed.export.card import Io, Quantization, not_for_c
from aed.export.curves import fuse
from aed.export.graph import (
    CURVES,
    QDQ,
    constants,
    copy_of,
    input_of,
    producers,
    readers,
    tidy,
    within_range,
)
from aed.export.precision import Range, float_layers

Patches = npt.NDArray[np.float32]
_REPAIRS = ("equalise", "bias", "head")

_OPERATORS = sorted({*QLinearOpsRegistry, *QDQRegistry, *CURVES, "PRelu", "ReduceMax", "GlobalMaxPool"})
"""Those that get an int8 input and output; ONNX Runtime's own list lacks some, and would leave them in float."""

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "averaged": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


@dataclass(frozen=True, kw_only=True)
class QuantizeConfig:
    """How a model becomes int8: activations asymmetric, one scale a tensor; weights symmetric.

    Args:
        method: ``ptq``: after training. ``qat``: and then fine-tuned with simulated int8 rounding.
        per_channel: A weight scale for each output channel, else for the tensor.
        calibration: How activation ranges are fixed: ``minmax``, the least and the largest value of all patches;
            ``averaged``, the means of those of each patch (ONNX Runtime's CalibMovingAverage); ``entropy``;
            ``percentile``.
        percentile: Share of values inside the range, %, for ``percentile``.
        n_calibration: Patches, the same number of each class.
        exclude_nodes: Layers (by name) left in float: not for C.
        exclude_ops: Operators left in float: not for C.
        curves: ``fused``: a convolution or dense layer and the HardSwish after it are one int8 layer. ``separate``:
            int8 between the two, which costs accuracy but is plain QDQ, as vendors' tools want it.
        io: ``int8``: input and output are int8, scale and zero point in the card; ``int8_in``: the input alone, as ST's
            firmware has it. The first and the last layer may not be float.
        max_drop: Points of clip accuracy (multi-label: mean average precision), on clips neither tested nor calibrated
            on, that int8 may lose before it is repaired; compared with the lower end of the loss's 90 % interval.
        repair: Repairs that may be tried, in this order: ``equalise`` channels across layers, correct ``bias``, solve
            the last layer (``head``) anew on int8 embeddings. All leave everything in int8.
        float_layers: ``allowed``: where that is not enough, single layers are left in float, which ONNX Runtime runs
            and C code cannot. ``refused``: none but those of exclude_nodes and exclude_ops.
        qat_epochs: Passes over the training patches.
        qat_lr: Largest relative change of a weight per step (Adam).
    """

    method: Literal["ptq", "qat"] = "ptq"
    per_channel: bool = True
    calibration: Literal["minmax", "averaged", "entropy", "percentile"] = "minmax"
    percentile: float = 99.999
    n_calibration: int = 200
    exclude_nodes: tuple[str, ...] = ()
    exclude_ops: tuple[str, ...] = ()
    curves: Literal["fused", "separate"] = "fused"
    io: Io = "float"
    max_drop: float = 0.5
    repair: tuple[str, ...] = ("equalise", "bias", "head")
    float_layers: Literal["refused", "allowed"] = "refused"
    qat_epochs: int = 3
    qat_lr: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("exclude_nodes", "exclude_ops", "repair"):
            value = getattr(self, name)
            if isinstance(value, str) or not all(isinstance(item, str) for item in value):
                raise AedError(f"quantization.{name}: need a list of names, got {value!r}")
            object.__setattr__(self, name, tuple(value))
        choices = {
            "method": ("ptq", "qat"),
            "calibration": tuple(_METHODS),
            "curves": ("fused", "separate"),
            "io": get_args(Io),
            "float_layers": ("refused", "allowed"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise AedError(f"quantization.{name}: need one of {allowed}, got {getattr(self, name)!r}")
        for name, ok, what in (
            ("percentile", 50 < self.percentile <= 100, "over 50, up to 100"),
            ("n_calibration", self.n_calibration >= 1, "at least 1"),
            ("max_drop", self.max_drop >= 0, "at least 0"),
            (
                "repair",
                set(self.repair) <= set(_REPAIRS),
                f"some of {_REPAIRS} (float layers: quantization.float_layers)",
            ),
            ("qat_epochs", self.qat_epochs >= 1, "at least 1"),
            ("qat_lr", self.qat_lr > 0, "over 0"),
        ):
            if not ok:
                raise AedError(f"quantization.{name}: need {what}, got {getattr(self, name)!r}")

    @property
    def may_leave_float(self) -> tuple[str, ...]:
        """Settings, as they are typed, that can end in float layers."""
        excluded: dict[str, Any] = {name: getattr(self, name) for name in ("exclude_nodes", "exclude_ops")}
        excluded |= {"float_layers": self.float_layers} if self.float_layers == "allowed" else {}
        return tuple(override(f"quantization.{name}", value) for name, value in excluded.items() if value)

    def facts(self) -> dict[str, Any]:
        """The settings as plain types."""
        return asdict(self)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    """Pass the calibrator one patch at a time: the graph's batch is 1."""

    def __init__(self, name: str, patches: Patches) -> None:
        self.feeds = ({name: patch[None]} for patch in patches)

    def get_next(self) -> dict[str, Patches] | None:
        return next(self.feeds, None)


def quantize(
    model: onnx.ModelProto,
    patches: Patches,
    config: QuantizeConfig,
    *,
    ranges: Mapping[str, Range] | None = None,
    float_layers: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """The QDQ graph of ``model``: int8 weights and activations, int32 biases, opset 17, nothing foreign.

    Args:
        model: Float, from :func:`aed.export.onnx.to_onnx`; left as it is.
        patches: ``(N, 1, n_mels, patch_frames)``; their activations fix the ranges.
        config: Scheme.
        ranges: Scale and zero point of activations that are not to be measured anew.
        float_layers: Layers left in float, beside those of ``config``.

    Raises:
        AedError: There are no patches, an excluded layer does not exist, or ONNX Runtime cannot quantise the graph.
    """
    if not len(patches):
        raise AedError("quantization: no calibration patches; give at least one training clip a class")
    if not np.isfinite(patches).all():
        raise AedError("quantization: a calibration patch holds NaN or infinite values")
    check_names(model, config)
    excluded = {*config.exclude_nodes, *float_layers}
    excluded |= {node.name for node in model.graph.node if node.op_type in config.exclude_ops}
    options: dict[str, Any] = {
        "ActivationSymmetric": False,
        "WeightSymmetric": True,
        "ForceQuantizeNoInputCheck": True,  # else a pool or Flatten that comes first leaves the input float
    }
    if config.calibration == "percentile":
        options["CalibPercentile"] = config.percentile
    options["CalibMovingAverage"] = config.calibration == "averaged"
    if ranges:
        options["TensorQuantOverrides"] = {
            name: [{"quant_type": QuantType.QInt8, "scale": np.array(scale), "zero_point": np.array(zero, np.int8)}]
            for name, (scale, zero) in ranges.items()
        }
    with temporary_folder() as folder, _quiet():
        target = folder / "int8.onnx"
        try:
            quantize_static(
                _for_quantiser(model, excluded),
                target,
                _Reader(input_of(model).name, patches[:1] if ranges else patches),
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=_OPERATORS,
                per_channel=config.per_channel,
                calibrate_method=_METHODS["minmax" if ranges else config.calibration],
                nodes_to_exclude=sorted(excluded),
                extra_options=options,
            )
        except (ValueError, RuntimeError, IndexError) as error:
            raise AedError(f"quantization: ONNX Runtime cannot quantise this graph: {error}") from error
        int8 = onnx.load(str(target))
    del int8.graph.output[1:]
    int8 = fuse(tidy(int8), excluded) if config.curves == "fused" else tidy(int8)
    if not any(node.op_type == "QuantizeLinear" for node in int8.graph.node):
        raise AedError("quantization: nothing is left to quantise; exclude fewer layers")
    return int8


def check_names(model: onnx.ModelProto, config: QuantizeConfig) -> None:
    """Refuses names of layers that a graph does not have.

    Raises:
        AedError: Those, and the names there are.
    """
    names = [node.name for node in model.graph.node]
    if unknown := [name for name in config.exclude_nodes if name not in names]:
        raise AedError(f"quantization.exclude_nodes: the graph has no {unknown}; it has {names}")


def _for_quantiser(model: onnx.ModelProto, excluded: Collection[str]) -> onnx.ModelProto:
    """A copy of ``model`` for ONNX Runtime's quantiser to change, with extra outputs so that activations stay.

    It drops every Clip and Relu after a layer, as if the layer's int8 range did their work, and loses those for which
    it does not. An activation is not dropped where its input is an output of the graph. One that reads the graph's
    input stays in float, unless something before it in the list makes the input int8, as an ArgMax does.
    """
    copy, arrays, before, source = copy_of(model), constants(model), producers(model), input_of(model)
    activations = [node for node in model.graph.node if node.op_type in ("Clip", "Relu") and node.name not in excluded]
    needed = {node.input[0] for node in activations if not within_range(node, before.get(node.input[0]), arrays)}
    more = sorted(needed - {source.name, *(value.name for value in model.graph.output)})
    copy.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in more)
    if any(node.input[0] == source.name for node in activations):
        copy.graph.node.insert(0, helper.make_node("ArgMax", [source.name], [_FIRST], _FIRST))
        copy.graph.output.append(helper.make_tensor_value_info(_FIRST, onnx.TensorProto.INT64, None))
    return copy


_FIRST = "aed.first"
"""Node and output that only the quantiser sees."""


@contextmanager
def _quiet() -> Iterator[None]:
    """ONNX Runtime advises a preprocessing step that adds foreign operators and gains nothing here."""
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def quantization_facts(
    int8: onnx.ModelProto, config: QuantizeConfig, calibration_clips: tuple[str, ...]
) -> Quantization:
    """Entry of the model card about a QDQ graph with float input and output."""
    arrays, left = constants(int8), float_layers(int8)
    first = readers(int8)[input_of(int8).name][0]
    last = producers(int8)[int8.graph.output[0].name]
    if first.op_type not in QDQ or last.op_type not in QDQ:
        if config.io != "float":
            raise AedError(f"quantization.io={config.io}: the first or the last layer is left in float; use io=float")
        ends: tuple[tuple[float, int] | tuple[None, None], ...] = ((None, None), (None, None))
    else:
        ends = tuple((float(arrays[node.input[1]]), int(arrays[node.input[2]])) for node in (first, last))
    return Quantization(
        scheme=config.facts(),
        calibration_clips=calibration_clips,
        io=config.io,
        input_scale=ends[0][0],
        input_zero_point=ends[0][1],
        output_scale=ends[1][0],
        output_zero_point=ends[1][1],
        float_layers=left,
        note=not_for_c(left) if left else "",
    )
