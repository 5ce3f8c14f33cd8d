"""EfficientAT's MobileNets: against what the published code computes, their cuts, their front ends, sounds by name."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from torch import nn

from aed.base.errors import AedError
from aed.dsp import PRESETS
from aed.dsp.logmel import LogMel
from aed.dsp.waveform import read_audio, resample
from aed.export.footprint import footprint
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.audioset import AudioSetClassifier
from aed.inference.prediction import Predictor
from aed.modules.nets import MobileNetAS
from aed.modules.nets.mobilenet import CLASS_NAMES
from aed.modules.rebuild import build_net, net_facts
from aed.modules.weights.published import read_torch
from aed.run.predict import predict_files as predict

PUBLISHED = PRESETS["mn_32k_128x500"]
RATE = PUBLISHED.sample_rate
RECORDED = Path(__file__).parent / "data" / "mn04_audioset.npz"
"""EfficientAT's own code (commit a425fdc, mn04_as) on ``waves()``: ``features`` (4, 128, 10), every tenth column, and
``scores`` (4, 527); on whole clips of ESC-10, ``clip_names``: ``clip_scores`` (5, 527)."""


def waves() -> np.ndarray:
    """Four sounds of 1 s, 16-bit samples: two tones, noise, falling chirps, a siren."""
    t = np.arange(RATE) / RATE
    made = [
        0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t),
        np.random.default_rng(0).integers(-6000, 6001, t.size) / 32768,
        0.6 * np.sin(2 * np.pi * (300 + 900 * t) * t) * np.exp(-9 * (t % 0.33)),
        0.3 * np.sin(2 * np.pi * (700 + 250 * np.sign(np.sin(2 * np.pi * t))) * t),
    ]
    return (np.rint(32768 * np.stack(made)) / 32768).astype(np.float32)


def features(wave: np.ndarray) -> torch.Tensor:
    return LogMel(PUBLISHED)(torch.from_numpy(wave))


def published(**arguments: object) -> MobileNetAS:
    net = MobileNetAS(10, **arguments)
    net.load_pretrained()
    return net.eval()


@torch.no_grad()
def scores(net: nn.Module, wave: np.ndarray) -> np.ndarray:
    return net(features(wave)[..., None, :, :]).sigmoid().numpy()


# --- the published code ---------------------------------------------------------------------------------------------


def test_the_front_end_is_the_published_one() -> None:
    recorded = np.load(RECORDED)["features"]
    np.testing.assert_allclose(features(waves())[..., ::10].numpy(), recorded, atol=2e-4)
    assert np.ptp(recorded) > 3


def test_scores_are_those_of_the_published_net(pretrained: Path) -> None:
    net, names = MobileNetAS.audioset()
    recorded = np.load(RECORDED)["scores"]
    np.testing.assert_allclose(scores(net, waves()), recorded, atol=1e-5)
    assert [names[index] for index in recorded.argmax(axis=1)] == ["Sine wave", "Static", "Music", "Sine wave"]


def test_scores_of_real_clips_are_those_of_the_published_net(pretrained: Path, esc10: Path) -> None:
    net, _ = MobileNetAS.audioset()
    recorded = np.load(RECORDED)
    for name, expected in zip(recorded["clip_names"], recorded["clip_scores"], strict=True):
        wave, rate = read_audio(esc10 / "esc10" / "audio" / f"{name}.ogg", 10.0)
        np.testing.assert_allclose(scores(net, resample(wave, rate, RATE)[None])[0], expected, atol=1e-4)
        assert expected.max() > 0.2


def test_class_names_are_those_of_audioset(pretrained: Path) -> None:
    names = CLASS_NAMES.read_text("utf-8").splitlines()
    with (pretrained / "yamnet_class_map.csv").open(newline="") as file:
        yamnets = [row["display_name"] for row in csv.DictReader(file)]
    without = {"Battle cry", "Funny music", *(f"{who} singing" for who in ("Male", "Female"))}
    without |= {"Male speech, man speaking", "Female speech, woman speaking"}
    assert len(names) == len(set(names)) == 527 and [name for name in names if name not in without] == yamnets


def test_class_names_are_in_the_ontology(esc10: Path) -> None:
    ontology = esc10 / "audioset" / "ontology.json"
    if not ontology.is_file():
        pytest.skip(f"{ontology} is not here")
    known = {node["name"] for node in json.loads(ontology.read_text("utf-8"))}
    assert set(CLASS_NAMES.read_text("utf-8").splitlines()) <= known


# --- cuts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cut", "embedding", "weights_kib", "mega_macc"),
    [("x11", 192, 42.1 + 6.3, 4.5), ("x13", 272, 150.4 + 12.9, 6.4), (None, 384, 496.2 + 27.3, 8.1)],
)
def test_a_cut_costs_what_is_known(cut: str | None, embedding: int, weights_kib: float, mega_macc: float) -> None:
    """By an earlier implementation with ten classes, 96 bands and 96 frames."""
    net = MobileNetAS(10, cut=cut)
    cost = footprint(to_onnx(net.eval(), PRESETS["mn_96x96"], ExportConfig()))
    assert net.head[1].in_features == embedding
    assert cost.weights_bytes / 1024 == pytest.approx(weights_kib, abs=0.15)
    assert cost.macc / 1e6 == pytest.approx(mega_macc, abs=0.06)


@pytest.mark.parametrize("cut", ["x7", "x11", "x15"])
def test_a_cut_is_the_start_of_the_whole(pretrained: Path, cut: str) -> None:
    net, whole, number = published(cut=cut), published(cut=None), int(cut[1:])
    x = features(waves())[:, None]
    with torch.no_grad():
        expanded = whole.backbone[number].block[0](whole.backbone[:number](x))
        torch.testing.assert_close(net.backbone(x), expanded.mean(dim=(2, 3)))
        torch.testing.assert_close(net(x), net.head(net.backbone(x)))


def test_an_image_is_weighed_by_a_factor_for_each_channel() -> None:
    """Squeeze and excite as published: dense layers on the means over mel and time."""
    excite = nets.settled(MobileNetAS(3)).backbone[4].block[2]
    image = torch.randn(2, 32, 5, 7)
    first, second = excite.fc1, excite.fc2
    hidden = torch.clamp(image.mean(dim=(2, 3)) @ first.weight[:, :, 0, 0].T + first.bias, min=0)
    factor = torch.sigmoid(hidden @ second.weight[:, :, 0, 0].T + second.bias)
    torch.testing.assert_close(excite(image), image * factor[:, :, None, None])


@pytest.mark.parametrize(("width", "first", "embedding"), [(0.1, 8, 96), (0.4, 8, 384), (1.0, 16, 960)])
def test_width_scales_channels_in_eights(width: float, first: int, embedding: int) -> None:
    net = MobileNetAS(4, width=width, cut=None)
    assert net.backbone[0][0].out_channels == first and net.head[1].in_features == embedding
    sizes = [part.out_channels for part in net.backbone.modules() if isinstance(part, nn.Conv2d)]
    assert all(size % 8 == 0 for size in sizes)


def test_a_hidden_layer_of_the_head_has_hard_swish() -> None:
    net = MobileNetAS(3, cut="x7", head_hidden=6).eval()
    _, first, _, second = net.head
    patches = torch.randn(2, 1, 96, 32)
    hidden = first(net.backbone(patches))
    torch.testing.assert_close(net(patches), second(hidden * torch.clamp(hidden + 3, 0, 6) / 6))
    with pytest.raises(AedError, match=r"net\.head_hidden: need at least 1 or null, got 0"):
        MobileNetAS(3, head_hidden=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cut": "x6"}, r"net\.cut: need one of \('x7'.*got 'x6'"),
        ({"cut": 13}, r"net\.cut: .*got 13"),
        ({"width": 0.0}, r"net\.width: need 0\.05 to 4, got 0\.0"),
    ],
)
def test_there_is_no_such_net(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(AedError, match=message):
        MobileNetAS(10, **arguments)


def test_a_checkpoint_rebuilds_every_kind() -> None:
    for net in (MobileNetAS(3), MobileNetAS(3, 0.2, None, 0.1, 5), MobileNetAS(3, cut="x7")):
        facts = net_facts(net)
        assert net_facts(build_net(facts)) == facts


# --- weights --------------------------------------------------------------------------------------------------------


def test_weights_are_published_for_one_width() -> None:
    with pytest.raises(AedError, match=r"net\.width: weights are published for \[0\.4\], got 1\.0"):
        MobileNetAS(3, width=1.0).load_pretrained()


def test_weights_take_the_front_ends_that_imitate_the_published_one() -> None:
    weights = MobileNetAS.WEIGHTS[0.4]
    for name in ("mn_96x96", "mn_96x192", "mn_96x496", "mn_128x496", "mn_32k_128x500"):
        weights.check_frontend(PRESETS[name])
    with pytest.raises(AedError, match=r"log_mean=-4\.5 \(here 0\.0\).*use frontend=mn_96x96"):
        weights.check_frontend(replace(PRESETS["mn_96x96"], log_mean=0))
    with pytest.raises(AedError, match=r"f_max=6558\.0.*\(here 15000\.0\)"):
        weights.check_frontend(replace(PRESETS["mn_128x496"], n_mels=96))
    assert weights.facts["licence"] == "MIT" and all(isinstance(value, str) for value in weights.facts.values())


def test_other_files_are_no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(b"no archive")
    with pytest.raises(AedError, match=r"a\.pt: not a whole file of torch\.save"):
        read_torch(path)
    torch.save({"features": [1, 2]}, path)
    with pytest.raises(AedError, match=r"a\.pt: need a state dict"):
        read_torch(path)
    torch.save(Path("x"), path)  # an object of a class: its code would run
    with pytest.raises(AedError, match=r"a\.pt: not a whole file"):
        read_torch(path)
    net = MobileNetAS(3, cut="x7")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(AedError, match=r"a\.pt: as a MobileNetAS with cut=x7 it lacks \['features\.0\.0\.weight'"):
        net._load("backbone", {}, path)
    published = {net._published_name(name): value for name, value in before.items() if name.startswith("backbone")}
    with pytest.raises(AedError, match=r"a\.pt: features\.0\.1\.bias needs \(8,\), has \(9,\)"):
        net._load("backbone", {**published, "features.0.1.bias": torch.zeros(9)}, path)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "cut", "frames"), [("esc10_64k", "x11", 96), ("esc10_200k", "x13", 192), ("esc10_600k", None, 496)]
)
def test_experiments_pair_weights_with_their_front_end(name: str, cut: str | None, frames: int) -> None:
    cfg = tiny.composed(f"experiment={name}")
    assert cfg.model.frontend.log_std == 5 and cfg.model.frontend.patch_frames == frames
    assert cfg.model.net.cut == cut and cfg.model.pretrained


# --- sounds by name -------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path: Path) -> str:
    sf.write(tmp_path / "a.wav", np.tile(waves()[3], 5), RATE, subtype="PCM_16")
    return str(tmp_path / "a.wav")


def test_sounds_are_named_without_training(
    pretrained: Path, recording: str, capsys: pytest.CaptureFixture[str]
) -> None:
    predict("mn04_audioset", [recording], format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    net, names = MobileNetAS.audioset()
    whole = scores(net, np.tile(waves()[3], 5)[None])[0]
    best = whole.argsort()[::-1][:3]
    assert [row["label"] for row in rows] == [names[index] for index in best]
    np.testing.assert_allclose([float(row["posterior"]) for row in rows], whole[best], atol=1e-4)


def test_its_card_tells_weights_and_front_end(pretrained: Path) -> None:
    card = AudioSetClassifier("mn04_audioset").card
    assert card.task == "multi_label" and len(card.class_names) == 527
    assert card.weights["frontend"] == "mn_32k_128x500" and card.weights["licence"] == "MIT"
    assert (card.frontend.sample_rate, card.frontend.patch_hop) == (32000, 250)


def test_a_recording_of_16_khz_and_one_longer_than_a_patch_are_named(pretrained: Path, tmp_path: Path) -> None:
    sf.write(tmp_path / "b.wav", np.tile(resample(waves()[3], RATE, 16000), 13), 16000)
    heard = Predictor(AudioSetClassifier("mn04_audioset")).recording(str(tmp_path / "b.wav"))
    assert len(list(heard)) >= 3
