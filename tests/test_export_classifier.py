import hashlib
import re
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import onnx
import pytest
import tiny
import torch
from onnx import TensorProto, helper, numpy_helper

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.export.graph import constants, copy_of, replace_constants, save_model, strip_ends
from aed.export.onnx import ExportConfig, to_onnx
from aed.export.quantize import QuantizeConfig, quantization_facts, quantize
from aed.export.runtime import _session, open_session
from aed.inference.opening import open_classifier
from aed.run.deploy import DeployConfig, deliver

PATCHES = nets.patches(37, seed=2).numpy()
CARD = ModelCard(frontend=nets.FRONTEND, class_names=tuple("abcd"))


@pytest.fixture(scope="module")
def int8() -> onnx.ModelProto:
    return quantize(to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()), PATCHES[:16], QuantizeConfig())


def saved(folder: Path, model: onnx.ModelProto, card: ModelCard | None = CARD) -> Path:
    path = folder / "model.onnx"
    if card:
        save_model(path, copy_of(model), card)
    else:
        path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("changes", [{}, {"dynamic_batch": True}, {"softmax": True}])
def test_an_exported_model_decides_as_torch_does(tmp_path, changes):
    net = nets.make("awkward")
    card = replace(CARD, outputs="probabilities" if changes.get("softmax") else "logits")
    classifier = open_classifier(saved(tmp_path, to_onnx(net, nets.FRONTEND, ExportConfig(**changes)), card))
    with torch.no_grad():
        expected = net(torch.from_numpy(PATCHES)).softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.posteriors(PATCHES), expected, atol=1e-5)
    assert classifier.kind == "float"


def test_a_checkpoint_is_a_classifier_too(tmp_path):
    model = tiny.classifier()
    data = tiny.data()
    trainer = tiny.trainer(tmp_path, 1)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    classifier = open_classifier(tmp_path / "x.ckpt", net_class="tiny.TinyNet")
    assert classifier.card.class_names == ("alarm", "hum", "rain")
    assert classifier.card.data["clips"]["train"] == data.clip_names("train")
    with torch.no_grad():
        expected = model.net.eval()(torch.from_numpy(PATCHES)).softmax(dim=1).numpy()
    np.testing.assert_allclose(classifier.posteriors(PATCHES), expected, atol=1e-6)


@pytest.mark.parametrize("io", ["int8", "int8_in"])
def test_int8_ends_are_quantised_and_dequantised_by_the_card(tmp_path, int8, io):
    config = QuantizeConfig(io=io)
    facts = quantization_facts(int8, config, ())
    whole = open_classifier(saved(tmp_path, int8, replace(CARD, quantization=facts)))
    outputs = whole.outputs(PATCHES)
    stripped = strip_ends(int8, output=io == "int8")
    bare = open_classifier(saved(tmp_path, stripped, replace(CARD, quantization=facts)))
    np.testing.assert_array_equal(bare.outputs(PATCHES), outputs)
    assert (whole.kind, bare.kind, bare.input_type) == ("int8", "int8", "tensor(int8)")


def test_the_batch_does_not_matter(tmp_path, int8):
    classifier = open_classifier(saved(tmp_path, int8))
    one_by_one = np.concatenate([classifier.outputs(patch[None]) for patch in PATCHES])
    np.testing.assert_array_equal(classifier.outputs(PATCHES), one_by_one)


def test_a_graph_that_takes_one_patch_only_is_fed_one_by_one(tmp_path):
    model = to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig())
    node = next(node for node in model.graph.node if node.op_type == "Flatten")
    shape = numpy_helper.from_array(np.array([1, 60], np.int64), "shape")
    model.graph.initializer.append(shape)
    node.CopyFrom(helper.make_node("Reshape", [node.input[0], "shape"], list(node.output), node.name))
    classifier = open_classifier(saved(tmp_path, model))
    assert classifier.max_batch == 1
    assert classifier.outputs(PATCHES).shape == (37, 4)


def foreign(channels_last: bool, softmax: bool) -> onnx.ModelProto:
    """A user's model: the mean over time, times a matrix."""
    size = [nets.FRONTEND.n_mels, nets.FRONTEND.patch_frames]
    shape = [1, *size, 1] if channels_last else [1, 1, *size]
    weight = np.random.default_rng(0).standard_normal((size[0], 3)).astype(np.float32)
    axes = [2, 3] if channels_last else [1, 3]
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=axes, keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["y" if not softmax else "z"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["z"], ["y"], axis=1))
    graph = helper.make_graph(
        nodes,
        "theirs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("softmax", [True, False])
def test_a_users_model_works_with_a_front_end_and_is_never_written_to(tmp_path, channels_last, softmax):
    path = saved(tmp_path, foreign(channels_last, softmax), card=None)
    path.chmod(0o444)
    before = hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns
    with pytest.raises(AedError, match=r"no model card.*frontend="):
        open_classifier(path)
    classifier = open_classifier(path, nets.FRONTEND, ("x", "y", "z"))
    weight = numpy_helper.to_array(foreign(channels_last, softmax).graph.initializer[0])
    logits = torch.from_numpy(PATCHES.mean(axis=(1, 3)) @ weight)
    np.testing.assert_allclose(classifier.posteriors(PATCHES), logits.softmax(dim=1), atol=1e-5)
    assert open_classifier(path, nets.FRONTEND).card.class_names == ("class_0", "class_1", "class_2")
    assert (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) == before
    assert [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("card", "arguments", "message"),
    [
        (CARD, {"frontend": replace(nets.FRONTEND, f_min=50.0)}, "own front end"),
        (CARD, {"class_names": ("x",)}, "own class names"),
        (replace(CARD, class_names=("a", "b")), {}, "4 outputs, but 2 class names"),
        (replace(CARD, frontend=replace(nets.FRONTEND, n_mels=20)), {}, r"\(N, 1, 20, 32\).*takes \(N, 1, 16, 32\)"),
        (None, {"frontend": nets.FRONTEND, "class_names": ("a",)}, "4 outputs, but 1 class names"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, card, arguments, message):
    path = saved(tmp_path, to_onnx(nets.make("awkward"), nets.FRONTEND, ExportConfig()), card)
    with pytest.raises(AedError, match=message):
        open_classifier(path, **arguments)


def test_int8_input_without_a_card_is_refused(tmp_path, int8):
    path = saved(tmp_path, strip_ends(int8), None)
    with pytest.raises(AedError, match="scale and zero point"):
        open_classifier(path, nets.FRONTEND)


@pytest.mark.parametrize("name", ["model.tflit", "model", "model.pt"])
def test_other_kinds_of_file_are_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(AedError, match=r"need a \.ckpt"):
        open_classifier(tmp_path / name)


def test_a_keras_model_is_sent_to_its_importer(tmp_path):
    with pytest.raises(AedError, match="import it first: aed import_model"):
        open_classifier(tmp_path / "model.h5")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not", b"text"])
def test_a_damaged_checkpoint_is_said(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(AedError, match="not a whole checkpoint"):
        open_classifier(path)
    with pytest.raises(AedError, match="no such checkpoint"):
        open_classifier(tmp_path / "none.ckpt")


def test_a_checkpoint_of_another_program_is_said(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(AedError, match="not written by this project"):
        open_classifier(tmp_path / "x.ckpt")


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"aed": Evil()}, tmp_path / "x.ckpt")
    with pytest.raises(AedError, match="not a whole checkpoint"):
        open_classifier(tmp_path / "x.ckpt")


@pytest.mark.parametrize("name", nets.NAMES)
@pytest.mark.parametrize("strip", [False, True])
def test_the_session_is_exact(name, strip):
    model = to_onnx(nets.make(name), nets.FRONTEND, ExportConfig())
    whole = quantize(model, PATCHES[:16], QuantizeConfig())
    if strip:
        config = QuantizeConfig(io="int8")
        facts, whole = quantization_facts(whole, config, ()), strip_ends(whole)
    chosen, exact = open_session(whole), _session(whole, exact=True)
    for patch in PATCHES:
        steps = np.rint(patch[None] / facts.input_scale).clip(-128, 127).astype(np.int8) if strip else patch[None]
        feed = {"patches": steps}
        np.testing.assert_array_equal(chosen.run(None, feed)[0], exact.run(None, feed)[0])


@pytest.mark.parametrize("content", [{"version": "new"}, [1], {"version": 1}, {"version": 1, "net": {"class": "a.B"}}])
def test_a_checkpoint_with_odd_facts_is_said(tmp_path, content):
    torch.save({"aed": content, "state_dict": {}}, tmp_path / "x.ckpt")
    with pytest.raises(AedError):
        open_classifier(tmp_path / "x.ckpt")


def batched(size: int, mixes: bool) -> onnx.ModelProto:
    """A user's model that takes exactly ``size`` patches, or mixes what it is given at once."""
    pixels = nets.FRONTEND.n_mels * nets.FRONTEND.patch_frames
    weight = np.random.default_rng(0).standard_normal((pixels, 3)).astype(np.float32)
    shape = numpy_helper.from_array(np.array([-1 if mixes else size, pixels], np.int64), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["z"])]
    if mixes:
        nodes.append(helper.make_node("ReduceMean", ["z"], ["m"], axes=[0], keepdims=1))
        nodes.append(helper.make_node("Add", ["z", "m"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["z"], ["y"]))
    given = helper.make_tensor_value_info(
        "x", TensorProto.FLOAT, [size, 1, nets.FRONTEND.n_mels, nets.FRONTEND.patch_frames]
    )
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, [size, 3])
    graph = helper.make_graph(nodes, "theirs", [given], [made], [shape, numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_a_fixed_batch_is_filled_up(tmp_path):
    classifier = open_classifier(saved(tmp_path, batched(4, False), None), nets.FRONTEND)
    assert classifier.max_batch == 4
    weight = numpy_helper.to_array(batched(4, False).graph.initializer[1])
    np.testing.assert_allclose(classifier.outputs(PATCHES), PATCHES.reshape(37, -1) @ weight, rtol=1e-3, atol=1e-3)


def test_a_graph_that_mixes_its_batch_is_fed_one_by_one(tmp_path):
    classifier = open_classifier(saved(tmp_path, batched(1, True), None), nets.FRONTEND)
    alone = np.concatenate([classifier.outputs(patch[None]) for patch in PATCHES[:5]])
    assert classifier.max_batch == 1
    np.testing.assert_array_equal(classifier.outputs(PATCHES[:5]), alone)


def with_constant(model: onnx.ModelProto, name: str, value: np.ndarray) -> onnx.ModelProto:
    other = copy_of(model)
    replace_constants(other, {name: value})
    return other


BAD = [np.inf, -np.inf, np.nan, 0.0, 1e-45, -0.1]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("kind", ["reducemean_scale", "stem.weight_scale", "head.bias_quantized_scale"])
def test_a_scale_that_cannot_be_used_is_named_by_whatever_reads_the_file(tmp_path, int8, kind, value):
    scales = constants(int8)[kind].copy()
    scales.flat[-1] = value
    path = saved(tmp_path, with_constant(int8, kind, scales))
    if "bias" in kind and value == BAD[4]:  # of a channel that is nearly dead; only the weights' counts
        open_classifier(path).outputs(PATCHES)
        return
    with pytest.raises(AedError, match=rf"model\.onnx: .*{re.escape(kind)}.*(NaN|normal numbers)") as caught:
        open_classifier(path)
    with pytest.raises(AedError, match=re.escape(str(caught.value))):
        deliver(path, tmp_path / "firmware", DeployConfig(target="c"))
    assert not (tmp_path / "firmware").exists()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("reducemean_zero_point", np.float32(0), "is float32, need int8"),
        ("stem.weight_zero_point", np.zeros(5, np.uint8), "is uint8, need int8"),
        ("head.bias_quantized_zero_point", np.ones(4, np.int32), "not 0"),
        ("head.bias_quantized_zero_point", np.zeros(4, np.int8), "is int8, need int32"),
    ],
)
def test_a_zero_point_of_another_type_is_named(tmp_path, int8, name, value, words):
    with pytest.raises(AedError, match=rf"model\.onnx: .*{re.escape(name)}.* {words}"):
        open_classifier(saved(tmp_path, with_constant(int8, name, value)))


def test_what_onnx_runtime_refuses_as_it_runs_is_said_of_the_file(tmp_path, int8):
    """Scales that are numbers, but whose ratio its kernels do not take."""
    bad = with_constant(int8, "reducemean_scale", np.float32(1e-30))
    path = saved(tmp_path, bad)
    for use in (
        lambda: open_classifier(path).outputs(PATCHES),
        lambda: deliver(path, tmp_path / "firmware", DeployConfig(target="c")),
    ):
        with pytest.raises(AedError, match=r"model\.onnx: ONNX Runtime cannot run it: [^\n]+$"):
            use()
