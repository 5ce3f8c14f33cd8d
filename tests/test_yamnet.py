"""Google's YAMNet: against what its published file computes, its cuts, its front end, its sounds by name."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import tiny
import torch
from torch import nn

from aed.base.errors import AedError
from aed.dsp import PRESETS
from aed.dsp.logmel import LogMel
from aed.dsp.tables import mel_table
from aed.export.footprint import footprint
from aed.export.onnx import ExportConfig, to_onnx
from aed.inference.audioset import AudioSetClassifier
from aed.inference.prediction import Predictor
from aed.modules.nets import YAMNet
from aed.modules.rebuild import build_net, net_facts
from aed.modules.weights.published import Weights
from aed.modules.weights.tflite import read_labels, read_tflite
from aed.run.predict import predict_files as predict

pytestmark = pytest.mark.usefixtures("trains")

RATE = 16000
GOOGLE = PRESETS["yamnet_google_64x96"]
RECORDED = Path(__file__).parent / "data" / "yamnet_audioset.npz"
"""The published file on ``waves()``, run by LiteRT 2.3.0: ``features`` (2, 96, 64) float16 of the first two, ``logits``
(5, 521) int8 with ``logit_scale`` and ``logit_zero_point``, ``scores`` (5, 521) in steps of 1/256."""


def waves() -> np.ndarray:
    """Five patches of 15600 16-bit samples: two tones, noise, falling chirps, a beat, a siren."""
    t = np.arange(15600) / RATE
    made = [
        0.5 * np.sin(2 * np.pi * 440 * t) + 0.1 * np.sin(2 * np.pi * 3000 * t),
        np.random.default_rng(0).integers(-6000, 6001, t.size) / 32768,
        0.6 * np.sin(2 * np.pi * (300 + 900 * t) * t) * np.exp(-9 * (t % 0.33)),
        0.3 * np.sign(np.sin(2 * np.pi * 120 * t)) * (np.sin(2 * np.pi * 3 * t) > 0),
        0.3 * np.sin(2 * np.pi * (700 + 250 * np.sign(np.sin(2 * np.pi * t))) * t),
    ]
    return (np.rint(32768 * np.stack(made)) / 32768).astype(np.float32)


def features() -> torch.Tensor:
    """Log-mel ``(5, 64, 96)``; the published front end puts its window first in the FFT, ours in the middle."""
    side = (GOOGLE.n_fft - GOOGLE.win_length) // 2
    return LogMel(GOOGLE)(torch.from_numpy(np.pad(waves(), ((0, 0), (side, side)))))


def published(**arguments: object) -> YAMNet:
    net = YAMNet(10, **{"weights": "google"} | arguments)
    net.load_pretrained()
    return net.eval()


def test_scores_are_those_of_the_published_file(pretrained):
    recorded, (net, names) = np.load(RECORDED), YAMNet.audioset()
    with torch.no_grad():
        logits = net(features()[:, None])
    scale = float(recorded["logit_scale"])
    expected = scale * (recorded["logits"].astype(np.float32) - int(recorded["logit_zero_point"]))
    error = logits.numpy() - expected
    # it computes in int8; a step of its logits is 0.35, which the rounding of 28 layers before joins
    assert np.sqrt((error**2).mean()) < 0.6 * scale and np.abs(error).max() < 3 * scale
    scores = logits.sigmoid().numpy()
    assert np.abs(scores - recorded["scores"] / 256).max() < 0.06
    ranked = scores.argsort(axis=1)[:, ::-1]
    for ours, theirs in zip(ranked, recorded["scores"].argmax(axis=1), strict=True):
        assert theirs in ours[:3], names[theirs]


def test_the_front_end_is_that_of_the_published_file(pretrained):
    mel, *_ = read_tflite(pretrained / YAMNet.WEIGHTS["google"].file)
    assert np.allclose(mel.bias, GOOGLE.log_offset, rtol=1e-6)
    # its triangles are straight over mel, librosa's and ours over Hz
    np.testing.assert_allclose(np.asarray(mel_table(GOOGLE)), mel.weight, atol=5e-3)
    recorded = np.load(RECORDED)["features"].astype(np.float32)
    np.testing.assert_allclose(features()[:2].numpy().transpose(0, 2, 1), recorded, atol=2e-2)


def test_class_names_are_those_of_the_published_map(pretrained):
    _, names = YAMNet.audioset()
    with (pretrained / "yamnet_class_map.csv").open(newline="") as file:
        assert list(names) == [row["display_name"] for row in csv.DictReader(file)]
    assert len(names) == 521 and names[0] == "Speech"


# --- cuts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "layers", "macc"),
    [
        ({"embedding_size": 256}, 6, 23.9e6),
        ({"embedding_size": 512}, 8, 34e6),
        ({"embedding_size": 1024}, 14, 68.6e6),
        ({"embedding_size": 128, "layers": 3}, 3, 7.4e6),
        ({"embedding_size": 512, "layers": 12}, 12, 59e6),
    ],
)
def test_a_cut_is_the_start_of_the_whole(pretrained, arguments, layers, macc):
    net, whole = published(**arguments), published(embedding_size=1024)
    convolutions = [layer for layer in net.backbone if hasattr(layer, "conv")]
    assert len(convolutions) == 2 * layers - 1
    x = features()[:, None]
    with torch.no_grad():
        expected = whole.backbone[: len(convolutions)](x).mean(dim=(2, 3))
        torch.testing.assert_close(net.backbone(x), expected)
    exported = footprint(to_onnx(net, GOOGLE, ExportConfig()))
    assert exported.macc == pytest.approx(macc, rel=0.06)


def test_st_and_google_differ_in_activation_alone():
    ours, theirs = YAMNet(10), YAMNet(10, weights="google")
    kinds = [{type(module) for module in net.modules()} for net in (ours, theirs)]
    assert kinds[0] - kinds[1] == {nn.ReLU} and kinds[1] - kinds[0] == {nn.ReLU6}
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"embedding_size": 300}, r"256, 512, 1024.*got 300"),
        ({"embedding_size": 128}, r"or layers.*got 128"),
        ({"embedding_size": 256, "layers": 7}, r"\[5, 6\].*got 7"),
        ({"embedding_size": 1024, "layers": 15}, r"\[13, 14\].*got 15"),
        ({"weights": "tensorflow"}, r"google.*got 'tensorflow'"),
    ],
)
def test_there_is_no_such_net(arguments, message):
    with pytest.raises(AedError, match=message):
        YAMNet(10, **arguments)


def test_st_publishes_six_layers_only(pretrained):
    with pytest.raises(AedError, match=r"6 layers, not 14.*google.*yamnet_google_64x96"):
        YAMNet(10, embedding_size=1024).load_pretrained()
    shorter, whole = YAMNet(10, embedding_size=128, layers=4).eval(), YAMNet(10).eval()
    shorter.load_pretrained()
    whole.load_pretrained()
    x = features()[:1, None]
    with torch.no_grad():
        torch.testing.assert_close(shorter.backbone(x), whole.backbone[:7](x).mean(dim=(2, 3)))


def test_a_checkpoint_rebuilds_every_kind(pretrained):
    for net in (YAMNet(3), YAMNet(3, 128, 0.1, "google", 4), YAMNet(3, 512)):
        facts = net_facts(net)
        assert net_facts(build_net(facts)) == facts
    arguments = {"num_classes": 3, "embedding_size": 256, "dropout": 0.0}  # of a checkpoint before there was a choice
    old = {"class": "aed.modules.nets.yamnet.YAMNet", "arguments": arguments}
    assert net_facts(build_net(old))["arguments"]["weights"] == "st"


# --- fine-tuning --------------------------------------------------------------------------------------------------


def test_directions_have_length_one_and_batchnorm_keeps_its_statistics(pretrained):
    net = published(embedding_size=128, layers=3).train()
    for layer in net.backbone:
        if hasattr(layer, "conv"):
            lengths = layer.conv.weight.flatten(1).norm(dim=1)
            torch.testing.assert_close(lengths, torch.ones_like(lengths))
            assert not layer.norm.training and layer.norm.weight.requires_grad
    x = features()[:, None]
    torch.testing.assert_close(net.backbone(x), net.eval().backbone(x))
    net.train()
    torch.optim.SGD(net.parameters(), lr=0.1).step(lambda: net(x).square().mean().backward())
    assert all(not buffer.any() for name, buffer in net.named_buffers() if name.endswith("running_mean"))


def test_from_scratch_batchnorm_learns_its_statistics():
    net = YAMNet(10, weights="google").train()
    net(features()[:, None])
    assert any(buffer.any() for name, buffer in net.named_buffers() if name.endswith("running_mean"))


# --- the front end belongs to the weights ---------------------------------------------------------------------------


def test_weights_refuse_features_that_they_were_not_trained_on():
    google, st = YAMNet.WEIGHTS["google"], YAMNet.WEIGHTS["st"]
    google.check_frontend(GOOGLE)
    google.check_frontend(
        replace(GOOGLE, trim="none", overlap=0.5, max_length_s=5.0, patch_frames=64, sample_bits=None)
    )
    with pytest.raises(AedError, match=r"log_offset=0\.001 \(here 0\.0001\).*frontend=yamnet_google_64x96"):
        google.check_frontend(PRESETS["yamnet_64x96"])
    with pytest.raises(AedError, match=r"hop_length=160 \(here 320\).*log_offset=0\.0001.*frontend=yamnet_64x96"):
        st.check_frontend(replace(GOOGLE, hop_length=320, min_length_s=2.0))
    Weights(file="f", sha256="", url="", licence="", source="").check_frontend(GOOGLE)


@pytest.mark.parametrize(
    "overrides", [[f"experiment={name}"] for name in ("esc10_yamnet", "esc10_yamnet1024", "esc10_yamnet_listening")]
)
def test_experiments_pair_weights_with_their_front_end(overrides):
    cfg = tiny.composed(*overrides)
    assert cfg.model.frontend.log_offset == PRESETS[YAMNet.WEIGHTS[cfg.model.net.weights].frontend].log_offset


# --- files --------------------------------------------------------------------------------------------------------


def test_other_files_are_no_tflite(tmp_path, pretrained):
    path = tmp_path / "a.tflite"
    path.write_bytes(b"not a model")
    with pytest.raises(AedError, match=r"a\.tflite: not a TensorFlow Lite model"):
        read_tflite(path)
    whole = (pretrained / YAMNet.WEIGHTS["google"].file).read_bytes()
    path.write_bytes(whole[:1000])
    with pytest.raises(AedError, match="damaged"):
        read_tflite(path)
    with pytest.raises(AedError, match=r"no yamnet_label_list\.txt"):
        read_labels(path, "yamnet_label_list.txt")


# --- sounds by name -------------------------------------------------------------------------------------------------


@pytest.fixture
def recording(tmp_path):
    sf.write(tmp_path / "a.wav", np.tile(waves()[0], 3), RATE)
    return str(tmp_path / "a.wav")


def test_sounds_are_named_without_training(pretrained, recording, capsys):
    predict("yamnet_audioset", [recording], format="csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    posteriors = [float(row["posterior"]) for row in rows]
    assert rows[0]["label"] == "Sine wave" and len(rows) == 3 and posteriors == sorted(posteriors, reverse=True)
    assert sum(posteriors) != pytest.approx(1), "classes are independent"
    predict("yamnet_audioset", [recording], format="csv", top=5, unknown_threshold=posteriors[1] - 1e-5)
    assert capsys.readouterr().out.count("a.wav") == 2
    predict("yamnet_audioset", [recording], format="table")
    assert "Sine wave" in capsys.readouterr().out


def test_its_card_tells_weights_and_task(pretrained):
    card = AudioSetClassifier().card
    assert card.task == "multi_label" and card.weights["frontend"] == "yamnet_google_64x96"
    assert card.frontend.log_offset == 1e-3 and card.frontend.patch_hop == 48


def test_nothing_over_the_threshold_is_unknown(pretrained, recording):
    heard = Predictor(AudioSetClassifier(), unknown_threshold=1.0).recording(recording)
    assert {patch.label for patch in heard} == {"unknown"} and heard.whole.others == ()


def test_wrong_uses_are_told(monkeypatch, tmp_path, recording):
    with pytest.raises(AedError, match="own front end"):
        predict("yamnet_audioset", [recording], frontend=GOOGLE)
    monkeypatch.setenv("AED_PRETRAINED_DIR", str(tmp_path))
    gone = replace(YAMNet.WEIGHTS["google"], url="http://127.0.0.1:9/x")
    monkeypatch.setitem(YAMNet.WEIGHTS, "google", gone)
    with pytest.raises(AedError, match=r"lite-model_yamnet.*tflite into .*AED_PRETRAINED_DIR"):
        predict("yamnet_audioset", [recording])
