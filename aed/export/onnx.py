"""A torch net as a plain ONNX graph: BatchNorm and padding folded, no Transpose, byte-identical each time."""

import copy
import io
import itertools
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import torch
from onnx import helper, numpy_helper, shape_inference
from torch import nn

from aed.base.errors import AedError
from aed.base.files import WriteError, temporary_folder
from aed.dsp.frontend import FrontendConfig
from aed.export.graph import attributes, constants, tidy

OPSET = 17
"""What ST's tools and ONNX Runtime's quantiser agree on."""

INPUT, OUTPUT = "patches", "output"

TOLERANCE = 1e-4
"""Most difference to torch, of logits of about 1."""


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Form of the exported graph.

    Args:
        softmax: End with a softmax: ST's firmware wants probabilities, our own code logits.
        dynamic_batch: Leave the batch size open instead of 1.
    """

    softmax: bool = False
    dynamic_batch: bool = False


class _Softmax(nn.Module):
    """Probabilities of logits over a temperature."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: torch.Tensor) -> torch.Tensor:
        """``(N, num_classes)`` of the same shape."""
        # a product: the C code and the interpreter have no Div
        return (logits if self.temperature == 1 else logits * (1 / self.temperature)).softmax(dim=1)


def to_onnx(
    net: nn.Module, frontend: FrontendConfig, config: ExportConfig, temperature: float = 1.0
) -> onnx.ModelProto:
    """The graph of ``net``: patches ``(1, 1, n_mels, patch_frames)`` float32 in, logits or probabilities out.

    A BatchNorm that no convolution before it can take in becomes a 1x1 depthwise convolution: int8 with one scale
    a channel then holds its factors exactly.

    Args:
        net: ``forward(patches) -> logits``; left as it is.
        frontend: Gives the input's shape.
        config: Form of the graph.
        temperature: Logits are divided by it before a softmax.

    Raises:
        AedError: A weight is not finite, or the net has an operator that cannot be exported.
    """
    for name, value in net.state_dict().items():
        if not torch.isfinite(value).all():
            raise AedError(
                f"{type(net).__name__}.{name} holds NaN or infinite values: the training diverged; "
                "train anew with a lower learning rate"
            )
    own = copy.deepcopy(net)
    whole: Any = nn.Sequential(own, _Softmax(temperature)) if config.softmax else own
    # contiguous weights whatever the training's memory format: one net, one file
    whole = whole.cpu().eval().to(memory_format=torch.contiguous_format)
    patch = torch.zeros(1, 1, frontend.n_mels, frontend.patch_frames)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # the tracing exporter: torch's newer one stays at opset 18 and turns global pooling into ReduceMean
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                whole,
                (patch,),
                buffer,  # type: ignore[arg-type]
                dynamo=False,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}} if config.dynamic_batch else None,
            )
            folded = _fold(buffer.getvalue())
        except WriteError:
            raise
        except Exception as error:  # neither exporter nor ONNX Runtime has one base class
            raise AedError(f"{type(net).__name__} cannot be exported: {error}") from error
    return tidy(_readable(tidy(_means_as_pools(_norms_as_layers(folded)))))


def _fold(model: bytes) -> onnx.ModelProto:
    """The model after ONNX Runtime's basic optimisation: constants, BatchNorm and padding folded into layers."""
    with temporary_folder() as folder:
        target = folder / "folded.onnx"
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        return onnx.load(str(target))


def _ranks(model: onnx.ModelProto) -> dict[str, int]:
    """Number of axes of every tensor."""
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    return {value.name: len(value.type.tensor_type.shape.dim) for value in (*graph.value_info, *graph.input)}


def _means_as_pools(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each mean over an image as GlobalAveragePool, which int8 kernels have, and Flatten."""
    ranks, nodes = _ranks(model), []
    for node in model.graph.node:
        facts = attributes(node)
        if node.op_type != "ReduceMean" or sorted(axis % 4 for axis in facts.get("axes", ())) != [2, 3]:
            nodes.append(node)
            continue
        given, made, name = node.input[0], node.output[0], node.name or node.output[0]
        if ranks.get(given) != 4:
            nodes.append(node)
        elif facts.get("keepdims", 1):
            nodes.append(helper.make_node("GlobalAveragePool", [given], [made], name))
        else:
            nodes.append(helper.make_node("GlobalAveragePool", [given], [f"{name}.pooled"], name))
            nodes.append(helper.make_node("Flatten", [f"{name}.pooled"], [made], f"{name}.flat", axis=1))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _norms_as_layers(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with each BatchNormalization as a 1x1 depthwise Conv, or Mul and Add where there is no image."""
    if all(node.op_type != "BatchNormalization" for node in model.graph.node):
        return model
    ranks = _ranks(model)
    arrays, nodes = constants(model), []
    for node in model.graph.node:
        if node.op_type != "BatchNormalization":
            nodes.append(node)
            continue
        scale, shift, mean, variance = (arrays[name].astype(np.float64) for name in node.input[1:5])
        factor = scale / np.sqrt(variance + attributes(node).get("epsilon", 1e-5))
        parts = {"factor": factor, "offset": shift - mean * factor}
        given, made, name = node.input[0], node.output[0], node.name or node.output[0]
        if ranks.get(given) == 4:
            parts["factor"] = factor[:, None, None, None]
            inputs = [given, f"{name}.factor", f"{name}.offset"]
            nodes.append(helper.make_node("Conv", inputs, [made], name, group=len(factor), kernel_shape=[1, 1]))
        else:
            nodes.append(helper.make_node("Mul", [given, f"{name}.factor"], [f"{name}.scaled"], f"{name}.mul"))
            nodes.append(helper.make_node("Add", [f"{name}.scaled", f"{name}.offset"], [made], f"{name}.add"))
        for part, array in parts.items():
            model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), f"{name}.{part}"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _readable(model: onnx.ModelProto) -> onnx.ModelProto:
    """``model`` with the torch modules' names on nodes, their outputs and their weights."""
    names: dict[str, str] = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    taken = set(names)
    arrays = {item.name for item in model.graph.initializer}

    def choose(wanted: str) -> str:
        free = next(name for name in _numbered(wanted) if name not in taken)
        taken.add(free)
        return free

    for node in model.graph.node:
        node.name = choose(_module_path(node.name) or node.op_type.lower())
        for number, name in enumerate(node.input):
            if name in arrays and name not in names:
                role = {1: "weight", 2: "bias"}.get(number, f"input{number}")
                names[name] = choose(f"{node.name}.{role}")
        for number, name in enumerate(node.output):
            if name and name not in names:
                names[name] = choose(f"{node.name}.{number}") if number else node.name
    for node in model.graph.node:
        for field in (node.input, node.output):
            field[:] = [names[name] if name else name for name in field]
    for item in model.graph.initializer:
        item.name = names.get(item.name, item.name)
    return model


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}_{number}" for number in itertools.count(1))


def _module_path(name: str) -> str:
    """``backbone.0.conv`` of the exporter's ``/backbone/backbone.0/conv/Conv``; outside a module the operator."""
    *modules, op = name.strip("/").split("/")
    path = ""
    for module in modules:
        path = module if module.startswith(f"{path}.") or not path else f"{path}.{module}"
    return path or op.lower()


def difference_to_torch(
    outputs: npt.NDArray[np.float32], net: nn.Module, patches: npt.NDArray[np.float32], temperature: float | None = None
) -> float:
    """Most absolute difference between ``outputs`` of the exported graph and those of ``net``.

    Args:
        outputs: ``(N, num_classes)``.
        net: The original.
        patches: ``(N, 1, n_mels, patch_frames)``.
        temperature: Of the softmax that the graph ends with; null: it ends with the logits.

    Raises:
        AedError: It is over :data:`TOLERANCE` times the largest output (or 1).
    """
    with torch.no_grad():
        logits = net(torch.from_numpy(patches))
        expected = (logits if temperature is None else (logits / temperature).softmax(dim=1)).numpy()
    difference = float(np.abs(outputs - expected).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise AedError(
            f"{type(net).__name__}: the exported graph differs from torch by {difference:.2g} on {len(patches)} "
            "patches; its forward pass depends on something that tracing does not see (data-dependent control flow)"
        )
    return difference
