"""TensorFlow Lite models against LiteRT, bit for bit in int8, and what of them is refused."""

import csv
import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import soundfile as sf
import tflite_files as files
import torch
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from test_import_model import YAML
from tflite_files import FLOAT32, INT8, NONE, RELU, RELU6, SAME, UINT8, VALID, Net, residual, separable

from aed.base.errors import AedError
from aed.dsp import FrontendConfig
from aed.dsp.logmel import LogMel
from aed.dsp.patches import cut, grid_starts
from aed.export.quantize import QuantizeConfig, quantize
from aed.export.runtime import open_exact, open_session
from aed.export.tflite import Converted, convert, patch_of
from aed.inference.opening import open_classifier
from aed.modules.weights.tflite_file import TfliteGraph
from aed.run.importing.verb import import_model
from aed.run.predict import predict_files as predict
from aed.target.codegen.choose import choose_plan
from aed.target.codegen.lower import lower
from aed.target.host import HostDevice

Array = npt.NDArray[Any]

FRONTEND = FrontendConfig(n_mels=16, patch_frames=24, overlap=0.0, log_offset=1e-3)
NAMES = ["cat", "dog", "hum", "rain"]
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lite(path: Path, feeds: Array, resolver: Any = OpResolverType.AUTO) -> Array:
    """Outputs of LiteRT, by default with XNNPACK; feeds are of the input's type, channels last."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=resolver)
    interpreter.allocate_tensors()
    first, last = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    made = []
    for feed in feeds:
        interpreter.set_tensor(first, feed[None])
        interpreter.invoke()
        made.append(interpreter.get_tensor(last)[0].copy())
    return np.array(made)


def converted(net: Net, folder: Path, is_turned: bool = False) -> Converted:
    return convert(TfliteGraph.read(net.save(folder / "x.tflite")), is_turned)


def steps(made: Converted, feeds: Array) -> Array:
    """int8 outputs of ONNX Runtime for int8 patches, channels last."""
    session = open_exact(made.model)
    images = feeds.transpose(0, 3, 1, 2)
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: image[None]})[0] for image in images])


def int8_patches(number: int, shape: tuple[int, ...] = (16, 24, 1), seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-128, 128, (number, *shape)).astype(np.int8)


def logits_of(net: Net) -> int:
    """Number of the tensor before the posteriors."""
    return next(inputs[0] for kind, _, _, inputs, _ in net.operators if kind in ("SOFTMAX", "LOGISTIC"))


# --- int8: the interpreter's own arithmetic ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [separable, residual])
def test_an_int8_net_gives_the_bits_of_the_interpreter(tmp_path, make):
    net, feeds = make(), int8_patches(200)
    expected = lite(net.save(tmp_path / "logits.tflite", logits_of(net)), feeds)
    made = converted(net, tmp_path)
    assert made.is_int8 and made.has_posteriors and made.task == "single_label" and made.num_classes == 4
    np.testing.assert_array_equal(steps(made, feeds), expected)
    posteriors = lite(tmp_path / "x.tflite", feeds)
    assert (posteriors.max(axis=1) == posteriors[np.arange(200), expected.argmax(axis=1)]).all(), "or a tie"


@pytest.mark.parametrize("ends", [(INT8, INT8), (FLOAT32, FLOAT32), (UINT8, UINT8), (INT8, FLOAT32)])
@pytest.mark.parametrize(("turned", "per_channel"), [(True, False), (False, True)])
def test_the_ends_of_a_file_may_be_of_any_type(tmp_path, ends, turned, per_channel):
    net = separable(ends=ends, turned=turned, per_channel=per_channel)
    made = converted(net, tmp_path)
    real = np.random.default_rng(1).uniform(-8, 6, (20, 16, 24, 1)).astype(np.float32)
    path = net.save(tmp_path / "logits.tflite", logits_of(net))
    whole = np.clip(np.rint(real / np.float32(0.05)) + 20, -128, 127)
    feeds = {INT8: whole, UINT8: whole + 128, FLOAT32: real}[ends[0]]
    expected = lite(path, feeds.astype({INT8: np.int8, UINT8: np.uint8, FLOAT32: np.float32}[ends[0]]))
    session = open_session(made.model)
    ours = np.concatenate([session.run(None, {"patches": patch.transpose(2, 0, 1)[None]})[0] for patch in real])
    last = net.tensors[logits_of(net)]
    np.testing.assert_array_equal(np.rint(ours / np.float32(last.scale)) + last.zero, expected)


def test_other_kernels_of_the_interpreter_are_other_arithmetic(tmp_path):
    """Its reference kernels round twice: what is claimed holds with XNNPACK alone."""
    net, feeds = residual(), int8_patches(50)
    path = net.save(tmp_path / "logits.tflite", logits_of(net))
    reference = lite(path, feeds, OpResolverType.BUILTIN_REF)
    ours = steps(converted(net, tmp_path), feeds)
    assert 0.3 < (reference == ours).mean() < 1 and np.abs(reference.astype(int) - ours).max() <= 8


def test_a_net_that_takes_frames_first_is_turned(tmp_path):
    net, feeds = separable(turned=False), int8_patches(20)
    expected = lite(net.save(tmp_path / "logits.tflite", logits_of(net)), feeds)
    made = converted(net, tmp_path, is_turned=True)
    np.testing.assert_array_equal(steps(made, feeds.transpose(0, 2, 1, 3)), expected)


CONVS = st.fixed_dictionaries(
    {
        "kernel": st.tuples(st.integers(1, 5), st.integers(1, 5)),
        "stride": st.integers(1, 3),
        "padding": st.sampled_from([SAME, VALID]),
        "fused": st.sampled_from([NONE, RELU, RELU6]),
        "depthwise": st.booleans(),
        "dilation": st.integers(1, 2),
        "per_channel": st.booleans(),
        "zero": st.sampled_from([None, -128, -100, 5]),
    }
)


@QUICK
@given(CONVS, st.integers(3, 9), st.integers(3, 9), st.integers(1, 3), st.integers(0, 99))
def test_any_convolution_gives_the_same_bits(tmp_path, facts, height, width, multiple, seed):
    reach = [(taps - 1) * facts["dilation"] + 1 for taps in facts["kernel"]]
    assume(facts["dilation"] == 1 or facts["stride"] == 1)
    assume(reach[0] <= height and reach[1] <= width)
    net = Net((1, height, width, 1), seed=seed).conv(3, (1, 1), fused=NONE)
    net.conv(3 * multiple, **facts).moved("RESHAPE", (1, int(np.prod(net.now.shape)))).dense(3)
    feeds = int8_patches(8, (height, width, 1), seed)
    np.testing.assert_array_equal(steps(converted(net, tmp_path), feeds), lite(tmp_path / "x.tflite", feeds))


OTHERS = {
    "max pool": lambda net: net.pool("MAX", 3, 2, SAME),
    "average pool": lambda net: net.pool("AVERAGE", 2, 2),
    "average pool, padded": lambda net: net.pool("AVERAGE", 3, 2, SAME),
    "sum with itself": lambda net: net.add(net.last, RELU6),
    "pad": lambda net: net.pad(0, 2, 1, 0).pool("MAX", 2, 1),
    "factors": lambda net: net.by_constant("MUL").by_constant("ADD"),
    "concat": lambda net: net.concat(net.last),
    "sigmoid": lambda net: net.function("LOGISTIC"),
    "relu": lambda net: net.function("RELU"),
    "relu6": lambda net: net.function("RELU6"),
    "tanh": lambda net: net.function("TANH"),
    "hard swish": lambda net: net.function("HARD_SWISH"),
    "mean": lambda net: net.mean(keep=True),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_operators_differ_by_no_more_than_one_step(tmp_path, name):
    """LiteRT rounds half a step of a mean, and some values of a curve, otherwise."""
    net = Net((1, 16, 24, 1), seed=2).conv(6, fused=NONE)
    OTHERS[name](net)
    size = int(np.prod(net.now.shape))
    wide = net.moved("RESHAPE", (1, size))
    shown = net.last
    wide.dense(3)
    feeds = int8_patches(30)
    path = net.save(tmp_path / "shown.tflite", shown)
    expected = lite(path, feeds)
    graph = TfliteGraph.read(path)
    value = convert(graph, False) if name == "mean" else None
    got = steps(value, feeds) if value is not None else _image_steps(net, tmp_path, shown, feeds)
    assert np.abs(got.astype(int) - expected).max() <= 1
    assert (got == expected).mean() > (0.85 if name.startswith("average pool") else 0.97), "ties of a half"


def _image_steps(net: Net, folder: Path, shown: int, feeds: Array) -> Array:
    """int8 values of an image inside the net, in the file's order."""
    made = converted(net, folder)
    image = next(inputs[0] for kind, _, _, inputs, outputs in net.operators if outputs == [shown])
    kind, number = next((k.lower(), n) for n, (k, *_, outputs) in enumerate(net.operators) if outputs == [image])
    held = [node.output[0] for node in made.model.graph.node if node.op_type == "QuantizeLinear"]
    name = [name for name in held if name.startswith(f"{kind}_{number}.") and ".as_" not in name][-1]
    del made.model.graph.output[:]
    made.model.graph.output.add(name=name).type.tensor_type.elem_type = 3
    images = np.concatenate(
        [open_session(made.model).run(None, {"patches": (feed.transpose(2, 0, 1)[None] - 20.0) * np.float32(0.05)})[0]
         for feed in feeds.astype(np.float32)]
    )  # fmt: skip
    return images.transpose(0, 2, 3, 1).reshape(len(feeds), -1)


# --- float --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [separable, residual])
@pytest.mark.parametrize("half", [False, True], ids=["", "float16 weights"])
def test_a_float_net_gives_the_interpreters_posteriors(tmp_path, make, half):
    net = make(is_int8=False)
    if half:
        _in_float16(net)
    patches = np.random.default_rng(2).uniform(-9, 3, (50, 16, 24, 1)).astype(np.float32)
    made = converted(net, tmp_path)
    assert not made.is_int8
    session = open_session(made.model)
    logits = np.concatenate([session.run(None, {"patches": patch.transpose(2, 0, 1)[None]})[0] for patch in patches])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.abs(e / e.sum(axis=1, keepdims=True) - lite(tmp_path / "x.tflite", patches)).max() <= 1e-5


def _in_float16(net: Net) -> None:
    """Weights as the converter stores them with supported_types = [tf.float16]."""
    for number, tensor in enumerate(list(net.tensors)):
        if tensor.values is not None and tensor.kind == FLOAT32:
            stored = net.constant(tensor.values, files.FLOAT16)
            net.tensors[number] = files.Tensor(FLOAT32, tensor.shape)
            net.operators.insert(0, ("DEQUANTIZE", "DequantizeOptions", {}, [stored], [number]))


# --- as the verb imports it -----------------------------------------------------------------------------------------


def test_an_imported_file_predicts_and_becomes_c(tmp_path, compiles, capsys):
    path = separable().save(tmp_path / "best.tflite")
    written = import_model([str(path)], NAMES, FRONTEND, c=str(tmp_path / "firmware"))
    assert written == [tmp_path / "best.onnx"] and (tmp_path / "firmware" / "src" / "aed_net.c").is_file()
    classifier = open_classifier(written[0])
    card = classifier.card
    assert card.outputs == "logits" and card.class_names == tuple(NAMES) and card.quantization.input_zero_point == 20
    assert card.weights["file"] == "best.tflite" and card.data["clips"] == {}
    samples = np.random.default_rng(0).integers(-9000, 9000, 32000).astype(np.int16)
    sf.write(tmp_path / "a.wav", samples, 16000)
    device = HostDevice(tmp_path / "device", classifier.model, card.frontend)
    outputs = device.outputs(samples)
    predict(str(written[0]), [str(tmp_path / "a.wav")], format="csv", timeline=True, mode="stream")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == len(outputs) > 2
    assert [row["label"] for row in rows] == [NAMES[index] for index in outputs.argmax(axis=1)]


def test_c_has_the_bits_of_onnx_runtime(tmp_path, compiles):
    (written,) = import_model([str(residual().save(tmp_path / "x.tflite"))], NAMES, FRONTEND)
    classifier = open_classifier(written)
    samples = np.random.default_rng(3).integers(-20000, 20000, 40000).astype(np.int16)
    frames = LogMel(FRONTEND)(torch.from_numpy(samples.astype(np.float32) / 32768)).numpy()
    patches = cut(frames, grid_starts(frames.shape[1], FRONTEND), FRONTEND.patch_frames)[:, None]
    got = HostDevice(tmp_path / "device", classifier.model, FRONTEND).outputs(samples)
    np.testing.assert_array_equal(got, classifier.outputs(patches))


def test_c_of_an_imported_net_costs_what_ours_does(tmp_path):
    """Layers, weights, memory and instructions, as the planner counts them, whoever quantised the net."""

    def net(is_int8: bool) -> Net:
        made = Net((1, 16, 24, 1), is_int8).conv(8, stride=2).conv(8, depthwise=True).conv(12, (1, 1))
        return made.conv(12, depthwise=True, stride=2).conv(16, (1, 1)).mean(zero=-128).dense(4).finish()

    patches = np.random.default_rng(0).normal(0, 2, (16, 1, 16, 24)).astype(np.float32)
    ours = quantize(converted(net(is_int8=False), tmp_path).model, patches, QuantizeConfig())
    graphs = (converted(net(is_int8=True), tmp_path).model, ours)
    imported, own = (choose_plan(partial(lower, graph)) for graph in graphs)
    assert [layer.kind for layer in imported.program.layers] == [layer.kind for layer in own.program.layers]
    assert imported.program.weight_bytes == own.program.weight_bytes and imported.plan.size == own.plan.size
    instructions = [chosen.facts["instructions_estimated"] for chosen in (imported, own)]
    assert instructions[0] == pytest.approx(instructions[1], rel=0.02)


def test_labels_inside_the_file_name_its_classes_in_their_order(tmp_path):
    labels = {"labels.txt": "rain\ncat\nhum\ndog\n", "notes.txt": "one\ntwo\n"}
    path = separable().save(tmp_path / "a.tflite", labels=labels)
    import_model([str(path)], frontend=FRONTEND)
    assert open_classifier(tmp_path / "a.onnx").card.class_names == ("rain", "cat", "hum", "dog")
    two = separable().save(tmp_path / "b.tflite", labels={"a.txt": "a\nb\nc\nd", "b.txt": "e\nf\ng\nh"})
    with pytest.raises(AedError, match="does not name its 4 classes"):
        import_model([str(two)], frontend=FRONTEND)


def test_the_order_of_names_has_to_be_clear(tmp_path):
    path = str(separable().save(tmp_path / "a.tflite"))
    with pytest.raises(AedError, match=r"not in alphabetical order; class_order=sorted.*class_order=given"):
        import_model([path], ["rain", "cat", "hum", "dog"], FRONTEND)
    for order, expected in (("sorted", tuple(NAMES)), ("given", ("rain", "cat", "hum", "dog"))):
        import_model([path], ["rain", "cat", "hum", "dog"], FRONTEND, class_order=order)
        assert open_classifier(tmp_path / "a.onnx").card.class_names == expected
    with pytest.raises(AedError, match="class_order: need sorted or given"):
        import_model([path], NAMES, FRONTEND, class_order="mine")  # type: ignore[arg-type]


def test_a_float_file_becomes_int8_and_c_in_one_command(tmp_path, compiles):
    path = str(separable(is_int8=False).save(tmp_path / "a.tflite"))
    with pytest.raises(AedError, match=r"c: .*a\.tflite is float, C needs int8.*calibrate="):
        import_model([path], NAMES, FRONTEND, c=str(tmp_path / "firmware"))
    assert [item.name for item in tmp_path.iterdir()] == ["a.tflite"]
    (tmp_path / "sounds").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).normal(0, 0.1 + number / 10, 16000)
        sf.write(tmp_path / "sounds" / f"{number}.wav", noise.clip(-1, 1), 16000)
    (tmp_path / "sounds" / "bad.wav").write_bytes(b"nothing")
    written = import_model([path], NAMES, FRONTEND, calibrate=str(tmp_path / "sounds"), c=str(tmp_path / "firmware"))
    assert [item.name for item in written] == ["a.onnx", "a_int8.onnx"]
    card = open_classifier(written[1]).card
    assert card.quantization.calibration_clips == ("0.wav", "2.wav"), "every second one judges"
    assert card.float_sha256 == open_classifier(written[0]).card.float_sha256
    assert (tmp_path / "firmware" / "src" / "aed_net.c").is_file()


def test_an_int8_file_is_not_calibrated_again(tmp_path):
    path = str(separable().save(tmp_path / "a.tflite"))
    with pytest.raises(AedError, match="is int8 already"):
        import_model([path], NAMES, FRONTEND, calibrate=str(tmp_path))
    assert [item.name for item in tmp_path.iterdir()] == ["a.tflite"]


# --- what is refused ------------------------------------------------------------------------------------------------


def refused(path: Path, message: str, frontend: FrontendConfig | None = FRONTEND) -> None:
    with pytest.raises(AedError, match=message) as raised:
        import_model([str(path)], NAMES, frontend)
    assert path.name in str(raised.value) and "\n" not in str(raised.value)
    assert not path.with_suffix(".onnx").exists()


def test_operators_without_counterpart_are_named(tmp_path):
    net = Net((1, 16, 24, 1)).conv(4)
    net.op("ELU", "", {}, [net.last], net.made(net.now.shape, 1.0)).mean().dense(4).finish()
    refused(net.save(tmp_path / "a.tflite"), r"operator 1, ELU, inputs .*no counterpart here; .* of ADD")
    net = Net((1, 16, 24, 1)).conv(4)
    net.op("My\nMel", "", {}, [net.last], net.made(net.now.shape, 1.0)).mean().dense(4).finish()
    refused(net.save(tmp_path / "b.tflite"), r"CUSTOM 'My\\nMel'")


def test_a_float_part_of_an_int8_net_is_refused(tmp_path):
    net = Net((1, 16, 24, 1)).conv(4)
    inside = net.last
    net.op("DEQUANTIZE", "DequantizeOptions", {}, [inside], files.Tensor(FLOAT32, net.now.shape))
    net.op("ELU", "", {}, [net.last], files.Tensor(FLOAT32, net.now.shape))
    net.op("QUANTIZE", "QuantizeOptions", {}, [net.last], net.made(net.now.shape, 1.0)).mean().dense(4).finish()
    refused(net.save(tmp_path / "a.tflite"), "computes float32: a float part of an int8 net.*TFLITE_BUILTINS_INT8")


def test_weights_that_are_int8_for_float_values_are_refused(tmp_path):
    net = separable(is_int8=False)
    for tensor in net.tensors:
        if tensor.values is not None and tensor.values.ndim == 4 and tensor.kind == FLOAT32:
            tensor.kind, tensor.scale, tensor.values = INT8, 0.01, np.ones(tensor.shape, np.int8)
            break
    refused(net.save(tmp_path / "a.tflite"), "dynamic range quantisation.*representative_dataset")


def test_other_types_are_refused(tmp_path):
    net = separable()
    for tensor in net.tensors[1:]:
        tensor.kind = {INT8: files.INT16}.get(tensor.kind, tensor.kind)
    refused(net.save(tmp_path / "a.tflite"), "int16|int8")
    net = separable()
    net.tensors[next(n for n, t in enumerate(net.tensors) if t.values is not None and t.kind == INT8)].zero = 3
    refused(net.save(tmp_path / "b.tflite"), "weights whose zero point is 0")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 15600), "takes 15600 samples.*yamnet_audioset"),
        ((1, 16, 24, 3), r"need an input \(1, n_mels, patch_frames, 1\)"),
        ((2, 16, 24, 1), "need an input"),
        ((1, 16, 25, 1), "takes patches of 16 x 25, the front end computes 16 mel bands and 24 frames"),
    ],
)
def test_other_inputs_are_refused(tmp_path, shape, message):
    net = Net(shape)
    net.function("TANH").dense(4).finish() if len(shape) == 2 else net.conv(4).mean().dense(4).finish()
    refused(net.save(tmp_path / "a.tflite"), message)


def test_a_front_end_is_asked_for(tmp_path):
    net = Net((1, 64, 96, 1)).conv(4, stride=4).mean().dense(4).finish()
    refused(net.save(tmp_path / "a.tflite"), "st_config=user_config.yaml or frontend=yamnet_64x96", None)


def test_silence_outside_the_range_of_the_input_is_said(tmp_path, caplog):
    path = separable().save(tmp_path / "a.tflite")  # takes -7.4 to 5.35
    import_model([str(path)], NAMES, FRONTEND)
    assert "outside" not in caplog.text
    import_model([str(path)], NAMES, replace(FRONTEND, log_offset=1e-6))
    assert "silence is outside that range" in caplog.text


def test_files_that_are_none_are_refused(tmp_path):
    refused(tmp_path / "none.tflite", "no such file")
    for name, content in (("empty", b""), ("text", b"not a model at all"), ("head", b"\0\0\0\x20TFL3" + bytes(40))):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        refused(path, "not a TensorFlow Lite model|damaged")
    refused(separable().save(tmp_path / "two.tflite", graphs=2), "has 2 graphs")
    with pytest.raises(AedError, match=r"need a \.keras, \.h5 or \.tflite file"):
        import_model([str(tmp_path / "x.pb")], NAMES)
    with pytest.raises(AedError, match=r"an ONNX model needs no import: model="):
        import_model([str(tmp_path / "x.onnx")], NAMES)


def test_shapes_of_any_size_and_operators_in_a_ring_are_refused(tmp_path):
    net = Net((1, 16, 24, 1)).conv(4)
    net.tensors[net.last].shape = (1, 100_000, 100_000, 4)
    refused(net.mean().dense(4).finish().save(tmp_path / "a.tflite"), "height and width|values at most")
    net = Net((1, 16, 24, 1)).conv(4).mean().dense(4)
    net.op("RESHAPE", "ReshapeOptions", {}, [net.last, net.last], files.Tensor(INT8, (1, 50_000, 50_000, 4), 0.1))
    refused(net.save(tmp_path / "b.tflite"), "values at most")
    net = Net((1, 16, 24, 1)).conv(4).mean().dense(4)
    last = net.tensor(files.Tensor(FLOAT32, (1, 4)))
    net.operators.append(("DEQUANTIZE", "DequantizeOptions", {}, [last], [last]))
    refused(net.save(tmp_path / "c.tflite", last), "float32|operators before it")
    net.operators[-1] = ("DEQUANTIZE", "DequantizeOptions", {}, [], [last])
    refused(net.save(tmp_path / "d.tflite", last), "damaged")


def test_a_folder_of_others_is_found_before_anything_is_written(tmp_path):
    path = separable().save(tmp_path / "a.tflite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "x.txt").write_text("x")
    with pytest.raises(AedError, match="holds something else"):
        import_model([str(path)], NAMES, FRONTEND, c=str(tmp_path / "mine"))
    assert not (tmp_path / "a.onnx").exists()


def test_the_zoos_configuration_beside_a_file_is_read(tmp_path):
    path = Net((1, 64, 96, 1)).conv(4, stride=4).mean().dense(4).finish().save(tmp_path / "a.tflite")
    (tmp_path / "user_config.yaml").write_text(YAML)
    import_model([str(path)])
    card = open_classifier(tmp_path / "a.onnx").card
    assert card.class_names == ("Dog", "hum", "other", "rain") and card.frontend.trim == "compatible"
    import_model([str(path)], NAMES)
    assert open_classifier(tmp_path / "a.onnx").card.class_names == tuple(NAMES)


def test_damaged_bytes_never_end_in_a_traceback(tmp_path):
    whole = residual().save(tmp_path / "a.tflite").read_bytes()
    rng, path = np.random.default_rng(0), tmp_path / "b.tflite"
    for number in range(150):
        data = bytearray(whole)
        if number % 3 == 0:
            data = data[: int(rng.integers(8, len(data)))]
        for place in rng.integers(8, len(data), 4):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            graph = TfliteGraph.read(path)
            patch_of(graph)
            made = convert(graph, False)
            open_session(made.model)
        except AedError as error:
            assert "b.tflite" in str(error)
