"""MiniResNet against arrays recorded from ST's backbones, and what needs no file: structure, sizes, export."""

from pathlib import Path

import h5py
import nets
import numpy as np
import pytest
import torch

from aed.base.errors import AedError
from aed.dsp.frontend import FrontendConfig
from aed.export import fidelity
from aed.export.onnx import ExportConfig, difference_to_torch, to_onnx
from aed.export.precision import float_layers
from aed.export.quantize import QuantizeConfig, quantize
from aed.modules.nets import MiniResNet
from aed.modules.rebuild import build_net, net_facts
from aed.modules.weights.published import read_keras_h5

pytestmark = pytest.mark.usefixtures("trains")

PUBLISHED = list(MiniResNet.WEIGHTS)
SMALL = FrontendConfig(n_mels=40, patch_frames=33, min_length_s=1.0)  # odd at every layer


def as_keras(net: MiniResNet, embedding: torch.Tensor, n_mels: int = 64, patch_frames: int = 50) -> np.ndarray:
    """The embedding ``(B, E)`` with the channels innermost, as Keras flattens."""
    if net.pooling != "none":
        return embedding.numpy()
    halvings = 2 ** (2 + net.n_stacks)
    image = embedding.reshape(len(embedding), -1, -(-n_mels // halvings), -(-patch_frames // halvings))
    return image.permute(0, 2, 3, 1).flatten(1).numpy()


@pytest.mark.parametrize(("version", "n_stacks", "pooling"), [key for key in PUBLISHED if key[2] != "max"])
def test_embeds_as_the_incumbent_does(golden, pretrained, version, n_stacks, pooling):
    net = MiniResNet(10, version, n_stacks, pooling).eval()
    name = net.load_pretrained().file.removesuffix(".h5")
    for path in sorted(golden.glob("miniresnet_*.npz")):
        arrays = np.load(path)
        with torch.no_grad():
            embedding = as_keras(net, net.backbone(torch.from_numpy(arrays["patches"][:, None])))
        expected = arrays[f"backbone__{name}"].reshape(embedding.shape)
        assert np.abs(embedding - expected).max() <= 1e-5 * np.abs(expected).max(), path.name


@pytest.mark.parametrize(
    ("key", "first", "total", "norm"),
    [
        (("v1", 1, "none"), [0, 0.70240, 1.72779, 0, 1.63133], 1549.847, 61.4614),
        (("v1", 2, "none"), [0, 0, 0, 0, 0], 372.0182, 24.7202),
        (("v1", 1, "avg"), [0, 0.45616, 1.79966, 0.02763, 0.53547], 27.67583, 5.83105),
        (("v1", 2, "avg"), [0.13675, 0.08467, 0.22355, 0.03078, 0], 23.25114, 3.41079),
        (("v2", 1, "none"), [0], 61.82130, 4.73494),
        (("v2", 2, "none"), [0], 39.40918, 5.27612),
        (("v2", 1, "avg"), [0.14814, 0, 0, 0, 0], 5.02946, 2.59680),
        (("v2", 2, "avg"), [0.01314, 0, 0.03550, 0, 0], 1.86768, 0.60688),
    ],
)
def test_embeds_the_reference_pattern(pretrained, key, first, total, norm):
    """Values from TensorFlow on x[i, j] = 3 sin(0.1 i + 0.05 j) - 4."""
    net = MiniResNet(10, *key).eval()
    net.load_pretrained()
    i, j = np.mgrid[0:64, 0:50]
    x = torch.from_numpy((3 * np.sin(0.1 * i + 0.05 * j) - 4).astype(np.float32))[None, None]
    with torch.no_grad():
        embedding = as_keras(net, net.backbone(x))[0]
    assert embedding[: len(first)] == pytest.approx(first, abs=2e-5)
    assert embedding.sum() == pytest.approx(total, rel=1e-5)
    assert np.linalg.norm(embedding) == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(
    ("version", "n_stacks", "pooling", "values", "arrays"),
    [
        ("v1", 1, "none", 91_072, 36),
        ("v1", 2, "none", 421_952, 66),
        ("v1", 1, "avg", 91_072, 36),
        ("v1", 2, "max", 421_952, 66),
        ("v2", 1, "none", 90_560, 28),
        ("v2", 2, "none", 420_416, 50),
        ("v2", 1, "avg", 90_688, 30),
        ("v2", 2, "avg", 420_800, 54),
        # the third stack: 256 channels, two 1x1 and two 3x3 convolutions and the projection, as in the stacks before
        ("v1", 3, "none", 421_952 + 2 * (129 * 256 + 1024) + 257 * 256 + 1024 + 2 * (2305 * 256 + 1024), 96),
    ],
)
def test_has_the_published_number_of_values(version, n_stacks, pooling, values, arrays):
    held = dict(MiniResNet(10, version, n_stacks, pooling)._keras_arrays())
    assert sum(array.numel() for array in held.values()) == values
    assert len(held) == arrays


def test_the_arrays_have_the_names_of_the_published_files():
    v1, v2 = (set(dict(MiniResNet(10, version, 2, "avg")._keras_arrays())) for version in ("v1", "v2"))
    for number in (2, 3):
        for name in ("block1_0_conv", "block1_1_conv", "block1_2_conv", "block2_1_conv", "block2_2_conv"):
            assert {f"conv{number}_{name}/kernel:0", f"conv{number}_{name}/bias:0"} <= v1
        assert {f"conv{number}_block1_0_bn/gamma:0", f"conv{number}_block2_2_bn/moving_variance:0"} <= v1
        assert {f"conv{number}_block{block}_preact_bn/beta:0" for block in (1, 2)} <= v2
        assert f"conv{number}_block2_1_conv/bias:0" not in v2
        assert f"conv{number}_block2_0_conv/kernel:0" not in v1 | v2
    assert "conv1_bn/gamma:0" in v1 and "post_bn/gamma:0" in v2


@pytest.mark.parametrize("n_stacks", [1, 2, 3])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_embedding_has_the_size_that_the_head_expects(version, n_stacks):
    for n_mels, patch_frames in ((64, 50), (40, 33), (17, 9)):
        patches = torch.randn(2, 1, n_mels, patch_frames)
        whole = MiniResNet(3, version, n_stacks, "none", n_mels, patch_frames).eval()
        assert whole(patches).shape == (2, 3)
        for pooling in ("avg", "max"):
            assert MiniResNet(3, version, n_stacks, pooling).eval()(patches).shape == (2, 3), "any size"
    assert MiniResNet(3, version, 1).head[1].in_features == 3584
    assert MiniResNet(3, version, 2).head[1].in_features == 2048


def test_pooling_takes_the_mean_and_the_maximum_of_each_channel():
    patches = torch.randn(2, 1, 64, 50)
    made = {pooling: nets.settled(MiniResNet(3, "v1", 1, pooling)) for pooling in ("none", "avg", "max")}
    with torch.no_grad():
        image = made["none"].backbone(patches).reshape(2, 64, 8, 7)
        for net in made.values():
            net.load_state_dict({k: v for k, v in made["none"].state_dict().items() if "head" not in k}, strict=False)
        assert torch.allclose(made["avg"].backbone(patches), image.mean(dim=(2, 3)), atol=1e-5)
        assert torch.equal(made["max"].backbone(patches), image.amax(dim=(2, 3)))


def test_a_block_of_v1_adds_what_its_relu_let_through():
    net = nets.settled(MiniResNet(3, "v1", 1))
    block, image = net.backbone.conv2_block2, torch.randn(1, 64, 5, 6)
    with torch.no_grad():
        made = block(image)
    assert torch.all(made >= image.relu() - 1e-6), "a main path without ReLU would take away too"


def test_a_zero_wins_over_negative_values_at_the_border_of_v2s_pool():
    net = MiniResNet(3, "v2", 1)
    pooled = net.backbone.pool1_pool(net.backbone.pool1_pad(torch.full((1, 64, 32, 25), -2.0)))
    assert pooled.shape[2:] == (16, 13)
    assert torch.all(pooled[:, :, 0] == 0) and torch.all(pooled[:, :, :, 0] == 0) and torch.all(pooled[..., -1] == 0)
    assert torch.all(pooled[:, :, 1:, 1:-1] == -2), "the last row's window ends inside the image"


def test_the_shortcut_of_v2_is_every_second_value():
    net = MiniResNet(3, "v2", 1)
    image = torch.randn(1, 64, 7, 6)
    assert torch.equal(net.backbone.conv2_block2.halve(image), image[:, :, ::2, ::2])


@pytest.mark.parametrize("pooling", ["none", "avg", "max"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_exports_to_float_and_int8(version, pooling):
    torch.manual_seed(0)
    n_stacks = 1 if pooling == "max" else 2
    net = nets.settled(MiniResNet(5, version, n_stacks, pooling, SMALL.n_mels, SMALL.patch_frames))
    with torch.no_grad():  # random factors over several blocks leave logits of any size
        net.head[1].weight.div_(net.head[1].weight.shape[1] ** 0.5)
    generator = torch.Generator().manual_seed(1)
    rough = torch.randn(8, 1, 10, 11, generator=generator)
    patches = -40 + 20 * torch.nn.functional.interpolate(rough, (SMALL.n_mels, SMALL.patch_frames)).numpy()
    model = to_onnx(net, SMALL, ExportConfig())
    outputs = fidelity.outputs(model, patches)
    difference_to_torch(outputs, net, patches)
    int8 = quantize(model, patches, QuantizeConfig())
    assert float_layers(int8) == ()
    assert np.median(fidelity.sqnr_db(outputs, fidelity.outputs(int8, patches) - outputs)) > 15


def test_a_checkpoint_rebuilds_it():
    net = MiniResNet(7, "v2", 3, "max", 40, 33, dropout=0.2)
    twin = build_net(net_facts(net))
    twin.load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "v3"}, r"version.*v1.*v3"),
        ({"n_stacks": 4}, r"n_stacks.*3.*4"),
        ({"pooling": None}, "pooling.*none"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    with pytest.raises(AedError, match=message):
        MiniResNet(10, **change)


@pytest.mark.parametrize("change", [{"n_stacks": 3}, {"version": "v2", "pooling": "max"}])
def test_what_has_no_published_weights_says_what_has(change):
    with pytest.raises(AedError, match=r"no weights.*v2 with n_stacks=2 pooling=avg.*pretrained=false"):
        MiniResNet(10, **change).load_pretrained()


def keras_file(path: Path, net: MiniResNet) -> Path:
    """The file that Keras would write of ``net``'s backbone."""
    with h5py.File(path, "w") as file:
        for name, array in net._keras_arrays():
            values = array.detach().numpy()
            values = values.transpose(2, 3, 1, 0) if values.ndim == 4 else values
            file[f"model_weights/{name.split('/')[0]}/{name}"] = values
    return path


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_takes_a_keras_file(tmp_path, version):
    theirs = nets.settled(MiniResNet(10, version, 2, "avg"))
    path = keras_file(tmp_path / "weights.h5", theirs)
    net = MiniResNet(10, version, 2, "avg").eval()
    net.load_keras(read_keras_h5(path), path.name)
    patches = torch.randn(2, 1, 64, 50)
    assert torch.equal(net.backbone(patches), theirs.backbone(patches))


def test_missing_and_foreign_arrays_are_named(tmp_path):
    path = keras_file(tmp_path / "weights.h5", MiniResNet(10, "v1", 1))
    arrays = read_keras_h5(path)
    with pytest.raises(AedError, match=r"weights.h5.*v1 with n_stacks=2.*lacks.*conv3_block1_0_bn"):
        MiniResNet(10, "v1", 2).load_keras(arrays, path.name)
    foreign = arrays | {"conv2_block2_0_conv/kernel:0": np.zeros((1, 1, 64, 64), np.float32)}
    with pytest.raises(AedError, match=r"has \['conv2_block2_0_conv/kernel:0'\] besides"):
        MiniResNet(10, "v1", 1).load_keras(foreign, path.name)
    narrow = arrays | {"conv1_conv/bias:0": np.zeros(32, np.float32)}
    with pytest.raises(AedError, match=r"conv1_conv/bias:0 needs shape \(64,\).*\(32,\)"):
        MiniResNet(10, "v1", 1).load_keras(narrow, path.name)


def test_a_refused_file_leaves_the_net_as_it_was():
    net = MiniResNet(10, "v1", 1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    arrays = {name: np.ones(1, np.float32) for name, _ in net._keras_arrays()}
    with pytest.raises(AedError, match="needs shape"):
        net.load_keras(arrays, "weights.h5")
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
