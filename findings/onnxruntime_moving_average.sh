#!/usr/bin/env bash
# onnxruntime 1.32.0, quantize_static with MinMax calibration and CalibMovingAverage.
#
# The documented option CalibMovingAverageConstant is the "constant smoothing factor to use when computing the moving
# average of the minimum and maximum values". It changes nothing: without CalibStridedMinMax all samples are collected
# first, and a range is the plain mean of the samples' minima and of their maxima, whatever the constant and the order of
# the samples. So one wild sample among N moves a range by a share of 1/N, not by the constant.
#
# Output seen, scale of the input, whose mean range is 1.75 and whose whole range is 4:
#   constant 0.01, samples in order: 0.006863
#   constant 1.0, samples in order: 0.006863
#   constant 0.01, samples reversed: 0.006863
#   no moving average: 0.015686
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" --quiet --disable-pip-version-check install onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
SAMPLES = [np.array([[-high, high]], np.float32) for high in (0.5, 0.5, 0.5, 2.0)]
weight = numpy_helper.from_array(np.eye(2, dtype=np.float32), "weight")
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2]) for name in "xy")
graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"], "dense")], "g", [x], [y], [weight])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), "float.onnx")


class Reader(CalibrationDataReader):
    def __init__(self, samples):
        self.feeds = iter([{"x": sample} for sample in samples])

    def get_next(self):
        return next(self.feeds, None)


def scale_of_input(samples, **options):
    quantize_static("float.onnx", "int8.onnx", Reader(samples), quant_format=QuantFormat.QDQ,
                    activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, extra_options=options)
    arrays = {item.name: numpy_helper.to_array(item) for item in onnx.load("int8.onnx").graph.initializer}
    return float(arrays["x_scale"])


found = {
    "constant 0.01, samples in order": scale_of_input(SAMPLES, CalibMovingAverage=True, CalibMovingAverageConstant=0.01),
    "constant 1.0, samples in order": scale_of_input(SAMPLES, CalibMovingAverage=True, CalibMovingAverageConstant=1.0),
    "constant 0.01, samples reversed": scale_of_input(
        SAMPLES[::-1], CalibMovingAverage=True, CalibMovingAverageConstant=0.01
    ),
    "no moving average": scale_of_input(SAMPLES),
}
for name, scale in found.items():
    print(f"{name}: {scale:.6f}")
*averaged, plain = found.values()
assert np.allclose(averaged, 1.75 / 255) and np.isclose(plain, 4 / 255), "the constant or the order matters now"
PYTHON
