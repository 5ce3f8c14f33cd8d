"""Models of ST's zoo, as Keras writes them, become checkpoints and ONNX files of the same outputs."""

import copy
import csv
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import nets
import numpy as np
import pytest
import soundfile as sf
import tiny
import torch

from aed.base.errors import AedError
from aed.dsp import PRESETS, FrontendConfig
from aed.export.graph import save_model
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.opening import open_classifier
from aed.modules.nets import MiniResNet, YAMNet
from aed.modules.trained import Trained
from aed.modules.weights.keras import KerasModel
from aed.modules.weights.keras_nets import convert
from aed.run.importing.verb import import_model
from aed.run.predict import predict_files as predict

pytestmark = pytest.mark.usefixtures("processes")

Arrays = dict[str, np.ndarray]
Item = dict[str, Any]
Model = tuple[Item, Arrays]

NAMES = [f"class {letter}" for letter in "abcdefghij"]
EXACT = {"trim": "compatible", "sample_bits": None}
"""Where ST's own front end differs from our presets."""


# --- .h5 files as tf.keras 2.8 writes them --------------------------------------------------------------------------


def layer(kind: str, name: str, *inputs: str, node: int = 0, **config: Any) -> Item:
    """A layer of a functional model; ``node``: Keras counts the calls of a nested model from 1."""
    read = [[[item, node, 0, {}] for item in inputs]] if inputs else []
    return {"class_name": kind, "config": {"name": name, **config}, "name": name, "inbound_nodes": read}


def functional(name: str, layers: list[Item]) -> Item:
    ends = {"input_layers": [[layers[0]["name"], 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": name, "layers": layers, **ends}}


def given(*shape: int, name: str = "input_1") -> Item:
    return layer("InputLayer", name, batch_input_shape=[None, *shape], dtype="float32")


def conv(name: str, read: str, size: int, stride: int, padding: str, filters: int, bias: bool) -> Item:
    facts = {"kernel_size": [size, size], "strides": [stride, stride], "padding": padding, "use_bias": bias}
    extra = {"data_format": "channels_last", "dilation_rate": [1, 1], "groups": 1, "activation": "linear"}
    kind = "DepthwiseConv2D" if "depthwise" in name else "Conv2D"
    return layer(kind, name, read, filters=filters, **facts, **extra)


def norm(name: str, read: str, eps: float, scale: bool) -> Item:
    return layer("BatchNormalization", name, read, axis=[3], momentum=0.99, epsilon=eps, center=True, scale=scale)


def arrays_of(item: Item, rng: np.random.Generator) -> Arrays:
    """Random arrays of a trunk's layers; channels in follow from the layer read."""
    found: Arrays = {}
    channels: dict[str, int] = {}
    for entry in item["config"]["layers"]:
        name, config, kind = entry["name"], entry["config"], entry["class_name"]
        inputs = channels[entry["inbound_nodes"][0][0][0]] if entry["inbound_nodes"] else 1
        outputs = inputs
        if kind == "Conv2D":
            outputs = config["filters"]
            shape = (*config["kernel_size"], inputs, outputs)
            found[f"{name}/kernel:0"] = rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape)
        elif kind == "DepthwiseConv2D":
            found[f"{name}/depthwise_kernel:0"] = rng.normal(0, 0.5, (3, 3, inputs, 1))
        elif kind == "BatchNormalization":
            drawn = {"gamma": (0.5, 1.5), "beta": (-0.5, 0.5), "moving_mean": (-0.5, 0.5), "moving_variance": (0.5, 2)}
            for part, (low, high) in drawn.items():
                if part != "gamma" or config["scale"]:
                    found[f"{name}/{part}:0"] = rng.uniform(low, high, inputs)
        if config.get("use_bias"):
            found[f"{name}/bias:0"] = rng.uniform(-0.5, 0.5, outputs)
        channels[name] = outputs
    return {name: array.astype(np.float32) for name, array in found.items()}


def yamnet(depth: int = 6, mels: int = 64, frames: int = 96) -> Model:
    """The backbone: a model inside a Sequential, fed (frames, mels, 1)."""
    widths = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
    layers = [given(frames, mels, 1, name="input_4"), conv("layer1/conv", "input_4", 3, 2, "same", 32, False)]
    layers += [norm("layer1/conv/bn", "layer1/conv", 1e-4, False), layer("ReLU", "layer1/relu", "layer1/conv/bn")]
    for number in range(2, depth + 1):
        stride = 2 if number in (3, 5, 7, 13) else 1
        for kind, size, step in (("depthwise", 3, stride), ("pointwise", 1, 1)):
            name = f"layer{number}/{kind}_conv"
            layers.append(conv(name, layers[-1]["name"], size, step, "same", widths[number - 1], False))
            layers += [norm(f"{name}/bn", name, 1e-4, False), layer("ReLU", f"{name}/relu", f"{name}/bn")]
    trunk = functional("model_2", layers)
    arrays = arrays_of(trunk, np.random.default_rng(0))
    inner = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, frames, mels, 1], "name": "x"}}
    pool = layer("GlobalAveragePooling2D", "global_average_pooling2d_3")
    return {"class_name": "Sequential", "config": {"name": "sequential_2", "layers": [inner, trunk, pool]}}, arrays


def miniresnet(version: str, stacks: int, pooling: str, size: tuple[int, int] = (64, 50), bias: bool = True) -> Model:
    """The backbone; ``bias``: of v2's 3x3 convolutions."""
    eps = 1.001e-5
    made = [given(*size, 1)]

    def add(item: Item) -> str:
        made.append(item)
        return str(item["name"])

    def relu(name: str, read: str) -> str:
        return add(layer("Activation", name, read, activation="relu"))

    x = add(layer("ZeroPadding2D", "conv1_pad", "input_1", padding=[[3, 3], [3, 3]]))
    x = add(conv("conv1_conv", x, 7, 2, "valid", 64, True))
    if version != "v2":
        x = relu("conv1_relu", add(norm("conv1_bn", x, eps, True)))
    x = add(layer("ZeroPadding2D", "pool1_pad", x, padding=[[1, 1], [1, 1]]))
    x = add(layer("MaxPooling2D", "pool1_pool", x, pool_size=[3, 3], padding="valid", strides=[2, 2]))
    for number in range(2, stacks + 2):
        width = 64 * 2 ** (number - 2)
        for block in (1, 2):
            p = f"conv{number}_block{block}"
            step = 2 if block == (1 if version == "v1" else 2) else 1
            if version != "v2":
                side = x
                if block == 1 or version == "v1_2023":
                    side = add(norm(f"{p}_0_bn", add(conv(f"{p}_0_conv", x, 1, step, "valid", width, True)), eps, True))
                y = add(norm(f"{p}_1_bn", add(conv(f"{p}_1_conv", x, 1, step, "valid", width, True)), eps, True))
                y = add(conv(f"{p}_2_conv", relu(f"{p}_1_relu", y), 3, 1, "same", width, True))
                y = relu(f"{p}_2_relu", add(norm(f"{p}_2_bn", y, eps, True)))
                x = relu(f"{p}_out", add(layer("Add", f"{p}_add", side, y)))
            else:
                active = relu(f"{p}_preact_relu", add(norm(f"{p}_preact_bn", x, eps, True)))
                y = add(norm(f"{p}_1_bn", add(conv(f"{p}_1_conv", active, 1, 1, "valid", width, False)), eps, True))
                y = add(layer("ZeroPadding2D", f"{p}_2_pad", relu(f"{p}_1_relu", y), padding=[[1, 1], [1, 1]]))
                pool = {"pool_size": [1, 1], "padding": "same", "strides": [2, 2]}
                if block == 1:
                    side = add(conv(f"{p}_0_conv", active, 1, 1, "valid", width, True))
                else:
                    side = add(layer("MaxPooling2D", f"max_pooling2d_{number}", x, **pool))
                y = add(conv(f"{p}_2_conv", y, 3, step, "valid", width, bias))
                x = add(layer("Add", f"{p}_out", side, y))
    if version == "v2":
        x = relu("post_relu", add(norm("post_bn", x, eps, True)))
    if pooling != "none":
        kind = {"avg": "GlobalAveragePooling2D", "max": "GlobalMaxPooling2D"}[pooling]
        add(layer(kind, f"{pooling}_pool", x, keepdims=False))
    trunk = functional("model_1", made)
    return trunk, arrays_of(trunk, np.random.default_rng(1))


def published(path: Path) -> Model:
    """A backbone file's description and arrays."""
    arrays: Arrays = {}
    with h5py.File(path) as file:
        for group in file["model_weights"].values():
            arrays |= {name: group[name][()] for name in group.attrs["weight_names"]}
        return json.loads(file.attrs["model_config"]), arrays


def dense(features: int, activation: str | None, classes: int = 10) -> Arrays:
    rng = np.random.default_rng(2)
    kernel = rng.normal(0, features**-0.5, (features, classes))
    made = {"new_head/kernel:0": kernel, "new_head/bias:0": rng.normal(0, 1, classes)}
    return {name: array.astype(np.float32) for name, array in made.items()}


def with_head(
    model: Model, features: int, activation: str | None = "softmax", dropout: float = 0.0, classes: int = 10
) -> Model:
    """The trained model as ST's zoo builds it: YAMNet's backbone is one layer of it, MiniResNet's are its own."""
    trunk, arrays = copy.deepcopy(model[0]), model[1] | dense(features, activation, classes)
    if trunk["class_name"] == "Sequential":
        name = trunk["config"]["name"]
        frames, mels = trunk["config"]["layers"][0]["config"]["batch_input_shape"][1:3]
        nested = layer("Sequential", name, "permute") | {"config": trunk["config"]}
        layers = [given(mels, frames, 1), layer("Permute", "permute", "input_1", dims=[2, 1, 3]), nested]
    else:
        layers = trunk["config"]["layers"]
        if "Pooling2D" not in layers[-1]["class_name"][-9:] and layers[-1]["class_name"] != "Flatten":
            layers.append(layer("Flatten", "flatten_9", layers[-1]["name"], data_format="channels_last"))
    if dropout:
        layers.append(layer("Dropout", "dropout", layers[-1]["name"], rate=dropout))
    last = layers[-1]
    node = 1 if last["class_name"] == "Sequential" else 0
    facts = {"units": classes, "activation": activation or "linear", "use_bias": True}
    layers.append(layer("Dense", "new_head", last["name"], node=node, **facts))
    return functional("model", layers), arrays


def augmented(model: Model) -> Model:
    """Inside the Sequential that trains it."""
    shape = model[0]["config"]["layers"][0]["config"]["batch_input_shape"]
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": shape, "name": "gaussian_noise_input"}},
        {"class_name": "GaussianNoise", "config": {"name": "gaussian_noise", "stddev": 0.1}},
        {"class_name": "VolumeAugment", "config": {"name": "volume_augment", "min_scale": 0.8, "max_scale": 1.2}},
        {"class_name": "SpecAug", "config": {"name": "spec_aug", "freq_mask_param": 4}},
        model[0],
    ]
    return {"class_name": "Sequential", "config": {"name": "augmented_model", "layers": layers}}, model[1]


def leaves(item: Item) -> set[str]:
    inner = item["config"].get("layers")
    return {item["config"]["name"]} if inner is None else {name for part in inner for name in leaves(part)}


def save(path: Path, model: Model, keras: str = "2.8.0") -> Path:
    """A file as ``Model.save`` writes it: a group for each outermost layer, in it the variables of all inside."""
    item, arrays = model
    with h5py.File(path, "w") as file:
        file.attrs["backend"], file.attrs["keras_version"] = "tensorflow", keras
        file.attrs["model_config"] = json.dumps(item)
        file.attrs["training_config"] = json.dumps({"loss": "categorical_crossentropy", "metrics": ["accuracy"]})
        weights = file.create_group("model_weights")
        weights.create_group("top_level_model_weights").attrs["weight_names"] = []
        for part in item["config"]["layers"]:
            group, names = weights.create_group(part["config"]["name"]), leaves(part)
            mine = {name: array for name, array in arrays.items() if name.rpartition("/")[0] in names}
            group.attrs["weight_names"] = list(mine)
            for name, array in mine.items():
                group[name] = array
        file["optimizer_weights/Adam/iter:0"] = np.int64(7)
    return path


def logits_of(path: Path, patches: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return Trained.load(path).net(torch.from_numpy(patches)).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# --- the outputs are TensorFlow's: recorded embeddings and a Dense layer in numpy -------------------------------------


def against_golden(golden: Path, file: str, family: str, path: Path, head: Arrays) -> None:
    """The files made of ``path``, on recorded patches."""
    onnx = open_classifier(path.with_suffix(".onnx")) if path.with_suffix(".onnx").exists() else None
    for recorded in sorted(golden.glob(f"{family}_*.npz")):
        arrays = np.load(recorded)
        embedding = arrays[f"backbone__{file}"].reshape(len(arrays["patches"]), -1)  # as Keras flattens
        expected = embedding @ head["new_head/kernel:0"] + head["new_head/bias:0"]
        patches = arrays["patches"][:, None]
        tolerance = 1e-4 * max(1, np.abs(expected).max())
        assert np.abs(logits_of(path.with_suffix(".ckpt"), patches) - expected).max() <= tolerance, recorded.name
        if onnx is None:
            continue
        assert np.abs(onnx.outputs(patches) - expected).max() <= tolerance, recorded.name
        np.testing.assert_allclose(onnx.posteriors(patches), softmax(expected), atol=1e-4)


@pytest.mark.parametrize("wrap", [False, True])
def test_yamnet_gives_what_tensorflow_gave(golden, pretrained, tmp_path, wrap):
    model = with_head(published(pretrained / "yamnet_256_f32.h5"), 256, dropout=0.3)
    path = save(tmp_path / "best.h5", augmented(model) if wrap else model)
    import_model([str(path)], NAMES, onnx=wrap)
    against_golden(golden, "yamnet_256_f32", "yamnet", path, model[1])
    trained = Trained.load(tmp_path / "best.ckpt")
    assert isinstance(trained.net, YAMNet) and trained.net.layers is None and trained.net.dropout == 0.3
    assert trained.frontend == replace(PRESETS["yamnet_64x96"], **EXACT)


@pytest.mark.parametrize(
    ("version", "stacks", "pooling", "features"),
    [
        ("v1", 1, "none", 3584), ("v1", 2, "none", 2048), ("v1", 1, "avg", 64), ("v1", 2, "avg", 128),
        ("v2", 1, "none", 3584), ("v2", 2, "none", 2048), ("v2", 1, "avg", 64), ("v2", 2, "avg", 128),
    ],
)  # fmt: skip
def test_miniresnet_gives_what_tensorflow_gave(golden, pretrained, tmp_path, version, stacks, pooling, features):
    pooled = "pooled_" if pooling == "avg" else ""
    file = f"{pooled}miniresnet{'' if version == 'v1' else 'v2'}_{stacks}_stacks_backbone"
    model = with_head(published(pretrained / f"{file}.h5"), features)
    path = save(tmp_path / "best.h5", augmented(model) if stacks == 2 else model)
    import_model([str(path)], NAMES, onnx=(stacks, pooling) == (2, "none"))
    against_golden(golden, file, "miniresnet", path, model[1])
    trained = Trained.load(tmp_path / "best.ckpt")
    assert isinstance(trained.net, MiniResNet)
    assert (trained.net.version, trained.net.n_stacks, trained.net.pooling) == (version, stacks, pooling)
    assert trained.frontend == replace(PRESETS["miniresnet_64x50"], **EXACT)


def test_the_graph_of_a_published_file_gives_what_tensorflow_gave(golden, pretrained):
    """The reader's own arithmetic, which every import is compared with."""
    for path in sorted(pretrained.glob("*.h5")):
        if path.stem == "yamnet_256_f32":
            model, family = KerasModel.read(path), "yamnet"
        else:
            model, family = KerasModel.read(path), "miniresnet"
        arrays = np.load(golden / f"{family}_rain.npz")
        patches = torch.from_numpy(arrays["patches"][:, None])
        made = model.run(patches.transpose(2, 3) if family == "yamnet" else patches, len(model.calls) - 1)
        made = made.permute(0, 2, 3, 1) if made.ndim == 4 else made
        expected = arrays[f"backbone__{path.stem}"].reshape(made.shape)
        assert np.abs(made.numpy() - expected).max() <= 1e-5 * np.abs(expected).max(), path.name


# --- every architecture, without the published files ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "features", "facts"),
    [
        (yamnet(), 256, {"embedding_size": 256, "layers": None}),
        (yamnet(depth=8), 512, {"embedding_size": 512, "layers": None}),
        (yamnet(depth=7), 512, {"embedding_size": 512, "layers": 7}),
        (yamnet(depth=14), 1024, {"embedding_size": 1024, "layers": None}),
        (miniresnet("v1", 1, "none"), 3584, {"version": "v1", "n_stacks": 1, "pooling": "none"}),
        (miniresnet("v1_2023", 2, "none"), 2048, {"version": "v1_2023", "n_stacks": 2, "pooling": "none"}),
        (miniresnet("v1", 3, "max"), 256, {"version": "v1", "n_stacks": 3, "pooling": "max"}),
        (miniresnet("v2", 2, "none", bias=True), 2048, {"version": "v2", "n_stacks": 2, "pooling": "none"}),
        (miniresnet("v2", 1, "none", bias=False), 3584, {"version": "v2", "n_stacks": 1, "pooling": "none"}),
        (miniresnet("v2", 2, "max", bias=True), 128, {"version": "v2", "n_stacks": 2, "pooling": "max"}),
        (miniresnet("v2", 1, "avg", bias=False), 64, {"version": "v2", "n_stacks": 1, "pooling": "avg"}),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_each_architecture_is_found(tmp_path, model, features, facts):
    path = save(tmp_path / "a.h5", with_head(model, features, classes=4))
    made = convert(KerasModel.read(path))
    assert made.task == "single_label" and {name: getattr(made.net, name) for name in facts} == facts
    assert made.difference < 1e-3


def test_another_patch_size_needs_a_front_end(tmp_path):
    model = with_head(miniresnet("v1", 1, "none", (40, 33)), 64 * 5 * 5)
    path = str(save(tmp_path / "a.h5", model))
    with pytest.raises(AedError, match=r"40 mel bands and 33 frames.*st_config="):
        import_model([path], NAMES)
    with pytest.raises(AedError, match=r"40 mel bands and 33 frames, the front end computes 16 and 32"):
        import_model([path], NAMES, tiny.FRONTEND)
    import_model([path], NAMES, replace(tiny.FRONTEND, n_mels=40, patch_frames=33), onnx=False)
    assert Trained.load(tmp_path / "a.ckpt").net.n_mels == 40
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.parametrize("end", ["activation", "layer", "nothing"])
def test_the_softmax_is_left_to_the_posteriors(tmp_path, end):
    item, arrays = with_head(yamnet(mels=16, frames=32), 256, "softmax" if end == "activation" else None)
    if end == "layer":
        item["config"]["layers"].append(layer("Softmax", "softmax", "new_head"))
        item["config"]["output_layers"] = [["softmax", 0, 0]]
    import_model([str(save(tmp_path / "a.h5", (item, arrays)))], NAMES, tiny.FRONTEND)
    patches = nets.patches(3).numpy()
    for suffix in (".ckpt", ".onnx"):
        classifier = open_classifier(tmp_path / f"a{suffix}")
        assert classifier.card.outputs == "logits" and classifier.card.task == "single_label"
        logits = logits_of(tmp_path / "a.ckpt", patches)
        np.testing.assert_allclose(classifier.posteriors(patches), softmax(logits), atol=1e-5)


def test_a_sigmoid_makes_it_multi_label(tmp_path):
    path = save(tmp_path / "a.h5", with_head(yamnet(mels=16, frames=32), 256, "sigmoid"))
    assert import_model([str(path)], NAMES, tiny.FRONTEND) == [tmp_path / "a.ckpt", tmp_path / "a.onnx"]
    patches = np.zeros((1, 1, 16, 32), np.float32)
    for suffix in (".ckpt", ".onnx"):
        classifier = open_classifier(tmp_path / f"a{suffix}")
        assert classifier.card.task == "multi_label" and classifier.card.outputs == "logits"
        posteriors = classifier.posteriors(patches)
        np.testing.assert_allclose(posteriors, 1 / (1 + np.exp(-classifier.outputs(patches))), atol=1e-5)


# --- what comes out works everywhere ------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path) -> Path:
    """A YAMNet on small patches."""
    return save(tmp_path / "small.h5", with_head(yamnet(mels=16, frames=32), 256, dropout=0.2, classes=3))


def test_training_goes_on_from_it(small):
    import_model([str(small)], ["rain", "alarm", "hum"], tiny.FRONTEND, class_order="sorted", onnx=False)
    path = small.with_suffix(".ckpt")
    net = YAMNet(3, dropout=0.2)
    model = tiny.classifier(net, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.0))
    trainer = tiny.trainer(small.parent, 1, limit_train_batches=2, limit_val_batches=1)
    trainer.fit(model, datamodule=tiny.data(), ckpt_path=path, weights_only=True)
    before = Trained.load(path)
    assert before.class_names == ("alarm", "hum", "rain")
    for name, value in before.net.named_parameters():
        assert torch.equal(value, net.get_parameter(name)), name
    assert model.global_step > 0
    other = tiny.classifier(YAMNet(3, dropout=0.5))
    with pytest.raises(AedError, match=r"its net differs: arguments dropout 0\.2, here 0\.5"):
        other.on_load_checkpoint(torch.load(path, weights_only=True))


def test_it_names_sounds(small, tmp_path, capsys):
    import_model([str(small)], ["alarm", "hum", "rain"], replace(tiny.FRONTEND, min_length_s=0.5))
    wave = np.random.default_rng(0).normal(0, 0.1, 16000)
    sf.write(tmp_path / "a.wav", wave, 16000)
    said = []
    for suffix in (".ckpt", ".onnx"):
        predict(str(small.with_suffix(suffix)), [str(tmp_path / "a.wav")], format="csv")
        (row,) = csv.DictReader(capsys.readouterr().out.splitlines())
        said.append((row["label"], pytest.approx(float(row["posterior"]), abs=1e-3)))
    assert said[0] == said[1] and said[0][0] in ("alarm", "hum", "rain")


def test_the_files_are_the_same_each_time(small):
    made = []
    for _ in range(2):
        written = import_model([str(small)], ["a", "b", "c"], tiny.FRONTEND)
        made.append([path.read_bytes() for path in written])
    assert [path.name for path in written] == ["small.ckpt", "small.onnx"] and made[0] == made[1]
    card = open_classifier(small.with_suffix(".onnx")).card
    assert card.weights["file"] == "small.h5" and "2.8.0" in card.weights["source"]
    assert card.data["clips"] == {} and "small.h5" in card.data["name"]


def test_what_others_wrote_is_left_alone(small):
    path = small.with_suffix(".onnx")
    net = nets.settled(YAMNet(3))
    model = to_onnx(net, tiny.FRONTEND, ExportConfig())
    path.write_bytes(model.SerializeToString())  # no card
    with pytest.raises(AedError, match=r"small\.onnx: is there already.*folder="):
        import_model([str(small)], ["a", "b", "c"], tiny.FRONTEND)
    assert path.read_bytes() == model.SerializeToString() and not small.with_suffix(".ckpt").exists()
    import_model([str(small)], ["a", "b", "c"], tiny.FRONTEND, folder=str(small.parent / "out"))
    assert (small.parent / "out" / "small.ckpt").is_file()
    ours = import_model([str(small)], ["a", "b", "c"], tiny.FRONTEND, folder=str(small.parent / "out"))
    assert len(ours) == 2, "its own files it replaces"
    save_model(path, model, open_classifier(ours[1]).card)
    import_model([str(small)], ["a", "b", "c"], tiny.FRONTEND)


# --- class names and front end --------------------------------------------------------------------------------------

YAML = """
operation_mode: training
general: {model_path: "${HOME}/x.h5"}
dataset: {name: custom, class_names: [rain, Dog, hum], use_garbage_class: true}
preprocessing: {min_length: 1, max_length: 10, target_rate: 16000, top_db: 30, frame_length: 3200, hop_length: 3200,
  trim_last_second: False, lengthen: before}
feature_extraction: {patch_length: 96, n_mels: 64, overlap: .25, n_fft: 512, hop_length: 160, window_length: 400,
  window: hann, center: False, pad_mode: constant, power: 1.0, fmin: 125, fmax: 7500, norm: None, htk: True,
  to_db: False, include_last_patch: False}
"""


def test_a_user_config_gives_front_end_and_classes(tmp_path):
    path = save(tmp_path / "a.h5", with_head(yamnet(), 256, classes=4))
    (tmp_path / "c.yaml").write_text(YAML)
    import_model([str(path)], st_config=str(tmp_path / "c.yaml"), onnx=False)
    trained = Trained.load(tmp_path / "a.ckpt")
    assert trained.class_names == ("Dog", "hum", "other", "rain"), "code points, the garbage class among them"
    assert trained.frontend == FrontendConfig(trim_top_db=30.0, trim="compatible", sample_bits=None)
    assert trained.frontend.lengthen == "after", "what the zoo does, whatever its file says"
    config = str(tmp_path / "c.yaml")
    import_model([str(path)], ["d", "c", "b", "a"], st_config=config, class_order="sorted", onnx=False)
    assert Trained.load(tmp_path / "a.ckpt").class_names == tuple("abcd")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("preprocessing:", "before_processing:"), "before_processing.min_length: no key .* preprocessing.min_length"),
        (("preprocessing: {min", "#preprocessing: {min"), "cannot be read"),
        (("n_mels: 64", "n_mels: many"), "another type|n_mels"),
        (("n_mels: 64", "n_bands: 64"), "feature_extraction.n_bands: no key of ST's zoo"),
        (("n_mels: 64", "n_mels: [64"), "cannot be read"),
        (("n_mels: 64", "n_mels: !!python/object/apply:os.getcwd []"), "cannot be read"),
        (("patch_length: 96", "patch_length: 48"), "96 frames, the front end computes 64 and 48"),
        (("[rain, Dog, hum]", "[rain, yes, hum]"), "dataset.class_names.*quote"),
        (("[rain, Dog, hum]", "[rain, hum]"), "4 outputs, but 3 class names"),
    ],
)
def test_a_wrong_user_config_says_what_is_wrong(tmp_path, change, message):
    path = save(tmp_path / "a.h5", with_head(yamnet(), 256, classes=4))
    (tmp_path / "c.yaml").write_text(YAML.replace(*change))
    with pytest.raises(AedError, match=message):
        import_model([str(path)], st_config=str(tmp_path / "c.yaml"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            [("preprocessing:", "pre_processing:"), ("use_garbage", "use_other"), ("operation_mode: training", "")],
            {},
        ),
        ([("name: custom", "dataset_name: custom")], {"log_offset": 1e-6, "cut": "after"}),
    ],
)
def test_a_user_config_of_2023_and_of_version_4(tmp_path, changes, expected):
    path = save(tmp_path / "a.h5", with_head(yamnet(), 256, classes=4))
    text = YAML
    for change in changes:
        assert change[0] in text
        text = text.replace(*change)
    (tmp_path / "c.yaml").write_text(text.replace('general: {model_path: "${HOME}/x.h5"}', ""))
    import_model([str(path)], st_config=str(tmp_path / "c.yaml"), onnx=False)
    trained = Trained.load(tmp_path / "a.ckpt")
    assert trained.class_names == ("Dog", "hum", "other", "rain")
    assert trained.frontend == FrontendConfig(trim_top_db=30.0, trim="compatible", sample_bits=None, **expected)


def test_class_names_may_come_from_a_file(small):
    folder = small.parent
    (folder / "names.txt").write_text("rain\nalarm\n\nhum\n")
    (folder / "meta.csv").write_text("filename,category\na.wav,rain\nb.wav,alarm\nc.wav,rain\nd.wav,hum\n")
    for name in ("names.txt", "meta.csv"):
        import_model([str(small)], str(folder / name), tiny.FRONTEND, class_order="sorted", onnx=False)
        assert Trained.load(folder / "small.ckpt").class_names == ("alarm", "hum", "rain")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, r"does not name its 3 classes; give class_names="),
        (["a", "b"], r"3 outputs, but 2 class names: a, b; with use_garbage_class.*'other'"),
        (["a", "b", "c", "d"], r"3 outputs, but 4 class names"),
        (["a", "b", "b"], r"class_names: \['b'\] twice"),
        (["a", "b", True], "list of names"),
        (["a", "b", " "], "list of names"),
        ("missing.txt", r"missing\.txt cannot be read.*class_names=\[dog,rain\]"),
        ("bad.csv", r"needs a column 'category'"),
    ],
)
def test_wrong_class_names_are_refused(small, monkeypatch, names, message):
    monkeypatch.chdir(small.parent)
    Path("bad.csv").write_text("name\na\n")
    with pytest.raises(AedError, match=message):
        import_model([str(small)], names, tiny.FRONTEND)
    assert sorted(path.name for path in small.parent.iterdir()) == ["bad.csv", "small.h5"]


def test_front_end_and_user_config_exclude_each_other(small):
    with pytest.raises(AedError, match="give one of them"):
        import_model([str(small)], ["a", "b", "c"], tiny.FRONTEND, "c.yaml")


# --- what is no such model ------------------------------------------------------------------------------------------


def refused(path: Path, message: str) -> None:
    with pytest.raises(AedError, match=message) as raised:
        import_model([str(path)], ["a", "b", "c"], tiny.FRONTEND)
    assert path.name in str(raised.value)
    assert not path.with_suffix(".ckpt").exists() and not path.with_suffix(".onnx").exists()


def test_other_files_are_refused(tmp_path, small):
    refused(tmp_path / "none.h5", "no such file")
    (tmp_path / "text.h5").write_text("not a model")
    refused(tmp_path / "text.h5", r"not a whole HDF5 file.*model\.save\('x\.h5'\)")
    (tmp_path / "saved").mkdir()
    refused(tmp_path / "saved", "a folder; need")
    (tmp_path / "saved" / "saved_model.pb").touch()
    refused(tmp_path / "saved", r"a SavedModel folder.*model\.save\('x\.h5'\)")
    with zipfile.ZipFile(tmp_path / "x.keras", "w") as file:
        file.writestr("config.json", "{}")
    refused(tmp_path / "x.keras", r"without metadata\.json, not a \.keras.*model\.save\('x\.keras'\)")
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer1/conv/kernel:0"] = np.zeros(3)
    refused(tmp_path / "weights.h5", "no model_config.*save_weights")


def test_a_truncated_file_is_refused_wherever_it_ends(small):
    whole = small.read_bytes()
    for share in (0.02, 0.3, 0.7, 0.99):
        path = small.with_name("cut.h5")
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path, "cut.h5: not a whole HDF5 file")


def test_a_damaged_file_never_ends_in_a_traceback(small):
    """Bytes turned over anywhere: refused with a reason, or a float among a million is another one."""
    whole = bytearray(small.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(20):
        data = bytearray(whole)
        for place in rng.integers(0, 40000, 6):  # the head of the file holds its structure
            data[place] ^= 0xFF
        path = small.with_name("damaged.h5")
        path.write_bytes(data)
        try:
            convert(KerasModel.read(path))
        except AedError as error:
            assert "damaged.h5" in str(error)


def changed(small: Path, edit: Any) -> Path:
    """The file with another description."""
    path = small.with_name("changed.h5")
    path.write_bytes(small.read_bytes())
    with h5py.File(path, "a") as file:
        item = json.loads(file.attrs["model_config"])
        text = edit(item)
        file.attrs["model_config"] = text if isinstance(text, str) else json.dumps(item)
    return path


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda item: "{", "description is damaged"),
        (lambda item: "[]", "description is damaged"),
        (lambda item: "[" * 100_000, "description is damaged"),
        (lambda item: item["config"]["layers"].pop(1), "description is damaged"),
        (lambda item: item["config"]["input_layers"].append(["y", 0, 0]), "description is damaged"),
        (lambda item: item["config"]["layers"][3].update(class_name="Lambda"), r"kinds \['Lambda'\].*never run"),
        (lambda item: item["config"]["layers"][3].update(class_name="Mine>Odd"), r"kinds \['Mine>Odd'\] are not known"),
        (lambda item: item["config"]["layers"][-1]["config"].update(activation="tanh"), r"after the head, got.*tanh"),
        (lambda item: item["config"]["layers"][1]["config"].update(dims=[1, 2, 3]), "compute something else"),
        (lambda item: item["config"]["layers"][1]["config"].update(dims=[3, 1, 9]), "cannot be computed"),
        (lambda item: item["config"]["layers"][0]["config"].update(batch_input_shape=[None, 10**9, 32, 1]), "input of"),
        (lambda item: item["config"]["layers"][0]["config"].update(batch_input_shape=[None, 16, 32, 3]), "input of"),
    ],
)  # fmt: skip
def test_another_description_is_refused(small, edit, message):
    refused(changed(small, edit), message)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("BatchNormalization", "epsilon", 1e-2),
        ("ReLU", "max_value", 0.5),
        ("Conv2D", "padding", "valid"),
        ("Conv2D", "data_format", "channels_first"),
        ("DepthwiseConv2D", "strides", [1, 1]),
    ],
)
def test_a_changed_architecture_is_noticed(small, kind, key, value):
    """Its layers have the right names and arrays, but compute something else."""

    def edit(item: Item) -> None:
        for entry in item["config"]["layers"][2]["config"]["layers"][1]["config"]["layers"]:
            if entry["class_name"] == kind:
                entry["config"][key] = value

    refused(changed(small, edit), "compute something else|cannot be computed")


def test_a_lambda_with_code_is_not_run(small):
    ran = small.with_name("ran")
    code = f"__import__('pathlib').Path({str(ran)!r}).touch()"

    def edit(item: Item) -> None:
        item["config"]["layers"][3] |= {
            "class_name": "Lambda",
            "config": {"name": "dropout", "function": [code, None, None], "function_type": "lambda", "module": "os"},
        }

    refused(changed(small, edit), "Lambda")
    assert not ran.exists()


def test_missing_and_wrong_arrays_are_named(small):
    for name, message in (
        ("model_weights/sequential_2/layer3/pointwise_conv/bn/beta:0", "layer 'layer3/pointwise_conv/bn' has no beta"),
        ("model_weights/new_head/new_head/kernel:0", "'new_head' has no kernel"),
    ):
        path = small.with_name("less.h5")
        path.write_bytes(small.read_bytes())
        with h5py.File(path, "a") as file:
            del file[name]
        refused(path, message)
    for name, value, message in (
        ("sequential_2/layer1/conv/bn/beta:0", np.zeros(1), r"needs shape \(32,\).*\(1,\)"),
        ("sequential_2/layer1/conv/kernel:0", np.zeros(3), r"kernel:0 needs shape"),
        ("sequential_2/layer1/conv/bn/beta:0", np.full(32, np.nan), "NaN"),
        ("new_head/new_head/bias:0", np.zeros(7), "damaged|fit"),
        ("new_head/new_head/kernel:0", np.zeros((100, 3)), "100 features"),
        ("new_head/new_head/bias:0", "text", "not a Keras"),
    ):
        path.write_bytes(small.read_bytes())
        with h5py.File(path, "a") as file:
            del file[f"model_weights/{name}"]
            file[f"model_weights/{name}"] = value
        refused(path, message)


def test_other_architectures_are_named(tmp_path):
    backbone = save(tmp_path / "backbone.h5", yamnet())
    refused(backbone, "need one Dense layer.*backbone alone")
    item, arrays = with_head(miniresnet("v1", 1, "avg"), 64, classes=3)
    other = json.loads(json.dumps(item).replace("conv2_block2_1_bn", "conv2_block2_0_conv"))
    refused(save(tmp_path / "other.h5", (other, arrays)), "layer 'conv2_block2_0_conv' has no gamma")
    layers = [given(64, 96, 1), conv("conv2d", "input_1", 3, 1, "same", 16, False)]
    layers += [layer("GlobalMaxPooling2D", "pool", "conv2d"), layer("Dense", "head", "pool", activation="softmax")]
    custom = functional("custom", layers)
    refused(save(tmp_path / "custom.h5", (custom, {})), r"neither YAMNet nor MiniResNet.*conv2d.*GlobalMaxPooling2D")


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_takes_files_says_what_it_wrote_and_ends_with_one_line_and_code_1(tmp_path, forking):
    path = save(tmp_path / "my model.h5", with_head(yamnet(), 256, classes=3))
    (tmp_path / "x.h5").write_text("nothing")
    line = [*forking, "aed.import_model", path.name, "x.h5", "class_names=[rain,dog,hum]", "frontend=yamnet_64x96"]
    line.append("class_order=sorted")
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    *said, last = done.stderr.splitlines()
    assert last.startswith("x.h5: not a whole HDF5 file")
    assert any("YAMNet" in line for line in said)
    assert "wrote my model.ckpt and my model.onnx; classes in the order dog, hum, rain" in said
    assert sorted(item.name for item in tmp_path.iterdir()) == ["my model.ckpt", "my model.h5", "my model.onnx", "x.h5"]
    assert Trained.load(tmp_path / "my model.ckpt").frontend == PRESETS["yamnet_64x96"], "taken at its word"
