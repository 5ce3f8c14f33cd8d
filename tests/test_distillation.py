"""Fine-tuning layer by layer and learning from teachers: what is trained, at which rates, towards what."""

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from aed.base.errors import AedError
from aed.datamodules.crops.config import CropConfig
from aed.dsp import FrontendConfig
from aed.modules.closed_form import softmax_regression
from aed.modules.distillation import Distillation
from aed.modules.teachers import Teacher, directions, mean_posteriors
from aed.modules.tuning import TuningConfig, solve_head
from aed.modules.weights.published import Weights
from aed.run.callbacks import BestCheckpoint, MovingAverage

pytestmark = pytest.mark.usefixtures("trains")

CROPS = CropConfig(per_clip=3, length_s=1.5)


class Published(tiny.TinyNet):
    """TinyNet with 'published' weights."""

    def load_pretrained(self) -> Weights:
        generator = torch.Generator().manual_seed(self.width)
        for parameter in self.backbone.parameters():
            nn.init.normal_(parameter, std=0.3, generator=generator)
        return Weights(file="f", sha256=str(self.width), url="u", licence="Apache-2.0", source="s")


def teachers() -> dict[str, Teacher]:
    other = FrontendConfig(patch_frames=48, n_mels=24, overlap=0.0)
    return {"one": Teacher(Published(2, width=6), tiny.FRONTEND), "two": Teacher(Published(2, width=5), other)}


def student(distillation: Distillation | None = None, **changes) -> tiny.ClipClassifier:
    return tiny.classifier(Published(3), pretrained=True, fine_tune=True, distillation=distillation, **changes)


def data(**changes):
    return tiny.data(**{"crops": CROPS, "train_patches": "random", "patches_per_clip": 1, **changes})


# ---- rates and frozen parts ----------------------------------------------------------------------------------


def test_frozen_layers_and_statistics_stay_and_others_move(tmp_path):
    model = student(tuning=TuningConfig(frozen_layers=1, frozen_norm=True))
    before = {name: value.clone() for name, value in model.net.state_dict().items()}
    tiny.trainer(tmp_path, 2).fit(model, datamodule=tiny.data())
    moved = {name for name, value in model.net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"backbone.1.weight", "backbone.1.bias", "head.1.weight", "head.1.bias"}


def test_rates_are_shares_of_each_tensor(tmp_path):
    """A step of SGD from a known gradient: the change of a weight tensor is its RMS times the rate."""
    tuning = TuningConfig(weight_rate=0.5, vector_rate=0.25)
    model = student(tuning=tuning, optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))
    optimizer = model.configure_optimizers()
    before = {name: value.detach().clone() for name, value in model.net.named_parameters()}
    for parameter in model.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    rates = {name: float((before[name] - value.detach()).mean()) for name, value in model.net.named_parameters()}
    rms = float(before["backbone.0.weight"].square().mean().sqrt())
    assert rates["backbone.0.weight"] == pytest.approx(0.1 * 0.5 * rms, rel=1e-4)
    assert rates["backbone.1.weight"] == pytest.approx(0.1 * 0.25, rel=1e-4)
    assert [rates["head.1.weight"], rates["head.1.bias"]] == pytest.approx([0.1, 0.1], rel=1e-4)


def test_schedules_keep_the_ratios_of_rates():
    from aed.modules.schedules import LRCosineDecay

    model = student(tuning=TuningConfig(weight_rate=0.5), optimizer=lambda groups: torch.optim.SGD(groups, lr=0.1))
    optimizer = model.configure_optimizers()
    first = [group["lr"] for group in optimizer.param_groups]
    schedule = LRCosineDecay(optimizer, initial_lr=0.1, hold_steps=0, decay_steps=4, end_lr=0.0)
    optimizer.step()
    schedule.step()
    later = [group["lr"] for group in optimizer.param_groups]
    assert np.ptp(np.array(later) / np.array(first)) < 1e-9 and later[0] < first[0]


def test_the_head_starts_where_softmax_regression_puts_it():
    module = tiny.data()
    module.setup()
    net = Published(3)
    net.load_pretrained()
    net.train()
    train = module.datasets["train"]
    solve_head(net, train, 3, 0.1)
    assert net.training
    net.eval()
    patches = train.__getitems__(range(len(train))).patches
    with torch.no_grad():
        embeddings = net.backbone(patches)
        head = softmax_regression(embeddings.numpy(), train.patch_targets, 3, smoothing=0.1)
        np.testing.assert_allclose(net(patches), head.logits(embeddings.numpy()), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tuning": TuningConfig(frozen_layers=5)}, "frozen_layers=5: the backbone has 5 layers"),
        ({"fine_tune": False, "tuning": TuningConfig(frozen_norm=True)}, r"model\.tuning: .* frozen"),
        ({"fine_tune": False, "distillation": True}, r"model\.distillation: .* frozen"),
    ],
)
def test_what_would_not_be_done_is_refused(changes, message):
    if changes.get("distillation"):
        changes = {**changes, "distillation": Distillation(teachers())}
    with pytest.raises(AedError, match=message):
        tiny.classifier(Published(3), **{"pretrained": True, "fine_tune": True, **changes})


@pytest.mark.parametrize("values", [{"weight_rate": 0.0}, {"vector_rate": -1.0}, {"frozen_layers": -1}])
def test_rates_out_of_range_are_named(values):
    with pytest.raises(AedError, match=rf"model\.tuning\.{next(iter(values))}"):
        TuningConfig(**values)


# ---- teachers ------------------------------------------------------------------------------------------------


def test_a_teacher_embeds_as_its_net_does_and_repeats_what_is_short():
    teacher = Teacher(Published(2, width=6), tiny.FRONTEND)
    wave = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    with torch.no_grad():
        frames = teacher._logmel(torch.from_numpy(wave))
        pieces = frames.unfold(1, 32, 32).permute(1, 0, 2).unsqueeze(1)
        np.testing.assert_allclose(teacher.embed(wave, 16000), teacher.backbone(pieces), atol=1e-6)
    short = wave[:1000]
    np.testing.assert_array_equal(
        teacher.embed(short, 16000), teacher.embed(np.resize(short, tiny.FRONTEND.min_clip_samples), 16000)
    )
    other = Teacher(Published(2, width=6), FrontendConfig(patch_frames=16, n_mels=16, overlap=0.0))
    assert len({teacher.name, other.name, Teacher(Published(2, width=5), tiny.FRONTEND).name}) == 3


def test_posteriors_of_a_crop_are_the_mean_over_its_patches():
    generator = np.random.default_rng(0)
    rows, labels = generator.normal(size=(90, 4)), np.repeat([0, 1, 2], 30)
    head = softmax_regression(rows + labels[:, None], labels, 3)
    crops = generator.normal(size=(5, 2, 4)).astype(np.float16)
    expected = [torch.softmax(torch.from_numpy(head.logits(own)), 1).mean(0).numpy() for own in crops]
    np.testing.assert_allclose(mean_posteriors(head, crops), expected, atol=1e-9)


def test_directions_are_principal_components_of_all_teachers():
    generator = np.random.default_rng(1)
    one = (generator.normal(size=(200, 3)) * [5, 1, 0.1]).astype(np.float32)
    two = np.repeat(one[:, :1] * 100, 2, axis=1)
    found = directions([one, two], 3)
    assert found.shape == (200, 3)
    assert np.sqrt(np.square(found).mean()) == pytest.approx(0.5, rel=1e-5)
    assert abs(np.corrcoef(found[:, 0], one[:, 0])[0, 1]) > 0.99, "what both teachers say comes first"
    np.testing.assert_allclose(np.corrcoef(found.T), np.eye(3), atol=1e-4)
    assert directions([one], 50).shape == (200, 3)


# ---- the loss ------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_its_parts():
    own = Distillation(teachers(), label_share=0.25, temperature=2.0, embedding=3.0)
    own.projection = nn.Linear(4, 2)
    own._log_posteriors = torch.log_softmax(torch.randn(7, 3), dim=1)
    own._directions = torch.randn(7, 2)
    logits, embeddings, crops = torch.randn(5, 3), torch.randn(5, 4), torch.tensor([6, 0, 3, 3, 1])
    teacher = own._log_posteriors[crops].exp() ** 0.5
    teacher /= teacher.sum(dim=1, keepdim=True)
    entropy = (teacher * (teacher.log() - F.log_softmax(logits / 2, dim=1))).sum(dim=1).mean()
    distance = (own.projection(embeddings) - own._directions[crops]).square().mean()
    expected = 0.25 * 1.7 + 0.75 * 4 * entropy + 3 * distance
    assert float(own.loss(torch.tensor(1.7), logits, embeddings, crops)) == pytest.approx(float(expected), rel=1e-5)


def test_a_student_comes_nearer_to_its_teachers(tmp_path):
    own = Distillation(teachers(), label_share=0.0, embedding=0.5)
    tuning = TuningConfig(solved_head=True)
    model = student(own, tuning=tuning, optimizer=lambda groups: torch.optim.Adam(groups, 0.01))
    module = data(crops=CropConfig(per_clip=20, length_s=1.5))
    module.setup()
    crops = module.training_data
    batch = crops.__getitems__([(crop, 0) for crop in range(crops.num_clips)])

    def loss() -> float:
        model.eval()
        with torch.no_grad():
            embeddings = model.net.backbone(batch.patches)
            return float(own.loss(torch.tensor(0.0), model.net.head(embeddings), embeddings, batch.recording))

    losses: list[float] = []
    model.on_fit_start = lambda: losses.append(loss())
    tiny.trainer(tmp_path, 12).fit(model, datamodule=module)
    assert loss() < 0.85 * losses[0]
    assert own._log_posteriors.shape == (crops.num_clips, 3)
    assert torch.allclose(own._log_posteriors.exp().sum(dim=1), torch.ones(1))


def test_a_resumed_distillation_goes_on_with_its_projection_and_average(tmp_path):
    def fit(epochs, ckpt=None, folder=tmp_path / "whole"):
        model = student(Distillation(teachers()), tuning=TuningConfig(solved_head=True, weight_rate=1.0))
        saver = BestCheckpoint(str(folder / "checkpoints"))
        trainer = tiny.trainer(folder, epochs, [saver, MovingAverage(decay=0.9)], use_distributed_sampler=False)
        trainer.fit(model, datamodule=data(), ckpt_path=ckpt, weights_only=True)
        return model, folder / "checkpoints/last.ckpt"

    whole, _ = fit(4)
    _, half = fit(2, folder=tmp_path / "half")
    resumed, _ = fit(4, half, tmp_path / "half")
    for name, value in whole.net.state_dict().items():
        torch.testing.assert_close(resumed.net.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name)
    assert torch.allclose(whole.distillation.projection.weight, resumed.distillation.projection.weight, atol=1e-6)


def test_what_is_tested_after_a_training_is_the_average_that_is_kept(tmp_path):
    model, module = student(Distillation(teachers())), data()
    saver, average = BestCheckpoint(str(tmp_path / "checkpoints")), MovingAverage(decay=0.9)
    trainer = tiny.trainer(tmp_path, 3, [saver, average], use_distributed_sampler=False)
    trainer.fit(model, datamodule=module)
    kept = torch.load(saver.best_model_path, weights_only=True)
    last, averaged = (kept[key] for key in ("current_model_state", "state_dict"))
    assert not all(torch.equal(value, last[name]) for name, value in averaged.items()), "they differ"
    for evaluate in (trainer.test, trainer.validate):
        evaluate(model, datamodule=module, ckpt_path=saver.best_model_path, weights_only=True, verbose=False)
        for name, value in model.state_dict().items():
            assert torch.equal(value, averaged[name]), name


def test_a_distillation_without_crops_or_with_mixup_is_refused(tmp_path):
    from aed.modules.augment import AugmentConfig

    with pytest.raises(AedError, match=r"data\.crops\.per_clip"):
        tiny.trainer(tmp_path, 1).fit(student(Distillation(teachers())), datamodule=tiny.data())
    with pytest.raises(AedError, match="mixup"):
        student(Distillation(teachers()), augment=AugmentConfig(mixup=0.4))
    with pytest.raises(AedError, match="at least one"):
        Distillation({})


def test_heads_of_teachers_see_training_clips_alone(tmp_path, monkeypatch):
    from aed.modules import distillation as module

    seen = []
    monkeypatch.setattr(
        module, "taught", lambda clips, targets, *rest: seen.append(len(targets)) or _taught(clips, targets, *rest)
    )
    from aed.modules.teachers import taught as _taught

    own = data(test_fold=None, split="source", test_fraction=0.4)
    tiny.trainer(tmp_path, 1).fit(student(Distillation(teachers())), datamodule=own)
    assert seen == [own.datasets["train"].num_clips] * 2
