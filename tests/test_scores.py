import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

from aed.scores import PatchPosteriors, score

NAMES = ("a", "b", "c", "d")


def random_patches(seed: int = 0, clips: int = 40) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), generator.integers(1, 7, clips))
    target = generator.integers(0, 3, clips)[clip]  # class d never occurs
    posteriors = generator.dirichlet(np.ones(4), len(clip))
    posteriors[np.arange(len(clip)), target] += 0.3
    return tuple(torch.from_numpy(x) for x in (posteriors.astype(np.float32), target, clip))  # type: ignore[return-value]


def test_patch_metrics_are_sklearns():
    posteriors, target, clip = random_patches()
    decided = posteriors.argmax(dim=1)
    scores = score(posteriors, target, clip, NAMES)
    assert scores.metrics["patch_acc"] == pytest.approx(accuracy_score(target, decided))
    assert (scores.patch_confusion.numpy() == confusion_matrix(target, decided, labels=range(4))).all()
    recalls = recall_score(target, decided, labels=range(3), average=None)
    assert [scores.metrics[f"patch_acc/{name}"] for name in "abc"] == pytest.approx(recalls)


def test_clip_metrics_are_those_of_the_mean_posterior():
    posteriors, target, clip = random_patches()
    means = np.stack([posteriors[clip == i].numpy().mean(axis=0) for i in range(40)])
    truth = np.array([target[clip == i][0] for i in range(40)])
    scores = score(posteriors, target, clip, NAMES)
    assert scores.metrics["clip_acc"] == pytest.approx(accuracy_score(truth, means.argmax(axis=1)))
    assert (scores.clip_confusion.numpy() == confusion_matrix(truth, means.argmax(axis=1), labels=range(4))).all()
    assert np.allclose(scores.clip_posteriors, means, atol=1e-6)


def test_a_class_without_clips_has_no_accuracy_but_a_row():
    scores = score(*random_patches(), NAMES)
    assert "clip_acc/d" not in scores.metrics
    assert scores.clip_confusion.shape == (4, 4)


def test_batches_add_up_to_the_whole():
    posteriors, target, clip = random_patches()
    metric = PatchPosteriors()
    for part in torch.arange(len(clip)).split(7):
        metric.update(posteriors[part], target[part], clip[part])
    assert score(*metric.compute(), NAMES).metrics == score(posteriors, target, clip, NAMES).metrics
