#!/usr/bin/env bash
# onnxruntime 1.32.0, Conv with auto_pad=SAME_UPPER and dilations over 1 (CPU).
#
# ONNX defines the padding of such a node, onnx's checker takes it, and its reference evaluator computes it; PyTorch's
# TorchScript exporter (2.13) writes it for Conv2d(padding="same", dilation=2). onnxruntime opens the model without a word and
# refuses it at the first run, so that an export that is only opened and checked seems to have succeeded. With the same
# padding written as pads it runs and equals the reference.
#
# Output seen:
#   checker         takes it
#   reference       computes it, equal to explicit pads
#   onnxruntime     opens it; run: Dilation not supported for AutoPadType::SAME_UPPER or AutoPadType::SAME_LOWER
#   explicit pads   greatest difference from the reference 0.0e+00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

IMAGE = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)
KERNEL = numpy_helper.from_array(np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3), "w")


def model(**padding):
    node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], dilations=[2, 2], **padding)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, 8, 8])
    graph = helper.make_graph([node], "g", [x], [y], [KERNEL])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(graph):
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": IMAGE})[0]


same = model(auto_pad="SAME_UPPER")
onnx.checker.check_model(same, full_check=True)
print("checker         takes it")
# of explicit pads, whose meaning nobody disputes: two pixels a side for a 3x3 kernel at dilation 2
explicit = model(pads=[2, 2, 2, 2])
reference = ReferenceEvaluator(explicit).run(None, {"x": IMAGE})[0]
by_name = ReferenceEvaluator(same).run(None, {"x": IMAGE})[0]
assert np.array_equal(by_name, reference)
print("reference       computes it, equal to explicit pads")
session = ort.InferenceSession(same.SerializeToString(), providers=["CPUExecutionProvider"])
try:
    session.run(None, {"x": IMAGE})
except Exception as error:
    reason = str(error)
else:
    raise SystemExit("onnxruntime runs it now")
assert "Dilation not supported for AutoPadType" in reason, reason
print("onnxruntime     opens it; run: Dilation not supported for AutoPadType::SAME_UPPER or AutoPadType::SAME_LOWER")
difference = np.abs(run(explicit) - reference).max()
print(f"explicit pads   greatest difference from the reference {difference:.1e}")
assert difference == 0
PYTHON
