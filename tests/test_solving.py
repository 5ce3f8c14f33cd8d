"""Heads that are solved for, in a training: chosen without mixing recordings, and the same cold and warm."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_classifier import Published
from test_closed_form import clouds

from aed.base.errors import AedError
from aed.datamodules.cache import embeddings
from aed.datamodules.cache.embeddings import EmbeddingCache, backbone_key
from aed.modules import solving
from aed.modules.closed_form import softmax_regression
from aed.modules.solving import Candidate, Samples, inner_folds, inner_right, solve
from aed.run.callbacks import BestCheckpoint

# choosing


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=6, max_size=30),
    st.integers(0, 5),
)
def test_inner_folds_keep_recordings_whole_and_classes_spread(recordings: list[tuple[int, int]], seed: int) -> None:
    rows = [(label, number) for number, (label, patches) in enumerate(recordings) for _ in range(patches)]
    targets, own = np.array(rows, np.int64).T

    fold = inner_folds(targets, own, 3, seed)

    counts = np.bincount([label for label, _ in recordings], minlength=3)
    assert fold.max() + 1 == (min(4, counts.min()) if counts.min() > 1 else 1)
    assert all(len(np.unique(fold[own == number])) == 1 for number in np.unique(own))
    for label in range(3):
        in_fold = [len(np.unique(own[(targets == label) & (fold == number)])) for number in range(fold.max() + 1)]
        assert max(in_fold) - min(in_fold) <= 1
    np.testing.assert_array_equal(fold, inner_folds(targets, own, 3, seed))


def samples() -> Samples:
    embeddings, targets = clouds(rows=90)
    clips = np.arange(90)
    return Samples(embeddings.astype(np.float32), targets, clips, clips)


def test_inner_scores_are_those_of_a_plain_loop() -> None:
    given, candidate = samples(), Candidate("softmax", 0.3)
    fold = inner_folds(given.targets, given.recordings, 4, 0)
    right = 0
    for row in range(len(fold)):
        others = fold != fold[row]
        head = softmax_regression(given.embeddings[others], given.targets[others], 4, strength=0.3)
        right += int(head.logits(given.embeddings[row : row + 1]).argmax() == given.targets[row])

    scores = inner_right(candidate, given, fold, 4, 0.1, "mean").scores()

    assert scores == {"clip_acc": right / len(fold), "patch_acc": right / len(fold)}  # a clip is a patch here


def test_auto_takes_the_best_and_tells_all_scores() -> None:
    solved = solve(samples(), 4, "auto")

    assert set(solved.scores) == {candidate.name for candidate in solving.CANDIDATES}
    totals = {name: sum(own.values()) for name, own in solved.scores.items()}
    assert solved.candidate != solving.USUAL and totals[solved.candidate.name] == max(totals.values())
    assert len(set(totals.values())) > 1
    expected = solving.fit(solved.candidate, samples(), 4, 0.1)
    np.testing.assert_array_equal(solved.head.weight, expected.weight)


@pytest.mark.parametrize(("more", "taken"), [(1, solving.USUAL), (6, Candidate("means", None))])
def test_auto_leaves_the_usual_head_for_one_that_is_better_by_more_than_chance(
    more: int, taken: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def right(candidate: Candidate, given: Samples, *_: Any) -> solving.Right:
        count = 10 + more * (candidate.kind == "means")
        known = np.arange(len(given.clips)) % 40 < count
        if candidate.kind == "means":  # of two clips that differ, one is lost
            known[0] = False
        return solving.Right(known, known, given.clips.astype(np.intp))

    monkeypatch.setattr(solving, "inner_right", right)
    embeddings, targets = clouds(rows=40)
    clips = np.arange(40)
    solved = solve(Samples(embeddings.astype(np.float32), targets, clips, clips), 4, "auto")
    assert solved.candidate == taken
    assert len(solved.scores) == len(solving.CANDIDATES)


def test_auto_takes_means_where_one_recording_leaves_none_to_choose_by() -> None:
    embeddings = np.eye(4, 6, dtype=np.float32)
    one = np.arange(4)
    solved = solve(Samples(embeddings, one, one, one), 4, "auto")
    assert solved.candidate == Candidate("means", None)
    assert solved.scores == {}


# training


def fit(folder: Path, data: dict[str, Any] | None = None, **changes: Any) -> Any:
    model = tiny.classifier(**{"net": Published(3), "pretrained": True} | changes)
    saver = BestCheckpoint(str(folder / "checkpoints"))
    trainer = tiny.trainer(folder, 5, [saver], use_distributed_sampler=False)
    trainer.fit(model, datamodule=tiny.data(cache_dir=str(folder / "cache"), **data or {}), weights_only=True)
    return model, trainer


def net_weights(path: Path) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)["state_dict"]
    return {key: value for key, value in state.items() if key.startswith("net.")}


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize("head", ["softmax", "lda", "means", "auto"])
def test_one_epoch_leaves_a_checkpoint_with_the_solved_head(
    head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = Published(3)
    before = {key: value.clone() for key, value in net.backbone.state_dict().items()}
    _, trainer = fit(tmp_path, net=net, head=head, label_smoothing=0.1)

    assert trainer.current_epoch == 1
    assert all(torch.equal(value, before[key]) for key, value in net.backbone.state_dict().items())
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    facts = best["aed"]["head"]
    data = trainer.datamodule.datasets["train"]
    with torch.no_grad():
        inputs = net.backbone(data.__getitems__(range(len(data))).patches).numpy()
    given = Samples(inputs, data.patch_targets, data.clip, trainer.datamodule.training_recordings())
    expected = solving.fit(Candidate(facts["kind"], facts["constant"]), given, 3, 0.1)
    stored = best["state_dict"]
    np.testing.assert_allclose(stored["net.head.1.weight"], expected.weight, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(stored["net.head.1.bias"], expected.bias, rtol=1e-3, atol=1e-2)
    assert bool(facts["inner_scores"]) == (head == "auto")

    def never(*_: Any) -> None:
        raise AssertionError("embedded again")

    monkeypatch.setattr("aed.datamodules.cache.embeddings.embed_patches", never)
    again = tmp_path / "again"
    again.mkdir()
    (again / "cache").symlink_to(tmp_path / "cache")
    fit(again, net=net, head=head, label_smoothing=0.1)
    ours, theirs = (net_weights(folder / "checkpoints" / "best.ckpt") for folder in (tmp_path, again))
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items()), "warm as cold"


@pytest.mark.usefixtures("trains")
@pytest.mark.parametrize(
    ("changes", "data", "message"),
    [
        ({"head": "svm"}, {}, "model.head: need one of trained, softmax, lda, means, auto, got 'svm'"),
        ({"head": "lda", "pretrained": False}, {}, "model.head=lda: needs a frozen backbone"),
        ({"head": "lda", "fine_tune": True}, {}, "model.head=lda: needs a frozen backbone"),
        ({"head": "lda", "head_constant": 2.0}, {}, "model.head_constant: need over 0, at most 1, got 2.0"),
        ({"head": "softmax", "head_constant": 0.0}, {}, "model.head_constant: need over 0, got 0.0"),
        ({"head": "auto", "head_constant": 0.3}, {}, "only of model.head=softmax and lda"),
        ({"head": "softmax"}, {"train_patches": "random"}, "data.train_patches=random"),
        ({"head": "softmax"}, {"class_balance": True}, "use model.class_weights=true"),
        ({"head": "softmax"}, {"multi_label": True}, "data.multi_label=true"),
    ],
)
def test_what_cannot_be_solved_is_said(
    tmp_path: Path, changes: dict[str, Any], data: dict[str, Any], message: str
) -> None:
    with pytest.raises(AedError, match=message.replace("(", r"\(")):
        fit(tmp_path, data, **changes)


@pytest.mark.usefixtures("trains")
def test_a_hidden_layer_cannot_be_solved_for(tmp_path: Path) -> None:
    net = Published(3)
    net.head = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    with pytest.raises(AedError, match=r"model\.head=softmax: .*model\.net\.head_hidden=null"):
        fit(tmp_path, net=net, head="softmax")


# embeddings on disk


class Counted:
    """Embeds patches, and counts them."""

    def __init__(self) -> None:
        self.patches = 0

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        self.patches += len(patches)
        return patches.flatten(1)[:, :3] + torch.arange(3)


def embedded(cache: EmbeddingCache, data: Any) -> tuple[npt.NDArray[np.float32], int]:
    counted = Counted()
    clips = data.datasets["train"]
    keys, _ = data.cache.keys(files := list(data.rows("train")["path"]))
    return cache.embedded(clips, [keys[path] for path in files], counted), counted.patches


@pytest.fixture
def data() -> Any:
    module = tiny.data()
    module.prepare_data()
    module.setup()
    return module


def test_each_recording_is_embedded_once(data: Any, tmp_path: Path) -> None:
    cold, computed = embedded(EmbeddingCache(tmp_path, "a", 3), data)
    clips = data.datasets["train"]
    assert computed == len(clips)
    expected = clips.__getitems__(range(len(clips))).patches.flatten(1)[:, :3].numpy() + np.arange(3)
    np.testing.assert_array_equal(cold, expected.astype(np.float32))

    warm, computed = embedded(EmbeddingCache(tmp_path, "a", 3), data)
    assert computed == 0
    np.testing.assert_array_equal(warm, cold)
    assert embedded(EmbeddingCache(tmp_path, "b", 3), data)[1] == len(clips), "another backbone"


@pytest.mark.parametrize("harm", ["cut", "nan", "json"])
def test_damaged_embeddings_are_computed_anew_and_told(
    harm: str, data: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cold, _ = embedded(EmbeddingCache(tmp_path, "a", 3), data)
    (path,) = (tmp_path / "embeddings" / "a").glob("*.npy")
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-8])
    elif harm == "nan":
        rows = np.load(path)
        rows[0] = np.nan
        np.save(path, rows)
    else:
        path.with_suffix(".json").write_text("{")
    with caplog.at_level(logging.WARNING):
        again, computed = embedded(EmbeddingCache(tmp_path, "a", 3), data)
    assert computed > 0
    assert "computed anew" in caplog.text
    np.testing.assert_array_equal(again, cold)
    assert embedded(EmbeddingCache(tmp_path, "a", 3), data)[1] == 0, "and kept"


class Watched(Published):
    """A net whose backbone counts the patches that it sees, and whose code may change."""

    gain = 1.0

    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)
        self.seen: list[int] = []
        self.backbone.register_forward_hook(self._watch)

    def _watch(self, _: object, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(inputs[0]))
        return output * self.gain


def trained(folder: Path, cache: Path, gain: float = 1.0) -> tuple[Watched, dict[str, float], int]:
    """A net whose head was trained, its test metrics, and the patches that its backbone has seen beside noise."""
    torch.manual_seed(0)
    net = Watched(3)
    net.gain = gain
    model, saver = tiny.classifier(net=net, pretrained=True), BestCheckpoint(str(folder / "checkpoints"))
    trainer = tiny.trainer(folder, 3, [saver], use_distributed_sampler=False)
    data = tiny.data(cache_dir=str(cache))
    trainer.fit(model, datamodule=data, weights_only=True)
    (metrics,) = trainer.test(model, datamodule=data, verbose=False)
    return net, metrics, sum(number for number in net.seen if number > 2)


@pytest.mark.usefixtures("trains")
def test_a_trained_head_is_the_same_to_the_bit_with_embeddings_of_disk_and_without(tmp_path: Path) -> None:
    cold, scores, seen = trained(tmp_path / "a", tmp_path / "cache")
    warm, again, seen_again = trained(tmp_path / "b", tmp_path / "cache")
    data = tiny.data()
    data.prepare_data()
    data.setup()
    assert seen >= len(data.datasets["train"]) + len(data.datasets["test"]) and seen_again == 0
    assert scores == again
    assert all(torch.equal(value, warm.state_dict()[key]) for key, value in cold.state_dict().items())
    _, _, other = trained(tmp_path / "c", tmp_path / "cache", gain=2.0)
    assert other == seen, "the same weights, and code that computes something else"


def test_a_split_is_embedded_together_once(data: Any, tmp_path: Path) -> None:
    clips, keys = data.datasets["train"], data._file_keys("train")
    rows = np.random.default_rng(0).normal(size=(len(clips), 3)).astype(np.float32)
    calls: list[int] = []

    def compute() -> npt.NDArray[np.float32]:
        calls.append(1)
        return rows

    for _ in range(2):
        np.testing.assert_array_equal(EmbeddingCache(tmp_path, "a", 3).together(clips, keys, compute), rows)
    assert len(calls) == 1
    EmbeddingCache(tmp_path, "a", 3).together(clips, keys[::-1], compute)
    EmbeddingCache(tmp_path, "b", 3).together(clips, keys, compute)
    assert len(calls) == 3, "other recordings, another backbone"
    assert not len(EmbeddingCache(tmp_path, "c", 3).together(clips, keys, lambda: rows[:0]))
    assert not (tmp_path / "embeddings" / "c").exists(), "too many: none is kept"


def test_the_oldest_backbones_make_room(data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = embedded(EmbeddingCache(tmp_path, "a", 3), data)
    monkeypatch.setattr(embeddings, "LIMIT_BYTES", int(1.5 * first.nbytes) + 3000)
    embedded(EmbeddingCache(tmp_path, "b", 3), data)
    kept = {folder.name for folder in (tmp_path / "embeddings").iterdir()}
    size = sum(file.stat().st_size for file in (tmp_path / "embeddings").rglob("*") if file.is_file())
    assert size <= embeddings.LIMIT_BYTES or kept == {"b"}


def test_a_cache_that_cannot_be_written_is_no_error(
    data: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "embeddings").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        _, computed = embedded(EmbeddingCache(tmp_path, "a", 3), data)
    assert computed == len(data.datasets["train"])
    assert "embeddings are not kept" in caplog.text


def test_the_key_is_of_facts_and_weights() -> None:
    weights = {"a": torch.zeros(2)}
    key = backbone_key({"net": "x"}, weights)
    assert key == backbone_key({"net": "x"}, {"a": torch.zeros(2)})
    others = [({"net": "y"}, weights), ({"net": "x"}, {"a": torch.ones(2)}), ({"net": "x"}, {"b": torch.zeros(2)})]
    assert len({key, *(backbone_key(*other) for other in others)}) == 4
