import json
import math
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from lightning.pytorch import seed_everything

from aed.base import paths
from aed.base.errors import AedError
from aed.modules import classifier as module
from aed.modules import embeddings, schedules
from aed.modules.augment import AugmentConfig
from aed.modules.nets import YAMNet
from aed.modules.rebuild import build_net, net_facts
from aed.modules.weights.published import Weights, read_keras_h5
from aed.run.callbacks import BestCheckpoint

pytestmark = pytest.mark.usefixtures("trains")


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], part: str = "") -> bool:
    return all(torch.equal(a[name], b[name]) for name in a if part in name)


class Published(tiny.TinyNet):
    """TinyNet with 'published' weights, so that it can be frozen."""

    def load_pretrained(self) -> Weights:
        return Weights(file="f", sha256="0", url="u", licence="Apache-2.0", source="s")


def fit(folder: Path, epochs: int = 2, ckpt: Path | None = None, data: dict | None = None, **changes):
    model = tiny.classifier(**changes)
    saver = BestCheckpoint(str(folder / "checkpoints"))
    trainer = tiny.trainer(folder, epochs, [saver], use_distributed_sampler=False)
    trainer.fit(model, datamodule=tiny.data(**data or {}), ckpt_path=ckpt, weights_only=True)
    return model, trainer


def test_a_frozen_backbone_keeps_weights_and_batchnorm_statistics(tmp_path):
    net = Published(3)
    before = weights(net)
    fit(tmp_path, net=net, pretrained=True)
    assert same(before, weights(net), "backbone")
    assert not same(before, weights(net), "head")


def test_fine_tuning_changes_backbone_and_statistics(tmp_path):
    torch.manual_seed(0)
    net = Published(3)
    before = weights(net)
    model, _ = fit(tmp_path, net=net, pretrained=True, fine_tune=True)
    after = weights(model.net)
    assert not torch.equal(after["backbone.0.weight"], before["backbone.0.weight"])
    assert not torch.equal(after["backbone.1.running_mean"], before["backbone.1.running_mean"])


def test_mixup_trains_towards_mixed_targets(tmp_path, monkeypatch):
    seen = []

    def spy(patches, target, alpha):
        seen.append((target, alpha))
        return patches, torch.full_like(target, 1 / 3)

    monkeypatch.setattr(module, "mixup", spy)
    _, trainer = fit(tmp_path, 30, augment=AugmentConfig(mixup=0.4), optimizer=momentum)
    target, alpha = seen[0]
    assert alpha == 0.4
    assert torch.equal(target.sum(dim=1), torch.ones(len(target)))
    # even targets leave nothing to tell: the loss falls to the entropy of three classes
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(math.log(3), abs=0.02)


def test_kept_embeddings_train_the_same_head_as_computing_them_anew(tmp_path, monkeypatch):
    torch.manual_seed(1)
    kept, _ = fit(tmp_path / "a", 3, net=Published(3, dropout=0.3), pretrained=True)
    assert kept.embeddings is None, "freed after fit"
    monkeypatch.setattr(embeddings, "BANK_BYTES", 0)
    torch.manual_seed(1)
    anew, _ = fit(tmp_path / "b", 3, net=Published(3, dropout=0.3), pretrained=True)
    for name, value in weights(kept).items():
        assert torch.allclose(value, weights(anew)[name], atol=1e-6), name


class Between(Published):
    """Its forward does something between backbone and head."""

    def forward(self, patches):
        return self.head(10 * torch.nn.functional.normalize(self.backbone(patches)))


class Image(Published):
    """Its backbone ends in an image, its head pools that."""

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.backbone, self.head = self.backbone[:3], torch.nn.Sequential(*self.backbone[3:], *self.head)


@pytest.mark.parametrize(("net", "kept"), [(Between, False), (Image, True)])
def test_a_frozen_net_is_trained_as_its_forward_is(tmp_path, monkeypatch, net, kept):
    """Embeddings are kept only where forward is head(backbone(patches)); the head is the same as without."""
    banks = []
    monkeypatch.setattr(module.ClipClassifier, "on_fit_end", lambda model: banks.append(model.embeddings))
    heads = []
    for size in (embeddings.BANK_BYTES, 0):
        monkeypatch.setattr(embeddings, "BANK_BYTES", size)
        torch.manual_seed(1)
        model, _ = fit(tmp_path / str(size), 3, data={"val_fold": 4}, net=net(3), pretrained=True)
        heads.append(weights(model))
    for name, value in heads[0].items():
        torch.testing.assert_close(value, heads[1][name], atol=1e-6, rtol=1e-5)
    assert (banks[0] is not None and len(banks[0].train) > 0) == kept


def test_batches_of_one_step_have_random_numbers_of_their_own(tmp_path):
    drawn = []
    model = tiny.classifier(augment=AugmentConfig(noise_std=0.1))
    model.augment.register_forward_pre_hook(lambda *_: drawn.append(torch.default_generator.initial_seed()))
    tiny.trainer(tmp_path, 1, accumulate_grad_batches=3).fit(model, datamodule=tiny.data(batch_size=4))
    assert len(set(drawn)) == len(drawn) > 3


def test_a_training_that_diverges_ends(tmp_path):
    with pytest.raises(AedError, match=r"diverged in epoch 1: .*lower model\.optimizer\.lr"):
        fit(tmp_path, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1e38))


def test_a_rate_that_is_0_throughout_is_told(tmp_path, caplog):
    fit(tmp_path, 1, scheduler=partial(schedules.LRCosineDecay, initial_lr=1, hold_steps=0, decay_steps=1, end_lr=0))
    assert "LRCosineDecay: the rate of the only epoch is 0" in caplog.text


def test_a_schedule_of_epochs_does_not_count_steps(tmp_path):
    with pytest.raises(AedError, match=r"scheduler_interval=step: LRCosineDecay counts epochs"):
        fit(tmp_path, scheduler=cosine, scheduler_interval="step")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=-1)}, "model.optimizer: ValueError: .*-1"),
        ({"scheduler": lambda own: torch.optim.lr_scheduler.OneCycleLR(own, 0.1)}, "model.scheduler: ValueError"),
    ],
)
def test_values_that_torch_does_not_take_are_named(tmp_path, changes, message):
    with pytest.raises(AedError, match=message):
        fit(tmp_path, **changes)


def stochastic():
    torch.manual_seed(3)
    augment = AugmentConfig(noise_std=0.3, min_gain=0.5, max_gain=2, time_masks=1, time_mask_width=9)
    return {"net": tiny.TinyNet(3, dropout=0.5), "augment": augment}


def momentum(parameters):
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9)


def cosine(optimizer):
    return schedules.LRCosineDecay(optimizer, initial_lr=0.05, hold_steps=1, decay_steps=5, end_lr=0.001)


def plateau(optimizer):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=1e9)


@pytest.mark.parametrize("scheduler", [cosine, plateau, None])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(tmp_path, scheduler):
    options = {"optimizer": momentum, "scheduler": scheduler, "seed": 5}
    draw = {"train_patches": "random", "val_fold": 4}
    whole, _ = fit(tmp_path / "whole", 5, data=draw, **stochastic(), **options)
    fit(tmp_path / "first", 2, data=draw, **stochastic(), **options)
    seed_everything(99, verbose=False)  # whatever the process drew before
    rest, trainer = fit(tmp_path / "rest", 5, tmp_path / "first/checkpoints/last.ckpt", draw, **stochastic(), **options)
    assert trainer.current_epoch == 5
    assert same(weights(whole), weights(rest))
    best = [torch.load(tmp_path / run / "checkpoints/best.ckpt", weights_only=True) for run in ("whole", "rest")]
    assert best[0]["epoch"] == best[1]["epoch"]
    assert same(best[0]["state_dict"], best[1]["state_dict"])


def test_the_best_epoch_so_far_survives_a_resume_in_another_folder(tmp_path):
    draw = {"val_fold": 4}
    fit(tmp_path / "first", 2, data=draw, optimizer=momentum)
    before = torch.load(tmp_path / "first/checkpoints/best.ckpt", weights_only=True)

    def ruin(parameters):
        return torch.optim.SGD(parameters, lr=100.0)

    fit(tmp_path / "rest", 3, tmp_path / "first/checkpoints/last.ckpt", draw, optimizer=ruin)
    after = torch.load(tmp_path / "rest/checkpoints/best.ckpt", weights_only=True)
    assert after["epoch"] == before["epoch"]


def test_without_validation_the_last_epoch_is_the_best(tmp_path):
    _, trainer = fit(tmp_path, 3)
    best = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    assert best["epoch"] == 2


def test_a_checkpoint_holds_plain_types_and_rebuilds_its_net(tmp_path):
    model, trainer = fit(tmp_path, 1, optimizer=momentum, scheduler=cosine)
    facts = torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)
    json.dumps(facts["aed"])
    assert facts["aed"]["class_names"] == ["alarm", "hum", "rain"]
    net = build_net(facts["aed"]["net"], "tiny.TinyNet")
    net.load_state_dict({k.removeprefix("net."): v for k, v in facts["state_dict"].items() if k.startswith("net.")})
    patches = torch.randn(2, 1, 16, 32)
    assert torch.allclose(net.eval()(patches), model.eval()(patches), atol=1e-6)


@pytest.mark.parametrize("name", ["subprocess.Popen", "os.system", "no.such.Class", "collections.OrderedDict"])
def test_a_checkpoint_cannot_call_what_is_no_net(name):
    with pytest.raises(AedError, match=name):
        build_net({"class": name, "arguments": {}})
    with pytest.raises(AedError, match=name):
        build_net({"class": name, "arguments": {}}, asked=name)


def test_a_checkpoint_of_other_classes_or_another_front_end_is_refused(tmp_path):
    fit(tmp_path, 1)
    ckpt = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    model = tiny.classifier()
    model.class_names = ("x", "y", "z")
    with pytest.raises(AedError, match="class_names"):
        model.on_load_checkpoint(ckpt)
    model.class_names = ("alarm", "hum", "rain")
    model.on_load_checkpoint(ckpt)
    ckpt["aed"]["frontend"]["n_mels"] = 40
    with pytest.raises(AedError, match="frontend"):
        model.on_load_checkpoint(ckpt)
    with pytest.raises(AedError, match="not written by this project"):
        model.on_load_checkpoint({})
    ckpt["aed"]["version"] = 99
    with pytest.raises(AedError, match="version 99"):
        model.on_load_checkpoint(ckpt)


def test_a_plateau_lowers_the_rate(tmp_path):
    _, trainer = fit(tmp_path, 4, data={"val_fold": 4}, optimizer=momentum, scheduler=plateau, monitor="val/loss")
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.05 * 0.5**4  # nothing is good enough for the threshold
    with pytest.raises(AedError, match="val/nothing"):
        fit(tmp_path, 1, scheduler=plateau, monitor="val/nothing")


def test_a_net_of_another_size_is_refused_before_training(tmp_path):
    with pytest.raises(AedError, match="3 classes"):
        fit(tmp_path, 1, net=tiny.TinyNet(4))
    with pytest.raises(AedError, match="does not take patches"):
        fit(tmp_path, 1, net=torch.nn.Linear(7, 3))


def test_wrong_options_are_named():
    with pytest.raises(AedError, match="label_smoothing"):
        tiny.classifier(label_smoothing=1.5)
    with pytest.raises(AedError, match="no published weights"):
        tiny.classifier(pretrained=True)


def test_a_net_that_hides_its_arguments_is_told_so():
    class Forgetful(torch.nn.Module):
        def __init__(self, depth: int) -> None:
            super().__init__()

    with pytest.raises(AedError, match="depth"):
        net_facts(Forgetful(3))


def test_yamnet_embeds_as_the_incumbent_does(golden, pretrained):
    net = YAMNet(10)
    net.load_pretrained()
    net.eval()
    for path in sorted(golden.glob("yamnet_*.npz")):
        arrays = np.load(path)
        patches = torch.from_numpy(arrays["patches"].astype(np.float32).reshape(-1, 1, 64, 96))
        with torch.no_grad():
            embedding = net.backbone(patches).numpy()
        expected = arrays["backbone__yamnet_256_f32"]
        assert np.abs(embedding - expected).max() <= 1e-4 * np.abs(expected).max(), path.name


def test_yamnet_embeds_the_reference_pattern(pretrained):
    """Values from TensorFlow on x[i, j] = 3 sin(0.1 i + 0.05 j) - 4."""
    net = YAMNet(10)
    net.load_pretrained()
    i, j = np.mgrid[0:64, 0:96]
    x = torch.from_numpy((3 * np.sin(0.1 * i + 0.05 * j) - 4).astype(np.float32))[None, None]
    with torch.no_grad():
        embedding = net.eval().backbone(x)[0].numpy()
    assert embedding[:6] == pytest.approx([0.48867, 0.28548, 0.18290, 0.38207, 0.57459, 0.05364], abs=2e-5)
    assert embedding.sum() == pytest.approx(104.6228, rel=1e-5)
    assert math.sqrt((embedding**2).sum()) == pytest.approx(9.64482, rel=1e-5)


def test_yamnet_has_the_published_number_of_values(pretrained):
    arrays = read_keras_h5(pretrained / "yamnet_256_f32.h5")
    assert sum(a.size for a in arrays.values()) == 135_104
    backbone = YAMNet(10).backbone
    kernels = sum(p.numel() for name, p in backbone.named_parameters() if "conv" in name)
    biases = sum(p.numel() for name, p in backbone.named_parameters() if name.endswith("norm.bias"))
    assert kernels + biases == 132_160


def test_there_is_no_such_yamnet():
    with pytest.raises(AedError, match=r"256.*got 300"):
        YAMNet(10, embedding_size=300)


def test_missing_weights_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("AED_PRETRAINED_DIR", str(tmp_path))
    there = YAMNet.WEIGHTS["st"]
    gone = Weights(file=there.file, sha256=there.sha256, url="http://127.0.0.1:9/x", licence="", source="")
    monkeypatch.setitem(YAMNet.WEIGHTS, "st", gone)
    with pytest.raises(AedError, match=r"yamnet_256_f32.h5 into .*AED_PRETRAINED_DIR.*experiment=demo"):
        YAMNet(10).load_pretrained()


def test_other_bytes_under_the_name_of_the_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("AED_PRETRAINED_DIR", str(tmp_path))
    (paths.pretrained_dir() / "yamnet_256_f32.h5").write_bytes(b"not weights")
    with pytest.raises(AedError, match="sha256"):
        YAMNet(10).load_pretrained()
    assert (tmp_path / "yamnet_256_f32.h5").read_bytes() == b"not weights"
