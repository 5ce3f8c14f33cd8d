#!/usr/bin/env bash
# onnxruntime 1.32.0, Add and Mul between DequantizeLinear and QuantizeLinear (CPU, x86-64).
#
# uint8 values with zero point z + 128 and int8 values with zero point z stand for the same numbers, and tools move models
# from one type to the other for speed. For some scales QLinearAdd and QLinearMul round a few of the 65,536 pairs of
# inputs, sums that lie next to the middle between two steps, up in one type and down in the other. A float64 computation
# agrees with the uint8 kernel here. A net that adds images of some ten thousand values meets such pairs all the time.
#
# Output seen (scales and zero points of a small MobileNet):
#   Add: of 65536 pairs uint8 differs from int8 in 1, from float64 in 0; int8 from float64 in 1
#   Mul: of 65536 pairs uint8 differs from int8 in 4, from float64 in 0; int8 from float64 in 4
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

CASES = {
    "Add": ((0.07635153830051422, -6), (0.03718582168221474, -118), (0.08763252198696136, -31)),
    "Mul": ((0.07731549441814423, -128), (0.0028294832445681095, -128), (0.025286884978413582, -128)),
}
STEPS = np.arange(-128, 128)


def steps_of(operator, ends, dtype):
    """The output steps of all pairs of inputs, as int8."""
    moved = 128 if dtype is np.uint8 else 0
    nodes, constants = [], []
    for name, (scale, zero) in zip("abc", ends):
        constants.append(numpy_helper.from_array(np.float32(scale), name + "_scale"))
        constants.append(numpy_helper.from_array(dtype(zero + moved), name + "_zero"))
    for name in "ab":
        nodes.append(helper.make_node("DequantizeLinear", [name, name + "_scale", name + "_zero"], [name + "_value"]))
    nodes.append(helper.make_node(operator, ["a_value", "b_value"], ["c_value"]))
    nodes.append(helper.make_node("QuantizeLinear", ["c_value", "c_scale", "c_zero"], ["c"]))
    kind = TensorProto.UINT8 if moved else TensorProto.INT8
    shapes = [helper.make_tensor_value_info(name, kind, [256, 256]) for name in "abc"]
    graph = helper.make_graph(nodes, "g", shapes[:2], shapes[2:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    a, b = np.meshgrid(STEPS, STEPS, indexing="ij")
    found = session.run(None, {"a": (a + moved).astype(dtype), "b": (b + moved).astype(dtype)})[0]
    return found.astype(np.int16) - moved


def exact(operator, ends):
    """The same in float64."""
    (sa, za), (sb, zb), (sc, zc) = [(np.float64(np.float32(scale)), zero) for scale, zero in ends]
    a, b = np.meshgrid((STEPS - za) * sa, (STEPS - zb) * sb, indexing="ij")
    return np.clip(np.rint((a + b if operator == "Add" else a * b) / sc) + zc, -128, 127)


seen = {}
for operator, ends in CASES.items():
    int8, uint8 = steps_of(operator, ends, np.int8), steps_of(operator, ends, np.uint8)
    true = exact(operator, ends)
    seen[operator] = [int((one != other).sum()) for one, other in ((uint8, int8), (uint8, true), (int8, true))]
    print(f"{operator}: of 65536 pairs uint8 differs from int8 in {seen[operator][0]},", end=" ")
    print(f"from float64 in {seen[operator][1]}; int8 from float64 in {seen[operator][2]}")
assert all(differing for differing, *_ in seen.values()), "uint8 and int8 agree now"
PYTHON
