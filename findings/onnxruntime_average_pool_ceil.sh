#!/usr/bin/env bash
# onnxruntime 1.32.0, AveragePool with ceil_mode=1 and count_include_pad=1 (CPU).
#
# With ceil_mode the last window may reach past the padded image. What lies there is neither value nor padding: the float
# kernel, as torch, divides the sum of such a window by the pixels that are in the padded image. Between DequantizeLinear
# and QuantizeLinear the same node becomes QLinearAveragePool, which divides by the whole window: the int8 graph has
# other means at the edge, here a third of what the float graph has, without a word.
#
# Output seen (row of 4 ones, window 3, stride 3, no padding):
#   float   1.00  1.00
#   int8    1.00  0.33
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FACTS = {"kernel_shape": [1, 3], "strides": [1, 3], "ceil_mode": 1, "count_include_pad": 1}
CONSTANTS = [numpy_helper.from_array(np.float32(0.01), "scale"), numpy_helper.from_array(np.int8(0), "zero")]


def means(int8):
    pool = helper.make_node("AveragePool", ["r" if int8 else "x"], ["m" if int8 else "y"], **FACTS)
    nodes = [pool]
    if int8:
        ends = ["scale", "zero"]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", *ends], ["q"]),
            helper.make_node("DequantizeLinear", ["q", *ends], ["r"]),
            pool,
            helper.make_node("QuantizeLinear", ["m", *ends], ["p"]),
            helper.make_node("DequantizeLinear", ["p", *ends], ["y"]),
        ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 1, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], CONSTANTS if int8 else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 1, 1, 4), np.float32)})[0].ravel()


found = {"float": means(False), "int8": means(True)}
for name, values in found.items():
    print(f"{name:6s}", "  ".join(f"{value:.2f}" for value in values))
np.testing.assert_allclose(found["float"], [1, 1], atol=0.01)
np.testing.assert_allclose(found["int8"], [1, 0.33], atol=0.01, err_msg="the int8 kernel divides otherwise now")
PYTHON
