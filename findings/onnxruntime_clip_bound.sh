#!/usr/bin/env bash
# onnxruntime 1.32.0, onnxruntime.quantization.quantize_static, QuantFormat.QDQ, asymmetric int8 activations.
#
# The quantiser removes every Clip that follows a layer and takes the Clip's observed range as the layer's output range.
# A quantised range always contains 0, so a lower bound over 0 is lost in silence: what Clip(0.5, 3) gives is never
# under 0.5 in float, and goes down to 0 in int8. (An upper bound under 0 likewise.) Nothing is logged. With
# extra_options={"QDQKeepRemovableActivations": True}, which the documentation gives no such reason for, it stays right.
#
# Output seen (Clip in the graph, least value after the Clip):
#   float    yes  0.500
#   default  no   0.000
#   keep     yes  0.494
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.3
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
draw = np.random.default_rng(0)
arrays = {
    "weight": draw.normal(size=(4, 1, 3, 3)).astype(np.float32),
    "low": np.float32(0.5),
    "high": np.float32(3),
}
nodes = [
    helper.make_node("Conv", ["x", "weight"], ["layer"], "conv"),
    helper.make_node("Clip", ["layer", "low", "high"], ["y"], "clip"),
]
graph = helper.make_graph(
    nodes,
    "net",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 14, 14])],
    [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "net.onnx")
inputs = [draw.normal(size=(1, 1, 16, 16)).astype(np.float32) for _ in range(8)]


class Reader(CalibrationDataReader):
    def __init__(self):
        self.feeds = iter([{"x": x} for x in inputs])

    def get_next(self):
        return next(self.feeds, None)


def least(path):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return min(float(session.run(None, {"x": x})[0].min()) for x in inputs)


found = {"float": ("net.onnx", True, least("net.onnx"))}
for name, options in (("default", {}), ("keep", {"QDQKeepRemovableActivations": True})):
    path = f"{name}.onnx"
    quantize_static(
        "net.onnx", path, Reader(), quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8, per_channel=True, extra_options=options,
    )
    kept = any(node.op_type == "Clip" for node in onnx.load(path).graph.node)
    found[name] = (path, kept, least(path))
for name, (_, kept, value) in found.items():
    print(f"{name:8} {'yes' if kept else 'no ':3}  {value:.3f}")
assert found["float"][2] >= 0.5
assert not found["default"][1] and found["default"][2] < 0.1, "the bound is kept now"
assert found["keep"][1] and found["keep"][2] > 0.48
PYTHON
