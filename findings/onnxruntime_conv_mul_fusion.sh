#!/usr/bin/env bash
# onnxruntime 1.32.0, a float Conv of whole numbers and the Mul after it (CPU).
#
# Whole numbers whose sums stay below 2^24 are exact in float32, so that a Conv of them, a Mul by the ratio of the scales
# and a QuantizeLinear of scale 1 stand for an int8 convolution in every bit. With the default optimisations the session
# multiplies the weights by the ratio when it is opened (ConvMulFusion, of the level that is called basic and said to
# keep semantics), each is rounded, and some steps are others. Without that one optimisation no step is.
#
# Output seen:
#   default: 5 of 1048576 steps are not those of whole numbers
#   without ConvMulFusion: 0 of 1048576
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

random = np.random.default_rng(0)
weights = random.integers(-127, 128, (64, 128)).astype(np.float32)
ratio = random.uniform(5e-4, 2e-3, 64).astype(np.float32)
x = random.integers(-128, 128, (1, 128, 16384, 1)).astype(np.float32)
arrays = {
    "w": weights[:, :, None, None],
    "ratio": ratio.reshape(1, -1, 1, 1),
    "one": np.float32(1),
    "zero": np.int8(0),
}
nodes = [
    helper.make_node("Conv", ["x", "w"], ["sums"]),
    helper.make_node("Mul", ["sums", "ratio"], ["steps"]),
    helper.make_node("QuantizeLinear", ["steps", "one", "zero"], ["y"]),
]
ends = [
    helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape),
    helper.make_tensor_value_info("y", TensorProto.INT8, [1, 64, 16384, 1]),
]
constants = [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
graph = helper.make_graph(nodes, "layer", ends[:1], ends[1:], constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()

sums = np.einsum("oc,ncfk->nofk", weights.astype(np.float64), x.astype(np.float64))
assert np.abs(sums).max() < 2**24
expected = np.clip(np.rint(sums.astype(np.float32) * ratio[:, None, None]), -128, 127)


def differing(**settings):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"], **settings)
    return int((session.run(None, {"x": x})[0] != expected).sum())


fused, plain = differing(), differing(disabled_optimizers=["ConvMulFusion"])
print(f"default: {fused} of {expected.size} steps are not those of whole numbers")
print(f"without ConvMulFusion: {plain} of {expected.size}")
assert fused > 0 and plain == 0
PYTHON
