"""Models as Keras 3 writes them, against posteriors that Keras computed; and files that are none, or hostile."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tiny
import torch
from conftest import SHARED
from test_import_model import EXACT, logits_of, miniresnet, save, softmax, with_head

from aed.base.errors import AedError
from aed.dsp import PRESETS
from aed.inference.opening import open_classifier
from aed.modules.trained import Trained
from aed.modules.weights import keras_files
from aed.modules.weights.keras import KerasModel
from aed.modules.weights.keras_nets import convert
from aed.run.importing.verb import import_model

pytestmark = pytest.mark.usefixtures("processes")

DATA = Path(__file__).parent / "data" / "keras"
NAMES = ["alarm", "hum", "rain"]
FRONTEND = tiny.FRONTEND

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def recorded() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "posteriors.npz"))


@pytest.mark.parametrize("end", ["keras", "h5"])
def test_a_file_of_keras_3_gives_the_posteriors_of_keras(tmp_path, recorded, end):
    file = tmp_path / f"best.{end}"
    file.write_bytes((DATA / f"yamnet_2_layers.{end}").read_bytes())
    import_model([str(file)], NAMES, FRONTEND)
    patches = np.random.default_rng(5).uniform(-9, 3, (6, 16, 32, 1)).astype(np.float32).transpose(0, 3, 1, 2)
    patches = np.ascontiguousarray(patches)
    for suffix in (".ckpt", ".onnx"):
        classifier = open_classifier(tmp_path / f"best{suffix}")
        assert np.abs(classifier.posteriors(patches) - recorded["yamnet"]).max() <= 1e-5, suffix
        assert classifier.card.weights["source"] == "trained with Keras 3.15.1, imported"


def test_the_net_of_2023_gives_the_logits_of_keras(tmp_path, recorded):
    file = save(tmp_path / "a.h5", with_head(miniresnet("v1_2023", 1, "none", (40, 33)), 64 * 5 * 5))
    import_model([str(file)], list("abcdefghij"), replace(FRONTEND, n_mels=40, patch_frames=33), onnx=False)
    patches = np.random.default_rng(6).uniform(-80, 0, (6, 40, 33, 1)).astype(np.float32).transpose(0, 3, 1, 2)
    logits, expected = logits_of(tmp_path / "a.ckpt", np.ascontiguousarray(patches)), recorded["v1_2023_logits"]
    assert np.abs(logits - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("end", ["keras", "h5"])
@pytest.mark.parametrize("name", ["miniresnet_2_stacks_backbone", "pooled_miniresnetv2_2_stacks_backbone"])
def test_backbones_of_the_zoo_give_what_tensorflow_gave(golden, tmp_path, name, end):
    file = SHARED / "golden" / "keras3" / f"{name}.{end}"
    import_model([str(file)], list("abcdefghij"), folder=str(tmp_path), onnx=False)
    arrays = KerasModel.read(file).arrays
    trained = Trained.load(tmp_path / f"{name}.ckpt")
    assert trained.frontend == replace(PRESETS["miniresnet_64x50"], **EXACT)
    for path in sorted(golden.glob("miniresnet_*.npz")):
        clip = np.load(path)
        embedding = clip[f"backbone__{name}"].reshape(len(clip["patches"]), -1)
        expected = embedding @ arrays["new_head/kernel:0"] + arrays["new_head/bias:0"]
        with torch.no_grad():
            logits = trained.net(torch.from_numpy(clip["patches"][:, None])).numpy()
        assert np.abs(softmax(logits) - softmax(expected)).max() <= 1e-5, path.name


def test_positions_serve_where_no_names_are(tmp_path):
    """Files before Keras 3.8: variables lie by class and number alone."""
    path = edited(tmp_path)
    plain = convert(KerasModel.read(path))
    _change_weights(path, lambda file: [group.attrs.pop("name", None) for group in _groups(file)])
    bare = convert(KerasModel.read(path))
    for (name, one), other in zip(plain.net.state_dict().items(), bare.net.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


# --- what is refused ------------------------------------------------------------------------------------------------


def edited(folder: Path, edit: Edit | None = None, **members: bytes | None) -> Path:
    """The small file with another description or other members; None leaves one out."""
    path = folder / "x.keras"
    with zipfile.ZipFile(DATA / "yamnet_2_layers.keras") as source:
        content: dict[str, bytes | None] = {name: source.read(name) for name in source.namelist()}
    if edit is not None:
        item = json.loads(content["config.json"] or b"")
        edit(item)
        content["config.json"] = json.dumps(item).encode()
    content |= {name.replace("__", "."): value for name, value in members.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, value in content.items():
            if value is not None:
                target.writestr(name, value)
    return path


def _change_weights(path: Path, change: Callable[[h5py.File], object]) -> None:
    with zipfile.ZipFile(path) as source:
        content = {name: source.read(name) for name in source.namelist()}
    held = io.BytesIO(content["model.weights.h5"])
    with h5py.File(held, "a") as file:
        change(file)
    with zipfile.ZipFile(path, "w") as target:
        for name, value in (content | {"model.weights.h5": held.getvalue()}).items():
            target.writestr(name, value)


def _groups(file: h5py.File) -> list[h5py.Group]:
    found: list[h5py.Group] = []
    file.visititems(lambda name, item: found.append(item) if isinstance(item, h5py.Group) else None)
    return found


def refused(path: Path, message: str) -> None:
    with pytest.raises(AedError, match=message) as raised:
        import_model([str(path)], NAMES, FRONTEND)
    assert path.name in str(raised.value) and "\n" not in str(raised.value)
    assert {item.suffix for item in path.parent.iterdir()} <= {".keras", ".h5", ".ran"}


def inner(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of the net inside the model inside the model."""
    layers = next(layer for layer in item["config"]["layers"] if "layers" in layer["config"])["config"]["layers"]
    return next(layer for layer in layers if "layers" in layer["config"])["config"]["layers"]


HEAD = -1


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda item: item["config"]["layers"][1].update(class_name="Lambda"), r"'Lambda'.*never run"),
        (lambda item: inner(item)[1].update(module="my_layers", registered_name="my>Conv2D"), r"my>Conv2D.*never"),
        (lambda item: inner(item)[1].update(module="os", registered_name=None), r"os\.Conv2D.*never"),
        (lambda item: inner(item)[1].update(class_name="Conv3D"), "Conv3D"),
        (lambda item: inner(item)[1]["config"]["dtype"]["config"].update(name="mixed_float16"), "mixed_float16"),
        (lambda item: inner(item)[1]["config"].update(dtype="float16"), "computes in float16"),
        (lambda item: item["config"].update(layers="none"), "damaged"),
        (lambda item: item.pop("config"), "damaged"),
        (lambda item: item["config"]["layers"][HEAD]["inbound_nodes"].clear(), "damaged"),
        (lambda item: item["config"]["layers"][HEAD]["config"].update(activation="tanh"), "after the head, got.*tanh"),
        (lambda item: inner(item)[2]["config"].update(epsilon=0.5), "compute something else"),
    ],
)  # fmt: skip
def test_another_description_is_refused(tmp_path, edit, message):
    refused(edited(tmp_path, edit), message)


def test_a_zip_that_is_none_or_another_is_refused(tmp_path):
    path = tmp_path / "x.keras"
    path.write_bytes(b"not a zip")
    refused(path, "not a whole zip file")
    whole = (DATA / "yamnet_2_layers.keras").read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        refused(path, "not a whole zip file|damaged")
    refused(edited(tmp_path, config__json=None), r"a zip file without config\.json")
    refused(edited(tmp_path, config__json=b"[" * 100_000), "description is damaged")
    refused(edited(tmp_path, config__json=b"[]"), "description is damaged: it is no object")
    refused(edited(tmp_path, **{"model__weights__h5": b"text"}), r"x\.keras: not a Keras \.h5 file of weights")


@pytest.mark.parametrize("name", ["../../evil.py", "/etc/evil", "assets/../../x", "C:evil"])
def test_members_outside_the_folder_are_refused(tmp_path, name):
    path = edited(tmp_path)
    with zipfile.ZipFile(path, "a") as target:
        target.writestr(name, "x")
    refused(path, "would lie outside its folder")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["x.keras"]


def test_a_member_of_the_size_of_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setitem(keras_files.LARGEST_BYTES, "config.json", 1 << 20)
    path = edited(tmp_path, config__json=b" " * (50 << 20))
    assert path.stat().st_size < 200_000
    refused(path, r"config\.json has over 1 MiB unpacked")


def test_a_dataset_of_the_size_of_a_bomb_is_not_read(tmp_path):
    path = edited(tmp_path)
    _change_weights(path, lambda file: file.create_dataset("big", (1 << 20, 1 << 10), "f4", chunks=(1, 1024)))
    refused(path, "holds over 67,108,864 values")


def test_values_in_other_files_are_not_read(tmp_path):
    secret = tmp_path / "secret.h5"
    secret.write_bytes(b"\x3f" * 4096)
    path = edited(tmp_path)

    def external(file: h5py.File) -> None:
        kernel = "layers/dense/vars/0"
        shape = file[kernel].shape
        del file[kernel]
        file.create_dataset(kernel, shape, "f4", external=[(str(secret), 0, 4 * int(np.prod(shape)))])

    _change_weights(path, external)
    refused(path, r"layers/dense/vars/0 lie in another file")


def test_a_missing_array_is_named(tmp_path):
    path = edited(tmp_path)
    _change_weights(path, lambda file: file.pop("layers/dense/vars/0"))
    refused(path, "'new_head' has no kernel")


def test_damaged_bytes_never_end_in_a_traceback(tmp_path):
    whole, rng = (DATA / "yamnet_2_layers.keras").read_bytes(), np.random.default_rng(0)
    path = tmp_path / "x.keras"
    for _ in range(30):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            convert(KerasModel.read(path))
        except AedError as error:
            assert "x.keras" in str(error)
