"""Rewrites of an exported graph: BatchNorm and padding folded, the torch modules' names."""

import itertools
from collections.abc import Iterator

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper, shape_inference

from aed.base.files import temporary_folder
from aed.export.graph import attributes, constants


def folded(model: bytes) -> onnx.ModelProto:
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


def norms_as_layers(model: onnx.ModelProto) -> onnx.ModelProto:
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
        source, target, name = node.input[0], node.output[0], node.name or node.output[0]
        if ranks.get(source) == 4:
            parts["factor"] = factor[:, None, None, None]
            inputs = [source, f"{name}.factor", f"{name}.offset"]
            nodes.append(helper.make_node("Conv", inputs, [target], name, group=len(factor), kernel_shape=[1, 1]))
        else:
            nodes.append(helper.make_node("Mul", [source, f"{name}.factor"], [f"{name}.scaled"], f"{name}.mul"))
            nodes.append(helper.make_node("Add", [f"{name}.scaled", f"{name}.offset"], [target], f"{name}.add"))
        for part, array in parts.items():
            model.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), f"{name}.{part}"))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def readable(model: onnx.ModelProto) -> onnx.ModelProto:
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
