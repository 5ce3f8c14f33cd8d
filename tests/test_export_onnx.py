import copy

import nets
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from aed.base.errors import AedError
from aed.export.card import ModelCard
from aed.export.fidelity import outputs
from aed.export.graph import graph_sha256, load_model, save_model
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx


def exported(name: str, **changes: bool) -> onnx.ModelProto:
    return to_onnx(nets.make(name), nets.FRONTEND, ExportConfig(**changes))


def run(model: onnx.ModelProto, patches: np.ndarray) -> np.ndarray:
    """Plain ONNX Runtime, without any optimisation of its own."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"patches": patch[None]})[0] for patch in patches])


@pytest.mark.parametrize("name", nets.NAMES)
def test_the_graph_gives_what_torch_gives(name):
    net, patches = nets.make(name), nets.patches(16)
    with torch.no_grad():
        expected = net(patches).numpy()
    got = run(exported(name), patches.numpy())
    np.testing.assert_allclose(got, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("name", nets.NAMES)
def test_the_graph_is_plain(name):
    model = exported(name)
    assert [(item.domain, item.version) for item in model.opset_import] == [("", 17)]
    ops = {node.op_type for node in model.graph.node}
    assert not ops & {"BatchNormalization", "Transpose", "Constant", "Identity", "Dropout", "Pad", "Shape", "Gather"}
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [1, 1, nets.FRONTEND.n_mels, nets.FRONTEND.patch_frames]
    readers = {name: node.op_type for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type in ("Reshape", "Flatten", "ReduceMean"):
            assert readers[node.output[0]] in ("Gemm", "Concat")
    used = {name for node in model.graph.node for name in node.input}
    assert {item.name for item in model.graph.initializer} <= used
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    onnx.checker.check_model(model, full_check=True)


def test_names_are_those_of_the_modules():
    model = exported("yamnet")
    first = model.graph.node[0]
    assert (first.op_type, first.name) == ("Conv", "backbone.0.conv")
    assert list(first.input) == ["patches", "backbone.0.conv.weight", "backbone.0.conv.bias"]
    assert list(first.output) == ["backbone.0.conv"]
    assert [value.name for value in model.graph.output] == ["output"]


def test_a_norm_that_cannot_fold_is_a_depthwise_convolution_with_its_factors():
    net = nets.make("pre_activation")
    model = exported("pre_activation")
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    node = next(node for node in model.graph.node if node.name == "norm1")
    facts = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    assert node.op_type == "Conv" and facts["group"] == net.width
    norm = net.norm1
    factor = norm.weight / (norm.running_var + norm.eps).sqrt()
    np.testing.assert_allclose(arrays[node.input[1]].ravel(), factor.detach(), rtol=1e-6)
    np.testing.assert_allclose(arrays[node.input[2]], (norm.bias - norm.running_mean * factor).detach(), rtol=1e-5)


def test_a_norm_of_vectors_stays_exact_too():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 3)).eval()
    with torch.no_grad():
        net[1].running_mean.uniform_(-1, 1)
        net[1].running_var.uniform_(0.5, 2)
    patches = nets.patches(4)
    model = to_onnx(net, nets.FRONTEND, ExportConfig())
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    np.testing.assert_allclose(run(model, patches.numpy()), net(patches).detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("name", nets.NAMES)
def test_a_second_export_is_byte_identical_also_after_training_in_another_memory_format(name, tmp_path):
    other = nets.make(name).to(memory_format=torch.channels_last)
    models = [exported(name), to_onnx(other, nets.FRONTEND, ExportConfig())]
    for path, model in zip((tmp_path / "a.onnx", tmp_path / "b.onnx"), models, strict=True):
        save_model(path, model, ModelCard(frontend=nets.FRONTEND, class_names=("a", "b")))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_export_leaves_the_net_as_it_is():
    net = nets.make("awkward").train()
    before = copy.deepcopy(net.state_dict())
    to_onnx(net, nets.FRONTEND, ExportConfig())
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_softmax_in_the_graph_gives_probabilities():
    patches = nets.patches(4).numpy()
    logits = torch.from_numpy(run(exported("awkward"), patches))
    got = run(exported("awkward", softmax=True), patches)
    np.testing.assert_allclose(got, logits.softmax(dim=1), atol=1e-6)


@pytest.mark.parametrize("name", ["yamnet", "pre_activation", "uneven"])
def test_dynamic_batch_takes_any_number(name):
    model, patches = exported(name, dynamic_batch=True), nets.patches(7).numpy()
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    whole = session.run(None, {"patches": patches})[0]
    np.testing.assert_allclose(whole, run(exported(name), patches), rtol=1e-4, atol=1e-4)


def test_nan_weights_are_named():
    net = nets.make("awkward")
    net.side.weight.data[0] = float("nan")
    with pytest.raises(AedError, match=r"side\.weight.*NaN"):
        to_onnx(net, nets.FRONTEND, ExportConfig())


def test_an_operator_without_onnx_is_named():
    class Strange(nn.Module):
        def forward(self, patches):
            return torch.linalg.svdvals(patches.flatten(2))

    with pytest.raises(AedError, match="Strange cannot be exported"):
        to_onnx(Strange(), nets.FRONTEND, ExportConfig())


def test_what_tracing_does_not_see_is_found():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(512, 2)

        def forward(self, patches):
            logits = self.head(patches.flatten(1))
            return -logits if patches.mean() < -1 else logits

    net, patches = Branching().eval(), nets.patches(8).numpy()
    model = to_onnx(net, nets.FRONTEND, ExportConfig())
    with pytest.raises(AedError, match="differs from torch"):
        difference_to_torch(outputs(model, patches), net, patches)


def test_nan_outputs_are_no_small_difference():
    net, patches = nets.make("awkward"), nets.patches(2).numpy()
    with pytest.raises(AedError, match="differs"):
        difference_to_torch(np.full((2, 4), np.nan, np.float32), net, patches)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"], ids=["empty", "text", "header only"])
def test_what_is_no_model_is_said(tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(AedError, match="not a whole ONNX model"):
        load_model(path)
    with pytest.raises(AedError, match="no such model"):
        load_model(tmp_path / "none.onnx")


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_truncated_model_is_said(tmp_path, share):
    whole = exported("awkward").SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(AedError, match="not a whole ONNX model"):
        load_model(path)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    card = ModelCard(frontend=nets.FRONTEND, class_names=("a",))
    path = tmp_path / "model.onnx"
    save_model(path, exported("awkward"), card)
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("aed.base.files.os.fsync", full)
        with pytest.raises(AedError, match=r"no space left.*untouched"):
            save_model(path, exported("uneven"), card)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == ["model.onnx"]


def test_the_digest_is_that_of_the_graph_alone():
    model, other = exported("awkward"), exported("awkward")
    other.metadata_props.add(key="note", value="x")
    assert graph_sha256(model) == graph_sha256(other) != graph_sha256(exported("uneven"))


def test_a_node_of_several_outputs_can_be_exported():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(16, 4, batch_first=True), nn.Linear(4, 2)

        def forward(self, patches):
            return self.head(self.rnn(patches[:, 0].transpose(1, 2))[0][:, -1])

    torch.manual_seed(0)
    net, patches = Recurrent().eval(), nets.patches(3)
    model = to_onnx(net, nets.FRONTEND, ExportConfig())
    np.testing.assert_allclose(run(model, patches.numpy()), net(patches).detach().numpy(), atol=1e-5)
