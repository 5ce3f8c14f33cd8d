"""Our C against that of emx-onnx-cgen, which others wrote: two generators, one net, the same bits.

It reads the QLinear operators that ONNX Runtime makes of our graph; their arithmetic is its own.
"""

import ctypes
from pathlib import Path

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
from emx_onnx_cgen.compiler import Compiler, CompilerOptions
from test_target_net import host_compiler, inputs, int8, run_on_host  # noqa: F401 - a fixture

from aed.base.processes import run_tool
from aed.export.graph import strip_ends
from aed.target.codegen.lower import lower
from aed.target.codegen.program import Program
from aed.target.host import pointer

pytestmark = pytest.mark.usefixtures("compiles")


def with_qlinear_operators(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """A QDQ graph with int8 ends as QLinearConv, QGemm, ...: same weights, scales and zero points."""
    ends = strip_ends(model)
    options = ort.SessionOptions()
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED  # more would be channels last
    options.optimized_model_filepath = str(folder / "qlinear.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(ends.SerializeToString(), options, providers=["CPUExecutionProvider"])
    made = onnx.load(folder / "qlinear.onnx")
    # onnx cannot infer shapes behind operators of ONNX Runtime's own
    outputs = {name for node in made.graph.node for name in node.output}
    known = {value.name for value in made.graph.value_info}
    inferred = onnx.shape_inference.infer_shapes(ends, strict_mode=True)
    made.graph.value_info.extend(value for value in inferred.graph.value_info if value.name in outputs - known)
    return made


def theirs(model: onnx.ModelProto, folder: Path) -> str:
    """The C of emx-onnx-cgen: one function ``oracle(in, out)``."""
    options = CompilerOptions(model_name="oracle", large_weight_threshold=0)
    return Compiler(options).compile(with_qlinear_operators(model, folder))


def run_theirs(folder: Path, source: str, program: Program, steps: np.ndarray) -> np.ndarray:
    """Outputs of ``source`` for ``steps``, which are channels last; it takes channels first."""
    folder.mkdir()
    (folder / "oracle.c").write_text(source)
    flags = ["-O2", "-w", "-ffp-contract=off", "-shared", "-fPIC"]  # it is not pedantic ISO C
    run_tool(["gcc", *flags, "-o", folder / "oracle.so", folder / "oracle.c", "-lm"], 120)
    library = ctypes.CDLL(str(folder / "oracle.so"))
    height, width, channels = program.tensors[program.input].shape
    outputs = np.empty((len(steps), program.tensors[program.output].size), np.int8)
    for step, made in zip(steps, outputs, strict=True):
        image = np.ascontiguousarray(step.reshape(height, width, channels).transpose(2, 0, 1))
        library.oracle(pointer(image), pointer(made))
    return outputs


@pytest.mark.parametrize(
    ("name", "softmax"),
    [("yamnet", False), ("pre_activation", False), ("pre_activation", True), ("mixed", False), ("mixed", True)],
)
def test_two_generators_give_the_same_bits(tmp_path, name, softmax):
    model = int8(nets.make(name), softmax=softmax)
    program = lower(model)
    steps = inputs(program, 60)
    got = run_theirs(tmp_path / "theirs", theirs(model, tmp_path), program, steps)
    np.testing.assert_array_equal(run_on_host(tmp_path / "ours", program, steps), got)
    assert len(np.unique(got, axis=0)) > 4


def test_two_generators_differ_in_average_pooling_alone(tmp_path):
    """With that one function of theirs changed to ONNX Runtime's arithmetic all bits agree; without, some do not.

    Theirs adds integers and rounds halves, a quarter of all means of four, away from zero before it adds the zero
    point. ONNX Runtime and ours add float32 values and the zero point, then round.
    """
    model = int8(nets.make("awkward"))
    program, source = lower(model), theirs(model, tmp_path)
    steps = inputs(program, 60)
    ours = run_on_host(tmp_path / "ours", program, steps)
    assert not np.array_equal(ours, run_theirs(tmp_path / "whole", source, program, steps))
    start = source.index("EMX_NODE_FN void node5_pool(")
    end = source.index("/*", start)
    pool = source[start:end]
    for whole, real in (
        ("int32_t acc = 0;", "float acc = 0.0f;"),
        (
            "acc += ((int32_t)input0[n][c][ih][iw]) - input_zero;",
            "acc += input_scale[0] * (float)(input0[n][c][ih][iw] - input_zero);",
        ),
        (
            "(int32_t)roundf(mean * scale) + output_zero;",
            "(int32_t)nearbyintf(mean / output_scale[0] + (float)output_zero);",
        ),
    ):
        assert pool.count(whole) == 1
        pool = pool.replace(whole, real)
    mended = source[:start] + pool + source[end:]
    np.testing.assert_array_equal(ours, run_theirs(tmp_path / "real", mended, program, steps))
